"""Create data sets from others: convert, split, merge, subset, compare."""
