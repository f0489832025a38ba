"""VIA 2's files taken apart: a project, a JSON or a CSV export, as pictures with their regions.

A region becomes the Shape that labelme_group knows: a rectangle, a point, or something else; so both formats follow
the same rules about which point belongs to which rectangle. VIA has no fixed attributes: which of them holds the
label, the object and the visibility is told by ROLES, or by the user. A region that breaks a rule is a BadShape, and
the others of its picture are read all the same.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from posetools.errors import join_place, must_be
from posetools.findings import Finding
from posetools.formats.as_labelme import ellipse_corners
from posetools.formats.labelme_model import AnyShape, BadShape, Shape

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
METADATA = "_via_img_metadata"
COLUMNS = (
    "filename",
    "file_size",
    "file_attributes",
    "region_count",
    "region_id",
    "region_shape_attributes",
    "region_attributes",
)
# Role -> the attributes that are looked at, the first that says something decides.
ROLES: Mapping[str, tuple[str, ...]] = {
    "label": ("label", "name", "class"),
    "object": ("object", "group", "instance", "group_id"),
    "visibility": ("visibility", "occluded", "hidden"),
}
_ADVICE = "save it anew in VIA, or move it out of the source"
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})
# The words of an attribute "visibility" besides those that mean hidden.
_SPOKEN = {"0": "0", "1": "1", "2": "2", "visible": "2"}
# The numbers that each region shape must have.
_NUMBERS = {"rect": ("x", "y", "width", "height"), "point": ("cx", "cy")}


class Region(Shape):
    """A region as a shape. Its object can be a text; ``description`` holds its visibility: "0", "1" or "2"."""

    # VIA's attributes are texts; labelme_group takes both for a group.
    group_id: int | str | None = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture's entry.

    Attributes:
        picture: its file name as written.
        place: where the name stands.
        regions: its regions in their order.
        places: the place of each region.
        notes: names of file attributes that say something.
        problem: what is wrong with the entry as a whole, or empty.
    """

    picture: str
    place: str
    regions: list[AnyShape] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    notes: Sequence[str] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Attributes:
    """Which attributes hold what, and which values mean hidden.

    Attributes:
        roles: role -> names of attributes, in the order they are looked at.
        hidden: words in lower case that mean "labelled but hidden".
    """

    roles: Mapping[str, tuple[str, ...]]
    hidden: frozenset[str]

    def shape(self, shape: Any, attributes: Any) -> AnyShape:
        """Return a region's two parts as a shape."""
        if not isinstance(attributes, dict):
            return _bad("region_attributes", "an object", attributes)
        label = self._label(attributes)
        if not isinstance(shape, dict) or not isinstance(shape.get("name"), str):
            return _bad("shape_attributes", "an object with the key name", shape, label)
        kind = shape["name"]
        if label is None:
            names = ", ".join(self.roles["label"])
            rule = f"an object in which one of {names} says what the region is"
            return _bad("region_attributes", rule, attributes, is_point=kind == "point")
        for name in _NUMBERS.get(kind, ()):
            if not _is_number(shape.get(name)) or (name in ("width", "height") and shape[name] <= 0):
                rule = "a number greater than 0" if name in ("width", "height") else "a finite number"
                return _bad(f"shape_attributes.{name}", rule, shape.get(name), label, is_point=kind == "point")
        visibility = self._visibility(attributes)
        if visibility is None:
            name = next(name for name in self.roles["visibility"] if _said(attributes.get(name)))
            rule = f"one of {', '.join(sorted({*_SPOKEN, *self.hidden}))}, or yes or no"
            field_name = f"region_attributes.{name}"
            return _bad(field_name, rule, attributes[name], label, is_point=kind == "point")
        return _region(kind, shape, label, self._group(attributes), visibility, self._others(attributes))

    def _first(self, role: str, attributes: Mapping[str, Any]) -> Any:
        return next((attributes[name] for name in self.roles[role] if _said(attributes.get(name))), None)

    def _label(self, attributes: Mapping[str, Any]) -> str | None:
        value = self._first("label", attributes)
        if isinstance(value, dict):
            chosen = [key for key, on in value.items() if on]
            return chosen[0] if len(chosen) == 1 else None
        return value if isinstance(value, str) else None

    def _group(self, attributes: Mapping[str, Any]) -> int | str | None:
        value = self._first("object", attributes)
        if value is None:
            return None
        text = str(value).strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text

    def _visibility(self, attributes: Mapping[str, Any]) -> str | None:
        """Return "0", "1" or "2"; None when the attribute is not understood."""
        for name in self.roles["visibility"]:
            value = attributes.get(name)
            if not _said(value):
                continue
            words = [key for key, on in value.items() if on] if isinstance(value, dict) else [str(value).strip()]
            word = words[0].casefold() if len(words) == 1 else ""
            if word in self.hidden:
                return "1"
            if name.casefold() in self.hidden and word in _YES | _NO:
                return "1" if word in _YES else "2"
            return _SPOKEN.get(word)
        return "2"

    def _others(self, attributes: Mapping[str, Any]) -> dict[str, bool]:
        known = {name for names in self.roles.values() for name in names}
        return {name: True for name, value in attributes.items() if name not in known and _said(value)}


