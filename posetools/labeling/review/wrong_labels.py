"""Choose the images whose labels are probably wrong: the work behind ``posetools review --by labels`` with a pair.

The suspects of a data set (posetools/labeling/suspects) are ranked in one list, and the images of the first of them
are written as by any review, with the suspects of each as flags in its labelme file. Out-of-fold predictions are of
pairs that did not train on the labels they judge; a pair that did repeats some of their errors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, concatenate
from posetools.core.folder import is_data_set, splits_of
from posetools.errors import RequestError, counted, must_be, quoted
from posetools.evaluation.folds import joined, out_of_fold, tasks_of
from posetools.evaluation.scoring import PairPredictions, collect_each, read_truth
from posetools.labeling.review.choose import ChosenImage, ReviewRequest, ReviewResult, write_review
from posetools.labeling.review.data import Candidate, read_candidates
from posetools.labeling.review.scores import Term
from posetools.labeling.suspects.ranking import Suspect, rank_suspects
from posetools.pairs.open import OpenPair, PipelineOptions
from posetools.prediction.read import ImagePredictions
from posetools.progress import Progress, silent
from posetools.runtime.results import BBOX_THR

# The labels of each category in all images, and the predictions for them.
Parts: TypeAlias = Sequence[tuple[Dataset, PairPredictions]]

# Detected boxes with a lower score get no keypoints: none of them is a suspect, and there are many.
SUSPECT_BBOX_THR = 0.1
_SEEN = (
    "the models have seen these labels in training, and repeat some of their errors: `posetools train --folds` trains "
    "pairs that have not, for --folds"
)


def fold_parts(run: Path, data: Path, options: PipelineOptions, progress: Progress = silent) -> Parts:
    """Return the labels of a data set, predicted by the pairs of folds that did not train on them.

    Args:
        run: the folder with the runs of all folds.
        data: the data set; if it is another folder, the data set that the pairs were trained on.
        options: for opening the models.
        progress: receives progress.

    Raises:
        PosetoolsError: as ``out_of_fold``.
    """
    known = data if is_data_set(data) else None
    return list(out_of_fold(run, known, options, bbox_thr=SUSPECT_BBOX_THR, progress=progress).parts.values())


def pair_parts(pair: OpenPair[Any, Any], data: Path, progress: Progress = silent) -> Parts:
    """Return the labels of all splits of a data set, predicted by one pair.

    Raises:
        RequestError: an image is in several splits, or the pair is for other objects or keypoints.
        InputError: a file cannot be read.
    """
    truths = [read_truth(data, split, pair.categories) for split in splits_of(data)]
    names = Counter(image.file_name for truth in truths for image in truth.images)
    twice = [name for name, number in names.items() if number > 1]
    if twice:
        raise RequestError(
            must_be(f"{data}: images", "in one split each", f"{min(twice)} in several"),
            hint=f"`posetools validate {quoted(data)}` lists them",
        )
    tasks = [tasks_of(pair, truth) for truth in truths]
    said = [collect_each(of_split, pair.detector, bbox_thr=SUSPECT_BBOX_THR, progress=progress) for of_split in tasks]
    return [
        (concatenate([task.truth for task in own]), joined([task.truth for task in own], found))
        for own, found in zip(zip(*tasks, strict=True), zip(*said, strict=True), strict=True)
    ]


def review_labels(
    request: ReviewRequest, parts: Parts, progress: Progress = silent, *, unseen: bool = False
) -> ReviewResult:
    """Choose the images whose labels are probably wrong, and write the folder.

    Args:
        request: the options; must have passed ``check_review``.
        parts: what is labeled and predicted.
        progress: receives progress.
        unseen: whether the predictions are of models that did not train on the labels.

    Raises:
        RequestError: the folder has none of the images.
        InputError: a file cannot be read.
        OutputError: the folder cannot be written.
    """
    suspects = rank_suspects(parts, progress)
    categories = Categories(tuple(truth.skeleton for truth, _ in parts))
    candidates = read_candidates(request.data, request.skeleton, progress, default=categories)
    found = _found(parts, candidates.categories)
    known = {one.image.file_name: one for one in candidates.images if one.labels is not None}
    if not known.keys() & found.keys():
        rule = f"those of the data set, such as {min(found, default='')!r}"
        raise RequestError(must_be(f"{request.data}: labeled images", rule, min(known, default=None)))
    by_image: dict[str, list[Suspect]] = {}
    for suspect in suspects:
        if suspect.file_name in known:
            by_image.setdefault(suspect.file_name, []).append(suspect)
    chosen = tuple(
        _chosen(known[name], found[name], of_image) for name, of_image in list(by_image.items())[: request.number]
    )
    notes = [*candidates.notes, *([] if unseen else [_SEEN])]
    if len(known) < len(found):
        notes.append(
            f"{request.data}: has no labels for {counted(len(found.keys() - known.keys()), 'image')} of the data set"
        )
    result = ReviewResult(chosen, len(found.keys() & known.keys()), ("labels",), tuple(notes), suspects)
    if chosen:
        write_review(result, candidates, request, progress)
    return result


def _chosen(candidate: Candidate, found: ImagePredictions, suspects: Sequence[Suspect]) -> ChosenImage:
    first = suspects[0]
    terms = {"labels": Term(first.score, first.told)}
    whole = Candidate(candidate.image, candidate.labels, found)
    return ChosenImage(whole, first.score, terms, 0.0, tuple(suspects))


def _found(parts: Parts, categories: Categories) -> dict[str, ImagePredictions]:
    """Return the detected objects of each image, with keypoints in the columns of all categories."""
    several: dict[str, list[ImagePredictions]] = {}
    for truth, said in parts:
        number, posed = categories.ids[truth.skeleton.category.name], bool(truth.categories.num_keypoints)
        kept = said.on_boxes.kept if posed else np.arange(len(said.boxes))
        box_scores = said.on_boxes.box_scores if posed else said.boxes.scores
        kept = kept[box_scores[kept] >= BBOX_THR]
        detected, box_scores = (said.on_boxes.every if posed else said.boxes)[kept], box_scores[kept]
        points = np.zeros((len(kept), categories.num_keypoints, 3))
        points[:, categories.columns[number], :2] = detected.keypoints
        points[:, categories.columns[number], 2] = detected.keypoint_scores
        ids = np.full(len(kept), number, dtype=np.int64)
        for image, rows in zip(truth.images, detected.rows_of_images(len(truth.images)), strict=True):
            arrays = detected.boxes[rows], box_scores[rows], points[rows, :, :2], points[rows, :, 2]
            found = ImagePredictions(image.file_name, *arrays, category_ids=ids[rows])
            several.setdefault(image.file_name, []).append(found)
    return {name: _joined(name, of_image) for name, of_image in several.items()}


def _joined(name: str, parts: Sequence[ImagePredictions]) -> ImagePredictions:
    fields = ("boxes", "scores", "keypoints", "keypoint_scores", "category_ids")
    arrays = {field: np.concatenate([getattr(part, field) for part in parts]) for field in fields}
    return ImagePredictions(name, **arrays)
