"""Cars seen by a pinhole camera, computed point by point: the reference for posetools.checks.rigid.fit."""

from __future__ import annotations

import numpy as np

from posetools.checks.rigid.fit import FOCAL, FOCAL_SD, HEIGHT, HEIGHT_SD, ROLL, SLOPE, Views
from posetools.checks.rigid.template import Body, rigid
from posetools.core.geometry import Floats
from posetools.core.skeleton import load_skeleton

CAR8 = load_skeleton("car8")
LONGEST = 640.0
NEAREST = 0.05


def car8() -> Body:
    template = rigid(CAR8)
    assert template is not None
    return template


TEMPLATE = car8()
MODES = len(TEMPLATE.modes)


def parameters(
    heading: float = 0.6,
    down: float = 0.2,
    roll: float = 0.0,
    *,
    at: tuple[float, float] = (20.0, 30.0),
    scale: float = 45.0,
    focal: float = FOCAL * LONGEST,
    shape: Floats | None = None,
) -> Floats:
    """Return the (P,) parameters of one view; ``scale`` is pixels per meter at the object's origin."""
    camera = [heading, down, roll, *at, np.log(scale), np.log(focal)]
    return np.concatenate([camera, np.zeros(MODES) if shape is None else shape])


def some_parameters(count: int, seed: int, *, low: bool = False) -> Floats:
    """Return (N, P) parameters of different views; with ``low``, of cameras unusually near the ground."""
    rng = np.random.default_rng(seed)
    return np.array(
        [
            parameters(
                rng.uniform(-3, 3),
                rng.uniform(-0.1, 0.0) if low else rng.uniform(0.1, 0.6),
                rng.normal(0, 0.1),
                at=(rng.uniform(-200, 200), rng.uniform(-100, 100)),
                scale=rng.uniform(20, 70),
                focal=rng.uniform(500, 1200),
                shape=rng.normal(0, 0.7, MODES),
            )
            for _ in range(count)
        ]
    )


def camera_axes(one: Floats) -> Floats:
    """Return the camera's right, down and forward in the object's frame, rotated step by step."""
    a, e, r = one[:3]
    level = np.array([[np.sin(a), -np.cos(a), 0.0], [0.0, 0.0, -1.0], [np.cos(a), np.sin(a), 0.0]])
    pitch = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(e), -np.sin(e)], [0.0, np.sin(e), np.cos(e)]])
    roll = np.array([[np.cos(r), np.sin(r), 0.0], [-np.sin(r), np.cos(r), 0.0], [0.0, 0.0, 1.0]])
    axes: Floats = roll @ pitch @ level
    return axes


def shape_of(template: Body, one: Floats) -> Floats:
    """Return (K, 3): the object's points."""
    return np.array(
        [
            point + sum(b * mode[k] for b, mode in zip(one[7:], template.modes, strict=True))
            for k, point in enumerate(template.points)
        ]
    )


def pixels_of(template: Body, one: Floats) -> Floats:
    """Return (2, K): the projected points, in pixels from the image's center."""
    (u, v), s, f = one[3:5], np.exp(one[5]), np.exp(one[6])
    seen = []
    for point in shape_of(template, one):
        x, y, z = camera_axes(one) @ point
        depth = max(1 + s / f * z, NEAREST)
        seen.append(((s * x + u) / depth, (s * y + v) / depth))
    return np.array(seen).T


def camera_place(one: Floats) -> Floats:
    """Return (3,): the camera's place, in meters, in the object's frame."""
    u, v, s, f = *one[3:5], np.exp(one[5]), np.exp(one[6])
    place: Floats = -camera_axes(one).T @ np.array([u / s, v / s, f / s])
    return place


def facing_of(template: Body, one: Floats) -> Floats:
    """Return (K,): the cosine between the direction to the camera and the normal that faces it most."""
    facing = []
    for point, faces in zip(shape_of(template, one), template.on_face, strict=True):
        way = camera_place(one) - point
        cosines = [float(way @ normal) / float(np.linalg.norm(way)) for normal in template.normals[faces]]
        facing.append(max(cosines, default=1.0))
    return np.array(facing)


def spread_of_height(one: Floats) -> float:
    """Return the standard deviation of the camera's height, in meters."""
    return float(np.hypot(HEIGHT_SD, SLOPE * np.exp(one[6]) / np.exp(one[5])))


def residuals(template: Body, views: Views, row: int, one: Floats, spread: float) -> Floats:
    """Return all terms of the sum of squares: points, shape, roll, focal length, and a camera that is too low."""
    labeled = views.visibility[row] > 0
    points = ((pixels_of(template, one) - views.points[row]) / views.sigma[row])[:, labeled]
    focal = (one[6] - np.log(FOCAL * views.longest[row])) / FOCAL_SD
    low = max((HEIGHT - camera_place(one)[2]) / spread, 0.0)
    return np.concatenate([points.ravel(), one[7:], [one[2] / ROLL, focal, low]])


def views_of(template: Body, every: Floats, *, sigma: float = 2.0, longest: float = LONGEST) -> Views:
    """Return (N,) views without any error; points that face the camera are visible, the others occluded."""
    points = np.array([pixels_of(template, one) for one in every])
    visibility = np.array([np.where(facing_of(template, one) > 0, 2.0, 1.0) for one in every])
    return Views(points, visibility, np.full(len(every), sigma), np.full(len(every), longest))
