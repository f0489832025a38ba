"""Checks: data in, findings out."""
