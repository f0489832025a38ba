"""Choose the images to label or check next."""
