"""Reading the shapes of one image of another tool by labelme's rules: which points belong to which rectangle.

CVAT and Label Studio hold what labelme holds, under other names: rectangles, points, and something that joins them.
Their readers translate each shape into labelme's, and here objects.py joins them, with the places of the tool's own
file and the tool's words.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from posetools.core.skeleton import Skeleton
from posetools.formats.joined import CauseFinding
from posetools.formats.joining.objects import FileShapes
from posetools.formats.joining.shape_labels import Group, Labels
from posetools.formats.joining.wording import ShapeReport, Wording
from posetools.formats.labelme.model import AnyShape, BadShape, Shape
from posetools.formats.options import ReadOptions
from posetools.formats.reading import FileReading


class PlacedShape(NamedTuple):
    """A shape in labelme's terms, and its place in the entry of its image (``box[2]``)."""

    place: str
    shape: AnyShape


class EntryReading(NamedTuple):
    """What one image's entry of a file gave, and the place of that entry."""

    reading: FileReading
    place: str


def made_shape(
    label: str, kind: str, points: Sequence[tuple[float, float]], group: Group | None, **marks: Any
) -> Shape:
    """Return a shape of what a reader's own model has checked; its group may be a text, which labelme's never is."""
    return Shape.model_construct(label=label, shape_type=kind, points=list(points), group_id=group, **marks)


def point_shape(
    label: str,
    x: float,
    y: float,
    group: Group | None,
    *,
    hidden: bool = False,
    flags: Mapping[str, bool] | None = None,
    description: str | None = None,
) -> Shape:
    """Return a point.

    Args:
        label: the keypoint's name, or what the user maps to it.
        x: in pixels.
        y: in pixels.
        group: that of its rectangle, or None.
        hidden: whether the tool itself says that the point is labeled but hidden.
        flags: further marks that may say so.
        description: a text that may say so.
    """
    marks = {"difficult": True} if hidden else {}
    return made_shape(label, "point", [(x, y)], group, flags=dict(flags or {}), description=description, **marks)


def bad_shape(label: str | None, group: Group | None, field: str, problem: str, *, is_point: bool) -> BadShape:
    """Return a shape that cannot be read; see BadShape."""
    marks: dict[str, Any] = {"group_id": group}
    return BadShape(label=label, is_point=is_point, field=field, problem=problem, **marks)


def read_shapes(
    reading: FileReading,
    shapes: Sequence[PlacedShape],
    place: str,
    *,
    skeleton: Skeleton,
    labels: Labels,
    options: ReadOptions,
    wording: Wording,
) -> FileReading:
    """Return the reading of one image with the objects that these shapes are.

    Args:
        reading: of the image, with what was found in its entry so far.
        shapes: its shapes in their order.
        place: the place of the entry in the file.
        skeleton: the skeleton.
        labels: how labels are read.
        options: the user's options.
        wording: how the tool calls things.
    """
    report = ShapeReport(str(reading.file), wording, place, [one.place for one in shapes])
    group = FileShapes(reading.size, skeleton, labels, options, report)
    rows = group.read([one.shape for one in shapes])
    ignored = Counter(reading.ignored) + group.ignored
    return replace(reading, rows=rows, findings=[*reading.findings, *report.findings], ignored=ignored)


def settle_doubles(entries: Sequence[EntryReading]) -> list[FileReading]:
    """Return the readings, those of one image all without it and with a finding: which is right is not known."""
    by_image: dict[str, list[int]] = defaultdict(list)
    for index, (reading, _) in enumerate(entries):
        if reading.image is not None:
            by_image[reading.identity].append(index)
    readings = [reading for reading, _ in entries]
    for group in by_image.values():
        for index in group if len(group) > 1 else ():
            reading, place = entries[index]
            others = " and ".join(_named(entries[i], reading) for i in group if i != index)
            rule = f"the entry must be the only one of {reading.image}, got {others} besides"
            lost = f"{rule}; none of them is read ({reading.objects} shapes here)"
            hint = "take all but one of them out of the source"
            cause = "an image must have one entry"
            finding = CauseFinding("E313", str(reading.file), place, lost, hint, cause=cause)
            readings[index] = replace(reading, image=None, rows=(), findings=[*reading.findings, finding])
    return readings


def _named(entry: EntryReading, beside: FileReading) -> str:
    same = entry.reading.file == beside.file
    return entry.place if same else f"{entry.reading.file}: {entry.place}"


def rotated_corners(
    x: float, y: float, width: float, height: float, degrees: float, *, about_center: bool
) -> list[tuple[float, float]]:
    """Return the four corners of a rectangle turned clockwise, as an image shows it.

    Args:
        x: of its left side before it is turned, in pixels.
        y: of its upper side before it is turned, in pixels.
        width: in pixels.
        height: in pixels.
        degrees: by how much it is turned.
        about_center: whether about its center, else about its upper left corner.
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    px, py = (x + width / 2, y + height / 2) if about_center else (x, y)
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return [(px + (cx - px) * cos - (cy - py) * sin, py + (cx - px) * sin + (cy - py) * cos) for cx, cy in corners]


def ellipse_corners(cx: float, cy: float, rx: float, ry: float, degrees: float = 0.0) -> list[tuple[float, float]]:
    """Return two opposite corners of the upright rectangle round an ellipse.

    A point of it is (rx cos t, ry sin t), turned; the largest x over all t is the length of (rx cos a, ry sin a).

    Args:
        cx: of its center, in pixels.
        cy: of its center, in pixels.
        rx: one half axis, in pixels; ``ry`` the other.
        ry: see ``rx``.
        degrees: by how much ``rx`` is turned from the x axis.
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    half_width, half_height = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
    return [(cx - half_width, cy - half_height), (cx + half_width, cy + half_height)]


def hull(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return two opposite corners of the upright rectangle round these points."""
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return [(min(xs), min(ys)), (max(xs), max(ys))]
