"""Out-of-fold predictions: each image is predicted by the pair of the fold that did not train on it.

The pairs are those of ``posetools train --folds``, in ``<run>/fold-<number>``; each predicts the val split of its fold.
The joined predictions are in the order of one pass over all images, so metrics are computed as for a single pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, concatenate
from posetools.core.folder import ann_file, fold_folder, fold_split, need_folds
from posetools.core.geometry import Ints
from posetools.errors import InputError, RequestError, must_be, quoted
from posetools.evaluation.coco import Predictions
from posetools.evaluation.scoring import EVAL_BBOX_THR, BoxPoses, PairPredictions, Task, collect_each, read_truth
from posetools.files.disk import read_text
from posetools.mm.configs import check_fold
from posetools.mm.inference import Detector, PoseEstimator
from posetools.mm.stack import require_train
from posetools.pairs.find import Pair, pair_of_run
from posetools.pairs.open import DEFAULT_PIPELINE, OpenPair, PipelineOptions, open_models
from posetools.progress import Progress, silent
from posetools.recipes.emit import data_root_in
from posetools.runtime.results import label_of

_EVAL_FOLDS = "posetools eval --folds"


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class FoldPredictions:
    """What the pair of one fold predicted on its val split.

    Attributes:
        pair: the pair.
        truth: the labels of the split.
        tasks: the labels of each category, and the model for it, in the order of ``truth.categories``.
        said: the predictions for each task.
    """

    pair: OpenPair[Detector, PoseEstimator]
    truth: Dataset
    tasks: Sequence[Task]
    said: Sequence[PairPredictions]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class OutOfFold:
    """The labels of all folds, and the predictions of the pairs that did not train on them.

    Attributes:
        data: the data set's folder.
        truth: the labels of the val splits of all folds.
        parts: name of a category -> its labels in all images, and the predictions for them.
        folds: each fold alone, by its number.
    """

    data: Path
    truth: Dataset
    parts: Mapping[str, tuple[Dataset, PairPredictions]]
    folds: Mapping[int, FoldPredictions]


def out_of_fold(
    run: Path,
    data: Path | None = None,
    options: PipelineOptions = DEFAULT_PIPELINE,
    *,
    bbox_thr: float = EVAL_BBOX_THR,
    progress: Progress = silent,
) -> OutOfFold:
    """Predict the val split of each fold with its own pair, and join the predictions.

    Args:
        run: the folder with the runs of all folds.
        data: the data set's folder; None: the configs'.
        options: for opening the models.
        bbox_thr: detected boxes with a lower score get no keypoints.
        progress: receives the number of images done.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: the data set has no folds; a fold has no pair, or other images than when its pair was trained.
        InputError: a file cannot be read, or an image is in several folds.
    """
    require_train(_EVAL_FOLDS)
    options.check()
    data = data or _trained_on(run)
    files = {fold: _pair_of(run, fold, data) for fold in need_folds(data)}
    folds = dict[int, FoldPredictions]()
    for fold, pair_files in files.items():
        pair = open_models(pair_files, options, what=_EVAL_FOLDS)
        _check(pair, fold, data, [each.pair for each in folds.values()])
        truth = read_truth(data, fold_split(fold, "val"), pair.categories)
        tasks = _tasks(pair, truth)
        said = collect_each(tasks, pair.detector, bbox_thr=bbox_thr, progress=_of_fold(progress, fold, len(files)))
        folds[fold] = FoldPredictions(pair=pair, truth=truth, tasks=tasks, said=said)
    _check_disjoint(folds, data)
    truth = concatenate([each.truth for each in folds.values()])
    parts = {}
    for at, name in enumerate(truth.categories.ids):
        labels = [each.tasks[at].truth for each in folds.values()]
        parts[name] = concatenate(labels), joined(labels, [each.said[at] for each in folds.values()])
    return OutOfFold(data=data, truth=truth, parts=parts, folds=folds)


def _trained_on(run: Path) -> Path:
    """Return the data set in the configs of the runs of folds."""
    for config in sorted(run.glob("fold-*/*/*.py")):
        data = data_root_in(read_text(config))
        if data is not None:
            return data
    raise RequestError(
        f"{run}: has no runs of folds", hint=f"`{_command(Path('DATA'), run, '--folds')}` trains a pair for each fold"
    )


def _command(data: Path, run: Path, which: str) -> str:
    return f"posetools train --stage all {quoted(data)} {which} --work-dir {quoted(run)}"


def _pair_of(run: Path, fold: int, data: Path) -> Pair:
    folder = fold_folder(run, fold)
    try:
        return pair_of_run(folder)
    except RequestError as exc:
        resume = " --resume" if any(folder.glob("*/*.py")) else ""
        raise RequestError(
            f"{folder}: must have the trained pair of fold {fold} of {data}",
            hint=f"`{_command(data, run, f'--fold {fold}')}{resume}` trains it",
        ) from exc


def _check(
    pair: OpenPair[Detector, PoseEstimator], fold: int, data: Path, others: Sequence[OpenPair[Detector, PoseEstimator]]
) -> None:
    """Refuse models that trained on images of the fold, or for other categories than the folds before."""
    for model in (pair.detector, *pair.estimators):
        if model.config.get("fold") != fold:
            raise RequestError(must_be(f"{model.config_file}: fold", str(fold), model.config.get("fold")))
        check_fold(model.config, data)
    if others and (pair.categories, pair.detector.classes) != (others[0].categories, others[0].detector.classes):
        rule = f"trained for the categories of the first fold, {others[0].categories.told}"
        raise RequestError(f"{pair.source}: must be {rule}, got {pair.categories.told}")


def _tasks(pair: OpenPair[Detector, PoseEstimator], truth: Dataset) -> list[Task]:
    groups = zip(truth.categories.posed.values(), pair.estimators, strict=True)
    estimators = {number: estimator for group, estimator in groups for number in group}
    return [
        Task(
            truth.of_categories(Categories((skeleton,))),
            label_of(pair.detector.classes, skeleton, pair.source),
            estimators.get(number),
        )
        for number, skeleton in truth.categories.items()
    ]


def _of_fold(progress: Progress, fold: int, folds: int) -> Progress:
    return lambda what, done, total: progress(f"{what} fold {fold} of {folds}", done, total)


def _check_disjoint(folds: Mapping[int, FoldPredictions], data: Path) -> None:
    seen = dict[str, int]()
    for fold, each in folds.items():
        for image in each.truth.images:
            if image.file_name in seen:
                file, other = ann_file(data, fold_split(fold, "val")), fold_split(seen[image.file_name], "val")
                problem = f"{image.file_name!r} must be in the val split of one fold, but is in {other} too"
                way = f"`posetools split {quoted(data)} --folds {len(folds)}` makes new folds, to train again"
                raise InputError(file, "images", problem, hint=way)
            seen[image.file_name] = fold


def joined(truths: Sequence[Dataset], said: Sequence[PairPredictions]) -> PairPredictions:
    """Return predictions for several Datasets as those for all of them in one (``concatenate``)."""
    names = sorted(image.file_name for truth in truths for image in truth.images)
    index = {name: at for at, name in enumerate(names)}
    images = [np.array([index[image.file_name] for image in truth.images], dtype=np.int64) for truth in truths]
    rows = np.argsort(
        np.concatenate([at[truth.image_index] for at, truth in zip(images, truths, strict=True)]), kind="stable"
    )
    labels: Counter[int] = Counter()
    for each in said:
        labels.update(each.labels)
    boxes, _ = _in_order([each.boxes for each in said], images)
    return PairPredictions(
        boxes,
        _joined_poses([each.on_labels for each in said], images, rows),
        _joined_poses([each.on_boxes for each in said], images, rows),
        labels,
    )


def _in_order(parts: Sequence[Predictions], images: Sequence[Ints]) -> tuple[Predictions, Ints]:
    """Return the predictions image by image, and where each of those one after the other went."""
    moved = [replace(part, image_index=at[part.image_index]) for part, at in zip(parts, images, strict=True)]
    every = Predictions.joined(moved)
    order = np.argsort(every.image_index, kind="stable")
    went = np.empty(len(order), dtype=np.int64)
    went[order] = np.arange(len(order))
    return every[order], went


def _joined_poses(parts: Sequence[BoxPoses], images: Sequence[Ints], rows: Ints) -> BoxPoses:
    every, went = _in_order([part.every for part in parts], images)
    firsts = np.cumsum([0, *(len(part.every) for part in parts)])[:-1]
    kept = went[np.concatenate([part.kept + first for part, first in zip(parts, firsts, strict=True)])]
    kept = kept[np.argsort(every.image_index[kept], kind="stable")]
    matched = np.concatenate(
        [np.where(part.matched < 0, -1, part.matched + first) for part, first in zip(parts, firsts, strict=True)]
    )[rows]
    matched[matched >= 0] = went[matched[matched >= 0]]
    box_scores = np.empty(len(went))
    box_scores[went] = np.concatenate([part.box_scores for part in parts])
    return BoxPoses(every, box_scores, kept, matched)
