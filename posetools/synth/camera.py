"""The camera: perspective projection without lens distortion, and the visible triangle at each pixel.

The rasterizer is a z-buffer, as array expressions over all triangles at once. A triangle covers a pixel if it contains
the pixel's center. 1 / depth is linear in the image, so each triangle has a plane ``1 / depth = a x + b y + c``, and
the nearest triangle has the largest value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from posetools.core.geometry import Bools, Floats, Ints
from posetools.synth.car import LinearRGB


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        position: x, y, z in meters.
        target: the point in the center of the image.
        roll: rotation about the camera's axis, in radians, clockwise as seen by the camera.
        focal: the focal length in pixels.
        size: the image's (width, height) in pixels; the axis goes through its center.
    """

    position: LinearRGB
    target: LinearRGB
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
        """Return the (N, 2) pixels of (N, 3) points, and their (N,) depths along the axis in meters.

        The pixels of points at depth 0 or behind the camera are meaningless.
        """
        seen = (points - np.array(self.position)) @ self.axes.T
        depth = seen[:, 2]
        safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
        pixels: Floats = self.focal * seen[:, :2] / safe[:, None] + np.array(self.size) / 2
        return pixels, depth

    def rays(self, scale: int) -> npt.NDArray[np.float32]:
        """Return (3, H, W) float32: the vector from the camera per meter of depth, at the center of each sub-pixel.

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
        """Return the point (x, y) of the ground at a pixel, or None at and above the horizon."""
        right, down, forward = self.axes
        width, height = self.size
        ray = forward + right * (pixel[0] - width / 2) / self.focal + down * (pixel[1] - height / 2) / self.focal
        if ray[2] > -1e-6:
            return None
        reach = -self.position[2] / ray[2]
        return float(self.position[0] + reach * ray[0]), float(self.position[1] + reach * ray[1])


@dataclass(frozen=True, eq=False)
class Screen:
    """T triangles as the camera sees them.

    Attributes:
        corners: (T, 3, 2) in pixels.
        planes: (T, 3): a, b, c of ``1 / depth = a x + b y + c``, depth in meters.
        front: (T,) whether the outside is visible.
    """

    corners: Floats
    planes: Floats
    front: Bools

    def inverse_at(self, pixels: Floats) -> Floats:
        """Return 1 / depth of each triangle's plane at a pixel of its own: (T, 2) pixels, or any (..., T, 2)."""
        value: Floats = self.planes[:, 0] * pixels[..., 0] + self.planes[:, 1] * pixels[..., 1] + self.planes[:, 2]
        return value


@dataclass(frozen=True, eq=False)
class Buffers:
    """The visible triangle at each pixel of an (H, W) image.

    Attributes:
        triangle: (H, W) index of the triangle, -1 if there is none.
        inverse_depth: (H, W) 1 / depth, 0 if there is no triangle.
        covered: (G, H * W) for each group of triangles, where it would be visible on its own.
    """

    triangle: npt.NDArray[np.int32]
    inverse_depth: Floats
    covered: Bools


def to_screen(pixels: Floats, depth: Floats, triangles: Ints) -> Screen:
    """Return the projected triangles; all corners must be in front of the camera.

    Args:
        pixels: (V, 2) projected vertices.
        depth: (V,) their depths, positive.
        triangles: (T, 3) indices of vertices, counter-clockwise from outside.
    """
    corners = pixels[triangles]
    inverse = 1.0 / depth[triangles]
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    twice_area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    safe = np.where(np.abs(twice_area) < 1e-12, 1e-12, twice_area)
    rise_one, rise_two = inverse[:, 1] - inverse[:, 0], inverse[:, 2] - inverse[:, 0]
    a = (rise_one * two[:, 1] - rise_two * one[:, 1]) / safe
    b = (rise_two * one[:, 0] - rise_one * two[:, 0]) / safe
    c = inverse[:, 0] - a * corners[:, 0, 0] - b * corners[:, 0, 1]
    # The image's y axis points down, so triangles counter-clockwise from outside have a negative area here.
    return Screen(corners, np.stack([a, b, c], axis=1), twice_area < -1e-12)


def rasterize(screen: Screen, group: Ints, groups: int, size: tuple[int, int], scale: int) -> Buffers:
    """Return the visible triangle at each pixel.

    Args:
        screen: the T triangles.
        group: (T,) the group of each triangle; -1 for none.
        groups: G, the number of groups.
        size: the image's (width, height).
        scale: sub-pixels per pixel, along each side; the buffers are of sub-pixels.
    """
    width, height = size[0] * scale, size[1] * scale
    # Far triangles first: most pixels then get their final value in the first round.
    order = np.argsort(screen.inverse_at(screen.corners.mean(axis=1)), kind="stable")
    order = order[screen.front[order]]
    corners = screen.corners[order] * scale
    which, pixel, x, y = _fragments(corners, width, height)
    planes = screen.planes[order] * np.array([1 / scale, 1 / scale, 1.0])
    inverse = planes[which, 0] * x + planes[which, 1] * y + planes[which, 2]
    covered = np.zeros((groups, width * height), dtype=np.bool_)
    group_of = group[order][which]
    grouped = group_of >= 0
    covered[group_of[grouped], pixel[grouped]] = True
    triangle = np.full(width * height, -1, dtype=np.int32)
    nearest = np.zeros(width * height)
    ids = order[which].astype(np.int32)
    while len(pixel):
        # Of several entries for one pixel the last one is stored; nearer ones try again.
        nearest[pixel] = inverse
        triangle[pixel] = ids
        again = inverse > nearest[pixel]
        pixel, inverse, ids = pixel[again], inverse[again], ids[again]
    return Buffers(triangle.reshape(height, width), nearest.reshape(height, width), covered)


def _fragments(corners: Floats, width: int, height: int) -> tuple[Ints, Ints, Floats, Floats]:
    """Return for every pixel of every triangle: the triangle, the pixel's index, and its center's x and y."""
    rows = corners[:, :, 1]
    first = np.clip(np.ceil(rows.min(axis=1) - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.floor(rows.max(axis=1) - 0.5), -1, height - 1).astype(np.int64)
    owner, row = _ranges(first, last)
    y = row + 0.5
    start, end = corners[owner], np.roll(corners, -1, axis=1)[owner]
    dx, dy = end[..., 0] - start[..., 0], end[..., 1] - start[..., 1]
    # Where the row crosses each side; sides that run down bound it on the left, sides that run up on the right.
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = start[..., 0] + (y[:, None] - start[..., 1]) / dy * dx
    left = np.where(dy > 0, crossing, -np.inf).max(axis=1)
    right = np.where(dy < 0, crossing, np.inf).min(axis=1)
    from_x = np.ceil(np.clip(left, 0.0, width) - 0.5).astype(np.int64)
    to_x = np.floor(np.clip(right, -1.0, width) - 0.5).astype(np.int64)
    span, column = _ranges(np.maximum(from_x, 0), np.minimum(to_x, width - 1))
    return owner[span], row[span] * width + column, column + 0.5, y[span]


def _ranges(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Return every integer of each range (both ends included), and the range of each."""
    count = np.maximum(last - first + 1, 0)
    owner = np.repeat(np.arange(len(first)), count)
    start = np.cumsum(count) - count
    return owner, np.arange(len(owner)) - start[owner] + first[owner]
