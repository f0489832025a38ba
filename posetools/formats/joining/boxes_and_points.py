"""The points and boxes of one image, and points just outside a box.

A shape that outlines an object gives the upright rectangle around it, unless another rectangle is its box.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

import numpy as np

from posetools.core.geometry import pairwise_iou
from posetools.errors import must_be
from posetools.formats.joining.shape_labels import Group
from posetools.formats.labelme.model import SoundShape
from posetools.formats.reading import Corners, PointXYV

# How far outside its box a point may be, as a fraction of the box's width or height. Boxes are drawn by eye, and points
# of the object stick out by a few percent; a point that is 10% outside belongs to another object, or is a mistake.
NEAR_BOX = 0.1
# How many points one message lists.
SHOWN_POINTS = 5


class BoxKind(Enum):
    """The role of a box."""

    OBJECT = "an object's box"
    IGNORED = "a box left out on purpose"
    UNREAD = "something that could be a box and cannot be read"


@dataclass(slots=True)
class Point:
    """A labeled keypoint; ``index`` is its shape's."""

    index: int
    group: Group | None
    label: str
    keypoint: int
    value: PointXYV


@dataclass(slots=True)
class Box:
    """A box with its points so far.

    Attributes:
        index: its shape's.
        group: its group, or None.
        kind: its role.
        corners: x1, y1, x2, y2; None if they cannot be read.
        category_id: of its object; 0 if it is not an object's.
        columns: the keypoints that its object may have; None: any.
        points: its points so far.
    """

    index: int
    group: Group | None
    kind: BoxKind
    corners: Corners | None
    category_id: int = 0
    columns: frozenset[int] | None = None
    points: list[Point] = field(default_factory=list)

    @property
    def area(self) -> float:
        """Its area in square pixels."""
        x1, y1, x2, y2 = self.corners or (0.0, 0.0, 0.0, 0.0)
        return (x2 - x1) * (y2 - y1)

    def holds(self, point: Point) -> bool:
        """Return whether the point is in it, and may be its object's."""
        if self.corners is None or not self.may_have(point):
            return False
        x1, y1, x2, y2 = self.corners
        return x1 <= point.value[0] <= x2 and y1 <= point.value[1] <= y2

    def misses(self, point: Point) -> float:
        """Return how far the point is outside, as a fraction of the box's width or height; 0 inside.

        A point of another category is infinitely far away.
        """
        if self.corners is None or not self.may_have(point):
            return math.inf
        x1, y1, x2, y2 = self.corners
        if x1 == x2 or y1 == y2:
            return math.inf
        x, y, _ = point.value
        return max((x1 - x) / (x2 - x1), (x - x2) / (x2 - x1), (y1 - y) / (y2 - y1), (y - y2) / (y2 - y1), 0.0)

    def distance(self, point: Point) -> float:
        """Return how far the point is outside, in pixels."""
        x1, y1, x2, y2 = self.corners or (0.0, 0.0, 0.0, 0.0)
        x, y, _ = point.value
        return math.hypot(max(x1 - x, x - x2, 0.0), max(y1 - y, y - y2, 0.0))

    def may_have(self, point: Point) -> bool:
        """Return whether its object's category has the keypoint."""
        return self.columns is None or point.keypoint in self.columns

    def has(self, keypoint: int) -> bool:
        """Return whether it already has a point of that keypoint."""
        return any(point.keypoint == keypoint for point in self.points)


def overlap(one: Corners, other: Corners) -> bool:
    """Return whether two boxes touch."""
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def just_missed(points: Sequence[Point], boxes: Sequence[Box]) -> tuple[list[tuple[Point, Box]], list[Point]]:
    """Pair points outside all boxes with the only box that is near and lacks their keypoint; also return the rest.

    Args:
        points: points that are in no box.
        boxes: all boxes of the image, with their points so far.
    """
    near = [(p, [b for b in boxes if not b.has(p.keypoint) and b.misses(p) <= NEAR_BOX]) for p in points]
    wanted = Counter((box.index, point.keypoint) for point, around in near for box in around)
    owned: list[tuple[Point, Box]] = []
    lost: list[Point] = []
    for point, around in near:
        only = around[0] if len(around) == 1 and around[0].kind is BoxKind.OBJECT else None
        if only is not None and wanted[only.index, point.keypoint] == 1:
            owned.append((point, only))
        else:
            lost.append(point)
    return owned, lost


