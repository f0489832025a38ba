"""A detector and a pose estimator that belong together, found and opened."""
