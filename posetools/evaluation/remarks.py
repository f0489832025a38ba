"""Why an AP is 0, or too good to be true: remarks on metrics that would mislead without one.

An AP of 0.000 or 1.000 is more often a fault of the data, the units or the sigmas than of the model, and COCO's
evaluation does not say which. Each cause here is detected from labels and predictions alone. Where a number proves it
(AP with other areas, with half the sigmas, with corrected predictions), the remark has that number. Where no cause is
detected, the remark says so.

``Remark.hides`` marks the remarks with which AP says nothing about the model and should not be shown alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Bools, Floats, Ints, box_area, pairwise_iou
from posetools.errors import counted
from posetools.evaluation.coco import Evaluation, EvaluationKind, Predictions, evaluate_coco, oks_of
from posetools.evaluation.metrics import match_boxes

# Labeled areas relative to the boxes': silhouettes have about half, a skeleton's hull rarely below a tenth.
_AREA_LOW, _AREA_HIGH = 0.1, 1.5
# AP values that need an explanation, at either end.
_ZERO_AP, _PERFECT = 0.01, 0.995
_FEW = 20
# Distances from labels, in sqrt(area), that contradict a high AP, and a low AP.
_FAR_POINTS, _NEAR_POINTS = 0.03, 0.05
_HIGH, _LOW = 0.98, 0.05
# No network predicts all points of an object nearer to their labels than this, in pixels.
_COPIED = 0.01
# A suspected cause must raise AP by this much, and AP50 to this value.
_GAIN = 0.15
_AP50 = 0.5
# Factors nearer to 1, and shifts below this fraction of an object, are ignored.
_SAME_UNITS = 0.03
# Fractions of an image or a box: nearly no coordinate is far above 1.
_FRACTION = 1.5
_LEAST_SPREAD = 1e-6
# From this fraction of the mean pose's error on, keypoints are as bad as the mean pose.
_AS_MEAN_POSE = 0.9
# Some factor and shift fits any smaller number of pairs.
_FEWEST_PAIRS = 8


@dataclass(frozen=True, slots=True)
class Remark:
    """A remark on AP.

    Attributes:
        code: the cause, in a word.
        text: the sentence.
        hides: whether AP says nothing about the model, so that it should not be shown alone.
    """

    code: str
    text: str
    hides: bool = False


def explain(
    truth: Dataset,
    predicted: Predictions,
    evaluation: Evaluation,
    *,
    training: Dataset | None = None,
    classes: Mapping[str, int] | None = None,
) -> tuple[Remark, ...]:
    """Return why AP is 0 or too good to be true; nothing if AP is plausible.

    Args:
        truth: the labels.
        predicted: the predictions.
        evaluation: their evaluation at COCO's thresholds.
        training: the labels that the model was trained on, if available.
        classes: number of detected boxes per class, before one class was selected.
    """
    nothing = _no_truth(truth, evaluation) or _no_predictions(truth, predicted, evaluation, classes)
    if nothing:
        return (nothing,)
    ap = evaluation.ap() or 0.0
    found = [*_seen(truth, training), *_copied(truth, predicted, evaluation)]
    if evaluation.kind == "keypoints":
        found += _areas(truth, predicted, ap)
    found += _equal_scores(predicted, ap)
    explained = any(one.hides for one in found)
    if not explained:
        found += _units(truth, predicted, evaluation)
        if evaluation.kind == "keypoints":
            found += _sigmas(truth, predicted, ap)
            if not any(one.code == "units" for one in found):
                found += _mean_pose(truth, predicted)
        found += _unexplained(truth, predicted, evaluation, known=bool(found))
    return tuple(found)


def _no_truth(truth: Dataset, evaluation: Evaluation) -> Remark | None:
    if evaluation.objects[0]:
        return None
    images, objects = len(truth.images), len(truth)
    if not objects:
        text = f"no object is labeled in {counted(images, 'image')}, so AP is undefined: check the split"
    elif truth.iscrowd.all():
        text = f"all of {counted(objects, 'labeled object')} are crowds, which COCO ignores, so AP is undefined"
    else:
        text = (
            f"no keypoint is labeled on any of {counted(objects, 'object')}, so AP is undefined: "
            "check whether the file has no keypoints, or visibility 0 everywhere"
        )
    return Remark("no-keypoints" if objects and not truth.iscrowd.all() else "no-objects", text, hides=True)


def _no_predictions(
    truth: Dataset, predicted: Predictions, evaluation: Evaluation, classes: Mapping[str, int] | None
) -> Remark | None:
    if len(predicted):
        return None
    where = f"in {counted(len(truth.images), 'image')} with {counted(evaluation.objects[0], 'object')}"
    name, others = truth.skeleton.category.name, {key: n for key, n in (classes or {}).items() if n}
    if others and name not in others:
        listed = ", ".join(f"{n} {key}" for key, n in sorted(others.items(), key=lambda item: -item[1])[:5])
        text = f"AP is 0 because of the category: no box is a {name}, but the detector predicts {listed} {where}"
        return Remark("category", text, hides=True)
    text = f"AP is 0 because nothing was predicted {where}: check the score threshold, and whether the model is trained"
    return Remark("no-predictions", text)


def _seen(truth: Dataset, training: Dataset | None) -> Iterator[Remark]:
    if training is None:
        return
    paths = {image.path for image in training.images if image.path}
    labels = {_key(training, rows) for rows in training.rows_of_images() if len(rows)}
    seen = sum(
        image.path in paths or (len(rows) > 0 and _key(truth, rows) in labels)
        for image, rows in zip(truth.images, truth.rows_of_images(), strict=True)
    )
    if seen:
        share = f"{seen} of {counted(len(truth.images), 'image')}"
        text = (
            f"{share} were used for training (same file or same labels), so AP does not measure the model on new images"
        )
        yield Remark("seen", text, hides=2 * seen >= len(truth.images))


def _key(dataset: Dataset, rows: range) -> bytes:
    part = slice(rows.start, rows.stop)
    return dataset.boxes[part].round(2).tobytes() + dataset.keypoints[part].round(2).tobytes()


def _copied(truth: Dataset, predicted: Predictions, evaluation: Evaluation) -> Iterator[Remark]:
    rows = np.flatnonzero(evaluation.found[0] >= 0)
    found = evaluation.found[0][rows]
    if evaluation.kind == "bbox":
        off = np.abs(predicted.boxes[found] - truth.boxes[rows]).max(axis=1, initial=0.0)
    else:
        distance = np.abs(predicted.keypoints[found] - truth.keypoints[rows, :, :2]).max(axis=2)
        off = np.where(truth.keypoints[rows, :, 2] > 0, distance, 0.0).max(axis=1, initial=0.0)
    same = int((off < _COPIED).sum())
    if same >= 3 and 2 * same >= evaluation.objects[0]:
        text = (
            f"{same} of {counted(evaluation.objects[0], 'object')} are predicted exactly as labeled (within "
            f"{_COPIED:g} px), which no network does: either the labels were used as predictions, or they are this "
            "model's own uncorrected predictions"
        )
        yield Remark("copied", text, hides=True)


def _areas(truth: Dataset, predicted: Predictions, ap: float) -> Iterator[Remark]:
    boxes = box_area(truth.boxes)
    counted = ~truth.iscrowd & (truth.num_labeled > 0) & (boxes > 0)
    if not counted.any():
        return
    share, area, box = (
        float(np.median(values[counted])) for values in (truth.areas / np.maximum(boxes, 1e-9), truth.areas, boxes)
    )
    if _AREA_LOW <= share <= _AREA_HIGH:
        return
    other = evaluate_coco(replace(truth, areas=boxes), predicted, "keypoints", sigmas=truth.skeleton.sigmas).ap() or 0.0
    effect = "near 0 for any prediction" if share < _AREA_LOW else "too high for any prediction"
    text = (
        f"the labeled areas are wrong: the median is {area:.3g} square px, but {box:.3g} for the boxes. OKS "
        f"divides by the area, so AP ({ap:.3f}) is {effect}; with the boxes' areas it is {other:.3f}. "
        "`posetools convert` writes width times height if no area is known"
    )
    yield Remark("area", text, hides=True)


def _mean_pose(truth: Dataset, predicted: Predictions) -> Iterator[Remark]:
    """Compare with the best prediction that ignores the image: each keypoint's mean position in the box."""
    matched = match_boxes(truth, predicted)
    rows = np.flatnonzero(matched >= 0)
    points, boxes = truth.keypoints[rows], truth.boxes[rows]
    corner, sides = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
    labeled = points[:, :, 2] > 0
    inside = np.where(labeled[..., None], (points[:, :, :2] - corner) / np.maximum(sides, 1e-9), 0.0)
    mean = inside.sum(axis=0) / np.maximum(labeled.sum(axis=0), 1)[:, None]
    size = np.maximum(sides.max(axis=2), 1e-9)
    own, other = (
        np.linalg.norm(answered - points[:, :, :2], axis=2) / size
        for answered in (predicted.keypoints[matched[rows]], corner + mean * sides)
    )
    usable = labeled & ~np.isnan(own)
    if len(rows) < _FEWEST_PAIRS or not usable.any():
        return
    error, simple = float(np.median(own[usable])), float(np.median(other[usable]))
    if error >= _AS_MEAN_POSE * simple and simple > _NEAR_POINTS:
        text = (
            f"the keypoints are no better than the mean pose: their median error is {error:.3f} of the box's longer "
            f"side, and {simple:.3f} with each keypoint at its mean position in the box. The pose estimator does not "
            "use the image yet: train it longer"
        )
        yield Remark("mean-pose", text)


