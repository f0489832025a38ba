"""The upright rectangle round a shape of a labelme file, and which shapes outline an object."""

from __future__ import annotations

import math

from posetools.formats.collect import Corners
from posetools.formats.labelme_model import SoundShape

# Corners written by other tools are upright to within this many pixels.
_UPRIGHT = 1.0
# Shapes that outline an object -> the fewest points that say where it is.
_OUTLINES = {"oriented_rectangle": 4, "rotation": 4, "polygon": 3, "mask": 2, "circle": 2, "ellipse": 3}


def is_outline(shape: SoundShape, keypoints: int) -> bool:
    """Return whether a shape of the category outlines an object, whose box then is the upright one around it.

    A polygon with as many corners as the skeleton has keypoints may be these in order, and is none.
    """
    count = len(shape.points)
    if count < _OUTLINES.get(shape.shape_type, math.inf) or (shape.shape_type == "polygon" and count == keypoints):
        return False
    x1, y1, x2, y2 = around(shape)
    return x1 < x2 and y1 < y2


def extent(shape: SoundShape) -> Corners:
    """Return the upright rectangle round the points of a shape."""
    xs = [x for x, _ in shape.points]
    ys = [y for _, y in shape.points]
    return min(xs), min(ys), max(xs), max(ys)


def around(shape: SoundShape) -> Corners:
    """Return the upright rectangle round a shape; a circle is its center and a point of its edge."""
    if shape.shape_type != "circle" or len(shape.points) != 2:
        return extent(shape)
    (x, y), edge = shape.points
    radius = math.dist((x, y), edge)
    return x - radius, y - radius, x + radius, y + radius


def is_upright(shape: SoundShape) -> bool:
    """Return whether a shape is 2 opposite or 4 upright corners of a rectangle with width and height."""
    if len(shape.points) not in (2, 4):
        return False
    x1, y1, x2, y2 = extent(shape)
    if x1 == x2 or y1 == y2:
        return False
    if len(shape.points) == 2:
        return True
    corners = {
        (x - x1 > x2 - x, y - y1 > y2 - y)
        for x, y in shape.points
        if min(x - x1, x2 - x) <= _UPRIGHT and min(y - y1, y2 - y) <= _UPRIGHT
    }
    return len(corners) == 4
