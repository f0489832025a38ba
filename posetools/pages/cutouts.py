"""Crops of images in a page: a region at the size of a tile, with objects drawn into it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from posetools.core.categories import Categories
from posetools.core.geometry import Floats, Ints
from posetools.core.skeleton import Color, Skeleton
from posetools.errors import InputError
from posetools.imaging.drawing import Style, draw_instances, fitting_size
from posetools.imaging.header import open_decoded

# Marks wrong points.
WRONG: Color = (255, 40, 90)
# Largest width and height of an image in the page.
_TILE = 340, 255
# Margin of an object's crop, as a share of its longer side, and at least these pixels.
_CROP_MARGIN, _CROP_MARGIN_PIXELS = 0.2, 6.0
_STYLE = Style(scale=1.8)


@dataclass(frozen=True, eq=False, slots=True)
class Cutout:
    """A region of an image at the size of a tile.

    Attributes:
        image: the region.
        corner: (2,) its upper left corner, in pixels of the image.
        factor: its scale.
    """

    image: Pillow.Image
    corner: Floats
    factor: float

    def place(self, boxes: Floats, keypoints: Floats) -> tuple[Floats, Floats]:
        """Return (N, 4) boxes and (N, K, 3) keypoints of the image in coordinates of the crop."""
        moved = keypoints.copy()
        moved[:, :, :2] = (keypoints[:, :, :2] - self.corner) * self.factor
        return (boxes - np.tile(self.corner, 2)) * self.factor, moved

    def draw(
        self, boxes: Floats, keypoints: Floats, what: Skeleton | Categories, category_ids: Ints | None = None
    ) -> Pillow.Image:
        """Return the crop with objects drawn into it, as by ``draw_instances``."""
        placed = self.place(boxes, keypoints)
        return draw_instances(self.image, *placed, what, category_ids=category_ids, style=_STYLE)


def cut_out(image: Pillow.Image, region: Sequence[int], scale: float) -> Cutout:
    """Return a region of an image.

    Args:
        image: of ``open_upright``.
        region: x1, y1, x2, y2 in pixels of the image.
        scale: the fraction of the image's size that ``image`` has.
    """
    x1, y1, x2, y2 = region
    shown = fitting_size((x2 - x1, y2 - y1), _TILE)
    box = (scale * x1, scale * y1, scale * x2, scale * y2)
    cut = image.resize(shown, Pillow.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    return Cutout(cut, np.array([x1, y1], dtype=np.float64), shown[0] / (x2 - x1))


def open_upright(path: Path) -> tuple[Pillow.Image, float] | None:
    """Return an upright image, possibly reduced for speed, and its scale; None if it cannot be read."""
    try:
        return open_decoded(path, "RGB", (8 * _TILE[0], 8 * _TILE[1]))
    except InputError:
        return None


def region_of(boxes: Floats, keypoints: Floats, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the region around an object: its box and labeled points, with a margin of at least a few pixels.

    Args:
        boxes: (1, 4) x1, y1, x2, y2.
        keypoints: (1, K, 3) x, y, visibility.
        size: the image's (width, height); the result is inside.
    """
    labeled = keypoints[0][(keypoints[0, :, 2] > 0) & np.isfinite(keypoints[0]).all(axis=1), :2]
    limit = np.array(size, dtype=np.float64)
    corners = np.concatenate([boxes.reshape(2, 2), labeled]).clip(0, limit)
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = max(_CROP_MARGIN * float((high - low).max()), _CROP_MARGIN_PIXELS)
    low, high = np.floor(low - margin).clip(0, limit), np.ceil(high + margin).clip(0, limit)
    low, high = np.minimum(low, limit - 1), np.maximum(high, low + 1)
    # Widen very flat or narrow crops: the longer side is at most three times the other.
    for axis in (0, 1):
        lacking = (high - low).max() / 3 - (high - low)[axis]
        if lacking > 0:
            low[axis] = max(0.0, math.floor(low[axis] - lacking / 2))
            high[axis] = min(limit[axis], math.ceil(high[axis] + lacking / 2))
    x1, y1, x2, y2 = np.concatenate([low, high]).astype(int).tolist()
    return x1, y1, x2, y2
