"""Training: requests, checks before a run, and hooks of a run."""
