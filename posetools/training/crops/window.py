"""How much of an image a pose pipeline can ever look at round one box.

RTMPose sees a window round the box: GetBBoxCenterScale pads it, RandomBBoxTransform shifts, scales and turns it, and
TopdownAffine gives it the network's aspect and warps it. The random numbers of RandomBBoxTransform are bounded (a
truncated normal distribution in [-1, 1]), so there is a largest window, and the smallest upright rectangle round all
possible windows follows from the arguments of these transforms. A pipeline with any other transform before the warp
could look elsewhere, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import atan2, cos, radians, sin
from typing import Any

import numpy as np

from posetools.core.geometry import Floats, Ints
from posetools.errors import RequestError, must_be

# Pixels on every side: one for the interpolation, the others for the float32 that MMPose computes windows in.
MARGIN = 3


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the windows of one pipeline go.

    Attributes:
        padding: of the box.
        shift: of the center, at most, as a share of the padded box's sides.
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
        """Return the rectangles (N, 4) that hold every window round boxes (N, 4), beyond the image too."""
        center = (boxes[:, 2:] + boxes[:, :2]) / 2
        padded = (boxes[:, 2:] - boxes[:, :2]) * self.padding
        width, height = (padded * self.scale).T
        sides = np.stack([np.maximum(width, height * self.aspect), np.maximum(height, width / self.aspect)], axis=1)
        half = self._turned(sides) / 2 + self.shift * padded
        return np.concatenate([center - half, center + half], axis=1)

    def _turned(self, sides: Floats) -> Floats:
        """Return the largest upright extent (N, 2) of a rectangle that is turned by up to ``rotation`` either way.

        The extent ``w cos a + h sin a`` grows up to the angle of the diagonal, and falls from there on.
        """
        # All rectangles have the aspect of the input.
        diagonal = atan2(1.0, self.aspect)
        most = radians(min(abs(self.rotation), 90.0))
        across, down = min(most, diagonal), min(most, np.pi / 2 - diagonal)
        width, height = sides.T
        return np.stack(
            [width * cos(across) + height * sin(across), height * cos(down) + width * sin(down)],
            axis=1,
        )


def reach_of(transforms: Sequence[Callable[..., Any]], what: str) -> Reach:
    """Return how far the windows of a built pipeline go; ``what`` names it in messages.

    Raises:
        RequestError: it is no pipeline of LoadImage, box transforms and TopdownAffine, in this order.
    """
    from mmpose.datasets.transforms import GetBBoxCenterScale, LoadImage, RandomBBoxTransform, RandomFlip, TopdownAffine

    values: dict[str, float] = {}
    kinds = [type(one) for one in transforms]
    if kinds[:1] != [LoadImage] or kinds.count(LoadImage) != 1 or kinds.count(TopdownAffine) != 1:
        raise RequestError(
            f"{must_be(what, 'LoadImage, box transforms and one TopdownAffine', [kind.__name__ for kind in kinds])}\n"
            "  without --cache it trains as it is"
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
                f"{what}: --cache crops cannot tell what {kind.__name__} lets TopdownAffine look at\n"
                "  take it out of the pipeline, move it behind TopdownAffine, or train without --cache"
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
        # A box that is not scaled is as large as it is.
        "scale": max(scale, 1.0) if transform.scale_prob < 1 else scale,
        "rotation": abs(float(transform.rotate_factor)) if transform.rotate_prob > 0 else 0.0,
    }


def crop_rects(boxes: Floats, reaches: Sequence[Reach], size: tuple[int, int]) -> Ints:
    """Return the pixels of an image that any of several pipelines can look at round each box.

    Args:
        boxes: (N, 4).
        reaches: of the pipelines.
        size: (width, height) of the image.

    Returns:
        (N, 4): x1 y1 x2 y2, the last two exclusive; never empty, and within the image. Where all of them together
        are no less than the image, each is the whole image.
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
