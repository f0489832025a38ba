"""How useful it is to label or check an image: the terms of ``posetools review``, each from 0 to 1, with its reason.

docs/review.md has the formulas. A term that does not apply to an image (no predictions, no labels) is None and is
ignored. The term ``geometry`` measures how well keypoints fit one rigid object, with the fit that ``validate`` uses to
detect misplaced points (posetools/checks/rigid/fit.py): the most probable object of the skeleton's template,
under the most probable camera. A skeleton without a template does not have this term.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from posetools.checks.rigid.fit import Views, fit
from posetools.checks.rigid.template import rigid
from posetools.core.categories import Categories
from posetools.core.dataset import Visibility
from posetools.core.geometry import Floats, pairwise_iou
from posetools.core.matching import best_free
from posetools.core.skeleton import Skeleton
from posetools.datasets.shown import LabeledImage
from posetools.labeling.review.data import Candidates
from posetools.prediction.read import ImagePredictions
from posetools.runtime.results import KPT_THR

# Value of an image without detections: it may show no object, or all were missed.
NOTHING_FOUND = 0.5
# Distance of a point outside its box, as a share of the box's longer side, that counts fully.
_FAR_OUT = 0.25
_SAME_OBJECT = 0.5


class Term(NamedTuple):
    """One term of an image: 0 to 1, and why."""

    value: float
    reason: str


def by_confidence(candidates: Candidates) -> list[Term | None]:
    """Return 1 minus the least confident object's box score times the mean of its keypoint scores."""
    return [None if one.found is None else _confidence(one.found, candidates.categories) for one in candidates.images]


def _confidence(found: ImagePredictions, categories: Categories) -> Term:
    if not len(found):
        return Term(NOTHING_FOUND, "nothing detected")
    points = _point_scores(found, categories)
    sure = found.scores.clip(0, 1) * points
    row = int(sure.argmin())
    reason = f"least confident object {sure[row]:.2f} (box {found.scores[row]:.2f}, points {points[row]:.2f})"
    return Term(float(1 - sure[row]), reason)


def _point_scores(found: ImagePredictions, categories: Categories) -> Floats:
    """Return (N,) the mean score of each object's own keypoints; 1 where its category has none."""
    scores = found.keypoint_scores.clip(0, 1)
    means: Floats
    if len(categories) == 1 or found.category_ids is None:
        means = scores.mean(axis=1)
    else:
        own = [row[categories.columns[number]] for number, row in zip(found.category_ids.tolist(), scores, strict=True)]
        means = np.array([row.mean() if len(row) else 1.0 for row in own])
    return means


def _worst(candidates: Candidates, judge: Callable[[Candidates, Skeleton], list[Term | None]]) -> list[Term | None]:
    """Return the largest term of each image over the categories; its reason names the category if there are others."""
    several: list[list[Term | None]] = []
    for skeleton, part in candidates.parts():
        name = f"{skeleton.category.name}: " if len(candidates.categories) > 1 else ""
        terms = judge(part, skeleton)
        several.append([term and Term(term.value, f"{name}{term.reason}") for term in terms])
    judged = ([term for term in of_image if term is not None] for of_image in zip(*several, strict=True))
    return [max(terms, key=lambda term: term.value, default=None) for terms in judged]


def by_boxes(candidates: Candidates) -> list[Term | None]:
    """Return how little the detector's boxes and the pose estimator's points agree, at the worst object.

    A point outside its box counts by its distance; the box around the points by how much less than usual (the median
    of all objects of the category) it overlaps the detector's box.
    """
    return _worst(candidates, _boxes)


def _boxes(candidates: Candidates, skeleton: Skeleton) -> list[Term | None]:
    if not skeleton.num_keypoints:
        return [None] * len(candidates.images)
    found = [one.found for one in candidates.images]
    overlaps = [None if one is None else _overlaps(one) for one in found]
    known = [one for one in overlaps if one is not None and len(one)]
    usual = float(np.median(np.concatenate(known))) if known else 0.0
    return [
        None if one is None or overlap is None else _disagreement(one, overlap, usual, skeleton)
        for one, overlap in zip(found, overlaps, strict=True)
    ]


def _overlaps(found: ImagePredictions) -> Floats:
    around = np.concatenate([found.keypoints.min(axis=1), found.keypoints.max(axis=1)], axis=1)
    iou: Floats = np.diagonal(pairwise_iou(around, found.boxes)).copy()
    return iou


