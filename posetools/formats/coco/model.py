"""The COCO keypoint file as pydantic models: the schema of record.

``schemas/coco_keypoints.schema.json`` is generated from CocoFile. COCO is a foreign format: unknown keys are allowed
and kept. What a model cannot say, because it needs the skeleton or another entry of the file (3K numbers, the ids that
an annotation refers to, visibility, num_keypoints), posetools/checks/structure.py checks.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from posetools.core.geometry import MAX_COORDINATE

# No picture is larger; below it, float64 holds every coordinate to 1e-9 pixel.
# Any other visibility than these and 0 is an error (E107), which says nothing of the point.
LABELED = (1, 2)
MIN_AREA = 1
# Columns are of 64 bits.
MAX_ID = 2**63 - 1

Coordinate = Annotated[float, Field(ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
Side = Annotated[float, Field(gt=0, le=MAX_COORDINATE)]
Pixels = Annotated[int, Field(ge=1, le=MAX_COORDINATE)]
Id = Annotated[int, Field(ge=0, le=MAX_ID)]
Count = Annotated[int, Field(ge=0, le=MAX_ID)]
Index = Annotated[int, Field(ge=0, lt=2**31)]
# Strict tuples refuse the lists that JSON arrays become in Python; the numbers in them stay strict.
Box = Annotated[tuple[Coordinate, Coordinate, Side, Side], Field(strict=False)]
Edge = Annotated[tuple[Index, Index], Field(strict=False)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)


class CocoImage(_Entry):
    """One picture."""

    id: Id
    file_name: Annotated[str, Field(min_length=1, description="path inside images/, with forward slashes")]
    width: Annotated[Pixels, Field(description="of the upright picture, in pixels")]
    height: Annotated[Pixels, Field(description="of the upright picture, in pixels")]


class CocoAnnotation(_Entry):
    """One object."""

    id: Id
    image_id: Id
    category_id: Id
    bbox: Annotated[Box, Field(description="x, y, width, height in pixels")]
    area: Annotated[
        float, Field(gt=MIN_AREA, le=MAX_COORDINATE**2, description="in square pixels; OKS divides distances by it")
    ]
    iscrowd: Annotated[int, Field(ge=0, le=1)]
    num_keypoints: Annotated[Count, Field(description="how many keypoints have a visibility of 1 or 2")]
    keypoints: Annotated[list[Coordinate], Field(description="3K numbers: x, y, visibility (0, 1 or 2) of each point")]
    segmentation: Any = None


class CocoCategory(_Entry):
    """One category; that of the skeleton names its keypoints."""

    id: Id
    name: Annotated[str, Field(min_length=1)]
    supercategory: str | None = None
    keypoints: list[str] | None = None
    skeleton: Annotated[list[Edge] | None, Field(description="the links as 1-based pairs of keypoints")] = None


class CocoFile(_Entry):
    """A COCO keypoint file."""

    info: dict[str, Any] | None = None
    licenses: list[Any] | None = None
    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


def plain_number(value: float) -> float | int:
    """Return a number as JSON text shows it best: 3 instead of 3.0."""
    return int(value) if value.is_integer() else value


def drawn_box(value: object) -> tuple[float, float, float, float] | None:
    """Return x, y, width, height in pixels of an annotation's ``bbox``, where it is a box with a size; else None."""
    if not isinstance(value, list) or len(value) != 4 or not all(map(is_coordinate, value)):
        return None
    x, y, width, height = value
    return (x, y, width, height) if width > 0 and height > 0 else None


def lacks_size(value: object) -> bool:
    """Return whether an annotation's ``bbox`` is one of width or height 0, as programs write it round one point."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_coordinate, value)) and min(value[2:]) == 0


def is_coordinate(value: object) -> bool:
    """Return whether a JSON value is a number of pixels that COCO files may hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_COORDINATE
