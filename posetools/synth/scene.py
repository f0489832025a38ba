"""The scene: cars and things on a ground plane, the light, the ground, and the camera.

Things are around the cars: buildings, trees, poles, walls, containers. They form the background, and occlude cars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from posetools.core.geometry import Floats, Ints
from posetools.core.skeleton import Skeleton
from posetools.synth.camera import Camera
from posetools.synth.car import (
    Car,
    LinearRGB,
    Mesh,
    ball,
    box,
    car_keypoints,
    car_mesh,
    cylinder,
    merge,
    panel,
    patch,
    place,
    shadow_mesh,
)


@dataclass(frozen=True)
class PlacedCar:
    """A car with its place (x, y in meters) and heading (radians, from +x to +y)."""

    car: Car
    x: float
    y: float
    heading: float

    @cached_property
    def mesh(self) -> Mesh:
        """The car's mesh in world coordinates."""
        return car_mesh(self.car).placed(self.x, self.y, self.heading)

    @property
    def shadow(self) -> Mesh:
        """The coarse mesh for its shadow, in world coordinates."""
        return shadow_mesh(self.car).placed(self.x, self.y, self.heading)

    def keypoints(self, skeleton: Skeleton) -> Floats:
        """Return the (K, 3) keypoints in world coordinates, in the skeleton's order."""
        points = car_keypoints(self.car)
        return place(np.stack([points[name] for name in skeleton.names]), self.x, self.y, self.heading)

    def outline(self) -> Floats:
        """Return 12 points in world coordinates that enclose the car without its mirrors, for quick checks."""
        ground = np.column_stack([self.footprint(0.0), np.zeros(4)])
        belt = ground + np.array([0.0, 0.0, self.car.belt])
        # The roof is shorter and narrower than the car.
        roof = ground.mean(axis=0) + 0.6 * (ground - ground.mean(axis=0)) + np.array([0.0, 0.0, self.car.height])
        points: Floats = np.concatenate([ground, belt, roof])
        return points

    def footprint(self, margin: float) -> Floats:
        """Return the (4, 2) corners of the car on the ground, enlarged by ``margin`` meters on all sides."""
        x, y = self.car.length / 2 + margin, self.car.width / 2 + margin
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        corners = np.array([[x, y], [-x, y], [-x, -y], [x, -y]])
        placed: Floats = corners @ np.array([[cos, sin], [-sin, cos]]) + np.array([self.x, self.y])
        return placed


@dataclass(frozen=True, kw_only=True)
class Light:
    """The light and the air.

    Attributes:
        sun: unit vector toward the sun.
        sun_color: linear RGB of direct light; black if the sky is covered.
        sky: linear RGB of the sky at the horizon and above.
        ambient: linear RGB of the ambient light.
        fog: share of light lost per meter.
    """

    sun: LinearRGB
    sun_color: LinearRGB
    sky: tuple[LinearRGB, LinearRGB]
    ambient: LinearRGB
    fog: float


