"""Hints of convert with an option: for each a source that causes it, what to type, and the result."""
