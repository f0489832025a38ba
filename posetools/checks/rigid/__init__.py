"""Whether keypoints can be those of one rigid object."""
