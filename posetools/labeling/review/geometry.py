"""Whether keypoints can be those of one rigid object: the term ``geometry`` of ``posetools review``.

The fit is the one that ``posetools validate`` finds misplaced points with (posetools/checks/rigid/fit.py): the most
probable object of the skeleton's template, under the most probable camera. A skeleton without a template has no term.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from posetools.checks.rigid.fit import Views, fit
from posetools.checks.rigid.template import rigid
from posetools.core.dataset import Visibility
from posetools.core.geometry import Floats
from posetools.labeling.review.scores import Material, Term
from posetools.runtime.results import KPT_THR

# An object of fewer points fits nearly anything.
_ENOUGH_POINTS = 5
# A misfit of this share of the box's diagonal counts fully: about what one point at a fifth of it causes.
_FULL = 0.05
# How exactly points lie where nothing is wrong: this share of the box's diagonal, and at least so many pixels.
_EXACT, _EXACT_PIXELS = 0.01, 1.0


class _Object(NamedTuple):
    """One object: the picture it is in, its points (K, 3) from the picture's middle, its diagonal, the longer side."""

    picture: int
    points: Floats
    diagonal: float
    longest: float


def by_geometry(material: Material) -> list[Term | None]:
    """Return how badly the points fit any real object, at the worst object of at least five points.

    Predictions count, by the points that are sure; where there are none, labels do.
    """
    terms: list[Term | None] = [None] * len(material.found)
    template = rigid(material.skeleton)
    objects = [] if template is None else _objects(material)
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
        said = f"{material.skeleton.names[worst]} by {distances[worst]:.0f} px"
        reason = f"the points fit no {material.skeleton.category.name} by {rms:.0f} px, {said}"
        term = Term(float(np.clip(rms / (_FULL * one.diagonal), 0, 1)), reason)
        before = terms[one.picture]
        if before is None or term.value > before.value:
            terms[one.picture] = term
    return terms


def _objects(material: Material) -> list[_Object]:
    objects = []
    for index, (found, labels) in enumerate(zip(material.found, material.labels, strict=True)):
        size = found.size if found is not None else None
        size = size or (labels.image.size if labels is not None else None)
        if size is None:
            continue
        if found is not None:
            seen = np.where(found.keypoint_scores >= KPT_THR, Visibility.VISIBLE, Visibility.NOT_LABELLED)
            points = np.concatenate([found.keypoints, seen[..., None]], axis=2)
            objects += _enough(index, found.boxes, points, size)
        elif labels is not None:
            objects += _enough(index, labels.boxes, labels.keypoints, size)
    return objects


def _enough(picture: int, boxes: Floats, keypoints: Floats, size: Sequence[int]) -> list[_Object]:
    objects = []
    for box, points in zip(boxes, keypoints, strict=True):
        diagonal = float(np.linalg.norm(box[2:] - box[:2]))
        if (points[:, 2] > 0).sum() >= _ENOUGH_POINTS and diagonal > 0:
            moved = points.astype(np.float64) - np.array([size[0] / 2, size[1] / 2, 0.0])
            objects.append(_Object(picture, moved, diagonal, float(max(size))))
    return objects
