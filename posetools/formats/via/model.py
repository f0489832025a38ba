"""VIA 2's files taken apart: a project, a JSON or a CSV export, as images with their regions (via_regions)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json

from posetools.core.findings import Finding
from posetools.errors import must_be
from posetools.files.disk import unmarked
from posetools.formats.labelme.model import AnyShape
from posetools.formats.plain_numbers import whole
from posetools.formats.via.regions import RegionReader, bad

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
ADVICE = "save it again in VIA, or move it out of the source"
_PARTS = COLUMNS[5:]


@dataclass(frozen=True, slots=True)
class Entry:
    """One image's entry.

    Attributes:
        picture: its file name as written.
        place: where the name stands.
        regions: its regions in their order.
        places: the place of each region.
        notes: names of file attributes that say something.
        problem: what is wrong with the entry as a whole, or empty.
        paths: where the image is rather than there, if it is.
    """

    picture: str
    place: str
    regions: list[AnyShape] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    notes: Sequence[str] = ()
    problem: str = ""
    paths: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a file holds.

    Attributes:
        entries: its images.
        findings: on the file as a whole.
    """

    entries: list[Entry] = field(default_factory=list)
    findings: Sequence[Finding] = ()


def load_json(data: bytes, file: str) -> Any:
    """Return what a JSON file holds, or the finding that says why it cannot be read."""
    try:
        return from_json(unmarked(data))
    except ValueError as exc:
        return Finding("E310", file, "", f"is not valid JSON in UTF-8: {exc}", ADVICE)


def parse_json(raw: Any, file: str, reader: RegionReader) -> Parsed:
    """Return the entries of a VIA 2 project or JSON export."""
    metadata = metadata_of(raw)
    if metadata is None:
        rule = f"a VIA 2 project ({METADATA}), a JSON export of one (entries with filename and regions), or VIA 3's"
        return Parsed(findings=[Finding("E310", file, "", must_be("the file", rule, raw), ADVICE)])
    folder = _folder(raw)
    return Parsed([_entry(str(key), one, folder, reader) for key, one in metadata.items()])


def metadata_of(raw: Any) -> dict[str, Any] | None:
    """Return the entries by key when the JSON content is VIA 2's."""
    if not isinstance(raw, dict):
        return None
    if METADATA in raw:
        metadata = raw[METADATA]
        return metadata if isinstance(metadata, dict) else None
    entries = [one for one in raw.values() if isinstance(one, dict) and "filename" in one]
    is_export = entries and len(entries) == len(raw) and any("regions" in one for one in entries)
    return raw if is_export else None


def header_of(line: str) -> tuple[list[str], str]:
    """Return the columns that the first line of a CSV file names, and what separates them."""
    separator = ";" if line.count(";") > line.count(",") else ","
    return [name.strip('" \r\n') for name in line.removeprefix("#").split(separator)], separator


def parse_csv(text: str, file: str, reader: RegionReader) -> Parsed:
    """Return the entries of VIA's CSV export."""
    separator = header_of(text.partition("\n")[0])[1]
    if separator != ",":
        reader.repairs["semicolons between the columns were taken for commas"] += 1
    rows = csv.DictReader(io.StringIO(text.removeprefix("#"), newline=""), strict=True, delimiter=separator)
    entries: dict[tuple[str, str], Entry] = {}
    counts: dict[tuple[str, str], str] = {}
    ids: dict[tuple[str, str], list[str]] = {}
    try:
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            problem = must_be("the columns", f"VIA's columns {', '.join(COLUMNS)}", list(rows.fieldnames or ()))
            return Parsed(findings=[Finding("E310", file, "line 1", problem, ADVICE)])
        for row in rows:
            line = f"line {rows.line_num}"
            if None in row or None in row.values():
                problem = must_be("the line", f"{len(COLUMNS)} values", row)
                return Parsed(findings=[Finding("E310", file, line, problem, ADVICE)])
            key = row["filename"], row["file_size"]
            entry = entries.setdefault(key, Entry(row["filename"], f"{line}: filename"))
            counts.setdefault(key, row["region_count"])
            if _add_row(entry, row, line, reader):
                ids.setdefault(key, []).append(row["region_id"])
    except csv.Error as exc:
        problem = f"is not valid CSV: {exc}"
        return Parsed(findings=[Finding("E310", file, f"line {rows.line_num}", problem, ADVICE)])
    sorted_entries = {key: _in_order(entry, ids.get(key, [])) for key, entry in entries.items()}
    return Parsed([_counted(entry, counts[key], reader) for key, entry in sorted_entries.items()])


