"""The COCO keypoint file as pydantic models, which define the schema, and their errors as findings.

``schemas/coco_keypoints.schema.json`` is generated from CocoFile. COCO is a foreign format: unknown keys are allowed
and kept. Rules that need the skeleton or another entry of the file (3K numbers, referenced ids, visibility,
num_keypoints) are in posetools/checks/structure.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from posetools.core.findings import Finding
from posetools.core.geometry import MAX_COORDINATE
from posetools.errors import Place, join_place, must_be

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# Any visibility other than these and 0 is an error (E107).
LABELED_VALUES = (1, 2)
MIN_AREA = 1
# Columns hold 64-bit integers.
MAX_ID = 2**63 - 1

Coordinate = Annotated[float, Field(ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
Side = Annotated[float, Field(gt=0, le=MAX_COORDINATE)]
PixelCount = Annotated[int, Field(ge=1, le=MAX_COORDINATE)]
Id = Annotated[int, Field(ge=0, le=MAX_ID)]
Count = Annotated[int, Field(ge=0, le=MAX_ID)]
Index = Annotated[int, Field(ge=0, lt=2**31)]
# Strict tuples would refuse the lists that JSON arrays become in Python; the numbers in them stay strict.
CocoBox = Annotated[tuple[Coordinate, Coordinate, Side, Side], Field(strict=False)]
Edge = Annotated[tuple[Index, Index], Field(strict=False)]
Edges = Annotated[tuple[Edge, ...], Field(strict=False)]


class _CocoEntry(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)


class CocoImage(_CocoEntry):
    """One image."""

    id: Id
    file_name: Annotated[str, Field(min_length=1, description="path inside images/, with forward slashes")]
    width: Annotated[PixelCount, Field(description="of the upright image, in pixels")]
    height: Annotated[PixelCount, Field(description="of the upright image, in pixels")]


class CocoAnnotation(_CocoEntry):
    """One object."""

    id: Id
    image_id: Id
    category_id: Id
    bbox: Annotated[CocoBox, Field(description="x, y, width, height in pixels")]
    area: Annotated[
        float, Field(gt=MIN_AREA, le=MAX_COORDINATE**2, description="in square pixels; OKS divides distances by it")
    ]
    iscrowd: Annotated[int, Field(ge=0, le=1)]
    num_keypoints: Annotated[Count, Field(description="number of keypoints with a visibility of 1 or 2")]
    keypoints: Annotated[list[Coordinate], Field(description="3K numbers: x, y, visibility (0, 1 or 2) of each point")]
    segmentation: Any = None


class CocoCategory(_CocoEntry):
    """One category; the skeleton's category names its keypoints."""

    id: Id
    name: Annotated[str, Field(min_length=1)]
    supercategory: str | None = None
    keypoints: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    skeleton: Annotated[Edges | None, Field(description="the links as 1-based pairs of keypoints")] = None


class CocoFile(_CocoEntry):
    """A COCO keypoint file."""

    info: dict[str, Any] | None = None
    licenses: list[Any] | None = None
    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


def struct_of(model: type[BaseModel]) -> type[Any]:
    """Return a msgspec struct with the same rules for the required fields: numbers, texts, lists."""
    fields = model.model_fields.items()
    required = [(name, _as_msgspec(field.annotation, field.metadata)) for name, field in fields if field.is_required()]
    return msgspec.defstruct(model.__name__, required, frozen=True, gc=False)


def _as_msgspec(kind: Any, limits: Sequence[Any]) -> Any:
    if get_origin(kind) is Annotated:
        kind, *given = get_args(kind)
        limits = [limit for each in given for limit in each.metadata]
    if of := get_args(kind):
        kind = get_origin(kind)[tuple(_as_msgspec(each, ()) for each in of)]
    names = ("ge", "gt", "le", "lt", "min_length")
    bounds = {name: getattr(limit, name) for limit in limits for name in names if hasattr(limit, name)}
    return Annotated[kind, msgspec.Meta(**bounds)] if bounds else kind


def plain_number(value: float) -> float | int:
    """Return a number as in the shortest JSON text: 3 instead of 3.0."""
    return int(value) if value.is_integer() else value


def drawn_box(value: object) -> tuple[float, float, float, float] | None:
    """Return x, y, width, height in pixels of an annotation's ``bbox`` if it is a box with a size; else None."""
    if not isinstance(value, list) or len(value) != 4 or not all(map(is_coordinate, value)):
        return None
    x, y, width, height = value
    return (x, y, width, height) if width > 0 and height > 0 else None


def lacks_size(value: object) -> bool:
    """Return whether an annotation's ``bbox`` has width or height 0, as programs write around a single point."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_coordinate, value)) and min(value[2:]) == 0


def is_coordinate(value: object) -> bool:
    """Return whether a value is a valid number of pixels."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_COORDINATE