def told_near(owned: Sequence[tuple[Point, Box]], named: Callable[[int], str]) -> str:
    """Return a message: which points are just outside which boxes, and how far."""
    shown = [
        f"{named(point.index)} ({point.label}) is {box.distance(point):.3g} px ({box.misses(point):.1%} of its side) "
        f"outside {named(box.index)}"
        for point, box in owned[:SHOWN_POINTS]
    ]
    more = f"; and {len(owned) - SHOWN_POINTS} more" if len(owned) > SHOWN_POINTS else ""
    return f"points must be in their rectangle, got {len(owned)} just outside: {'; '.join(shown)}{more}"


def told_outside(points: Sequence[Point], rule: str) -> str:
    """Return a message: which points are in no box, and the coordinates of the first ones."""
    if len(points) == 1:
        return must_be(f"point {points[0].label!r}", rule, list(points[0].value[:2]))
    shown = ", ".join(f"{point.label!r} at {list(point.value[:2])}" for point in points[:SHOWN_POINTS])
    more = f" and {len(points) - SHOWN_POINTS} more" if len(points) > SHOWN_POINTS else ""
    return f"{len(points)} points must be {rule}, got {shown}{more}"


# Tolerance in pixels for the corners of upright rectangles from other tools.
_UPRIGHT_PIXELS = 1.0
# Shapes that outline an object -> the minimum number of points.
_OUTLINES = {"oriented_rectangle": 4, "rotation": 4, "polygon": 3, "mask": 2, "circle": 2, "ellipse": 2}
# From this intersection over union on, a rectangle and an outline show the same object.
_SAME_OUTLINE = 0.8


def is_outline(shape: SoundShape) -> bool:
    """Return whether a shape of the category may outline an object, whose box is then the upright one around it."""
    if len(shape.points) < _OUTLINES.get(shape.shape_type, math.inf):
        return False
    x1, y1, x2, y2 = around(shape)
    return x1 < x2 and y1 < y2


def extent(shape: SoundShape) -> Corners:
    """Return the upright rectangle around a shape's points."""
    xs = [x for x, _ in shape.points]
    ys = [y for _, y in shape.points]
    return min(xs), min(ys), max(xs), max(ys)


def around(shape: SoundShape) -> Corners:
    """Return the upright rectangle around a shape; a circle is its center and a point on its edge."""
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
        if min(x - x1, x2 - x) <= _UPRIGHT_PIXELS and min(y - y1, y2 - y) <= _UPRIGHT_PIXELS
    }
    return len(corners) == 4


class SettledOutlines(NamedTuple):
    """The roles of an image's outlines.

    Attributes:
        objects: boxes of objects without a rectangle.
        doubles: outlines of objects that have a rectangle, or another outline in the same group.
        unclear: outlines that overlap a rectangle and may be another object.
    """

    objects: list[Box]
    doubles: list[Box]
    unclear: list[Box]


def settle(outlines: Sequence[Box], rectangles: Sequence[Box], pointed: Collection[Group]) -> SettledOutlines:
    """Return the role of each outline of an image.

    Args:
        outlines: a box around each of them.
        rectangles: the boxes drawn as rectangles.
        pointed: the groups that have points: an outline in one of them is an object.
    """
    result = SettledOutlines([], [], [])
    joined: dict[Group, int] = {}
    grouped = {box.group for box in rectangles} - {None}
    corners = [np.array([_corners(box) for box in boxes]).reshape(-1, 4) for boxes in (outlines, rectangles)]
    same = pairwise_iou(*corners) >= _SAME_OUTLINE
    alike = {
        one.index: [rectangles[at].index for at in np.flatnonzero(row)] for one, row in zip(outlines, same, strict=True)
    }
    taken = [index for found in alike.values() for index in found]
    for one in outlines:
        mine = alike[one.index]
        if one.group is not None and one.group in grouped:
            result.doubles.append(one)
        elif one.group is not None and one.group in joined:
            # An object that something in front of it divides in two.
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
