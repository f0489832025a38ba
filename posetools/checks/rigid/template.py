"""A skeleton's template as arrays: the 3D keypoints of a rigid object, and how objects differ.

An object is ``points + sum of b * modes``, with ``b`` of variance 1: the modes include their standard deviations.
Meters; x forward, y to the object's left, z up from the ground.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from posetools.core.geometry import Bools, Floats, Ints
from posetools.core.skeleton import Skeleton, Template

ExchangeKind = Literal["sides", "ends", "neighbours"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One way to swap keypoint names.

    Attributes:
        kind: what is swapped: left and right, front and rear, or neighbors.
        order: (K,) indices: the point that should have name k has name ``order[k]``; its own inverse.
        pair: the two swapped points; None for all.
    """

    kind: ExchangeKind
    order: Ints
    pair: tuple[int, int] | None


@dataclass(frozen=True, eq=False, slots=True)
class Body:
    """A rigid object with K keypoints, M modes and F faces.

    Attributes:
        points: (K, 3) the mean.
        modes: (M, K, 3) each mode's step of one standard deviation.
        normals: (F, 3) unit normals of the faces.
        on_face: (K, F) which faces each keypoint lies on.
        everywhere: (K,) keypoints on no face: visible from all sides.
        exchanges: the possible name swaps.
    """

    points: Floats
    modes: Floats
    normals: Floats
    on_face: Bools
    everywhere: Bools
    exchanges: tuple[Exchange, ...]

    def impossible(self, visible: Bools) -> Bools:
        """Return for (N, K) visible keypoints whether no viewpoint shows all of them.

        A face and its opposite are never visible together, not even in perspective. All other faces can be.
        """
        possible = np.zeros(len(visible), dtype=np.bool_)
        for seen in _seen_together(self.normals):
            reach = (self.on_face & seen).any(axis=1) | self.everywhere
            possible |= (~visible | reach).all(axis=1)
        return ~possible


def rigid(skeleton: Skeleton) -> Body | None:
    """Return the skeleton's template as arrays; None if it has none."""
    template = skeleton.template
    if template is None:
        return None
    by_name = {point.name: point for point in template.points}
    ordered = [by_name[name] for name in skeleton.names]
    normals = np.array([face.normal for face in template.faces], dtype=np.float64).reshape(-1, 3)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    on_face = np.array([[face.name in point.faces for face in template.faces] for point in ordered], dtype=np.bool_)
    on_face = on_face.reshape(len(ordered), len(template.faces))
    return Body(
        points=np.array([point.at for point in ordered], dtype=np.float64),
        modes=_modes(template, skeleton),
        normals=normals,
        on_face=on_face,
        everywhere=~on_face.any(axis=1),
        exchanges=tuple(_exchanges(template, skeleton)),
    )


def _modes(template: Template, skeleton: Skeleton) -> Floats:
    modes = np.zeros((len(template.modes), skeleton.num_keypoints, 3))
    for i, mode in enumerate(template.modes):
        step = mode.sd * np.array(mode.along)
        for names, sign in ((mode.points, 1.0), (mode.against, -1.0)):
            modes[i, [skeleton.index[name] for name in names]] += sign * step
    return modes


def _exchanges(template: Template, skeleton: Skeleton) -> Iterator[Exchange]:
    """Yield every swap: all sides, all ends, all neighbors; then each single pair."""
    everyone = np.arange(skeleton.num_keypoints)
    by_name = {point.name: point for point in template.points}
    orders: dict[ExchangeKind, Ints] = {
        "sides": np.array(skeleton.flip_indices),
        "ends": np.array([skeleton.index[by_name[name].opposite or name] for name in skeleton.names]),
        "neighbours": np.array([skeleton.index[by_name[name].neighbour or name] for name in skeleton.names]),
    }
    for kind, order in orders.items():
        if (order != everyone).any():
            yield Exchange(kind, order, None)
    for kind, order in orders.items():
        pairs = [(int(k), int(order[k])) for k in everyone if k < order[k]]
        # A single pair is already the swap of all.
        for one, other in pairs if len(pairs) > 1 else ():
            alone = everyone.copy()
            alone[[one, other]] = other, one
            yield Exchange(kind, alone, (one, other))


def _seen_together(normals: Floats) -> Iterator[Bools]:
    """Yield the largest sets of faces visible together: at most one of each opposite pair."""
    opposite = normals @ normals.T < -1 + 1e-9
    pairs = [(i, int(np.flatnonzero(opposite[i])[0])) for i in range(len(normals)) if opposite[i, i + 1 :].any()]
    for hidden in product(*pairs):
        seen = np.ones(len(normals), dtype=np.bool_)
        seen[list(hidden)] = False
        yield seen
