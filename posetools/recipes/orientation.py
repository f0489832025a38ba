"""The rotation of a data set's objects in the image plane, measured on their labeled keypoints.

The principal axis of the keypoints does not show it: a dog seen from the side is wide, one seen from the front is tall,
and neither is rotated. So objects are compared only with those of similar shape, seen from about the same side: for
each object, the others whose keypoints fit best after a shift, a scale and a rotation (Procrustes). The rotation of
that fit is their relative rotation. For upright objects it is a few degrees; for objects in any orientation (insects,
vehicles seen from above) all angles are equally frequent.

Rotations are modulo 180 degrees: the keypoints of a flat object seen at a slant look the same from behind as upside
down, so a half turn carries no information.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posetools.core.geometry import Bools, Floats, Ints

# Number of compared objects, evenly spread over the data set; fewer than the least are not enough.
MOST_OBJECTS, FEWEST_OBJECTS = 512, 30
# Nearest shapes of each object that count: a fraction of the others, and the least number.
_NEAREST_SHAPES, _NEAREST_LEAST = 0.1, 5
# Common keypoints that a fit needs: half of them, in these bounds (any two fit, and many three); and the largest
# fraction of unexplained variance.
_COMMON, _RESIDUAL = (3, 4), 0.1


@dataclass(frozen=True, slots=True)
class Orientation:
    """The rotation of objects relative to others of similar shape.

    Attributes:
        objects: number of objects with others of similar shape.
        spread: the median rotation between two of them, 0 to 90 degrees, modulo a half turn (45 if all angles are
            equally frequent); None if too few objects can be compared.
    """

    objects: int = 0
    spread: float | None = None


def orientation(keypoints: Floats, image: Ints) -> Orientation:
    """Return the orientation of N objects.

    Args:
        keypoints: (N, K, 3) x, y in pixels and visibility, 0 for unlabeled keypoints.
        image: (N,) the image of each object; objects of one image are not compared.
    """
    count = keypoints.shape[1]
    residual, angle = _fits(keypoints, min(count, max(_COMMON[0], min(_COMMON[1], count // 2))))
    residual[image[:, None] == image[None, :]] = np.inf
    number = max(_NEAREST_LEAST, int(_NEAREST_SHAPES * len(keypoints)))
    nearest = np.argsort(residual, axis=1, kind="stable")[:, :number]
    fitting = np.take_along_axis(residual, nearest, axis=1) <= _RESIDUAL
    compared = int((fitting.sum(axis=1) >= _NEAREST_LEAST).sum())
    if compared < max(FEWEST_OBJECTS, len(keypoints) / 2):
        return Orientation(compared)
    degrees = np.degrees(np.take_along_axis(angle, nearest, axis=1)[fitting])
    return Orientation(compared, float(np.median(np.abs((degrees + 90) % 180 - 90))))


def _fits(keypoints: Floats, common: int) -> tuple[Floats, Floats]:
    """Return the residual of the best fit of each pair of objects (N, N), 0 to 1, and its rotation in radians.

    Only keypoints labeled in both count. With points as complex numbers, centered on these, the best scale and rotation
    of one shape onto another is the quotient of their inner product and the first one's norm.
    """
    labeled: Bools = (keypoints[..., 2] > 0) & np.isfinite(keypoints).all(axis=2)
    weights = labeled.astype(np.float64)
    points = np.where(labeled, keypoints[..., 0] + 1j * keypoints[..., 1], 0)
    # Near the origin and of one size, so that the differences below keep their digits.
    points = np.where(
        labeled, points - points.sum(axis=1, keepdims=True) / np.maximum(weights.sum(axis=1), 1)[:, None], 0
    )
    points /= np.maximum(np.abs(points).max(axis=1, keepdims=True), 1e-9)
    number = weights @ weights.T
    sums = points @ weights.T
    inner = points.conj() @ points.T - sums.conj() * sums.T / np.maximum(number, 1)
    norms = np.abs(points) ** 2 @ weights.T - np.abs(sums) ** 2 / np.maximum(number, 1)
    known = (number >= common) & (norms > 1e-9) & (norms.T > 1e-9)
    residual = np.where(known, 1 - np.abs(inner) ** 2 / np.where(known, norms * norms.T, 1), np.inf)
    return residual, np.angle(inner)
