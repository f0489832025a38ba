"""Reports of single models with scores that a test chooses, for the code that prints them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from posetools.core.dataset import DatasetBuilder, Image
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.evaluation.metrics import BoxScores
from posetools.evaluation.report import Report, Subject
from posetools.evaluation.run import measure
from posetools.evaluation.scoring import PoseScores


def planted_report(
    name: str,
    stage: Literal["det", "pose"],
    *,
    boxes: BoxScores | None = None,
    labeled: PoseScores | None = None,
    detected: PoseScores | None = None,
    detector: str = "",
) -> Report:
    """Return the report of a model on 12 images with 24 objects, with these scores for its parts."""
    builder = DatasetBuilder(load_skeleton("car8"))
    for number in range(12):
        builder.add_image(Image(f"{number}.png", 96, 80))
        for _ in range(2):
            builder.add_instance(
                f"{number}.png", box=np.array([1.0, 1, 9, 9]), keypoints=np.zeros((8, 3)), origin=Origin("")
            )
    with_boxes = detector or ("detector.pth" if detected else "")
    subject = Subject(name, with_boxes, name, "data/cars", "val", 0.05, stage, "config.py")
    truth = builder.build()
    report = measure(subject, None, None, truth.select_images(()))
    # Where measurements are cached.
    for part, scores in ((report.det, boxes), (report.labeled, labeled), (report.detected, detected)):
        part.__dict__["scores"] = scores
    return Report(subject, truth, report.det, report.labeled, report.detected, report.remarks)
