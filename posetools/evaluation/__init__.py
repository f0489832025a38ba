"""Evaluation of a pair on labeled images, and diagnosis of its errors."""
