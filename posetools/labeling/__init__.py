"""Labeling with the help of a model."""