def _equal_scores(predicted: Predictions, ap: float) -> Iterator[Remark]:
    # If all are right, or all wrong, the order does not matter.
    if len(predicted) > 1 and np.ptp(predicted.scores) == 0 and _ZERO_AP <= ap < _PERFECT:
        text = (
            f"all {len(predicted)} predictions have the score {predicted.scores[0]:g}: AP ranks by score, so it "
            "depends on the order of the predictions"
        )
        yield Remark("equal-scores", text)


def _sigmas(truth: Dataset, predicted: Predictions, ap: float) -> Iterator[Remark]:
    error, typical = _median_error(truth, predicted), float(np.median(truth.skeleton.sigmas))
    if error is None:
        return
    if ap >= _HIGH and error >= _FAR_POINTS:
        other = _ap_with(truth, predicted, 0.5)
        text = (
            f"AP is {ap:.3f} though half of the points are {error:.1%} of sqrt(area) or more from their labels: sigmas "
            f"of {typical:.3g} are too large. With half the sigmas AP is {other:.3f}; PCK and NME need no sigmas"
        )
        yield Remark("sigma-large", text)
    elif ap < _LOW and error <= _NEAR_POINTS:
        other = _ap_with(truth, predicted, 0.05 / typical)
        text = (
            f"AP is {ap:.3f} though half of the points are within {error:.1%} of sqrt(area) of their labels: sigmas of "
            f"{typical:.3g} are too small. With 0.05 AP is {other:.3f}; measure sigmas with `posetools sigmas`"
        )
        yield Remark("sigma-small", text)


