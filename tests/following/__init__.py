"""Hints of convert that name an option: for each a source that raises it, what it says to type, and what comes then."""
