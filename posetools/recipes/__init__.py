"""Recipes: what a training run needs, as the text of an RTMDet and an RTMPose config."""
