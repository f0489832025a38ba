"""Evaluation of a checkpoint, or of the pair of a run, on a split: the part of ``posetools eval`` that needs OpenMMLab.

The scores themselves: posetools.evaluation.scoring. The whole of a pair: posetools.evaluation.run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from posetools.core.dataset import Dataset
from posetools.core.folder import IMAGES, ann_file, skeleton_of
from posetools.core.skeleton import Skeleton, load_skeleton, read_skeleton
from posetools.errors import InputError, RequestError
from posetools.evaluation.metrics import BoxScores
from posetools.evaluation.remarks import Remark
from posetools.evaluation.run import (
    BOXES,
    DEFAULT_SPLIT,
    POSES,
    FlipScores,
    RunReport,
    SplitRequest,
    Subject,
    measure,
    with_remarks,
)
from posetools.evaluation.scoring import BBOX_THR, PoseScores, read_truth, score_boxes, score_poses
from posetools.evaluation.signs import box_signs, pose_signs
from posetools.files.disk import read_text
from posetools.formats.coco.format import read_split
from posetools.mm.configs import Stage, check_stage, config_of_run, data_root_of, load_config
from posetools.mm.device import AUTO, resolve_device
from posetools.mm.inference import Detector, PoseEstimator
from posetools.mm.run_folder import SKELETON
from posetools.mm.stack import prepare, require_train
from posetools.pairs.find import pair_of_run, skeleton_of_pair
from posetools.pairs.given import check_split
from posetools.progress import Progress, silent
from posetools.recipes.find import data_root_in
from posetools.runtime.results import label_of


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
        flip_test: for poses, measure what an average with the mirrored crop would add as well.
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
    flip_test: bool = False


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
    """How well a detector finds the objects of a split.

    Attributes:
        what: what was evaluated.
        scores: COCO's box metrics.
        remarks: what the scores alone do not say.
    """

    what: Evaluated
    scores: BoxScores
    remarks: tuple[Remark, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        remarks = [one.as_dict() for one in self.remarks]
        return {"stage": "det", **self.what.as_dict(), "remarks": remarks, "bbox": self.scores.as_dict()}


@dataclass(frozen=True, slots=True)
class PoseReport:
    """How good the keypoints are on labelled boxes and, where a detector was given, on detected ones.

    Attributes:
        what: what was evaluated.
        detector: the detector's checkpoint, or None.
        labelled: on the labelled boxes.
        detected: on the detected boxes, or None.
        remarks: what the scores alone do not say.
        flip_test: both with a flip test, where it was measured.
    """

    what: Evaluated
    detector: str | None
    labelled: PoseScores
    detected: PoseScores | None
    remarks: tuple[Remark, ...] = ()
    flip_test: FlipScores | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "stage": "pose",
            **self.what.as_dict(),
            "remarks": [one.as_dict() for one in self.remarks],
            "detector": self.detector,
            "labelled_boxes": self.labelled.as_dict(),
            "detected_boxes": self.detected.as_dict() if self.detected else None,
            "flip_test": self.flip_test.as_dict() if self.flip_test else None,
        }


def evaluate_run(run: Path, request: SplitRequest = DEFAULT_SPLIT, progress: Progress = silent) -> RunReport:
    """Return all that can be measured of the pair in a folder of runs; each model runs once over the pictures.

    Args:
        run: the folder with one detector's run and one pose estimator's.
        request: what it is measured on; its data are those of the pose estimator's config unless it says otherwise.
        progress: told how many pictures are done.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: ``run`` does not hold one detector and one pose estimator, or cannot be evaluated on that data.
        InputError: a file cannot be read, or config, checkpoint and data do not belong together.
    """
    require_train("posetools eval")
    check_split(request.data, request.split, device=request.device, skeleton=request.skeleton)
    pair = pair_of_run(run)
    if request.data is None:
        check_split(data_root_in(read_text(pair.pose.config)), request.split, device=request.device)
    prepare("posetools eval")
    device = resolve_device(request.device)
    data = request.data or data_root_of(load_config(pair.pose.config))
    detector = Detector(pair.det.config, pair.det.checkpoint, device)
    estimator = PoseEstimator(pair.pose.config, pair.pose.checkpoint, device)
    flips = request.flip_test
    mirrored = PoseEstimator(pair.pose.config, pair.pose.checkpoint, device, flip_test=True) if flips else None
    if request.skeleton is not None:
        skeleton = load_skeleton(request.skeleton)
    else:
        skeleton = skeleton_of_pair(pair, estimator, detector.classes)
    subject = Subject(
        name=str(run),
        detector=str(pair.det.checkpoint),
        estimator=str(pair.pose.checkpoint),
        data=str(data),
        split=request.split,
        bbox_thr=request.bbox_thr,
    )
    truth = read_truth(data, request.split, skeleton)
    training = _training(data_root_of(load_config(pair.pose.config)), skeleton)
    report = measure(subject, detector, estimator, truth, training=training, mirrored=mirrored, progress=progress)
    label = label_of(detector.classes, truth.skeleton, pair.det.config)
    remarks = {
        BOXES: box_signs(detector, label, truth, report.det.scores.ap, progress),
        f"{POSES}, labelled boxes": _pose_remarks(estimator, truth, report.labelled.scores.oks.ap, progress),
    }
    return with_remarks(report, remarks)


def _pose_remarks(estimator: PoseEstimator, truth: Dataset, ap: float | None, progress: Progress) -> tuple[Remark, ...]:
    return (*pose_signs(estimator, truth, ap, progress), *flip_remarks(estimator))


def flip_remarks(estimator: PoseEstimator) -> tuple[Remark, ...]:
    """Return the sentence for a config whose own evaluation, in training and by the stock tools, has a flip test."""
    if not estimator.flips_by_config:
        return ()
    text = (
        "the config mirrors every crop when training evaluates (flip_test=True), so the AP in the training log is "
        "another one. Here no crop is mirrored, as in `posetools predict`; --flip-test shows what it adds"
    )
    return (Remark("flip-test", text),)


def _training(data: Path, skeleton: Skeleton) -> Dataset | None:
    """Return what a pair was trained on, as far as it is still there: it only serves a remark."""
    try:
        return read_split(ann_file(data, "train"), data / IMAGES, skeleton).dataset
    except InputError:
        return None


def evaluate_det(request: EvalRequest, progress: Progress = silent) -> DetReport:
    """Return COCO's box metrics of a detector.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: what was asked for cannot be evaluated.
        InputError: a file cannot be read, or config, checkpoint and data do not belong together.
    """
    _prepare(request)
    config = _config(request.checkpoint, request.config, "det")
    device = resolve_device(request.device)
    truth, what = _truth(request, config)
    detector = Detector(config, request.checkpoint, device)
    label = label_of(detector.classes, truth.skeleton, config)
    scores = score_boxes(detector, label, truth, progress)
    return DetReport(what, scores, box_signs(detector, label, truth, scores.ap, progress))


def evaluate_pose(request: EvalRequest, progress: Progress = silent) -> PoseReport:
    """Return OKS, PCK and NME of a pose estimator, on labelled boxes and, if asked for, on detected ones.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: what was asked for cannot be evaluated.
        InputError: a file cannot be read, or config, checkpoint and data do not belong together.
    """
    _prepare(request)
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
    label = label_of(detector.classes, truth.skeleton, request.boxes) if detector and request.boxes else 0
    labelled, detected = score_poses(
        estimator,
        truth,
        detector=detector,
        label=label,
        bbox_thr=request.bbox_thr,
        progress=progress,
    )
    remarks = _pose_remarks(estimator, truth, labelled.oks.ap, progress)
    report = PoseReport(what, str(request.boxes) if request.boxes else None, labelled, detected, remarks)
    if not request.flip_test:
        return report
    mirrored = PoseEstimator(config, request.checkpoint, device, flip_test=True)
    scores = score_poses(mirrored, truth, detector=detector, label=label, bbox_thr=request.bbox_thr, progress=progress)
    return replace(report, flip_test=FlipScores(*scores))


def _prepare(request: EvalRequest) -> None:
    """Look at what needs no torch before it is imported."""
    require_train("posetools eval")
    models = (request.checkpoint, request.config, request.boxes, request.boxes_config)
    check_split(request.data, request.split, device=request.device, skeleton=request.skeleton, models=models)
    for checkpoint, config in ((request.checkpoint, request.config), (request.boxes, request.boxes_config)):
        if checkpoint is not None and config is None:
            config_of_run(checkpoint.parent)
    prepare("posetools eval")


def _config(checkpoint: Path, config: Path | None, stage: Stage) -> Path:
    path = config or config_of_run(checkpoint.parent)
    check_stage(load_config(path), stage)
    return path


def _truth(request: EvalRequest, config: Path) -> tuple[Dataset, Evaluated]:
    data = request.data or data_root_of(load_config(config))
    beside = request.checkpoint.parent / SKELETON
    if request.skeleton is not None:
        skeleton = load_skeleton(request.skeleton)
    else:
        skeleton = read_skeleton(beside) if beside.is_file() else skeleton_of(data)
    truth = read_truth(data, request.split, skeleton)
    names = (str(request.checkpoint), str(config), str(data), request.split)
    return truth, Evaluated(*names, images=len(truth.images), objects=len(truth))
