"""The shapes of CVAT's XML as pydantic models, and the check of every element.

An element that breaks the rules does not lose the others of its image. Unambiguous values in another spelling are
read and counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from posetools.core.geometry import MAX_COORDINATE
from posetools.errors import must_be
from posetools.formats.plain_numbers import whole

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

CvatCoordinate = Annotated[float, Field(allow_inf_nan=False, ge=-MAX_COORDINATE, le=MAX_COORDINATE)]


def _pairs(text: object) -> object:
    return [pair.split(",") for pair in text.split(";")] if isinstance(text, str) else text


CvatPoints = Annotated[list[tuple[CvatCoordinate, CvatCoordinate]], BeforeValidator(_pairs), Field(min_length=1)]


class _Element(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _LabeledElement(_Element):
    label: str
    group_id: int = 0
    occluded: bool = False
    rotation: Annotated[float, Field(allow_inf_nan=False)] = 0.0


class CvatBox(_LabeledElement):
    """A rectangle; ``rotation`` turns it clockwise about its center, in degrees."""

    xtl: CvatCoordinate
    ytl: CvatCoordinate
    xbr: CvatCoordinate
    ybr: CvatCoordinate


class PointSet(_LabeledElement):
    """``<points>``: one element of a skeleton, or points on their own."""

    points: CvatPoints
    outside: bool = False


class CvatOutline(_LabeledElement):
    """A polygon or polyline."""

    points: CvatPoints


class CvatEllipse(_LabeledElement):
    """An ellipse; ``rotation`` turns it clockwise about its center, in degrees."""

    cx: CvatCoordinate
    cy: CvatCoordinate
    rx: CvatCoordinate
    ry: CvatCoordinate


class Mask(_LabeledElement):
    """A mask, of which only the extent is used."""

    left: CvatCoordinate
    top: CvatCoordinate
    width: CvatCoordinate
    height: CvatCoordinate


class OtherElement(_LabeledElement):
    """A skeleton, a tag, or a shape of which only the label is used."""


CvatValue: TypeAlias = CvatBox | PointSet | CvatOutline | CvatEllipse | Mask | OtherElement

_ELEMENT_MODELS: dict[str, type[CvatValue]] = {
    "box": CvatBox,
    "points": PointSet,
    "polygon": CvatOutline,
    "polyline": CvatOutline,
    "ellipse": CvatEllipse,
    "mask": Mask,
    "cuboid": OtherElement,
    "skeleton": OtherElement,
    "tag": OtherElement,
}
_FLAG = "0 or 1"
_CVAT_RULES = {
    "label": "a string",
    "group_id": "an integer",
    "occluded": _FLAG,
    "outside": _FLAG,
    "rotation": "a finite number of degrees",
    "points": f"x,y pairs of finite numbers of at most {MAX_COORDINATE} px, separated by ;",
}
_NUMBER_RULE = f"a finite number of at most {MAX_COORDINATE} px"


@dataclass(frozen=True, slots=True)
class BadElement:
    """An element that breaks a rule, with what is still known of it.

    Attributes:
        label: its label, if it has one.
        group_id: its group, if that can be read.
        field: the attribute.
        problem: the message.
    """

    label: str | None
    group_id: int
    field: str
    problem: str


@dataclass(frozen=True, slots=True)
class CvatShape:
    """One element of an image.

    Attributes:
        kind: its tag.
        place: ``box[0]``: its tag and its index among those of that tag; a point's begins with its skeleton's.
        value: the element, or what is wrong with it.
        attributes: CVAT's attributes: name -> text.
        parts: a skeleton's points.
    """

    kind: str
    place: str
    value: CvatValue | BadElement
    attributes: dict[str, str]
    parts: Sequence[CvatShape] = ()


@dataclass(frozen=True, slots=True)
class CvatImage:
    """One image's entry.

    Attributes:
        place: ``image[3] (a.jpg)``; of a video ``frame 3``.
        name: as written.
        size: (width, height) in pixels, as written; UNKNOWN_SIZE when they are missing.
        subset: as written, empty when there is none.
        shapes: its elements in their order.
        task: the id of its task, as written; empty when there is none.
        is_frame: whether it is a frame of a video, with CVAT's name for it.
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
        shapes.append(shape_of(element, f"{prefix}{element.tag}[{number}]", repairs, {}, is_part=bool(prefix)))
    return shapes


