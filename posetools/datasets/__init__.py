"""Data sets made of data sets: converted, split, merged, cut, compared."""
