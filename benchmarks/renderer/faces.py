"""Faces: convex quads with a look. Everything in a scene, cars and other objects, is made of them.

World coordinates are in meters, right-handed, z up; the ground is z = 0. A face is seen from the side from which its
corners are counter-clockwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

# float64 for geometry, float32 for pixels.
Floats = npt.NDArray[np.floating[Any]]
Color = tuple[float, float, float] | Floats


@dataclass(frozen=True, eq=False)
class Faces:
    """N faces.

    Attributes:
        corners: (N, 4, 3) in meters; a triangle repeats a corner.
        color: (N, 3) linear RGB, 0 to 1.
        gloss: (N,) share of light that is mirrored, 0 to 1.
        glow: (N,) light of its own, in multiples of the color.
        lead: (N,) meters by which a face precedes those behind it in the painter's order: decals need it.
    """

    corners: Floats
    color: Floats
    gloss: Floats
    glow: Floats
    lead: Floats

    def placed(self, x: float, y: float, heading: float) -> Faces:
        """Return the faces, turned about the vertical by ``heading`` (radians, from +x to +y) and moved by (x, y)."""
        return replace(self, corners=placed(self.corners, x, y, heading))


def placed(points: Floats, x: float, y: float, heading: float) -> Floats:
    """Return (..., 3) points turned about the vertical by ``heading`` and moved by (x, y)."""
    cos, sin = np.cos(heading), np.sin(heading)
    moved: Floats = points @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) + np.array([x, y, 0.0])
    return moved


def faces(corners: Floats, color: Color, *, gloss: float = 0.0, glow: float = 0.0, lead: float = 0.0) -> Faces:
    """Return faces of one look, or with a color each: corners (..., 4, 3), color (3,) or (..., 3)."""
    flat = corners.reshape(-1, 4, 3)
    tones = np.broadcast_to(np.asarray(color, dtype=np.float64), (*corners.shape[:-2], 3)).reshape(-1, 3)
    return Faces(flat, tones, *(np.full(len(flat), value) for value in (gloss, glow, lead)))


def joined(parts: Sequence[Faces]) -> Faces:
    """Return all faces, in order."""
    names = [field.name for field in fields(Faces)]
    return Faces(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def strips(rings: Floats) -> Floats:
    """Return (R - 1, M, 4, 3) quads between R closed rings of M points, counter-clockwise if they go up and around."""
    turned = np.roll(rings, -1, axis=1)
    return np.stack([rings[:-1], turned[:-1], turned[1:], rings[1:]], axis=2)


def block(size: Sequence[float], base: float, cell: float) -> Floats:
    """Return (N, 4, 3) cells of about ``cell`` meters on the sides and the top of a box around the origin."""
    x, y, z = size[0] / 2, size[1] / 2, size[2]
    around = np.array([[x, -y], [x, y], [-x, y], [-x, -y]])
    sides = []
    for start, end in zip(around, np.roll(around, -1, axis=0), strict=True):
        across = max(round(float(np.hypot(*(end - start))) / cell), 1)
        flat = start + (end - start) * np.linspace(0, 1, across + 1)[:, None]
        sides.append(_sheet(flat, np.linspace(base, base + z, max(round(z / cell), 1) + 1)))
    u, v = (np.linspace(-half, half, max(round(2 * half / cell), 1) + 1) for half in (x, y))
    top = np.stack([*np.meshgrid(u, v), np.full((len(v), len(u)), base + z)], axis=-1)
    return np.concatenate([*sides, _cells(top)])


def billboard(image: Floats, width: float, height: float, base: float) -> Faces:
    """Return an upright sheet, seen from +x, with a face for each run of equal pixels in a row of an image.

    Args:
        image: (H, W, 4) linear RGB and 1 or 0: there or not.
        width: its extent along y, in meters; the image's left is at -y.
        height: its extent along z, in meters.
        base: its lowest z.
    """
    rows, columns = image.shape[:2]
    corners, colors = [], []
    for row in range(rows):
        line = image[row]
        ends = [*(np.flatnonzero((line[1:] != line[:-1]).any(axis=1)) + 1).tolist(), columns]
        start = 0
        low, high = base + height * (1 - (row + 1) / rows), base + height * (1 - row / rows)
        for end in ends:
            if line[start, 3] > 0:
                left, right = width * (start / columns - 0.5), width * (end / columns - 0.5)
                corners.append([(0, left, low), (0, right, low), (0, right, high), (0, left, high)])
                colors.append(line[start, :3])
            start = end
    return faces(np.array(corners, dtype=np.float64), np.array(colors))


def _sheet(flat: Floats, heights: Floats) -> Floats:
    grid = np.empty((len(heights), len(flat), 3))
    grid[..., :2], grid[..., 2] = flat, heights[:, None]
    return _cells(grid)


def _cells(grid: Floats) -> Floats:
    quads = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], axis=2)
    flat: Floats = quads.reshape(-1, 4, 3)
    return flat
