"""What each threshold of a score would give: precision, recall, F1, false alarms, and the one with the best F1.

Everything with a score at or above the threshold is kept. Precision is the share of what is kept that is right, recall
the share of what is there that is kept, F1 = 2PR / (P + R) (van Rijsbergen, "Information Retrieval", 1979, with equal
weights). Average precision is the sum of precision times the step in recall, without COCO's interpolation (Manning,
Raghavan and Schütze, "Introduction to Information Retrieval", 2008, section 8.4). Things of the same score come or go
together: a threshold cannot tell them apart.

Predictions are matched to objects once, greedily from the highest score down as COCO does it (coco.py).
What is above a threshold is matched the same whether or not lower scores are there, so one matching serves all
thresholds. Crowds, and predictions that lie in them, count nowhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Bools, Floats, Ints
from posetools.evaluation.coco import Predictions, evaluate_coco

# The thresholds that are shown beside the best one: the demo's default, and the middle.
SHOWN = (0.3, 0.5)
# A curve has a step for each score; no plot needs more of them than this.
_STEPS = 200


@dataclass(frozen=True, slots=True)
class Point:
    """What one threshold gives.

    Attributes:
        threshold: scores at or above it are kept.
        precision: 0 to 1; None where nothing is kept.
        recall: 0 to 1; None where nothing is there to be found.
        f1: 0 to 1; None where nothing is there to be found, or nothing is kept.
        hits: how many of what is kept are right.
        false_alarms: how many are not.
    """

    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None
    hits: int
    false_alarms: int

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


@dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """What each of S thresholds gives, from the highest down; one for each score that occurs.

    Attributes:
        thresholds: (S,).
        hits: (S,) how many right ones are kept.
        false_alarms: (S,) how many wrong ones.
        there: how many could be found.
    """

    thresholds: Floats
    hits: Ints
    false_alarms: Ints
    there: int

    @property
    def precision(self) -> Floats:
        """(S,)."""
        precision: Floats = self.hits / np.maximum(self.hits + self.false_alarms, 1)
        return precision

    @property
    def recall(self) -> Floats:
        """(S,); NaN where nothing is there."""
        recall: Floats = self.hits / self.there if self.there else np.full(len(self.hits), np.nan)
        return recall

    @property
    def f1(self) -> Floats:
        """(S,); NaN where nothing is there."""
        f1: Floats = 2 * self.hits / (self.hits + self.false_alarms + self.there)
        return f1 if self.there else np.full(len(self.hits), np.nan)

    @property
    def best(self) -> Point | None:
        """The threshold with the best F1, the highest of several; None where nothing is there or nothing was found."""
        if not self.there or not len(self.thresholds):
            return None
        return self.at(float(self.thresholds[int(self.f1.argmax())]))

    @property
    def average_precision(self) -> float | None:
        """The precision at each step, weighted by the step in recall; None where nothing is there."""
        return float((np.diff(self.recall, prepend=0.0) * self.precision).sum()) if self.there else None

    def at(self, threshold: float) -> Point:
        """Return what a threshold gives."""
        kept = int(np.searchsorted(-self.thresholds, -threshold, side="right"))
        hits, wrong = (int(self.hits[kept - 1]), int(self.false_alarms[kept - 1])) if kept else (0, 0)
        return Point(
            threshold=threshold,
            precision=hits / (hits + wrong) if kept else None,
            recall=hits / self.there if self.there else None,
            f1=2 * hits / (hits + wrong + self.there) if kept and self.there else None,
            hits=hits,
            false_alarms=wrong,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form; of very many steps those at even distances, the first and last among them."""
        shown = np.unique(
            np.linspace(0, len(self.thresholds) - 1, min(_STEPS, len(self.thresholds))).round().astype(int)
        )
        return {
            "threshold": self.thresholds[shown].round(6).tolist(),
            "precision": self.precision[shown].round(6).tolist(),
            "recall": self.recall[shown].round(6).tolist() if self.there else None,
            "f1": self.f1[shown].round(6).tolist() if self.there else None,
            "false_alarms": self.false_alarms[shown].tolist(),
        }


@dataclass(frozen=True, eq=False, slots=True)
class Sweep:
    """What each threshold of a detector's score gives.

    Attributes:
        iou: a box is right when it takes an object with at least this IoU.
        pictures: how many there are.
        curve: by threshold.
    """

    iou: float
    pictures: int
    curve: Curve

    def points(self) -> dict[str, Point]:
        """Return what the thresholds worth showing give, by name: ``best F1``, ``0.3``, ``0.5``."""
        best = {"best F1": self.curve.best} if self.curve.best else {}
        return {**best, **{f"{threshold:g}": self.curve.at(threshold) for threshold in SHOWN}}

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        points = {
            name: {**point.as_dict(), "false_per_picture": point.false_alarms / max(self.pictures, 1)}
            for name, point in self.points().items()
        }
        return {
            "iou": self.iou,
            "pictures": self.pictures,
            "objects": self.curve.there,
            "points": points,
            "curve": {**self.curve.as_dict()},
        }


def curve_of(scores: Floats, right: Bools, there: int) -> Curve:
    """Return what each threshold of a score gives.

    Args:
        scores: (M,) the higher, the surer.
        right: (M,) whether each is right.
        there: how many could be found.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(right[order])
    # The last of each run of equal scores.
    last = np.flatnonzero(np.diff(ordered, append=-np.inf))
    return Curve(ordered[last], hits[last].astype(np.int64), (last + 1 - hits[last]).astype(np.int64), there)


def confidence_sweep(truth: Dataset, predicted: Predictions, iou: float = 0.5) -> Sweep:
    """Return what each threshold of the boxes' score gives.

    Args:
        truth: the labels.
        predicted: the boxes; all of them count, not only the best of each picture.
        iou: from which IoU on a box is right.
    """
    evaluation = evaluate_coco(truth, predicted, "bbox", thresholds=[iou], max_dets=max(len(predicted), 1))
    counted = evaluation.counted[0]
    curve = curve_of(predicted.scores[counted], evaluation.taken[0][counted] >= 0, evaluation.objects[0])
    return Sweep(iou=iou, pictures=len(truth.images), curve=curve)
