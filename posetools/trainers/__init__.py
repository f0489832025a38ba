"""Trainers: what turns a data set into models that detect objects and estimate their keypoints."""
