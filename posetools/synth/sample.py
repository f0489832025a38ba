"""Random scenes: cars with realistic dimensions and their places, surroundings, light and camera.

A scene is kept only if every car in it is worth a label: not truncated much by the image's edge, not too small.
Occlusion is known only after rasterizing, and is checked there (``posetools.synth.rendering``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from posetools.synth.camera import Camera
from posetools.synth.car import Car, LinearRGB
from posetools.synth.scene import Finish, Ground, Light, PlacedCar, Scene, sample_things

MeasureRange = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class CarStyle:
    """Ranges of the dimensions of one kind of car, in meters; the last two: frequency, number of windows."""

    length: MeasureRange
    width: MeasureRange
    height: MeasureRange
    bonnet: MeasureRange
    deck: MeasureRange
    rake: MeasureRange
    slope: MeasureRange
    # Shares of the height: lower edge of the windows, front edge of the hood.
    belt: MeasureRange
    nose: MeasureRange
    clearance: MeasureRange
    wheel: MeasureRange
    weight: float
    windows: tuple[int, ...]


STYLES = {
    "sedan": CarStyle(
        length=(4.3, 5.2), width=(1.7, 1.95), height=(1.38, 1.5), bonnet=(1.1, 1.4), deck=(0.55, 0.85),
        rake=(0.65, 0.95), slope=(0.5, 0.85), belt=(0.62, 0.67), nose=(0.46, 0.53), clearance=(0.14, 0.18),
        wheel=(0.3, 0.34), weight=0.3, windows=(2,),
    ),
    "hatchback": CarStyle(
        length=(3.6, 4.4), width=(1.6, 1.83), height=(1.42, 1.58), bonnet=(0.85, 1.15), deck=(0.26, 0.34),
        rake=(0.55, 0.85), slope=(0.2, 0.5), belt=(0.58, 0.64), nose=(0.45, 0.53), clearance=(0.14, 0.18),
        wheel=(0.28, 0.33), weight=0.28, windows=(2, 2, 1),
    ),
    "estate": CarStyle(
        length=(4.4, 5.0), width=(1.75, 1.92), height=(1.42, 1.55), bonnet=(1.05, 1.3), deck=(0.26, 0.34),
        rake=(0.6, 0.9), slope=(0.2, 0.45), belt=(0.6, 0.66), nose=(0.46, 0.53), clearance=(0.14, 0.19),
        wheel=(0.31, 0.35), weight=0.12, windows=(3,),
    ),
    "suv": CarStyle(
        length=(4.1, 5.1), width=(1.78, 2.0), height=(1.6, 1.88), bonnet=(0.95, 1.25), deck=(0.26, 0.34),
        rake=(0.5, 0.75), slope=(0.1, 0.35), belt=(0.58, 0.65), nose=(0.5, 0.58), clearance=(0.2, 0.27),
        wheel=(0.34, 0.39), weight=0.2, windows=(2, 3),
    ),
    "van": CarStyle(
        length=(4.3, 5.2), width=(1.78, 2.0), height=(1.72, 1.9), bonnet=(0.62, 0.9), deck=(0.26, 0.3),
        rake=(0.45, 0.7), slope=(0.02, 0.12), belt=(0.52, 0.6), nose=(0.44, 0.52), clearance=(0.16, 0.2),
        wheel=(0.3, 0.34), weight=0.1, windows=(3, 3, 1),
    ),
}  # fmt: skip

# Linear RGB and frequency: mostly gray, black and white, as on the road.
_PAINTS: tuple[tuple[LinearRGB, float], ...] = (
    ((0.72, 0.72, 0.72), 0.2),
    ((0.36, 0.37, 0.38), 0.15),
    ((0.11, 0.115, 0.12), 0.13),
    ((0.018, 0.018, 0.02), 0.13),
    ((0.02, 0.06, 0.25), 0.1),
    ((0.3, 0.012, 0.015), 0.09),
    ((0.1, 0.22, 0.42), 0.05),
    ((0.03, 0.12, 0.05), 0.04),
    ((0.4, 0.3, 0.18), 0.04),
    ((0.6, 0.38, 0.03), 0.03),
    ((0.5, 0.13, 0.02), 0.02),
    ((0.12, 0.06, 0.04), 0.02),
)


def sample_car(rng: np.random.Generator) -> Car:
    """Return a random car."""
    names = list(STYLES)
    weights = np.array([STYLES[name].weight for name in names])
    name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    style = STYLES[name]

    def pick(limits: MeasureRange) -> float:
        return float(rng.uniform(*limits))

    length, height, clearance = pick(style.length), pick(style.height), pick(style.clearance)
    corner, belt = float(rng.uniform(0.12, 0.2)), pick(style.belt) * height
    paint = sample_paint(rng)
    dark_sills = rng.random() < (0.6 if name == "suv" else 0.2)
    shade = float(rng.uniform(0.08, 0.6))
    return Car(
        style=name,
        length=length,
        width=pick(style.width),
        height=height,
        clearance=clearance,
        bumper=clearance + float(rng.uniform(0.02, 0.1)),
        belt=belt,
        nose=pick(style.nose) * height,
        tail=belt - float(rng.uniform(0.01, 0.1)),
        bonnet=pick(style.bonnet),
        deck=pick(style.deck),
        rake=pick(style.rake),
        slope=pick(style.slope),
        tuck=float(rng.uniform(0.1, 0.2)),
        corner=corner,
        wheel=pick(style.wheel),
        overhang=(float(rng.uniform(0.165, 0.2)) * length, float(rng.uniform(0.165, 0.22)) * length),
        windows=int(rng.choice(style.windows)),
        paint=paint,
        cladding=(0.03, 0.03, 0.032) if dark_sills else paint,
        rim=(0.02, 0.02, 0.02) if rng.random() < 0.15 else (shade, shade, shade),
        rear_plate=(0.75, 0.5, 0.03) if rng.random() < 0.4 else (0.75, 0.75, 0.75),
        lamp=(0.95, float(rng.uniform(0.8, 0.95)), float(rng.uniform(0.55, 0.95))),
    )


def sample_paint(rng: np.random.Generator) -> LinearRGB:
    """Return a random car color: a common one with slight variation."""
    weights = np.array([weight for _, weight in _PAINTS])
    base = np.array(_PAINTS[int(rng.choice(len(_PAINTS), p=weights / weights.sum()))][0])
    red, green, blue = np.clip(base * rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3), 0.01, 0.85)
    return float(red), float(green), float(blue)


# Least longer side of a car's box, in pixels.
SMALLEST_PIXELS = 14
# Least share of its box inside the image.
LEAST_INSIDE = 0.55
# Least distance of any part of a car from the camera, in meters along the axis.
NEAREST = 0.6
# Least distance between cars, in meters.
GAP = 0.35
_TRIES = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Variety:
    """How much the images of a set differ from each other.

    Attributes:
        cars: probabilities of one car in an image, two cars, and so on; they sum to 1.
        share: range of the first car's width, as a share of the image's.
        smallest: least longer side of any car's box, as a share of the image's width.
        highest: largest height of cameras, in meters.
        light: probabilities of sun, clouds, dusk and night; they sum to 1.
        fog: probability of fog.
        blur: probability of slight blur.
        noise: the most noise, in gray levels.
        things: whether buildings, trees, poles and other objects are around the cars.
        empty: probability of an image without cars; requires ``things``.
        strange: how far colors, contrast and sharpness stray from those of daylight photos, 0 to 1.
    """

    cars: tuple[float, ...] = (0.4, 0.27, 0.2, 0.13)
    share: tuple[float, float] = (0.22, 0.8)
    smallest: float = 0.09
    highest: float = 8.0
    light: tuple[float, float, float, float] = (0.5, 0.3, 0.12, 0.08)
    fog: float = 0.12
    blur: float = 0.35
    noise: float = 7.0
    things: bool = True
    empty: float = 0.0
    strange: float = 0.0


FULL_VARIETY = Variety()
# The widest: for weights that are fine-tuned on other images.
WIDEST = Variety(
    cars=(0.35, 0.25, 0.2, 0.12, 0.08),
    share=(0.1, 0.85),
    smallest=0.06,
    highest=9.0,
    light=(0.42, 0.28, 0.15, 0.15),
    fog=0.2,
    blur=0.4,
    noise=12.0,
    empty=0.06,
    strange=1.0,
)
# Easy enough for a small network to learn in minutes: large cars in daylight on open ground.
PLAIN = Variety(
    cars=(0.5, 0.5),
    share=(0.42, 0.8),
    smallest=0.2,
    highest=5.0,
    light=(0.6, 0.4, 0.0, 0.0),
    fog=0.0,
    blur=0.0,
    noise=3.0,
    things=False,
)


def sample_scene(rng: np.random.Generator, size: tuple[int, int], variety: Variety = FULL_VARIETY) -> Scene:
    """Return a random scene for an image of ``size`` (width, height)."""
    while True:
        first = PlacedCar(sample_car(rng), 0.0, 0.0, float(rng.uniform(-np.pi, np.pi)))
        camera = _sample_camera(rng, first, size, variety)
        if not fits(camera, first, variety.smallest):
            continue
        wanted = 1 + int(rng.choice(len(variety.cars), p=variety.cars))
        cars = _add_cars(rng, camera, first, wanted, variety.smallest)
        ground = _sample_ground(rng, first.heading)
        light, finish = _sample_light(rng, variety), _sample_finish(rng, variety)
        if variety.strange:
            ground, finish = _stray(rng, ground, finish, variety.strange)
        scene = Scene(camera=camera, cars=cars, things=(), light=light, ground=ground, finish=finish)
        if not variety.things:
            return scene
        scene = replace(scene, things=sample_things(rng, camera, cars))
        empty = variety.empty and scene.things and rng.random() < variety.empty
        return replace(scene, cars=()) if empty else scene


def fits(camera: Camera, car: PlacedCar, smallest: float = FULL_VARIETY.smallest) -> bool:
    """Return whether a car is worth a label: near enough, far enough, and mostly in the image."""
    pixels, depth = camera.project(car.outline())
    if depth.min() < NEAREST:
        return False
    size = np.array(camera.size, dtype=np.float64)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    whole, seen = high - low, np.clip(np.minimum(high, size) - np.maximum(low, 0.0), 0.0, None)
    if seen.prod() < LEAST_INSIDE * whole.prod() or (whole > 1.15 * size).any():
        return False
    return bool(seen.max() >= max(smallest * size[0], SMALLEST_PIXELS))


def _sample_camera(rng: np.random.Generator, car: PlacedCar, size: tuple[int, int], variety: Variety) -> Camera:
    """Return a camera that shows the car at a random size, from any side, near the center of the image."""
    width, height = size
    focal = width / 2 / np.tan(np.radians(rng.uniform(28, 72)) / 2)
    azimuth = rng.uniform(-np.pi, np.pi)
    side = np.sin(azimuth - car.heading)
    across = abs(side) * car.car.length + abs(np.cos(azimuth - car.heading)) * car.car.width
    share = rng.uniform(*variety.share)
    reach = max(focal * across / (share * width), 1.35 * focal * car.car.height / height, 4.0)
    eye = min(rng.uniform(1.0, 2.2) if rng.random() < 0.5 else rng.uniform(2.0, variety.highest), 0.7 * reach)
    flat = np.sqrt(reach**2 - eye**2)
    position = (car.x + flat * np.cos(azimuth), car.y + flat * np.sin(azimuth), eye)
    # The axis misses the car, so that it is off center.
    aside, up = rng.uniform(-0.22, 0.22) * width / focal * reach, rng.uniform(-0.25, 0.12) * height / focal * reach
    target = (
        car.x - aside * np.sin(azimuth),
        car.y + aside * np.cos(azimuth),
        max(0.7 - up, -2.0),
    )
    roll = float(np.radians(rng.normal(0.0, 1.5)))
    return Camera(_floats(position), _floats(target), roll, float(focal), size)


def _add_cars(
    rng: np.random.Generator, camera: Camera, first: PlacedCar, wanted: int, smallest: float
) -> tuple[PlacedCar, ...]:
    """Return the first car and up to ``wanted - 1`` more: in rows as on roads and parking lots, or anywhere."""
    cars = [first]
    row = rng.random() < 0.55
    spacing = (rng.uniform(5.6, 7.5), rng.uniform(2.5, 3.6))
    for _ in range(_TRIES * (wanted - 1)):
        if len(cars) == wanted:
            break
        car = sample_car(rng)
        if row:
            along, aside = int(rng.integers(-2, 3)) * spacing[0], int(rng.integers(-3, 4)) * spacing[1]
            cos, sin = np.cos(first.heading), np.sin(first.heading)
            place = (along * cos - aside * sin, along * sin + aside * cos)
            heading = first.heading + rng.normal(0, 0.04) + (np.pi if rng.random() < 0.4 else 0.0)
        else:
            pixel = (rng.uniform(0, camera.size[0]), rng.uniform(0, camera.size[1]))
            found = camera.on_ground(pixel)
            if found is None:
                continue
            place, heading = found, rng.uniform(-np.pi, np.pi)
        candidate = PlacedCar(car, float(place[0]), float(place[1]), float(heading))
        if fits(camera, candidate, smallest) and not any(overlap(candidate, other) for other in cars):
            cars.append(candidate)
    return tuple(cars)


def overlap(a: PlacedCar, b: PlacedCar) -> bool:
    """Return whether two cars are closer than GAP (separating axes)."""
    one, two = a.footprint(GAP / 2), b.footprint(GAP / 2)
    for heading in (a.heading, b.heading):
        for angle in (heading, heading + np.pi / 2):
            axis = np.array([np.cos(angle), np.sin(angle)])
            p, q = one @ axis, two @ axis
            if p.max() < q.min() or q.max() < p.min():
                return False
    return True


def _sample_light(rng: np.random.Generator, variety: Variety) -> Light:
    height, azimuth = np.radians(rng.uniform(14, 75)), rng.uniform(-np.pi, np.pi)
    sun = (np.cos(height) * np.cos(azimuth), np.cos(height) * np.sin(azimuth), np.sin(height))
    kind = rng.choice(4, p=variety.light)
    if kind == 0:
        strength, warm = rng.uniform(0.7, 1.3), rng.uniform(0.0, 0.25)
        color = (strength, strength * (1 - 0.4 * warm), strength * (1 - warm))
        sky, ambient = ((0.62, 0.74, 0.88), (0.18, 0.36, 0.72)), rng.uniform(0.35, 0.6)
    elif kind == 1:
        color = (0.0, 0.0, 0.0)
        sky, ambient = ((0.72, 0.74, 0.77), (0.5, 0.54, 0.6)), rng.uniform(0.75, 1.1)
    elif kind == 2:
        color = (0.75, 0.45, 0.22)
        sky, ambient = ((0.85, 0.55, 0.35), (0.25, 0.28, 0.45)), rng.uniform(0.3, 0.5)
    else:
        color = (0.12, 0.12, 0.16)
        sky, ambient = ((0.12, 0.13, 0.2), (0.03, 0.04, 0.1)), rng.uniform(0.16, 0.3)
    shift = rng.uniform(0.85, 1.15, 3)
    low, high = (_floats(np.array(part) * shift) for part in sky)
    blue = rng.uniform(0.0, 0.12)
    fog = float(rng.uniform(0.01, 0.035)) if rng.random() < variety.fog else float(rng.uniform(0.0, 0.004))
    return Light(
        sun=_floats(sun),
        sun_color=_floats(color),
        sky=(low, high),
        ambient=_floats(ambient * np.array([1 - blue, 1.0, 1 + blue])),
        fog=fog,
    )


def _sample_ground(rng: np.random.Generator, heading: float) -> Ground:
    bases: tuple[LinearRGB, ...] = (
        (0.13, 0.13, 0.135),
        (0.06, 0.1, 0.03),
        (0.3, 0.28, 0.25),
        (0.22, 0.16, 0.1),
        (0.09, 0.09, 0.095),
        (0.34, 0.34, 0.34),
        (0.6, 0.62, 0.65),
    )
    base = np.array(bases[int(rng.choice(len(bases), p=[0.24, 0.2, 0.16, 0.12, 0.14, 0.1, 0.04]))])
    gray = rng.uniform(0.05, 0.2)
    line: LinearRGB = (0.7, 0.48, 0.05) if rng.random() < 0.2 else (0.62, 0.62, 0.62)
    lanes = int(rng.integers(1, 5))
    road = rng.random() < 0.7
    parking = rng.random() < 0.3
    turn = float(rng.normal(0, 0.05)) if rng.random() < 0.75 else float(rng.uniform(-np.pi, np.pi))
    return Ground(
        base=_floats(base * rng.uniform(0.7, 1.3) * rng.uniform(0.93, 1.07, 3)),
        road=_floats(gray * rng.uniform(0.95, 1.05, 3)),
        line=line,
        heading=heading + turn + (np.pi / 2 if parking else 0.0),
        center=(float(rng.uniform(-4, 4)), float(rng.uniform(-4, 4))),
        half_width=lanes * float(rng.uniform(1.5, 1.9)) if road else 0.0,
        lanes=lanes,
        bays=float(rng.uniform(2.3, 2.8)) if parking else 0.0,
        tiles=float(rng.uniform(0.3, 1.2)) if rng.random() < 0.25 else 0.0,
        contrast=float(rng.uniform(0.1, 0.7)),
        offset=(float(rng.uniform(0, 100)), float(rng.uniform(0, 100))),
    )


def _sample_finish(rng: np.random.Generator, variety: Variety) -> Finish:
    return Finish(
        exposure=float(rng.uniform(0.85, 1.5)),
        tint=_floats(rng.uniform(0.94, 1.06, 3)),
        contrast=float(rng.uniform(0.85, 1.15)),
        blur=float(rng.uniform(0.4, 0.9)) if rng.random() < variety.blur else 0.0,
        noise=float(rng.uniform(0.5, variety.noise)),
        vignette=float(rng.uniform(0.0, 0.25)),
        seed=int(rng.integers(2**32)),
    )


def _stray(rng: np.random.Generator, ground: Ground, finish: Finish, strange: float) -> tuple[Ground, Finish]:
    """Return both with unusual colors, contrast and sharpness in a part of the images."""
    if rng.random() < 0.3 * strange:
        ground = replace(
            ground,
            base=_floats(rng.uniform(0.02, 0.6, 3)),
            road=_floats(rng.uniform(0.02, 0.4, 3)),
            line=_floats(rng.uniform(0.1, 0.8, 3)),
            contrast=float(rng.uniform(0.2, 1.5)),
        )
    return ground, replace(
        finish,
        exposure=finish.exposure * float(np.exp2(strange * rng.normal(0.0, 0.35))),
        tint=_floats(np.array(finish.tint) * np.exp2(strange * rng.normal(0.0, 0.15, 3))),
        contrast=finish.contrast * float(np.exp2(strange * rng.normal(0.0, 0.2))),
        blur=float(rng.uniform(0.6, 1.6)) if rng.random() < 0.12 * strange else finish.blur,
    )


def _floats(values: object) -> LinearRGB:
    red, green, blue = np.asarray(values, dtype=np.float64).tolist()
    return red, green, blue
