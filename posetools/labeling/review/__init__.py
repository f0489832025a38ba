"""Which images to label or to check next."""
