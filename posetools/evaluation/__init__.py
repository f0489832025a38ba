"""How good a pair is on labeled images, and why it is not better."""
