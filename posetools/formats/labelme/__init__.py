"""labelme: a JSON file beside each image."""
