"""YOLO-pose: data.yaml, and a text file for each image."""
