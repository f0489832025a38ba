"""The light of a scene: a soft sky, colored lamps, haze; and the colors of faces and of the ground in it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.renderer.faces import Faces, Floats


@dataclass(frozen=True, eq=False)
class Lamp:
    """A lamp: its place (3,) in meters, its color (3,), and the distance at which it has half of its strength."""

    place: Floats
    color: Floats
    reach: float


@dataclass(frozen=True, eq=False)
class Light:
    """The light.

    Attributes:
        zenith, horizon, ground: (3,) linear RGB from above, from the sides and from below, float32.
        lamps: the lamps; the first one may be far away, as the sun.
        haze: share of light lost per meter, replaced by the horizon's.
        exposure: factor on all light.
    """

    zenith: Floats
    horizon: Floats
    ground: Floats
    lamps: tuple[Lamp, ...]
    haze: float
    exposure: float

    def sky(self, up: Floats) -> Floats:
        """Return the light (..., 3) that comes from directions with these z (...,)."""
        high, low = np.sqrt(np.clip(up, 0, 1))[..., None], np.clip(up, -1, 0)[..., None]
        found: Floats = self.horizon + (self.zenith - self.horizon) * high + (self.horizon - self.ground) * low
        return found

    def hazed(self, color: Floats, distance: Floats) -> Floats:
        """Return colors (..., 3) as they look from a distance (...,) in meters."""
        kept = np.exp(-self.haze * distance)[..., None]
        found: Floats = color * kept + self.horizon * (1 - kept)
        return found

    def on(self, faces: Faces, eye: Floats) -> Floats:
        """Return the colors (N, 3) of faces, seen from ``eye``."""
        normal = np.cross(faces.corners[:, 2] - faces.corners[:, 0], faces.corners[:, 3] - faces.corners[:, 1])
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        middle = faces.corners.mean(axis=1)
        to_eye = eye - middle
        distance = np.linalg.norm(to_eye, axis=1)
        to_eye /= distance[:, None]
        # Near the ground less of the sky is seen.
        open_sky = np.clip(0.45 + middle[:, 2:], 0, 1)
        diffuse = self.sky(0.6 * normal[:, 2] + 0.1) * open_sky
        mirrored = np.zeros_like(diffuse)
        facing = np.clip((normal * to_eye).sum(axis=1), 0, 1)
        bounce = 2 * facing[:, None] * normal - to_eye
        for lamp in self.lamps:
            to_lamp = lamp.place - middle
            away = np.linalg.norm(to_lamp, axis=1)
            to_lamp /= away[:, None]
            strength = lamp.color / (1 + (away / lamp.reach) ** 2)[:, None]
            diffuse = diffuse + strength * np.clip((normal * to_lamp).sum(axis=1), 0, None)[:, None]
            mirrored += strength * 6 * np.clip((bounce * to_lamp).sum(axis=1), 0, None)[:, None] ** 40
        gloss = faces.gloss * (0.15 + 0.85 * (1 - facing) ** 3)
        mirrored += self.sky(bounce[:, 2])
        color = faces.color * (diffuse + 2 * faces.glow[:, None]) + gloss[:, None] * mirrored
        return self.hazed(color, distance)

    def on_ground(self, color: Floats, points: Floats) -> Floats:
        """Return the colors (..., 3) of points (..., 2) of the ground in the light, without shadows and haze."""
        total = np.broadcast_to(self.sky(np.array(0.7, dtype=np.float32)), color.shape).copy()
        for lamp in self.lamps:
            x, y, z = lamp.place.tolist()
            square = (points[..., 0] - x) ** 2 + (points[..., 1] - y) ** 2 + z * z
            strength = z / np.sqrt(square) / (1 + square / lamp.reach**2)
            total += strength[..., None] * lamp.color
        return color * total

    def developed(self, color: Floats) -> Floats:
        """Return linear light (..., 3) as display RGB, 0 to 255."""
        shown: Floats = cv2.pow(1 - cv2.exp(-self.exposure * np.clip(color, 0, None)), 1 / 2.2) * 255
        return shown
