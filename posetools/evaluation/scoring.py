"""Scores of a detector and a pose estimator on a labeled split, with any backend.

``collect`` runs both once over the images and keeps their predictions for all metrics. Poses are estimated in the
labeled boxes, clipped to the image as in MMPose's data set, and, with a detector, in its boxes; both share the same
batches. Scoring follows MMPose's CocoMetric: an object's score is the box score times the mean of its confident
keypoints' scores, and near-identical objects are removed by OKS NMS; so AP equals that of the stock test loop. For PCK
and NME on detected boxes, predictions are matched to labels greedily by the IoU of their boxes, 0.5 at least; every
labeled point of an object without a match is wrong in PCK.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset
from posetools.core.findings import has_errors
from posetools.core.folder import IMAGES, ann_file
from posetools.core.geometry import Bools, Floats, Ints
from posetools.core.skeleton import Skeleton
from posetools.errors import InputError, quoted
from posetools.evaluation.coco import Predictions
from posetools.evaluation.metrics import (
    SUBSETS,
    KeypointScores,
    OksScores,
    PointErrors,
    Subset,
    match_boxes,
    object_scores,
    oks_nms,
    oks_scores,
)
from posetools.formats.coco.format import read_split
from posetools.imaging.frames import read_image
from posetools.imaging.header import Pixels
from posetools.pairs.find import check_split
from posetools.progress import Progress, silent
from posetools.runtime.results import AnyDetector, AnyEstimator, Detections

if TYPE_CHECKING:
    from posetools.evaluation.spread import Spread

# Detected boxes below this score get no keypoints: they come last in AP, and there are hundreds of them.
EVAL_BBOX_THR = 0.05
# Images per batch; two batches are in memory, as the next is read during prediction.
BATCH_IMAGES = 8


@dataclass(frozen=True, slots=True)
class PoseScores:
    """How good the keypoints are on one kind of boxes.

    Attributes:
        oks: COCO's keypoint metrics.
        points: PCK and NME over all labeled, all visible and all occluded points.
        without_box: objects with labeled points, but without a detected box.
    """

    oks: OksScores
    points: Mapping[Subset, KeypointScores]
    without_box: int

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        points = {subset: scores.as_dict() for subset, scores in self.points.items()}
        return {"OKS": self.oks.as_dict(), "points": points, "without_box": self.without_box}


def pck_of(scores: PoseScores) -> float | None:
    """Return PCK@0.1 over all labeled points."""
    return scores.points["labelled"].overall.as_dict()["PCK@0.1"]


@dataclass(frozen=True, eq=False, slots=True)
class BoxPoses:
    """The poses of M boxes.

    Attributes:
        every: all of them, each with its object's score and those of its K keypoints.
        box_scores: (M,) the scores of the boxes alone; 1 for labeled boxes.
        kept: indices of those that OKS NMS keeps, image by image, from the highest score down.
        matched: (N,) for each labeled object the index of its pose in ``every``, or -1.
    """

    every: Predictions
    box_scores: Floats
    kept: Ints
    matched: Ints

    @property
    def thinned(self) -> Predictions:
        """The poses that OKS NMS keeps; AP is measured on them."""
        return self.every[self.kept]

    @property
    def points(self) -> Floats:
        """(N, K, 2) the points estimated for each labeled object, NaN without a pose."""
        return _spread(self.every.keypoints, self.matched)

    @property
    def point_scores(self) -> Floats:
        """(N, K) their scores, NaN without a pose."""
        scores = self.every.keypoint_scores
        return _spread(np.zeros(self.every.keypoints.shape[:2]) if scores is None else scores, self.matched)


@dataclass(frozen=True, eq=False, slots=True)
class PairPredictions:
    """The predictions of a detector and a pose estimator on a split.

    Attributes:
        boxes: every box of the object's class, without keypoints; empty without a detector.
        on_labels: the poses in the labeled boxes of objects that have labeled points; empty without an estimator.
        on_boxes: the poses in the detected boxes above the threshold; empty without both models.
        labels: number of detected boxes per class, by its index in the detector's ``classes``.
    """

    boxes: Predictions
    on_labels: BoxPoses
    on_boxes: BoxPoses
    labels: Mapping[int, int]


@dataclass(frozen=True, eq=False, slots=True)
class Task:
    """What to predict for the objects of a category, or of several that share a skeleton.

    Attributes:
        truth: their labels.
        label: the index of their class in the detector's ``classes``.
        estimator: predicts the keypoints in the labeled and in the detected boxes; None: boxes only.
    """

    truth: Dataset
    label: int = 0
    estimator: AnyEstimator | None = None


def read_truth(data: Path, split: str, categories: Skeleton | Categories) -> Dataset:
    """Return a labeled split; a skeleton stands for its only category.

    Raises:
        RequestError: there is no such data set or split.
        InputError: a file cannot be read, or the labels have errors.
    """
    check_split(data, split)
    result = read_split(ann_file(data, split), data / IMAGES, categories)
    if has_errors(result.findings):
        first = result.findings[0]
        raise InputError(
            first.file,
            first.place,
            f"{first.code} {first.message}",
            hint=f"run `posetools validate {quoted(data)}` to list all problems; metrics of such a file would mislead",
        )
    return result.dataset


def collect(
    truth: Dataset,
    *,
    detector: AnyDetector | None = None,
    estimator: AnyEstimator | None = None,
    label: int = 0,
    bbox_thr: float = EVAL_BBOX_THR,
    progress: Progress = silent,
) -> PairPredictions:
    """Run a detector, a pose estimator or both once over the images of a split, and return their predictions.

    Args:
        truth: the labels; its images are read from their paths.
        detector: predicts the boxes.
        estimator: predicts the keypoints in the labeled and in the detected boxes.
        label: the index of the object's class in the detector's ``classes``.
        bbox_thr: detected boxes with a lower score get no keypoints.
        progress: receives the number of images done.

    Raises:
        InputError: an image cannot be read.
    """
    (said,) = collect_each([Task(truth, label, estimator)], detector, bbox_thr=bbox_thr, progress=progress)
    return said


def collect_each(
    tasks: Sequence[Task],
    detector: AnyDetector | None = None,
    *,
    bbox_thr: float = EVAL_BBOX_THR,
    progress: Progress = silent,
    spread: Spread | None = None,
) -> list[PairPredictions]:
    """Run a detector, and the pose estimator of each task, once over the images that all tasks share.

    Args:
        tasks: at least one; their labels are of the same images.
        detector: predicts the boxes of all tasks.
        bbox_thr: detected boxes with a lower score get no keypoints.
        progress: receives the number of images done.
        spread: where to predict; None: in this process.

    Raises:
        InputError: an image cannot be read.
        RunError: workers were killed.
    """
    gathered = [Gathered(task, bbox_thr) for task in tasks]
    labels = spread.predict(gathered, bbox_thr, progress) if spread else predict_each(gathered, detector, progress)
    return [each.said(labels) for each in gathered]


def predict_each(gathered: Sequence[Gathered], detector: AnyDetector | None, progress: Progress) -> Counter[int]:
    """Predict on all images; return the number of boxes of each class of the detector."""
    labels: Counter[int] = Counter()
    nothing = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=np.int64))
    for batch, images in _images(gathered[0].task.truth, progress):
        every = detector(images) if detector else [nothing] * len(batch)
        for one in every:
            labels.update(one.labels.tolist())
        for each in gathered:
            each.add(batch, images, every)
    return labels


def pose_scores(truth: Dataset, poses: BoxPoses, oks: OksScores | None = None) -> PoseScores:
    """Return OKS, PCK and NME of estimated poses.

    Args:
        truth: the labels.
        poses: the poses.
        oks: for labels of several categories, the mean of their OKS metrics.
    """
    names = truth.categories.names
    return PoseScores(
        oks=oks or oks_scores(truth, poses.thinned, truth.skeleton.sigmas),
        points={subset: errors.scores(names) for subset, errors in point_errors(truth, poses).items()},
        without_box=int((poses.matched[has_points(truth)] < 0).sum()),
    )


def point_errors(truth: Dataset, poses: BoxPoses) -> dict[Subset, PointErrors]:
    """Return the errors of the labeled, the visible and the occluded points that poses are measured on."""
    counted = has_points(truth)
    labels, own, boxes = truth.keypoints[counted], poses.points[counted], truth.boxes[counted]
    return {subset: PointErrors.of(labels, own, boxes, subset) for subset in SUBSETS}


def has_points(truth: Dataset) -> Bools:
    """Return which of N objects poses are measured on: those with labeled points, without crowds."""
    counted: Bools = ~truth.iscrowd & (truth.num_labeled > 0)
    return counted


@dataclass(eq=False, slots=True)
class CollectedPoses:
    """The poses, or boxes, of one kind that are predicted, image by image, each with K keypoints."""

    k: int
    sigmas: Sequence[float] = ()
    parts: list[Predictions] = field(default_factory=list)
    box_scores: list[Floats] = field(default_factory=list)
    kept: list[Ints] = field(default_factory=list)
    total: int = 0

    def add(
        self, image: int, boxes: Floats, box_scores: Floats, points: Floats, scores: Floats, areas: Floats | None = None
    ) -> None:
        """Add an image's boxes; with ``areas`` they have poses, which determine scores and NMS."""
        own = box_scores
        if areas is not None:
            own = object_scores(box_scores, scores)
            self.kept.append(oks_nms(points, own, areas, self.sigmas) + self.total)
        self.total += len(boxes)
        self.box_scores.append(box_scores)
        self.parts.append(Predictions(np.full(len(boxes), image, dtype=np.int64), boxes, own, points, scores))

    def extend(self, other: CollectedPoses, first: int) -> None:
        """Add the poses of other images, of which the first has that index here."""
        self.kept += [rows + self.total for rows in other.kept]
        self.total += other.total
        self.box_scores += other.box_scores
        self.parts += [replace(part, image_index=part.image_index + first) for part in other.parts]

    def joined(self) -> Predictions:
        """Return them as one."""
        index, k = np.zeros(0, dtype=np.int64), self.k
        empty = Predictions(index, np.zeros((0, 4)), np.zeros(0), np.zeros((0, k, 2)), np.zeros((0, k)))
        return Predictions.joined([empty, *self.parts])

    def estimated(self, truth: Dataset, matched: Ints | None = None) -> BoxPoses:
        """Return them with what they match; ``matched``: as in BoxPoses, None: by their boxes."""
        every, kept = self.joined(), np.concatenate([np.zeros(0, dtype=np.int64), *self.kept])
        if matched is None:
            found = match_boxes(truth, every[kept])
            matched = np.full(len(found), -1, dtype=np.int64)
            matched[found >= 0] = kept[found[found >= 0]]
        return BoxPoses(every, np.concatenate([np.zeros(0), *self.box_scores]), kept, matched)


