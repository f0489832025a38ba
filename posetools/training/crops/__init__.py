"""Training poses from cached crops."""
