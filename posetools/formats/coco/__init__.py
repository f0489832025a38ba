"""COCO keypoints: a JSON file for each split."""
