"""Calibration of scores: reliability by bins, and the expected calibration error.

Of the predictions with a score of about 0.7, about 70 % should be right. Scores are put into ten bins of equal width;
with n of N scores in a bin, mean score c and fraction right a, the expected calibration error is the sum of n/N |a - c|
(Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015; Guo et al., "On Calibration
of Modern Neural Networks", ICML 2017), and the largest of the |a - c| the maximum calibration error. For boxes "right"
is precision, as detection has no true negatives (Küppers et al., "Multivariate Confidence Calibration for Object
Detection", CVPR Workshops 2020).

What "right" means here:

- a box matches an object with an IoU of at least 0.5, by COCO's matching;
- an object matches with an OKS of at least 0.5;
- a keypoint is nearer to its label than a tenth of the longer side of the labeled box (PCK@0.1).

Predictions that COCO ignores (in a crowd, on an object without points) do not count. The score of a SimCC head is the
smaller of two maxima over its bins, not a probability: it is calibrated only by accident and may be above 1. Its error
shows this; scores above 1 fall into the last bin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Bools, Floats
from posetools.evaluation.coco import Predictions, right_or_wrong

BINS = 10
NEAR_RATE = 0.1
RIGHT = 0.5

_SIMCC = (
    "The scores of SimCC keypoints are maxima over the bins of a coordinate, not probabilities: the error says how far "
    "they are from probabilities."
)
_OBJECT = "An object's score is the box score times the mean of its keypoint scores above 0.2, not a probability."


@dataclass(frozen=True, slots=True)
class Bin:
    """The scores from ``low`` to ``high``.

    Attributes:
        low: the lower edge, inclusive.
        high: the upper edge, exclusive; the last bin has all scores above it.
        count: number of scores.
        score: their mean; None without scores.
        right: the fraction that is right; None without scores.
    """

    low: float
    high: float
    count: int
    score: float | None
    right: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far scores are from the fractions that are right.

    Attributes:
        what: what counts as right, in words.
        note: a remark on these scores; empty if they are meant as probabilities.
        count: number of scores.
        bins: BINS of equal width from 0 to 1.
        above_one: number of scores above 1; they are in the last bin.
    """

    what: str
    note: str
    count: int
    bins: tuple[Bin, ...]
    above_one: int

    @property
    def expected_error(self) -> float | None:
        """The mean distance of score and fraction, 0 to 1 (more with scores above 1); None without scores."""
        return sum(abs(gap) * count for gap, count in self._gaps()) / self.count if self.count else None

    @property
    def largest_error(self) -> float | None:
        """The largest distance of a bin; None without scores."""
        return max((abs(gap) for gap, _ in self._gaps()), default=None)

    @property
    def bias(self) -> float | None:
        """Mean score minus fraction right: above 0 the scores are too high; None without scores."""
        return sum(gap * count for gap, count in self._gaps()) / self.count if self.count else None

    def _gaps(self) -> Iterator[tuple[float, int]]:
        for one in self.bins:
            if one.score is not None and one.right is not None:
                yield one.score - one.right, one.count

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            **asdict(self),
            "expected_error": self.expected_error,
            "largest_error": self.largest_error,
            "bias": self.bias,
        }


def calibration(scores: Floats, right: Bools, what: str, note: str = "") -> Calibration:
    """Return how far scores are from the fractions that are right.

    Args:
        scores: (M,) 0 to 1; those above 1 count in the last bin, those below 0 in the first.
        right: (M,) whether each is right.
        what: what counts as right, in words.
        note: a remark on these scores.
    """
    # Not linspace, whose 0.30000000000000004 would put a score of 0.3 into the bin below.
    edges = np.arange(BINS + 1) / BINS
    place = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, BINS - 1)
    count = np.bincount(place, minlength=BINS)
    mean = np.bincount(place, weights=scores, minlength=BINS) / np.maximum(count, 1)
    share = np.bincount(place, weights=right.astype(np.float64), minlength=BINS) / np.maximum(count, 1)
    bins = tuple(
        Bin(
            low=round(float(edges[i]), 6),
            high=round(float(edges[i + 1]), 6),
            count=int(count[i]),
            score=float(mean[i]) if count[i] else None,
            right=float(share[i]) if count[i] else None,
        )
        for i in range(BINS)
    )
    return Calibration(what=what, note=note, count=len(scores), bins=bins, above_one=int((scores > 1).sum()))


def box_calibration(truth: Dataset, predicted: Predictions) -> Calibration:
    """Return the calibration of a detector's scores."""
    scores, right, _ = right_or_wrong(truth, predicted, "bbox", RIGHT)
    return calibration(scores, right, f"IoU at least {RIGHT:g}")


def object_calibration(truth: Dataset, predicted: Predictions) -> Calibration:
    """Return the calibration of the scores of objects with keypoints, by OKS with the skeleton's sigmas."""
    scores, right, _ = right_or_wrong(truth, predicted, "keypoints", RIGHT)
    return calibration(scores, right, f"OKS at least {RIGHT:g}", _OBJECT)


def keypoint_calibration(labels: Floats, points: Floats, scores: Floats, boxes: Floats) -> Calibration:
    """Return the calibration of keypoint scores.

    Args:
        labels: (N, K, 3) x, y, visibility; labeled points count, visible or occluded.
        points: (N, K, 2) predicted x, y in pixels; NaN for an object that was not detected, which does not count.
        scores: (N, K) the scores of the points.
        boxes: (N, 4) labeled boxes; distances are relative to their longer sides.
    """
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0.0)
    distance = np.linalg.norm(points - labels[:, :, :2], axis=2)
    counted = (labels[:, :, 2] > 0) & ~np.isnan(distance) & ~np.isnan(scores) & (longer > 0)[:, None]
    near = distance < NEAR_RATE * longer[:, None]
    return calibration(scores[counted], near[counted], f"nearer than {NEAR_RATE:g} of the box's longer side", _SIMCC)
