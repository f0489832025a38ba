"""COCO's evaluation of boxes and keypoints, vectorised: AP, AR and the curves that they are made of, in one pass.

The numbers are those of pycocotools' and xtcocotools' COCOeval (tests compare them on hundreds of random sets); the
matching itself is in posetools.evaluation.coco_match. As there:

- Ten thresholds of IoU or OKS, 0.50 to 0.95. Precision is made monotonous and read at 101 steps of recall; AP is its
  mean, and AR the mean of the recall that is reached.
- Only the best 100 boxes of a picture count, or the best 20 objects with keypoints.
- Area ranges: small below 32^2, medium up to 96^2, large above, edges belonging to both sides. An object outside of the
  range is ignored, and so is a prediction that found an ignored object, or nothing while its own area is outside.
- A crowd is ignored, and with keypoints an object without labelled points.

A prediction's area is that of its box, which is what ``loadRes`` takes for results that have a ``bbox``. What there is
nothing to compute from is NaN in the arrays and None in the numbers, never -1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import SIZE_CLASSES, Bools, Floats, Ints, SizeClass, box_area
from posetools.evaluation.coco_match import box_similarity, candidates, greedy, oks_similarity, ranked

if TYPE_CHECKING:
    from posetools.evaluation.metrics import Predictions

Kind: TypeAlias = Literal["bbox", "keypoints"]
Range: TypeAlias = Literal["all"] | SizeClass

# Written as COCOeval writes them: their last bits decide ties.
THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
RECALLS: Floats = np.linspace(0.0, 1.0, 101)
_LARGEST = 1e10
RANGES: Mapping[Range, tuple[float, float]] = {
    "all": (0.0, _LARGEST),
    **{name: (low, min(high, _LARGEST)) for name, (low, high) in SIZE_CLASSES.items()},
}
RANGES_OF: Mapping[Kind, tuple[Range, ...]] = {"bbox": tuple(RANGES), "keypoints": ("all", "medium", "large")}
MAX_DETS: Mapping[Kind, int] = {"bbox": 100, "keypoints": 20}
# What xtcocotools takes for an object's area, as a share of its box, when it is told not to use the labelled one.
BOX_SHARE = 0.53


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What COCO's evaluation says of M predictions for N objects, at T thresholds, in A ranges of area.

    Attributes:
        kind: whether IoU of boxes or OKS of keypoints was measured.
        thresholds: (T,) of IoU or OKS.
        ranges: A names; the first is ``all``.
        objects: A numbers of objects that count.
        precision: (A, T, 101) at RECALLS; NaN where no object counts.
        recall: (A, T) that is reached at the end; likewise.
        found: (T, N) the predicted row that each object was found by, over all areas; -1 for none, and for crowds.
        taken: (T, M) the object's row that each prediction took, or -1.
        counted: (T, M) whether a prediction counts, as right when it took an object and as wrong when it did not.
    """

    kind: Kind
    thresholds: Floats
    ranges: tuple[Range, ...]
    objects: tuple[int, ...]
    precision: Floats
    recall: Floats
    found: Ints
    taken: Ints
    counted: Bools

    def ap(self, area: Range = "all", threshold: float | None = None) -> float | None:
        """Return the average precision of an area range, over all thresholds or at one; None without objects."""
        return _mean(self.precision[self.ranges.index(area)][self._at(threshold)])

    def ar(self, area: Range = "all", threshold: float | None = None) -> float | None:
        """Return the average recall, likewise."""
        return _mean(self.recall[self.ranges.index(area)][self._at(threshold)])

    @property
    def curves(self) -> Floats:
        """(T, 101) precision at RECALLS, over all areas: the precision-recall curves."""
        curves: Floats = self.precision[0]
        return curves

    def row_of(self, threshold: float) -> int:
        """Return the index of a threshold.

        Raises:
            ValueError: it was not evaluated at.
        """
        rows = np.flatnonzero(np.isclose(self.thresholds, threshold, rtol=0.0, atol=1e-9))
        if not len(rows):
            raise ValueError(f"threshold must be one of {self.thresholds.round(4).tolist()}, got {threshold}")
        return int(rows[0])

    def _at(self, threshold: float | None) -> slice:
        if threshold is None:
            return slice(None)
        row = self.row_of(threshold)
        return slice(row, row + 1)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: AP and AR over all areas, objects by area, and the curves by threshold."""
        curves = [None if np.isnan(curve).any() else curve.round(6).tolist() for curve in self.curves]
        return {
            "kind": self.kind,
            "AP": self.ap(),
            "AR": self.ar(),
            "objects": dict(zip(self.ranges, self.objects, strict=True)),
            "recalls": RECALLS.round(2).tolist(),
            "precision": {f"{t:.2f}": curve for t, curve in zip(self.thresholds, curves, strict=True)},
        }


def evaluate(
    truth: Dataset,
    predicted: Predictions,
    kind: Kind,
    *,
    sigmas: Sequence[float] = (),
    thresholds: Sequence[float] | None = None,
    max_dets: int | None = None,
    use_area: bool = True,
) -> Evaluation:
    """Evaluate predictions by COCO's rules.

    Args:
        truth: the labels.
        predicted: the predictions; with keypoints where ``kind`` says so.
        kind: IoU of boxes, or OKS of keypoints.
        sigmas: K constants, the skeleton's; for keypoints.
        thresholds: of IoU or OKS; None: COCO's ten.
        max_dets: how many predictions of a picture count, the best ones; None: COCO's number.
        use_area: False to take 0.53 times the box's area for an object's, as xtcocotools' option of that name.

    Raises:
        ValueError: there is not one sigma per keypoint.
    """
    if kind == "keypoints" and len(sigmas) != truth.skeleton.num_keypoints:
        raise ValueError(f"sigmas must be {truth.skeleton.num_keypoints} numbers, got {len(sigmas)}")
    limits = np.array([RANGES[name] for name in RANGES_OF[kind]]).T
    steps = THRESHOLDS if thresholds is None else np.array(thresholds, dtype=np.float64)
    reach = np.minimum(steps, 1 - 1e-10)
    areas = truth.areas if use_area else box_area(truth.boxes) * BOX_SHARE
    ignored = truth.iscrowd | (truth.num_labelled == 0) if kind == "keypoints" else truth.iscrowd
    outside = ignored[:, None] | _outside(areas, limits)

    order, ranks = ranked(predicted.image_index, predicted.scores, MAX_DETS[kind] if max_dets is None else max_dets)
    if kind == "bbox":
        similarity = box_similarity(truth, predicted.boxes)
    else:
        similarity = oks_similarity(truth, predicted.keypoints, sigmas, areas)
    pairs = candidates(truth, predicted.image_index[order], order, similarity, float(reach.min(initial=1.0)))
    taken = greedy(pairs, ranks, outside, truth.iscrowd, reach)

    beyond = _outside(box_area(predicted.boxes[order]), limits)
    counted = ~np.where(taken >= 0, _of_taken(outside, taken), beyond[:, :, None])
    objects = (~outside).sum(axis=0)
    best_first = np.argsort(-predicted.scores[order], kind="stable")
    curves = [_curves(taken[best_first, a] >= 0, counted[best_first, a], int(objects[a])) for a in range(len(limits.T))]
    found, took, counts = _by_row(taken[:, 0], counted[:, 0], order, truth, len(predicted))
    return Evaluation(
        kind=kind,
        thresholds=steps,
        ranges=RANGES_OF[kind],
        objects=tuple(int(number) for number in objects),
        precision=np.stack([precision for precision, _ in curves]),
        recall=np.stack([recall for _, recall in curves]),
        found=found,
        taken=took,
        counted=counts,
    )


def _outside(areas: Floats, limits: Floats) -> Bools:
    outside: Bools = (areas[:, None] < limits[0]) | (areas[:, None] > limits[1])
    return outside


def _of_taken(ignored: Bools, taken: Ints) -> Bools:
    """Return whether the object that was taken is ignored: (D, A, T); any value where none was."""
    if not len(ignored):
        return np.zeros(taken.shape, dtype=np.bool_)
    of_taken: Bools = ignored[taken, np.arange(taken.shape[1])[:, None]]
    return of_taken


def _curves(right: Bools, counted: Bools, objects: int) -> tuple[Floats, Floats]:
    """Return the precision (T, 101) at RECALLS and the recall (T,) that is reached, of (D, T) ranked predictions."""
    steps = right.shape[1]
    if not objects:
        return np.full((steps, len(RECALLS)), np.nan), np.full(steps, np.nan)
    precision = np.zeros((steps, len(RECALLS)))
    if not len(right):
        return precision, np.zeros(steps)
    hits = np.cumsum((right & counted).T, axis=1).astype(np.float64)
    misses = np.cumsum((~right & counted).T, axis=1).astype(np.float64)
    recall = hits / objects
    raw = hits / (misses + hits + np.spacing(1))
    monotonous = np.maximum.accumulate(raw[:, ::-1], axis=1)[:, ::-1]
    for step in range(steps):
        places = np.searchsorted(recall[step], RECALLS, side="left")
        reached = places < len(right)
        precision[step, reached] = monotonous[step, places[reached]]
    return precision, recall[:, -1].copy()


def _by_row(taken: Ints, counted: Bools, order: Ints, truth: Dataset, number: int) -> tuple[Ints, Ints, Bools]:
    """Return ``found``, ``taken`` and ``counted`` of an Evaluation from (D, T) arrays of the ranked predictions."""
    steps = taken.shape[1]
    found = np.full((steps, len(truth)), -1, dtype=np.int64)
    took = np.full((steps, number), -1, dtype=np.int64)
    counts = np.zeros((steps, number), dtype=np.bool_)
    took[:, order], counts[:, order] = taken.T, counted.T
    place, step = np.nonzero(taken >= 0)
    found[step, taken[place, step]] = order[place]
    found[:, truth.iscrowd] = -1
    return found, took, counts


def _mean(values: Floats) -> float | None:
    return None if np.isnan(values).any() else float(values.mean())
