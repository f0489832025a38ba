"""Predictions as files: a readable JSON document, COCO's results format; and back.

The readable document::

    {"posetools": "0.1.0", "skeleton": "car8", "category": "car", "keypoint_names": [...], "thresholds": {...},
     "pictures": [{"file_name": "a.jpg", "width": 640, "height": 480, "instances": [
         {"box": [x1, y1, x2, y2], "score": 0.93, "keypoints": {name: [x, y]}, "keypoint_scores": {name: 0.8}}]}]}

Pixels to 2 decimals, scores to 4. A frame of a video has the video's ``file_name`` and its number, ``frame``, from 0. A
picture that could not be read has ``problem`` and neither size nor objects.

COCO's results format is a list with an entry per object, which pycocotools' ``loadRes`` opens: ``image_id``,
``category_id``, ``bbox`` (x, y, width, height), ``keypoints`` (x, y, score of each) and ``score``, which is the box's
times the mean of the surer keypoints', as in the evaluation. So a box's own score is not in it.

posetools/prediction/read.py reads both, posetools/prediction/write.py writes them, and labelme files beside.
"""

from __future__ import annotations

from posetools.prediction.read import PicturePredictions, image_ids_of, read_predictions
from posetools.prediction.write import CocoWriter, DocumentWriter, LabelmeWriter, check_labelme_names, write_labelme

__all__ = [
    "CocoWriter",
    "DocumentWriter",
    "LabelmeWriter",
    "PicturePredictions",
    "check_labelme_names",
    "image_ids_of",
    "read_predictions",
    "write_labelme",
]
