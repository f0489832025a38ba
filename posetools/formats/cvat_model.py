"""CVAT's XML as pydantic models, and the first two steps of reading it: parse the bytes, check every element.

The file is parsed by defusedxml, which refuses a document type with entities before anything is expanded. An element
that breaks the rules loses itself only; the others of its picture are read. Values in another spelling that have one
meaning are read and counted (cvat_values.py).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import ParseError, fromstring  # type: ignore[import-untyped]
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from posetools.errors import must_be
from posetools.findings import Finding
from posetools.formats.coco_sources import UNKNOWN_SIZE
from posetools.formats.cvat_values import exchanged, lenient_image, lenient_shape

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_LIMIT = 1e6
# Characters of a picture's name in a place.
_LONGEST_SHOWN = 200
_EXPORT = "export the task from CVAT as 'CVAT for images 1.1'"

Coordinate = Annotated[float, Field(allow_inf_nan=False, ge=-_LIMIT, le=_LIMIT)]
Pixels = Annotated[int, Field(gt=0)]


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
    "points": f"pairs x,y of finite numbers of at most {_LIMIT:.0f} px, with ; between them",
}
_NUMBER = f"a finite number of at most {_LIMIT:.0f} px"


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


class _ImageElement(_Element):
    name: Annotated[str, Field(min_length=1)]
    width: Pixels | None = None
    height: Pixels | None = None
    subset: str = ""
    task_id: str = ""


@dataclass(frozen=True, slots=True)
class CvatImage:
    """One picture's entry.

    Attributes:
        place: ``image[3] (a.jpg)``.
        name: as written.
        size: (width, height) in pixels, as written; UNKNOWN_SIZE when they are missing.
        subset: as written, empty when there is none.
        shapes: its elements in their order.
        task: the id of its task, as written; empty when there is none.
    """

    place: str
    name: str
    size: tuple[int, int]
    subset: str
    shapes: Sequence[CvatShape]
    task: str = ""


def parse_document(data: bytes, file: str) -> tuple[list[CvatImage], list[Finding]]:
    """Return the pictures of a CVAT file, and what of it cannot be read.

    Args:
        data: the file's content.
        file: its name, for the findings.
    """
    try:
        root = fromstring(data, forbid_dtd=True)
    except ParseError as exc:
        line, column = exc.position
        place = f"line {line}, column {column + 1}"
        return [], [Finding("E310", file, place, f"is not valid XML: {str(exc).partition(':')[0]}", _EXPORT)]
    except (DefusedXmlException, LookupError, ValueError) as exc:
        problem = f"must be XML in a known encoding without a document type, got {type(exc).__name__}"
        return [], [Finding("E310", file, "", problem, _EXPORT)]
    if root.tag != "annotations":
        rule = "a CVAT file: an element annotations with image elements"
        return [], [Finding("E310", file, "", must_be("the file", rule, root.tag), _EXPORT)]
    tracks = len(root.findall("track"))
    if tracks:
        message = must_be("the file", "of 'CVAT for images 1.1', without tracks", f"{tracks} tracks")
        hint = f"{_EXPORT}: its tracks then are shapes of each frame"
        return [], [Finding("E310", file, "track[0]", message, hint)]
    images: list[CvatImage] = []
    findings: list[Finding] = []
    repairs = Counter[str]()
    for index, element in enumerate(root.findall("image")):
        found = _image(index, element, file, repairs)
        if isinstance(found, Finding):
            findings.append(found)
        else:
            images.append(found)
    findings += [Finding("W324", file, "", f"{what} ({number})") for what, number in sorted(repairs.items())]
    return images, findings


def _image(index: int, element: Element, file: str, repairs: Counter[str]) -> CvatImage | Finding:
    name = element.get("name", "")
    shown = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}..."
    place = f"image[{index}]" + (f" ({shown})" if name else "")
    try:
        image = _ImageElement.model_validate(lenient_image(element.attrib, repairs))
    except ValidationError as exc:
        field = str(exc.errors(include_url=False)[0]["loc"][0])
        rule = "the picture's name" if field == "name" else "a positive integer (pixels)"
        message = f"{must_be(field, rule, element.get(field))} ({len(element)} shapes left out)"
        return Finding("E311", file, place, message, _EXPORT)
    size = (image.width, image.height) if image.width and image.height else UNKNOWN_SIZE
    return CvatImage(place, image.name, size, image.subset, _shapes(element, repairs), image.task_id)


def _shapes(parent: Element, repairs: Counter[str], prefix: str = "") -> list[CvatShape]:
    numbers: dict[str, int] = {}
    shapes = []
    for element in parent:
        if element.tag == "attribute":
            continue
        number = numbers.get(element.tag, 0)
        numbers[element.tag] = number + 1
        place = f"{prefix}{element.tag}[{number}]"
        attributes = {one.get("name", ""): (one.text or "").strip() for one in element.findall("attribute")}
        # A skeleton in a skeleton is no shape of CVAT's; its parts are left out with it.
        parts = _shapes(element, repairs, f"{place}.") if element.tag == "skeleton" and not prefix else ()
        shapes.append(CvatShape(element.tag, place, _check(element, repairs), attributes, parts))
    return shapes


def _check(element: Element, repairs: Counter[str]) -> Known | Bad:
    changed = Counter[str]()
    made = lenient_shape(element.attrib, changed)
    try:
        value = _MODELS.get(element.tag, Other).model_validate(made)
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
    else:
        if isinstance(value, Box):
            exchanged(((value.xtl, value.xbr), (value.ytl, value.ybr)), changed)
        repairs.update(changed)
        return value
    field = str(error["loc"][0])
    group = made.get("group_id", "0")
    return Bad(
        label=element.get("label"),
        group_id=int(group) if re.fullmatch(r"[0-9]{1,9}", group) else 0,
        field=field,
        problem=must_be(field, _RULES.get(field, _NUMBER), element.get(field)),
    )
