"""The shapes of CVAT's XML as pydantic models, and the check of every element.

An element that breaks the rules loses itself only; the others of its picture are read. Values in another spelling that
have one meaning are read and counted (cvat_values.py).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from posetools.core.geometry import MAX_COORDINATE
from posetools.errors import must_be
from posetools.formats.cvat.values import exchanged, lenient_shape

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


Coordinate = Annotated[float, Field(allow_inf_nan=False, ge=-MAX_COORDINATE, le=MAX_COORDINATE)]


def _pairs(text: object) -> object:
    return [pair.split(",") for pair in text.split(";")] if isinstance(text, str) else text


Points = Annotated[list[tuple[Coordinate, Coordinate]], BeforeValidator(_pairs), Field(min_length=1)]


class _Element(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Labelled(_Element):
    label: str
    group_id: int = 0
    occluded: bool = False
    rotation: Annotated[float, Field(allow_inf_nan=False)] = 0.0


class Box(_Labelled):
    """A rectangle; ``rotation`` turns it clockwise about its centre, in degrees."""

    xtl: Coordinate
    ytl: Coordinate
    xbr: Coordinate
    ybr: Coordinate


class PointSet(_Labelled):
    """``<points>``: one element of a skeleton, or points on their own."""

    points: Points
    outside: bool = False


class Outline(_Labelled):
    """A polygon or polyline."""

    points: Points


class Ellipse(_Labelled):
    """An ellipse; ``rotation`` turns it clockwise about its centre, in degrees."""

    cx: Coordinate
    cy: Coordinate
    rx: Coordinate
    ry: Coordinate


class Mask(_Labelled):
    """A mask, of which only the extent is of interest."""

    left: Coordinate
    top: Coordinate
    width: Coordinate
    height: Coordinate


class Other(_Labelled):
    """A skeleton, a tag, or a shape of which only the label is of interest."""


Known: TypeAlias = Box | PointSet | Outline | Ellipse | Mask | Other

_MODELS: dict[str, type[Known]] = {
    "box": Box,
    "points": PointSet,
    "polygon": Outline,
    "polyline": Outline,
    "ellipse": Ellipse,
    "mask": Mask,
    "cuboid": Other,
    "skeleton": Other,
    "tag": Other,
}
_FLAG = "0 or 1"
_RULES = {
    "label": "a text",
    "group_id": "an integer",
    "occluded": _FLAG,
    "outside": _FLAG,
    "rotation": "a finite number of degrees",
    "points": f"pairs x,y of finite numbers of at most {MAX_COORDINATE} px, with ; between them",
}
_NUMBER = f"a finite number of at most {MAX_COORDINATE} px"


@dataclass(frozen=True, slots=True)
class Bad:
    """An element that breaks a rule, with what is known of it all the same.

    Attributes:
        label: its label, if it has one.
        group_id: its group, if that can be read.
        field: the attribute.
        problem: the sentence about it.
    """

    label: str | None
    group_id: int
    field: str
    problem: str


@dataclass(frozen=True, slots=True)
class CvatShape:
    """One element of a picture.

    Attributes:
        kind: its tag.
        place: ``box[0]``: its tag and its number among those of that tag; of a skeleton's point with the skeleton's.
        value: the element, or what is wrong with it.
        attributes: CVAT's attributes: name -> text.
        parts: a skeleton's points.
    """

    kind: str
    place: str
    value: Known | Bad
    attributes: dict[str, str]
    parts: Sequence[CvatShape] = ()


@dataclass(frozen=True, slots=True)
class CvatImage:
    """One picture's entry.

    Attributes:
        place: ``image[3] (a.jpg)``; of a video ``frame 3``.
        name: as written.
        size: (width, height) in pixels, as written; UNKNOWN_SIZE when they are missing.
        subset: as written, empty when there is none.
        shapes: its elements in their order.
        task: the id of its task, as written; empty when there is none.
        is_frame: whether it is a frame of a video, whose name is not written but CVAT's.
    """

    place: str
    name: str
    size: tuple[int, int]
    subset: str
    shapes: Sequence[CvatShape]
    task: str = ""
    is_frame: bool = False


def shapes_in(parent: Element, repairs: Counter[str], prefix: str = "") -> list[CvatShape]:
    """Return the shapes of an image's element, or the points of a skeleton's; the places begin with ``prefix``."""
    numbers: dict[str, int] = {}
    shapes = []
    for element in parent:
        if element.tag == "attribute":
            continue
        number = numbers.get(element.tag, 0)
        numbers[element.tag] = number + 1
        shapes.append(_shape(element, f"{prefix}{element.tag}[{number}]", repairs, {}, is_part=bool(prefix)))
    return shapes


def shape_of(element: Element, place: str, repairs: Counter[str], said: Mapping[str, str]) -> CvatShape:
    """Return the shape of an element of which ``said`` has some attributes, as a track has its label."""
    return _shape(element, place, repairs, said, is_part=False)


def _shape(element: Element, place: str, repairs: Counter[str], said: Mapping[str, str], *, is_part: bool) -> CvatShape:
    attributes = {one.get("name", ""): (one.text or "").strip() for one in element.findall("attribute")}
    # A skeleton in a skeleton is no shape of CVAT's; its parts are left out with it.
    parts = shapes_in(element, repairs, f"{place}.") if element.tag == "skeleton" and not is_part else ()
    return CvatShape(
        element.tag,
        place,
        _check(element.tag, {**element.attrib, **said} if said else element.attrib, repairs),
        attributes,
        parts,
    )


def _check(kind: str, attributes: Mapping[str, str], repairs: Counter[str]) -> Known | Bad:
    made, changes = lenient_shape(attributes)
    try:
        value = _MODELS.get(kind, Other).model_validate(made)
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
    else:
        if isinstance(value, Box):
            changes += exchanged((value.xtl, value.xbr), (value.ytl, value.ybr))
        if changes:
            repairs.update(changes)
        return value
    field = str(error["loc"][0])
    group = made.get("group_id", "0")
    return Bad(
        label=attributes.get("label"),
        group_id=int(group) if re.fullmatch(r"[0-9]{1,9}", group) else 0,
        field=field,
        problem=must_be(field, _RULES.get(field, _NUMBER), attributes.get(field)),
    )
