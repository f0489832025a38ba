"""Predictions that are right but in other units than the labels: the usual mix-ups, and any factor and shift.

Each suspicion is a way to put the predictions right, and is believed only when AP rises by it. The mix-ups are tried as
they are. A common factor and shift are estimated by medians over pairs of a prediction and an object: those that lie on
each other where they are half of the objects at least, and otherwise, in each picture, the surest predictions and the
objects in their order from left to right, which a factor and a shift leave alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Bools, Floats, Ints
from posetools.evaluation.coco import Evaluation, Kind, Predictions, evaluate_coco
from posetools.evaluation.metrics import match_boxes

# What AP must gain, and AP50 reach, before a suspicion is believed.
_GAIN = 0.15
_AP50 = 0.5
# Factors nearer to 1, and shifts below this share of an object, are not worth a word.
_SAME = 0.03
# Fractions of a picture or a box: hardly a coordinate is far above 1, whatever the picture's size.
_FRACTION = 1.5
_SPREAD = 1e-6
# Fewer pairs can be fitted by some factor and shift whatever they are.
_PAIRS = 8


@dataclass(frozen=True, slots=True)
class Mended:
    """Predictions put right.

    Attributes:
        words: what was wrong with them.
        ap: what AP becomes.
    """

    words: str
    ap: float


def other_units(truth: Dataset, predicted: Predictions, evaluation: Evaluation) -> Mended | None:
    """Return in which other units predictions are, when AP shows that they are; None otherwise.

    Args:
        truth: the labels, with objects that count.
        predicted: the predictions, at least one.
        evaluation: of them.
    """
    kind, before = evaluation.kind, evaluation.ap() or 0.0
    if before + _GAIN > 1.0:
        return None
    best: Mended | None = None
    for words, mended in (*_mix_ups(truth, predicted, kind), *_scaled(truth, predicted, evaluation)):
        after = evaluate_coco(truth, mended, kind, sigmas=truth.skeleton.sigmas)
        ap, ap50 = after.ap() or 0.0, after.ap(threshold=0.5) or 0.0
        # A mix-up says more than a factor and a shift that do nearly the same, and comes first.
        if ap >= before + _GAIN and ap50 >= _AP50 and (best is None or ap > best.ap + 0.05):
            best = Mended(words, ap)
    return best


def _mix_ups(truth: Dataset, predicted: Predictions, kind: Kind) -> Iterator[tuple[str, Predictions]]:
    sizes = np.array([image.size for image in truth.images], dtype=np.float64)[predicted.image_index]
    boxes, points = predicted.boxes, predicted.keypoints
    values = boxes if kind == "bbox" else points
    fractions = float(np.percentile(np.nan_to_num(np.abs(values)), 95)) <= _FRACTION
    if kind == "bbox":
        low, high = boxes[:, :2], boxes[:, 2:]
        if fractions:
            yield "fractions of the picture's width and height", replace(predicted, boxes=boxes * np.tile(sizes, 2))
        yield "x and y exchanged", replace(predicted, boxes=boxes[:, [1, 0, 3, 2]])
        yield (
            "x, y, width and height taken for two corners",
            replace(predicted, boxes=np.concatenate([low, low + high], axis=1)),
        )
        yield (
            "two corners taken for x, y, width and height",
            replace(predicted, boxes=np.concatenate([low, high - low], axis=1)),
        )
        half = np.tile((high - low) / 2, 2)
        yield "the box's centre taken for its corner", replace(predicted, boxes=boxes - half)
        return
    corner, sides = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
    if fractions:
        yield "fractions of the picture's width and height", replace(predicted, keypoints=points * sizes[:, None])
        yield "fractions of the box", replace(predicted, keypoints=corner + points * sides)
    yield "x and y exchanged", replace(predicted, keypoints=points[:, :, ::-1])
    yield "pixels counted from the box's corner", replace(predicted, keypoints=points + corner)


def _scaled(truth: Dataset, predicted: Predictions, evaluation: Evaluation) -> Iterator[tuple[str, Predictions]]:
    rows, found = _pairs(truth, predicted, evaluation)
    if len(rows) < _PAIRS:
        return
    if evaluation.kind == "bbox":
        ours, theirs = (boxes.reshape(-1, 2, 2) for boxes in (truth.boxes[rows], predicted.boxes[found]))
        known = np.ones(ours.shape[:2], dtype=np.bool_)
    else:
        ours, theirs = truth.keypoints[rows, :, :2], predicted.keypoints[found]
        known = (truth.keypoints[rows, :, 2] > 0) & ~np.isnan(theirs).any(axis=2)
        enough = known.sum(axis=1) >= 3
        ours, theirs, known = ours[enough], theirs[enough], known[enough]
    factor, shift = _fit(ours, theirs, known)
    if factor is None or shift is None:
        return
    size = float(np.sqrt(truth.areas[rows]).mean())
    words = _words(factor, shift, size)
    if words:
        yield (
            words,
            replace(
                predicted,
                boxes=(predicted.boxes - np.tile(shift, 2)) / np.tile(factor, 2),
                keypoints=(predicted.keypoints - shift) / factor,
            ),
        )


def _fit(ours: Floats, theirs: Floats, known: Bools) -> tuple[Floats, Floats] | tuple[None, None]:
    """Return the factor and the shift (x, y) that take labels to predictions, by medians; None where none do."""
    a, b = (np.where(known[..., None], points, np.nan) for points in (ours, theirs))
    if not len(a):
        return None, None
    a_off, b_off = (points - np.nanmean(points, axis=1, keepdims=True) for points in (a, b))
    spread = np.nansum(a_off**2, axis=1)
    usable = (spread > _SPREAD).all(axis=1)
    if not usable.any():
        return None, None
    # The slope of each object's own points: noise of the predictions does not make it larger, as it does their spread.
    factor = np.median(np.nansum(a_off * b_off, axis=1)[usable] / spread[usable], axis=0)
    if (factor < _SPREAD).any():
        return None, None
    if abs(factor[0] / factor[1] - 1) < _SAME:
        factor = np.full(2, np.sqrt(factor.prod()))
    # A factor of 1 that is a little off would show as a shift.
    factor = np.where(np.abs(factor - 1) < _SAME, 1.0, factor)
    shift = np.nanmedian((b - factor * a).reshape(-1, 2), axis=0)
    return factor, shift


def _words(factor: Floats, shift: Floats, size: float) -> str:
    parts = []
    if (factor != 1).any():
        x, y = factor
        by = f"{x:.3g} times" if x == y else f"{x:.3g} times (x) and {y:.3g} times (y)"
        parts.append(f"{by} the labels'")
    if (np.abs(shift) > _SAME * size * factor).any():
        parts.append(f"shifted by ({shift[0]:.1f}, {shift[1]:.1f}) px")
    return ", ".join(parts)


def _pairs(truth: Dataset, predicted: Predictions, evaluation: Evaluation) -> tuple[Ints, Ints]:
    """Return rows of the labels and of the predictions that belong together."""
    near = match_boxes(truth, predicted) if evaluation.kind == "keypoints" else evaluation.found[0]
    rows = np.flatnonzero(near >= 0)
    if 2 * len(rows) >= len(truth):
        return rows, near[rows]
    # A detector's boxes have no keypoints at all.
    points = predicted.keypoints if evaluation.kind == "keypoints" else None
    left = [_centre(truth.boxes, None), _centre(predicted.boxes, points)]
    order = np.lexsort((-predicted.scores, predicted.image_index))
    edges = np.searchsorted(predicted.image_index[order], np.arange(len(truth.images) + 1))
    pairs: list[tuple[Ints, Ints]] = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))]
    for image, span in enumerate(truth.rows_of_images()):
        own = np.array(span, dtype=np.int64)
        surest = order[edges[image] : edges[image + 1]][: len(own)]
        if len(surest) == len(own):
            pairs.append((own[np.argsort(left[0][own])], surest[np.argsort(left[1][surest])]))
    return np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])


def _centre(boxes: Floats, points: Floats | None) -> Floats:
    """Return the (N,) x of the objects' middles."""
    centre: Floats = boxes[:, [0, 2]].mean(axis=1) if points is None else points[:, :, 0].mean(axis=1)
    return centre
