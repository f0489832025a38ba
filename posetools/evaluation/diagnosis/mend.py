"""How much AP would come back if one kind of error were mended, and if all were, one after another.

A kind is mended in the predictions, and AP is measured again, by the measure that measured it before:

- a point goes to its labeled place, a shifted box to its labeled box (and with it the points that it spoilt);
- an object without a box gets a prediction at its label, as sure as the median of the matched ones;
- duplicates and predictions on nothing are taken away;
- scores become what they should say: how good the prediction is (its OKS or IoU), and 0 for those taken away above.

Ronchi and Perona leave a mended point an error (jitter ends at ks 0.85, a missing point at 0.5, an inverted or swapped
one as near to its own place as it was to the wrong one); here it goes to the label, so a gain is the most that the kind
can cost. What is of no mended kind is not changed: points that are good stay where they are, and a prediction keeps its
score, unless scores are what is mended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Bools, Floats, Ints
from posetools.evaluation.coco import Predictions
from posetools.evaluation.diagnosis.match import Matches, Role

# AP is shown with three digits: what changes none of them is not said.
_LEAST_AP_SHOWN = 0.0005

# What the kinds of errors are called for people.
ERROR_NAMES: Mapping[str, str] = {
    "good": "good",
    "no_box": "no box",
    "box_shifted": "box shifted",
    "jitter": "jitter",
    "left_right": "left/right inversion",
    "front_rear": "front/rear inversion",
    "diagonal": "left/right and front/rear inversion at once",
    "neighbour": "neighboring keypoint's place",
    "swap": "swap with another object",
    "missing": "missing",
    "inexact": "inexact box",
    "duplicate": "second prediction of one object",
    "background": "prediction on nothing",
    "scores": "order of scores",
}


@dataclass(frozen=True, slots=True)
class Gain:
    """The AP that mending one kind of error brings; None where there is no AP.

    Attributes:
        alone: when it alone is mended.
        in_order: when it is mended after all kinds before it.
    """

    alone: float | None
    in_order: float | None


@dataclass(frozen=True, slots=True)
class LostAp:
    """What kinds of errors cost.

    Attributes:
        ap: as it is; None without objects that count.
        counts: kind -> how many objects or points are of it, and how many predictions.
        gains: error -> the AP that mending it brings, in the order in which they are mended.
    """

    ap: float | None
    counts: Mapping[str, int]
    gains: Mapping[str, Gain]

    @property
    def rest(self) -> float | None:
        """What is still missing to AP 1 when every error is mended: what is good, but not exact."""
        steps = [gain.in_order for gain in self.gains.values() if gain.in_order is not None]
        return None if self.ap is None else 1.0 - self.ap - sum(steps)

    def amount(self, kind: str) -> str:
        """Return in words how often a kind of ``counts`` is there."""
        raise NotImplementedError

    def sentences(self) -> tuple[str, ...]:
        """Return one sentence per kind of error that costs AP, the dearest first."""
        lines, ap = [], self.ap or 0.0
        costly = {kind: gain.alone for kind, gain in self.gains.items() if gain.alone and gain.alone >= _LEAST_AP_SHOWN}
        for kind, alone in sorted(costly.items(), key=lambda one: -one[1]):
            amount = f"{self.amount(kind)}, " if kind in self.counts else ""
            lines.append(f"{ERROR_NAMES[kind]}: {amount}AP {ap:.3f} would be {ap + alone:.3f} without it")
        return tuple(lines)


@dataclass(frozen=True, eq=False, slots=True)
class Errors:
    """What is wrong with some predictions, as arrays of N labeled and M predicted objects.

    Attributes:
        truth: the labels.
        predicted: the predictions.
        matches: which prediction was meant for which object.
        absent: (N,) objects to which a prediction is to be added.
        boxes: kind -> (N,) objects whose box is wrong.
        points: kind -> (N, K) points that are wrong.
        quality: returns the (M',) scores that mended predictions should have, from them and the (M',) rows of their
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
        """Return how much there is to mend of a kind: 0 means that mending it changes nothing."""
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
    """Return AP, and what mending each kind brings.

    Args:
        errors: what is wrong.
        kinds: in the order in which they are mended one after another.
        measure: returns the AP of predictions, None when there is none to measure.
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
        alone = measure(mended(errors, {kind}))
        # The first kind that is there at all is mended after nothing.
        after = measure(mended(errors, done | {kind})) if done else alone
        done.add(kind)
        found[kind] = Gain(_difference(alone, start), _difference(after, before))
        before = after
    return start, found


def _difference(after: float | None, before: float) -> float | None:
    return None if after is None else after - before


def mended(errors: Errors, kinds: set[str]) -> Predictions:
    """Return the predictions as they would be without errors of these kinds."""
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
