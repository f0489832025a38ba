"""From the regions of one Label Studio task to shapes that labelme's rules can join, in pixels.

A brush region is a bit stream, as thi.ng's rle-pack packs the four channels of a mask: 32 bits for the number of
values (4 per pixel, row by row), 5 for the bits of a value minus one, 4 times 4 for the bits of each of four kinds of
length minus one. Then come runs: a bit for "one value" or "one after the other", 2 bits for the kind of length, the
length minus one, and the value or values. A pixel is painted if its fourth value is not 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from posetools.core.geometry import DECIMALS
from posetools.errors import must_be
from posetools.formats.joining.shape_labels import Group, Labels
from posetools.formats.joining.shapes import (
    PlacedShape,
    bad_shape,
    ellipse_corners,
    hull,
    made_shape,
    point_shape,
    rotated_corners,
)
from posetools.formats.joining.visibility_words import SCALE, SEEN, of_text
from posetools.formats.label_studio.model import BadRegion, Brush, Ellipse, Outline, PercentPoint, Rectangle, Region
from posetools.formats.labelme.model import AnyShape, Shape

# Choices that mean something only with their control's name.
_BARE = frozenset({"0", "1", "2", "true", "false", "yes", "no", "on", "off"})
_Pairs = Sequence[tuple[float, float]]


def shapes_of(
    regions: Sequence[Region], size: tuple[int, int], labels: Labels, dropped: Counter[str]
) -> list[PlacedShape]:
    """Return the regions of one image as labelme's shapes.

    A rectangle's group is its id, a point's the id of its nearest ancestor of the category, or of its parent.

    Args:
        regions: the regions.
        size: (width, height) of the image in pixels.
        labels: how labels are read, and what means occluded.
        dropped: counts what is not carried over.
    """
    told = [_with_one_label(region, labels) if region.labels else region for region in regions]
    by_id = {region.id: region for region in told if region.id is not None}
    owners = [_owner(region, by_id, labels) if _is_point(region, labels) else region.id for region in told]
    parents = {owner for region, owner in zip(told, owners, strict=True) if _is_point(region, labels) and owner}
    if not parents <= by_id.keys():
        # The parent of these points was deleted; a region without points may be the new one.
        ids = Counter(region.id for region in told)
        free = {number for number in by_id if number not in parents and ids[number] == 1}
        owners = [None if owner in free else owner for owner in owners]
    return [_placed(region, owner, size, labels, dropped) for region, owner in zip(told, owners, strict=True)]


def _with_one_label(region: Region, labels: Labels) -> Region:
    """Return a region with its only label that is known or ignored; its other labels become choices."""
    known = {*labels.index, *labels.categories}
    ignored = [label for label in region.labels if labels.is_ignored(label)]
    named = ignored[:1] or [label for label in region.labels if labels.read(label).name in known]
    if len(named) != 1 or region.drawn is None:
        return region
    others = tuple(("", label) for label in region.labels if label != named[0])
    return replace(region, label=named[0], value=region.drawn, choices=(*region.choices, *others))


def _is_point(region: Region, labels: Labels) -> bool:
    """Return whether a region is a keypoint, or a shape around one."""
    return region.kind == "keypoint" or (region.label is not None and labels.read(region.label).name in labels.index)


def _owner(region: Region, by_id: Mapping[str, Region], labels: Labels) -> str | None:
    """Return the id of a keypoint's nearest ancestor of the category; of its parent when there is none."""
    at, seen = region.parent, set[str]()
    while at is not None and at in by_id and at not in seen:
        seen.add(at)
        parent = by_id[at]
        if parent.kind != "keypoint" and parent.label and labels.read(parent.label).name in labels.categories:
            return at
        at = parent.parent
    return region.parent


def _placed(
    region: Region, group: str | None, size: tuple[int, int], labels: Labels, dropped: Counter[str]
) -> PlacedShape:
    value, place = region.value, region.place
    is_point = _is_point(region, labels)
    if isinstance(value, BadRegion):
        return PlacedShape(place, bad_shape(region.label, group, value.field, value.problem, is_point=is_point))
    label = region.label or ""
    marks = {choice: True for _, choice in region.choices if choice.casefold() in labels.hidden} if is_point else {}
    said = {choice: text for choice, text in _visibility(region, labels) if choice[1] not in marks} if is_point else {}
    if not labels.is_ignored(label):
        other = [choice for choice in region.choices if choice not in said and choice[1] not in marks]
        dropped.update(f"choice {choice!r} of {region.kind} regions" for _, choice in other)
    text = "; ".join([one for one in (region.text, *said.values()) if one])
    if isinstance(value, PercentPoint):
        [(x, y)] = _pixels([(value.x, value.y)], size)
        return PlacedShape(place, point_shape(label, x, y, group, flags=marks, description=text))
    if isinstance(value, Brush):
        made = _brush(region, value, size, group)
    elif isinstance(value, Rectangle):
        made = made_shape(label, "rectangle", _corners(region, value, size, labels, dropped), group)
    else:
        points = _ellipse(value, size) if isinstance(value, Ellipse) else []
        points = _pixels(value.points, size) if isinstance(value, Outline) else points
        made = made_shape(label, region.kind, points, group)
    if is_point and isinstance(made, Shape):
        made = made.model_copy(update={"flags": marks, "description": text})
    return PlacedShape(place, made)


