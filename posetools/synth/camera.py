"""The camera: a full perspective, without lens distortion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from posetools.core.geometry import Floats
from posetools.synth.mesh import RGB


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        position: x, y, z in metres.
        target: the point that is seen in the middle of the picture.
        roll: how far the camera is turned about its axis, in radians, clockwise for whoever looks through it.
        focal: the focal length in pixels.
        size: the picture's (width, height) in pixels; the axis meets its middle.
    """

    position: RGB
    target: RGB
    roll: float
    focal: float
    size: tuple[int, int]

    @property
    def axes(self) -> Floats:
        """(3, 3): the camera's right, down and forward, as rows of unit length in world coordinates."""
        forward = np.array(self.target) - np.array(self.position)
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        return np.stack([cos * right + sin * down, cos * down - sin * right, forward])

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Return where (N, 3) points are seen, (N, 2) in pixels, and their (N,) depths along the axis in metres.

        The pixels of points at depth 0 or behind the camera mean nothing.
        """
        seen = (points - np.array(self.position)) @ self.axes.T
        depth = seen[:, 2]
        safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
        pixels: Floats = self.focal * seen[:, :2] / safe[:, None] + np.array(self.size) / 2
        return pixels, depth

    def rays(self, scale: int) -> npt.NDArray[np.float32]:
        """Return (3, H, W) float32: the way from the camera per metre of depth, at the middle of each sub-pixel.

        Args:
            scale: sub-pixels per pixel, along each side.
        """
        width, height = self.size
        across = ((np.arange(width * scale) + 0.5) / scale - width / 2) / self.focal
        along = ((np.arange(height * scale) + 0.5) / scale - height / 2) / self.focal
        right, down, forward = self.axes
        return np.stack(
            [
                ((right[i] * across)[None, :] + (down[i] * along + forward[i])[:, None]).astype(np.float32)
                for i in range(3)
            ]
        )

    def on_ground(self, pixel: tuple[float, float]) -> tuple[float, float] | None:
        """Return the point (x, y) of the ground that is seen at a pixel, or None at and above the horizon."""
        right, down, forward = self.axes
        width, height = self.size
        ray = forward + right * (pixel[0] - width / 2) / self.focal + down * (pixel[1] - height / 2) / self.focal
        if ray[2] > -1e-6:
            return None
        reach = -self.position[2] / ray[2]
        return float(self.position[0] + reach * ray[0]), float(self.position[1] + reach * ray[1])
