"""Pairs of a detector and a pose estimator: find and open them."""
