"""Prediction on images and videos, and prediction files."""
