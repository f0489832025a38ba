"""The part of an image that a pose pipeline can read around one box.

RTMPose sees a window around the box: GetBBoxCenterScale pads it, RandomBBoxTransform shifts, scales and rotates it, and
TopdownAffine changes it to the network's aspect ratio and warps it. The random numbers of RandomBBoxTransform are
bounded (a truncated normal distribution in [-1, 1]), so the smallest upright rectangle around all possible windows
follows from the arguments of these transforms. A pipeline with any other transform before the warp could read other
pixels, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import atan2, cos, radians, sin
from typing import Any

import numpy as np

from posetools.core.geometry import Floats, Ints
from posetools.errors import RequestError, must_be

# Pixels on every side: one for interpolation, the others because MMPose computes windows in float32.
MARGIN = 3


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the windows of one pipeline go.

    Attributes:
        padding: of the box.
        shift: of the center, at most, as a fraction of the padded box's sides.
        scale: of the padded box, at most.
        rotation: in degrees, at most.
        aspect: of the network's input, width / height.
    """

    padding: float
    aspect: float
    shift: float = 0.0
    scale: float = 1.0
    rotation: float = 0.0

    def extent(self, boxes: Floats) -> Floats:
        """Return the rectangles (N, 4) that hold every window around boxes (N, 4), also outside the image."""
        center = (boxes[:, 2:] + boxes[:, :2]) / 2
        padded = (boxes[:, 2:] - boxes[:, :2]) * self.padding
        width, height = (padded * self.scale).T
        sides = np.stack([np.maximum(width, height * self.aspect), np.maximum(height, width / self.aspect)], axis=1)
        half = self._turned(sides) / 2 + self.shift * padded
        return np.concatenate([center - half, center + half], axis=1)

    def _turned(self, sides: Floats) -> Floats:
        """Return the largest upright extent (N, 2) of a rectangle rotated by up to ``rotation`` either way.

        The extent ``w cos a + h sin a`` grows up to the angle of the diagonal, and falls from there on.
        """
        # All rectangles have the input's aspect ratio.
        diagonal = atan2(1.0, self.aspect)
        most = radians(min(abs(self.rotation), 90.0))
        across, down = min(most, diagonal), min(most, np.pi / 2 - diagonal)
        width, height = sides.T
        return np.stack(
            [width * cos(across) + height * sin(across), height * cos(down) + width * sin(down)],
            axis=1,
        )


def reach_of(transforms: Sequence[Callable[..., Any]], what: str) -> Reach:
    """Return the reach of a built pipeline; ``what`` names it in messages.

    Raises:
        RequestError: it must be LoadImage, box transforms and TopdownAffine, in this order.
    """
    from mmpose.datasets.transforms import GetBBoxCenterScale, LoadImage, RandomBBoxTransform, RandomFlip, TopdownAffine

    values: dict[str, float] = {}
    kinds = [type(one) for one in transforms]
    if kinds[:1] != [LoadImage] or kinds.count(LoadImage) != 1 or kinds.count(TopdownAffine) != 1:
        raise RequestError(
            must_be(what, "LoadImage, box transforms and one TopdownAffine", [kind.__name__ for kind in kinds]),
            hint="train without --cache",
        )
    loader: Any = transforms[0]
    if loader.to_float32 or loader.color_type != "color" or loader.ignore_empty:
        raise RequestError(f"{what}: LoadImage must have its default arguments for --cache crops, got {loader}")
    one: Any
    for one in transforms[1:]:
        kind = type(one)
        if kind is TopdownAffine:
            width, height = one.input_size
            values["aspect"] = width / height
            break
        # A mirrored window is as large as before.
        known = (GetBBoxCenterScale, RandomBBoxTransform, RandomFlip)
        if kind not in known or (kind is not RandomFlip and kinds.count(kind) > 1):
            raise RequestError(
                f"{what}: --cache crops does not support {kind.__name__} before TopdownAffine",
                hint="remove it, move it after TopdownAffine, or train without --cache",
            )
        if kind is GetBBoxCenterScale:
            values["padding"] = float(one.padding)
        elif kind is RandomBBoxTransform:
            values |= _of_random(one)
    if "padding" not in values:
        raise RequestError(f"{what}: GetBBoxCenterScale must be there for --cache crops")
    return Reach(**values)


def _of_random(transform: Any) -> dict[str, float]:
    scale = float(max(transform.scale_factor))
    return {
        "shift": abs(float(transform.shift_factor)) if transform.shift_prob > 0 else 0.0,
        # An unscaled box has factor 1.
        "scale": max(scale, 1.0) if transform.scale_prob < 1 else scale,
        "rotation": abs(float(transform.rotate_factor)) if transform.rotate_prob > 0 else 0.0,
    }


def crop_rects(boxes: Floats, reaches: Sequence[Reach], size: tuple[int, int]) -> Ints:
    """Return the pixels of an image that any of the pipelines can read around each box.

    Args:
        boxes: (N, 4).
        reaches: of the pipelines.
        size: (width, height) of the image.

    Returns:
        (N, 4): x1 y1 x2 y2, the last two exclusive; never empty, and within the image. If all of them together are
        at least as large as the image, each is the whole image.
    """
    extents = np.stack([reach.extent(boxes) for reach in reaches])
    low = np.floor(extents[..., :2].min(axis=0)) - MARGIN
    high = np.ceil(extents[..., 2:].max(axis=0)) + MARGIN + 1
    edge = np.array(size, dtype=np.float64)
    low = np.clip(low, 0, edge - 1)
    high = np.clip(high, low + 1, edge)
    rects: Ints = np.concatenate([low, high], axis=1).astype(np.int64)
    if np.prod(rects[:, 2:] - rects[:, :2], axis=1).sum() >= size[0] * size[1]:
        rects[:] = (0, 0, *size)
    return rects
