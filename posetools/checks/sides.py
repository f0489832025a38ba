"""Detect objects with left and right swapped, from the data set itself: no template, no model.

In a photo, left points usually lie on a certain side of the others. The data set shows which one, because nearly all
objects are labeled correctly. The same features are computed twice for each object, for its labels and with left and
right swapped:

- the vector from one point to another, in units of the object's extent: in upright images left and right have places;
- the signed area of three points: it does not change if the image is rotated, and changes sign if it is mirrored.

A feature counts only if its points are labeled (and again if all are visible, when the data set marks occluded points).
The difference of the two feature vectors changes sign when the names are swapped. So a logistic regression without a
constant term, trained to distinguish objects as labeled from the same objects swapped, gives each object a score, and
the swapped object has the negative score. The regression tolerates some wrong labels in its training data, and every
object is scored by a regression that was not trained on it.

The scores give the share of swapped objects, how often a score of some size has the wrong sign, each object's
probability of being swapped, and how many would be detected if all were swapped. If few would be (all points are
labeled, and the object is seen from all sides at its own height), the check reports that the data set cannot tell.

It is not in ``rigid`` because it needs no rigid object. Legs move and heads turn; the regression finds what does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from posetools.checks.structure import SoundObjects
from posetools.core.findings import Finding
from posetools.core.geometry import Bools, Floats, Ints
from posetools.core.skeleton import Skeleton

# Fewer objects teach too little.
LEAST_OBJECTS = 60
# If more objects than this seem swapped, or fewer swapped ones would be detected, the data set cannot tell. Many that
# seem swapped may be another kind of object: then more must be detectable.
MOST_EXCHANGED = 0.2
MANY_EXCHANGED = 0.1
LEAST_RECALL = 0.5
LEAST_RECALL_OF_MANY = 0.9
# Expected precision of the reported objects; each one is also more likely swapped than not.
PRECISION = 0.9
# Training objects, cross-validation folds, and most features per object.
_LEARNED = 1000
_FOLDS = 4
_MOST_NUMBERS = 400
# Up to so many keypoints all triples are used; beyond, only those with a left point and its right one.
_ANY_THREE = 10
_CLIP = 3.0
_RIDGES = (1e-3, 1e-2, 1e-1)
# Prior share of swapped objects, and the least that is assumed.
_EXCHANGED_SHARE = 0.05
_LEAST_SHARE = 0.02
_POWERS = (1.0, 1.5, 2.0)
_SCALES = np.geomspace(0.1, 30.0, 30)
_AT_ONCE = 4096


@dataclass(frozen=True, eq=False, slots=True)
class Sides:
    """The left-right check of N objects.

    Attributes:
        probability: (N,) of being swapped; NaN if the labels carry no information.
        exchanged: (N,) which are reported.
        recall: the share that would be detected if all objects were swapped.
        share: the share that seems to be swapped.
        judged: how many objects carry information.
    """

    probability: Floats
    exchanged: Bools
    recall: float
    share: float
    judged: int

    @property
    def tells(self) -> bool:
        """Whether the data set can tell at all."""
        least = LEAST_RECALL if self.share <= MANY_EXCHANGED else LEAST_RECALL_OF_MANY
        return self.judged >= LEAST_OBJECTS and self.share <= MOST_EXCHANGED and self.recall >= least


def check_sides(
    objects: Mapping[str, SoundObjects], skeleton: Skeleton, of: str = ""
) -> tuple[list[Finding], tuple[str, ...]]:
    """Return the objects of all splits with left and right probably swapped, and what could not be checked.

    Args:
        objects: split -> its objects of the skeleton.
        skeleton: what the keypoints are.
        of: words that name the categories in the notes, where the data set has other skeletons too.
    """
    parts = [part for part in objects.values() if len(part)]
    swap = np.array(skeleton.flip_indices)
    if not parts or (swap == np.arange(len(swap))).all():
        return [], ()
    sides = judge(np.concatenate([part.keypoints for part in parts]), swap)
    if not sides.tells:
        return [], (_note(sides, of),)
    findings, start = [], 0
    for part in parts:
        for index in np.flatnonzero(sides.exchanged[start : start + len(part)]):
            message = (
                "left and right must lie as in the data set's other objects, got them swapped "
                f"(probability {min(sides.probability[start + index], 0.999):.3f})"
            )
            hint = "check the image: swap left and right, unless it is only an unusual view"
            findings.append(part.finding("W222", int(index), message, hint))
        start += len(part)
    return findings, ()


def _note(sides: Sides, of: str) -> str:
    head = f"mirrored labels{of} not checked: "
    if sides.judged < LEAST_OBJECTS:
        return f"{head}it needs {LEAST_OBJECTS} objects with left or right points, the data set has {sides.judged}"
    if sides.share > MOST_EXCHANGED:
        return f"{head}{sides.share:.0%} of the objects seem mirrored (docs/geometry.md)"
    found = f"with left and right swapped only {sides.recall:.0%} of these objects would stand out"
    return f"{head}{found} (docs/geometry.md)"


def judge(keypoints: Floats, swap: Ints) -> Sides:
    """Check left and right of (N, K, 3) objects.

    Args:
        keypoints: x, y, visibility.
        swap: (K,) the keypoint that each becomes in a mirrored image.
    """
    numbers = _Numbers(keypoints, swap)
    rows = np.flatnonzero(numbers.says_something())
    nothing = Sides(np.full(len(keypoints), np.nan), np.zeros(len(keypoints), dtype=np.bool_), 0.0, 0.0, len(rows))
    if len(rows) < LEAST_OBJECTS:
        return nothing
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), _LEARNED)).astype(np.int64)]
    best = max((_learn(numbers.of(some), ridge) for ridge in _RIDGES), key=lambda one: one.likelihood)
    scores = np.concatenate(
        [numbers.of(rows[at : at + _AT_ONCE]) @ best.weights for at in range(0, len(rows), _AT_ONCE)]
    )
    scores[np.searchsorted(rows, some)] = best.scores
    probability = best.probability(scores)
    reported = _reported(probability)
    bar = float(probability[reported].min(initial=0.8))
    found = ((1 - probability) * (best.probability(-scores) >= bar)).sum() / (1 - probability).sum()
    nothing.probability[rows], nothing.exchanged[rows] = probability, reported
    return Sides(nothing.probability, nothing.exchanged, float(found), best.share, len(rows))


def _reported(probability: Floats) -> Bools:
    """Return the most probable ones, as many as the expected precision allows."""
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order]
    kept = np.flatnonzero((np.cumsum(ranked) / np.arange(1, len(ranked) + 1) >= PRECISION) & (ranked >= 0.5))
    reported = np.zeros(len(probability), dtype=np.bool_)
    reported[order[: kept[-1] + 1 if len(kept) else 0]] = True
    return reported


class _Numbers:
    """The change of each object's features when left and right are swapped."""

    def __init__(self, keypoints: Floats, swap: Ints) -> None:
        self._keypoints, self._swap = keypoints, swap
        self._masks = (1, 2) if (keypoints[:, :, 2] == 1).any() else (1,)
        two, three = _twos(swap), _threes(swap)
        most = max(1, _MOST_NUMBERS // (2 * len(self._masks)))
        self._two, self._three = two[:: -(-2 * len(two) // most)], three[:: -(-len(three) // most)]
        self._scale: Floats | None = None

    def says_something(self) -> Bools:
        """Return (N,) whether an object has two labeled points at different places, one of them left or right."""
        labeled = self._keypoints[:, :, 2] > 0
        sided = labeled & (self._swap != np.arange(len(self._swap)))
        finite = np.isfinite(self._keypoints).all(axis=(1, 2))
        says: Bools = (labeled.sum(axis=1) >= 2) & sided.any(axis=1) & finite
        says[says] = _placed(self._keypoints[says])[1] > 0
        return says

    def of(self, rows: Ints) -> Floats:
        """Return (R, F) features of some informative objects; the first call sets the scale of each feature."""
        points, _ = _placed(self._keypoints[rows])
        visibility = self._keypoints[rows, :, 2]
        parts = []
        for least in self._masks:
            shown = visibility >= least
            parts.append(self._described(points, shown))
            parts[-1] = parts[-1] - self._described(points[:, self._swap], shown[:, self._swap])
        numbers = np.concatenate(parts, axis=1)
        if self._scale is None:
            spread = np.sqrt((numbers**2).mean(axis=0))
            self._scale = np.where(spread > 1e-9, spread, np.inf)
        scaled: Floats = np.clip(numbers / self._scale, -_CLIP, _CLIP) / np.sqrt(numbers.shape[1])
        return scaled

    def _described(self, points: Floats, shown: Bools) -> Floats:
        i, j = self._two.T
        way = (points[:, j] - points[:, i]) * (shown[:, i] & shown[:, j])[:, :, None]
        a, b, c = self._three.T
        one, other = points[:, b] - points[:, a], points[:, c] - points[:, a]
        area = (one[:, :, 0] * other[:, :, 1] - one[:, :, 1] * other[:, :, 0]) * (
            shown[:, a] & shown[:, b] & shown[:, c]
        )
        return np.concatenate([way[:, :, 0], way[:, :, 1], area], axis=1)


def _placed(keypoints: Floats) -> tuple[Floats, Floats]:
    """Return (N, K, 2) points from the mean of the labeled ones, in units of their extent, and the (N,) extents."""
    labeled = keypoints[:, :, 2] > 0
    count = np.maximum(labeled.sum(axis=1), 1)
    middle = (keypoints[:, :, :2] * labeled[:, :, None]).sum(axis=1) / count[:, None]
    points = keypoints[:, :, :2] - middle[:, None]
    extent = np.sqrt(((points**2).sum(axis=2) * labeled).sum(axis=1) / count)
    return points / np.where(extent > 0, extent, 1.0)[:, None, None], extent


def _twos(swap: Ints) -> Ints:
    """Return (T, 2) pairs of keypoints, one of each pair and its mirror image."""
    every = combinations(range(len(swap)), 2)
    return np.array([two for two in every if _comes_first(two, swap)], dtype=np.int64).reshape(-1, 2)


def _threes(swap: Ints) -> Ints:
    """Return (T, 3) triples of keypoints, one of each and its mirror image; of many, those with a left-right pair."""
    count = len(swap)
    pairs = [(k, int(swap[k])) for k in range(count) if k < swap[k]]
    some = {tuple(sorted((*pair, k))) for pair in pairs for k in range(count) if k not in pair}
    every = combinations(range(count), 3) if count <= _ANY_THREE else sorted(some)
    return np.array([three for three in every if _comes_first(three, swap)], dtype=np.int64).reshape(-1, 3)


def _comes_first(points: tuple[int, ...], swap: Ints) -> bool:
    other = tuple(sorted(int(swap[k]) for k in points))
    return points <= other and any(swap[k] != k for k in points)


@dataclass(frozen=True, eq=False, slots=True)
class _Regression:
    """A regression, its cross-validated training scores, and their meaning.

    Attributes:
        weights: (F,) mean of all folds.
        scores: (N,) above 0 if the object looks right as labeled.
        likelihood: how well the scores are explained (log).
        share: of swapped objects.
        scale: of the scores.
        power: how fast a score's sign becomes certain with its size.
    """

    weights: Floats
    scores: Floats
    likelihood: float
    share: float
    scale: float
    power: float

    def probability(self, scores: Floats) -> Floats:
        """Return (N,) probabilities that objects with these scores are swapped."""
        share, right = max(self.share, _LEAST_SHARE), _right(scores, self.scale, self.power)
        exchanged: Floats = share * (1 - right) / (share * (1 - right) + (1 - share) * right)
        return exchanged


def _learn(numbers: Floats, ridge: float) -> _Regression:
    fold = np.random.default_rng(0).permutation(len(numbers)) % _FOLDS
    scores, weights = np.empty(len(numbers)), np.zeros(numbers.shape[1])
    for part in range(_FOLDS):
        own = _regression(numbers[fold != part], ridge)
        scores[fold == part] = numbers[fold == part] @ own
        weights += own / _FOLDS
    return _Regression(weights, scores, *_meaning(scores))


def _regression(numbers: Floats, ridge: float) -> Floats:
    """Return (F,) weights by which nearly all objects look right, robust to a few wrong ones."""
    weights, target = np.zeros(numbers.shape[1]), np.full(len(numbers), 1 - _EXCHANGED_SHARE)
    for _ in range(6):
        for _ in range(4):
            weights = weights + _step(numbers, target, weights, ridge * len(numbers))
        right = _sigmoid(numbers @ weights)
        target = 1 - _EXCHANGED_SHARE * (1 - right) / (_EXCHANGED_SHARE * (1 - right) + (1 - _EXCHANGED_SHARE) * right)
    return weights


def _step(numbers: Floats, target: Floats, weights: Floats, ridge: float) -> Floats:
    """Return Newton's step of a ridge regression with soft targets."""
    right = _sigmoid(numbers @ weights)
    matrix = (numbers * np.maximum(right * (1 - right), 1e-4)[:, None]).T @ numbers
    matrix[np.diag_indices(len(matrix))] += ridge
    step: Floats = np.linalg.solve(matrix, numbers.T @ (target - right) - ridge * weights)
    return step


def _meaning(scores: Floats) -> tuple[float, float, float, float]:
    """Return the likelihood, the share of swapped objects, and the scale and power that explain the scores best."""
    usual = float(np.median(np.abs(scores))) + 1e-12
    # (P, 1): every power with every scale.
    powers, scales = (grid.reshape(-1, 1) for grid in np.meshgrid(_POWERS, _SCALES / usual, indexing="ij"))
    right, share = _right(scores, scales, powers), np.full(powers.shape, _EXCHANGED_SHARE)
    for _ in range(30):
        share = np.minimum((share * (1 - right) / _of_labels(right, share)).mean(axis=1, keepdims=True), 0.5)
    likelihood = np.log(_of_labels(right, share)).sum(axis=1)
    best = int(likelihood.argmax())
    return float(likelihood[best]), float(share[best, 0]), float(scales[best, 0]), float(powers[best, 0])


def _of_labels(right: Floats, share: Floats) -> Floats:
    """Return the likelihood of the labels: correct ones, and swapped ones that look right when swapped."""
    return np.maximum((1 - share) * right + share * (1 - right), 1e-300)


def _right(scores: Floats, scale: float | Floats, power: float | Floats) -> Floats:
    return _sigmoid(np.sign(scores) * np.minimum(scale * np.abs(scores), 40.0) ** power)


def _sigmoid(values: Floats) -> Floats:
    sigmoid: Floats = 1.0 / (1.0 + np.exp(-np.clip(values, -40.0, 40.0)))
    return sigmoid
