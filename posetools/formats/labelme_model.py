"""labelme's JSON as pydantic models, and the first two steps of reading it: parse the bytes, check every shape.

The fast way is one call that checks the whole file. Only when that fails is the file taken apart, so that one bad
shape does not lose the others; both ways use the same models and so accept and refuse the same. Unknown keys are
ignored. ``imageData`` is such a key: it is skipped while parsing and never becomes a Python object.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError
from pydantic_core import from_json

from posetools.errors import join_place, must_be
from posetools.findings import Finding

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# Pixels; beyond the limit float64 has no fractions left to keep.
_LIMIT = 1e6
Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-_LIMIT, le=_LIMIT)]
Pixels = Annotated[int, Field(strict=True, gt=0)]


class Shape(BaseModel):
    """One shape of a labelme file, with the fields that say something about boxes and keypoints."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    label: StrictStr
    points: list[tuple[Coordinate, Coordinate]]
    group_id: StrictInt | None = None
    # labelme's own default for files that do not say.
    shape_type: StrictStr = "polygon"
    flags: dict[str, StrictBool] | None = None
    description: StrictStr | None = None
    # X-AnyLabeling's mark for hidden points.
    difficult: StrictBool | None = None


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    imagePath: StrictStr
    imageWidth: Pixels | None = None
    imageHeight: Pixels | None = None
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


AnyShape: TypeAlias = Shape | BadShape


@dataclass(frozen=True, slots=True)
class Document:
    """A labelme file, checked.

    Attributes:
        picture: ``imagePath`` as written.
        size: (imageWidth, imageHeight), or None when the file does not say.
        shapes: the shapes in their order.
    """

    picture: str
    size: tuple[int, int] | None
    shapes: Sequence[AnyShape]


_RULES = {
    "label": "a text",
    "group_id": "an integer or null",
    "shape_type": "a text",
    "flags": "an object of true and false, or null",
    "description": "a text or null",
    "difficult": "true, false or null",
}
_ADVICE = "correct the file in labelme, or move it out of the source"


def parse_document(data: bytes, file: str) -> Document | Finding:
    """Return the labelme file with these bytes, or why it cannot be read.

    Args:
        data: the file's content, UTF-8 with or without a byte order mark.
        file: its name, for the finding.
    """
    content = data.removeprefix(_BYTE_ORDER_MARK)
    try:
        document = _Document.model_validate_json(content)
    except ValidationError:
        return _take_apart(content, file)
    if document.imageWidth is None or document.imageHeight is None:
        if document.imageWidth is not document.imageHeight:
            return _take_apart(content, file)
        return Document(document.imagePath, None, document.shapes)
    return Document(document.imagePath, (document.imageWidth, document.imageHeight), document.shapes)


def _take_apart(content: bytes, file: str) -> Document | Finding:
    try:
        raw = from_json(content)
    except ValueError as exc:
        found = re.fullmatch(r"(.*) at line (\d+) column (\d+)", str(exc))
        reason, place = (found[1], f"line {found[2]}, column {found[3]}") if found else (str(exc), "")
        return Finding("E310", file, place, f"is not valid JSON in UTF-8: {reason}", _ADVICE)
    if not isinstance(raw, dict) or not isinstance(raw.get("shapes"), list):
        keys = sorted(raw) if isinstance(raw, dict) else raw
        rule = "a labelme file: an object with the keys shapes (a list) and imagePath"
        return Finding("E310", file, "", must_be("the file", rule, keys), _ADVICE)
    picture = raw.get("imagePath")
    if not isinstance(picture, str):
        return Finding("E310", file, "imagePath", must_be("imagePath", "a text", picture), _ADVICE)
    width: Any = raw.get("imageWidth")
    height: Any = raw.get("imageHeight")
    size = None
    if width is not None or height is not None:
        for field, value in (("imageWidth", width), ("imageHeight", height)):
            if not _is_pixels(value):
                rule = "a positive integer (or both sizes null)"
                return Finding("E311", file, field, must_be(field, rule, value), _ADVICE)
        size = (width, height)
    return Document(picture, size, [_check_shape(shape) for shape in raw["shapes"]])


def _is_pixels(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check_shape(raw: Any) -> AnyShape:
    try:
        return Shape.model_validate(raw)
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
    if not isinstance(raw, dict):
        return BadShape(None, None, False, "", must_be("a shape", "an object", raw))
    location = error["loc"][:2] if error["loc"][0] == "points" else error["loc"][:1]
    field = join_place(location)
    value: Any = raw.get(str(location[0]))
    if len(location) == 2:
        value, rule = value[location[1]], f"two finite numbers (x, y) of at most {_LIMIT:.0f} px"
    else:
        rule = _RULES.get(field, "a list of (x, y) pairs")
    label, group = raw.get("label"), raw.get("group_id")
    return BadShape(
        label=label if isinstance(label, str) else None,
        group_id=group if isinstance(group, int) and not isinstance(group, bool) else None,
        is_point=raw.get("shape_type") == "point",
        field=field,
        problem=must_be(field, rule, value),
    )
