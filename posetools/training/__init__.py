"""Training: requests, what is checked before, and what a run is lent."""
