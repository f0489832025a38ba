"""Random scenes: cars of any make, people, boxes, signs and trees around them, a camera and the light."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks.renderer.backdrop import Shadow, Texture, sample_texture
from benchmarks.renderer.car import Car
from benchmarks.renderer.faces import Faces, Floats, billboard, block, faces, placed
from benchmarks.renderer.light import Lamp, Light
from benchmarks.renderer.view import Camera

_NUMBERS = (0.35, 0.3, 0.2, 0.15)
# A car in an image: its least width or height as a share of the image's width, the least share of it in the image, and
# its least distance from the camera in meters.
_SMALLEST, _INSIDE, _NEAREST = 0.1, 0.5, 1.2
_WORDS = ("SALE", "A7", "STOP", "OPEN", "P", "24h", "EXIT", "No 5", "ROUTE 66", "HOTEL", "taxi", "CAFE", "x3", "BUS")


class Placed(NamedTuple):
    """A car at a place on the ground, in meters and radians."""

    car: Car
    x: float
    y: float
    heading: float

    def faces(self) -> Faces:
        return self.car.faces().placed(self.x, self.y, self.heading)

    def points(self, points: Floats) -> Floats:
        return placed(points, self.x, self.y, self.heading)


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene; a wall of None is open sky, ``distance`` is the wall's."""

    camera: Camera
    cars: tuple[Placed, ...]
    things: tuple[Faces, ...]
    light: Light
    ground: Texture
    wall: Texture | None
    distance: float

    def shadows(self) -> list[Shadow]:
        place = self.light.lamps[0].place
        found = []
        for one in self.cars:
            away = np.array([one.x, one.y]) - place[:2]
            shift = away / place[2] * 0.5 * one.car.height
            shift *= min(1.0, 2.5 / max(float(np.hypot(*shift)), 1e-6))
            half = (0.5 * one.car.length, 0.52 * one.car.width)
            found.append(Shadow(one.x, one.y, one.heading, half, shift))
        return found


