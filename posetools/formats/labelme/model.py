"""labelme's JSON as pydantic models, and the first two steps of reading it: parse the bytes, check every shape.

The pydantic models are the schema. What a file holds is decoded by msgspec into the same fields under the same bounds;
whatever that refuses, the models decide: in one call, and when that fails too, shape by shape, so that one bad shape
does not lose the others. msgspec's structs are the narrower of the two: they know the keys that labelme and
X-AnyLabeling write and refuse all others, because it skips over unknown ones without looking whether they are sound. A
test holds that both ways accept and refuse the same. Unknown keys are ignored, and so is an ``imageData`` that is no
text.

Where the models refuse a file, values in another type than labelme's that have one meaning are read: ``"1"`` for 1,
``[]`` for no flags. What is changed is counted by kind, and anything else is left as it is.
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
    """One shape of a labelme file, with the fields that say something about boxes and keypoints."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    label: StrictStr
    points: list[tuple[LabelmeCoordinate, LabelmeCoordinate]]
    group_id: StrictInt | None = None
    # labelme's own default for files that do not say.
    shape_type: StrictStr = "polygon"
    flags: dict[str, StrictBool] | None = None
    description: StrictStr | None = None
    # X-AnyLabeling's mark for hidden points.
    difficult: StrictBool | None = None
    # What other writers say of a point's visibility, read by visibility_words whatever its type.
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
    """A shape that breaks the format's rules, with what is known of it all the same.

    Attributes:
        label: its label, when that is a text.
        group_id: its group, when that is an integer.
        is_point: whether it certainly is a point, and so hides no box.
        field: the place in the shape (``points[1]``), empty for the shape as a whole.
        problem: the sentence about it.
    """

    label: str | None
    group_id: int | None
    is_point: bool
    field: str
    problem: str


# The pydantic models again, for msgspec. What comes from JSON holds no cycles, and so needs no garbage collector.
_QuickCoordinate = Annotated[float, msgspec.Meta(ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
_QuickPixels = Annotated[int, msgspec.Meta(gt=0, le=MAX_COORDINATE)]
_Scalar: TypeAlias = str | int | float | bool | None


class QuickShape(msgspec.Struct, gc=False, frozen=True, forbid_unknown_fields=True):
    """What Shape is, decoded many times faster, in labelme's order; other keys are read and not looked at."""

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
    # With one of these keys the models decide.
    visible: ClassVar[None] = None
    occluded: ClassVar[None] = None
    visibility: ClassVar[None] = None


class QuickDocument(msgspec.Struct, gc=False, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What _LabelmeDocument is; the other keys are read and not looked at."""

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
        repairs: what values of other types were taken for, and how many.
        image: ``imageData``, the image itself in base64, or empty.
    """

    image_path: str
    size: tuple[int, int] | None
    shapes: Sequence[AnyShape]
    repairs: Mapping[str, int] = field(default_factory=dict)
    image: str = ""


_LABELME_RULES = {
    "label": "a text",
    "group_id": "an integer or null",
    "shape_type": "a text",
    "flags": "an object of true and false, or null",
    "description": "a text or null",
    "difficult": "true, false or null",
}
_NAMED_GROUP = "a group_id as a text was taken for the name of a group"
_FILE_ADVICE = "correct the file in labelme, or move it out of the source"


def quick_document(content: bytes) -> QuickDocument | None:
    """Return a labelme file in which all is usual; None when the models have to decide.

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
        data: the file's content, UTF-8 or what its byte order mark says.
        file: its name, for the finding.
    """
    try:
        content = unmarked(data)
    except UnicodeDecodeError as exc:
        problem = "text must be what its byte order mark says, which this byte is not"
        return Finding("E310", file, f"byte {exc.start}", problem, _FILE_ADVICE)
    quick = quick_document(content)
    return slow_document(content, file) if quick is None else _document(quick)


def slow_document(content: bytes, file: str) -> Document | Finding:
    """Return what ``parse_document`` does, by the pydantic models alone; ``content`` is without a byte order mark."""
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
        return Finding("E310", file, "imagePath", must_be("imagePath", "a text", image), _FILE_ADVICE)
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
            repairs["a size without its other half was not used: the image says both"] += 1
        return None
    changed = sum(type(sizes[key]) is not type(said[key]) for key in said)
    if changed:
        repairs["a size as a text or a fraction was taken for an integer"] += changed
    return width, height


def _is_pixels(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_COORDINATE


def _check_shape(raw: Any) -> AnyShape:
    group = raw.get("group_id") if isinstance(raw, dict) else None
    try:
        if isinstance(group, str):
            # Labelme's groups are numbers; a name is one group as well.
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
    """Return a shape with the values that have one meaning in labelme's types; count what was changed."""
    if not isinstance(raw, dict):
        return raw
    made = dict(raw)
    for key, (kind, change) in _VALUE_CHANGES.items():
        if key in raw:
            value = change(raw[key])
            # 1 equals True, and a list of the one a list of the other.
            if repr(value) != repr(raw[key]):
                made[key] = value
                repairs[kind] += 1
    return made


def _group(value: Any) -> Any:
    number = whole(value)
    return number.strip() or None if isinstance(number, str) else number


def flag(value: Any) -> Any:
    """Return the true or false that a value is, as a number or a text; else the value itself."""
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
    """Return a list of points with texts as numbers; else the value itself."""
    if not isinstance(value, list) or not all(isinstance(point, list) for point in value):
        return value
    return [[coordinate(number) for number in point] for point in value]


def coordinate(value: Any) -> Any:
    """Return the number that a text is; else the value itself."""
    return float(value) if isinstance(value, str) and _NUMBER_TEXT.fullmatch(value.strip()) else value


_VALUE_CHANGES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "label": ("a label as a number was taken for its digits", _label),
    "points": ("coordinates as texts were taken for numbers", pairs),
    "group_id": ("a group_id as a text or a fraction was taken for an integer, an empty one for none", _group),
    "flags": ("flags as names, 0, 1 or texts were taken for true and false", _flags),
    "description": ("a description as a number was taken for a text", _plain_text),
    "difficult": ("difficult as 0, 1 or a text was taken for true or false", flag),
    "shape_type": (
        "a shape_type of null was taken for a missing one",
        lambda value: "polygon" if value is None else value,
    ),
}
