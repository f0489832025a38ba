"""Split VIA's files (a project, or VIA 2's JSON or CSV export) into images with their regions (regions.py).

A project of VIA 3 holds tables by id: ``file`` (an image, a video, a sound), ``view`` (the files shown together),
``attribute`` (its name, and its options by id) and ``metadata``: a region ``xy`` of a view, ``[shape, numbers ...]``,
sometimes ``z``, with values by the attribute's id in ``av``; without ``xy`` it describes the whole file. Regions of a
video belong to times, not images, and are not read.
"""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from pydantic_core import from_json

from posetools.core.findings import Finding
from posetools.core.geometry import MAX_COORDINATE
from posetools.errors import Place, must_be
from posetools.files.disk import unmarked
from posetools.formats.joining.shapes import PlacedShape
from posetools.formats.labelme.model import AnyShape, coordinate
from posetools.formats.plain_numbers import whole
from posetools.formats.via.regions import RegionReader, bad, says

METADATA = "_via_img_metadata"
VIA_COLUMNS = (
    "filename",
    "file_size",
    "file_attributes",
    "region_count",
    "region_id",
    "region_shape_attributes",
    "region_attributes",
)
VIA_ADVICE = "save it again in VIA, or move it out of the source"
_PART_COLUMNS = VIA_COLUMNS[5:]


@dataclass(frozen=True, slots=True)
class ViaEntry:
    """One image's entry.

    Attributes:
        image: its file name as written.
        place: the place of the name.
        regions: its regions in their order.
        notes: names of file attributes with a value.
        problem: what is wrong with the entry as a whole, or empty.
        paths: where to search the image first.
    """

    image: str
    place: str
    regions: list[PlacedShape] = field(default_factory=list)
    notes: Sequence[str] = ()
    problem: str = ""
    paths: Sequence[str] = ()


# The images of a file, and the findings on it as a whole.
ViaContent: TypeAlias = tuple[list[ViaEntry], list[Finding]]


def load_json(data: bytes, file: str) -> Any:
    """Return what a JSON file holds, or the finding that says why it cannot be read."""
    try:
        return from_json(unmarked(data))
    except ValueError as exc:
        return Finding("E310", file, "", f"is not valid JSON in UTF-8: {exc}", VIA_ADVICE)


def parse_json(raw: Any, file: str, reader: RegionReader) -> ViaContent:
    """Return the entries of a VIA 2 project or JSON export."""
    metadata = metadata_of(raw)
    if metadata is None:
        rule = f"a VIA 2 project ({METADATA}), a JSON export of one (entries with filename and regions), or VIA 3's"
        return [], [Finding("E310", file, "", must_be("the file", rule, raw), VIA_ADVICE)]
    folder = _folder(raw)
    return [_entry(str(key), one, folder, reader) for key, one in metadata.items()], []


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
    """Return the columns that the first line of a CSV file names, and their separator."""
    separator = ";" if line.count(";") > line.count(",") else ","
    return [name.strip('" \r\n') for name in line.removeprefix("#").split(separator)], separator


