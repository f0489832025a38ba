"""Recipes: an RTMDet and an RTMPose config for a data set and a machine."""
