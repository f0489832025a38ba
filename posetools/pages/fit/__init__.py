"""The report of ``posetools fit`` as one HTML page that links to all of its files."""
