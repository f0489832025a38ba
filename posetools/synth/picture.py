"""One rendered picture with its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow

from posetools.core.geometry import Floats
from posetools.core.skeleton import Skeleton
from posetools.synth.labels import Label, label_box, label_keypoints
from posetools.synth.paint import paint
from posetools.synth.raster import Buffers, Screen, rasterise, to_screen
from posetools.synth.sample import FULL, Variety, sample_scene
from posetools.synth.scene import Scene

# A car of which less than this share is seen is taken out of the scene: nobody would label it.
LEAST_SEEN = 0.25
# Sub-pixels per pixel, along each side.
_SCALE = 2


@dataclass(frozen=True, eq=False)
class Rendered:
    """A picture and the labels of the cars in it.

    Attributes:
        picture: RGB.
        labels: one per car of ``scene``, in its order.
        scene: what was rendered.
    """

    picture: Pillow.Image
    labels: tuple[Label, ...]
    scene: Scene


def render_scene(scene: Scene, skeleton: Skeleton) -> Rendered:
    """Return the picture of a scene, and the labels of all its cars.

    Raises:
        ValueError: a car is not in the picture. (What lies behind the camera is not cut off, but drawn wrongly.)
    """
    screen = _screen(scene)
    buffers = _buffers(scene, screen)
    return Rendered(paint(scene, buffers, _SCALE), _labels(scene, screen, skeleton), scene)


def render_random(
    rng: np.random.Generator, size: tuple[int, int], skeleton: Skeleton, variety: Variety = FULL
) -> Rendered:
    """Return a random picture of ``size`` (width, height): every car in it is labelled, and is there to be seen."""
    while True:
        scene = sample_scene(rng, size, variety)
        screen = _screen(scene)
        buffers = _buffers(scene, screen)
        shares = seen_shares(scene, screen, buffers)
        while len(shares) and shares.min() < LEAST_SEEN:
            # The most hidden car goes first: those behind it may then be seen well enough.
            worst = int(shares.argmin())
            scene = scene.with_cars([car for i, car in enumerate(scene.cars) if i != worst])
            if not scene.cars:
                break
            screen = _screen(scene)
            buffers = _buffers(scene, screen)
            shares = seen_shares(scene, screen, buffers)
        if scene.cars:
            return Rendered(paint(scene, buffers, _SCALE), _labels(scene, screen, skeleton), scene)


def seen_shares(scene: Scene, screen: Screen, buffers: Buffers) -> Floats:
    """Return for each car the share of it that is seen: neither outside the picture nor behind something."""
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


def _screen(scene: Scene) -> Screen:
    mesh = scene.mesh
    pixels, depth = scene.camera.project(mesh.vertices)
    return to_screen(pixels, depth, mesh.triangles)


def _buffers(scene: Scene, screen: Screen) -> Buffers:
    return rasterise(screen, scene.group, len(scene.cars), scene.camera.size, _SCALE)


def _labels(scene: Scene, screen: Screen, skeleton: Skeleton) -> tuple[Label, ...]:
    labels = []
    for i, car in enumerate(scene.cars):
        pixels, depth = scene.camera.project(car.keypoints(skeleton))
        own = scene.group == i
        box = label_box(Screen(screen.corners[own], screen.planes[own], screen.front[own]), scene.camera.size)
        if box is None:
            raise ValueError(f"cars[{i}] must be in the picture")
        labels.append(Label(box, label_keypoints(pixels, depth, screen, scene.camera.size)))
    return tuple(labels)