class Gathered:
    """What is predicted for a task, batch by batch.

    Attributes:
        task: the task.
        parts: its boxes, its poses in labeled boxes, and its poses in detected boxes.
    """

    def __init__(self, task: Task, bbox_thr: float) -> None:
        truth, k = task.truth, task.truth.categories.num_keypoints
        self.task, self._bbox_thr, self._counted = task, bbox_thr, has_points(truth)
        self._rows = [np.array(each, dtype=np.int64)[self._counted[list(each)]] for each in truth.rows_of_images()]
        sigmas = truth.skeleton.sigmas if k else ()
        self.parts = CollectedPoses(0), CollectedPoses(k, sigmas), CollectedPoses(k, sigmas)
        self._boxes, self._on_labels, self._on_boxes = self.parts

    def add(self, batch: range, images: Sequence[Pixels], detected: Sequence[Detections]) -> None:
        """Add what is predicted on a batch of images."""
        truth, estimator = self.task.truth, self.task.estimator
        found = [one.select(label=self.task.label, min_score=0.0) for one in detected]
        for i, one in zip(batch, found, strict=True):
            self._boxes.add(i, one.boxes, one.scores, np.zeros((len(one), 0, 2)), np.zeros((len(one), 0)))
        if estimator is None:
            return
        sure = [one[one.scores >= self._bbox_thr] for one in found]
        own = [_cut(truth.boxes[self._rows[i]], truth.images[i].size) for i in batch]
        asked = [np.concatenate([a, b.boxes]) for a, b in zip(own, sure, strict=True)]
        for i, a, b, poses in zip(batch, own, sure, estimator.estimate(images, asked), strict=True):
            arrays, n = (poses.keypoints, poses.scores, poses.areas), len(a)
            self._on_labels.add(i, a, np.ones(n), *(part[:n] for part in arrays))
            self._on_boxes.add(i, b.boxes, b.scores, *(part[n:] for part in arrays))

    def said(self, labels: Mapping[int, int]) -> PairPredictions:
        """Return all predictions, with the number of boxes of each class of the detector."""
        truth = self.task.truth
        labeled = np.full(len(truth), -1, dtype=np.int64)
        if self.task.estimator is not None:
            labeled[np.concatenate([np.zeros(0, dtype=np.int64), *self._rows])] = np.arange(self._counted.sum())
        boxes, on_labels = self._boxes.joined(), self._on_labels.estimated(truth, labeled)
        return PairPredictions(boxes, on_labels, self._on_boxes.estimated(truth), labels)


