"""Another car than the product's: a tub and a cabin, both stacks of superellipses with smooth profiles.

The car's own coordinates are in meters: the origin is on the ground below its center, x forward, y to its left, z up.
The points are as in the product (a bumper point is the bumper's lower outer corner, in the middle of its rounding seen
from above; a tire point is the center of the wheel's outer face).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.renderer.faces import Color, Faces, Floats, block, faces, joined, placed, strips

# Points of a quarter of an outline: from the middle of the end to the corner, and on to the middle of the side.
_END, _SIDE = 6, 13
_QUARTER = _END + _SIDE - 2
_RUBBER = (0.012, 0.012, 0.013)
_DARK = (0.006, 0.006, 0.007)
_GLASS = (0.015, 0.018, 0.02)
_SECTORS = 20


@dataclass(frozen=True, kw_only=True)
class Car:
    """A car: meters, linear RGB.

    Attributes:
        length, width, height: of the body without mirrors.
        clearance: lowest part of the body at its middle.
        rise: how much higher the bumpers' lower edge is.
        rounding: exponents of the outline in front and behind; large is square.
        nose, belt, tail: heights of the body in front, below the windows and behind.
        cabin: where the cabin begins and ends at its foot, as shares of the half length, from 1 in front to -1.
        rake: how much shorter the cabin is at its top in front and behind, in meters.
        tumble: share of the width that it loses at its top.
        axles: their distances from the front and the rear end.
        wheel: the radius.
        spokes: of a rim.
        paint, roof, bumper, rim, stripe: colors; stripe is None without stripes.
        lamps: how bright they are, 0 if they are off.
    """

    length: float
    width: float
    height: float
    clearance: float
    rise: float
    rounding: tuple[float, float]
    nose: float
    belt: float
    tail: float
    cabin: tuple[float, float]
    rake: tuple[float, float]
    tumble: float
    axles: tuple[float, float]
    wheel: float
    spokes: int
    paint: Color
    roof: Color
    bumper: Color
    rim: Color
    stripe: Color | None
    lamps: float

    def faces(self) -> Faces:
        """Return the car's faces."""
        return joined([*_tub(self), *_cabin(self), *_plates(self), *_mirrors(self), *_wheels(self)])

    def keypoints(self) -> dict[str, Floats]:
        """Return the eight points by name, (3,) each."""
        found = {}
        ring = _tub_rings(self)[0]
        for side, sign in (("left", 1.0), ("right", -1.0)):
            for end, at, axle in (("front", _END - 1, self.axle(0)), ("rear", 2 * _QUARTER - _END + 1, self.axle(1))):
                found[f"{side}-{end}-bumper"] = ring[at] * np.array([1, sign, 1])
                found[f"{side}-{end}-tire"] = np.array([axle, sign * self.face(axle), self.wheel])
        return found

    def corners(self) -> Floats:
        """Return the (8, 3) corners of the box around the car without mirrors and wheels."""
        x, y = self.length / 2, self.width / 2
        flat = np.array([[x, y], [-x, y], [-x, -y], [x, -y]])
        return np.concatenate([np.column_stack([flat, np.full(4, z)]) for z in (0.0, self.height)])

    def axle(self, end: int) -> float:
        """Return the x of the front (0) or the rear (1) axle."""
        return self.length / 2 - self.axles[0] if end == 0 else self.axles[1] - self.length / 2

    def face(self, x: float) -> float:
        """Return how far out the outer faces of the wheels are at x."""
        power = self.rounding[0 if x > 0 else 1]
        return float(self.width / 2 * (1 - abs(2 * x / self.length) ** power) ** (1 / power)) + 0.012


def _outline(length: float, width: float, powers: tuple[float, float]) -> Floats:
    """Return (M, 2) points around a superellipse, counter-clockwise from the middle of the front."""
    a, b = length / 2, width / 2
    quarters = []
    for power in powers:
        # The corner is where the outline runs at 45 degrees.
        corner = (1 + (a / b) ** (power / (power - 1))) ** (-1 / power)
        v = corner * np.sin(np.linspace(0, np.pi / 2, _END))
        end = np.column_stack([a * (1 - v**power) ** (1 / power), b * v])
        u = np.linspace(end[-1, 0] / a, 0, _SIDE)
        side = np.column_stack([a * u, b * (1 - u**power) ** (1 / power)])
        quarters.append(np.concatenate([end, side[1:]]))
    left = np.concatenate([quarters[0], (quarters[1] * [-1, 1])[-2::-1]])
    return np.concatenate([left, (left * [1, -1])[-2:0:-1]])


