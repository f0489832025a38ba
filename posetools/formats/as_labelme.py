"""Reading the shapes of one picture of another tool by labelme's rules: which points belong to which rectangle.

CVAT and Label Studio hold what labelme holds, under other names: rectangles, points, and something that joins them.
Their readers translate each shape into labelme's, and here labelme_group joins them; what it finds comes back with the
place in the tool's own file and with hints that the tool's user can follow.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from posetools.findings import Finding
from posetools.formats.base import ReadOptions
from posetools.formats.collect import FileReading, Row
from posetools.formats.labelme_group import FileShapes
from posetools.formats.labelme_labels import Group, Labels
from posetools.formats.labelme_model import AnyShape, BadShape, Shape
from posetools.skeleton import Skeleton

_SHAPE = re.compile(r"shapes\[(\d+)\]")


class Placed(NamedTuple):
    """A shape in labelme's terms, and its place in the entry of its picture (``box[2]``)."""

    place: str
    shape: AnyShape


@dataclass(frozen=True, slots=True)
class Wording:
    """How a tool calls what labelme_group speaks of.

    Attributes:
        tool: the tool's name.
        group: what joins a point to its rectangle; labelme's is ``group_id``.
        hints: code -> what to do about it in the tool; for other codes labelme's hint is kept.
    """

    tool: str
    group: str
    hints: Mapping[str, str]

    def text(self, text: str) -> str:
        """Return a message or hint of labelme_group in the tool's words."""
        return text.replace("group_id", self.group).replace("labelme", self.tool)


class Entry(NamedTuple):
    """What one picture's entry of a file gave, and the place of that entry."""

    reading: FileReading
    place: str


def box_shape(label: str, corners: Sequence[tuple[float, float]], group: Group | None) -> Shape:
    """Return a rectangle; its group may be a text, which labelme's own files never have."""
    return _shape(label, "rectangle", corners, group)


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
        hidden: whether the tool itself says that the point is labelled but hidden.
        flags: further marks that may say so.
        description: a text that may say so.
    """
    marks = {"difficult": True} if hidden else {}
    return _shape(label, "point", [(x, y)], group, flags=dict(flags or {}), description=description, **marks)


def other_shape(label: str, kind: str, corners: Sequence[tuple[float, float]], group: Group | None) -> Shape:
    """Return a shape that holds neither a box nor a keypoint, with points from which its extent shows."""
    return _shape(label, kind, corners, group)


def bad_shape(label: str | None, group: Group | None, field: str, problem: str, *, is_point: bool) -> BadShape:
    """Return a shape that cannot be read; see BadShape."""
    marks: dict[str, Any] = {"group_id": group}
    return BadShape(label=label, is_point=is_point, field=field, problem=problem, **marks)


def _shape(label: str, kind: str, points: Sequence[tuple[float, float]], group: Group | None, **more: Any) -> Shape:
    # The readers' own models have checked every value already.
    return Shape.model_construct(label=label, shape_type=kind, points=list(points), group_id=group, **more)


def read_shapes(
    reading: FileReading,
    shapes: Sequence[Placed],
    place: str,
    *,
    skeleton: Skeleton,
    labels: Labels,
    options: ReadOptions,
    wording: Wording,
) -> FileReading:
    """Return the reading of one picture with the objects that these shapes are.

    Args:
        reading: of the picture, with what was found in its entry so far.
        shapes: its shapes in their order.
        place: the place of the entry in the file.
        skeleton: the skeleton.
        labels: how labels are read.
        options: the user's options.
        wording: how the tool calls things.
    """
    file = str(reading.file)
    group = FileShapes(file, reading.size, skeleton, labels, options)
    rows = group.read([one.shape for one in shapes])

    def told(text: str) -> str:
        return _SHAPE.sub(lambda found: shapes[int(found[1])].place, text)

    def translated(finding: Finding) -> Finding:
        # The tools' own hints say how to group, which says nothing where an image is one object.
        own = finding.code == "E306" and options.one_object
        hint = finding.hint if own else wording.hints.get(finding.code, finding.hint)
        return replace(
            finding,
            place=f"{place}: {told(finding.place)}" if finding.place else place,
            message=wording.text(told(finding.message)),
            hint=wording.text(told(hint)),
        )

    return replace(
        reading,
        rows=[
            Row(row.box, row.keypoints, f"{file}: {place}: {told(row.place.removeprefix(f'{file}: '))}") for row in rows
        ],
        findings=[*reading.findings, *map(translated, group.findings)],
        ignored={**reading.ignored, **{k: n + reading.ignored.get(k, 0) for k, n in group.ignored.items()}},
    )


def settle_doubles(entries: Sequence[Entry]) -> list[FileReading]:
    """Return the readings, those of one picture all without it and with a finding: which is right is not known."""
    by_picture: dict[str, list[int]] = defaultdict(list)
    for index, (reading, _) in enumerate(entries):
        if reading.picture is not None:
            by_picture[reading.identity].append(index)
    readings = [reading for reading, _ in entries]
    for group in by_picture.values():
        for index in group if len(group) > 1 else ():
            reading, place = entries[index]
            others = " and ".join(_named(entries[i], reading) for i in group if i != index)
            rule = f"the entry must be the only one of {reading.picture}, got {others} besides"
            lost = f"{rule}; none of them is read ({reading.objects} shapes here)"
            hint = "take all but one of them out of the source"
            finding = Finding("E313", str(reading.file), place, lost, hint)
            readings[index] = replace(reading, picture=None, rows=(), findings=[*reading.findings, finding])
    return readings


def _named(entry: Entry, beside: FileReading) -> str:
    same = entry.reading.file == beside.file
    return entry.place if same else f"{entry.reading.file}: {entry.place}"


def rotated_corners(
    x: float, y: float, width: float, height: float, degrees: float, *, about_centre: bool
) -> list[tuple[float, float]]:
    """Return the four corners of a rectangle turned clockwise, as a picture shows it.

    Args:
        x: of its left side before it is turned, in pixels.
        y: of its upper side before it is turned, in pixels.
        width: in pixels.
        height: in pixels.
        degrees: by how much it is turned.
        about_centre: whether about its centre, else about its upper left corner.
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    px, py = (x + width / 2, y + height / 2) if about_centre else (x, y)
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return [(px + (cx - px) * cos - (cy - py) * sin, py + (cx - px) * sin + (cy - py) * cos) for cx, cy in corners]


def hull(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return two opposite corners of the upright rectangle round these points."""
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return [(min(xs), min(ys)), (max(xs), max(ys))]
