"""labelme's JSON as pydantic models, and the first two steps of reading it: parse the bytes, check every shape.

The pydantic models are the schema. msgspec decodes a file into the same fields with the same bounds; what it refuses,
the models decide: the whole file first, then shape by shape, so that one bad shape does not lose the others. msgspec's
structs are stricter: they accept only the keys that labelme and X-AnyLabeling write, because msgspec skips unknown
keys without checking their values. A test holds that both ways accept and refuse the same. Unknown keys are ignored,
and so is an ``imageData`` that is not a string.

Where the models refuse a file, unambiguous values of another type are read: ``"1"`` as 1, ``[]`` as no flags. Changes
are counted by kind; anything else is left as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, TypeAlias

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError
from pydantic_core import from_json

from posetools.core.findings import Finding
from posetools.core.geometry import MAX_COORDINATE
from posetools.errors import from_json_error, join_place, must_be
from posetools.files.disk import unmarked
from posetools.formats.plain_numbers import whole

LabelmeCoordinate = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
LabelmePixels = Annotated[int, Field(strict=True, gt=0, le=MAX_COORDINATE)]


class Shape(BaseModel):
    """One shape of a labelme file, with the fields that matter for boxes and keypoints."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    label: StrictStr
    points: list[tuple[LabelmeCoordinate, LabelmeCoordinate]]
    group_id: StrictInt | None = None
    # labelme's default.
    shape_type: StrictStr = "polygon"
    flags: dict[str, StrictBool] | None = None
    description: StrictStr | None = None
    # X-AnyLabeling's mark for occluded points.
    difficult: StrictBool | None = None
    # Visibility as other programs write it, of any type; read by visibility_words.
    attributes: Any = None
    visible: Any = None
    occluded: Any = None
    visibility: Any = None


