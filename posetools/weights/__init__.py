"""Starter weights: an RTMDet-tiny and an RTMPose-t, trained on rendered cars; README.md says how."""
