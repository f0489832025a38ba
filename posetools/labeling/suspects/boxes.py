"""Suspected boxes, and objects that are not labeled.

A labeled box is compared, edge by edge, with the detected one and with the box that is usual around such keypoints.
Each gives a density of where the edge should be; their product is what both say. An object without a label is a
detection that is as sure as those of labeled objects.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from posetools.core.geometry import Floats, pairwise_iou
from posetools.evaluation.diagnosis.match import Role
from posetools.labeling.suspects.evidence import best_tail, density_of, log_odds, median_of, rate_of, shared_out
from posetools.labeling.suspects.points import LEAST, Doubt
from posetools.labeling.suspects.seen import Seen

# An edge may be off by this share of the box's side; offsets are tried in these steps.
_WIDEST, _STEPS = 0.6, 121
_ANYWHERE = 0.05
_CLEARLY = 6.0
_EDGES = ("left", "top", "right", "bottom")


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
    offsets = np.linspace(-_WIDEST, _WIDEST, _STEPS)
    # (R, 4, S) the log density of each edge's place, around the labeled edge.
    says = [_log_density((detected - boxes) / sides, features, offsets)]
    around = _around_points(seen, rows)
    if around is not None:
        says.append(_log_density((around - boxes) / sides, features, offsets))
    log = np.sum(says, axis=0)
    density = np.exp(log - log.max(axis=2, keepdims=True))
    density /= density.sum(axis=2, keepdims=True) * (offsets[1] - offsets[0])
    ratio = sum(_wrong(density[:, edge], density[:, edge + 2], offsets) for edge in (0, 1))
    every = np.ones(len(rows), dtype=np.bool_)
    wrong, by_model = shared_out(rate_of(features, ratio > _CLEARLY, every), every)
    odds = np.exp(np.minimum(ratio, 50.0))
    chances = wrong * odds / (1 + (wrong + by_model) * odds)
    for row, chance in zip(rows.tolist(), chances.tolist(), strict=True):
        if chance >= LEAST:
            yield Doubt(row, "box", (), chance)


def _wrong(low: Floats, high: Floats, offsets: Floats) -> Floats:
    """Return (R,) log of how much more probable two opposite edges are if they may be wrong: shifted, or one of them.

    Args:
        low: (R, S) the density of the left or upper edge's place, at some offsets from the label.
        high: the same of the opposite edge.
        offsets: (S,).
    """
    middle, step, anywhere = len(offsets) // 2, offsets[1] - offsets[0], 1 / (2 * _WIDEST)
    right = low[:, middle] * high[:, middle]
    shifted = (low * high).sum(axis=1) * step * anywhere
    one = (low[:, middle] + high[:, middle]) / 2 * anywhere
    wrong = 0.4 * right + 0.4 * shifted + 0.2 * one
    ratio: Floats = np.log(wrong / np.maximum(right, 1e-12))
    return ratio


def _log_density(apart: Floats, features: Floats, offsets: Floats) -> Floats:
    """Return (R, 4, S) the log density of the edges at some offsets from the labels, by (R, 4) estimates."""
    density = np.empty((*apart.shape, len(offsets)))
    for edge in range(4):
        distances = np.abs(apart[:, edge])
        usual = np.maximum(median_of(features, distances), 0.002)
        tail = best_tail(distances, usual, 1)
        there = density_of(apart[:, edge, None] - offsets, usual[:, None], 1, tail)
        density[:, edge] = (1 - _ANYWHERE) * there + _ANYWHERE / (2 * _WIDEST)
    return np.log(density)


def _around_points(seen: Seen, rows: np.ndarray) -> Floats | None:
    """Return (R, 4) the boxes that are usual around such keypoints, learned from all objects."""
    labels = seen.truth.keypoints[rows]
    given = labels[:, :, 2:] > 0
    points = np.where(given, labels[:, :, :2], seen.best[rows])
    whole = ~np.isnan(points).any(axis=(1, 2)) if points.shape[1] else np.zeros(len(rows), dtype=np.bool_)
    if whole.sum() < 8 * points.shape[1]:
        return None
    low, high = points.min(axis=1), points.max(axis=1)
    middle = (low + high) / 2
    size = np.maximum((high - low).max(axis=1), 1.0)[:, None]
    inputs = np.nan_to_num(((points - middle[:, None]) / size[:, None]).reshape(len(rows), -1))
    inputs = np.column_stack([np.ones(len(rows)), inputs, inputs**2])
    target = (seen.truth.boxes[rows] - np.tile(middle, 2)) / size
    around = np.full((len(rows), 4), np.nan)
    for edge in range(4):
        weights = np.zeros(inputs.shape[1])
        for _ in range(8):
            apart = np.abs(target[whole, edge] - inputs[whole] @ weights)
            share = 1 / np.maximum(apart, 0.01)
            matrix = (inputs[whole] * share[:, None]).T @ inputs[whole] + np.eye(len(weights))
            weights = np.linalg.solve(matrix, inputs[whole].T @ (share * target[whole, edge]))
        around[:, edge] = inputs @ weights
    around = around * size + np.tile(middle, 2)
    sizes = np.array([image.size for image in seen.truth.images], dtype=np.float64)[seen.truth.image_index[rows]]
    around = np.clip(around, 0, np.tile(sizes, 2))
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
