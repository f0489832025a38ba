"""labelme: one JSON file next to each image."""