def _visibility(region: Region, labels: Labels) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the choices that set a keypoint's visibility, each with its text."""
    for name, choice in region.choices:
        controls = SEEN | SCALE | labels.hidden
        text = f"{name}: {choice}" if name.casefold() in controls and choice.casefold() in _BARE else choice
        if of_text(text, labels.hidden) is not None:
            yield (name, choice), text


def _brush(region: Region, value: Brush, size: tuple[int, int], group: Group | None) -> AnyShape:
    """Return a mask of which only the extent is known; a brush when even that is unknown."""
    try:
        extent = None if value.rle is None else brush_extent(value.rle, size)
    except ValueError as exc:
        problem = must_be("rle", f"a brush packed by Label Studio for an image of {size[0]} x {size[1]}", str(exc))
        return bad_shape(region.label, group, "value.rle", problem, is_point=False)
    if extent is None:
        return made_shape(region.label or "", region.kind, [], group)
    return made_shape(region.label or "", "mask", [extent[:2], extent[2:]], group)


def _ellipse(value: Ellipse, size: tuple[int, int]) -> list[tuple[float, float]]:
    """Return two opposite corners of an ellipse's upright bounding box; it rotates in pixels, not in percent."""
    [(x, y), (rx, ry)] = _pixels([(value.x, value.y), (value.radiusX, value.radiusY)], size)
    corners = ellipse_corners(x, y, rx, ry, value.rotation or 0.0)
    return [(round(left, DECIMALS), round(top, DECIMALS)) for left, top in corners]


def _corners(region: Region, value: Rectangle, size: tuple[int, int], labels: Labels, dropped: Counter[str]) -> _Pairs:
    x, y = value.x, value.y
    corners = _pixels([(x, y), (x + value.width, y + value.height)], size)
    if not value.rotation:
        return corners
    if not labels.is_ignored(region.label or ""):
        dropped["rotation of rectangles (each becomes its upright bounding box)"] += 1
    (x1, y1), (x2, y2) = corners
    return hull(rotated_corners(x1, y1, x2 - x1, y2 - y1, value.rotation, about_center=False))


def _pixels(points: _Pairs, size: tuple[int, int]) -> list[tuple[float, float]]:
    width, height = size
    return [(round(x * width / 100, DECIMALS), round(y * height / 100, DECIMALS)) for x, y in points]


def brush_extent(rle: Sequence[int], size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """Return x1, y1, x2, y2 around the painted pixels, each counted in full; None when there are none.

    Args:
        rle: the bytes of the region.
        size: (width, height) of the image.

    Raises:
        ValueError: the bytes are not a brush of an image of this size.
    """
    width = size[0]
    columns: list[int] = []
    rows: list[int] = []
    for start, end, value in _runs(bytes(rle), 4 * size[0] * size[1]):
        # The fourth value of pixel q is at 4 q + 3.
        first, last = start // 4, (end - 4) // 4
        if not value or first > last:
            continue
        rows += (first // width, last // width)
        columns += (first % width, last % width) if first // width == last // width else (0, width - 1)
    if not rows:
        return None
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


def _runs(data: bytes, count: int) -> Iterator[tuple[int, int, int]]:
    """Yield the start, the end and the value of each run."""
    at = 0

    def read(bits: int) -> int:
        nonlocal at
        end = at + bits
        if end > 8 * len(data):
            raise ValueError("too few bytes")
        word = int.from_bytes(data[at // 8 : (end + 7) // 8], "big")
        at = end
        return (word >> (-end % 8)) & ((1 << bits) - 1)

    if read(32) != count:
        raise ValueError("another size")
    word_size = read(5) + 1
    length_sizes = [read(4) + 1 for _ in range(4)]
    start = 0
    while start < count:
        is_run = read(1)
        end = start + 1 + read(length_sizes[read(2)])
        if is_run:
            yield start, end, read(word_size)
        else:
            yield from ((one, one + 1, read(word_size)) for one in range(start, end))
        start = end
    if start > count:
        raise ValueError("too many values")
