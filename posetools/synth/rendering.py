"""One rendered image with its labels, computed from the same geometry as its pixels.

- A keypoint is the projection of its 3D point: visibility 2 if nothing is in front of it, 1 if the car itself or
  something else occludes it, 0 (not labeled) if it is outside the image.
- A box is the tight box of everything that would be visible of the car on its own, clipped to the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image as Pillow

from posetools.core.dataset import Visibility
from posetools.core.geometry import Bools, Floats
from posetools.core.skeleton import Skeleton
from posetools.synth.camera import Buffers, Screen, rasterize, to_screen
from posetools.synth.paint import paint
from posetools.synth.sample import FULL_VARIETY, Variety, sample_scene
from posetools.synth.scene import Scene

# Surfaces closer than this in front of a point, in meters, do not occlude it: they belong to the point's own surface.
_TOLERANCE = 0.02
# Coordinates are kept to a thousandth of a pixel.
_LABEL_DECIMALS = 3


@dataclass(frozen=True, eq=False)
class CarLabel:
    """One car's label.

    Attributes:
        box: (4,) x1, y1, x2, y2 in pixels.
        keypoints: (K, 3) x, y, visibility.
    """

    box: Floats
    keypoints: Floats


def label_keypoints(pixels: Floats, depth: Floats, screen: Screen, size: tuple[int, int]) -> Floats:
    """Return the (K, 3) label of K points.

    Args:
        pixels: (K, 2) their projections.
        depth: (K,) in meters, positive.
        screen: all triangles of the scene.
        size: the image's (width, height).
    """
    inside = ((pixels >= 0) & (pixels <= np.array(size))).all(axis=1)
    hidden = _hidden(pixels, depth, screen)
    visibility = np.where(hidden, Visibility.HIDDEN, Visibility.VISIBLE)
    label = np.column_stack([pixels.round(_LABEL_DECIMALS), visibility]).astype(np.float64)
    label[~inside] = 0.0
    return label


def label_box(screen: Screen, size: tuple[int, int]) -> Floats | None:
    """Return the (4,) tight box of the part of the image that the triangles cover, or None if they cover nothing.

    The box of a union of triangles clipped by a rectangle is the box of: their corners inside it, the intersections of
    their sides with its edges, and its own corners that they cover.
    """
    corners = screen.corners[screen.front]
    limit = np.array(size, dtype=np.float64)
    points = [corners.reshape(-1, 2)]
    start, end = corners.reshape(-1, 2), np.roll(corners, -1, axis=1).reshape(-1, 2)
    for axis in (0, 1):
        run = end[:, axis] - start[:, axis]
        for edge in (0.0, limit[axis]):
            crosses = (start[:, axis] - edge) * (end[:, axis] - edge) < 0
            t = (edge - start[crosses, axis]) / run[crosses]
            at = start[crosses] + t[:, None] * (end - start)[crosses]
            at[:, axis] = edge
            points.append(at)
    frame = np.array([[0.0, 0.0], [limit[0], 0.0], [0.0, limit[1]], limit])
    points.append(frame[_covers(corners, frame).any(axis=1)])
    candidates = np.concatenate(points)
    kept = candidates[((candidates >= 0) & (candidates <= limit)).all(axis=1)]
    if not len(kept):
        return None
    box: Floats = np.concatenate([kept.min(axis=0), kept.max(axis=0)]).round(_LABEL_DECIMALS)
    return box


def _hidden(pixels: Floats, depth: Floats, screen: Screen) -> Bools:
    front = Screen(screen.corners[screen.front], screen.planes[screen.front], screen.front[screen.front])
    covers = _covers(front.corners, pixels)
    before = front.inverse_at(pixels[:, None]) > (1.0 / np.maximum(depth - _TOLERANCE, 1e-3))[:, None]
    hidden: Bools = (covers & before).any(axis=1)
    return hidden


def _covers(corners: Floats, points: Floats) -> Bools:
    """Return (P, T): whether each of (T, 3, 2) triangles seen from outside contains each of (P, 2) points."""
    covered = np.ones((len(points), len(corners)), dtype=np.bool_)
    for i in range(3):
        start, side = corners[:, i], corners[:, (i + 1) % 3] - corners[:, i]
        to = points[:, None] - start[None]
        covered &= side[None, :, 0] * to[..., 1] - side[None, :, 1] * to[..., 0] <= 0
    return covered


# Cars with less than this share visible are removed from the scene: a person would not label them.
LEAST_SEEN = 0.25
# Sub-pixels per pixel, along each side.
_SCALE = 2


@dataclass(frozen=True, eq=False)
class RenderedImage:
    """An image and the labels of the cars in it.

    Attributes:
        image: RGB.
        labels: one per car of ``scene``, in its order.
        scene: the rendered scene.
    """

    image: Pillow.Image
    labels: tuple[CarLabel, ...]
    scene: Scene


def render_random(
    rng: np.random.Generator, size: tuple[int, int], skeleton: Skeleton, variety: Variety = FULL_VARIETY
) -> RenderedImage:
    """Return a random image of ``size`` (width, height): every car in it is labeled and sufficiently visible.

    It has no car only if ``variety`` allows it.
    """
    while True:
        scene = sample_scene(rng, size, variety)
        if not scene.cars:
            return _rendered(scene, *_seen(scene), skeleton)
        while scene.cars:
            screen, buffers = _seen(scene)
            shares = seen_shares(scene, screen, buffers)
            if shares.min() >= LEAST_SEEN:
                return _rendered(scene, screen, buffers, skeleton)
            # Remove the least visible car first: those behind it may then be visible enough.
            worst = int(shares.argmin())
            scene = replace(scene, cars=(*scene.cars[:worst], *scene.cars[worst + 1 :]))


def render_scene(scene: Scene, skeleton: Skeleton) -> RenderedImage:
    """Return the image of a scene, all of whose cars are in it."""
    return _rendered(scene, *_seen(scene), skeleton)


def seen_shares(scene: Scene, screen: Screen, buffers: Buffers) -> Floats:
    """Return the visible share of each car: inside the image and not occluded."""
    owner = np.append(scene.group, -1)[buffers.triangle.ravel()]
    seen = np.bincount(owner[owner >= 0], minlength=len(scene.cars))
    alone = buffers.covered.sum(axis=1)
    inside = [_inside(screen.corners[scene.group == i], scene.camera.size) for i in range(len(scene.cars))]
    shares: Floats = seen / np.maximum(alone, 1) * np.array(inside)
    return shares


def _inside(corners: Floats, size: Sequence[int]) -> float:
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    seen = np.clip(np.minimum(high, size) - np.maximum(low, 0.0), 0.0, None)
    return float(seen.prod() / (high - low).prod())


def _seen(scene: Scene) -> tuple[Screen, Buffers]:
    screen = to_screen(*scene.camera.project(scene.mesh.vertices), scene.mesh.triangles)
    return screen, rasterize(screen, scene.group, len(scene.cars), scene.camera.size, _SCALE)


def _rendered(scene: Scene, screen: Screen, buffers: Buffers, skeleton: Skeleton) -> RenderedImage:
    labels = []
    for i, car in enumerate(scene.cars):
        pixels, depth = scene.camera.project(car.keypoints(skeleton))
        own = scene.group == i
        box = label_box(Screen(screen.corners[own], screen.planes[own], screen.front[own]), scene.camera.size)
        if box is None:
            raise ValueError(f"cars[{i}] must be in the image")
        labels.append(CarLabel(box, label_keypoints(pixels, depth, screen, scene.camera.size)))
    return RenderedImage(paint(scene, buffers, _SCALE), tuple(labels), scene)
