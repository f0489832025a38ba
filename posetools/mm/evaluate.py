"""Evaluation of a checkpoint on a split: boxes by COCO's metrics, poses by OKS, PCK and NME.

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
from posetools.dataset_folder import IMAGES, ann_file, skeleton_of, splits_of
from posetools.errors import InputError, RequestError
from posetools.findings import has_errors
from posetools.formats.coco import read_split
from posetools.geometry import Bools, Floats, Ints
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
from posetools.mm.configs import Stage, check_stage, config_of_run, data_root_of, load_config
from posetools.mm.device import AUTO, resolve_device
from posetools.mm.inference import Detector, Picture, PoseEstimator, Poses
from posetools.mm.runtime import prepare
from posetools.mm.train import SKELETON
from posetools.progress import Progress, silent
from posetools.skeleton import Skeleton, load_skeleton, read_skeleton

# Pictures that are in memory at once, twice: one batch is predicted on while the next is read.
_PICTURES = 8

# Detected boxes below this score are not worth a crop: they come last in AP, and there are hundreds of them.
BBOX_THR = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalRequest:
    """What to evaluate.

    Attributes:
        checkpoint: the weights.
        config: their config; None: the one in the checkpoint's folder.
        data: the data set's folder; None: the config's.
        split: of the data set.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        skeleton: a built-in name or a file; None: the one in the checkpoint's folder, else the data set's.
        boxes: for poses, the checkpoint of a detector whose boxes are used as well.
        boxes_config: its config; None: the one in its folder.
        bbox_thr: detected boxes with a lower score are not used for poses.
    """

    checkpoint: Path
    config: Path | None = None
    data: Path | None = None
    split: str = "val"
    device: str = AUTO
    skeleton: str | None = None
    boxes: Path | None = None
    boxes_config: Path | None = None
    bbox_thr: float = BBOX_THR


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What was evaluated: names for the report."""

    checkpoint: str
    config: str
    data: str
    split: str
    images: int
    objects: int

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {name: getattr(self, name) for name in ("checkpoint", "config", "data", "split", "images", "objects")}


@dataclass(frozen=True, slots=True)
class DetReport:
    """How well a detector finds the objects of a split."""

    what: Evaluated
    scores: BoxScores

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"stage": "det", **self.what.as_dict(), "bbox": self.scores.as_dict()}


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


@dataclass(frozen=True, slots=True)
class PoseReport:
    """How good the keypoints are on labelled boxes and, where a detector was given, on detected ones.

    Attributes:
        what: what was evaluated.
        detector: the detector's checkpoint, or None.
        labelled: on the labelled boxes.
        detected: on the detected boxes, or None.
    """

    what: Evaluated
    detector: str | None
    labelled: PoseScores
    detected: PoseScores | None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "stage": "pose",
            **self.what.as_dict(),
            "detector": self.detector,
            "labelled_boxes": self.labelled.as_dict(),
            "detected_boxes": self.detected.as_dict() if self.detected else None,
        }


def evaluate_det(request: EvalRequest, progress: Progress = silent) -> DetReport:
    """Return COCO's box metrics of a detector.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: what was asked for cannot be evaluated.
        InputError: a file cannot be read, or config, checkpoint and data do not belong together.
    """
    prepare("posetools eval")
    config = _config(request.checkpoint, request.config, "det")
    device = resolve_device(request.device)
    truth, what = _truth(request, config)
    detector = Detector(config, request.checkpoint, device)
    label = _label_of(detector, truth.skeleton)
    found: list[Predictions] = []
    for rows, pictures in _pictures(truth, progress):
        boxes = [one.select(label=label, min_score=0.0) for one in detector(pictures)]
        found += [
            _predictions(image, one.boxes, one.scores, np.zeros((len(one), 0, 2)))
            for image, one in zip(rows, boxes, strict=True)
        ]
    return DetReport(what, box_scores(truth, _joined(found, 0)))


