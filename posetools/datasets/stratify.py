"""Stratify a split: exchange groups so that validation gets its share of every stratum.

A stratum is a kind of content, such as small objects or occluded points; each group of images contains a number of
each. Groups stay whole, so shares are not exact: the cost of a choice is the mean over the strata of (share of the
stratum in val - val)^2, plus the same for the images. Starting from a random choice, for each chosen group in turn the
exchange (or move) that lowers the cost most is made, until none lowers it. This does not search for the global
optimum, which would take too long.

COCO's size classes: an object is small below an area of 32 x 32 pixels, medium below 96 x 96, else large.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from posetools.core.geometry import Bools, Floats, Ints

Stratify: TypeAlias = Literal["size", "visibility", "category"]

_PASSES = 10
# Of very many groups a random sample is enough to find good exchanges.
_MOST_OUT = 500
_MOST_IN = 2000
_LEAST_GAIN = 1e-12
# Every share is within 0.001 %.
_EVEN = 1e-10


@dataclass(frozen=True, eq=False, slots=True)
class Strata:
    """The contents of the images.

    Attributes:
        kind: what is stratified.
        labels: the S strata's names.
        counts: (images, S) how many of each stratum each image holds.
    """

    kind: Stratify
    labels: tuple[str, ...]
    counts: Floats


def balance(chosen: set[str], counts: Mapping[str, Floats], val: float, seed: int) -> set[str]:
    """Return another choice of groups, with strata as near to their share as exchanges allow.

    The number of images stays within the size of the largest group of the target, and neither side is empty.

    Args:
        chosen: the keys of the validation groups.
        counts: key of a group -> (1 + S,) its number of images, and of each stratum.
        val: the validation fraction.
        seed: of the order in which groups are tried.
    """
    keys = sorted(counts)
    table = np.array([counts[key] for key in keys], dtype=np.float64)
    total = table.sum(axis=0)
    held = total > 0
    # The images count as much as all strata together.
    weights = np.where(held, 1.0 / max(int(held[1:].sum()), 1), 0.0)
    weights[0] = 1.0
    scaled = np.sqrt(weights) * table / np.where(held, total, 1.0)
    goal = np.sqrt(weights) * val
    goal[~held] = 0.0
    search = _Search(scaled, goal, table[:, 0], val * total[0], random.Random(seed))
    inside = np.isin(keys, sorted(chosen))
    for _ in range(_PASSES):
        if not search.improve(inside):
            break
    return {key for key, taken in zip(keys, inside.tolist(), strict=True) if taken}


@dataclass(frozen=True, eq=False, slots=True)
class _Search:
    # (G, 1 + S) each group's weighted share of images and strata; (1 + S,) what the chosen ones' should add up to.
    shares: Floats
    goal: Floats
    # (G,) images in each group, and how many images should be chosen.
    sizes: Floats
    target: float
    lot: random.Random

    def improve(self, inside: Bools) -> bool:
        """Try every chosen group once; change ``inside`` (G,) in place, and return whether it changed."""
        changed = False
        others = np.array(self._some(np.flatnonzero(~inside), _MOST_IN), dtype=np.int64)
        lack = self.shares[inside].sum(axis=0) - self.goal
        for group in [*self._some(np.flatnonzero(inside), _MOST_OUT), None]:
            if float((lack**2).sum()) <= _EVEN:
                break
            gain = self._exchange(inside, group, others[~inside[others]], lack)
            if gain is not None:
                lack, changed = lack + gain, True
        return changed

    def _exchange(self, inside: Bools, group: int | None, others: Ints, lack: Floats) -> Floats | None:
        """Make the best exchange for a chosen group; return the change of the shares inside."""
        size, share = (0.0, np.zeros_like(lack)) if group is None else (self.sizes[group], self.shares[group])
        images = self.sizes[inside].sum() - size
        cost = ((lack - share + self.shares[others]) ** 2).sum(axis=1)
        cost[abs(images + self.sizes[others] - self.target) > self.sizes.max()] = np.inf
        if group is None and inside.sum() + 1 == len(inside):
            return None
        best = int(cost.argmin()) if len(cost) else -1
        least = float(cost[best]) if len(cost) else np.inf
        may_go = group is not None and inside.sum() > 1 and abs(images - self.target) <= self.sizes.max()
        alone = float(((lack - share) ** 2).sum()) if may_go else np.inf
        if min(least, alone) >= float((lack**2).sum()) - _LEAST_GAIN:
            return None
        if group is not None:
            inside[group] = False
        if alone < least:
            return -share
        inside[others[best]] = True
        added: Floats = self.shares[others[best]] - share
        return added

    def _some(self, groups: Ints, most: int) -> list[int]:
        listed: list[int] = groups.tolist()
        return self.lot.sample(listed, min(most, len(listed)))
