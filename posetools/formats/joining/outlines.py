"""Shapes that outline an object: the upright rectangle around them, and whether a rectangle beside them is its box."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from posetools.core.geometry import pairwise_iou
from posetools.formats.joining.boxes_and_points import Box, overlap
from posetools.formats.joining.shape_labels import Group
from posetools.formats.labelme.model import SoundShape
from posetools.formats.reading import Corners

# Corners written by other tools are upright to within this many pixels.
_UPRIGHT = 1.0
# Shapes that outline an object -> the fewest points that say where it is.
_OUTLINES = {"oriented_rectangle": 4, "rotation": 4, "polygon": 3, "mask": 2, "circle": 2, "ellipse": 2}
# From this intersection over union on, a rectangle and an outline are drawn around the same object.
_SAME = 0.8


def is_outline(shape: SoundShape) -> bool:
    """Return whether a shape of the category may outline an object, whose box then is the upright one around it."""
    if len(shape.points) < _OUTLINES.get(shape.shape_type, math.inf):
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


def center(shape: SoundShape) -> tuple[float, float]:
    """Return the center of a shape."""
    x1, y1, x2, y2 = around(shape)
    return (x1 + x2) / 2, (y1 + y2) / 2


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


class Outlined(NamedTuple):
    """What the outlines of an image are.

    Attributes:
        objects: boxes of objects that have no rectangle.
        doubles: outlines of objects that have a rectangle, or another outline in the same group.
        unclear: outlines that lie over a rectangle and may be another object.
    """

    objects: list[Box]
    doubles: list[Box]
    unclear: list[Box]


def settle(outlines: Sequence[Box], rectangles: Sequence[Box], pointed: Collection[Group]) -> Outlined:
    """Return what each outline of an image is.

    Args:
        outlines: a box around each.
        rectangles: the boxes that are drawn as such.
        pointed: the groups of the image's points: an outline in one of them is an object.
    """
    result = Outlined([], [], [])
    joined: dict[Group, int] = {}
    grouped = {box.group for box in rectangles} - {None}
    corners = [np.array([_corners(box) for box in boxes]).reshape(-1, 4) for boxes in (outlines, rectangles)]
    same = pairwise_iou(*corners) >= _SAME
    alike = {
        one.index: [rectangles[at].index for at in np.flatnonzero(row)] for one, row in zip(outlines, same, strict=True)
    }
    taken = [index for found in alike.values() for index in found]
    for one in outlines:
        mine = alike[one.index]
        if one.group is not None and one.group in grouped:
            result.doubles.append(one)
        elif one.group is not None and one.group in joined:
            # An object that is cut in two by what is before it.
            number = joined[one.group]
            result.objects[number] = replace(result.objects[number], corners=_around_both(result.objects[number], one))
            result.doubles.append(one)
        elif one.group in pointed or not any(overlap(_corners(one), _corners(box)) for box in rectangles):
            if one.group is not None:
                joined[one.group] = len(result.objects)
            result.objects.append(one)
        elif len(mine) == 1 and taken.count(mine[0]) == 1:
            result.doubles.append(one)
        else:
            result.unclear.append(one)
    return result


def _corners(box: Box) -> Corners:
    return box.corners or (0.0, 0.0, 0.0, 0.0)


def _around_both(one: Box, other: Box) -> Corners:
    (x1, y1, x2, y2), (u1, v1, u2, v2) = _corners(one), _corners(other)
    return min(x1, u1), min(y1, v1), max(x2, u2), max(y2, v2)