def _spread(values: Floats, matched: Ints) -> Floats:
    spread = np.full((len(matched), *values.shape[1:]), np.nan)
    spread[matched >= 0] = values[matched[matched >= 0]]
    return spread


def _images(truth: Dataset, progress: Progress) -> Iterator[tuple[range, list[Pixels]]]:
    """Yield the images in batches, with their indices; the next batch is read meanwhile."""
    batches = [
        range(start, min(start + BATCH_IMAGES, len(truth.images)))
        for start in range(0, len(truth.images), BATCH_IMAGES)
    ]
    with ThreadPoolExecutor(max_workers=2) as pool:
        ahead: list[Future[Pixels]] = []
        for number, batch in enumerate(batches):
            ready = ahead or [pool.submit(_read, truth, i) for i in batch]
            following = batches[number + 1] if number + 1 < len(batches) else ()
            ahead = [pool.submit(_read, truth, i) for i in following]
            yield batch, [future.result() for future in ready]
            progress("evaluating", batch.stop, len(truth.images))


def _read(truth: Dataset, index: int) -> Pixels:
    path = truth.images[index].path
    if path is None:
        raise InputError(truth.images[index].file_name, "", "image cannot be read: the data set has no path for it")
    return read_image(path)


def _cut(boxes: Floats, size: tuple[int, int]) -> Floats:
    # MMPose's data set clips boxes to the last pixel's coordinate, not to the image's edge.
    limit = np.array([*size, *size], dtype=np.float64) - 1
    cut: Floats = np.clip(boxes, 0.0, limit)
    return cut