def _profile(at: Floats, knots: list[float], heights: list[float]) -> Floats:
    """Return heights at positions, smooth between the knots."""
    low = np.clip(np.searchsorted(knots, at) - 1, 0, len(knots) - 2)
    x, z = np.array(knots), np.array(heights)
    t = np.clip((at - x[low]) / (x[low + 1] - x[low]), 0, 1)
    smooth: Floats = z[low] + (z[low + 1] - z[low]) * t * t * (3 - 2 * t)
    return smooth


def _top(car: Car, x: Floats) -> Floats:
    half = car.length / 2
    knots = [-half, half * (car.cabin[1] - 0.02), half * car.cabin[0], half * 0.98]
    return _profile(x, knots, [car.tail, car.belt, car.belt, car.nose])


# Levels of the tub: share of its height, and of its outline.
_LEVELS = ((0.0, 0.994), (0.12, 1.0), (0.4, 1.0), (0.6, 0.997), (0.86, 0.985), (1.0, 0.955))


def _tub_rings(car: Car) -> Floats:
    flat = _outline(car.length, car.width, car.rounding)
    ends = np.abs(2 * flat[:, 0] / car.length) ** 6
    bottom = car.clearance + car.rise * ends
    rings = []
    for share, scale in _LEVELS:
        xy = flat * scale
        rings.append(np.column_stack([xy, bottom + share * (_top(car, xy[:, 0]) - bottom)]))
    return np.stack(rings)


def _tub(car: Car) -> list[Faces]:
    rings = _tub_rings(car)
    quads = strips(rings)
    middle = quads.mean(axis=2)
    u, v = 2 * middle[..., 0] / car.length, 2 * middle[..., 1] / car.width
    level = np.arange(len(quads))[:, None]
    end = np.abs(u) > 0.93
    color = np.broadcast_to(np.asarray(car.paint), middle.shape).copy()
    color[(level < 2) & end] = car.bumper
    color[(level < 1) & ~end] = car.bumper
    color[(level == 2) & (u > 0.95) & (np.abs(v) < 0.55)] = _DARK
    front, rear = ((level == 3) & (sign * u > 0.9) & (np.abs(v) > 0.5) for sign in (1, -1))
    color[front], color[rear] = (0.9, 0.88, 0.8), (0.45, 0.01, 0.01)
    body = faces(quads, color, gloss=0.35)
    body.glow[:] = np.where(front | rear, car.lamps, 0.0).ravel()
    edge = _outline(car.length, car.width, car.rounding)
    scales = np.array([0.955, 0.86, 0.68, 0.45, 0.22, 0.01])
    deck = np.stack([np.column_stack([edge * s, _top(car, edge[:, 0] * s) + 0.05 * (0.912 - s * s)]) for s in scales])
    top = strips(deck)
    at = top.mean(axis=2)
    # What the cabin covers is left out: it would come through in the painter's order.
    foot = _cabin_ring(car, 0.0)
    front_x, rear_x = foot[:, 0].max(), foot[:, 0].min()
    free = (at[..., 0] > front_x - 0.3) | (at[..., 0] < rear_x + 0.3) | (np.abs(at[..., 1]) > 0.4 * car.width)
    tones = np.broadcast_to(np.asarray(car.paint), at.shape).copy()
    if car.stripe is not None:
        tones[np.abs(at[..., 1]) < 0.16 * car.width] = car.stripe
    hood = faces(top[free], tones[free], gloss=0.35, lead=-0.12)
    floor = strips(np.stack([rings[0] * [s, s, 1] for s in (0.01, 0.5, 1.0)]))
    return [body, hood, faces(floor, _DARK)]


# Levels of the cabin: share of its height. The glass is between the second and the third.
_CABIN = (0.0, 0.1, 0.84, 0.95, 1.0)


def _cabin_ring(car: Car, share: float) -> Floats:
    half = car.length / 2
    front = half * car.cabin[0] - car.rake[0] * share**1.3
    rear = half * car.cabin[1] + car.rake[1] * share**1.3
    width = car.width * 0.93 * (1 - car.tumble * share**1.6)
    round_off = 1 - 0.05 * max(0.0, (share - 0.84) / 0.16) ** 2
    flat = _outline((front - rear) * round_off, width * round_off, (5.0, 5.0))
    flat[:, 0] += (front + rear) / 2
    foot = _top(car, flat[:, 0]) - 0.02
    return np.column_stack([flat, foot + share * (car.height - 0.04 - foot)])


