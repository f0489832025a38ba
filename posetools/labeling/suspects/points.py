"""Suspected keypoints: moved, exchanged with each other, or left out.

A label is compared with the density of what is usual for such a prediction (``evidence``). The labels of an object are
explained by the likeliest of: they are right; the names of all its points are exchanged, or those of two; and, where no
exchange explains them, single points are moved. The model makes the same mistakes: it exchanges left and right too, or
misses a point by far. How often it does with such scores is a rate of the data set; the fit of a rigid object says
which of the two it was (``rigid_fit``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from posetools.core.geometry import Bools, Floats, Ints
from posetools.labeling.suspects.evidence import WRONG_SHARE, best_tail, density_of, median_of, rate_of, shared_out
from posetools.labeling.suspects.exchanges import Renaming, renamings_of
from posetools.labeling.suspects.rigid_fit import RigidFit
from posetools.labeling.suspects.seen import Seen

# A point is far off if it is this many usual distances and this share of the object's size off.
_FAR, _FAR_SHARE = 5.0, 0.06
# One labeled point in so many is moved, and one unlabeled one was forgotten.
WRONG_POINT = 0.005
# Two names are exchanged less often than all.
_PAIR = 0.2
# Logarithm of the ratio from which the labels look exchanged.
_CLEAR_RATIO = 3.0
_MOST_LOG = 50.0
# Less probable suspicions are not listed; the geometry of those below this share of it is not asked for.
LEAST, _ASKED = 0.02, 0.1

SuspectKind: TypeAlias = Literal["moved", "left/right", "front/rear", "linked", "missing", "box", "object missing"]


class Doubt(NamedTuple):
    """A suspected error: the object, what is wrong, the points, the probability, and which names are exchanged."""

    row: int
    kind: SuspectKind
    points: tuple[int, ...]
    chance: float
    told: str = ""


class Densities:
    """How probable labels are, given the predictions of their objects.

    Densities are in units of the objects' sizes: 1 is that of a point anywhere in the box.

    Attributes:
        known: (N, K) the points that are labeled and predicted.
        distances: (N, K) from the label to the nearer of the two predictions, in units of the size; NaN if not known.
        usual: (N, K) what is usual for such a prediction.
        wrong: how often a label is far off.
        missed: (N, K) how often the model misses such a point by far.
    """

    def __init__(self, seen: Seen) -> None:
        labels = seen.truth.keypoints
        self._seen = seen
        self.known: Bools = (labels[:, :, 2] > 0) & ~seen.truth.iscrowd[:, None] & ~np.isnan(seen.score)
        nearest = np.nan_to_num(self._apart(labels), nan=np.inf).min(axis=0)
        self.distances: Floats = np.where(self.known, nearest, np.nan)
        features, known = seen.sure.reshape(self.known.size, -1), self.known.ravel()
        usual = median_of(features, self.distances.ravel())
        self._tail = best_tail(self.distances.ravel(), usual, 2)
        far = np.nan_to_num(self.distances.ravel()) > np.maximum(_FAR * usual, _FAR_SHARE)
        self.usual: Floats = usual.reshape(nearest.shape)
        self.wrong, missed = shared_out(rate_of(features, far, known), known, WRONG_POINT)
        self.missed: Floats = missed.reshape(nearest.shape)

    def core(self, labels: Floats) -> Floats:
        """Return (N, K) the density of (N, K, 3) labels if they are right, and the model did not miss the points."""
        density = density_of(self._apart(labels), self.usual, 2, self._tail)
        both = (~np.isnan(self._seen.scores)).sum(axis=0)
        core: Floats = density.sum(axis=0) / np.maximum(both, 1)
        return core

    def log_of(self, labels: Floats) -> Floats:
        """Return (N, K) the log density of (N, K, 3) labels; 0 for points not labeled or not predicted."""
        missed = np.minimum(self.missed + self.wrong, 1.0)
        density = (1 - missed) * self.core(labels) + missed
        told = (labels[:, :, 2] > 0) & ~np.isnan(self._seen.score)
        return np.where(told, np.log(density), 0.0)

    def _apart(self, labels: Floats) -> Floats:
        apart: Floats = np.linalg.norm(self._seen.places - labels[None, :, :, :2], axis=3)
        return apart / self._seen.unit[None, :, None]


@dataclass(frozen=True, eq=False, slots=True)
class _Tried:
    """An exchange of names, tried on all N objects.

    Attributes:
        renaming: the names.
        pair: the two that are exchanged; None for all.
        ratio: (N,) log of how much more probable the labels are with it than without it.
        wrong: how many labels have this error.
        by_model: (N,) how often the model makes it.
    """

    renaming: Renaming
    pair: tuple[int, int] | None
    ratio: Floats
    wrong: float
    by_model: Floats

    @property
    def order(self) -> Ints:
        """(K,) the point that should have name k has the name ``order[k]``."""
        if self.pair is None:
            return self.renaming.order
        order = np.arange(len(self.renaming.order))
        order[list(self.pair)] = self.pair[::-1]
        return order

    def doubt(self, row: int, names: Sequence[str], chance: float) -> Doubt:
        """Return the suspected error of one object."""
        if self.pair is not None:
            return Doubt(row, self.renaming.kind, self.pair, chance, " and ".join(names[point] for point in self.pair))
        points = tuple(point for pair in self.renaming.pairs for point in pair)
        return Doubt(row, self.renaming.kind, points, chance, self.renaming.told)


def point_doubts(seen: Seen, geometry: RigidFit) -> Iterator[Doubt]:
    """Yield the points that are probably moved or missing, and those whose names are probably exchanged."""
    densities = Densities(seen)
    labels, tried = seen.truth.keypoints, list(_tried(seen, densities))
    # (H, N) the weight of each exchange if a person made it, and if the model did; no exchange has 1.
    ratios = np.array([one.ratio for one in tried]).reshape(len(tried), len(labels))
    weights = np.exp(np.minimum(ratios, _MOST_LOG))
    wrong = weights * np.array([one.wrong for one in tried])[:, None]
    by_model = weights * np.array([one.by_model for one in tried]).reshape(weights.shape)
    for at, one in enumerate(tried):
        asked = np.flatnonzero(wrong[at] > LEAST * _ASKED)
        wrong[at, asked] *= np.exp(geometry.ratio(asked, labels[asked][:, one.order]))
    total = 1 + wrong.sum(axis=0) + by_model.sum(axis=0)
    for at, row in zip(*np.nonzero(wrong >= LEAST * total), strict=True):
        chance = float(wrong[at, row] / total[row])
        yield tried[at].doubt(int(row), seen.truth.skeleton.names, chance)
    yield from _moved(seen, densities, geometry, 1 / total)
    yield from _missing(seen, 1 / total)


def _tried(seen: Seen, densities: Densities) -> Iterator[_Tried]:
    labels, sure = seen.truth.keypoints, seen.shared
    plain, known = densities.log_of(labels), densities.known
    for renaming in renamings_of(seen.truth.skeleton):
        ratio = densities.log_of(labels[:, renaming.order]) - plain
        if renaming.every:
            features = np.column_stack([sure.mean(axis=1), sure.min(axis=1)])
            rate = rate_of(features, ratio.sum(axis=1) > _CLEAR_RATIO, known.any(axis=1))
            yield _Tried(renaming, None, ratio.sum(axis=1), *shared_out(rate, known.any(axis=1)))
        if not renaming.each or (renaming.every and len(renaming.pairs) == 1):
            continue
        pairs = [list(pair) for pair in renaming.pairs]
        ratios = np.stack([ratio[:, pair].sum(axis=1) for pair in pairs])
        features = np.concatenate([sure[:, pair].mean(axis=1) for pair in pairs])
        some = np.concatenate([known[:, pair].any(axis=1) for pair in pairs])
        rate = rate_of(features, ratios.ravel() > _CLEAR_RATIO, some)
        wrong, by_model = shared_out(rate, some, _PAIR * WRONG_SHARE / len(pairs))
        for pair, of_pair, often in zip(renaming.pairs, ratios, by_model.reshape(ratios.shape), strict=True):
            yield _Tried(renaming, pair, of_pair, wrong, often)


def _moved(seen: Seen, densities: Densities, geometry: RigidFit, right: Floats) -> Iterator[Doubt]:
    """Yield the points that are probably moved, of objects whose names are right."""
    labels = seen.truth.keypoints
    usual = (1 - densities.missed) * densities.core(labels) + densities.missed
    odds = np.where(densities.known, densities.wrong / usual, 0.0)
    rows, points = np.nonzero(odds * right[:, None] >= LEAST * _ASKED)
    corrected = labels[rows].copy()
    corrected[np.arange(len(rows)), points, :2] = seen.best[rows, points]
    odds = odds[rows, points] * np.exp(geometry.ratio(rows, corrected))
    chances = odds / (1 + odds) * right[rows]
    for row, point, chance in zip(rows.tolist(), points.tolist(), chances.tolist(), strict=True):
        if chance >= LEAST:
            yield Doubt(row, "moved", (point,), chance)


def _missing(seen: Seen, right: Floats) -> Iterator[Doubt]:
    """Yield the unlabeled points that are labeled in other objects like this one, if the names are right.

    Like: with such a score, so far from the image's edges, with the same other points labeled.
    """
    labels = seen.truth.keypoints
    labeled = labels[:, :, 2] > 0
    sizes = np.array([image.size for image in seen.truth.images], dtype=np.float64)[seen.truth.image_index]
    best = np.nan_to_num(seen.best)
    inside = np.minimum(best, sizes[:, None] - best).min(axis=2) / seen.unit[:, None]
    predicted = ~np.isnan(seen.score) & ~seen.truth.iscrowd[:, None]
    features = np.nan_to_num(
        np.concatenate(
            [seen.shared, np.tanh(inside / 0.05)[:, :, None], np.clip(inside, -0.3, 0.3)[:, :, None]], axis=2
        )
    )
    for point in range(labels.shape[1]):
        others = np.delete(labeled, point, axis=1)
        share = rate_of(np.column_stack([features[:, point], others]), labeled[:, point], predicted[:, point])
        wrong, absent = shared_out(1 - share, predicted[:, point] & (share > 0.5), WRONG_POINT)
        odds = wrong * share / np.maximum(absent, 1e-9)
        possible = predicted[:, point] & ~labeled[:, point] & (inside[:, point] >= 0)
        chances = np.where(possible, odds / (1 + odds) * right, 0.0)
        for row in np.flatnonzero(chances >= LEAST).tolist():
            yield Doubt(row, "missing", (point,), float(chances[row]))
