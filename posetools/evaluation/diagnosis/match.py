"""Match predicted objects to labeled ones, and classify the other predictions and the error of each point.

COCO matches by OKS alone, so it counts a car whose points are all inverted as one missed car and one false car. To say
what went wrong, each labeled object needs its prediction, however wrong its points are. A pose is estimated in a box,
so the box says which object it belongs to. In each image, predictions are matched from the highest score down, in four
passes:

1. each matches the object that its box overlaps most, with an IoU of 0.5 or more;
2. the remaining ones match the free object that they overlap most, with 0.5 or more;
3. each matches the free object with the highest OKS, 0.5 or more: the points are right although the box is not;
4. each matches the object that it overlaps most, with an IoU of 0.1 or more: a shifted box.

On labeled boxes a prediction belongs to the object whose box it was made in.

The classes of points are after Ronchi and Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation"
(ICCV 2017). The distance of a point to a location is the keypoint similarity ks of OKS, with the area and the sigma of
that location. A point is

- *good* if ks to its own location is 0.85 or more;
- otherwise, if ks to the nearest location is 0.5 or more, of that location's kind: its own (*jitter*), another one of
  the same object (an inversion: left for right, front for rear, both at once, or the neighboring name), or any of
  another object (a *swap*);
- *missing*: near no labeled location.

Ronchi and Perona have left/right only; they count a point at its own location as inverted or swapped if it is even
nearer to another's, which costs no AP. Front and rear come from the skeleton's template, or else from its names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Bools, Floats, Ints, box_area, box_overlap, pairwise_iou
from posetools.core.matching import best_free
from posetools.core.skeleton import Skeleton
from posetools.evaluation.coco import Predictions

# A box is right with this IoU, as in COCO's AP50; it is shifted with the second one, as in TIDE (Bolya et al., ECCV
# 2020); below, it does not belong to the object.
SAME_IOU = 0.5
NEAR_IOU = 0.1
# COCO's loosest threshold of OKS.
SAME_OKS = 0.5
# A prediction with this fraction of its box in a crowd is not counted.
_IN_CROWD = 0.5
# An estimator returns its input box within this many pixels, except for clipping at the image's edge.
_SAME_BOX = 1.0
# The classes of labeled points; each has exactly one.
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
# The code of an unlabeled point; all others are indices into POINT_KINDS.
NOT_LABELED = -1
GOOD_KS = 0.85
NEAR_KS = 0.5

_CODE: Mapping[PointKind, int] = {kind: code for code, kind in enumerate(POINT_KINDS)}
_INVERSIONS: tuple[PointKind, ...] = ("left_right", "front_rear", "diagonal", "neighbour")
_ENDS = {"front": ("rear", "back"), "rear": ("front",), "back": ("front",)}


class Role(IntEnum):
    """The role of a predicted object."""

    MATCHED = 0
    IGNORED = 1
    DUPLICATE = 2
    BACKGROUND = 3


@dataclass(frozen=True, eq=False, slots=True)
class Matches:
    """Matches of N labeled and M predicted objects.

    Attributes:
        predicted: (N,) the row of the prediction for each labeled object, or -1.
        iou: (N,) of the two boxes; 0 without a prediction.
        roles: (M,) a Role for each prediction.
    """

    predicted: Ints
    iou: Floats
    roles: Ints


def similarity(points: Floats, labels: Floats, areas: Floats, sigmas: Sequence[float]) -> Floats:
    """Return the keypoint similarities exp(-d^2 / (2 area (2 sigma)^2)) of COCO's OKS; 0 without a label.

    Args:
        points: (..., K, 2) x, y in pixels; 0 if not finite.
        labels: (..., K, 3) x, y, visibility; both are broadcast.
        areas: (...) the labeled objects' areas in square pixels.
        sigmas: the skeleton's K constants.
    """
    variances = (2 * np.array(sigmas, dtype=np.float64)) ** 2
    finite = np.isfinite(points).all(axis=-1)
    known = np.where(finite[..., None], points, 0.0)
    squared = ((known - labels[..., :2]) ** 2).sum(axis=-1)
    near = np.exp(-squared / (2 * variances * (areas + np.spacing(1))[..., None]))
    return np.where(finite & (labels[..., 2] > 0), near, 0.0)


def oks_with(truth: Dataset, rows: Ints, points: Floats) -> Floats:
    """Return the (..., P) OKS of (..., P, K, 2) points with the labeled objects in (P,) rows; 0 without a label.

    Both are broadcast: (M, 1, K, 2) points give the OKS of each with each object. Row -1 gives meaningless values.
    """
    labels = truth.keypoints[rows]
    near = similarity(points, labels, truth.areas[rows], truth.skeleton.sigmas)
    oks: Floats = near.sum(axis=-1) / np.maximum((labels[..., 2] > 0).sum(axis=-1), 1)
    return oks


def match_objects(truth: Dataset, predicted: Predictions, *, by_points: bool, boxes_are_labels: bool) -> Matches:
    """Match predictions to labeled objects.

    Args:
        truth: the labels. Crowds match no prediction, and predictions in them are ignored.
        predicted: the predictions.
        by_points: whether to use OKS too, and ignore predictions of objects without labeled points.
        boxes_are_labels: whether the predictions were made in the labeled boxes.
    """
    own, iou = np.full(len(truth), -1, dtype=np.int64), np.zeros(len(truth))
    roles = np.full(len(predicted), int(Role.BACKGROUND), dtype=np.int64)
    unlabeled = (truth.num_labeled == 0) & by_points
    of_images = zip(truth.images, truth.rows_of_images(), predicted.rows_of_images(len(truth.images)), strict=True)
    for image, everyone, found in of_images:
        if not len(found):
            continue
        labeled = np.array(everyone, dtype=np.int64)
        crowds, rows = labeled[truth.iscrowd[labeled]], labeled[~truth.iscrowd[labeled]]
        overlap = pairwise_iou(predicted.boxes[found], truth.boxes[rows])
        oks = oks_with(truth, rows, predicted.keypoints[found][:, None]) if by_points else np.zeros_like(overlap)
        if boxes_are_labels:
            chosen = best_free(_of_box(predicted.boxes[found], truth.boxes[rows], image.size, oks))
        else:
            chosen = best_free(*_passes(overlap, oks))
        roles[found] = _leftovers(overlap, unlabeled[rows], predicted.boxes[found], truth.boxes[crowds])
        for one, at in chosen.tolist():
            own[rows[at]], iou[rows[at]] = found[one], overlap[one, at]
            roles[found[one]] = Role.IGNORED if unlabeled[rows[at]] else Role.MATCHED
    return Matches(own, iou, roles)


def _passes(overlap: Floats, oks: Floats) -> list[Floats]:
    """Return the four passes: (c, r) how well each prediction fits each object, minus infinity if it does not."""
    most = overlap == overlap.max(axis=1, initial=0.0)[:, None]
    return [
        np.where(most & (overlap >= SAME_IOU), overlap, -np.inf),
        np.where(overlap >= SAME_IOU, overlap, -np.inf),
        np.where(oks >= SAME_OKS, oks, -np.inf),
        np.where(most & (overlap >= NEAR_IOU), overlap, -np.inf),
    ]


def _of_box(found: Floats, labeled: Floats, size: tuple[int, int], oks: Floats) -> Floats:
    """Return the one pass on labeled boxes: the same box; if two objects have the same one, the higher OKS."""
    limit = np.array([*size, *size], dtype=np.float64) - 1
    apart = np.abs(np.clip(found, 0.0, limit)[:, None] - np.clip(labeled, 0.0, limit)[None]).max(axis=2, initial=0.0)
    return np.where(apart <= _SAME_BOX, oks - 1000 * apart, -np.inf)


def _leftovers(overlap: Floats, unlabeled: Bools, boxes: Floats, crowds: Floats) -> Ints:
    """Return the (c,) roles of predictions if they match nothing."""
    roles = np.full(len(boxes), int(Role.BACKGROUND), dtype=np.int64)
    if overlap.shape[1]:
        near = overlap.max(axis=1) >= NEAR_IOU
        ignored = unlabeled[overlap.argmax(axis=1)]
        roles[near] = np.where(ignored, int(Role.IGNORED), int(Role.DUPLICATE))[near]
    if len(crowds):
        share = box_overlap(boxes[:, None], crowds[None]) / np.maximum(box_area(boxes), np.spacing(1))[:, None]
        roles[(share >= _IN_CROWD).any(axis=1)] = Role.IGNORED
    return roles


def partners(skeleton: Skeleton) -> dict[PointKind, Ints]:
    """Return for each kind of inversion the (K,) index of each keypoint's counterpart, or -1.

    Left and right are the skeleton's swaps. Front and rear are its template's ``opposite``, or, without a template,
    names that differ only in front and rear (or back). Diagonal is both at once, neighbor the template's.
    """
    k = skeleton.num_keypoints
    none = np.full(k, -1, dtype=np.int64)
    sides, ends, neighbors = none.copy(), none.copy(), none.copy()
    for i, point in enumerate(skeleton.keypoints):
        sides[i] = skeleton.index[point.swap] if point.swap else -1
    if skeleton.template is not None:
        for placed in skeleton.template.points:
            i = skeleton.index[placed.name]
            ends[i] = skeleton.index[placed.opposite] if placed.opposite else -1
            neighbors[i] = skeleton.index[placed.neighbour] if placed.neighbour else -1
    else:
        for i, name in enumerate(skeleton.names):
            ends[i] = next((skeleton.index[other] for other in _other_end(name) if other in skeleton.index), -1)
    diagonal = np.where((sides >= 0) & (ends >= 0), sides[ends], -1)
    found: dict[PointKind, Ints] = {
        "left_right": sides,
        "front_rear": ends,
        "diagonal": diagonal,
        "neighbour": neighbors,
    }
    # A counterpart of two kinds belongs to the first; a keypoint is not its own counterpart.
    taken = np.arange(k)[:, None]
    for kind, order in found.items():
        found[kind] = np.where((order[:, None] == taken).any(axis=1), -1, order)
        taken = np.column_stack([taken, found[kind]])
    return found


def _other_end(name: str) -> list[str]:
    """Return the names that differ from this one only in front or rear."""
    words = name.replace("_", "-").replace(" ", "-").split("-")
    ends = [i for i, word in enumerate(words) if word in _ENDS]
    if len(ends) != 1:
        return []
    starts = np.cumsum([0, *(len(word) + 1 for word in words)]).tolist()
    start, stop = list(pairwise(starts))[ends[0]]
    return [name[:start] + other + name[stop - 1 :] for other in _ENDS[words[ends[0]]]]


def sort_points(truth: Dataset, keypoints: Floats, matches: Matches, *, boxes_are_labels: bool) -> Ints:
    """Return the (N, K) kinds of the labeled points, as indices into POINT_KINDS, or NOT_LABELED.

    Points of crowds are NOT_LABELED too.

    Args:
        truth: the labels.
        keypoints: (M, K, 2) the predicted points.
        matches: predictions and their objects.
        boxes_are_labels: whether the boxes are the labeled ones, so that none is shifted.
    """
    kinds = np.full(truth.keypoints.shape[:2], NOT_LABELED, dtype=np.int64)
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
    labeled = (truth.keypoints[:, :, 2] > 0) & ~truth.iscrowd[:, None]
    kinds[~labeled] = NOT_LABELED
    return kinds


def _kinds(truth: Dataset, rows: Ints, points: Floats, others: Mapping[PointKind, Ints]) -> Ints:
    """Return the (n, K) kinds of one image's points, assuming that all boxes are right."""
    n, every = len(points), np.arange(points.shape[1])
    # (n, K, n, K): the similarity of each object's points to each object's labeled locations.
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
