"""Repairs of a COCO document that have one right answer. Nothing else is touched; keys and their order stay.

``posetools validate --fix`` makes all of them, the COCO reader those of objects. What is repaired is:

- E104 ``area`` that is missing, or at most 1: the box's width times height, where that is greater than 1;
- E105 ``num_keypoints`` that is missing or wrong: the number of keypoints with a visibility of 1 or 2;
- E115 ``iscrowd`` that is missing: 0;
- E114 a category's edges with a 0 in them, hence 0-based: 1 is added to every index;
- W201 a box that leaves its picture by more than a pixel: it is cut to the picture, where something is left of it. Its
  area is cut with it where it was the box's.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard

from posetools.core.geometry import DECIMALS, MAX_COORDINATE
from posetools.errors import show_value
from posetools.formats.coco.errors import raw_place
from posetools.formats.coco.model import LABELED, MIN_AREA, drawn_box, plain_number

OF_OBJECTS = frozenset({"E104", "E105", "E115"})
ALL = OF_OBJECTS | {"E114", "W201"}
# Rounding puts edges of good boxes up to a pixel outside.
OUTSIDE = 1.0

_Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Repair:
    """One change.

    Attributes:
        code: the finding that it mends.
        place: where, as in the finding.
        message: what was changed: ``area set to 1200, was 1.0``.
    """

    code: str
    place: str
    message: str


def repair(document: Any, codes: frozenset[str] = ALL) -> tuple[Any, tuple[Repair, ...]]:
    """Return a COCO document with what can be mended mended, and what was changed; the argument stays as it is."""
    if not isinstance(document, dict):
        return document, ()
    repairs: list[Repair] = []
    mended = dict(document)
    sizes = image_sizes(document)
    if isinstance(document.get("annotations"), list):
        mended["annotations"] = [
            _annotation(entry, raw_place("annotations", i, entry), sizes, codes, repairs)
            for i, entry in enumerate(document["annotations"])
        ]
    if isinstance(document.get("categories"), list) and "E114" in codes:
        mended["categories"] = [
            _category(entry, raw_place("categories", i, entry), repairs)
            for i, entry in enumerate(document["categories"])
        ]
    return (mended, tuple(repairs)) if repairs else (document, ())


def repairs_at(entries: Iterable[tuple[str, int, Any]], codes: frozenset[str] = ALL) -> frozenset[tuple[str, str]]:
    """Return the (code, place) of all that can be mended in some entries of a COCO document.

    Args:
        entries: the list's name, the index in it, and the entry; pictures, which say the sizes, before annotations.
        codes: what is mended.
    """
    repairs: list[Repair] = []
    mended: set[tuple[str, str]] = set()
    pictures: list[Any] = []
    sizes: dict[int, tuple[int, int]] | None = None
    for kind, position, entry in entries:
        if kind == "images":
            pictures.append(entry)
        elif kind == "annotations":
            sizes = image_sizes({"images": pictures}) if sizes is None else sizes
            _annotation(entry, raw_place(kind, position, entry), sizes, codes, repairs)
        elif "E114" in codes:
            _category(entry, raw_place(kind, position, entry), repairs)
        mended.update((done.code, done.place) for done in repairs)
        repairs.clear()
    return frozenset(mended)


def image_sizes(document: Mapping[str, Any]) -> dict[int, tuple[int, int]]:
    """Return image id -> (width, height) in pixels, for the entries in ``images`` that have them."""
    sizes: dict[int, tuple[int, int]] = {}
    images = document.get("images")
    for entry in images if isinstance(images, list) else ():
        if isinstance(entry, dict) and all(_is_size(entry.get(key)) for key in ("width", "height")):
            number = entry.get("id")
            if isinstance(number, int):
                sizes.setdefault(number, (entry["width"], entry["height"]))
    return sizes


def _annotation(
    entry: Any, place: str, sizes: Mapping[int, tuple[int, int]], codes: frozenset[str], repairs: list[Repair]
) -> Any:
    if not isinstance(entry, dict):
        return entry
    new: _Entry = {}
    for code, mend in (("W201", partial(_clipped, sizes=sizes)), ("E105", _counted), ("E115", _crowd)):
        if code in codes and (change := mend(entry)):
            new |= change
            repairs.append(_told(code, place, entry, change))
    if "E104" in codes and (change := _area({**entry, **new})):
        new |= change
        repairs.append(_told("E104", place, entry, change))
    return {**entry, **new} if new else entry


def _told(code: str, place: str, old: _Entry, change: _Entry) -> Repair:
    parts = [
        f"{key} set to {value}, " + (f"was {show_value(old[key])}" if key in old else "was missing")
        for key, value in change.items()
    ]
    return Repair(code, place, "; ".join(parts))


def _area(entry: _Entry) -> _Entry:
    area = entry.get("area")
    if "area" in entry and not (_is_number(area) and area <= MIN_AREA):
        return {}
    box = drawn_box(entry.get("bbox"))
    own = round(box[2] * box[3], DECIMALS) if box else 0
    return {"area": plain_number(float(own))} if own > MIN_AREA else {}


def _counted(entry: _Entry) -> _Entry:
    keypoints, said = entry.get("keypoints"), entry.get("num_keypoints", 0)
    if not isinstance(keypoints, list) or len(keypoints) % 3 or not isinstance(said, int) or isinstance(said, bool):
        return {}
    if not _are_numbers(keypoints):
        return {}
    count = sum(value in LABELED for value in keypoints[2::3])
    return {} if "num_keypoints" in entry and said == count else {"num_keypoints": count}


def _crowd(entry: _Entry) -> _Entry:
    return {} if "iscrowd" in entry else {"iscrowd": 0}


def _clipped(entry: _Entry, sizes: Mapping[int, tuple[int, int]]) -> _Entry:
    box, image = drawn_box(entry.get("bbox")), entry.get("image_id")
    if box is None or not isinstance(image, int) or image not in sizes:
        return {}
    x, y, w, h = box
    width, height = sizes[image]
    if min(x, y) >= -OUTSIDE and x + w <= width + OUTSIDE and y + h <= height + OUTSIDE:
        return {}
    left, top = max(x, 0), max(y, 0)
    sides = min(x + w, width) - left, min(y + h, height) - top
    if min(sides) <= 0 or sides[0] * sides[1] <= MIN_AREA:
        return {}
    cut = [round(float(value), DECIMALS) for value in (left, top, *sides)]
    change: _Entry = {"bbox": [plain_number(value) for value in cut]}
    area = entry.get("area")
    if _is_number(area) and math.isclose(area, w * h, rel_tol=1e-6):
        change["area"] = plain_number(round(cut[2] * cut[3], DECIMALS))
    return change


def _category(entry: Any, place: str, repairs: list[Repair]) -> Any:
    if not isinstance(entry, dict):
        return entry
    edges, names = entry.get("skeleton"), entry.get("keypoints")
    if not isinstance(edges, list) or not isinstance(names, list) or not all(_is_pair(edge) for edge in edges):
        return entry
    indices = [index for edge in edges for index in edge]
    if 0 not in indices or min(indices) < 0 or max(indices) >= len(names):
        return entry
    repairs.append(Repair("E114", place, "skeleton: 1 added to every index, the edges were 0-based"))
    return {**entry, "skeleton": [[a + 1, b + 1] for a, b in edges]}


def _is_size(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_COORDINATE


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_COORDINATE**2


def _are_numbers(values: list[Any]) -> bool:
    """Return whether all are numbers as ``_is_number`` says, at a fraction of the time."""
    # Only NaN differs from itself.
    plain = set(map(type, values)) <= {int, float} and all(map(operator.eq, values, values))
    return plain and max(map(abs, values), default=0) <= MAX_COORDINATE**2


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(index) is int for index in value)
