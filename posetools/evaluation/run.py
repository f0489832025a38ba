"""Evaluate a pair, or a single model, on a split, and diagnose its errors.

All models run once over the images (``scoring.collect_each``); all metrics come from those predictions
(posetools.evaluation.report). ``remarks`` explain metrics that would mislead. With several categories there is a report
of each and one of all (posetools.evaluation.categories).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from posetools.core.categories import Categories, load_categories
from posetools.core.dataset import Dataset
from posetools.core.folder import FOLDS, IMAGES, ann_file, categories_of, folds_of
from posetools.core.groups import recorded_grouping
from posetools.core.stages import Stage
from posetools.errors import InputError, RequestError
from posetools.evaluation.bootstrap import Resamples
from posetools.evaluation.categories import report_of_all
from posetools.evaluation.folds import out_of_fold
from posetools.evaluation.remarks import explain
from posetools.evaluation.report import BOXES, LABELED, POSES, DetPart, PosePart, Report, Subject, with_remarks
from posetools.evaluation.scoring import EVAL_BBOX_THR, PairPredictions, Task, collect_each, read_truth
from posetools.evaluation.spread import Spread
from posetools.evaluation.undertrained import nowhere, signs
from posetools.files.disk import read_text
from posetools.formats.coco.format import read_split
from posetools.mm.configs import (
    check_fold,
    check_stage,
    config_of_run,
    data_root_of,
    has_fold,
    load_config,
    own_split,
)
from posetools.mm.device import AUTO, resolve_device
from posetools.mm.inference import Detector, PoseEstimator
from posetools.mm.run_folder import SKELETON
from posetools.mm.stack import prepare, require_train
from posetools.pairs.find import check_file, check_split, pair_of_run
from posetools.pairs.open import PipelineOptions, open_models, open_pair
from posetools.pairs.trained import trained_by
from posetools.progress import Progress, silent
from posetools.recipes.emit import data_root_in
from posetools.runtime.results import AnyDetector, AnyEstimator, label_of
from posetools.scale.shards import ModelEngine

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
        folds: ``run`` has a pair for each fold: evaluate all images, each with the pair that did not train on it.
        engine: predicts with ``bundle`` in several processes; None: in this one.
        threads: of each network of ``bundle``; None: all cores, or the engine's number.
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
    folds: bool = False
    engine: ModelEngine | None = None
    threads: int | None = None

    @property
    def options(self) -> PipelineOptions:
        """Options for opening the models."""
        return PipelineOptions(device=self.device, skeleton=self.skeleton, threads=self.threads)

    def subject(self, name: Path, names: tuple[str, ...], data: Path) -> Subject:
        """Return the names of the pair, its detector, its pose estimators, and the data set."""
        detector, *estimators = names
        return Subject(str(name), detector, ", ".join(estimators), str(data), self.split, self.bbox_thr)


def evaluate(request: EvalRequest, progress: Progress = silent) -> Report:
    """Evaluate a pair or a single model; each model runs once over the images.

    With several categories the report is a CategoriesReport.

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
    if request.run is not None and request.folds:
        return _evaluate_folds(request.run, request, progress)
    if request.run is not None:
        made = trained_by(request.run)
        run = _evaluate_run if made is None else partial(_evaluate_trained, made.data)
        return run(request.run, request, progress)
    return _evaluate_checkpoint(Path(request.checkpoint or ""), request, progress)


def _evaluate_bundle(bundle: Path, request: EvalRequest, progress: Progress) -> Report:
    if request.data is None:
        raise RequestError(f"{bundle}: a bundle requires --data", hint="add --data DIR, the data set to evaluate on")
    pair = open_pair(replace(request.options, flip_test=request.flip_test), bundle=bundle)
    truth = read_truth(request.data, request.split, pair.categories)
    subject = request.subject(bundle, pair.names, request.data)
    estimators = dict(zip(pair.names[1:], pair.estimators, strict=True))
    spread = Spread(bundle, request.options, pair, request.engine) if request.engine else None
    return measure_categories(subject, pair.detector, estimators, truth, progress=progress, spread=spread)


