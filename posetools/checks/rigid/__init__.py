"""Checks whether keypoints fit one rigid object."""
