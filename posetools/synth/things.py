"""What stands round the cars: buildings, trees, poles, walls, containers. It makes the background, and hides cars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from posetools.core.geometry import Floats
from posetools.synth.camera import Camera
from posetools.synth.mesh import RGB, Mesh, ball, box, cylinder, merge, panel, patch
from posetools.synth.scene import PlacedCar

# Nothing comes nearer to a car than this, in metres, nor nearer to the camera than _FREE.
_CLEAR = 0.3
_FREE = 1.2
_WALLS: tuple[RGB, ...] = (
    (0.35, 0.3, 0.25), (0.25, 0.1, 0.07), (0.5, 0.48, 0.44), (0.2, 0.21, 0.22), (0.45, 0.38, 0.25), (0.6, 0.6, 0.6),
)  # fmt: skip
_BRIGHT: tuple[RGB, ...] = ((0.5, 0.05, 0.03), (0.05, 0.15, 0.4), (0.5, 0.3, 0.02), (0.1, 0.3, 0.12), (0.4, 0.4, 0.42))


def sample_things(rng: np.random.Generator, camera: Camera, cars: Sequence[PlacedCar]) -> tuple[Mesh, ...]:
    """Return random things that are in the picture and stand clear of the cars and of the camera."""
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
    centre = (flat.min(axis=0) + flat.max(axis=0)) / 2
    radius = np.hypot(*(flat - centre).T).max() + _CLEAR
    return all(_distance(car.footprint(0.0), centre) > radius for car in cars)


def _distance(corners: Floats, point: Floats) -> float:
    """Return how far a point lies from a rectangle of (4, 2) corners, 0 inside it."""
    centre = corners.mean(axis=0)
    axes = np.stack([corners[0] - corners[1], corners[0] - corners[3]]) / 2
    half = np.linalg.norm(axes, axis=1)
    along = np.abs((axes / half[:, None]) @ (point - centre))
    return float(np.hypot(*np.maximum(along - half, 0.0)))


def _building(rng: np.random.Generator) -> Mesh:
    width, depth, height = rng.uniform(6, 22), rng.uniform(5, 14), rng.uniform(3, 14)
    wall = _tone(rng, _WALLS)
    body = box((-width / 2, -depth / 2, 0.0), (width / 2, depth / 2, height), wall, top=(0.15, 0.14, 0.14))
    pane: RGB = (0.04, 0.05, 0.06) if rng.random() < 0.7 else (0.3, 0.32, 0.33)
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
        # A container or a skip: as large as a car, and none.
        length, width, height = rng.uniform(1.5, 4.5), rng.uniform(1.2, 2.2), rng.uniform(1.0, 2.3)
        return box((-length / 2, -width / 2, 0.0), (length / 2, width / 2, height), _tone(rng, _BRIGHT + _WALLS))
    return cylinder((0.0, 0.0, 0.0), (0.22, 0.03), 0.7, (0.6, 0.12, 0.02))


def _tone(rng: np.random.Generator, choices: Sequence[RGB]) -> RGB:
    base = np.array(choices[int(rng.integers(len(choices)))]) * rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, 3)
    red, green, blue = np.clip(base, 0.0, 0.9).tolist()
    return red, green, blue