def _cabin(car: Car) -> list[Faces]:
    rings = np.stack([_cabin_ring(car, share) for share in _CABIN])
    quads = strips(rings)
    # Pillars: at the corners of the outline, and in the middle of the sides.
    number = np.arange(quads.shape[1]) % (2 * _QUARTER)
    quarter = np.minimum(number, 2 * _QUARTER - 1 - number)
    pillar = (np.abs(quarter - (_END - 1.5)) < 1) | (quarter == _QUARTER - 1)
    glass = np.zeros(quads.shape[:2], dtype=np.bool_)
    glass[1] = ~pillar
    color = np.where(glass[..., None], _GLASS, np.asarray(car.roof))
    color[0] = car.paint
    body = faces(quads, color, gloss=0.3)
    body.gloss[glass.ravel()] = 0.85
    crown = [rings[-1]]
    center = rings[-1].mean(axis=0)
    for scale in (0.8, 0.5, 0.2, 0.01):
        ring = center + (rings[-1] - center) * scale
        ring[:, 2] += 0.04 * (1 - scale * scale)
        crown.append(ring)
    top = strips(np.stack(crown))
    tones = np.broadcast_to(np.asarray(car.roof), (*top.shape[:2], 3)).copy()
    if car.stripe is not None:
        tones[np.abs(top.mean(axis=2)[..., 1]) < 0.16 * car.width] = car.stripe
    return [body, faces(top, tones, gloss=0.3)]


def _plates(car: Car) -> list[Faces]:
    plates = []
    for sign, color in ((1.0, (0.75, 0.75, 0.72)), (-1.0, (0.75, 0.6, 0.1))):
        x = sign * (car.length / 2 + 0.004)
        low = car.clearance + car.rise + 0.3 * (car.nose - car.clearance)
        y = np.array([-0.24, 0.24, 0.24, -0.24]) * sign
        z = low + np.array([0, 0, 0.11, 0.11])
        plates.append(faces(np.column_stack([np.full(4, x), y, z]), color, lead=0.1))
    return plates


def _mirrors(car: Car) -> list[Faces]:
    box = block((0.1, 0.2, 0.13), car.belt + 0.01, 0.2)
    x = car.length / 2 * car.cabin[0] - 0.35
    both = np.concatenate([placed(box, x, side * (car.width / 2 + 0.03), 0.0) for side in (1, -1)])
    return [faces(both, car.paint, gloss=0.2, lead=0.03)]


def _wheels(car: Car) -> list[Faces]:
    return [part for end in (0, 1) for sign in (1.0, -1.0) for part in _wheel(car, car.axle(end), sign)]


def _wheel(car: Car, x: float, sign: float) -> list[Faces]:
    """Return the wheel at x on the left (sign 1) or on the right (-1), and the arch above it."""
    radius, around = car.wheel, np.linspace(0, 2 * np.pi, _SECTORS + 1)
    outer = np.array([x, sign * car.face(x), radius])
    inner, behind = outer - [0, sign * 0.2, 0], outer - [0, sign * 0.008, 0]
    spokes = np.arange(_SECTORS) * car.spokes % _SECTORS < _SECTORS // 2
    rim = np.where(spokes[:, None], np.asarray(car.rim), np.asarray(_DARK))
    # The rest of the wheel is inside the body.
    low = np.arcsin(np.clip((car.clearance + car.rise + 0.1) / radius - 1, -0.5, 1))
    below = np.linspace(np.pi - low, 2 * np.pi + low, 15)
    rise = np.arcsin(np.clip((car.clearance + 0.03) / radius - 1, -0.9, 0.9))
    arch = np.linspace(rise, np.pi - rise, 13)
    near, far = (outer, inner) if sign > 0 else (inner, outer)
    one, two = _circle(near, below, radius), _circle(far, below, radius)
    return [
        faces(_ring(outer, around, sign, (0.66, 1.0), radius), _RUBBER, gloss=0.04, lead=0.25),
        faces(_ring(outer, around, sign, (0.2, 0.66), radius), rim, gloss=0.2, lead=0.25),
        faces(_ring(outer, around, sign, (0.0, 0.2), radius), car.rim, gloss=0.2, lead=0.25),
        faces(_ring(behind, arch, sign, (0.7, 1.08), radius), _DARK, lead=0.12),
        faces(_ring(inner, below, -sign, (0.0, 1.0), radius), _DARK),
        faces(np.stack([one[:-1], one[1:], two[1:], two[:-1]], axis=1), _RUBBER),
    ]


def _circle(center: Floats, angles: Floats, radius: float) -> Floats:
    return center + radius * np.column_stack([np.cos(angles), np.zeros(len(angles)), np.sin(angles)])


def _ring(center: Floats, angles: Floats, sign: float, shares: tuple[float, float], radius: float) -> Floats:
    inner, outer = (_circle(center, angles, share * radius) for share in shares)
    # Seen from +y, x runs to the left.
    if sign > 0:
        return np.stack([inner[:-1], inner[1:], outer[1:], outer[:-1]], axis=1)
    return np.stack([inner[1:], inner[:-1], outer[:-1], outer[1:]], axis=1)