def _ap_with(truth: Dataset, predicted: Predictions, factor: float) -> float:
    sigmas = [sigma * factor for sigma in truth.skeleton.sigmas]
    return evaluate_coco(truth, predicted, "keypoints", sigmas=sigmas).ap() or 0.0


def _median_error(truth: Dataset, predicted: Predictions) -> float | None:
    matched = match_boxes(truth, predicted)
    rows = np.flatnonzero((matched >= 0) & (truth.areas > 0))
    distance = np.linalg.norm(predicted.keypoints[matched[rows]] - truth.keypoints[rows, :, :2], axis=2)
    relative = distance / np.sqrt(truth.areas[rows])[:, None]
    labeled: Bools = (truth.keypoints[rows, :, 2] > 0) & ~np.isnan(relative)
    return float(np.median(relative[labeled])) if labeled.any() else None


def _unexplained(truth: Dataset, predicted: Predictions, evaluation: Evaluation, *, known: bool) -> Iterator[Remark]:
    ap, objects = evaluation.ap() or 0.0, evaluation.objects[0]
    if ap >= _PERFECT and objects < _FEW:
        yield Remark("few", f"AP is {ap:.3f}, but over only {counted(objects, 'object')}, too few to judge the model")
    elif ap >= _PERFECT and not known:
        text = (
            f"AP is {ap:.3f} over {objects} objects, which is rare on new images: check whether these images, or "
            "others of the same scenes, were used for training"
        )
        yield Remark("perfect", text)
    elif ap < _ZERO_AP and not known:
        measure = "IoU" if evaluation.kind == "bbox" else "OKS"
        best = float(np.median(_best(truth, predicted, evaluation)))
        text = (
            f"AP is {ap:.3f}, and neither areas, category, units nor scores explain it: the median of the objects' "
            f"best {measure} with any prediction is {best:.2f}, so the predictions are in other places"
        )
        yield Remark("zero", text)


