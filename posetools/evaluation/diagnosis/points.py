"""What is wrong with each labelled point of an object: near its own place, near the place of another name, or nowhere.

After Ronchi and Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation" (ICCV 2017). How near a
point is to a place is the keypoint similarity ks of OKS, with the area and the sigma of that place. A point is

- *good* when ks to its own place is 0.85 or more;
- else of the kind of the place that it is nearest to, when ks there is 0.5 or more: its own place (*jitter*), another
  one of the same object (an inversion: left for right, front for rear, both at once, or the neighbouring name), or any
  of another object (a *swap*);
- *missing*: near no labelled place at all.

Ronchi and Perona know left and right only; with them, a point at its own place counts as inverted or swapped when it is
nearer yet to another's, which costs no AP. What is front and what is rear comes from the skeleton's template, or else
from its names.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Floats, Ints
from posetools.core.skeleton import Skeleton
from posetools.evaluation.diagnosis.match import SAME_IOU, Matches, similarity

# What a labelled point can be. Each is exactly one of these.
PointKind: TypeAlias = Literal[
    "good",
    "no_box",
    "box_shifted",
    "jitter",
    "left_right",
    "front_rear",
    "diagonal",
    "neighbour",
    "swap",
    "missing",
]
POINT_KINDS: tuple[PointKind, ...] = get_args(PointKind)
# The code of a point that is not labelled; all others are indices into POINT_KINDS.
NOT_LABELLED = -1
GOOD_KS = 0.85
NEAR_KS = 0.5

_CODE: Mapping[PointKind, int] = {kind: code for code, kind in enumerate(POINT_KINDS)}
_INVERSIONS: tuple[PointKind, ...] = ("left_right", "front_rear", "diagonal", "neighbour")
_ENDS = {"front": ("rear", "back"), "rear": ("front",), "back": ("front",)}


def partners(skeleton: Skeleton) -> dict[PointKind, Ints]:
    """Return for each kind of inversion the (K,) index of the keypoint that each is taken for, or -1.

    Left and right are the skeleton's swaps. Front and rear are its template's ``opposite``, or, without a template,
    names that differ in front and rear (or back) alone. Diagonal is both at once, neighbour the template's.
    """
    k = skeleton.num_keypoints
    none = np.full(k, -1, dtype=np.int64)
    sides, ends, neighbours = none.copy(), none.copy(), none.copy()
    for i, point in enumerate(skeleton.keypoints):
        sides[i] = skeleton.index[point.swap] if point.swap else -1
    if skeleton.template is not None:
        for placed in skeleton.template.points:
            i = skeleton.index[placed.name]
            ends[i] = skeleton.index[placed.opposite] if placed.opposite else -1
            neighbours[i] = skeleton.index[placed.neighbour] if placed.neighbour else -1
    else:
        for i, name in enumerate(skeleton.names):
            ends[i] = next((skeleton.index[other] for other in _other_end(name) if other in skeleton.index), -1)
    diagonal = np.where((sides >= 0) & (ends >= 0), sides[ends], -1)
    found: dict[PointKind, Ints] = {
        "left_right": sides,
        "front_rear": ends,
        "diagonal": diagonal,
        "neighbour": neighbours,
    }
    # A place that two kinds lead to belongs to the first of them; one's own place belongs to none.
    taken = np.arange(k)[:, None]
    for kind, order in found.items():
        found[kind] = np.where((order[:, None] == taken).any(axis=1), -1, order)
        taken = np.column_stack([taken, found[kind]])
    return found


def _other_end(name: str) -> list[str]:
    """Return the names that differ from this one in its front or rear alone."""
    words = name.replace("_", "-").replace(" ", "-").split("-")
    ends = [i for i, word in enumerate(words) if word in _ENDS]
    if len(ends) != 1:
        return []
    starts = np.cumsum([0, *(len(word) + 1 for word in words)]).tolist()
    start, stop = list(pairwise(starts))[ends[0]]
    return [name[:start] + other + name[stop - 1 :] for other in _ENDS[words[ends[0]]]]


def sort_points(truth: Dataset, keypoints: Floats, matches: Matches, *, boxes_are_labels: bool) -> Ints:
    """Return the (N, K) kinds of the labelled points, as indices into POINT_KINDS; NOT_LABELLED for the others.

    Points of crowds are NOT_LABELLED too.

    Args:
        truth: the labels.
        keypoints: (M, K, 2) the predicted points.
        matches: which prediction was meant for which object.
        boxes_are_labels: whether the boxes are the labelled ones, so that none is shifted.
    """
    kinds = np.full(truth.keypoints.shape[:2], NOT_LABELLED, dtype=np.int64)
    others = partners(truth.skeleton)
    for everyone in truth.rows_of_images():
        rows = np.array([row for row in everyone if not truth.iscrowd[row]], dtype=np.int64)
        if len(rows):
            own = matches.predicted[rows]
            points = np.full((len(rows), *kinds.shape[1:], 2), np.nan)
            points[own >= 0] = keypoints[own[own >= 0]]
            kinds[rows] = _kinds(truth, rows, points, others)
    shifted = (matches.predicted >= 0) & (matches.iou < SAME_IOU) & (not boxes_are_labels)
    kinds[shifted[:, None] & (kinds != _CODE["good"])] = _CODE["box_shifted"]
    kinds[matches.predicted < 0] = _CODE["no_box"]
    labelled = (truth.keypoints[:, :, 2] > 0) & ~truth.iscrowd[:, None]
    kinds[~labelled] = NOT_LABELLED
    return kinds


def _kinds(truth: Dataset, rows: Ints, points: Floats, others: Mapping[PointKind, Ints]) -> Ints:
    """Return the (n, K) kinds of one picture's points as if all boxes were right."""
    n, every = len(points), np.arange(points.shape[1])
    # (n, K, n, K): how near the point of each object and name is to the place of each object and name.
    near = similarity(
        points[:, :, None, None], truth.keypoints[rows][None, None], truth.areas[rows], truth.skeleton.sigmas
    )
    within = near[np.arange(n), :, np.arange(n)]
    own = within[:, every, every]
    inversions = [np.where(others[kind] >= 0, within[:, every, others[kind]], 0.0) for kind in _INVERSIONS]
    apart = ~np.eye(n, dtype=np.bool_)[:, None, :, None]
    swap = np.where(apart, near, 0.0).max(axis=(2, 3))
    candidates = np.stack([own, *inversions, swap])
    codes = np.array([_CODE["jitter"], *(_CODE[kind] for kind in _INVERSIONS), _CODE["swap"]])
    kinds: Ints = np.where(candidates.max(axis=0) >= NEAR_KS, codes[candidates.argmax(axis=0)], _CODE["missing"])
    kinds[own >= GOOD_KS] = _CODE["good"]
    return kinds
