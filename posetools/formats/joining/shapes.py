"""Reads one image's shapes from another tool by labelme's rules: assigns points to rectangles.

CVAT and Label Studio have the same content as labelme, under other names: rectangles, points, and groups. Their readers
convert each shape to labelme's form, and objects.py joins them, with places in the tool's own file and in the tool's
words.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from posetools.core.categories import Categories
from posetools.formats.joined import CauseFinding
from posetools.formats.joining.objects import FileShapes
from posetools.formats.joining.shape_labels import Group, Labels
from posetools.formats.joining.wording import ShapeReport, Wording
from posetools.formats.labelme.model import AnyShape, BadShape, Shape
from posetools.formats.options import ReadOptions
from posetools.formats.reading import FileReading


class PlacedShape(NamedTuple):
    """A shape in labelme's form, and its place in its image's entry (``box[2]``)."""

    place: str
    shape: AnyShape


class EntryReading(NamedTuple):
    """The content of one image's entry in a file, and the entry's place."""

    reading: FileReading
    place: str


def made_shape(
    label: str, kind: str, points: Sequence[tuple[float, float]], group: Group | None, **marks: Any
) -> Shape:
    """Return a shape that a reader's own model has validated; its group may be text, unlike labelme's."""
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
        label: the keypoint's name, or a label that the user maps to it.
        x: in pixels.
        y: in pixels.
        group: its rectangle's group, or None.
        hidden: whether the tool itself marks the point as labeled but not visible.
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
    categories: Categories,
    labels: Labels,
    options: ReadOptions,
    wording: Wording,
) -> FileReading:
    """Return an image's reading with these shapes joined to objects.

    Args:
        reading: the image's reading so far.
        shapes: its shapes in their order.
        place: the place of the entry in the file.
        categories: the categories, each with its skeleton.
        labels: how to read labels.
        options: the user's options.
        wording: the tool's words.
    """
    report = ShapeReport(str(reading.file), wording, place, [one.place for one in shapes])
    group = FileShapes(reading.size, categories, labels, options, report)
    rows = group.read([one.shape for one in shapes])
    ignored = Counter(reading.ignored) + group.ignored
    return replace(reading, rows=rows, findings=[*reading.findings, *report.findings], ignored=ignored)


def settle_doubles(entries: Sequence[EntryReading]) -> list[FileReading]:
    """Return the readings; entries of the same image lose it and get a finding, as it is not known which is right."""
    by_image: dict[str, list[int]] = defaultdict(list)
    for index, (reading, _) in enumerate(entries):
        if reading.image is not None:
            by_image[reading.identity].append(index)
    readings = [reading for reading, _ in entries]
    for group in by_image.values():
        for index in group if len(group) > 1 else ():
            reading, place = entries[index]
            others = " and ".join(_named(entries[i], reading) for i in group if i != index)
            rule = f"the entry must be the only one of {reading.image}, got {others} too"
            lost = f"{rule}; none of them is read ({reading.objects} shapes here)"
            hint = "remove all but one of them from the source"
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
    """Return the four corners of a rectangle rotated clockwise, as seen in the image.

    Args:
        x: of its left side before rotation, in pixels.
        y: of its upper side before rotation, in pixels.
        width: in pixels.
        height: in pixels.
        degrees: the rotation.
        about_center: whether it is rotated about its center, else about its upper left corner.
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    px, py = (x + width / 2, y + height / 2) if about_center else (x, y)
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return [(px + (cx - px) * cos - (cy - py) * sin, py + (cx - px) * sin + (cy - py) * cos) for cx, cy in corners]


def ellipse_corners(cx: float, cy: float, rx: float, ry: float, degrees: float = 0.0) -> list[tuple[float, float]]:
    """Return two opposite corners of the upright rectangle around an ellipse.

    Its points are (rx cos t, ry sin t), rotated; the largest x over all t is the length of (rx cos a, ry sin a).

    Args:
        cx: its center, in pixels.
        cy: its center, in pixels.
        rx: one half axis, in pixels; ``ry`` the other.
        ry: see ``rx``.
        degrees: the rotation of ``rx`` from the x axis.
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    half_width, half_height = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
    return [(cx - half_width, cy - half_height), (cx + half_width, cy + half_height)]


def hull(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return two opposite corners of the upright rectangle around these points."""
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return [(min(xs), min(ys)), (max(xs), max(ys))]
