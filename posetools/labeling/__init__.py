"""People and models labeling together."""
