"""A table of one's own, read by a mapping."""