def shape_of(
    element: Element, place: str, repairs: Counter[str], said: Mapping[str, str], *, is_part: bool = False
) -> CvatShape:
    """Return the shape of an element; ``said`` adds attributes, such as its track's label."""
    attributes = {one.get("name", ""): (one.text or "").strip() for one in element.findall("attribute")}
    # CVAT has no skeleton in a skeleton; its parts are left out with it.
    parts = shapes_in(element, repairs, f"{place}.") if element.tag == "skeleton" and not is_part else ()
    value = _check(element.tag, {**element.attrib, **said} if said else element.attrib, repairs)
    return CvatShape(element.tag, place, value, attributes, parts)


def _check(kind: str, attributes: Mapping[str, str], repairs: Counter[str]) -> CvatValue | BadElement:
    made, changes = lenient_shape(attributes)
    try:
        value = _ELEMENT_MODELS.get(kind, OtherElement).model_validate(made)
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
    else:
        if isinstance(value, CvatBox) and (value.xtl > value.xbr or value.ytl > value.ybr):
            changes.append("swapped corners of a box were put in order")
        if changes:
            repairs.update(changes)
        return value
    field = str(error["loc"][0])
    group = made.get("group_id", "0")
    return BadElement(
        label=attributes.get("label"),
        group_id=int(group) if re.fullmatch(r"[0-9]{1,9}", group) else 0,
        field=field,
        problem=must_be(field, _CVAT_RULES.get(field, _NUMBER_RULE), attributes.get(field)),
    )


_FLAGS = {"true": "1", "yes": "1", "on": "1", "1.0": "1", "false": "0", "no": "0", "off": "0", "0.0": "0"}
_NONE = frozenset({"", "none", "null", "nan"})
# What CVAT itself writes; a quick check.
_PLAIN_PAIRS = re.compile(r"-?\d+(?:\.\d+)?,-?\d+(?:\.\d+)?(?:;-?\d+(?:\.\d+)?,-?\d+(?:\.\d+)?)*", re.ASCII)
_SEPARATOR = re.compile(r"\s*,\s*|\s+")
_HALF_SIZE = "a width or height alone was ignored: the image gives both"
_NO_SIZE = "a missing size was taken from the image"


def lenient_shape(attributes: Mapping[str, str]) -> tuple[Mapping[str, str], list[str]]:
    """Return the attributes of a shape, unambiguous values as CVAT writes them, and the changes."""
    changes: list[str] = []
    made = attributes
    for field, (kind, change) in _ATTRIBUTE_CHANGES.items():
        text = made.get(field)
        # Skips most attributes of many thousand points.
        if text is None or text == "0" or text == "1":
            continue
        value = change(text)
        if value == text:
            continue
        changes.append(kind)
        made = {name: one for name, one in made.items() if name != field} | ({} if value is None else {field: value})
    return made, changes


def lenient_image(attributes: Mapping[str, str], repairs: Counter[str]) -> dict[str, str]:
    """Return the attributes of an image entry as CVAT writes them; half a size is dropped."""
    made = dict(attributes)
    said = [side for side in ("width", "height") if made.get(side, "").strip().casefold() not in _NONE]
    if len(said) < 2:
        repairs[_HALF_SIZE if said else _NO_SIZE] += 1
        made.pop("width", None)
        made.pop("height", None)
    for side in said if len(said) == 2 else ():
        value = whole(made[side])
        if isinstance(value, int) and str(value) != made[side]:
            made[side] = str(value)
            repairs["a size as a float was read as an integer"] += 1
    return made


def _plain_flag(text: str) -> str | None:
    said = text.strip().casefold()
    return None if said in _NONE else _FLAGS.get(said, said)


def _plain_group(text: str) -> str | None:
    if text.isascii() and text.isdigit():
        return text
    if text.strip().casefold() in _NONE:
        return None
    value = whole(text)
    return str(value) if isinstance(value, int) else text


def _plain_number(text: str) -> str | None:
    return None if text.strip().casefold() in _NONE - {"nan"} else text


def _plain_pairs(text: str) -> str:
    """Return pairs as CVAT writes them, without other white space and empty pairs."""
    if _PLAIN_PAIRS.fullmatch(text):
        return text
    pairs = [_SEPARATOR.split(pair.strip()) for pair in text.split(";") if pair.strip()]
    return ";".join(map(",".join, pairs)) if pairs else text


_ATTRIBUTE_CHANGES: dict[str, tuple[str, Callable[[str], str | None]]] = {
    "group_id": ("a group_id as a float was read as an integer, an empty one as none", _plain_group),
    "occluded": ("occluded or outside as a word or a float was read as 0 or 1, an empty one as 0", _plain_flag),
    "outside": ("occluded or outside as a word or a float was read as 0 or 1, an empty one as 0", _plain_flag),
    "rotation": ("an empty rotation was read as none", _plain_number),
    "points": ("points with other white space or extra separators were read as pairs", _plain_pairs),
}
