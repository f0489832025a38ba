"""Custom tables, read by a mapping."""
