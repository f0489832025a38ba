"""How good a detector and a pose estimator are on a labelled split, whatever runs them.

Poses are scored as MMPose's CocoMetric does it: an object's score is the box's times the mean of its surer keypoints',
and near-identical objects are thinned out by OKS; so AP is the same as the stock test loop's. They are estimated on
the labelled boxes, cut to the picture as MMPose's data set cuts them, and, with a detector, on the boxes that it
finds. There, PCK and NME need to know which object is which: predictions are matched to labels greedily by the IoU of
their boxes, 0.5 at least, and every labelled point of an object without a match is wrong in PCK.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posetools.dataset import Dataset
from posetools.dataset_folder import IMAGES, ann_file, splits_of
from posetools.errors import InputError, RequestError
from posetools.findings import has_errors
from posetools.formats.coco import read_split
from posetools.frames import read_picture
from posetools.geometry import Floats, Ints
from posetools.metrics import (
    SUBSETS,
    BoxScores,
    KeypointScores,
    OksScores,
    Predictions,
    Subset,
    box_scores,
    keypoint_scores,
    match_boxes,
    object_scores,
    oks_nms,
    oks_scores,
)
from posetools.progress import Progress, silent
from posetools.results import Detects, Estimates, Picture, Poses
from posetools.skeleton import Skeleton

# Pictures that are in memory at once, twice: one batch is predicted on while the next is read.
_PICTURES = 8


@dataclass(frozen=True, slots=True)
class PoseScores:
    """How good the keypoints are on one kind of boxes.

    Attributes:
        oks: COCO's keypoint metrics.
        points: PCK and NME over all labelled points, over the visible, over the hidden ones.
        without_box: objects with labelled points that no box was found for.
    """

    oks: OksScores
    points: Mapping[Subset, KeypointScores]
    without_box: int

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        points = {subset: scores.as_dict() for subset, scores in self.points.items()}
        return {"OKS": self.oks.as_dict(), "points": points, "without_box": self.without_box}


def read_truth(data: Path, split: str, skeleton: Skeleton) -> Dataset:
    """Return a labelled split.

    Raises:
        RequestError: there is no such data set or split.
        InputError: a file cannot be read, or the labels have errors.
    """
    splits = splits_of(data)
    if split not in splits:
        raise RequestError(f"{data}: has no split {split!r}; it has {', '.join(splits)}")
    result = read_split(ann_file(data, split), data / IMAGES, skeleton)
    if has_errors(result.findings):
        first = result.findings[0]
        raise InputError(
            first.file,
            first.place,
            f"{first.code} {first.message}",
            hint=f"`posetools validate {data}` lists all problems; metrics of such a file would mislead",
        )
    return result.dataset


def score_boxes(detector: Detects, label: int, truth: Dataset, progress: Progress = silent) -> BoxScores:
    """Return COCO's box metrics of a detector on a split.

    Args:
        detector: finds the boxes.
        label: the index of the object's class in the detector's ``classes``.
        truth: the labels; its pictures are read from their paths.
        progress: told how many pictures are done.

    Raises:
        InputError: a picture cannot be read.
    """
    found: list[Predictions] = []
    for rows, pictures in _pictures(truth, progress):
        boxes = [one.select(label=label, min_score=0.0) for one in detector(pictures)]
        found += [
            _predictions(image, one.boxes, one.scores, np.zeros((len(one), 0, 2)))
            for image, one in zip(rows, boxes, strict=True)
        ]
    return box_scores(truth, _joined(found, 0))


def score_poses(
    estimator: Estimates,
    truth: Dataset,
    *,
    detector: Detects | None = None,
    label: int = 0,
    bbox_thr: float,
    progress: Progress = silent,
) -> tuple[PoseScores, PoseScores | None]:
    """Return how good the keypoints are on the labelled boxes and, with a detector, on the boxes that it finds.

    Args:
        estimator: finds the keypoints.
        truth: the labels; its pictures are read from their paths.
        detector: finds boxes, where those are to be used as well.
        label: the index of the object's class in the detector's ``classes``.
        bbox_thr: detected boxes with a lower score are not used.
        progress: told how many pictures are done.

    Raises:
        InputError: a picture cannot be read.
    """
    counted = ~truth.iscrowd & (truth.num_labelled > 0)
    sigmas, k = truth.skeleton.sigmas, truth.skeleton.num_keypoints
    rows_of = [np.array(rows, dtype=np.int64)[counted[list(rows)]] for rows in truth.rows_of_images()]
    points = np.full((len(truth), k, 2), np.nan)
    on_labels: list[Predictions] = []
    on_boxes: list[Predictions] = []
    for batch, pictures in _pictures(truth, progress):
        boxes = [_cut(truth.boxes[rows_of[i]], truth.images[i].size) for i in batch]
        for i, own, poses in zip(batch, boxes, estimator.estimate(pictures, boxes), strict=True):
            points[rows_of[i]] = poses.keypoints
            on_labels.append(_thinned(i, own, np.ones(len(own)), poses, sigmas))
        if detector:
            found = [one.select(label=label, min_score=bbox_thr) for one in detector(pictures)]
            estimates = estimator.estimate(pictures, [one.boxes for one in found])
            for i, one, poses in zip(batch, found, estimates, strict=True):
                on_boxes.append(_thinned(i, one.boxes, one.scores, poses, sigmas))
    labelled = _scores(truth, _joined(on_labels, k), points)
    if detector is None:
        return labelled, None
    detected = _joined(on_boxes, k)
    return labelled, _scores(truth, detected, _matched(truth, detected))


def _pictures(truth: Dataset, progress: Progress) -> Iterator[tuple[range, list[Picture]]]:
    """Give the pictures in batches, with their indices; the next batch is read while one is worked on."""
    batches = [
        range(start, min(start + _PICTURES, len(truth.images))) for start in range(0, len(truth.images), _PICTURES)
    ]
    with ThreadPoolExecutor(max_workers=2) as pool:
        ahead: list[Future[Picture]] = []
        for number, batch in enumerate(batches):
            ready = ahead or [pool.submit(_read, truth, i) for i in batch]
            following = batches[number + 1] if number + 1 < len(batches) else ()
            ahead = [pool.submit(_read, truth, i) for i in following]
            yield batch, [future.result() for future in ready]
            progress("evaluating", batch.stop, len(truth.images))


def _read(truth: Dataset, index: int) -> Picture:
    path = truth.images[index].path
    if path is None:
        raise InputError(
            truth.images[index].file_name, "", "picture cannot be read: the data set does not say where it is"
        )
    return read_picture(path)


def _cut(boxes: Floats, size: tuple[int, int]) -> Floats:
    # MMPose's data set cuts boxes to the last pixel's coordinate, not to the picture's edge.
    limit = np.array([*size, *size], dtype=np.float64) - 1
    cut: Floats = np.clip(boxes, 0.0, limit)
    return cut


def _thinned(image: int, boxes: Floats, box_score: Floats, poses: Poses, sigmas: Sequence[float]) -> Predictions:
    scores = object_scores(box_score, poses.scores)
    kept = oks_nms(poses.keypoints, scores, poses.areas, sigmas)
    return _predictions(image, boxes[kept], scores[kept], poses.keypoints[kept])


def _predictions(image: int, boxes: Floats, scores: Floats, keypoints: Floats) -> Predictions:
    return Predictions(np.full(len(boxes), image, dtype=np.int64), boxes, scores, keypoints)


def _joined(parts: Sequence[Predictions], k: int) -> Predictions:
    empty = _predictions(0, np.zeros((0, 4)), np.zeros(0), np.zeros((0, k, 2)))
    every = [empty, *parts]
    index: Ints = np.concatenate([part.image_index for part in every])
    return Predictions(
        index,
        np.concatenate([part.boxes for part in every]),
        np.concatenate([part.scores for part in every]),
        np.concatenate([part.keypoints for part in every]),
    )


def _matched(truth: Dataset, predicted: Predictions) -> Floats:
    """Return the (N, K, 2) points predicted for each labelled object, NaN for those without a match."""
    matched = match_boxes(truth, predicted)
    points = np.full((len(truth), truth.skeleton.num_keypoints, 2), np.nan)
    points[matched >= 0] = predicted.keypoints[matched[matched >= 0]]
    return points


def _scores(truth: Dataset, predicted: Predictions, points: Floats) -> PoseScores:
    counted = ~truth.iscrowd & (truth.num_labelled > 0)
    labels, own, boxes = truth.keypoints[counted], points[counted], truth.boxes[counted]
    names = truth.skeleton.names
    return PoseScores(
        oks=oks_scores(truth, predicted, truth.skeleton.sigmas),
        points={subset: keypoint_scores(labels, own, boxes, names, subset) for subset in SUBSETS},
        without_box=int(np.isnan(own).any(axis=(1, 2)).sum()),
    )
