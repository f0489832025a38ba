"""Random cars, with the measures of real ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posetools.synth.car import Car
from posetools.synth.mesh import RGB

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Style:
    """From where to where the measures of one kind of car go, in metres (the last two: how often, how many windows)."""

    length: Range
    width: Range
    height: Range
    bonnet: Range
    deck: Range
    rake: Range
    slope: Range
    # Of the height: where the windows begin, and how high the bonnet's front edge is.
    belt: Range
    nose: Range
    clearance: Range
    wheel: Range
    weight: float
    windows: tuple[int, ...]


STYLES = {
    "sedan": Style(
        length=(4.3, 5.2), width=(1.7, 1.95), height=(1.38, 1.5), bonnet=(1.1, 1.4), deck=(0.55, 0.85),
        rake=(0.65, 0.95), slope=(0.5, 0.85), belt=(0.62, 0.67), nose=(0.46, 0.53), clearance=(0.14, 0.18),
        wheel=(0.3, 0.34), weight=0.3, windows=(2,),
    ),
    "hatchback": Style(
        length=(3.6, 4.4), width=(1.6, 1.83), height=(1.42, 1.58), bonnet=(0.85, 1.15), deck=(0.26, 0.34),
        rake=(0.55, 0.85), slope=(0.2, 0.5), belt=(0.58, 0.64), nose=(0.45, 0.53), clearance=(0.14, 0.18),
        wheel=(0.28, 0.33), weight=0.28, windows=(2, 2, 1),
    ),
    "estate": Style(
        length=(4.4, 5.0), width=(1.75, 1.92), height=(1.42, 1.55), bonnet=(1.05, 1.3), deck=(0.26, 0.34),
        rake=(0.6, 0.9), slope=(0.2, 0.45), belt=(0.6, 0.66), nose=(0.46, 0.53), clearance=(0.14, 0.19),
        wheel=(0.31, 0.35), weight=0.12, windows=(3,),
    ),
    "suv": Style(
        length=(4.1, 5.1), width=(1.78, 2.0), height=(1.6, 1.88), bonnet=(0.95, 1.25), deck=(0.26, 0.34),
        rake=(0.5, 0.75), slope=(0.1, 0.35), belt=(0.58, 0.65), nose=(0.5, 0.58), clearance=(0.2, 0.27),
        wheel=(0.34, 0.39), weight=0.2, windows=(2, 3),
    ),
    "van": Style(
        length=(4.3, 5.2), width=(1.78, 2.0), height=(1.72, 1.9), bonnet=(0.62, 0.9), deck=(0.26, 0.3),
        rake=(0.45, 0.7), slope=(0.02, 0.12), belt=(0.52, 0.6), nose=(0.44, 0.52), clearance=(0.16, 0.2),
        wheel=(0.3, 0.34), weight=0.1, windows=(3, 3, 1),
    ),
}  # fmt: skip

# Linear RGB and how often: greys and near-blacks and whites first, as on the road.
_PAINTS: tuple[tuple[RGB, float], ...] = (
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

    def pick(limits: Range) -> float:
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


def sample_paint(rng: np.random.Generator) -> RGB:
    """Return a random car colour: a common one, a little off."""
    weights = np.array([weight for _, weight in _PAINTS])
    base = np.array(_PAINTS[int(rng.choice(len(_PAINTS), p=weights / weights.sum()))][0])
    red, green, blue = np.clip(base * rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3), 0.01, 0.85)
    return float(red), float(green), float(blue)