def _add_row(entry: Entry, row: Mapping[str, str], line: str, reader: RegionReader) -> bool:
    """Add the region of a line; return whether it has one."""
    count = row["region_count"].strip()
    if whole(count) == 0 or (not count and row[_PARTS[0]].strip() in ("", "{}")):
        return False
    parts = []
    for column in _PARTS:
        try:
            parts.append(from_json(row[column]) if row[column].strip() else "")
        except ValueError:
            entry.regions.append(bad(column, "JSON", row[column]))
            break
    else:
        entry.regions.append(reader.read(*parts))
    entry.places.append(line)
    return True


def _in_order(entry: Entry, ids: Sequence[str]) -> Entry:
    """Return an entry with its regions as their ids count them, whatever the order of the lines."""
    order = _counting(ids)
    return replace(entry, regions=[entry.regions[at] for at in order], places=[entry.places[at] for at in order])


def _counting(ids: Sequence[str]) -> list[int]:
    """Return the order of regions by their ids; that in which they are where some id is no number."""
    numbers = [whole(one) for one in ids]
    if any(not isinstance(number, int) for number in numbers):
        return list(range(len(ids)))
    return sorted(range(len(ids)), key=numbers.__getitem__)


def _counted(entry: Entry, count: str, reader: RegionReader) -> Entry:
    number = count.strip()
    if whole(number) == len(entry.regions) or not number:
        if number != str(len(entry.regions)):
            reader.repairs["a region_count as a fraction, or missing, was taken for the number of lines"] += 1
        return entry
    rule = f"{len(entry.regions)}, as many as there are lines of the image"
    return replace(entry, problem=must_be("region_count", rule, count))


def _folder(raw: Mapping[str, Any]) -> str:
    """Return the folder in which a project looks for its images, empty for none."""
    found: Any = raw
    for key in ("_via_settings", "core", "default_filepath"):
        found = found.get(key) if isinstance(found, dict) else None
    return found.rstrip("/\\") + "/" if isinstance(found, str) and found.strip() else ""


def _entry(key: str, raw: Any, folder: str, reader: RegionReader) -> Entry:
    where = f"{METADATA}[{key!r}]"
    if not isinstance(raw, dict) or not isinstance(raw.get("filename"), str):
        return Entry("", where, problem=must_be("the entry", "an object with filename (a text) and regions", raw))
    name = raw["filename"]
    regions = raw.get("regions")
    if regions is None or regions == "":
        reader.repairs["regions that are missing, null or empty were taken for none"] += 1
        regions = []
    # VIA 1 wrote an object with the keys 0, 1, ... in the place of a list.
    if isinstance(regions, dict):
        listed: Any = [list(regions.values())[at] for at in _counting(list(regions))]
    else:
        listed = regions
    if not isinstance(listed, list):
        return Entry(name, where, problem=must_be("regions", "a list", regions))
    shapes = [_region(one, reader) for one in listed]
    places = [f"{name}: regions[{index}]" for index in range(len(shapes))]
    notes = said_by(raw.get("file_attributes"))
    return Entry(name, f"{name}: filename", shapes, places, notes, paths=[folder + name] if folder else [])


def _region(raw: Any, reader: RegionReader) -> AnyShape:
    if not isinstance(raw, dict):
        return bad("", "an object with shape_attributes and region_attributes", raw)
    return reader.read(*(raw.get(part) for part in reader.parts))


def said_by(attributes: Any) -> list[str]:
    """Return the names of the attributes of an image that say something."""
    items: Iterable[tuple[Any, Any]] = attributes.items() if isinstance(attributes, dict) else ()
    return [str(name) for name, value in items if (any(value.values()) if isinstance(value, dict) else value)]