def _best(truth: Dataset, predicted: Predictions, evaluation: Evaluation) -> Floats:
    """Return the largest IoU or OKS of each counted object with any prediction of its image; 0 without any."""
    best = np.zeros(len(truth))
    for span, found in zip(truth.rows_of_images(), predicted.rows_of_images(len(truth.images)), strict=True):
        rows = np.array(span, dtype=np.int64)
        if not len(rows) or not len(found):
            continue
        if evaluation.kind == "bbox":
            values = pairwise_iou(truth.boxes[rows], predicted.boxes[found])
        else:
            points = np.tile(predicted.keypoints[found], (len(rows), 1, 1))
            values = oks_of(truth, np.repeat(rows, len(found)), points, truth.skeleton.sigmas).reshape(len(rows), -1)
        best[rows] = np.nan_to_num(values).max(axis=1)
    counted = ~truth.iscrowd & ((truth.num_labeled > 0) | (evaluation.kind == "bbox"))
    of_counted: Floats = best[counted]
    return of_counted


def _units(truth: Dataset, predicted: Predictions, evaluation: Evaluation) -> Iterator[Remark]:
    """Yield the remark for predictions in other units than the labels: common mix-ups, or a factor and shift.

    Each candidate corrects the predictions, and is accepted only if AP rises. A common factor and shift are estimated
    by medians over pairs of a prediction and an object: overlapping pairs, if they cover at least half of the objects;
    otherwise, in each image, the most confident predictions and the objects in their order from left to right, which a
    factor and a shift do not change.
    """
    kind, before = evaluation.kind, evaluation.ap() or 0.0
    if before + _GAIN > 1.0:
        return
    best: tuple[str, float] | None = None
    for words, fixed in (*_mix_ups(truth, predicted, kind), *_scaled(truth, predicted, evaluation)):
        after = evaluate_coco(truth, fixed, kind, sigmas=truth.skeleton.sigmas)
        ap, ap50 = after.ap() or 0.0, after.ap(threshold=0.5) or 0.0
        # A mix-up is the better explanation if a factor and shift do nearly the same.
        if ap >= before + _GAIN and ap50 >= _AP50 and (best is None or ap > best[1] + 0.05):
            best = words, ap
    if best:
        what = "boxes" if kind == "bbox" else "keypoints"
        text = (
            f"the predicted {what} have a systematic error: {best[0]}. Corrected, AP is {best[1]:.3f}, not {before:.3f}"
        )
        yield Remark("units", text, hides=(evaluation.ap(threshold=0.5) or 0.0) < 0.1)


