"""Scenes that the tests of rendering share."""

from __future__ import annotations

import numpy as np

from posetools.core.skeleton import Skeleton
from posetools.synth.camera import Camera
from posetools.synth.car import Car, LinearRGB, Mesh
from posetools.synth.rendering import RenderedImage, _rendered, _seen
from posetools.synth.sample import sample_car
from posetools.synth.scene import Finish, Ground, Light, PlacedCar, Scene

SIZE = (400, 300)


def make_car(seed: int = 0) -> Car:
    return sample_car(np.random.default_rng(seed))


def make_scene(
    *cars: PlacedCar,
    position: LinearRGB = (0.0, 12.0, 1.5),
    target: LinearRGB = (0.0, 0.0, 0.7),
    roll: float = 0.0,
    focal: float = 500.0,
    things: tuple[Mesh, ...] = (),
) -> Scene:
    """Return a scene in flat light with a plain ground, without noise."""
    return Scene(
        camera=Camera(position, target, roll, focal, SIZE),
        cars=cars,
        things=things,
        light=Light(
            sun=(0.0, 0.6, 0.8),
            sun_color=(0.8, 0.8, 0.8),
            sky=((0.6, 0.7, 0.8), (0.3, 0.5, 0.8)),
            ambient=(0.5, 0.5, 0.5),
            fog=0.0,
        ),
        ground=Ground(
            base=(0.2, 0.2, 0.2),
            road=(0.1, 0.1, 0.1),
            line=(0.6, 0.6, 0.6),
            heading=0.0,
            center=(0.0, 0.0),
            half_width=0.0,
            lanes=1,
            bays=0.0,
            tiles=0.0,
            contrast=0.0,
            offset=(0.0, 0.0),
        ),
        finish=Finish(exposure=1.0, tint=(1.0, 1.0, 1.0), contrast=1.0, blur=0.0, noise=0.0, vignette=0.0, seed=0),
    )


def render_scene(scene: Scene, skeleton: Skeleton) -> RenderedImage:
    """Return the image of a scene, and the labels of all its cars, which must be in it, in front of the camera."""
    return _rendered(scene, *_seen(scene), skeleton)
