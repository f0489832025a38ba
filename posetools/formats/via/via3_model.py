"""VIA 3's projects taken apart: images with their regions, as via_model has them.

A project holds tables by id: ``file`` (an image, a video, a sound), ``view`` (the files shown together), ``attribute``
(its name, and its options by id) and ``metadata``: a region ``xy`` of a view, ``[shape, numbers ...]``, at times ``z``,
with values by the attribute's id in ``av``; without ``xy`` it speaks of the whole file. A video's regions are those of
moments and not of images, and are not read.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from posetools.core.findings import Finding
from posetools.core.geometry import MAX_COORDINATE
from posetools.errors import must_be
from posetools.formats.labelme.model import AnyShape
from posetools.formats.labelme.values import coordinate
from posetools.formats.plain_numbers import whole
from posetools.formats.via.model import ADVICE, Entry, Parsed
from posetools.formats.via.regions import RegionReader, bad, says

TABLES = ("attribute", "file", "view", "metadata")
# What VIA calls the shapes and their numbers, by VIA 3's number of the shape; 8 and 9 are told by points of their edge.
_SHAPES: Mapping[int, tuple[str, tuple[str, ...]]] = {
    1: ("point", ("cx", "cy")),
    2: ("rect", ("x", "y", "width", "height")),
    3: ("circle", ("cx", "cy", "r")),
    4: ("ellipse", ("cx", "cy", "rx", "ry")),
}
_LINES = {5: "polyline", 6: "polyline", 7: "polygon"}
_EXTREME_RECTANGLE, _EXTREME_CIRCLE = 8, 9
_IMAGE, _VIDEO, _AUDIO = 2, 4, 8
# Attributes whose value is the id of an option, or several.
_CHECKBOX, _CHOICES = 2, (3, 4)
# Where a file is: by a path or an address in ``src``.
_BY_SOURCE = (2, 3)


class _Region(NamedTuple):
    """One of the metadata: its id, and what it is."""

    key: str
    raw: Mapping[str, Any]


def is_project(raw: Any) -> bool:
    """Return whether JSON content is a VIA 3 project."""
    return isinstance(raw, dict) and all(isinstance(raw.get(name), dict | list) for name in TABLES) and "project" in raw


def parse(raw: Mapping[str, Any], file: str, reader: RegionReader) -> Parsed:
    """Return the images of a VIA 3 project, and what else it holds as findings."""
    reader = replace(reader, parts=("xy", "av"))
    # An empty table is a list where PHP wrote the file.
    tables = {name: raw[name] if isinstance(raw[name], dict) else {} for name in TABLES}
    wrong = [name for name in TABLES if isinstance(raw[name], list) and raw[name]]
    if wrong:
        problem = must_be(wrong[0], "an object of a VIA 3 project", raw[wrong[0]])
        return Parsed(findings=[Finding("E310", file, wrong[0], problem, ADVICE)])
    regions: dict[str, list[_Region]] = defaultdict(list)
    lost: list[str] = []
    for key, one in tables["metadata"].items():
        view = str(whole(one.get("vid"))) if isinstance(one, dict) else ""
        if view in tables["view"] and isinstance(one, dict):
            regions[view].append(_Region(key, one))
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
            entries.append(_entry(view, source, own, tables["attribute"], reader))
    findings = [_of_video(file, files, moments)] if files else []
    if lost:
        problem = must_be("vid", "a view that the project has", f"{len(lost)} of metadata with another")
        place = f"metadata[{lost[0]!r}]"
        findings.append(Finding("E311", file, place, problem, f"{ADVICE}; --keep-going reads the others"))
    return Parsed(entries, findings)


def _of_video(file: str, names: Sequence[str], moments: int) -> Finding:
    unique = list(dict.fromkeys(names))
    shown = f"{unique[0]}{f' and {len(unique) - 1} more' if len(unique) > 1 else ''}"
    message = (
        f"the project must be one of images, got one of VIA 3 with video or sound ({shown}): its {moments} regions are "
        "at times and not in images, and no export of VIA 3 holds keypoints"
    )
    hint = "write the frames as images, such as by `ffmpeg -i VIDEO -vf fps=5 frames/%05d.png`, and label these in VIA"
    return Finding("E310", file, "file", message, hint)


def _file_of(view: Any, files: Mapping[str, Any]) -> dict[str, Any] | str:
    """Return the file that a view shows, or what is wrong with the view."""
    shown = view.get("fid_list") if isinstance(view, dict) else None
    if not isinstance(shown, list) or len(shown) != 1:
        return must_be("fid_list", "a list of one file, for it is not known which of several has the regions", shown)
    source = files.get(str(whole(shown[0])))
    if not isinstance(source, dict) or not isinstance(source.get("fname"), str):
        return must_be("the file of the view", f"in the table file under {shown[0]!r}, with fname (a text)", source)
    return source


def _is_timed(source: Mapping[str, Any], regions: Sequence[_Region]) -> bool:
    kind = whole(source.get("type"))
    return kind in (_VIDEO, _AUDIO) or (kind != _IMAGE and any(one.raw.get("z") for one in regions))


def _entry(
    view: str,
    source: dict[str, Any] | str,
    regions: Sequence[_Region],
    attributes: Mapping[str, Any],
    reader: RegionReader,
) -> Entry:
    name = "" if isinstance(source, str) else source["fname"]
    shapes: list[AnyShape] = []
    places: list[str] = []
    notes: dict[str, bool] = {}
    for one in regions:
        said = _said(one.raw.get("av"), attributes)
        if one.raw.get("xy"):
            shapes.append(_shape(one.raw["xy"], said, reader))
            places.append(f"{name}: metadata[{one.key!r}]")
        elif isinstance(said, dict):
            # Without a shape it speaks of the whole image.
            notes |= {note: True for note, value in said.items() if says(value)}
    if isinstance(source, str):
        return Entry("", f"view[{view!r}]", shapes, places, problem=source)
    path = source.get("src")
    is_there = whole(source.get("loc")) in _BY_SOURCE and isinstance(path, str) and path
    paths = [str(path)] if is_there else []
    return Entry(name, f"{name}: fname", shapes, places, list(notes), paths=paths)


def _said(values: Any, attributes: Mapping[str, Any]) -> Any:
    """Return the values of attributes by their names, those of options as texts; what is no table as it is."""
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
        rule = "a list of a shape of VIA 3 (1 to 9) and as many numbers as it has"
        # A shape without a name, for the label alone.
        is_point = isinstance(xy, list) and whole(xy[0]) == 1
        return bad("xy", rule, xy, reader.read({"name": ""}, said).label, is_point=is_point)
    if any(isinstance(number, str) for number in xy[1:]):
        reader.repairs["coordinates as texts were taken for numbers"] += 1
    return reader.read(shape, said)


def _named(shape: Any, numbers: Sequence[Any]) -> dict[str, Any] | None:
    """Return a shape as VIA 2 has it, or None when it is none."""
    if not isinstance(shape, int) or isinstance(shape, bool):
        return None
    if shape in _SHAPES:
        name, fields = _SHAPES[shape]
        return {"name": name, **dict(zip(fields, numbers, strict=True))} if len(numbers) == len(fields) else None
    if len(numbers) < 2 or len(numbers) % 2:
        return None
    xs, ys = numbers[::2], numbers[1::2]
    if shape in _LINES:
        return {"name": _LINES[shape], "all_points_x": xs, "all_points_y": ys}
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
