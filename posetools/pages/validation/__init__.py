"""The report of ``posetools validate`` as one HTML page that needs nothing else: no network, no other file.

charts.py counts and draws, crops.py draws, page.py puts it together, sealed.py
makes one file of it. Text comes from data and may be hostile: every text goes through Jinja2's autoescape, and the
page's policy (CSP) lets the browser run the page's own script only.
"""