def sample_scene(rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    """Return a random scene for an image of ``size`` (width, height) with one to four cars."""
    while True:
        first = Placed(sample_car(rng), 0.0, 0.0, float(rng.uniform(-np.pi, np.pi)))
        camera = _camera(rng, size)
        if _fits(camera, first):
            break
    cars = [first]
    wanted = 1 + int(rng.choice(len(_NUMBERS), p=_NUMBERS))
    for _ in range(10 * (wanted - 1)):
        turn = rng.choice([0, np.pi, np.pi / 2]) if rng.random() < 0.5 else rng.uniform(-np.pi, np.pi)
        x, y = rng.uniform(-9, 9, 2).tolist()
        other = Placed(sample_car(rng), x, y, float(first.heading + turn + rng.normal(0, 0.06)))
        if len(cars) < wanted and _fits(camera, other) and all(_apart(other, one) for one in cars):
            cars.append(other)
    distance = float(rng.uniform(12, 60)) + float(np.hypot(*camera.position[:2]))
    light = _light(rng)
    return Scene(
        camera=camera,
        cars=tuple(cars),
        things=_things(rng, camera, cars),
        light=light,
        ground=sample_texture(rng, (0.03, 0.35)),
        wall=sample_texture(rng, (0.04, 0.5)) if rng.random() < 0.45 else None,
        distance=distance,
    )


def sample_car(rng: np.random.Generator) -> Car:
    """Return a random car: from a short city car to a van or a pickup."""

    def pick(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    kind = ("city", "saloon", "wagon", "van", "pickup")[int(rng.choice(5, p=(0.27, 0.3, 0.22, 0.13, 0.08)))]
    length = pick(*{"city": (3.1, 4.1), "saloon": (4.3, 5.2), "pickup": (4.8, 5.5)}.get(kind, (4.2, 5.1)))
    height = pick(*{"van": (1.75, 2.3), "saloon": (1.3, 1.5), "pickup": (1.65, 1.85)}.get(kind, (1.42, 1.75)))
    front = pick(*{"van": (0.72, 0.85), "city": (0.42, 0.6)}.get(kind, (0.3, 0.5)))
    rear = -pick(*{"saloon": (0.6, 0.78), "pickup": (0.1, 0.25)}.get(kind, (0.9, 0.95)))
    wheel = pick(0.27, 0.39)
    belt = max(pick(0.54, 0.68) * height, 2 * wheel + 0.15)
    paint = _paint(rng)
    return Car(
        length=length,
        width=pick(1.55, 2.0) if kind != "city" else pick(1.5, 1.75),
        height=height,
        clearance=pick(0.14, 0.3),
        rise=pick(0.03, 0.12),
        rounding=(pick(3.6, 7), pick(4.5, 9)),
        nose=max(belt * pick(0.68, 0.9), 2 * wheel + 0.06),
        belt=belt,
        tail=max(belt * pick(0.85, 1.0), 2 * wheel + 0.08),
        cabin=(front, rear),
        rake=(pick(0.35, 0.8), pick(0.3, 0.7) if kind == "saloon" else pick(0.05, 0.3)),
        tumble=pick(0.08, 0.2),
        axles=(pick(0.72, 0.95), pick(0.65, 1.0)),
        wheel=wheel,
        spokes=int(rng.integers(4, 10)),
        paint=paint,
        roof=_paint(rng) if rng.random() < 0.15 else paint,
        bumper=(0.03, 0.03, 0.032) if rng.random() < 0.35 else paint,
        rim=np.full(3, pick(0.05, 0.7)),
        stripe=_paint(rng) if rng.random() < 0.1 else None,
        lamps=pick(0.3, 2.5) if rng.random() < 0.3 else 0.0,
    )


def _paint(rng: np.random.Generator) -> Floats:
    gray = np.full(3, rng.uniform(0.015, 0.8)) * rng.uniform(0.93, 1.07, 3)
    hue = np.array([[int(rng.integers(180)), int(rng.integers(90, 255)), int(rng.integers(50, 255))]], dtype=np.uint8)
    bright = cv2.cvtColor(hue[None], cv2.COLOR_HSV2RGB)[0, 0] / 255.0
    paint: Floats = np.clip(gray if rng.random() < 0.5 else bright**2.2, 0.01, 0.8)
    return paint


def _camera(rng: np.random.Generator, size: tuple[int, int]) -> Camera:
    """Return a camera around the origin: low, at eye level, or high; from a wide to a long lens."""
    focal = size[0] / 2 / np.tan(np.radians(rng.uniform(35, 100)) / 2)
    reach = focal * 4.4 / (size[0] * rng.uniform(0.2, 0.85))
    steep = np.radians(rng.choice([rng.uniform(2, 9), rng.uniform(8, 22), rng.uniform(22, 55)], p=(0.3, 0.45, 0.25)))
    azimuth = rng.uniform(-np.pi, np.pi)
    eye = max(reach * np.sin(steep), 0.45)
    position = np.array([reach * np.cos(steep) * np.cos(azimuth), reach * np.cos(steep) * np.sin(azimuth), eye])
    aside, up = rng.uniform(-0.2, 0.2) * size[0] / focal * reach, rng.uniform(-0.2, 0.2) * size[1] / focal * reach
    target = np.array([-aside * np.sin(azimuth), aside * np.cos(azimuth), 0.7 + up])
    return Camera.looking(position, target, float(np.radians(rng.normal(0, 2))), float(focal), size)


def _fits(camera: Camera, one: Placed) -> bool:
    """Return whether a car is near and far enough, and mostly in the image."""
    pixels, depth = camera.project(one.points(one.car.corners()))
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    inside = np.clip(np.minimum(high, camera.size) - np.maximum(low, 0), 0, None)
    return bool(
        depth.min() > _NEAREST
        and inside.prod() > _INSIDE * (high - low).prod()
        and inside.max() > _SMALLEST * camera.size[0]
        and (high - low).max() < 1.2 * max(camera.size)
    )


def _apart(a: Placed, b: Placed) -> bool:
    """Return whether circles along two cars do not touch."""
    one, two = (_circles(placed_car) for placed_car in (a, b))
    gap = np.hypot(*(one[:, None] - two[None]).transpose(2, 0, 1))
    return bool(gap.min() > 0.5 * (a.car.width + b.car.width) + 0.5)


def _circles(one: Placed) -> Floats:
    along = np.linspace(-0.5, 0.5, 5) * (one.car.length - one.car.width)
    return one.points(np.column_stack([along, np.zeros((5, 2))]))[:, :2]


def _light(rng: np.random.Generator) -> Light:
    angle, height = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(15, 80))
    far: Floats = 200.0 * np.array([np.cos(angle) * np.cos(height), np.sin(angle) * np.cos(height), np.sin(height)])
    kind = rng.choice(3, p=(0.5, 0.3, 0.2))
    # Day, overcast or dusk, and night in the light of lamps.
    sky, sun = ((0.5, 0.9), (0.25, 0.5), (0.03, 0.12))[kind], ((0.8, 2.0), (0.05, 0.3), (0.0, 0.06))[kind]
    zenith = rng.uniform(*sky) * np.array([0.75, 0.9, 1.2]) * rng.uniform(0.8, 1.2, 3)
    horizon = rng.uniform(*sky) * 1.3 * rng.uniform(0.75, 1.25, 3)
    lamps = [Lamp(far, (rng.uniform(*sun) * rng.uniform(0.75, 1.1, 3)).astype(np.float32), 1e4)]
    for _ in range(int(rng.integers(1, 4)) if kind == 2 else int(rng.integers(0, 2))):
        place = rng.uniform((-9, -9, 2.5), (9, 9, 7))
        color = (rng.uniform(0.5, 2.5) * rng.uniform(0.25, 1.0, 3)).astype(np.float32)
        lamps.append(Lamp(place, color, float(rng.uniform(3, 8))))
    haze = float(rng.uniform(0.01, 0.05)) if rng.random() < 0.15 else float(rng.uniform(0, 0.006))
    exposure = float(rng.uniform(0.7, 1.3) * (1, 1.2, 1.8)[kind])
    above, around = zenith.astype(np.float32), horizon.astype(np.float32)
    return Light(above, around, 0.3 * above, tuple(lamps), haze, exposure)


def _things(rng: np.random.Generator, camera: Camera, cars: Sequence[Placed]) -> tuple[Faces, ...]:
    """Return objects around the cars: most are behind them, some in front."""
    taken = np.concatenate([_circles(one) for one in cars])
    ahead = np.arctan2(-camera.position[1], -camera.position[0])
    away = float(np.hypot(*camera.position[:2]))
    found = []
    makers: tuple[Callable[[np.random.Generator], Faces], ...] = (_person, _crate, _sign, _tree, _pole)
    for _ in range(int(rng.integers(0, 22))):
        distance = away * rng.uniform(0.35, 1.0) if rng.random() < 0.3 else away + rng.uniform(2, 25)
        bearing = ahead + rng.uniform(-0.9, 0.9)
        x, y = camera.position[:2] + distance * np.array([np.cos(bearing), np.sin(bearing)])
        thing = makers[int(rng.choice(5, p=(0.3, 0.25, 0.2, 0.15, 0.1)))](rng)
        toward = float(np.arctan2(camera.position[1] - y, camera.position[0] - x))
        turned = thing.placed(float(x), float(y), toward + float(rng.uniform(-0.5, 0.5)))
        flat = turned.corners[..., :2].reshape(-1, 2)
        gap = np.hypot(*(flat[:, None] - taken[None]).transpose(2, 0, 1)).min()
        _, depth = camera.project(turned.corners)
        if gap > 1.5 and depth.min() > 0.8:
            found.append(turned)
    return tuple(found)


def _person(rng: np.random.Generator) -> Faces:
    """Return a person: a head, a torso and limbs, drawn."""
    image = np.zeros((44, 20, 4))
    skin = (*(np.array([0.6, 0.35, 0.25]) * rng.uniform(0.15, 1.2)).tolist(), 1.0)
    shirt, trousers = ((*_paint(rng).tolist(), 1.0) for _ in range(2))
    stride, swing = int(rng.integers(0, 5)), int(rng.integers(0, 4))
    for sign in (-1, 1):
        cv2.line(image, (10 + sign * 2, 24), (10 + sign * (1 + stride), 43), trousers, 3)
        cv2.line(image, (10 + sign * 5, 10), (10 + sign * (5 + swing), 23), shirt, 2)
    cv2.ellipse(image, (10, 17), (5, 9), 0, 0, 360, shirt, -1)
    cv2.circle(image, (10, 4), 3, skin, -1)
    height = float(rng.uniform(1.1, 1.95))
    return billboard(image, height * 20 / 44, height, 0.0)


def _crate(rng: np.random.Generator) -> Faces:
    """Return a box with a pattern: a crate, a kiosk, a container as large as a car, a house."""
    size = np.exp(rng.uniform(np.log([0.4, 0.4, 0.4]), np.log([6, 5, 4])))
    cells = block(size.tolist(), 0.0, max(0.22, float(size.max()) / 12))
    pattern = np.arange(len(cells)) // int(rng.integers(1, 9)) % 2 == 0
    colors = np.where(pattern[:, None] & (rng.random() < 0.6), _paint(rng), _paint(rng))
    return faces(cells, colors, gloss=float(rng.uniform(0, 0.2)))


def _sign(rng: np.random.Generator) -> Faces:
    """Return a board with text."""
    text = "".join(str(rng.choice(_WORDS)) + " " for _ in range(int(rng.integers(1, 3))))
    image = np.empty((18, 9 * len(text) + 6, 4))
    image[:] = (*_paint(rng).tolist(), 1.0)
    cv2.putText(image, text, (3, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (*_paint(rng).tolist(), 1.0), 1)
    height = float(rng.uniform(0.4, 1.6))
    return billboard(image, height * image.shape[1] / 18, height, float(rng.uniform(0.0, 2.5)))


def _tree(rng: np.random.Generator) -> Faces:
    """Return a tree or a bush: a blot of leaves, on a trunk or not."""
    image = np.zeros((40, 30, 4))
    cv2.line(image, (15, 25), (15, 39), (0.06, 0.04, 0.025, 1.0), 3)
    green = np.array([0.08, 0.16, 0.04]) * rng.uniform(0.3, 2.0, 3)
    for _ in range(25):
        center = (15 + int(rng.normal(0, 5)), 15 + int(rng.normal(0, 5)))
        tone = green * rng.uniform(0.6, 1.4)
        cv2.circle(image, center, int(rng.integers(2, 6)), (*tone.tolist(), 1.0), -1)
    height = float(rng.uniform(1.0, 6.0))
    return billboard(image, height * 0.75, height, 0.0)


def _pole(rng: np.random.Generator) -> Faces:
    side, height = float(rng.uniform(0.06, 0.3)), float(rng.uniform(0.8, 5))
    return faces(block((side, side, height), 0.0, 0.4), _paint(rng), gloss=0.1)