class _LabelmeDocument(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    imagePath: StrictStr
    imageData: Any = None
    imageWidth: LabelmePixels | None = None
    imageHeight: LabelmePixels | None = None
    shapes: list[Shape]


@dataclass(frozen=True, slots=True)
class BadShape:
    """A shape that breaks the format's rules, with what is still known of it.

    Attributes:
        label: its label, when that is a string.
        group_id: its group, when that is an integer.
        is_point: whether it is certainly a point, and so cannot be a box.
        field: the place in the shape (``points[1]``), empty for the shape as a whole.
        problem: the message.
    """

    label: str | None
    group_id: int | None
    is_point: bool
    field: str
    problem: str


# The pydantic models again, for msgspec. Values from JSON have no cycles, so they need no garbage collector.
_QuickCoordinate = Annotated[float, msgspec.Meta(ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
_QuickPixels = Annotated[int, msgspec.Meta(gt=0, le=MAX_COORDINATE)]
_Scalar: TypeAlias = str | int | float | bool | None


class QuickShape(msgspec.Struct, gc=False, frozen=True, forbid_unknown_fields=True):
    """Shape, decoded many times faster, in labelme's key order; the other keys are not used."""

    label: str
    points: list[tuple[_QuickCoordinate, _QuickCoordinate]]
    group_id: int | None = None
    description: str | None = None
    shape_type: str = "polygon"
    flags: dict[str, bool] | None = None
    mask: str | None = None
    difficult: bool | None = None
    score: float | None = None
    direction: float | None = None
    attributes: dict[str, _Scalar] | None = None
    kie_linking: list[list[int]] | None = None
    # A file with one of these keys goes to the models.
    visible: ClassVar[None] = None
    occluded: ClassVar[None] = None
    visibility: ClassVar[None] = None


class QuickDocument(msgspec.Struct, gc=False, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """_LabelmeDocument for msgspec; the other keys are not used."""

    version: str | None = None
    flags: dict[str, bool] | None = None
    shapes: list[QuickShape]
    imagePath: str
    imageData: str | None = None
    imageHeight: _QuickPixels | None = None
    imageWidth: _QuickPixels | None = None
    text: str | None = None
    description: str | None = None


_decode = msgspec.json.Decoder(QuickDocument).decode

SoundShape: TypeAlias = Shape | QuickShape
AnyShape: TypeAlias = SoundShape | BadShape


@dataclass(frozen=True, slots=True)
class Document:
    """A labelme file, checked.

    Attributes:
        image_path: ``imagePath`` as written.
        size: (imageWidth, imageHeight), or None when the file does not say.
        shapes: the shapes in their order.
        repairs: values of other types that were read, and how many.
        image: ``imageData``, the image itself in base64, or empty.
    """

    image_path: str
    size: tuple[int, int] | None
    shapes: Sequence[AnyShape]
    repairs: Mapping[str, int] = field(default_factory=dict)
    image: str = ""


_LABELME_RULES = {
    "label": "a string",
    "group_id": "an integer or null",
    "shape_type": "a string",
    "flags": "an object of booleans, or null",
    "description": "a string or null",
    "difficult": "true, false or null",
}
_NAMED_GROUP = "a group_id as a string was read as a group name"
_FILE_ADVICE = "correct the file in labelme, or move it out of the source"


def quick_document(content: bytes) -> QuickDocument | None:
    """Return a labelme file with only usual content; None when the models have to decide.

    Args:
        content: UTF-8 without a byte order mark.
    """
    try:
        document = _decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return document if (document.imageWidth is None) is (document.imageHeight is None) else None


def parse_document(data: bytes, file: str) -> Document | Finding:
    """Return the labelme file with these bytes, or why it cannot be read.

    Args:
        data: the file's content, UTF-8 or in the encoding of its byte order mark.
        file: its name, for the finding.
    """
    try:
        content = unmarked(data)
    except UnicodeDecodeError as exc:
        problem = "text must be encoded as its byte order mark says, got another byte"
        return Finding("E310", file, f"byte {exc.start}", problem, _FILE_ADVICE)
    quick = quick_document(content)
    return slow_document(content, file) if quick is None else _document(quick)


def slow_document(content: bytes, file: str) -> Document | Finding:
    """Return what ``parse_document`` does, with the pydantic models alone; ``content`` has no byte order mark."""
    try:
        document = _LabelmeDocument.model_validate_json(content)
    except ValidationError:
        return _take_apart(content, file)
    if (document.imageWidth is None) is not (document.imageHeight is None):
        return _take_apart(content, file)
    return _document(document)


def _document(document: _LabelmeDocument | QuickDocument) -> Document:
    width, height = document.imageWidth, document.imageHeight
    size = None if width is None or height is None else (width, height)
    return Document(document.imagePath, size, document.shapes, image=_text(document.imageData))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _take_apart(content: bytes, file: str) -> Document | Finding:
    try:
        raw = from_json(content)
    except ValueError as exc:
        return Finding("E310", file, *from_json_error(exc), _FILE_ADVICE)
    if not isinstance(raw, dict) or not isinstance(raw.get("shapes"), list):
        keys = sorted(raw) if isinstance(raw, dict) else raw
        rule = "a labelme file: an object with the keys shapes (a list) and imagePath"
        return Finding("E310", file, "", must_be("the file", rule, keys), _FILE_ADVICE)
    image = raw.get("imagePath")
    if not isinstance(image, str):
        return Finding("E310", file, "imagePath", must_be("imagePath", "a string", image), _FILE_ADVICE)
    repairs: Counter[str] = Counter()
    size = _size(raw, repairs, file)
    if isinstance(size, Finding):
        return size
    lenient = [lenient_shape(shape, repairs) for shape in raw["shapes"]]
    repairs[_NAMED_GROUP] += sum(isinstance(one, dict) and isinstance(one.get("group_id"), str) for one in lenient)
    shapes = list(map(_check_shape, lenient))
    return Document(image, size, shapes, repairs, _text(raw.get("imageData")))


def _size(raw: dict[str, Any], repairs: Counter[str], file: str) -> tuple[int, int] | Finding | None:
    said = {key: raw.get(key) for key in ("imageWidth", "imageHeight")}
    sizes = {key: whole(value) for key, value in said.items()}
    for key, value in sizes.items():
        if value is not None and not _is_pixels(value):
            rule = f"a positive integer of at most {MAX_COORDINATE} px (or both sizes null)"
            return Finding("E311", file, key, must_be(key, rule, said[key]), _FILE_ADVICE)
    width, height = sizes.values()
    if width is None or height is None:
        if width is not height:
            repairs["a width or height alone was ignored: the image gives both"] += 1
        return None
    changed = sum(type(sizes[key]) is not type(said[key]) for key in said)
    if changed:
        repairs["a size as a string or a float was read as an integer"] += changed
    return width, height


def _is_pixels(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_COORDINATE


def _check_shape(raw: Any) -> AnyShape:
    group = raw.get("group_id") if isinstance(raw, dict) else None
    try:
        if isinstance(group, str):
            # labelme's groups are numbers; a name works as a group too.
            return Shape.model_validate({**raw, "group_id": None}).model_copy(update={"group_id": group})
        return Shape.model_validate(raw)
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
    if not isinstance(raw, dict):
        return BadShape(None, None, False, "", must_be("a shape", "an object", raw))
    location = error["loc"][:2] if error["loc"][0] == "points" else error["loc"][:1]
    at = join_place(location)
    value: Any = raw.get(str(location[0]))
    if len(location) == 2:
        value, rule = value[location[1]], f"two finite numbers (x, y) of at most {MAX_COORDINATE} px"
    else:
        rule = _LABELME_RULES.get(at, "a list of (x, y) pairs")
    label = raw.get("label")
    return BadShape(
        label=label if isinstance(label, str) else None,
        group_id=group if isinstance(group, int) and not isinstance(group, bool) else None,
        is_point=raw.get("shape_type") == "point",
        field=at,
        problem=must_be(at, rule, value),
    )


_NUMBER_TEXT = re.compile(r"[+-]?(?:\d{1,15}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,3})?")
_BOOLS = {"true": True, "false": False, "1": True, "0": False}


def lenient_shape(raw: Any, repairs: Counter[str]) -> Any:
    """Return a shape with unambiguous values in labelme's types; count the changes."""
    if not isinstance(raw, dict):
        return raw
    made = dict(raw)
    for key, (kind, change) in _VALUE_CHANGES.items():
        if key in raw:
            value = change(raw[key])
            # 1 == True, and [1] == [True].
            if repr(value) != repr(raw[key]):
                made[key] = value
                repairs[kind] += 1
    return made


def _group(value: Any) -> Any:
    number = whole(value)
    return number.strip() or None if isinstance(number, str) else number


def flag(value: Any) -> Any:
    """Return a number or string that means true or false as a bool; any other value as is."""
    # 1.0 and True are equal to 1, and mean the same here.
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    return _BOOLS.get(value.casefold(), value) if isinstance(value, str) else value


def _flags(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: flag(on) for name, on in value.items()}
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return dict.fromkeys(value, True)
    return None if value == "" else value


def _plain_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _label(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def pairs(value: Any) -> Any:
    """Return a list of points with strings as numbers; any other value as is."""
    if not isinstance(value, list) or not all(isinstance(point, list) for point in value):
        return value
    return [[coordinate(number) for number in point] for point in value]


def coordinate(value: Any) -> Any:
    """Return the number that a string holds; any other value as is."""
    return float(value) if isinstance(value, str) and _NUMBER_TEXT.fullmatch(value.strip()) else value


_VALUE_CHANGES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "label": ("a label as a number was read as a string", _label),
    "points": ("coordinates as strings were read as numbers", pairs),
    "group_id": ("a group_id as a string or a float was read as an integer, an empty one as none", _group),
    "flags": ("flags as names, 0, 1 or strings were read as true and false", _flags),
    "description": ("a description as a number was read as a string", _plain_text),
    "difficult": ("difficult as 0, 1 or a string was read as true or false", flag),
    "shape_type": (
        "a shape_type of null was read as missing",
        lambda value: "polygon" if value is None else value,
    ),
}
