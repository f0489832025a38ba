"""Evaluate a pair, or a single model, on a split, and diagnose its errors.

Both models run once over the images (``scoring.collect``); all metrics come from those predictions
(posetools.evaluation.report). ``remarks`` explain metrics that would mislead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.folder import IMAGES, ann_file, skeleton_of
from posetools.core.skeleton import Skeleton, load_skeleton, read_skeleton
from posetools.core.stages import Stage
from posetools.errors import InputError, RequestError
from posetools.evaluation.coco import Predictions
from posetools.evaluation.remarks import explain
from posetools.evaluation.report import BOXES, LABELED, POSES, DetPart, PosePart, Report, Subject, with_remarks
from posetools.evaluation.scoring import EVAL_BBOX_THR, PairPredictions, collect, read_truth
from posetools.evaluation.undertrained import nowhere, signs
from posetools.files.disk import read_text
from posetools.formats.coco.format import read_split
from posetools.imaging.header import Pixels
from posetools.mm.configs import check_stage, config_of_run, data_root_of, load_config
from posetools.mm.device import AUTO, resolve_device
from posetools.mm.inference import Detector, PoseEstimator
from posetools.mm.run_folder import SKELETON
from posetools.mm.stack import prepare, require_train
from posetools.pairs.find import check_file, check_split, pair_of_run
from posetools.pairs.open import PipelineOptions, open_models, open_pair
from posetools.progress import Progress, silent
from posetools.recipes.emit import data_root_in
from posetools.runtime.results import AnyDetector, AnyEstimator, Detections, label_of

_WHAT = "posetools eval"
_MEASURING, _EVALUATION_STEPS = "measuring", 4


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalRequest:
    """What to evaluate: the pair of a run, the pair of a bundle, or a single model by its checkpoint; and on what.

    Attributes:
        run: the folder with one detector's run and one pose estimator's.
        bundle: or a bundle; it needs ``data``.
        checkpoint: or the weights of a single model.
        stage: which model that is.
        config: its config; None: the one in the checkpoint's folder.
        boxes: for a single pose estimator, the checkpoint of a detector, to evaluate on its boxes too.
        boxes_config: its config; None: the one in its folder.
        data: the data set's folder; None: the config's (of a run: the pose estimator's).
        split: of the data set.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        skeleton: a built-in name or a file; None: the one the model was trained with, or the data set's.
        bbox_thr: detected boxes with a lower score get no keypoints.
        flip_test: also measure with an average over the mirrored crop.
    """

    run: Path | None = None
    bundle: Path | None = None
    checkpoint: Path | None = None
    stage: Stage = "det"
    config: Path | None = None
    boxes: Path | None = None
    boxes_config: Path | None = None
    data: Path | None = None
    split: str = "val"
    device: str = AUTO
    skeleton: str | None = None
    bbox_thr: float = EVAL_BBOX_THR
    flip_test: bool = False

    @property
    def options(self) -> PipelineOptions:
        """Options for opening the models."""
        return PipelineOptions(device=self.device, skeleton=self.skeleton)

    def subject(self, name: Path, names: tuple[str, ...], data: Path) -> Subject:
        """Return the names of the pair, its two models, and the data set."""
        detector, estimator = names
        return Subject(str(name), detector, estimator, str(data), self.split, self.bbox_thr)


def evaluate(request: EvalRequest, progress: Progress = silent) -> Report:
    """Evaluate a pair or a single model; each model runs once over the images.

    Args:
        request: what to evaluate, and on what.
        progress: receives the number of images done.

    Raises:
        MissingExtraError: the ``train`` extra is not installed, or for a bundle the ``runtime`` extra.
        RequestError: not exactly one thing to evaluate is given, or it cannot be evaluated on that data.
        InputError: a file cannot be read, or config, checkpoint and data do not belong together.
    """
    if [request.run, request.bundle, request.checkpoint].count(None) != 2:
        raise RequestError("exactly one of run, bundle and checkpoint must be given")
    if request.bundle is not None:
        return _evaluate_bundle(request.bundle, request, progress)
    if request.run is not None:
        return _evaluate_run(request.run, request, progress)
    return _evaluate_checkpoint(Path(request.checkpoint or ""), request, progress)


def _evaluate_bundle(bundle: Path, request: EvalRequest, progress: Progress) -> Report:
    if request.data is None:
        raise RequestError(f"{bundle}: a bundle requires --data", hint="add --data DIR, the data set to evaluate on")
    pair = open_pair(replace(request.options, flip_test=request.flip_test), bundle=bundle)
    truth = read_truth(request.data, request.split, pair.skeleton)
    subject = request.subject(bundle, pair.names, request.data)
    return measure(subject, pair.detector, pair.estimator, truth, progress=progress)


def _evaluate_run(run: Path, request: EvalRequest, progress: Progress) -> Report:
    require_train(_WHAT)
    _check(request)
    files = pair_of_run(run)
    written = data_root_in(read_text(files.pose.config))
    if request.data is None and written is not None:
        check_split(written, request.split)
    pair = open_models(files, request.options, what=_WHAT)
    trained_on = data_root_of(pair.estimator.config)
    data = request.data or trained_on
    truth = read_truth(data, request.split, pair.skeleton)
    return measure(
        request.subject(run, pair.names, data),
        pair.detector,
        pair.estimator,
        truth,
        training=_training(trained_on, pair.skeleton),
        mirrored=_mirrored(pair.estimator) if request.flip_test else None,
        progress=progress,
    )


def _training(data: Path, skeleton: Skeleton) -> Dataset | None:
    """Return the training split of a pair, or None if it is gone: it is only for a remark."""
    try:
        return read_split(ann_file(data, "train"), data / IMAGES, skeleton).dataset
    except InputError:
        return None


def _mirrored(estimator: PoseEstimator) -> PoseEstimator:
    return PoseEstimator(estimator.config_file, estimator.checkpoint, estimator.device, flip_test=True)


def _evaluate_checkpoint(checkpoint: Path, request: EvalRequest, progress: Progress) -> Report:
    require_train(_WHAT)
    boxes = request.boxes if request.stage == "pose" else None
    _check(request)
    prepare(_WHAT)
    config = _config(checkpoint, request.config, request.stage)
    boxes_config = _config(boxes, request.boxes_config, "det") if boxes else None
    device, data = resolve_device(request.device), request.data or data_root_of(load_config(config))
    truth = read_truth(data, request.split, _skeleton(checkpoint, request, data))
    detector = estimator = mirrored = None
    if request.stage == "det":
        detector = Detector(config, checkpoint, device)
    else:
        estimator = PoseEstimator(config, checkpoint, device)
        mirrored = _mirrored(estimator) if request.flip_test else None
        detector = Detector(boxes_config, boxes, device) if boxes and boxes_config else None
    names = (str(checkpoint), "") if request.stage == "det" else (str(boxes or ""), str(checkpoint))
    subject = replace(request.subject(checkpoint, names, data), stage=request.stage, config=str(config))
    return measure(subject, detector, estimator, truth, mirrored=mirrored, progress=progress)


def _check(request: EvalRequest) -> None:
    """Check the request as far as possible without torch."""
    request.options.check()
    models = (request.checkpoint, request.config), (request.boxes, request.boxes_config)
    for path in (path for model in models for path in model if path is not None):
        check_file(path, "config" if path.suffix == ".py" else "checkpoint")
    if request.data is not None:
        check_split(request.data, request.split)
    for checkpoint, config in models:
        if checkpoint is not None and config is None:
            config_of_run(checkpoint.parent)


def _config(checkpoint: Path, config: Path | None, stage: Stage) -> Path:
    path = config or config_of_run(checkpoint.parent)
    check_stage(load_config(path), stage)
    return path


def _skeleton(checkpoint: Path, request: EvalRequest, data: Path) -> Skeleton:
    if request.skeleton is not None:
        return load_skeleton(request.skeleton)
    beside = checkpoint.parent / SKELETON
    return read_skeleton(beside) if beside.is_file() else skeleton_of(data)


def measure(
    subject: Subject,
    detector: AnyDetector | None,
    estimator: AnyEstimator | None,
    truth: Dataset,
    *,
    training: Dataset | None = None,
    mirrored: AnyEstimator | None = None,
    progress: Progress = silent,
) -> Report:
    """Run a pair, or one model, once over the images of a split, and return its report.

    Args:
        subject: its names, and the score threshold for detected boxes.
        detector: predicts the boxes.
        estimator: predicts the keypoints.
        truth: the labels; its images are read from their paths.
        training: the training split, if known.
        mirrored: the pose estimator with a flip test, if that is to be measured.
        progress: receives the number of images done.

    Raises:
        RequestError: the models are for other objects or keypoints than the labels.
        InputError: an image cannot be read.
    """
    if estimator is not None and estimator.num_keypoints != truth.skeleton.num_keypoints:
        raise RequestError(
            f"{subject.estimator}: predicts {estimator.num_keypoints} keypoints, but skeleton {truth.skeleton.name} "
            f"has {truth.skeleton.num_keypoints}",
            hint="use the --skeleton and --data that it was trained with",
        )
    label = label_of(detector.classes, truth.skeleton, subject.detector) if detector else 0
    said = collect(
        truth, detector=detector, estimator=estimator, label=label, bbox_thr=subject.bbox_thr, progress=progress
    )
    report = Report(subject, truth, DetPart(truth, said.boxes), *_pose_parts(truth, said), remarks={})
    if detector is not None and subject.stage is None:
        classes = {name: said.labels.get(index, 0) for index, name in enumerate(detector.classes)}
        report = _explained(report, training, classes, progress)
    if mirrored is not None:
        # The detector need not run again.
        boxes = _ReplayedDetector(said.boxes) if detector else None
        said = collect(truth, detector=boxes, estimator=mirrored, bbox_thr=subject.bbox_thr, progress=progress)
        report = replace(report, flipped=_pose_parts(truth, said))
    why = {}
    if isinstance(detector, Detector) and subject.stage != "pose":
        why[BOXES] = signs(detector, truth, report.det.scores.ap, progress, label=label)
    if isinstance(estimator, PoseEstimator):
        why[f"{POSES}, {LABELED}"] = signs(estimator, truth, report.labeled.scores.oks.ap, progress)
    return with_remarks(report, why)


class _ReplayedDetector:
    """A detector that returns the boxes of an earlier pass over the same images, in order."""

    classes: tuple[str, ...] = ()

    def __init__(self, boxes: Predictions) -> None:
        self._boxes = boxes
        self._next = 0

    def __call__(self, images: Sequence[Pixels]) -> list[Detections]:
        image_ids = range(self._next, self._next + len(images))
        self._next = image_ids.stop
        rows = [np.flatnonzero(self._boxes.image_index == image) for image in image_ids]
        return [Detections(self._boxes.boxes[of], self._boxes.scores[of], np.zeros_like(of)) for of in rows]


def _pose_parts(truth: Dataset, said: PairPredictions) -> tuple[PosePart, PosePart]:
    labeled = PosePart(truth, said.on_labels, boxes_are_labels=True)
    return labeled, PosePart(truth, said.on_boxes, boxes_are_labels=False)


def _explained(report: Report, training: Dataset | None, classes: Mapping[str, int], progress: Progress) -> Report:
    """Return the report of a pair, fully computed, with remarks on each part."""
    truth, det = report.truth, report.det
    parts: tuple[DetPart | PosePart, ...] = (det, report.labeled, report.detected)
    for done, part in enumerate(parts, start=1):
        # Computes all metrics here, where progress is shown.
        part.as_dict()
        progress(_MEASURING, done, _EVALUATION_STEPS)
    remarks = {BOXES: explain(truth, det.predicted, det.evaluation, training=training, classes=classes)}
    for boxes, side in report.sides.items():
        remarks[f"{POSES}, {boxes}"] = explain(truth, side.predicted, side.evaluation, training=training)
    progress(_MEASURING, _EVALUATION_STEPS, _EVALUATION_STEPS)
    report = replace(report, remarks=remarks)
    # A systematic error or another category also causes boxes without overlap.
    unexplained = all(one.code == "zero" for one in remarks[BOXES])
    return with_remarks(report, {BOXES: nowhere(truth, det.predicted)}) if unexplained else report
