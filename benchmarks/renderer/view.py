"""What a camera sees of faces: the painter's algorithm, and labels from the same projection.

Pixels are continuous: (0, 0) is the upper left corner of the image, and the first pixel's center is at (0.5, 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.renderer.faces import Faces, Floats

# Sub-pixels along each side of a pixel; OpenCV takes coordinates in 16ths of a sub-pixel.
SCALE = 2
_SHIFT = 4
_NEAREST = 0.25
# A face less than this in front of a point does not occlude it: it belongs to the point's own surface.
_TOLERANCE = 0.05
_DECIMALS = 3


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera.

    Attributes:
        position: (3,) in meters.
        axes: (3, 3) right, down and forward as rows of unit length.
        focal: in pixels.
        size: width, height in pixels.
    """

    position: Floats
    axes: Floats
    focal: float
    size: tuple[int, int]

    @classmethod
    def looking(cls, position: Floats, target: Floats, roll: float, focal: float, size: tuple[int, int]) -> Camera:
        """Return the camera that looks at ``target``, turned about its axis by ``roll`` radians."""
        forward = (target - position) / np.linalg.norm(target - position)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        cos, sin = np.cos(roll), np.sin(roll)
        return cls(position, np.stack([cos * right + sin * down, cos * down - sin * right, forward]), focal, size)

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Return the pixels (..., 2) of points (..., 3), and their depths (...,) along the axis in meters."""
        seen = (points - self.position) @ self.axes.T
        depth = seen[..., 2]
        pixels = seen[..., :2] / np.maximum(depth, 1e-3)[..., None] * self.focal + np.array(self.size) / 2
        return pixels, depth

    def rays(self) -> Floats:
        """Return the directions (H, W, 3) through the pixels' centers, of unit length, as float32."""
        width, height = self.size
        x = np.arange(width, dtype=np.float32) + 0.5 - width / 2
        y = np.arange(height, dtype=np.float32)[:, None] + 0.5 - height / 2
        right, down, forward = self.axes.astype(np.float32)
        rays: Floats = x[..., None] * right + y[..., None] * down + np.float32(self.focal) * forward
        rays /= np.sqrt(x * x + y * y + np.float32(self.focal**2))[..., None]
        return rays


@dataclass(frozen=True, eq=False)
class View:
    """The faces that a camera sees from their front.

    Attributes:
        index: (M,) their numbers among all faces.
        pixels: (M, 4, 2) their corners.
        depth: (M, 4) in meters.
        owners: (M,) the car that each belongs to, -1 for other objects.
        seen: (H * SCALE, W * SCALE) which of the M faces each sub-pixel shows, -1 for none.
    """

    index: npt.NDArray[np.int64]
    pixels: Floats
    depth: Floats
    owners: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int32]

    def share_seen(self, car: int) -> float:
        """Return the share of a car's faces, by area in the image, that is in the image and not occluded."""
        own = self.owners == car
        sides = self.pixels[own, 2] - self.pixels[own, 0], self.pixels[own, 3] - self.pixels[own, 1]
        area = np.abs(sides[0][:, 0] * sides[1][:, 1] - sides[0][:, 1] * sides[1][:, 0])
        at = np.floor(self.pixels[own].mean(axis=1) * SCALE).astype(np.int64)
        height, width = self.seen.shape
        inside = ((at >= 0) & (at < [width, height])).all(axis=1)
        shown = np.full(len(at), -1)
        shown[inside] = self.seen[at[inside, 1], at[inside, 0]]
        visible = (shown >= 0) & (self.owners[shown] == car)
        return float((area * visible).sum() / area.sum())

    def box(self, car: int, size: tuple[int, int]) -> Floats | None:
        """Return the tight box (4,) of the part of a car that is in the image, occluded or not; None if nothing is."""
        own = self.pixels[self.owners == car]
        points = own.reshape(-1, 2)
        if ((points < 0) | (points > size)).any():
            # Points along the sides, so that a face that the image's edge cuts counts as well.
            t = np.linspace(0, 1, 17)[:, None, None, None]
            points = (own * (1 - t) + np.roll(own, -1, axis=1) * t).reshape(-1, 2)
        kept = points[((points >= 0) & (points <= size)).all(axis=1)]
        return np.concatenate([kept.min(axis=0), kept.max(axis=0)]).round(_DECIMALS) if len(kept) else None

    def label(self, pixels: Floats, depth: Floats, size: tuple[int, int]) -> Floats:
        """Return the (K, 3) keypoints: x, y and 2 if it is visible, 1 if occluded; zeros outside the image."""
        hidden = np.zeros(len(pixels), dtype=np.bool_)
        for corners in ((0, 1, 2), (0, 2, 3)):
            a, b, c = (self.pixels[:, None, corner] for corner in corners)
            near = 1 / np.maximum(self.depth[:, None, corners], 1e-3)
            whole = _cross(b - a, c - a)
            with np.errstate(divide="ignore", invalid="ignore"):
                weights = np.stack([_cross(b - pixels, c - pixels), _cross(c - pixels, a - pixels)], axis=-1)
                weights /= whole[..., None]
                rest = 1 - weights.sum(axis=-1)
                # The reciprocal of the depth is linear in the image.
                front = weights[..., 0] * near[..., 0] + weights[..., 1] * near[..., 1] + rest * near[..., 2]
                covers = (weights >= 0).all(axis=-1) & (rest >= 0) & (front > 1 / (depth - _TOLERANCE))
            hidden |= covers.any(axis=0)
        found = np.column_stack([pixels.round(_DECIMALS), np.where(hidden, 1.0, 2.0)])
        found[((pixels < 0) | (pixels > size)).any(axis=1)] = 0
        return found


def view(camera: Camera, faces: Faces, owners: npt.NDArray[np.int64]) -> View:
    """Return what a camera sees of faces; ``owners`` (N,) is the car of each, -1 for other objects."""
    pixels, depth = camera.project(faces.corners)
    diagonals = pixels[:, 2] - pixels[:, 0], pixels[:, 3] - pixels[:, 1]
    width, height = camera.size
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    kept = (
        # Pixels' y runs downward, so a face seen from its front is clockwise there.
        (_cross(*diagonals) < 0) & (depth.min(axis=1) > _NEAREST) & (np.abs(pixels).max(axis=(1, 2)) < 20 * width)
    )
    index = np.flatnonzero(kept)
    shown = index[((high[index] > 0) & (low[index] < [width, height])).all(axis=1)]
    order = shown[np.argsort(faces.lead[shown] - depth[shown].mean(axis=1), kind="stable")]
    seen = np.full((height * SCALE, width * SCALE), -1, dtype=np.int32)
    number = np.full(len(pixels), -1)
    number[index] = np.arange(len(index))
    corners = np.round((pixels[order] * SCALE - 0.5) * 2**_SHIFT).astype(np.int32)
    for quad, own in zip(corners, number[order].tolist(), strict=True):
        cv2.fillConvexPoly(seen, quad, own, lineType=8, shift=_SHIFT)
    return View(index, pixels[index], depth[index], owners[index], seen)


def _cross(a: Floats, b: Floats) -> Floats:
    found: Floats = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return found
