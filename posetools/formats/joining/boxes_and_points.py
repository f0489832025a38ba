"""Points and boxes of one image, and the points just outside of a box: what labelme's rules join objects from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from posetools.errors import must_be
from posetools.formats.joining.shape_labels import Group
from posetools.formats.reading import Corners, PointXYV

# How far outside of its box a point may lie, as a share of the box's width or height: boxes are drawn by eye, and an
# object's own points stick out by a few percent; what is a tenth away is another object's, or a mistake.
NEAR = 0.1
# Points that one message names.
SHOWN = 5


class Kind(Enum):
    """What a box is."""

    OBJECT = "an object's box"
    IGNORED = "a box left out on purpose"
    UNREAD = "something that could be a box and cannot be read"


@dataclass(slots=True)
class Point:
    """A labelled keypoint; ``index`` is that of its shape."""

    index: int
    group: Group | None
    label: str
    keypoint: int
    value: PointXYV


@dataclass(slots=True)
class Box:
    """A box with the points that it has so far; ``index`` is that of its shape."""

    index: int
    group: Group | None
    kind: Kind
    corners: Corners | None
    points: list[Point] = field(default_factory=list)

    @property
    def area(self) -> float:
        """Its area in square pixels."""
        x1, y1, x2, y2 = self.corners or (0.0, 0.0, 0.0, 0.0)
        return (x2 - x1) * (y2 - y1)

    def holds(self, point: Point) -> bool:
        """Return whether the point is in it."""
        if self.corners is None:
            return False
        x1, y1, x2, y2 = self.corners
        return x1 <= point.value[0] <= x2 and y1 <= point.value[1] <= y2

    def misses(self, point: Point) -> float:
        """Return how far the point is outside, as a share of the box's width or height; 0 inside."""
        if self.corners is None:
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

    def has(self, keypoint: int) -> bool:
        """Return whether one of its points has that name."""
        return any(point.keypoint == keypoint for point in self.points)


def overlap(one: Corners, other: Corners) -> bool:
    """Return whether two boxes touch."""
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def just_missed(points: Sequence[Point], boxes: Sequence[Box]) -> tuple[list[tuple[Point, Box]], list[Point]]:
    """Return the points in no box with the only box that they just miss and that lacks their name; and the rest.

    Args:
        points: those that no box holds.
        boxes: all of the image, with the points that they have already.
    """
    near = [(p, [b for b in boxes if not b.has(p.keypoint) and b.misses(p) <= NEAR]) for p in points]
    wanted = Counter((box.index, point.keypoint) for point, around in near for box in around)
    owned: list[tuple[Point, Box]] = []
    lost: list[Point] = []
    for point, around in near:
        only = around[0] if len(around) == 1 and around[0].kind is Kind.OBJECT else None
        if only is not None and wanted[only.index, point.keypoint] == 1:
            owned.append((point, only))
        else:
            lost.append(point)
    return owned, lost


def told_near(owned: Sequence[tuple[Point, Box]], named: Callable[[int], str]) -> str:
    """Return which points lie just outside of which boxes, and how far, in words."""
    shown = [
        f"{named(point.index)} ({point.label}) lies {box.distance(point):.3g} px, {box.misses(point):.1%} of its "
        f"side, outside {named(box.index)}"
        for point, box in owned[:SHOWN]
    ]
    more = f"; and {len(owned) - SHOWN} more" if len(owned) > SHOWN else ""
    return f"points must be in their rectangle, got {len(owned)} just outside: {'; '.join(shown)}{more}"


def told_outside(points: Sequence[Point], rule: str) -> str:
    """Return that points are in no box, and where the first of them are, in words."""
    if len(points) == 1:
        return must_be(f"point {points[0].label!r}", rule, list(points[0].value[:2]))
    shown = ", ".join(f"{point.label!r} at {list(point.value[:2])}" for point in points[:SHOWN])
    more = f" and {len(points) - SHOWN} more" if len(points) > SHOWN else ""
    return f"{len(points)} points must be {rule}, got {shown}{more}"
