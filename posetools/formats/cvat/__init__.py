"""CVAT for images: one XML file."""
