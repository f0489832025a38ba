"""Image files: what their headers say, which way up they are decoded, and whether they are complete."""
