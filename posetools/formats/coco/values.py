"""Values of a COCO file with one meaning but another type: converted, and counted.

Programs write ``iscrowd: false``, ``num_keypoints: 8.0``, ``[[x, y, v], ...]``, ids as text, or null for an optional
key. Each kind is one warning (W324) per file. A value with two meanings is kept, and the models refuse it.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from posetools.errors import Place
from posetools.formats.coco.model import LABELED_VALUES, MAX_ID, Note, raw_place
from posetools.formats.plain_numbers import number_in, whole_number

# Index of an entry in images, its file name and its place -> the image's size, or None if no image is opened.
Measure = Callable[[int, str, str], tuple[int, int] | None]

_PLAIN_TYPES = frozenset({int, float})
_UNCHANGED_HINT = "correct the source too, if you keep it: it is not changed"
_NO_VALUE = object()
# The name of an unreadable category without objects.
_UNREAD = "(not read)"
# Some programs write this as both coordinates of a missing keypoint.
MISSING_MARK = -1
# The size of an image that cannot be opened; a separate finding says why.
NOT_FOUND = (1, 1)


@dataclass(slots=True)
class _RepairCounts:
    """The conversions: (list, description) -> count and first place."""

    kinds: dict[tuple[str, str], tuple[int, Place]] = field(default_factory=dict)

    def add(self, what: str, place: Place) -> None:
        number, first = self.kinds.get((place.kind, what), (0, place))
        self.kinds[place.kind, what] = number + 1, first

    def notes(self) -> Iterator[Note]:
        for (kind, what), (number, first) in self.kinds.items():
            times = "once:" if number == 1 else f"{number} times, the first is"
            yield "W324", kind, f"{what} ({times} {first})", _UNCHANGED_HINT


def plain_values(document: Mapping[str, Any], measure: Measure) -> tuple[Mapping[str, Any], tuple[Note, ...]]:
    """Return a COCO document with such values converted, and notes on the conversions.

    Args:
        document: the parsed file; it is not changed.
        measure: returns the size of an image if the file does not give it.
    """
    counted = _RepairCounts()
    images = [_image(entry, i, measure, counted) for i, entry in enumerate(document["images"])]
    categories = _categories(document, counted)
    annotations = [_annotation(entry, i, counted) for i, entry in enumerate(document["annotations"])]
    annotations = _linked("images", images, "image_id", annotations, counted)
    annotations = _linked("categories", categories, "category_id", annotations, counted)
    _Ids("annotations", annotations, counted)
    beside = {key: value for key, value in document.items() if _is_kept(key, value)}
    new = {**beside, "images": images, "annotations": annotations, "categories": categories}
    return new, tuple(counted.notes())


def _is_kept(key: str, value: Any) -> bool:
    """Return whether a key outside the lists is valid; nothing reads it."""
    return not (key == "info" and not isinstance(value, dict)) and not (
        key == "licenses" and not isinstance(value, list)
    )


def _image(entry: Any, position: int, measure: Measure, counted: _RepairCounts) -> Any:
    if not isinstance(entry, dict) or all(type(entry.get(key)) is int for key in ("width", "height")):
        return entry
    place = raw_place("images", position, entry)
    new = dict(entry)
    for key in ("width", "height"):
        value = entry.get(key)
        number = whole_number(value)
        if number is not None and type(value) is not int:
            new[key] = number
            counted.add(f"{key} of another type was read as a whole number", place)
    if any(new.get(key) is None for key in ("width", "height")) and isinstance(entry.get("file_name"), str):
        size = measure(position, entry["file_name"], place)
        if size is not None:
            given = (new.get("width"), new.get("height"))
            new["width"], new["height"] = (
                old if old is not None else own for old, own in zip(given, size, strict=True)
            )
            if size != NOT_FOUND:
                counted.add("a missing width or height was read from the image's header", place)
    return new


def _categories(document: Mapping[str, Any], counted: _RepairCounts) -> list[Any]:
    """Return the categories without unused keys; one without objects may be invalid."""
    given = document["categories"]
    used = [entry.get("category_id") for entry in document["annotations"] if isinstance(entry, dict)]
    taken = {_text(number) for number in (*used, *(_id_of(entry) for entry in given))}
    free = (number for number in itertools.count() if str(number) not in taken)
    categories = [_category(entry, i, counted) for i, entry in enumerate(given)]
    wanted = {_text(number) for number in used}
    # Keep the indices of the others.
    return [
        entry if _is_whole(entry) or _text(_id_of(entry)) in wanted else {"id": next(free), "name": _UNREAD}
        for entry in categories
    ]


def _id_of(entry: Any) -> Any:
    return entry.get("id") if isinstance(entry, dict) else None


def _is_whole(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and whole_number(entry.get("id")) is not None
        and isinstance(entry.get("name"), str)
        and entry["name"] != ""
        and isinstance(entry.get("keypoints", []), list)
    )


def _category(entry: Any, position: int, counted: _RepairCounts) -> Any:
    """Return a category without unused invalid keys, and with names as texts."""
    if not isinstance(entry, dict):
        return entry
    new = dict(entry)
    names = [new.get("name"), *_listed(new.get("keypoints"))]
    if any(type(name) is int for name in names):
        counted.add("a number as a name was read as text", raw_place("categories", position, entry))
        new["name"] = _digits(new.get("name"))
        if isinstance(new.get("keypoints"), list):
            new["keypoints"] = [_digits(name) for name in new["keypoints"]]
    if not isinstance(entry.get("supercategory", ""), str):
        del new["supercategory"]
    if "skeleton" in entry and not _are_edges(entry["skeleton"]):
        edges = _by_names(entry["skeleton"], entry.get("keypoints"))
        new.pop("skeleton")
        if edges is not None:
            new["skeleton"] = edges
    return new


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _digits(name: Any) -> Any:
    return str(name) if type(name) is int else name


def _are_edges(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(edge, list) and len(edge) == 2 and all(type(end) is int and 0 <= end < 2**31 for end in edge)
        for edge in value
    )


def _by_names(edges: Any, names: Any) -> list[list[int]] | None:
    if not isinstance(edges, list) or not isinstance(names, list):
        return None
    index = {name: i for i, name in enumerate(names, 1) if isinstance(name, str)}
    if not all(
        isinstance(e, list) and len(e) == 2 and all(isinstance(n, str) and n in index for n in e) for e in edges
    ):
        return None
    return [[index[one], index[two]] for one, two in edges]


def _annotation(entry: Any, position: int, counted: _RepairCounts) -> Any:
    if not isinstance(entry, dict):
        return entry
    change: dict[str, Any] = {}
    drop: list[str] = []

    def tell(what: str) -> None:
        counted.add(what, raw_place("annotations", position, entry))

    crowd = entry.get("iscrowd", 0)
    if type(crowd) is not int and (number := _crowd(crowd)) is not None:
        change["iscrowd"] = number
        tell("iscrowd of another type (false, null, text) was read as 0 or 1")
    area = entry.get("area", 0)
    if type(area) not in _PLAIN_TYPES:
        if area is None:
            drop.append("area")
            tell("area null was read as missing")
        elif (said := number_in(area)) is not None:
            change["area"] = said
            tell("area as text was read as a number")
    box = entry.get("bbox")
    if isinstance(box, list) and not set(map(type, box)) <= _PLAIN_TYPES:
        numbers = [number_in(value) for value in box]
        if all(value is not None for value in numbers):
            change["bbox"] = numbers
            tell("bbox as text was read as numbers")
    _keypoints(entry, change, drop, tell)
    _count(entry, change, drop, tell)
    if not change and not drop:
        return entry
    return {key: value for key, value in {**entry, **change}.items() if key not in drop}


def _crowd(value: Any) -> int | None:
    if value is None or isinstance(value, bool):
        return int(bool(value))
    number = whole_number(value)
    return number if number in (0, 1) else None


def _keypoints(entry: Mapping[str, Any], change: dict[str, Any], drop: list[str], tell: Callable[[str], None]) -> None:
    values = entry.get("keypoints", _NO_VALUE)
    if values is None:
        drop.append("keypoints")
        return
    if not isinstance(values, list):
        return
    if _are_plain(values) and MISSING_MARK not in values:
        return
    if set(map(type, values)) == {list} and all(len(point) == 3 for point in values):
        values = [value for point in values for value in point]
        change["keypoints"] = values
        tell("keypoints as [[x, y, v], ...] were read as one list")
    elif set(map(type, values)) == {list} and all(len(point) == 2 for point in values):
        # The visibility is missing, which is handled later.
        change["keypoints"] = [value for point in values for value in point]
        return
    if not len(values) % 3 and MISSING_MARK in values:
        marked = _unlabeled(values, _is_mark)
        if marked is not values:
            values = change["keypoints"] = marked
            drop.append("num_keypoints")
            tell("keypoints at (-1, -1), the mark of a missing one, were read as unlabeled")
    if len(values) % 3 or _are_plain(values):
        return
    numbers = _unlabeled(values, _lacks_coordinates)
    if numbers is not values:
        tell("keypoints without coordinates and with v = 0 were read as unlabeled")
        change["keypoints"] = numbers
    if any(isinstance(value, str) for value in numbers):
        said = [number_in(value) if isinstance(value, str) else value for value in numbers]
        if all(value is not None or old is None for value, old in zip(said, numbers, strict=True)):
            change["keypoints"] = said
            tell("keypoints as text were read as numbers")


def _are_plain(values: list[Any]) -> bool:
    """Return whether all are numbers; only NaN differs from itself."""
    return set(map(type, values)) <= _PLAIN_TYPES and all(map(operator.eq, values, values))


def _unlabeled(values: list[Any], is_none: Callable[[Any, Any, Any], bool]) -> list[Any]:
    """Return the numbers with 0, 0, 0 for unlabeled points; the same list if there are none."""
    numbers = list(values)
    for at in range(0, len(values), 3):
        if is_none(*values[at : at + 3]):
            numbers[at : at + 3] = [0, 0, 0]
    return values if numbers == values else numbers


def _is_mark(x: Any, y: Any, seen: Any) -> bool:
    """Return whether a point is at (-1, -1) and has a labeled visibility."""
    return bool(x == y == MISSING_MARK and seen != 0)


def _lacks_coordinates(x: Any, y: Any, seen: Any) -> bool:
    """Return whether a point of visibility 0 has no coordinates (null, NaN)."""
    return number_in(seen) == 0 and (number_in(x) is None or number_in(y) is None) and _is_nothing(x) and _is_nothing(y)


def _is_nothing(value: Any) -> bool:
    return value is None or number_in(value) is not None or (isinstance(value, float) and math.isnan(value))


def _count(entry: Mapping[str, Any], change: dict[str, Any], drop: list[str], tell: Callable[[str], None]) -> None:
    said = entry.get("num_keypoints", 0)
    if type(said) is int:
        return
    if (number := whole_number(said)) is not None:
        change["num_keypoints"] = number
        tell("num_keypoints of another type was read as a whole number")
    elif said is None:
        values = change.get("keypoints", entry.get("keypoints"))
        if isinstance(values, list) and not len(values) % 3:
            change["num_keypoints"] = sum(value in LABELED_VALUES for value in values[2::3])
        else:
            drop.append("num_keypoints")
        tell("num_keypoints null was read as missing")


class _Ids:
    """The ids of a list, converted to whole numbers in place, and their lookup for references."""

    def __init__(
        self, kind: str, entries: list[Any], counted: _RepairCounts, referred: frozenset[int] = frozenset()
    ) -> None:
        self._exact: dict[tuple[type, Any], int] = {}
        self._same: dict[str, set[int]] = {}
        given = [entry.get("id") if isinstance(entry, dict) else None for entry in entries]
        used = {number for number in given if type(number) is int}
        free = max((number for number in used if 0 <= number < MAX_ID - len(entries)), default=0) + 1
        for at, number in enumerate(given):
            if number is None and kind == "annotations" and isinstance(entries[at], dict):
                # No entry refers to it.
                while free in used:
                    free += 1
                used.add(free)
                counted.add("an object without an id was given one", Place.entry(kind, at))
                entries[at] = {**entries[at], "id": free}
            elif isinstance(number, str) or (isinstance(number, float) and number.is_integer()):
                key = (type(number), number)
                new = self._exact.get(key, whole_number(number))
                # A new id must not be one that a reference uses.
                while free in used or free in referred:
                    free += 1
                if new is None or not 0 <= new < MAX_ID or (new in used and key not in self._exact):
                    new = free
                used.add(new)
                self._add(number, new)
                counted.add("an id of another type was converted to a whole number", Place.entry(kind, at))
                entries[at] = {**entries[at], "id": new}
            elif type(number) is int:
                self._add(number, number)

    def _add(self, number: Any, new: int) -> None:
        self._exact[type(number), number] = new
        self._same.setdefault(_text(number), set()).add(new)

    def find(self, number: Any) -> int | None:
        """Return the new id that a reference means, or None if none or several match."""
        if not isinstance(number, int | float | str) or isinstance(number, bool):
            return None
        if (exact := self._exact.get((type(number), number))) is not None:
            return exact
        same = self._same.get(_text(number), set())
        return next(iter(same)) if len(same) == 1 else None


def _text(number: Any) -> str:
    whole = whole_number(number)
    return str(number).strip() if whole is None else str(whole)


def _linked(kind: str, entries: list[Any], key: str, annotations: list[Any], counted: _RepairCounts) -> list[Any]:
    """Convert the entries' ids to whole numbers, and return the annotations with updated references."""
    references = (entry.get(key) for entry in annotations if isinstance(entry, dict))
    ids = _Ids(kind, entries, counted, frozenset(number for number in references if type(number) is int))
    linked: list[Any] = []
    for at, entry in enumerate(annotations):
        old = entry.get(key) if isinstance(entry, dict) else None
        new = None if old is None else ids.find(old)
        if new is None or (type(old) is int and new == old):
            linked.append(entry)
            continue
        place = Place.entry("annotations", at)
        if type(old) is int:
            counted.add(f"{key}: a number was matched with an id of another type", place)
        elif new == whole_number(old):
            counted.add(f"{key} of another type was read as a whole number", place)
        linked.append({**entry, key: new})
    return linked
