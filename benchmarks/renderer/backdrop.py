"""What is behind the objects: sky or walls above the horizon, textured ground below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.renderer.faces import Floats
from benchmarks.renderer.light import Light
from benchmarks.renderer.view import Camera

_TILE = 512


@dataclass(frozen=True, eq=False)
class Shadow:
    """A soft shadow under a car: its place (x, y, heading), half length and half width, and its shift by the light."""

    x: float
    y: float
    heading: float
    half: tuple[float, float]
    shift: Floats


@dataclass(frozen=True, eq=False)
class Texture:
    """A texture that repeats.

    Attributes:
        tile: (512, 512) from -1 to 1.
        colors: (2, 3) linear RGB at -1 and 1.
        meters: its side on the ground or the wall.
        turn: in radians.
    """

    tile: Floats
    colors: Floats
    meters: float
    turn: float

    def at(self, x: Floats, y: Floats, pixel: Floats) -> Floats:
        """Return the colors (..., 3) at places in meters; ``pixel`` is the size of a pixel there, for less contrast."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        scale = _TILE / self.meters
        # The tile's side is a power of two.
        u = np.floor(x * (cos * scale) + y * (sin * scale)).astype(np.int64) & (_TILE - 1)
        v = np.floor(y * (cos * scale) - x * (sin * scale)).astype(np.int64) & (_TILE - 1)
        fade = np.clip(0.04 * self.meters / np.maximum(pixel, 1e-6), 0, 1)
        t = 0.5 + 0.5 * self.tile[v, u] * fade
        found: Floats = self.colors[0] + (self.colors[1] - self.colors[0]) * t[..., None]
        return found


def sample_texture(rng: np.random.Generator, brightness: tuple[float, float]) -> Texture:
    """Return a random texture: noise, stripes, checks, tiles, blobs or lanes."""
    kind = rng.integers(6)
    row, column = np.meshgrid(np.arange(_TILE), np.arange(_TILE), indexing="ij")
    noise = _noise(rng)
    count = int(rng.integers(2, 12))
    if kind == 0:
        tile = noise
    elif kind == 1:
        tile = np.sign(np.sin(2 * np.pi * count * (row / _TILE))) * 0.8 + 0.2 * noise
    elif kind == 2:
        tile = np.sign(np.sin(2 * np.pi * count * row / _TILE) * np.sin(2 * np.pi * count * column / _TILE)) * 0.7
        tile = tile + 0.3 * noise
    elif kind == 3:
        step = _TILE // count
        joint = (row % step < 5) | ((column + row // step % 2 * (step // 2)) % step < 5)
        tile = np.where(joint, -1.0, 0.6) + 0.4 * noise
    elif kind == 4:
        tile = np.tanh(4 * noise)
    else:
        tile = np.where(np.abs(column - _TILE // 2) < 12, 1.0, -0.5) * np.where(row % 256 < 150, 1, 0.5) + 0.2 * noise
    low, high = brightness
    colors = rng.uniform(low, high) * rng.uniform(0.75, 1.25, (2, 3))
    colors[1] *= rng.uniform(1.1, 3.5)
    shown = np.clip(tile, -1, 1).astype(np.float32), np.clip(colors, 0.005, 0.8).astype(np.float32)
    return Texture(*shown, float(rng.uniform(2, 14)), float(rng.uniform(0, 6.3)))


def _noise(rng: np.random.Generator) -> Floats:
    """Return smooth noise (512, 512) that repeats, about -1 to 1."""
    total = np.zeros((_TILE, _TILE))
    for cells in (4, 16, 64, 256):
        grid = rng.normal(size=(cells, cells))
        grid = np.pad(grid, 2, mode="wrap")
        step = _TILE // cells
        grown = cv2.resize(grid, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += grown[2 * step : 2 * step + _TILE, 2 * step : 2 * step + _TILE] / cells ** float(rng.uniform(0.2, 0.7))
    scaled: Floats = np.clip(total / (2 * total.std()), -1, 1)
    return scaled


def paint_backdrop(
    camera: Camera, light: Light, ground: Texture, wall: Texture | None, distance: float, shadows: Sequence[Shadow]
) -> Floats:
    """Return linear RGB (H, W, 3).

    Args:
        camera: the camera.
        light: the light.
        ground: the ground's look.
        wall: the look of a round wall instead of the sky, up to a height of half its distance.
        distance: of the wall from the camera, in meters.
        shadows: of the cars.
    """
    rays = camera.rays()
    up = rays[..., 2]
    image = light.sky(up)
    flat = np.hypot(rays[..., 0], rays[..., 1])
    if wall is not None:
        height = camera.position[2] + distance * up / np.maximum(flat, 1e-3)
        around = np.arctan2(rays[..., 1], rays[..., 0]) * distance
        pixel = np.full_like(up, distance / camera.focal)
        color = wall.at(around, height, pixel) * light.sky(np.array(0.2, dtype=np.float32))
        lit = light.hazed(color, np.full_like(up, distance))
        image = np.where((height < distance / 2)[..., None], lit, image)
    reach = camera.position[2] / np.maximum(-up, 1e-4)
    below = (up < 0) & ((reach * flat < distance) if wall is not None else (reach < 300))
    rays, reach = rays[below], reach[below]
    points = camera.position[:2].astype(np.float32) + rays[:, :2] * reach[:, None]
    # A pixel of the ground is longer the flatter it is seen.
    pixel = reach / camera.focal / np.sqrt(np.maximum(-rays[:, 2], 1e-3))
    color = light.on_ground(ground.at(points[:, 0], points[:, 1], pixel), points)
    for shadow in shadows:
        color *= 1 - _darkness(shadow, points)[:, None]
    image[below] = light.hazed(color, reach)
    return image


def _darkness(shadow: Shadow, points: Floats) -> Floats:
    cos, sin = np.cos(shadow.heading), np.sin(shadow.heading)
    total = np.zeros(len(points), dtype=np.float32)
    reach = float(np.hypot(*shadow.half)) * 1.5
    for shift, strength, powers in ((np.zeros(2), 0.75, 3), (shadow.shift, 0.45, 2)):
        x, y = points[:, 0] - (shadow.x + shift[0]), points[:, 1] - (shadow.y + shift[1])
        near = np.flatnonzero(x * x + y * y < reach * reach)
        x, y = x[near], y[near]
        along, aside = (cos * x + sin * y) / shadow.half[0], (cos * y - sin * x) / shadow.half[1]
        dark = strength * np.exp(-0.7 * ((along * along) ** powers + (aside * aside) ** powers))
        total[near] = np.maximum(total[near], dark)
    return total