def parse_csv(text: str, file: str, reader: RegionReader) -> ViaContent:
    """Return the entries of VIA's CSV export."""
    separator = header_of(text.partition("\n")[0])[1]
    if separator != ",":
        reader.repairs["semicolons between the columns were read as commas"] += 1
    rows = csv.DictReader(io.StringIO(text.removeprefix("#"), newline=""), strict=True, delimiter=separator)
    entries: dict[tuple[str, str], ViaEntry] = {}
    counts: dict[tuple[str, str], str] = {}
    ids: dict[tuple[str, str], list[str]] = {}
    try:
        missing = [name for name in VIA_COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            problem = must_be("the columns", f"VIA's columns {', '.join(VIA_COLUMNS)}", list(rows.fieldnames or ()))
            return [], [Finding("E310", file, "line 1", problem, VIA_ADVICE)]
        for row in rows:
            line = f"line {rows.line_num}"
            if None in row or None in row.values():
                problem = must_be("the line", f"{len(VIA_COLUMNS)} values", row)
                return [], [Finding("E310", file, line, problem, VIA_ADVICE)]
            key = row["filename"], row["file_size"]
            entry = entries.setdefault(key, ViaEntry(row["filename"], Place.within(line, "filename")))
            counts.setdefault(key, row["region_count"])
            if _add_row(entry, row, line, reader):
                ids.setdefault(key, []).append(row["region_id"])
    except csv.Error as exc:
        problem = f"is not valid CSV: {exc}"
        return [], [Finding("E310", file, f"line {rows.line_num}", problem, VIA_ADVICE)]
    sorted_entries = {key: _in_order(entry, ids.get(key, [])) for key, entry in entries.items()}
    return [_counted(entry, counts[key], reader) for key, entry in sorted_entries.items()], []


def _add_row(entry: ViaEntry, row: Mapping[str, str], line: str, reader: RegionReader) -> bool:
    """Add the region of a line; return whether it has one."""
    count = row["region_count"].strip()
    if whole(count) == 0 or (not count and row[_PART_COLUMNS[0]].strip() in ("", "{}")):
        return False
    parts = []
    for column in _PART_COLUMNS:
        try:
            parts.append(from_json(row[column]) if row[column].strip() else "")
        except ValueError:
            shape: AnyShape = bad(column, "JSON", row[column])
            break
    else:
        shape = reader.read(*parts)
    entry.regions.append(PlacedShape(line, shape))
    return True


def _in_order(entry: ViaEntry, ids: Sequence[str]) -> ViaEntry:
    """Return an entry with its regions in the order of their ids, not of the lines."""
    order = _counting(ids)
    return replace(entry, regions=[entry.regions[at] for at in order])


def _counting(ids: Sequence[str]) -> list[int]:
    """Return the order of regions by their ids; the order of the lines if some id is not a number."""
    numbers = [whole(one) for one in ids]
    if any(not isinstance(number, int) for number in numbers):
        return list(range(len(ids)))
    return sorted(range(len(ids)), key=numbers.__getitem__)


def _counted(entry: ViaEntry, count: str, reader: RegionReader) -> ViaEntry:
    number = count.strip()
    if whole(number) == len(entry.regions) or not number:
        if number != str(len(entry.regions)):
            reader.repairs["a region_count as a float, or missing, was read as the number of lines"] += 1
        return entry
    rule = f"{len(entry.regions)}, the number of lines of the image"
    return replace(entry, problem=must_be("region_count", rule, count))


def _folder(raw: Mapping[str, Any]) -> str:
    """Return the folder in which a project looks for its images, empty for none."""
    found: Any = raw
    for key in ("_via_settings", "core", "default_filepath"):
        found = found.get(key) if isinstance(found, dict) else None
    return found.rstrip("/\\") + "/" if isinstance(found, str) and found.strip() else ""


def _entry(key: str, raw: Any, folder: str, reader: RegionReader) -> ViaEntry:
    where = f"{METADATA}[{key!r}]"
    if not isinstance(raw, dict) or not isinstance(raw.get("filename"), str):
        return ViaEntry("", where, problem=must_be("the entry", "an object with filename (a string) and regions", raw))
    name = raw["filename"]
    regions = raw.get("regions")
    if regions is None or regions == "":
        reader.repairs["regions that are missing, null or empty were read as none"] += 1
        regions = []
    # VIA 1 wrote an object with the keys 0, 1, ... instead of a list.
    if isinstance(regions, dict):
        listed: Any = [list(regions.values())[at] for at in _counting(list(regions))]
    else:
        listed = regions
    if not isinstance(listed, list):
        return ViaEntry(name, where, problem=must_be("regions", "a list", regions))
    placed = [PlacedShape(Place.within(name, f"regions[{at}]"), _region(one, reader)) for at, one in enumerate(listed)]
    notes = said_by(raw.get("file_attributes"))
    return ViaEntry(name, Place.within(name, "filename"), placed, notes, paths=[folder + name] if folder else [])


def _region(raw: Any, reader: RegionReader) -> AnyShape:
    if not isinstance(raw, dict):
        return bad("", "an object with shape_attributes and region_attributes", raw)
    return reader.read(*(raw.get(part) for part in reader.parts))


def said_by(attributes: Any) -> list[str]:
    """Return the names of an image's attributes with a value."""
    items: Iterable[tuple[Any, Any]] = attributes.items() if isinstance(attributes, dict) else ()
    return [str(name) for name, value in items if (any(value.values()) if isinstance(value, dict) else value)]


TABLES = ("attribute", "file", "view", "metadata")
# VIA 3's number of a shape -> VIA's names of the shape and its numbers; 8 and 9 are given by points on their edge.
_VIA3_SHAPES: Mapping[int, tuple[str, tuple[str, ...]]] = {
    1: ("point", ("cx", "cy")),
    2: ("rect", ("x", "y", "width", "height")),
    3: ("circle", ("cx", "cy", "r")),
    4: ("ellipse", ("cx", "cy", "rx", "ry")),
}
_LINE_SHAPES = {5: "polyline", 6: "polyline", 7: "polygon"}
_EXTREME_RECTANGLE, _EXTREME_CIRCLE = 8, 9
_IMAGE_KIND, _VIDEO_KIND, _AUDIO = 2, 4, 8
# Attributes whose value is the id of an option, or several.
_CHECKBOX, _CHOICES = 2, (3, 4)
# Where a file is: by a path or an address in ``src``.
_BY_SOURCE = (2, 3)

# An entry of metadata: its id and its content.
_Via3Region: TypeAlias = tuple[str, Mapping[str, Any]]


def is_via3(raw: Any) -> bool:
    """Return whether JSON content is a VIA 3 project."""
    return isinstance(raw, dict) and all(isinstance(raw.get(name), dict | list) for name in TABLES) and "project" in raw


def parse_via3(raw: Mapping[str, Any], file: str, reader: RegionReader) -> ViaContent:
    """Return the images of a VIA 3 project, and what else it holds as findings."""
    reader = replace(reader, parts=("xy", "av"))
    # An empty table is a list where PHP wrote the file.
    tables = {name: raw[name] if isinstance(raw[name], dict) else {} for name in TABLES}
    wrong = [name for name in TABLES if isinstance(raw[name], list) and raw[name]]
    if wrong:
        problem = must_be(wrong[0], "an object of a VIA 3 project", raw[wrong[0]])
        return [], [Finding("E310", file, wrong[0], problem, VIA_ADVICE)]
    regions: dict[str, list[_Via3Region]] = defaultdict(list)
    lost: list[str] = []
    for key, one in tables["metadata"].items():
        view = str(whole(one.get("vid"))) if isinstance(one, dict) else ""
        if view in tables["view"] and isinstance(one, dict):
            regions[view].append((key, one))
        else:
            lost.append(key)
    entries, moments, files = [], 0, list[str]()
    for view, shown in tables["view"].items():
        own = regions[view]
        source = _file_of(shown, tables["file"])
        if isinstance(source, dict) and _is_timed(source, own):
            moments += len(own)
            files.append(str(source.get("fname")))
        else:
            entries.append(_via3_entry(view, source, own, tables["attribute"], reader))
    findings = [_of_video(file, files, moments)] if files else []
    if lost:
        problem = must_be("vid", "a view of the project", f"{len(lost)} in metadata with another")
        place = f"metadata[{lost[0]!r}]"
        findings.append(Finding("E311", file, place, problem, f"{VIA_ADVICE}; --keep-going reads the others"))
    return entries, findings


def _of_video(file: str, names: Sequence[str], moments: int) -> Finding:
    unique = list(dict.fromkeys(names))
    shown = f"{unique[0]}{f' and {len(unique) - 1} more' if len(unique) > 1 else ''}"
    message = (
        f"the project must be of images, got a VIA 3 project with video or audio ({shown}): its {moments} regions "
        "belong to times, not images, and no VIA 3 export has keypoints"
    )
    hint = "write the frames as images (`ffmpeg -i VIDEO -vf fps=5 frames/%05d.png`) and label these in VIA"
    return Finding("E310", file, "file", message, hint)


def _file_of(view: Any, files: Mapping[str, Any]) -> dict[str, Any] | str:
    """Return the file that a view shows, or what is wrong with the view."""
    shown = view.get("fid_list") if isinstance(view, dict) else None
    if not isinstance(shown, list) or len(shown) != 1:
        return must_be("fid_list", "a list of one file (it is unknown which of several has the regions)", shown)
    source = files.get(str(whole(shown[0])))
    if not isinstance(source, dict) or not isinstance(source.get("fname"), str):
        return must_be("the file of the view", f"in the table file under {shown[0]!r}, with fname (a string)", source)
    return source


def _is_timed(source: Mapping[str, Any], regions: Sequence[_Via3Region]) -> bool:
    kind = whole(source.get("type"))
    return kind in (_VIDEO_KIND, _AUDIO) or (kind != _IMAGE_KIND and any(raw.get("z") for _, raw in regions))


def _via3_entry(
    view: str,
    source: dict[str, Any] | str,
    regions: Sequence[_Via3Region],
    attributes: Mapping[str, Any],
    reader: RegionReader,
) -> ViaEntry:
    name = "" if isinstance(source, str) else source["fname"]
    shapes: list[PlacedShape] = []
    notes: dict[str, bool] = {}
    for key, raw in regions:
        said = _said(raw.get("av"), attributes)
        if raw.get("xy"):
            shapes.append(PlacedShape(Place.within(name, f"metadata[{key!r}]"), _shape(raw["xy"], said, reader)))
        elif isinstance(said, dict):
            # Without a shape it describes the whole image.
            notes |= {note: True for note, value in said.items() if says(value)}
    if isinstance(source, str):
        return ViaEntry("", f"view[{view!r}]", shapes, problem=source)
    path = source.get("src")
    is_there = whole(source.get("loc")) in _BY_SOURCE and isinstance(path, str) and path
    paths = [str(path)] if is_there else []
    return ViaEntry(name, Place.within(name, "fname"), shapes, list(notes), paths=paths)


def _said(values: Any, attributes: Mapping[str, Any]) -> Any:
    """Return the values of attributes by their names, options as strings; anything but an object as is."""
    if not isinstance(values, dict):
        return values
    said: dict[str, Any] = {}
    for key, value in values.items():
        attribute = attributes.get(key)
        table = attribute if isinstance(attribute, dict) else {}
        name = str(table.get("aname") or key)
        said[name if name not in said else f"{name} ({key})"] = _chosen(value, table)
    return said


def _chosen(value: Any, attribute: Mapping[str, Any]) -> Any:
    options, kind = attribute.get("options"), whole(attribute.get("type"))
    if not isinstance(options, dict) or not isinstance(value, str | int):
        return value
    if kind == _CHECKBOX:
        words = [options.get(one.strip(), one.strip()) for one in str(value).split(",") if one.strip()]
        return {str(word): True for word in words}
    return options.get(str(value), value) if kind in _CHOICES else value


def _shape(xy: Any, said: Any, reader: RegionReader) -> AnyShape:
    numbers = [coordinate(number) for number in xy[1:]] if isinstance(xy, list) else []
    shape = _named(whole(xy[0]), numbers) if numbers else None
    if shape is None:
        rule = "a list of a VIA 3 shape (1 to 9) and its numbers"
        # A shape without a name, for the label alone.
        is_point = isinstance(xy, list) and whole(xy[0]) == 1
        return bad("xy", rule, xy, reader.read({"name": ""}, said).label, is_point=is_point)
    if any(isinstance(number, str) for number in xy[1:]):
        reader.repairs["coordinates as strings were read as numbers"] += 1
    return reader.read(shape, said)


def _named(shape: Any, numbers: Sequence[Any]) -> dict[str, Any] | None:
    """Return a shape as VIA 2 writes it; None when it is not a shape."""
    if not isinstance(shape, int) or isinstance(shape, bool):
        return None
    if shape in _VIA3_SHAPES:
        name, fields = _VIA3_SHAPES[shape]
        return {"name": name, **dict(zip(fields, numbers, strict=True))} if len(numbers) == len(fields) else None
    if len(numbers) < 2 or len(numbers) % 2:
        return None
    xs, ys = numbers[::2], numbers[1::2]
    if shape in _LINE_SHAPES:
        return {"name": _LINE_SHAPES[shape], "all_points_x": xs, "all_points_y": ys}
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) <= MAX_COORDINATE for n in numbers):
        return None
    if shape == _EXTREME_RECTANGLE:
        x, y = min(xs), min(ys)
        return {"name": "rect", "x": x, "y": y, "width": max(xs) - x, "height": max(ys) - y}
    return _circle(xs, ys) if shape == _EXTREME_CIRCLE else None


def _circle(xs: Sequence[float], ys: Sequence[float]) -> dict[str, Any] | None:
    """Return the circle through three points; None when they are not three, or on a line."""
    if len(xs) != 3:
        return None
    (ax, bx, cx), (ay, by, cy) = xs, ys
    bx, by, cx, cy = bx - ax, by - ay, cx - ax, cy - ay
    twice = 2 * (bx * cy - by * cx)
    if not twice:
        return None
    x = (cy * (bx * bx + by * by) - by * (cx * cx + cy * cy)) / twice
    y = (bx * (cx * cx + cy * cy) - cx * (bx * bx + by * by)) / twice
    return {"name": "circle", "cx": ax + x, "cy": ay + y, "r": math.hypot(x, y)}