def _evaluate_trained(trained_on: Path, run: Path, request: EvalRequest, progress: Progress) -> Report:
    """Evaluate a run of another trainer than OpenMMLab's."""
    data = request.data or trained_on
    check_split(data, request.split)
    pair = open_pair(replace(request.options, flip_test=request.flip_test), run=run, what=_WHAT)
    return measure_categories(
        request.subject(run, pair.names, data),
        pair.detector,
        dict(zip(pair.names[1:], pair.estimators, strict=True)),
        read_truth(data, request.split, pair.categories),
        training=_training(trained_on, "train", pair.categories),
        progress=progress,
    )


def _evaluate_run(run: Path, request: EvalRequest, progress: Progress) -> Report:
    require_train(_WHAT)
    _check(request)
    files = pair_of_run(run)
    last = (files.det, *files.poses)[-1]
    written = data_root_in(read_text(last.config))
    if request.data is None and written is not None and not folds_of(written):
        check_split(written, request.split)
    pair = open_models(files, request.options, what=_WHAT)
    config = (pair.detector, *pair.estimators)[-1].config
    trained_on = data_root_of(config)
    data, request = request.data or trained_on, _of_fold(request, config)
    return measure_categories(
        request.subject(run, pair.names, data),
        pair.detector,
        dict(zip(pair.names[1:], pair.estimators, strict=True)),
        read_truth(data, request.split, pair.categories),
        training=_training(trained_on, own_split(config, "train"), pair.categories),
        mirrored=_mirrored(pair.estimators) if request.flip_test else (),
        progress=progress,
    )


def _of_fold(request: EvalRequest, config: Any) -> EvalRequest:
    """Return the request for a model of a fold: train and val of its data set are the fold's, not those of others."""
    if config.get("fold") is None:
        return request
    trained_on, data = data_root_of(config), request.data
    if data is None or data.resolve() == trained_on.resolve():
        check_fold(config, trained_on)
    elif not has_fold(config, data):
        return request
    return replace(request, split=own_split(config, request.split))


def _evaluate_folds(run: Path, request: EvalRequest, progress: Progress) -> Report:
    ask = partial(out_of_fold, run, request.data, bbox_thr=request.bbox_thr, progress=progress)
    found = ask(request.options)
    mirrored = ask(replace(request.options, flip_test=True)).parts if request.flip_test else {}
    first, resamples = next(iter(found.folds.values())), _resamples(found.truth, found.data / FOLDS)
    names = tuple(map(", ".join, zip(*(fold.pair.names for fold in found.folds.values()), strict=True)))
    subject = replace(request, split=f"val of {len(found.folds)} folds").subject(run, names, found.data)
    classes = first.pair.detector.classes if len(found.parts) == 1 else ()
    reports = dict[str, Report]()
    for (name, (truth, said)), task in zip(found.parts.items(), first.tasks, strict=True):
        flipped = mirrored[name][1] if mirrored else None
        report = _reported(subject, truth, said, flipped, classes, resamples, progress)
        # The folds have one recipe, so the first fold's log shows whether it trains long enough.
        reports[name] = report = _with_signs(report, first.pair.detector, task, progress)
    return report if len(reports) == 1 else report_of_all(subject, found.truth, reports)


def _training(data: Path, split: str, categories: Categories) -> Dataset | None:
    """Return the training split of a pair, or None if it is gone: it is only for a remark."""
    try:
        return read_split(ann_file(data, split), data / IMAGES, categories).dataset
    except InputError:
        return None


def _mirrored(estimators: Sequence[PoseEstimator]) -> list[PoseEstimator]:
    return [PoseEstimator(one.config_file, one.checkpoint, one.device, flip_test=True) for one in estimators]