def _mix_ups(truth: Dataset, predicted: Predictions, kind: EvaluationKind) -> Iterator[tuple[str, Predictions]]:
    sizes = np.array([image.size for image in truth.images], dtype=np.float64)[predicted.image_index]
    boxes, points = predicted.boxes, predicted.keypoints
    values = boxes if kind == "bbox" else points
    fractions = float(np.percentile(np.nan_to_num(np.abs(values)), 95)) <= _FRACTION
    if kind == "bbox":
        low, high = boxes[:, :2], boxes[:, 2:]
        if fractions:
            yield "fractions of the image's width and height", replace(predicted, boxes=boxes * np.tile(sizes, 2))
        yield "x and y exchanged", replace(predicted, boxes=boxes[:, [1, 0, 3, 2]])
        yield (
            "x, y, width and height read as two corners",
            replace(predicted, boxes=np.concatenate([low, low + high], axis=1)),
        )
        yield (
            "two corners read as x, y, width and height",
            replace(predicted, boxes=np.concatenate([low, high - low], axis=1)),
        )
        half = np.tile((high - low) / 2, 2)
        yield "the box's center read as its corner", replace(predicted, boxes=boxes - half)
        return
    corner, sides = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
    if fractions:
        yield "fractions of the image's width and height", replace(predicted, keypoints=points * sizes[:, None])
        yield "fractions of the box", replace(predicted, keypoints=corner + points * sides)
    yield "x and y exchanged", replace(predicted, keypoints=points[:, :, ::-1])
    yield "pixels relative to the box's corner", replace(predicted, keypoints=points + corner)


def _scaled(truth: Dataset, predicted: Predictions, evaluation: Evaluation) -> Iterator[tuple[str, Predictions]]:
    rows, found = _pairs(truth, predicted, evaluation)
    if len(rows) < _FEWEST_PAIRS:
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
    """Return the factor and shift (x, y) from labels to predictions, by medians; None if there are none."""
    a, b = (np.where(known[..., None], points, np.nan) for points in (ours, theirs))
    if not len(a):
        return None, None
    a_off, b_off = (points - np.nanmean(points, axis=1, keepdims=True) for points in (a, b))
    spread = np.nansum(a_off**2, axis=1)
    usable = (spread > _LEAST_SPREAD).all(axis=1)
    if not usable.any():
        return None, None
    # The slope of each object's own points: unlike their spread, it does not grow with noise of the predictions.
    factor = np.median(np.nansum(a_off * b_off, axis=1)[usable] / spread[usable], axis=0)
    if (factor < _LEAST_SPREAD).any():
        return None, None
    if abs(factor[0] / factor[1] - 1) < _SAME_UNITS:
        factor = np.full(2, np.sqrt(factor.prod()))
    # A factor slightly off 1 would show as a shift.
    factor = np.where(np.abs(factor - 1) < _SAME_UNITS, 1.0, factor)
    shift = np.nanmedian((b - factor * a).reshape(-1, 2), axis=0)
    return factor, shift


def _words(factor: Floats, shift: Floats, size: float) -> str:
    parts = []
    if (factor != 1).any():
        x, y = factor
        by = f"{x:.3g} times" if x == y else f"{x:.3g} times (x) and {y:.3g} times (y)"
        parts.append(f"{by} the labels'")
    if (np.abs(shift) > _SAME_UNITS * size * factor).any():
        parts.append(f"shifted by ({shift[0]:.1f}, {shift[1]:.1f}) px")
    return ", ".join(parts)


def _pairs(truth: Dataset, predicted: Predictions, evaluation: Evaluation) -> tuple[Ints, Ints]:
    """Return matching rows of the labels and of the predictions."""
    near = match_boxes(truth, predicted) if evaluation.kind == "keypoints" else evaluation.found[0]
    rows = np.flatnonzero(near >= 0)
    if 2 * len(rows) >= len(truth):
        return rows, near[rows]
    # A detector's boxes have no keypoints.
    points = predicted.keypoints if evaluation.kind == "keypoints" else predicted.boxes.reshape(-1, 2, 2)
    left = [each[:, :, 0].mean(axis=1) for each in (truth.boxes.reshape(-1, 2, 2), points)]
    pairs: list[tuple[Ints, Ints]] = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))]
    for span, found in zip(truth.rows_of_images(), predicted.rows_of_images(len(truth.images)), strict=True):
        own = np.array(span, dtype=np.int64)
        surest = found[: len(own)]
        if len(surest) == len(own):
            pairs.append((own[np.argsort(left[0][own])], surest[np.argsort(left[1][surest])]))
    return np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])