def _disagreement(found: ImagePredictions, overlaps: Floats, usual: float, skeleton: Skeleton) -> Term:
    if not len(found):
        return Term(0.0, "nothing detected")
    low, high = found.boxes[:, None, :2], found.boxes[:, None, 2:]
    out = np.maximum(np.maximum(low - found.keypoints, found.keypoints - high), 0.0).max(axis=2)
    longest = np.maximum((found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1), 1.0)
    away = out / longest[:, None]
    outside = (away.max(axis=1) / _FAR_OUT).clip(0, 1)
    less = np.zeros(len(found)) if usual <= 0 else ((usual - overlaps) / usual).clip(0, 1)
    row = int(np.maximum(outside, less).argmax())
    if outside[row] >= less[row]:
        point = int(away[row].argmax())
        reason = f"{skeleton.names[point]} is {out[row, point]:.0f} px outside its box"
        return Term(float(outside[row]), reason if out[row, point] > 0 else "box and points agree")
    return Term(float(less[row]), f"IoU of the box and the points' box is {overlaps[row]:.2f}, usually {usual:.2f}")


def by_labels(candidates: Candidates) -> list[Term | None]:
    """Return how much labels and predictions differ, at the worst object.

    A missed labeled object counts 1, an unlabeled detection its box score, a match 1 - OKS. Without predictions or
    labels there is no term.
    """
    return _worst(candidates, _labels)


def _labels(candidates: Candidates, skeleton: Skeleton) -> list[Term | None]:
    return [
        None if one.labels is None or one.found is None else _difference(one.labels, one.found, skeleton)
        for one in candidates.images
    ]


def _difference(labels: LabeledImage, found: ImagePredictions, skeleton: Skeleton) -> Term:
    matched = _matched(labels.boxes, found)
    terms = [Term(0.0, "labels and predictions agree")]
    for row, other in enumerate(matched):
        name = f"labeled object {row + 1}"
        terms.append(Term(1.0, f"{name} is missed") if other < 0 else _apart(labels, row, found, other, skeleton))
    free = sorted(set(range(len(found))) - set(matched))
    terms += [
        Term(float(np.clip(found.scores[i], 0, 1)), f"an object is detected ({found.scores[i]:.2f}), not labeled")
        for i in free
    ]
    return max(terms, key=lambda term: term.value)


def _matched(boxes: Floats, found: ImagePredictions) -> list[int]:
    """Return for each labeled box the predicted one, or -1: as COCO matches, by descending score."""
    matched = [-1] * len(boxes)
    order = np.argsort(-found.scores, kind="stable")
    iou = pairwise_iou(found.boxes[order], boxes)
    for at, best in best_free(np.where(iou >= _SAME_OBJECT, iou, -np.inf)).tolist():
        matched[best] = int(order[at])
    return matched


def _apart(labels: LabeledImage, row: int, found: ImagePredictions, other: int, skeleton: Skeleton) -> Term:
    points = labels.keypoints[row]
    given = np.flatnonzero(points[:, 2] > 0)
    if not len(given):
        return Term(0.0, "labels and predictions agree")
    sides = labels.boxes[row, 2:] - labels.boxes[row, :2]
    away = np.linalg.norm(found.keypoints[other, given] - points[given, :2], axis=1)
    # COCO's OKS, with k = 2 sigma.
    wide = 8 * max(float(sides.prod()), 1.0) * np.array(skeleton.sigmas)[given] ** 2
    oks = float(np.exp(-(away**2) / wide).mean())
    worst = int(away.argmax())
    name = skeleton.names[int(given[worst])]
    return Term(1 - oks, f"object {row + 1}: OKS {oks:.2f}; {name} is {away[worst]:.0f} px from its label")


def priorities(terms: Sequence[Mapping[str, Term | None]]) -> Floats:
    """Return the (N,) priorities: the root mean square of the terms that an image has, 0 if it has none."""
    values = [[term.value for term in one.values() if term is not None] for one in terms]
    return np.array([float(np.sqrt(np.mean(np.square(one)))) if one else 0.0 for one in values])