# The rule for each field, in words; the models implement the same rules.
_COCO_RULES: dict[tuple[str, str], str] = {
    ("images", "id"): "an integer of at least 0",
    ("images", "file_name"): "a path inside images/, as text",
    ("images", "width"): "an integer of at least 1 (pixels)",
    ("images", "height"): "an integer of at least 1 (pixels)",
    ("annotations", "id"): "an integer of at least 0",
    ("annotations", "image_id"): "the id of an entry in images, an integer",
    ("annotations", "category_id"): "the id of an entry in categories, an integer",
    ("annotations", "bbox"): "4 numbers (x, y, width, height in pixels), width and height greater than 0",
    ("annotations", "area"): f"a number greater than {MIN_AREA} (square pixels)",
    ("annotations", "iscrowd"): "0 or 1",
    ("annotations", "num_keypoints"): "the number of keypoints with a visibility of 1 or 2",
    ("annotations", "keypoints"): "a list of numbers: x, y and visibility of each keypoint",
    ("categories", "id"): "an integer of at least 0",
    ("categories", "name"): "text that is not empty",
    ("categories", "supercategory"): "text",
    ("categories", "keypoints"): "a list of names",
    ("categories", "skeleton"): "a list of pairs of 1-based indices into keypoints",
}
_ITEM_RULES: dict[tuple[str, str], str] = {
    ("annotations", "bbox"): "a number of pixels",
    ("annotations", "keypoints"): "a number",
    ("categories", "keypoints"): "a name, as text",
    ("categories", "skeleton"): "a pair of 1-based indices into keypoints",
}
_TOP_RULES = {"info": "an object", "licenses": "a list"}
# The code for a value of the right type that is out of range.
_RANGE_CODES: dict[tuple[str, str], str] = {
    ("images", "file_name"): "E125",
    ("images", "width"): "E123",
    ("images", "height"): "E123",
    ("annotations", "image_id"): "E110",
    ("annotations", "category_id"): "E111",
    ("annotations", "area"): "E104",
    ("annotations", "num_keypoints"): "E105",
    ("annotations", "iscrowd"): "E115",
    ("categories", "skeleton"): "E114",
}
_MISSING_CODES = {"area": "E104", "num_keypoints": "E105", "iscrowd": "E115"}
_LOWER_TYPES = frozenset({"greater_than", "greater_than_equal", "string_too_short"})
_UPPER_TYPES = frozenset({"less_than", "less_than_equal"})

AREA_HINT = (
    "`posetools validate --fix` writes width x height of the box: OKS divides by area; with area 0 or 1, AP is 0 for "
    "predictions that are a pixel off, and AP(M) = AP(L) = -1; without area, evaluation stops with KeyError: 'area'"
)
COUNT_HINT = (
    "`posetools validate --fix` counts them: MMPose drops objects whose num_keypoints is 0, and COCO's evaluation "
    "ignores them"
)
EDGES_HINT = (
    "`posetools validate --fix` adds 1 to every index where a 0 shows that they are 0-based: COCO's edges are 1-based"
)
_REDRAW = "draw it again, or remove the annotation"
_CODE_HINTS = {
    "E101": "add it: COCO readers stop with a KeyError here, or silently drop the entry",
    "E103": "label the object again, or remove the annotation: JSON has no NaN and no infinity",
    "E104": AREA_HINT,
    "E105": COUNT_HINT,
    "E108": f"{_REDRAW}: MMDet and MMPose silently drop such a box",
    "E110": "add the image to images, or remove the annotation",
    "E114": EDGES_HINT,
    "E115": "`posetools validate --fix` writes 0 where it is missing: 0 is one object, 1 a crowd",
    "E123": "write the width and height of the upright image",
    "E125": "write the path relative to images/",
}
# `posetools convert` already repairs what it can from boxes and keypoints; --fix cannot repair the rest either.
_READING_HINTS = {
    "E104": f"{_REDRAW}: OKS divides by area, and the box's area is at most 1",
    "E105": "correct the keypoints: num_keypoints counts them",
    "E115": "write 0 for one object, 1 for a crowd",
}
# A field -> the field that it is computed from if it is missing or invalid.
_MADE_FROM = {"area": "bbox", "num_keypoints": "keypoints"}
_BBOX_HINT = "`posetools convert --box-from keypoints` makes boxes from the labeled keypoints"
_ID_HINT = "number the entries 1, 2, 3, ...: text and fractions fail in evaluation"

# A note of a reading step: code, place, message, hint.
Note = tuple[str, str, str, str]


def own_errors(errors: Sequence[ErrorDetails]) -> list[tuple[ErrorDetails, int]]:
    """Return the first pydantic error of each field of an annotation, with the number of further ones.

    Errors on a computed field are left out if the field that it is computed from is invalid too.
    """
    fields: dict[object, list[ErrorDetails]] = {}
    for error in errors:
        fields.setdefault(error["loc"][0] if error["loc"] else None, []).append(error)
    return [
        (found[0], len(found) - 1)
        for field, found in fields.items()
        if _MADE_FROM.get(str(field)) not in fields or found[0]["type"] not in ("missing", *_LOWER_TYPES)
    ]


