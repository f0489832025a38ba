"""The nouns: what a data set is, in memory and as a folder."""