def evaluate_pose(request: EvalRequest, progress: Progress = silent) -> PoseReport:
    """Return OKS, PCK and NME of a pose estimator, on labelled boxes and, if asked for, on detected ones.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: what was asked for cannot be evaluated.
        InputError: a file cannot be read, or config, checkpoint and data do not belong together.
    """
    prepare("posetools eval")
    config = _config(request.checkpoint, request.config, "pose")
    detector_config = _config(request.boxes, request.boxes_config, "det") if request.boxes else None
    device = resolve_device(request.device)
    truth, what = _truth(request, config)
    estimator = PoseEstimator(config, request.checkpoint, device)
    if estimator.num_keypoints != truth.skeleton.num_keypoints:
        raise RequestError(
            f"{request.checkpoint}: predicts {estimator.num_keypoints} keypoints, but skeleton {truth.skeleton.name} "
            f"has {truth.skeleton.num_keypoints}\n  --skeleton and --data must be those it was trained with"
        )
    detector = Detector(detector_config, request.boxes, device) if detector_config and request.boxes else None
    counted = ~truth.iscrowd & (truth.num_labelled > 0)
    on_labels, points, on_boxes = _estimate(truth, counted, estimator, detector, request.bbox_thr, progress)
    return PoseReport(
        what=what,
        detector=str(request.boxes) if request.boxes else None,
        labelled=_scores(truth, counted, on_labels, points),
        detected=None if on_boxes is None else _scores(truth, counted, on_boxes, _matched(truth, on_boxes)),
    )


def _config(checkpoint: Path, config: Path | None, stage: Stage) -> Path:
    if not checkpoint.is_file():
        raise InputError(checkpoint, "", "checkpoint does not exist")
    path = config or config_of_run(checkpoint.parent)
    check_stage(load_config(path), stage)
    return path


def _truth(request: EvalRequest, config: Path) -> tuple[Dataset, Evaluated]:
    data = request.data or data_root_of(load_config(config))
    splits = splits_of(data)
    if request.split not in splits:
        raise RequestError(f"{data}: has no split {request.split!r}; it has {', '.join(splits)}")
    beside = request.checkpoint.parent / SKELETON
    if request.skeleton is not None:
        skeleton = load_skeleton(request.skeleton)
    else:
        skeleton = read_skeleton(beside) if beside.is_file() else skeleton_of(data)
    result = read_split(ann_file(data, request.split), data / IMAGES, skeleton)
    if has_errors(result.findings):
        first = result.findings[0]
        raise InputError(
            first.file,
            first.place,
            f"{first.code} {first.message}",
            hint=f"`posetools validate {data}` lists all problems; metrics of such a file would mislead",
        )
    truth = result.dataset
    names = (str(request.checkpoint), str(config), str(data), request.split)
    return truth, Evaluated(*names, images=len(truth.images), objects=len(truth))


def _label_of(detector: Detector, skeleton: Skeleton) -> int:
    name = skeleton.category.name
    if name not in detector.classes:
        raise RequestError(
            f"{detector.config.filename}: classes must have the skeleton's category {name!r}, "
            f"got {', '.join(detector.classes) or 'none'}"
        )
    return detector.classes.index(name)


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
    import mmcv

    path = truth.images[index].path
    picture: Picture | None = mmcv.imread(path) if path and path.is_file() else None
    if picture is None:
        raise InputError(path or truth.images[index].file_name, "", "picture cannot be read")
    return picture


def _estimate(
    truth: Dataset,
    counted: Bools,
    estimator: PoseEstimator,
    detector: Detector | None,
    bbox_thr: float,
    progress: Progress,
) -> tuple[Predictions, Floats, Predictions | None]:
    """Return the objects predicted on labelled boxes, their (N, K, 2) points by label, and those on detected boxes."""
    k, sigmas = truth.skeleton.num_keypoints, truth.skeleton.sigmas
    label = _label_of(detector, truth.skeleton) if detector else 0
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
    return _joined(on_labels, k), points, _joined(on_boxes, k) if detector else None


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


def _scores(truth: Dataset, counted: Bools, predicted: Predictions, points: Floats) -> PoseScores:
    labels, own, boxes = truth.keypoints[counted], points[counted], truth.boxes[counted]
    names = truth.skeleton.names
    return PoseScores(
        oks=oks_scores(truth, predicted, truth.skeleton.sigmas),
        points={subset: keypoint_scores(labels, own, boxes, names, subset) for subset in SUBSETS},
        without_box=int(np.isnan(own).any(axis=(1, 2)).sum()),
    )
