"""posetools: labelled pictures in, a trained and evaluated RTMDet + RTMPose pair out."""

__version__ = "0.1.0"
