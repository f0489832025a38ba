"""The report of an evaluation with several categories: one report each, what they have in common, and their confusion.

A category is evaluated on all images, so its boxes on objects of another category are false. AP and AR of all
categories are the mean over those that have objects, as COCOeval computes them. PCK is the mean over all names of
keypoints, and NME the mean over all labeled points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Floats, Ints
from posetools.evaluation.bootstrap import Resamples
from posetools.evaluation.coco import Predictions
from posetools.evaluation.confusion import Confusion, confusion_of
from posetools.evaluation.remarks import Remark
from posetools.evaluation.report import DetPart, PosePart, Report, Subject
from posetools.evaluation.scoring import BoxPoses


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class CategoriesReport(Report):
    """All measurements of models of several categories. Of its parts only the scores are defined.

    Attributes:
        by_category: the report of each category, by its name.
        confusion: which category objects are detected as; None without a detector of all categories.
    """

    by_category: Mapping[str, Report]
    confusion: Confusion | None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: the metrics of each category, those of all, and the confusion."""
        return {
            **self.subject.as_dict(),
            "categories": {name: report.metrics() for name, report in self.by_category.items()},
            "overall": self.metrics(),
            "confusion": self.confusion.as_dict() if self.confusion else None,
        }


def report_of_all(subject: Subject, truth: Dataset, by_category: Mapping[str, Report]) -> CategoriesReport:
    """Return the report of models of several categories.

    Args:
        subject: what was evaluated.
        truth: the labels of all categories.
        by_category: the report of each category, by its name, in the order of ``truth.categories``.
    """
    reports = tuple(by_category.values())
    resamples = reports[0].det.resamples
    posed = [report for report in reports if report.truth.categories.num_keypoints]
    boxes = dict(zip(truth.categories, (report.det.predicted for report in reports), strict=True))
    flipped = [report.flipped for report in posed if report.flipped]
    return CategoriesReport(
        subject=subject,
        truth=truth,
        det=DetPart(
            truth, Predictions.joined(list(boxes.values())), resamples, tuple(report.det for report in reports)
        ),
        labeled=_pose_part(truth, [report.labeled for report in posed], boxes_are_labels=True, resamples=resamples),
        detected=_pose_part(truth, [report.detected for report in posed], boxes_are_labels=False, resamples=resamples),
        remarks=_remarks(by_category),
        flipped=(
            _pose_part(truth, [labeled for labeled, _ in flipped], boxes_are_labels=True, resamples=resamples),
            _pose_part(truth, [detected for _, detected in flipped], boxes_are_labels=False, resamples=resamples),
        )
        if flipped
        else None,
        by_category=by_category,
        confusion=confusion_of(truth, boxes) if subject.detector and subject.stage != "pose" else None,
    )


def _pose_part(truth: Dataset, parts: Sequence[PosePart], *, boxes_are_labels: bool, resamples: Resamples) -> PosePart:
    """Return the poses of all categories, NaN in the columns of keypoints that their category does not have."""
    k, index = truth.categories.num_keypoints, np.zeros(0, dtype=np.int64)
    every = [Predictions(index, np.zeros((0, 4)), np.zeros(0), np.zeros((0, k, 2)), np.zeros((0, k)))]
    box_scores, kept, matched, total = [np.zeros(0)], [index], np.full(len(truth), -1, dtype=np.int64), 0
    for part in parts:
        (category,) = part.truth.categories
        poses = part.poses
        every.append(_in_columns(poses.every, truth.categories.columns[category], k))
        box_scores.append(poses.box_scores)
        kept.append(poses.kept + total)
        matched[truth.category_ids == category] = np.where(poses.matched < 0, -1, poses.matched + total)
        total += len(poses.every)
    joined = BoxPoses(Predictions.joined(every), np.concatenate(box_scores), np.concatenate(kept), matched)
    return PosePart(truth, joined, boxes_are_labels, resamples, tuple(parts))


def _in_columns(poses: Predictions, columns: Ints, k: int) -> Predictions:
    def spread(values: Floats) -> Floats:
        wide = np.full((len(values), k, *values.shape[2:]), np.nan)
        wide[:, columns] = values
        return wide

    scores = poses.keypoint_scores
    return replace(poses, keypoints=spread(poses.keypoints), keypoint_scores=None if scores is None else spread(scores))


def _remarks(by_category: Mapping[str, Report]) -> dict[str, tuple[Remark, ...]]:
    """Return the remarks on each part, with the names of their categories if others do not have them."""
    found = {}
    for part in dict.fromkeys(part for report in by_category.values() for part in report.remarks):
        of = {name: report.remarks[part] for name, report in by_category.items() if part in report.remarks}
        about = {one: [name for name in of if one in of[name]] for remarks in of.values() for one in remarks}
        found[part] = tuple(
            one if len(names) == len(of) else replace(one, text=f"{', '.join(names)}: {one.text}")
            for one, names in about.items()
        )
    return found
