"""From the regions of one Label Studio task to shapes that labelme's rules can join, in pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from posetools.formats.as_labelme import (
    Placed,
    bad_shape,
    box_shape,
    hull,
    other_shape,
    point_shape,
    rotated_corners,
)
from posetools.formats.label_studio_model import Bad, Outline, Point, Rectangle, Region
from posetools.formats.labelme_labels import Labels
from posetools.geometry import DECIMALS

_VISIBLE = "visible"
_Pairs = Sequence[tuple[float, float]]


def shapes_of(regions: Sequence[Region], size: tuple[int, int], labels: Labels, dropped: Counter[str]) -> list[Placed]:
    """Return the regions of one picture as labelme's shapes.

    A rectangle's group is its own id, a point's that of its parent.

    Args:
        regions: what was drawn.
        size: (width, height) of the picture in pixels.
        labels: how labels are read, and what means hidden.
        dropped: counts what is not carried over.
    """
    return [_placed(region, size, labels, dropped) for region in regions]


def _placed(region: Region, size: tuple[int, int], labels: Labels, dropped: Counter[str]) -> Placed:
    value, place = region.value, region.place
    is_point = region.kind == "keypoint"
    group = region.parent if is_point else region.id
    if isinstance(value, Bad):
        return Placed(place, bad_shape(region.label, group, value.field, value.problem, is_point=is_point))
    label = region.label or ""
    marks = {choice: True for choice in region.choices if choice.casefold() in labels.hidden} if is_point else {}
    if not labels.is_ignored(label):
        other = [choice for choice in region.choices if choice not in marks and choice.casefold() != _VISIBLE]
        dropped.update(f"choice {choice!r} of {region.kind} regions" for choice in other)
    if isinstance(value, Point):
        [(x, y)] = _pixels([(value.x, value.y)], size)
        return Placed(place, point_shape(label, x, y, group, flags=marks, description=region.text))
    if isinstance(value, Rectangle):
        return Placed(place, box_shape(label, _corners(region, value, size, labels, dropped), group))
    points = _pixels(value.points, size) if isinstance(value, Outline) else []
    return Placed(place, other_shape(label, region.kind, points, group))


def _corners(region: Region, value: Rectangle, size: tuple[int, int], labels: Labels, dropped: Counter[str]) -> _Pairs:
    x, y = value.x, value.y
    corners = _pixels([(x, y), (x + value.width, y + value.height)], size)
    if not value.rotation:
        return corners
    if not labels.is_ignored(region.label or ""):
        dropped["rotation of rectangles (each becomes the upright one round it)"] += 1
    (x1, y1), (x2, y2) = corners
    return hull(rotated_corners(x1, y1, x2 - x1, y2 - y1, value.rotation, about_centre=False))


def _pixels(points: _Pairs, size: tuple[int, int]) -> list[tuple[float, float]]:
    width, height = size
    return [(round(x * width / 100, DECIMALS), round(y * height / 100, DECIMALS)) for x, y in points]