@dataclass(frozen=True, kw_only=True)
class Ground:
    """How the ground is painted.

    Attributes:
        base: linear RGB next to the road.
        road: linear RGB of the road.
        line: linear RGB of the markings.
        heading: direction of the road, in radians.
        center: a point (x, y) on the road's center line.
        half_width: of the road, in meters; 0 for no road.
        lanes: how many lanes; markings between them are dashed.
        bays: distance between the lines of parking bays on the road, in meters; 0 for none.
        tiles: side of paving stones next to the road, in meters; 0 for none.
        contrast: of the texture, 0 to 1.
        offset: of the texture in the noise, in meters.
    """

    base: LinearRGB
    road: LinearRGB
    line: LinearRGB
    heading: float
    center: tuple[float, float]
    half_width: float
    lanes: int
    bays: float
    tiles: float
    contrast: float
    offset: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Finish:
    """Camera effects on the image.

    Attributes:
        exposure: factor on the light.
        tint: factors on red, green, blue.
        contrast: about middle gray.
        blur: Gaussian sigma in pixels.
        noise: standard deviation in gray levels (of 255).
        vignette: how much darker the corners are, 0 to 1.
        seed: of the noise.
    """

    exposure: float
    tint: LinearRGB
    contrast: float
    blur: float
    noise: float
    vignette: float
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Everything in one image.

    Attributes:
        camera: the camera.
        cars: the cars; all of them are labeled.
        things: other objects (meshes in world coordinates); they cast shadows and occlude cars.
        light: the light and the air.
        ground: how the ground is painted.
        finish: camera effects.
    """

    camera: Camera
    cars: tuple[PlacedCar, ...]
    things: tuple[Mesh, ...]
    light: Light
    ground: Ground
    finish: Finish

    @cached_property
    def mesh(self) -> Mesh:
        """All triangles: the cars' in their order, then the things'."""
        return merge([*(car.mesh for car in self.cars), *self.things])

    @cached_property
    def group(self) -> Ints:
        """(T,) the car of each triangle of ``mesh``, -1 for things."""
        counts = [len(car.mesh.triangles) for car in self.cars]
        things = sum(len(thing.triangles) for thing in self.things)
        return np.repeat(np.array([*range(len(counts)), -1]), [*counts, things])


# Least distance of things from a car, in meters; _FREE is the least distance from the camera.
_CLEAR = 0.3
_FREE = 1.2
_WALLS: tuple[LinearRGB, ...] = (
    (0.35, 0.3, 0.25), (0.25, 0.1, 0.07), (0.5, 0.48, 0.44), (0.2, 0.21, 0.22), (0.45, 0.38, 0.25), (0.6, 0.6, 0.6),
)  # fmt: skip
_BRIGHT: tuple[LinearRGB, ...] = (
    (0.5, 0.05, 0.03),
    (0.05, 0.15, 0.4),
    (0.5, 0.3, 0.02),
    (0.1, 0.3, 0.12),
    (0.4, 0.4, 0.42),
)


def sample_things(rng: np.random.Generator, camera: Camera, cars: Sequence[PlacedCar]) -> tuple[Mesh, ...]:
    """Return random things in view, at a distance from the cars and the camera."""
    to_car = cars[0].x - camera.position[0], cars[0].y - camera.position[1]
    away, ahead = np.hypot(*to_car), np.arctan2(to_car[1], to_car[0])
    things = []
    for _ in range(int(rng.integers(0, 5))):
        things.append((_building(rng), float(away + rng.uniform(8, 45))))
    for _ in range(int(rng.integers(0, 6))):
        things.append((_tree(rng), float(away + rng.uniform(-0.6 * away, 30))))
    for _ in range(int(rng.integers(0, 7))):
        things.append((_small(rng), float(away * rng.uniform(0.3, 1.1) + rng.uniform(0, 15))))
    placed = []
    for mesh, reach in things:
        bearing = ahead + rng.uniform(-0.75, 0.75)
        x = camera.position[0] + reach * np.cos(bearing)
        y = camera.position[1] + reach * np.sin(bearing)
        thing = mesh.placed(float(x), float(y), float(rng.uniform(-np.pi, np.pi)))
        if _stands_free(thing, camera, cars):
            placed.append(thing)
    return tuple(placed)


def _stands_free(thing: Mesh, camera: Camera, cars: Sequence[PlacedCar]) -> bool:
    _, depth = camera.project(thing.vertices)
    if depth.min() < _FREE:
        return False
    flat = thing.vertices[:, :2]
    center = (flat.min(axis=0) + flat.max(axis=0)) / 2
    radius = np.hypot(*(flat - center).T).max() + _CLEAR
    return all(_distance(car.footprint(0.0), center) > radius for car in cars)


def _distance(corners: Floats, point: Floats) -> float:
    """Return the distance of a point from a rectangle of (4, 2) corners, 0 inside it."""
    center = corners.mean(axis=0)
    axes = np.stack([corners[0] - corners[1], corners[0] - corners[3]]) / 2
    half = np.linalg.norm(axes, axis=1)
    along = np.abs((axes / half[:, None]) @ (point - center))
    return float(np.hypot(*np.maximum(along - half, 0.0)))


def _building(rng: np.random.Generator) -> Mesh:
    width, depth, height = rng.uniform(6, 22), rng.uniform(5, 14), rng.uniform(3, 14)
    wall = _tone(rng, _WALLS)
    body = box((-width / 2, -depth / 2, 0.0), (width / 2, depth / 2, height), wall, top=(0.15, 0.14, 0.14))
    pane: LinearRGB = (0.04, 0.05, 0.06) if rng.random() < 0.7 else (0.3, 0.32, 0.33)
    parts = [body]
    storeys, bays = max(int(height // 3), 1), max(int(width // 3.2), 1)
    x, y = width / 2, depth / 2
    faces = [
        np.array([[-x, -y, 0], [x, -y, 0], [x, -y, height], [-x, -y, height]]),
        np.array([[x, y, 0], [-x, y, 0], [-x, y, height], [x, y, height]]),
    ]
    for face in faces:
        for i in range(storeys):
            for j in range(bays):
                u, v = ((j + 0.25) / bays, (j + 0.75) / bays), ((i + 0.3) / storeys, (i + 0.78) / storeys)
                parts.append(panel(patch(face, u, v, lift=0.05), pane, gloss=0.3))
    return merge(parts)


def _tree(rng: np.random.Generator) -> Mesh:
    green = _tone(rng, ((0.04, 0.1, 0.02), (0.08, 0.14, 0.03), (0.03, 0.07, 0.03), (0.2, 0.12, 0.03)))
    if rng.random() < 0.3:
        # A bush.
        return ball((0.0, 0.0, 0.45), float(rng.uniform(0.5, 1.2)), green, squash=0.7, rng=rng)
    stem, radius = float(rng.uniform(1.4, 3.0)), float(rng.uniform(0.9, 2.4))
    trunk = cylinder((0.0, 0.0, 0.0), (0.2, 0.13), stem + 0.5, (0.08, 0.05, 0.03), sides=6)
    if rng.random() < 0.3:
        return merge([trunk, cylinder((0.0, 0.0, 0.6 * stem), (radius * 0.8, 0.05), 2.5 * radius, green)])
    return merge([trunk, ball((0.0, 0.0, stem + 0.7 * radius), radius, green, squash=0.9, rng=rng)])


def _small(rng: np.random.Generator) -> Mesh:
    kind = int(rng.integers(6))
    if kind == 0:
        return cylinder((0.0, 0.0, 0.0), (0.07, 0.05), float(rng.uniform(3, 7)), _tone(rng, ((0.3, 0.3, 0.3),)))
    if kind == 1:
        return cylinder((0.0, 0.0, 0.0), (0.09, 0.09), float(rng.uniform(0.7, 1.1)), _tone(rng, _BRIGHT))
    if kind == 2:
        post = cylinder((0.0, 0.0, 0.0), (0.04, 0.04), 2.4, (0.3, 0.3, 0.3), sides=6)
        sign = box((-0.03, -0.35, 1.8), (0.03, 0.35, 2.4), _tone(rng, _BRIGHT))
        return merge([post, sign])
    if kind == 3:
        length, height = rng.uniform(1.5, 6), rng.uniform(0.5, 1.4)
        return box((-length / 2, -0.15, 0.0), (length / 2, 0.15, height), _tone(rng, _WALLS))
    if kind == 4:
        # A container or a dumpster: as large as a car.
        length, width, height = rng.uniform(1.5, 4.5), rng.uniform(1.2, 2.2), rng.uniform(1.0, 2.3)
        return box((-length / 2, -width / 2, 0.0), (length / 2, width / 2, height), _tone(rng, _BRIGHT + _WALLS))
    return cylinder((0.0, 0.0, 0.0), (0.22, 0.03), 0.7, (0.6, 0.12, 0.02))


def _tone(rng: np.random.Generator, choices: Sequence[LinearRGB]) -> LinearRGB:
    base = np.array(choices[int(rng.integers(len(choices)))]) * rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, 3)
    red, green, blue = np.clip(base, 0.0, 0.9).tolist()
    return red, green, blue
