"""The AP gain from fixing each kind of error alone, and all of them one after another.

Each kind is fixed in the predictions, and AP is measured again in the same way:

- a point moves to its label, a shifted box to its labeled box (with the points that it spoiled);
- an object without a box gets a prediction at its label, with the median score of the matched ones;
- duplicates and background predictions are removed;
- scores become the quality of the prediction (its OKS or IoU), and 0 for those removed above.

Ronchi and Perona leave a fixed point an error (jitter ends at ks 0.85, a missing point at 0.5, an inverted or swapped
one as near to its own location as it was to the wrong one); here it moves to the label, so a gain is an upper limit of
the cost. Everything else is unchanged: good points, and scores unless these are fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Bools, Floats, Ints
from posetools.evaluation.coco import Predictions
from posetools.evaluation.diagnosis.match import Matches, Role

# AP is shown with three digits: smaller gains are not listed.
_LEAST_AP_SHOWN = 0.0005

# Display names of the kinds of errors.
ERROR_NAMES: Mapping[str, str] = {
    "good": "good",
    "no_box": "no box",
    "box_shifted": "box shifted",
    "jitter": "jitter",
    "left_right": "left/right inversion",
    "front_rear": "front/rear inversion",
    "diagonal": "left/right and front/rear inversion",
    "neighbour": "neighboring keypoint",
    "swap": "swap with another object",
    "missing": "missing",
    "inexact": "inexact box",
    "duplicate": "duplicate prediction",
    "background": "background prediction",
    "scores": "order of scores",
}


@dataclass(frozen=True, slots=True)
class Gain:
    """The AP gain from fixing one kind of error; None without an AP.

    Attributes:
        alone: if only this kind is fixed.
        in_order: if it is fixed after all kinds before it.
    """

    alone: float | None
    in_order: float | None


@dataclass(frozen=True, slots=True)
class LostAp:
    """The AP that kinds of errors cost.

    Attributes:
        ap: the measured AP; None without objects that count.
        counts: kind -> number of objects, points or predictions.
        gains: error -> the AP gain from fixing it, in the order in which they are fixed.
    """

    ap: float | None
    counts: Mapping[str, int]
    gains: Mapping[str, Gain]

    @property
    def rest(self) -> float | None:
        """What is missing to AP 1 when every error is fixed: good, but inexact predictions."""
        steps = [gain.in_order for gain in self.gains.values() if gain.in_order is not None]
        return None if self.ap is None else 1.0 - self.ap - sum(steps)

    def amount(self, kind: str) -> str:
        """Return the count for one kind in words."""
        raise NotImplementedError

    def sentences(self) -> tuple[str, ...]:
        """Return one sentence per kind of error that costs AP, the most costly first."""
        lines, ap = [], self.ap or 0.0
        costly = {kind: gain.alone for kind, gain in self.gains.items() if gain.alone and gain.alone >= _LEAST_AP_SHOWN}
        for kind, alone in sorted(costly.items(), key=lambda one: -one[1]):
            amount = f"{self.amount(kind)}, " if kind in self.counts else ""
            lines.append(f"{ERROR_NAMES[kind]}: {amount}AP {ap:.3f} would be {ap + alone:.3f} without it")
        return tuple(lines)


@dataclass(frozen=True, eq=False, slots=True)
class Errors:
    """The errors of predictions, as arrays of N labeled and M predicted objects.

    Attributes:
        truth: the labels.
        predicted: the predictions.
        matches: predictions and their objects.
        absent: (N,) objects without a prediction.
        boxes: kind -> (N,) objects whose box is wrong.
        points: kind -> (N, K) points that are wrong.
        quality: returns the (M',) scores that fixed predictions should have, from them and the (M',) rows of their
            objects (-1: none).
    """

    truth: Dataset
    predicted: Predictions
    matches: Matches
    absent: Bools
    boxes: Mapping[str, Bools]
    points: Mapping[str, Bools]
    quality: Callable[[Predictions, Ints], Floats]

    def count(self, kind: str) -> int:
        """Return the number of errors of one kind: 0 means that fixing it changes nothing."""
        if kind == "no_box":
            return int(self.absent.sum())
        if kind in _TAKEN_AWAY:
            return int((self.matches.roles == _TAKEN_AWAY[kind]).sum())
        if kind == "scores":
            return len(self.predicted)
        wrong = [part[kind].any() for part in (self.boxes, self.points) if kind in part]
        return int(any(wrong))


_TAKEN_AWAY = {"duplicate": Role.DUPLICATE, "background": Role.BACKGROUND}


def gains(
    errors: Errors, kinds: Sequence[str], measure: Callable[[Predictions], float | None]
) -> tuple[float | None, dict[str, Gain]]:
    """Return AP, and the gain from fixing each kind.

    Args:
        errors: the errors.
        kinds: in the order in which they are fixed one after another.
        measure: returns the AP of predictions, None if undefined.
    """
    start = measure(errors.predicted)
    before, done, found = start, set[str](), dict[str, Gain]()
    for kind in kinds:
        if start is None or before is None:
            found[kind] = Gain(None, None)
            continue
        if not errors.count(kind):
            found[kind] = Gain(0.0, 0.0)
            continue
        alone = measure(fixed(errors, {kind}))
        # Before the first kind nothing is fixed.
        after = measure(fixed(errors, done | {kind})) if done else alone
        done.add(kind)
        found[kind] = Gain(_difference(alone, start), _difference(after, before))
        before = after
    return start, found


def _difference(after: float | None, before: float) -> float | None:
    return None if after is None else after - before


def fixed(errors: Errors, kinds: set[str]) -> Predictions:
    """Return the predictions without errors of these kinds."""
    truth, predicted, matches = errors.truth, errors.predicted, errors.matches
    boxes, keypoints = predicted.boxes.copy(), predicted.keypoints.copy()
    for kind in kinds & set(errors.boxes):
        rows = np.flatnonzero(errors.boxes[kind])
        boxes[matches.predicted[rows]] = truth.boxes[rows]
    for kind in kinds & set(errors.points):
        rows, names = np.nonzero(errors.points[kind])
        keypoints[matches.predicted[rows], names] = truth.keypoints[rows, names, :2]
    owner = np.full(len(predicted), -1, dtype=np.int64)
    matched = np.flatnonzero(matches.predicted >= 0)
    owner[matches.predicted[matched]] = matched
    kept = ~np.isin(matches.roles, [_TAKEN_AWAY[kind] for kind in kinds if kind in _TAKEN_AWAY])
    added = np.flatnonzero(errors.absent) if "no_box" in kinds else np.zeros(0, dtype=np.int64)
    sure = float(np.median(predicted.scores[owner >= 0])) if len(matched) else 1.0
    owner = np.concatenate([owner[kept], added])
    result = Predictions(
        np.concatenate([predicted.image_index[kept], truth.image_index[added]]),
        np.concatenate([boxes[kept], truth.boxes[added]]),
        np.concatenate([predicted.scores[kept], np.full(len(added), sure)]),
        np.concatenate([keypoints[kept], truth.keypoints[added, : keypoints.shape[1], :2]]),
    )
    if "scores" not in kinds:
        return result
    scores = np.where(owner >= 0, errors.quality(result, owner), 0.0)
    return Predictions(result.image_index, result.boxes, scores, result.keypoints)
