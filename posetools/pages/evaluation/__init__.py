"""The report of ``posetools eval`` as one HTML page that needs nothing else: no network, no other file.

charts.py and cases.py choose what is drawn and draw it, page.py puts it together; style and sealing are those of
the report of ``posetools validate`` (pages/validation). Names of runs, images and keypoints may be hostile: every
text goes through Jinja2's autoescape, and the page's policy (CSP) lets the browser run the page's own script only.
"""
