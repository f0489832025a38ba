"""Suspected boxes, and objects that are not labeled.

A labeled box is compared, edge by edge, with the detected one and with the box that is usual around such keypoints.
Each gives a density of where the edge should be; their product is what both say. An object without a label is a
detection that is as sure as those of labeled objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from posetools.core.geometry import Floats, Ints, pairwise_iou
from posetools.evaluation.diagnosis.match import Role
from posetools.labeling.suspects.evidence import (
    best_tail,
    density_of,
    log_odds,
    median_of,
    median_weights,
    rate_of,
    shared_out,
)
from posetools.labeling.suspects.points import LEAST, Doubt
from posetools.labeling.suspects.seen import Seen

# Where an edge may be, as a share of the box's side, and the density of one that may be anywhere.
_OFFSETS = np.linspace(-0.6, 0.6, 121)
_DENSITY = 1 / 1.2
# One estimate in so many is anywhere; the others are off by at least this.
_ANYWHERE, _LEAST_USUAL = 0.05, 0.002
_AT_ONCE = 4096
_CLEAR_BOX, _MOST_LOG = 6.0, 50.0
# The box around keypoints is learned from so many objects for each of them; exact to this share of their extent.
_OBJECTS_PER_POINT, _LEAST_OFF = 8, 0.01


def box_doubts(seen: Seen) -> Iterator[Doubt]:
    """Yield the objects whose box is probably wrong."""
    found = seen.found >= 0
    if not found.any():
        return
    rows = np.flatnonzero(found & ~seen.truth.iscrowd)
    boxes, detected = seen.truth.boxes[rows], seen.detected.boxes[seen.found[rows]]
    sides = np.tile(np.maximum(detected[:, 2:] - detected[:, :2], 1.0), 2)
    scores = log_odds(seen.box_scores[seen.found[rows]])
    features = np.column_stack([scores, np.log(seen.unit[rows])])
    estimates = [_Estimate((detected - boxes) / sides, features)]
    around = _around_points(seen, rows)
    if around is not None:
        estimates.append(_Estimate((around - boxes) / sides, features))
    parts = [slice(start, start + _AT_ONCE) for start in range(0, len(rows), _AT_ONCE)]
    ratio = np.concatenate([_ratio(estimates, part) for part in parts])
    every = np.ones(len(rows), dtype=np.bool_)
    wrong, by_model = shared_out(rate_of(features, ratio > _CLEAR_BOX, every), every)
    odds = np.exp(np.minimum(ratio, _MOST_LOG))
    chances = wrong * odds / (1 + (wrong + by_model) * odds)
    for row, chance in zip(rows.tolist(), chances.tolist(), strict=True):
        if chance >= LEAST:
            yield Doubt(row, "box", (), chance)


class _Estimate:
    """Where the edges of R boxes should be, by one source.

    Args:
        apart: (R, 4) from the labeled edge to the estimated one, as a share of the box's side; NaN without.
        features: (R, F) what says how exact it is.
    """

    def __init__(self, apart: Floats, features: Floats) -> None:
        self._apart = apart
        self._usual = np.stack([median_of(features, np.abs(apart[:, edge])) for edge in range(4)], axis=1)
        self._usual = np.maximum(self._usual, _LEAST_USUAL)
        self._tails = [best_tail(np.abs(apart[:, edge]), self._usual[:, edge], 1) for edge in range(4)]

    def density(self, part: slice, edge: int) -> Floats:
        """Return (r, S) the density of an edge at some offsets from its label."""
        apart, usual = self._apart[part, edge, None] - _OFFSETS, self._usual[part, edge, None]
        there = density_of(apart, usual, 1, self._tails[edge])
        return (1 - _ANYWHERE) * there + _ANYWHERE * _DENSITY


def _ratio(estimates: Sequence[_Estimate], part: slice) -> Floats:
    """Return (r,) log of how much more probable the labels are if a box may be shifted, or one of its edges."""
    edges = [np.prod([estimate.density(part, edge) for estimate in estimates], axis=0) for edge in range(4)]
    step, at_label = _OFFSETS[1] - _OFFSETS[0], len(_OFFSETS) // 2
    edges = [edge / (edge.sum(axis=1, keepdims=True) * step) for edge in edges]
    ratio = np.zeros(len(edges[0]))
    for low, high in (edges[0::2], edges[1::2]):
        right = np.maximum(low[:, at_label] * high[:, at_label], 1e-12)
        shifted = (low * high).sum(axis=1) * step * _DENSITY
        one = (low[:, at_label] + high[:, at_label]) / 2 * _DENSITY
        ratio += np.log(0.4 + (0.4 * shifted + 0.2 * one) / right)
    return ratio


def _around_points(seen: Seen, rows: Ints) -> Floats | None:
    """Return (R, 4) the boxes that are usual around such keypoints, learned from all objects; NaN without keypoints.

    None: there are too few objects to learn from. Points that are not labeled have their predicted places.
    """
    labels = seen.truth.keypoints[rows]
    points = np.where(labels[:, :, 2:] > 0, labels[:, :, :2], seen.best[rows])
    whole = ~np.isnan(points).any(axis=(1, 2))
    if not points.shape[1] or whole.sum() < _OBJECTS_PER_POINT * points.shape[1]:
        return None
    low, high = points.min(axis=1), points.max(axis=1)
    middle, size = np.tile((low + high) / 2, 2), np.maximum((high - low).max(axis=1), 1.0)[:, None]
    placed = np.nan_to_num((points - middle[:, None, :2]) / size[:, None]).reshape(len(rows), -1)
    inputs = np.column_stack([np.ones(len(rows)), placed, placed**2])
    target = (seen.truth.boxes[rows] - middle) / size
    weights = np.stack(
        [median_weights(inputs[whole], target[whole, edge], _LEAST_OFF, 1.0) for edge in range(4)], axis=1
    )
    sizes = np.array([image.size for image in seen.truth.images], dtype=np.float64)[seen.truth.image_index[rows]]
    around: Floats = np.clip(inputs @ weights * size + middle, 0, np.tile(sizes, 2))
    around[~whole] = np.nan
    return around


def missing_objects(seen: Seen) -> Iterator[Doubt]:
    """Yield the detections that are probably objects without a label; ``row`` is that of the detection."""
    detected, roles = seen.detected, seen.matches.roles
    if not len(detected):
        return
    features, known = _of_detections(seen), roles != int(Role.IGNORED)
    share = rate_of(features, roles == int(Role.MATCHED), known)
    wrong, false = shared_out(1 - share, known & (share > 0.5))
    odds = wrong * share / np.maximum(false, 1e-9)
    free = (roles == int(Role.BACKGROUND)) | (roles == int(Role.DUPLICATE))
    chances = np.where(free, odds / (1 + odds), 0.0)
    for row in np.flatnonzero(chances >= LEAST).tolist():
        yield Doubt(row, "object missing", (), float(chances[row]))


def _of_detections(seen: Seen) -> Floats:
    """Return (M, F) what distinguishes real objects from false detections."""
    detected, truth = seen.detected, seen.truth
    overlap, better = np.zeros(len(detected)), np.zeros(len(detected))
    owner = np.full(len(detected), -1, dtype=np.int64)
    matched = np.flatnonzero(seen.found >= 0)
    owner[seen.found[matched]] = matched
    rows_of = truth.rows_of_images()
    for labeled, found in zip(rows_of, detected.rows_of_images(len(rows_of)), strict=True):
        if not len(found):
            continue
        rows = np.arange(labeled.start, labeled.stop)
        iou = pairwise_iou(detected.boxes[found], truth.boxes[rows])
        iou[owner[found][:, None] == rows[None]] = 0
        overlap[found] = iou.max(axis=1, initial=0.0)
        among = np.tril(pairwise_iou(detected.boxes[found], detected.boxes[found]), -1)
        better[found] = among.max(axis=1, initial=0.0)
    points = np.zeros(len(detected))
    if detected.keypoint_scores is not None and detected.keypoint_scores.shape[1]:
        points = np.log(np.clip(detected.keypoint_scores.mean(axis=1), 1e-3, None))
    sides = np.maximum(detected.boxes[:, 2:] - detected.boxes[:, :2], 1.0)
    return np.column_stack([log_odds(seen.box_scores), points, overlap, better, np.log(sides)])
