"""Rank the labels that are probably wrong."""
