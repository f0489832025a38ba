"""The report of ``posetools validate`` as one self-contained HTML page: no network, no other file.

charts.py counts and draws, crops.py draws, page.py assembles the page, sealed.py makes it one file. Text comes from
data and may be hostile: every text is escaped by Jinja2, and the page's policy (CSP) allows only the page's own script.
"""
