"""The mapping of the custom format: a TOML file that describes the columns of a table.

::

    file = "csv"                      # or "jsonl": a JSON object per line
    units = "pixel"                   # or "fraction" or "percent" of the image

    [columns]
    picture = "image"                 # the image's path, relative to the table
    object = "car"                    # identifies the rows of an object (optional; else one object per image)

    [point]                           # one row per point; or [points], one row per object (see Points)
    name = "part"
    x = "x"
    y = "y"
    visibility = "state"

    [box]                             # optional (--box-from keypoints)
    columns = ["left", "top", "width", "height"]
    convention = "xywh"               # or xyxy, cxcywh

    [visibility]                      # optional; default: 0, 1 and 2
    0 = ["absent"]
    1 = ["occluded"]
    2 = ["visible"]

    [names]                           # names in the table -> names in the skeleton
    lfb = "left-front-bumper"

Parsed with tomllib, checked by pydantic: an unknown key is an error, and so is a missing one.
"""

from __future__ import annotations

import codecs
import string
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from posetools.core.dataset import Visibility
from posetools.errors import from_validation, must_be
from posetools.files.disk import read_toml

Text = Annotated[str, Field(min_length=1)]
Units = Literal["pixel", "fraction", "percent"]


class _MappingPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ColumnNames(_MappingPart):
    """The columns that identify a row: its image, and optionally its object, category and split."""

    picture: Text
    object: Text | None = None
    category: Text | None = None
    split: Text | None = None


class PointColumns(_MappingPart):
    """One row per point: the columns of its name, x, y and visibility."""

    name: Text
    x: Text
    y: Text
    visibility: Text | None = None


class ObjectColumns(_MappingPart):
    """One row per object: patterns of column names in which ``{name}`` is the keypoint's name in the table.

    ``names`` are those names; default: the skeleton's.
    """

    x: Text
    y: Text
    visibility: Text | None = None
    names: tuple[Text, ...] | None = Field(default=None, strict=False)

    @field_validator("x", "y", "visibility")
    @classmethod
    def _has_name(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                fields = [field for _, field, _, _ in string.Formatter().parse(pattern) if field is not None]
            except ValueError:
                fields = []
            if fields != ["name"]:
                raise ValueError(must_be("the pattern", "a column's name with {name} once", pattern))
        return pattern


class BoxColumns(_MappingPart):
    """The four columns of a box, and their convention."""

    columns: tuple[Text, Text, Text, Text] = Field(strict=False)
    convention: Literal["xyxy", "xywh", "cxcywh"]
    units: Units | None = None


class TableMapping(_MappingPart):
    """The columns of a table.

    Attributes:
        file: CSV with a header, or a JSON object per line.
        delimiter: of a CSV file.
        encoding: of the file.
        units: of all coordinates; a box may have its own.
        columns: the columns that identify a row.
        point: the point's columns if each row is a point.
        points: the points' columns if each row is an object.
        box: the box's columns, if any.
        visibility: 0, 1 and 2 -> their words.
        names: name in the table -> name in the skeleton (or of the category).
    """

    file: Literal["csv", "jsonl"]
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: Text = "utf-8"
    units: Units = "pixel"
    columns: ColumnNames
    point: PointColumns | None = None
    points: ObjectColumns | None = None
    box: BoxColumns | None = None
    visibility: dict[Literal["0", "1", "2"], list[str | int | bool]] = Field(default_factory=dict)
    names: dict[str, str] = Field(default_factory=dict)

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ValueError(must_be("encoding", "one that Python knows, such as utf-8 or cp1252", encoding)) from None
        return encoding

    @model_validator(mode="after")
    def _check(self) -> TableMapping:
        if (self.point is None) == (self.points is None):
            got = "neither" if self.point is None else "both"
            raise ValueError(
                f"the file must have either [point] (one row per point) or [points] (one row per object), got {got}"
            )
        seen: dict[str, str] = {}
        for value, words in self.visibility.items():
            for word in words:
                if seen.setdefault(cell_text(word), value) != value:
                    both = f"{seen[cell_text(word)]} and {value}"
                    raise ValueError(
                        must_be("visibility", "a list of words each, all different", f"{word!r} in {both}")
                    )
        return self

    @property
    def has_visibility(self) -> bool:
        """Whether points have a visibility."""
        return (self.point or self.points or ObjectColumns(x="{name}", y="{name}")).visibility is not None

    @cached_property
    def words(self) -> dict[str, Visibility]:
        """The meaning of words in the visibility column; by default numbers mean themselves."""
        given = {cell_text(word): Visibility(int(key)) for key, words in self.visibility.items() for word in words}
        return given or {str(int(value)): value for value in Visibility}

    def needed(self, names: Sequence[str]) -> list[str]:
        """Return the columns that every row must have.

        Args:
            names: the keypoints' names in the table, for [points].
        """
        told = self.columns
        wanted = [told.picture, told.object, told.category, told.split, *(self.box.columns if self.box else ())]
        if self.point:
            wanted += [self.point.name, self.point.x, self.point.y, self.point.visibility]
        if self.points:
            patterns = [self.points.x, self.points.y, self.points.visibility]
            wanted += [pattern.format(name=name) for name in names for pattern in patterns if pattern]
        return [column for column in wanted if column is not None]


def cell_text(value: object) -> str:
    """Return a cell as text, so that numbers, booleans and their texts compare equal."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def read_mapping(path: Path) -> TableMapping:
    """Return the mapping in a TOML file.

    Raises:
        InputError: the file cannot be read, is not TOML, or breaks a rule.
    """
    document = read_toml(path)
    try:
        return TableMapping.model_validate(document)
    except ValidationError as exc:
        raise from_validation(path, exc) from exc