def parse_json(data: bytes, file: str, attributes: Attributes) -> list[Entry] | Finding:
    """Return the entries of a VIA project or JSON export, or why it cannot be read."""
    try:
        raw = from_json(data.removeprefix(BYTE_ORDER_MARK))
    except ValueError as exc:
        return Finding("E310", file, "", f"is not valid JSON in UTF-8: {exc}", _ADVICE)
    metadata = metadata_of(raw)
    if metadata is None:
        rule = f"a VIA 2 project ({METADATA}), or a JSON export of one: entries with filename and regions"
        return Finding("E310", file, "", must_be("the file", rule, raw), _ADVICE)
    return [_entry(str(key), one, attributes) for key, one in metadata.items()]


def metadata_of(raw: Any) -> dict[str, Any] | None:
    """Return the entries by key when the JSON content is VIA's."""
    if not isinstance(raw, dict):
        return None
    if METADATA in raw:
        metadata = raw[METADATA]
        return metadata if isinstance(metadata, dict) else None
    is_export = raw and all(isinstance(one, dict) and {"filename", "regions"} <= set(one) for one in raw.values())
    return raw if is_export else None


def parse_csv(text: str, file: str, attributes: Attributes) -> list[Entry] | Finding:
    """Return the entries of VIA's CSV export, or why it cannot be read."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("#"), newline=""), strict=True)
    entries: dict[tuple[str, str], Entry] = {}
    counts: dict[tuple[str, str], str] = {}
    try:
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            rule = f"VIA's columns {', '.join(COLUMNS)}"
            return Finding("E310", file, "line 1", must_be("the columns", rule, list(reader.fieldnames or ())), _ADVICE)
        for row in reader:
            line = f"line {reader.line_num}"
            if None in row or None in row.values():
                return Finding("E310", file, line, must_be("the line", f"{len(COLUMNS)} values", row), _ADVICE)
            key = row["filename"], row["file_size"]
            entry = entries.setdefault(key, Entry(*_first_of(row, line)))
            counts.setdefault(key, row["region_count"])
            _add_row(entry, row, line, attributes)
    except csv.Error as exc:
        return Finding("E310", file, f"line {reader.line_num}", f"is not valid CSV: {exc}", _ADVICE)
    return [_counted(entry, counts[key]) for key, entry in entries.items()]


def _first_of(row: Mapping[str, str], line: str) -> tuple[str, str]:
    return row["filename"], f"{line}: filename"


def _add_row(entry: Entry, row: Mapping[str, str], line: str, attributes: Attributes) -> None:
    if row["region_count"].strip() == "0":
        return
    parts = []
    for column in ("region_shape_attributes", "region_attributes"):
        try:
            parts.append(from_json(row[column]))
        except ValueError:
            entry.regions.append(_bad(column, "JSON", row[column]))
            entry.places.append(line)
            return
    entry.regions.append(attributes.shape(*parts))
    entry.places.append(line)


def _counted(entry: Entry, count: str) -> Entry:
    if count.strip() == str(len(entry.regions)):
        return entry
    problem = must_be("region_count", f"{len(entry.regions)}, as many as there are lines of the picture", count)
    return Entry(entry.picture, entry.place, entry.regions, entry.places, problem=problem)


def _entry(key: str, raw: Any, attributes: Attributes) -> Entry:
    where = f"{METADATA}[{key!r}]"
    if not isinstance(raw, dict) or not isinstance(raw.get("filename"), str):
        return Entry("", where, problem=must_be("the entry", "an object with filename (a text) and regions", raw))
    name = raw["filename"]
    regions = raw.get("regions")
    # VIA 1 wrote an object with the keys 0, 1, ... in the place of a list.
    listed = list(regions.values()) if isinstance(regions, dict) else regions
    if not isinstance(listed, list):
        return Entry(name, where, problem=must_be("regions", "a list", regions))
    shapes: list[AnyShape] = []
    for one in listed:
        if isinstance(one, dict):
            shapes.append(attributes.shape(one.get("shape_attributes"), one.get("region_attributes", {})))
        else:
            shapes.append(_bad("", "an object with shape_attributes and region_attributes", one))
    places = [f"{name}: regions[{index}]" for index in range(len(shapes))]
    extra = raw.get("file_attributes")
    notes = [str(note) for note, value in extra.items() if _said(value)] if isinstance(extra, dict) else []
    return Entry(name, f"{name}: filename", shapes, places, notes)


def _region(
    kind: str, shape: Mapping[str, Any], label: str, group: int | str | None, visibility: str, others: dict[str, bool]
) -> AnyShape:
    try:
        return Region.model_validate(
            {
                "label": label,
                "points": list(_corners(kind, shape)),
                "group_id": group,
                "shape_type": "rectangle" if kind == "rect" else kind,
                "flags": others,
                "description": visibility,
            }
        )
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
        return _bad("shape_attributes", f"finite numbers ({join_place(error['loc'])})", dict(shape), label)


def _corners(kind: str, shape: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    """Yield the points of a shape; of one that is neither rectangle nor point its extent, as far as that is told."""
    if kind == "rect":
        yield float(shape["x"]), float(shape["y"])
        yield float(shape["x"] + shape["width"]), float(shape["y"] + shape["height"])
    elif kind == "point":
        yield float(shape["cx"]), float(shape["cy"])
    elif kind == "circle":
        numbers = [shape.get(name) for name in ("cx", "cy", "r")]
        if all(map(_is_number, numbers)):
            # labelme's circle: its center and a point of its edge.
            x, y, radius = (float(number or 0) for number in numbers)
            yield x, y
            yield x + radius, y
    elif kind == "ellipse":
        numbers = [shape.get(name) for name in ("cx", "cy", "rx", "ry", "theta")]
        if all(map(_is_number, numbers[:4])):
            x, y, rx, ry = (float(number or 0) for number in numbers[:4])
            turned = float(numbers[4] or 0) if _is_number(numbers[4]) else 0.0
            yield from ellipse_corners(x, y, rx, ry, math.degrees(turned))
    else:
        xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
        if isinstance(xs, list) and isinstance(ys, list) and all(map(_is_number, [*xs, *ys])):
            yield from zip(map(float, xs), map(float, ys), strict=False)


def _bad(field_name: str, rule: str, value: object, label: str | None = None, *, is_point: bool = False) -> BadShape:
    return BadShape(label, None, is_point, field_name, must_be(field_name or "a region", rule, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e6


def _said(value: object) -> bool:
    """Return whether an attribute says something: VIA writes empty texts and empty choices for those left alone."""
    if isinstance(value, dict):
        return any(value.values())
    return value is not None and value != ""