def choose(priority: Floats, features: Floats, number: int, variety: float) -> tuple[list[int], list[float]]:
    """Return the images to check, in order, and how different each is from those before it (0 to 1).

    Greedy: the next one has the largest priority + variety x distance to the nearest of those chosen before. Ties go to
    the first.

    Args:
        priority: (N,).
        features: (N, F) of ``features``.
        number: how many to choose.
        variety: the weight of the distance; 0: by priority alone.
    """
    if not len(priority):
        return [], []
    away = np.linalg.norm(features - features.mean(axis=0), axis=1)
    unit = 2 * float(np.median(away)) or 1.0
    # For the first image variety is the distance from the average.
    distance = (away / unit).clip(0, 1)
    free = np.ones(len(priority), dtype=np.bool_)
    chosen: list[int] = []
    apart: list[float] = []
    while len(chosen) < min(number, len(priority)):
        worth = np.where(free, priority + variety * distance, -np.inf)
        best = int(worth.argmax())
        chosen.append(best)
        apart.append(float(distance[best]))
        free[best] = False
        to_best = (np.linalg.norm(features - features[best], axis=1) / unit).clip(0, 1)
        distance = to_best if len(chosen) == 1 else np.minimum(distance, to_best)
    return chosen, apart


# Fewer points fit almost any object.
_ENOUGH_POINTS = 5
# A misfit of this share of the box's diagonal counts fully: about that of one point off by a fifth of it.
_WORST_MISFIT = 0.05
# Usual precision of points: this share of the box's diagonal, and at least so many pixels.
_EXACT, _EXACT_PIXELS = 0.01, 1.0


class _RigidObject(NamedTuple):
    """One object: its image, its points (K, 3) from the image's center, its diagonal, the image's longer side."""

    image: int
    points: Floats
    diagonal: float
    longest: float


def by_geometry(candidates: Candidates) -> list[Term | None]:
    """Return how badly the points fit a rigid object, at the worst object of at least five points.

    Predictions count, by their confident points; without predictions, labels count.
    """
    return _worst(candidates, _geometry)


def _geometry(candidates: Candidates, skeleton: Skeleton) -> list[Term | None]:
    terms: list[Term | None] = [None] * len(candidates.images)
    template = rigid(skeleton)
    objects = [] if template is None else _objects(candidates)
    if template is None or not objects:
        return terms
    views = Views(
        points=np.array([one.points[:, :2].T for one in objects]),
        visibility=np.array([one.points[:, 2] for one in objects]),
        sigma=np.array([max(_EXACT_PIXELS, _EXACT * one.diagonal) for one in objects]),
        longest=np.array([one.longest for one in objects]),
    )
    fits = fit(template, views)
    away = np.sqrt(((fits.projected - views.points) ** 2).sum(axis=1)) * (views.visibility > 0)
    for one, rms, distances in zip(objects, fits.rms.tolist(), away, strict=True):
        worst = int(distances.argmax())
        said = f"{skeleton.names[worst]} {distances[worst]:.0f} px"
        reason = f"the points are {rms:.0f} px off a rigid {skeleton.category.name}, {said}"
        term = Term(float(np.clip(rms / (_WORST_MISFIT * one.diagonal), 0, 1)), reason)
        before = terms[one.image]
        if before is None or term.value > before.value:
            terms[one.image] = term
    return terms


def _objects(candidates: Candidates) -> list[_RigidObject]:
    objects = []
    for index, one in enumerate(candidates.images):
        if one.found is not None:
            seen = np.where(one.found.keypoint_scores >= KPT_THR, Visibility.VISIBLE, Visibility.NOT_LABELED)
            points = np.concatenate([one.found.keypoints, seen[..., None]], axis=2)
            objects += _enough(index, one.found.boxes, points, one.image.size)
        elif one.labels is not None:
            objects += _enough(index, one.labels.boxes, one.labels.keypoints, one.image.size)
    return objects


def _enough(image: int, boxes: Floats, keypoints: Floats, size: Sequence[int]) -> list[_RigidObject]:
    objects = []
    for box, points in zip(boxes, keypoints, strict=True):
        diagonal = float(np.linalg.norm(box[2:] - box[:2]))
        if (points[:, 2] > 0).sum() >= _ENOUGH_POINTS and diagonal > 0:
            moved = points.astype(np.float64) - np.array([size[0] / 2, size[1] / 2, 0.0])
            objects.append(_RigidObject(image, moved, diagonal, float(max(size))))
    return objects
