"""Whether a keypoint's score tells visible points from hidden ones, and from points that are not labelled.

The network is trained to place visible (2) and hidden (1) points alike and is never told that a point is absent (0), so
its score is no answer to "is it visible?"; here it is measured how good an answer it is. "Visible" is what is to be
found; a point is called visible when its score reaches a threshold. There are two questions, with two kinds of
wrong answers:

- against hidden points: labelled 2 against labelled 1;
- against points that are not labelled: 2 against 0. These are out of the picture or were left out by the annotator,
  which the data does not tell apart.

Precision, recall, F1 and average precision are those of thresholds.py. Where only one kind of points is labelled
nothing can be told apart: the numbers are None, never 0 or 1. A useless score has the share of visible points as its
average precision (``chance``), so that is shown beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from posetools.core.dataset import Visibility
from posetools.core.geometry import Floats
from posetools.evaluation.thresholds import Curve, Point, curve_of

# What "visible" is told from.
Other: TypeAlias = Literal["hidden", "unlabelled"]
OTHERS: Mapping[Other, Visibility] = {"hidden": Visibility.HIDDEN, "unlabelled": Visibility.NOT_LABELLED}
# MMPose's and our own default for drawing a point.
DRAWN = 0.3


@dataclass(frozen=True, eq=False, slots=True)
class Separation:
    """How well a score tells visible points from others.

    Attributes:
        visible: how many points are visible.
        others: how many are of the other kind.
        curve: by threshold; None where one of the two kinds is not there.
    """

    visible: int
    others: int
    curve: Curve | None

    @property
    def average_precision(self) -> float | None:
        """0 to 1; None where one kind is not there."""
        return self.curve.average_precision if self.curve else None

    @property
    def chance(self) -> float | None:
        """The average precision of a score that knows nothing; None where one kind is not there."""
        return self.visible / (self.visible + self.others) if self.curve else None

    @property
    def best(self) -> Point | None:
        """The threshold with the best F1; None where one kind is not there."""
        return self.curve.best if self.curve else None

    def at(self, threshold: float = DRAWN) -> Point | None:
        """Return what a threshold gives; None where one kind is not there."""
        return self.curve.at(threshold) if self.curve else None

    def as_dict(self, *, curve: bool = True) -> dict[str, Any]:
        """Return the JSON form, with the curve or without."""
        best, drawn = self.best, self.at()
        return {
            "visible": self.visible,
            "others": self.others,
            "average_precision": self.average_precision,
            "chance": self.chance,
            "best_f1": best.as_dict() if best else None,
            f"at_{DRAWN:g}": drawn.as_dict() if drawn else None,
            **({"curve": self.curve.as_dict() if self.curve else None} if curve else {}),
        }


@dataclass(frozen=True, eq=False, slots=True)
class VisibilityScores:
    """Separation over all keypoints, and of each by name, from each other kind of points.

    Attributes:
        overall: by the other kind: ``hidden``, ``unlabelled``.
        by_keypoint: by the other kind and the keypoint's name, in the skeleton's order.
        without_score: points that have no score, because their object was not found; they count nowhere.
    """

    overall: Mapping[Other, Separation]
    by_keypoint: Mapping[Other, Mapping[str, Separation]]
    without_score: int

    def notes(self) -> tuple[str, ...]:
        """Return why numbers are missing, one sentence for each kind of points; none where nothing is missing."""
        found = []
        for other, one in self.overall.items():
            if not one.visible:
                found.append(f"visible against {other}: n/a (no point is labelled visible)")
            elif not one.others:
                kind = "no point is labelled hidden" if other == "hidden" else "every point is labelled"
                found.append(f"visible against {other}: n/a ({kind})")
        return tuple(found)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form; curves only of the whole."""
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
    """Return how well keypoints' scores tell visible points from hidden and from unlabelled ones.

    Args:
        labels: (N, K, 3) x, y, visibility.
        scores: (N, K) the higher, the surer; NaN for an object that was not found.
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
