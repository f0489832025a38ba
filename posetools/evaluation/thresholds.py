"""Score thresholds: precision, recall, F1 and false positives at each threshold, and the threshold with the best F1.

Scores at or above the threshold are kept. Precision is the fraction of kept ones that is right, recall the fraction of
objects that is kept, F1 = 2PR / (P + R) (van Rijsbergen, "Information Retrieval", 1979, with equal weights). Average
precision is the sum of precision times the step in recall, without COCO's interpolation (Manning, Raghavan, Schütze,
"Introduction to Information Retrieval", 2008, section 8.4). Equal scores are kept or dropped together.

Predictions are matched to objects once, greedily from the highest score down as in COCO (coco.py). Lower scores do not
change the matches above a threshold, so one matching serves all thresholds. Crowds, and predictions in them, do not
count.

A keypoint's score is also evaluated as a classifier of visibility. The network is trained to predict visible (2) and
occluded (1) points alike and never learns that a point is absent (0), so its score is not meant as one. "Visible" is
the positive class, with two kinds of negatives:

- occluded points: labeled 2 against labeled 1;
- unlabeled points: 2 against 0. These are outside the image or were left out by the annotator; the data does not
  distinguish the two.

If only one class is labeled, the metrics are None, never 0 or 1. A useless score has the fraction of visible points as
its average precision (``chance``), so that is shown next to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from posetools.core.dataset import Dataset, Visibility
from posetools.core.geometry import Bools, Floats, Ints
from posetools.evaluation.coco import Predictions, right_or_wrong

# Thresholds shown next to the best one: the demo's default, and the middle.
SHOWN_THRESHOLDS = (0.3, 0.5)
# A curve has a step for each score; this many are enough for a plot.
_CURVE_STEPS = 200
# The negatives of "visible".
OtherVisibility: TypeAlias = Literal["hidden", "unlabelled"]
OTHERS: Mapping[OtherVisibility, Visibility] = {"hidden": Visibility.HIDDEN, "unlabelled": Visibility.NOT_LABELED}
OTHER_NAMES: Mapping[OtherVisibility, str] = {"hidden": "hidden", "unlabelled": "unlabeled"}
# MMPose's and our own default for drawing a point.
DRAWN = 0.3


@dataclass(frozen=True, slots=True)
class ThresholdPoint:
    """Metrics at one threshold.

    Attributes:
        threshold: scores at or above it are kept.
        precision: 0 to 1; None if nothing is kept.
        recall: 0 to 1; None without positives.
        f1: 0 to 1; None without positives, or if nothing is kept.
        hits: number of true positives.
        false_alarms: number of false positives.
    """

    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None
    hits: int
    false_alarms: int


@dataclass(frozen=True, eq=False, slots=True)
class ThresholdCurve:
    """Counts at each of S thresholds, from the highest down; one for each distinct score.

    Attributes:
        thresholds: (S,).
        hits: (S,) number of true positives.
        false_alarms: (S,) number of false positives.
        there: number of positives.
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
        """(S,); NaN without positives."""
        recall: Floats = self.hits / self.there if self.there else np.full(len(self.hits), np.nan)
        return recall

    @property
    def f1(self) -> Floats:
        """(S,); NaN without positives."""
        f1: Floats = 2 * self.hits / (self.hits + self.false_alarms + self.there)
        return f1 if self.there else np.full(len(self.hits), np.nan)

    @property
    def best(self) -> ThresholdPoint | None:
        """The threshold with the best F1, the highest if several; None without positives or scores."""
        if not self.there or not len(self.thresholds):
            return None
        return self.at(float(self.thresholds[int(self.f1.argmax())]))

    @property
    def average_precision(self) -> float | None:
        """The precision at each step, weighted by the step in recall; None without positives."""
        return float((np.diff(self.recall, prepend=0.0) * self.precision).sum()) if self.there else None

    def at(self, threshold: float) -> ThresholdPoint:
        """Return the metrics at a threshold."""
        kept = int(np.searchsorted(-self.thresholds, -threshold, side="right"))
        hits, wrong = (int(self.hits[kept - 1]), int(self.false_alarms[kept - 1])) if kept else (0, 0)
        return ThresholdPoint(
            threshold=threshold,
            precision=hits / (hits + wrong) if kept else None,
            recall=hits / self.there if self.there else None,
            f1=2 * hits / (hits + wrong + self.there) if kept and self.there else None,
            hits=hits,
            false_alarms=wrong,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form; a long curve is sampled evenly, with its first and last step."""
        shown = np.unique(
            np.linspace(0, len(self.thresholds) - 1, min(_CURVE_STEPS, len(self.thresholds))).round().astype(int)
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
    """Metrics at each threshold of a detector's score.

    Attributes:
        iou: a box is right if it matches an object with at least this IoU.
        images: number of images.
        curve: by threshold.
    """

    iou: float
    images: int
    curve: ThresholdCurve

    def points(self) -> dict[str, ThresholdPoint]:
        """Return the metrics at the shown thresholds, by name: ``best F1``, ``0.3``, ``0.5``."""
        best = {"best F1": self.curve.best} if self.curve.best else {}
        return {**best, **{f"{threshold:g}": self.curve.at(threshold) for threshold in SHOWN_THRESHOLDS}}

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        points = {
            name: {**asdict(point), "false_per_picture": point.false_alarms / max(self.images, 1)}
            for name, point in self.points().items()
        }
        return {
            "iou": self.iou,
            "pictures": self.images,
            "objects": self.curve.there,
            "points": points,
            "curve": self.curve.as_dict(),
        }


def curve_of(scores: Floats, right: Bools, there: int) -> ThresholdCurve:
    """Return the counts at each threshold of a score.

    Args:
        scores: (M,) higher is more confident.
        right: (M,) whether each is right.
        there: number of positives.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(right[order])
    # The last of each run of equal scores.
    last = np.flatnonzero(np.diff(ordered, append=-np.inf))
    return ThresholdCurve(ordered[last], hits[last].astype(np.int64), (last + 1 - hits[last]).astype(np.int64), there)


def confidence_sweep(truth: Dataset, predicted: Predictions, iou: float = 0.5) -> Sweep:
    """Return the metrics at each threshold of the box score.

    Args:
        truth: the labels.
        predicted: the boxes; all of them count, not only the best of each image.
        iou: the least IoU of a right box.
    """
    curve = curve_of(*right_or_wrong(truth, predicted, "bbox", iou))
    return Sweep(iou=iou, images=len(truth.images), curve=curve)


@dataclass(frozen=True, eq=False, slots=True)
class Separation:
    """How well a score separates visible points from others.

    Attributes:
        visible: number of visible points.
        others: number of the other kind.
        curve: by threshold; None if either kind is missing.
    """

    visible: int
    others: int
    curve: ThresholdCurve | None

    @property
    def average_precision(self) -> float | None:
        """0 to 1; None if either kind is missing."""
        return self.curve.average_precision if self.curve else None

    @property
    def chance(self) -> float | None:
        """The average precision of a random score; None if either kind is missing."""
        return self.visible / (self.visible + self.others) if self.curve else None

    @property
    def best(self) -> ThresholdPoint | None:
        """The threshold with the best F1; None if either kind is missing."""
        return self.curve.best if self.curve else None

    def at(self, threshold: float = DRAWN) -> ThresholdPoint | None:
        """Return the metrics at a threshold; None if either kind is missing."""
        return self.curve.at(threshold) if self.curve else None

    def as_dict(self, *, curve: bool = True) -> dict[str, Any]:
        """Return the JSON form, with the curve or without."""
        best, drawn = self.best, self.at()
        return {
            "visible": self.visible,
            "others": self.others,
            "average_precision": self.average_precision,
            "chance": self.chance,
            "best_f1": asdict(best) if best else None,
            f"at_{DRAWN:g}": asdict(drawn) if drawn else None,
            **({"curve": self.curve.as_dict() if self.curve else None} if curve else {}),
        }


@dataclass(frozen=True, eq=False, slots=True)
class VisibilityScores:
    """Separation over all keypoints, and of each by name, from each other kind of points.

    Attributes:
        overall: by the other kind: ``hidden``, ``unlabelled``.
        by_keypoint: by the other kind and the keypoint's name, in the skeleton's order.
        without_score: points without a score, as their object was not detected; they do not count.
    """

    overall: Mapping[OtherVisibility, Separation]
    by_keypoint: Mapping[OtherVisibility, Mapping[str, Separation]]
    without_score: int

    def notes(self) -> tuple[str, ...]:
        """Return why metrics are missing, one note for each kind of points."""
        found = []
        for other, one in self.overall.items():
            if not one.visible:
                found.append(f"visible against {OTHER_NAMES[other]}: n/a (no point is labeled visible)")
            elif not one.others:
                kind = "no point is labeled hidden" if other == "hidden" else "every point is labeled"
                found.append(f"visible against {OTHER_NAMES[other]}: n/a ({kind})")
        return tuple(found)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form; curves only over all keypoints."""
        return {
            "against": {
                other: {
                    "overall": self.overall[other].as_dict(),
                    "by_keypoint": {name: one.as_dict(curve=False) for name, one in self.by_keypoint[other].items()},
                }
                for other in OTHERS
            },
            "without_score": self.without_score,
            "notes": list(self.notes()),
        }


def visibility_scores(labels: Floats, scores: Floats, names: Sequence[str]) -> VisibilityScores:
    """Return how well keypoint scores separate visible points from occluded and from unlabeled ones.

    Args:
        labels: (N, K, 3) x, y, visibility.
        scores: (N, K) higher is more confident; NaN for an object that was not detected.
        names: the K keypoints' names.
    """
    visibility, known = labels[:, :, 2], ~np.isnan(scores)

    def separation(value: Visibility, part: slice) -> Separation:
        visible = (visibility == Visibility.VISIBLE)[:, part] & known[:, part]
        others = (visibility == value)[:, part] & known[:, part]
        there, wrong = int(visible.sum()), int(others.sum())
        if not there or not wrong:
            return Separation(there, wrong, None)
        counted = visible | others
        return Separation(there, wrong, curve_of(scores[:, part][counted], visible[counted], there))

    return VisibilityScores(
        overall={other: separation(value, slice(None)) for other, value in OTHERS.items()},
        by_keypoint={
            other: {name: separation(value, slice(i, i + 1)) for i, name in enumerate(names)}
            for other, value in OTHERS.items()
        },
        without_score=int((~known).sum()),
    )