def _evaluate_checkpoint(checkpoint: Path, request: EvalRequest, progress: Progress) -> Report:
    require_train(_WHAT)
    boxes = request.boxes if request.stage == "pose" else None
    _check(request)
    prepare(_WHAT)
    config = _config(checkpoint, request.config, request.stage)
    boxes_config = _config(boxes, request.boxes_config, "det") if boxes else None
    loaded = load_config(config)
    device, data = resolve_device(request.device), request.data or data_root_of(loaded)
    request = _of_fold(request, loaded)
    truth = _truth_for(checkpoint, request, data)
    detector, estimators = None, list[PoseEstimator]()
    if request.stage == "det":
        detector = Detector(config, checkpoint, device)
    else:
        estimators = [PoseEstimator(config, checkpoint, device)]
        detector = Detector(boxes_config, boxes, device) if boxes and boxes_config else None
    names = (str(checkpoint), "") if request.stage == "det" else (str(boxes or ""), str(checkpoint))
    subject = replace(request.subject(checkpoint, names, data), stage=request.stage, config=str(config))
    named = {str(checkpoint): one for one in estimators}
    mirrored = _mirrored(estimators) if request.flip_test else ()
    return measure_categories(subject, detector, named, truth, mirrored=mirrored, progress=progress)


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


def _truth_for(checkpoint: Path, request: EvalRequest, data: Path) -> Dataset:
    """Return the labels for a single model: for a pose estimator, those of its own categories."""
    named = request.skeleton or checkpoint.parent / SKELETON
    own = load_categories(named) if request.skeleton or Path(named).is_file() else categories_of(data)
    every = categories_of(data) if request.stage == "pose" else own
    if not own.ids.keys() < every.ids.keys():
        every = own
    truth = read_truth(data, request.split, every)
    if request.stage == "pose" and len(own.posed) > 1:
        raise RequestError(
            f"{checkpoint}: a pose estimator has one skeleton, but {data} has {', '.join(own.posed)}",
            hint="use --skeleton FILE, the skeleton that it was trained with",
        )
    return truth if own is every else truth.of_categories(Categories(tuple(every[every.ids[name]] for name in own.ids)))


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
    part = _Part(subject, truth, estimator, mirrored)
    return _measured([part], detector, training, progress)[0]


def measure_categories(
    subject: Subject,
    detector: AnyDetector | None,
    estimators: Mapping[str, AnyEstimator],
    truth: Dataset,
    *,
    training: Dataset | None = None,
    mirrored: Sequence[AnyEstimator] = (),
    progress: Progress = silent,
    spread: Spread | None = None,
) -> Report:
    """Run a detector and a pose estimator of each skeleton once over the images of a split, and return their report.

    Args:
        subject: as for ``measure``, which does the same for one category.
        detector: predicts the boxes of all categories; its classes have their names.
        estimators: name for reports -> pose estimator, one for each of ``truth.categories.posed`` or none at all.
        truth: the labels; its images are read from their paths.
        training: the training split, if known.
        mirrored: the pose estimators with a flip test, if that is to be measured.
        progress: receives the number of images done.
        spread: where to predict; None: in this process.

    Returns:
        With several categories a CategoriesReport.

    Raises:
        RequestError: the models are for other objects or keypoints than the labels.
        InputError: an image cannot be read.
    """
    of_skeleton = zip(truth.categories.posed.values(), zip_longest(estimators.items(), mirrored), strict=False)
    models = {category: both for group, both in of_skeleton for category in group}
    parts = []
    for category, skeleton in truth.categories.items():
        (name, estimator), flipped = models.get(category, (("", None), None))
        own = replace(subject, estimator=name)
        parts.append(_Part(own, truth.of_categories(Categories((skeleton,))), estimator, flipped))
    reports = _measured(parts, detector, training, progress, spread)
    if len(parts) == 1:
        return reports[0]
    return report_of_all(subject, truth, dict(zip(truth.categories.ids, reports, strict=True)))


@dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """What is measured of a category: the labels, the pose estimator, and the same one with a flip test."""

    subject: Subject
    truth: Dataset
    estimator: AnyEstimator | None
    mirrored: AnyEstimator | None

    def label(self, detector: AnyDetector | None) -> int:
        """Return the index of the category in the detector's classes.

        Raises:
            RequestError: it has no such class, or the pose estimator has other keypoints.
        """
        skeleton, estimator = self.truth.skeleton, self.estimator
        if estimator is not None and estimator.num_keypoints != skeleton.num_keypoints:
            raise RequestError(
                f"{self.subject.estimator}: predicts {estimator.num_keypoints} keypoints, but skeleton {skeleton.name} "
                f"has {skeleton.num_keypoints}",
                hint="use the --skeleton and --data that it was trained with",
            )
        return label_of(detector.classes, skeleton, self.subject.detector) if detector else 0


def _measured(
    parts: Sequence[_Part],
    detector: AnyDetector | None,
    training: Dataset | None,
    progress: Progress,
    spread: Spread | None = None,
) -> list[Report]:
    """Return the report of each part; all models run in one pass over the images."""
    labels = [part.label(detector) for part in parts]
    tasks = [Task(part.truth, label, part.estimator) for part, label in zip(parts, labels, strict=True)]
    mirrored = {at: replace(tasks[at], estimator=part.mirrored) for at, part in enumerate(parts) if part.mirrored}
    bbox_thr, every = parts[0].subject.bbox_thr, [*tasks, *mirrored.values()]
    said = collect_each(every, detector, bbox_thr=bbox_thr, progress=progress, spread=spread)
    flipped = dict(zip(mirrored, said[len(tasks) :], strict=True))
    resamples, reports = _resamples(parts[0].truth, Path(parts[0].subject.data)), []
    # Of several classes, one that is never predicted is the detector's fault.
    classes = None if detector is None else detector.classes if len(parts) == 1 else ()
    for at, part in enumerate(parts):
        seen = training and training.of_categories(part.truth.categories)
        own = said[at], flipped.get(at)
        report = _reported(part.subject, part.truth, *own, classes, resamples, progress, training=seen)
        reports.append(_with_signs(report, detector, tasks[at], progress))
    return reports


def _reported(
    subject: Subject,
    truth: Dataset,
    said: PairPredictions,
    flipped: PairPredictions | None,
    classes: Sequence[str] | None,
    resamples: Resamples,
    progress: Progress,
    *,
    training: Dataset | None = None,
) -> Report:
    """Return the report of a category, with remarks if there is a detector; ``classes`` are its only ones."""
    det, poses = DetPart(truth, said.boxes, resamples), _pose_parts(truth, said, resamples)
    report = Report(subject, truth, det, *poses, remarks={})
    if classes is not None and subject.stage is None:
        predicted = {name: said.labels.get(i, 0) for i, name in enumerate(classes)}
        report = _explained(report, training, predicted, progress)
    return report if flipped is None else replace(report, flipped=_pose_parts(truth, flipped, resamples))


def _resamples(truth: Dataset, record: Path) -> Resamples:
    """Return the resamples of images, grouped as the conversion.json in a folder says."""
    return Resamples.of([image.file_name for image in truth.images], recorded_grouping(record))


def _with_signs(report: Report, detector: AnyDetector | None, task: Task, progress: Progress) -> Report:
    why = {}
    if isinstance(detector, Detector) and report.subject.stage != "pose":
        why[BOXES] = signs(detector, task.truth, report.det.scores.ap, progress, label=task.label)
    if isinstance(task.estimator, PoseEstimator):
        why[f"{POSES}, {LABELED}"] = signs(task.estimator, task.truth, report.labeled.scores.oks.ap, progress)
    return with_remarks(report, why)


def _pose_parts(truth: Dataset, said: PairPredictions, resamples: Resamples) -> tuple[PosePart, PosePart]:
    labeled = PosePart(truth, said.on_labels, boxes_are_labels=True, resamples=resamples)
    return labeled, PosePart(truth, said.on_boxes, boxes_are_labels=False, resamples=resamples)


def _explained(report: Report, training: Dataset | None, classes: Mapping[str, int], progress: Progress) -> Report:
    """Return the report of a pair, fully computed, with remarks on each part."""
    truth, det = report.truth, report.det
    parts: tuple[DetPart | PosePart, ...] = (det, *report.sides.values())
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
