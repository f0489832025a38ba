"""Which box each loose point belongs to: an answer only where it is the only one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Point = TypeVar("Point", bound=Hashable)
Box = TypeVar("Box", bound=Hashable)


def only_assignment(
    holders: Mapping[Point, Sequence[Box]],
) -> tuple[dict[Point, Box], list[list[Point]], list[Point]]:
    """Return the box of each point of one name, where there is a single way to give every point a box of its own.

    A point with one box left owns it, which may leave another point with one. When all that remain have two boxes or
    more, each of them could also have another: from a matching that covers the points, a second one is reached by
    following, from any point, a box it does not own to the point that does, until a box is free or comes again.

    Args:
        holders: point -> the boxes that may own it, none twice.

    Returns:
        Point -> its box, for the points that can only have that one; the groups of points that have one box left, the
        same; and all others.
    """
    left = {point: set(boxes) for point, boxes in holders.items()}
    given: dict[Point, Box] = {}
    contested: list[list[Point]] = []
    while forced := {next(iter(boxes)) for boxes in left.values() if len(boxes) == 1}:
        for box in forced:
            mine = [point for point, boxes in left.items() if boxes == {box}]
            if len(mine) == 1:
                given[mine[0]] = box
            else:
                contested.append(mine)
            for point in mine:
                del left[point]
            for boxes in left.values():
                boxes.discard(box)
    return given, contested, list(left)
