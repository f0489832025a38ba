"""The report of ``posetools eval`` as one self-contained HTML page: no network, no other file.

charts.py and cases.py choose and draw the content, page.py assembles it; style and sealing are shared with the report
of ``posetools validate`` (pages/validation). Names of runs, images and keypoints may be hostile: every text is escaped
by Jinja2, and the page's policy (CSP) allows only the page's own script.
"""
