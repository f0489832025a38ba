"""The ways in which the names of keypoints are exchanged, for any skeleton."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from posetools.core.geometry import Ints
from posetools.core.skeleton import Skeleton
from posetools.evaluation.diagnosis.match import partners

RenamingKind = Literal["left/right", "front/rear", "linked"]


@dataclass(frozen=True, slots=True)
class Renaming:
    """One way to exchange names.

    Attributes:
        kind: what is exchanged.
        told: the same in words, for all pairs.
        order: (K,) the point that should have name k has the name ``order[k]``; its own inverse.
        pairs: the exchanged pairs.
        every: whether all of them may be exchanged at once.
        each: whether a pair may be exchanged alone.
    """

    kind: RenamingKind
    told: str
    order: Ints
    pairs: tuple[tuple[int, int], ...]
    every: bool = True
    each: bool = True


def renamings_of(skeleton: Skeleton) -> tuple[Renaming, ...]:
    """Return the ways to exchange names: left and right, front and rear, both at once.

    A skeleton without front and rear (``partners``) has its links instead: the two ends of a link may be exchanged, and
    those of all links if no two links share a keypoint.
    """
    known = partners(skeleton)
    found = [
        _renaming("left/right", "left and right", known["left_right"]),
        _renaming("front/rear", "front and rear", known["front_rear"]),
        # If the front is taken for the rear, left and right are exchanged too.
        _renaming("front/rear", "front and rear, left and right", known["diagonal"], each=False),
    ]
    if not found[1].pairs:
        found += _of_links(skeleton)
    return tuple(one for one in found if one.pairs)


def _renaming(kind: RenamingKind, told: str, partner: Ints, *, every: bool = True, each: bool = True) -> Renaming:
    order = np.where(partner >= 0, partner, np.arange(len(partner)))
    pairs = tuple((a, b) for a, b in enumerate(order.tolist()) if a < b)
    return Renaming(kind, told, order, pairs, every=every, each=each)


def _of_links(skeleton: Skeleton) -> Iterator[Renaming]:
    sides = {frozenset(pair) for pair in enumerate(skeleton.flip_indices)}
    left = [edge for edge in skeleton.edges if frozenset(edge) not in sides]
    partners_of: list[Ints] = []
    for a, b in left:
        free = (one for one in partners_of if one[a] < 0 and one[b] < 0)
        one = next(free, None)
        if one is None:
            one = np.full(skeleton.num_keypoints, -1, dtype=np.int64)
            partners_of.append(one)
        one[a], one[b] = b, a
    for one in partners_of:
        yield _renaming("linked", "the ends of all links", one, every=len(partners_of) == 1)
