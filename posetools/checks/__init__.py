"""Checks of a data set: arrays in, findings out."""