def finding_from(
    error: ErrorDetails,
    loc: tuple[int | str, ...],
    found: object,
    path: Path,
    *,
    reading: bool = False,
    more: int = 0,
) -> Finding:
    """Return the finding for one pydantic error in a COCO file.

    Args:
        error: pydantic's error.
        loc: its location in the file: list, index, field, index in it, as far as known.
        found: the entry that it is in, or the whole file if it is in none.
        path: the file.
        reading: True for `posetools convert`, False for `validate`.
        more: how many more values of the field are wrong.
    """
    if len(loc) < 3:
        return _without_field(error, loc, found, path)
    kind, position, field = str(loc[0]), int(loc[1]), str(loc[2])
    code, name, rule = _field_problem(error, loc)
    if error["type"] == "missing" and len(loc) == 3:
        message = f"{field} must be {rule}, but is missing"
    else:
        message = must_be(name, rule, error["input"])
    message += f" (and {more} more of its numbers)" if more else ""
    hint = _ID_HINT if code == "E102" and field.endswith("id") else _CODE_HINTS.get(code, "")
    if reading:
        hint = _READING_HINTS.get(code, hint)
    if field == "bbox" and ((reading and _box_can_be_made(found)) or (not reading and code == "E101")):
        hint = f"{_BBOX_HINT}; else {_REDRAW}" if code == "E108" else _BBOX_HINT
    return Finding(code, str(path), raw_place(kind, position, found), message, hint)


def _box_can_be_made(entry: object) -> bool:
    """Return whether an annotation has no box, or one without size, but a labeled keypoint to make one from."""
    if not isinstance(entry, Mapping):
        return False
    box, keypoints = entry.get("bbox"), entry.get("keypoints")
    return (
        (not box or lacks_size(box))
        and isinstance(keypoints, list)
        and any(seen in LABELED_VALUES for seen in keypoints[2::3] if isinstance(seen, int | float))
    )


def raw_place(kind: str, position: int, entry: object) -> Place:
    """Return the place of an entry, with its id and name if they are valid."""
    if not isinstance(entry, Mapping):
        return Place.entry(kind, position)
    number, name = entry.get("id"), entry.get({"images": "file_name", "categories": "name"}.get(kind, ""))
    about = [f"id {number}"] if isinstance(number, int) and not isinstance(number, bool) else []
    return Place.entry(kind, position, *about, name if isinstance(name, str) else "")


def _without_field(error: ErrorDetails, loc: tuple[int | str, ...], document: object, path: Path) -> Finding:
    if error["type"] == "missing":
        hint = "give a COCO file: an object with the lists images, annotations and categories"
        return Finding("E101", str(path), "", f"{loc[0]} must be a list, but is missing", hint)
    if not loc:
        rule = "an object with the lists images, annotations and categories"
        hint = "give the COCO file, or the folder that it is in"
        return Finding("E102", str(path), "", must_be("the file", rule, document), hint)
    is_entry = len(loc) == 2
    place = Place.entry(str(loc[0]), int(loc[1])) if is_entry else str(loc[0])
    rule = "an object" if is_entry else _TOP_RULES.get(place, "a list")
    return Finding(
        "E102", str(path), place, must_be(place, rule, error["input"]), "correct the file, or export it again"
    )


def _field_problem(error: ErrorDetails, loc: tuple[int | str, ...]) -> tuple[str, str, str]:
    """Return the code, the field's name with the index in it, and its rule."""
    of, kind, field = error["type"], str(loc[0]), str(loc[2])
    whole, is_item = _COCO_RULES[kind, field], len(loc) > 3
    name = join_place(loc[2:])
    if of == "missing" and not is_item:
        return _MISSING_CODES.get(field, "E101"), field, whole
    if of in ("missing", "too_long"):
        # A missing number is reported at its index, a surplus one at the list.
        listed = join_place(loc[2:-1]) if of == "missing" else name
        return ("E114", listed, _ITEM_RULES[kind, field]) if field == "skeleton" else ("E102", listed, whole)
    if of == "finite_number":
        return "E103", name, "a finite number"
    if of in _UPPER_TYPES and field != "iscrowd":
        return "E102", name, f"at most {error['ctx'].get('le', error['ctx'].get('lt'))}"
    if of in _LOWER_TYPES and is_item and kind == "annotations":
        side = field == "bbox" and of == "greater_than"
        return ("E108", name, "greater than 0") if side else ("E102", name, f"at least -{MAX_COORDINATE}")
    if of in _LOWER_TYPES or of in _UPPER_TYPES:
        return _RANGE_CODES.get((kind, field), "E102"), name, whole
    return "E102", name, _ITEM_RULES.get((kind, field), whole) if is_item else whole
