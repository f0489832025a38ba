"""Detects COCO keypoints that lack visibility or names, and adds these as the user's options say.

- x, y only, or a score or a depth as the third number: ``--assume-visible`` reads every such point as visible.
- A category that does not name its objects' keypoints: ``--kpt-order`` names them.

Without the option, one finding describes the file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posetools.core.categories import Categories
from posetools.core.skeleton import Skeleton
from posetools.errors import must_be, show_value
from posetools.formats.coco.model import Note, drawn_box, raw_place
from posetools.formats.coco.table import CocoTable
from posetools.formats.coco.values import MISSING_MARK
from posetools.formats.declared import made_order
from posetools.formats.labels import category_of
from posetools.formats.options import ReadOptions

# Fractions are at most 1, and a little more for points outside.
_EDGE = 1.5
_SEEN_VALUES = frozenset({0, 1, 2})
_VISIBLE_HINT = (
    "`posetools convert --assume-visible` reads every point as visible, and (0, 0) and negative numbers as not labeled"
)
_SHOWN_PLACES = 5
_ORDERED = "its first name is for the first keypoint in the file"


def has_visibility(table: CocoTable) -> bool:
    """Return whether every third keypoint value of a file is a visibility."""
    columns = table.annotations
    return not (columns.lengths % 3).any() and bool(np.isin(columns.keypoints[2::3], tuple(_SEEN_VALUES)).all())


def has_marks(table: CocoTable) -> bool:
    """Return whether a keypoint is at (-1, -1), the mark of a missing one, but has a labeled visibility."""
    columns = table.annotations
    if (columns.lengths % 3).any():
        return False
    points = columns.keypoints.reshape(-1, 3)
    return bool(((points[:, :2] == MISSING_MARK).all(axis=1) & (points[:, 2] != 0)).any())


def in_fractions(document: Mapping[str, Any]) -> tuple[Note, ...]:
    """Return the error on a COCO file whose boxes and keypoints are all fractions of the image, as in YOLO."""
    objects = [entry for entry in document["annotations"] if isinstance(entry, dict)]
    labeled = 0
    for entry in objects:
        # Nearly every valid file stops here at its first object.
        box = drawn_box(entry.get("bbox"))
        if box is None or max(box) > 1:
            return ()
        values = entry.get("keypoints") or []
        if not isinstance(values, list) or len(values) % 3 or not set(map(type, values)) <= {int, float}:
            return ()
        points = [values[at : at + 2] for at in range(0, len(values), 3) if values[at + 2]]
        if any(abs(value) > _EDGE for point in points for value in point):
            return ()
        labeled += len(points)
    if not labeled:
        return ()
    message = f"bbox and keypoints must be in pixels, got fractions of the image (0 to 1) in all {len(objects)} objects"
    hint = "convert to pixels: multiply by the image's width and height (bbox may hold its center or its corner)"
    return (("E108", "annotations", message, hint),)


def assume_visible(
    document: Mapping[str, Any], categories: Categories, options: ReadOptions
) -> tuple[Mapping[str, Any], tuple[Note, ...]]:
    """Return a COCO document in which every keypoint has a visibility, and notes on changes or missing options.

    Args:
        document: the parsed file; it is not changed.
        categories: objects of other categories are not changed.
        options: names, the order of the keypoints, and whether points are read as visible.
    """
    numbers = _numbers_of_keypoints(document, categories, options)
    objects = {i: found for i, entry in enumerate(document["annotations"]) if (found := _values(entry, numbers))}
    pairs = {i: values for i, (values, number) in objects.items() if len(values) == 2 * number}
    triples = {i: values for i, (values, number) in objects.items() if len(values) == 3 * number}
    given = [value for values in triples.values() for value in values[2::3] if value]
    # A few wrong visibilities are separate mistakes.
    other = triples if 2 * sum(value not in _SEEN_VALUES for value in given) > len(given) else {}
    if not pairs and not other:
        return document, ()
    if not options.assume_visible:
        return document, tuple(_refusals(document["annotations"], pairs, other))
    annotations: list[Any] = list(document["annotations"])
    for of, size in ((pairs, 2), (other, 3)):
        for i, values in of.items():
            keypoints = _visible(values, size)
            annotations[i] = {**annotations[i], "keypoints": keypoints, "num_keypoints": keypoints[2::3].count(2)}
    message = f"keypoints of {len(pairs) + len(other)} objects have no visibility: labeled ones were read as visible"
    return {**document, "annotations": annotations}, (("W324", "annotations", message, _VISIBLE_HINT),)


def _numbers_of_keypoints(document: Mapping[str, Any], categories: Categories, options: ReadOptions) -> dict[int, int]:
    """Return category id -> number of keypoints, for the data set's categories."""
    numbers: dict[int, int] = {}
    for entry in document["categories"]:
        name, category = (entry.get("name"), entry.get("id")) if isinstance(entry, dict) else (None, None)
        ours = category_of(name, categories, options)
        if ours is None:
            continue
        names = options.kpt_order or entry.get("keypoints")
        if isinstance(category, int):
            known = isinstance(names, Sequence) and len(names)
            numbers[category] = known or number_of_pairs(document["annotations"], category)
            numbers[category] = numbers[category] or categories[ours].num_keypoints
    return numbers


def number_of_pairs(annotations: Sequence[Any], category: int) -> int:
    """Return the number of (x, y) pairs in each object of a category without names; 0 if they may not be pairs."""
    found = (entry for entry in annotations if isinstance(entry, dict) and entry.get("category_id") == category)
    lengths = {len(entry["keypoints"]) for entry in found if isinstance(entry.get("keypoints"), list)} - {0}
    length = lengths.pop() if len(lengths) == 1 else 0
    return length // 2 if length % 3 and not length % 2 else 0


def _values(entry: Any, numbers: Mapping[int, int]) -> tuple[list[Any], int] | None:
    """Return an object's keypoint values and its category's number of keypoints, if both are valid."""
    category = entry.get("category_id") if isinstance(entry, dict) else None
    number = numbers.get(category) if isinstance(category, int) else None
    values = entry.get("keypoints") if number else None
    if number is None or not isinstance(values, list) or not set(map(type, values)) <= {int, float}:
        return None
    return values, number


def _visible(values: Sequence[float], size: int) -> list[float]:
    keypoints: list[float] = []
    for x, y in zip(values[::size], values[1::size], strict=True):
        labeled = min(x, y) >= 0 and (x, y) != (0, 0)
        keypoints += (x, y, 2) if labeled else (0, 0, 0)
    return keypoints


def _refusals(annotations: Sequence[Any], pairs: Mapping[int, Any], other: Mapping[int, Sequence[Any]]) -> list[Note]:
    notes: list[Note] = []
    for code, found, got in (
        ("E106", pairs, "x and y only"),
        ("E107", other, "another third number (a score or a depth?)"),
    ):
        if found:
            first = min(found)
            wrong = [value for value in found[first][2::3] if value not in _SEEN_VALUES] if code == "E107" else []
            example = f", such as {show_value(wrong[0])}" if wrong else ""
            place = raw_place("annotations", first, annotations[first])
            objects = f"{len(found)} objects, the first is {place}" if len(found) > 1 else place
            message = f"keypoints must be x, y and visibility (0, 1 or 2), got {got} in {objects}{example}"
            # Concerns the whole file: none of it is read.
            notes.append((code, "annotations", message, _VISIBLE_HINT))
    return notes


def name_keypoints(
    document: Mapping[str, Any], categories: Categories, options: ReadOptions
) -> tuple[Mapping[str, Any], tuple[Note, ...]]:
    """Return a COCO document whose categories name their keypoints, and errors for those that cannot be named.

    Args:
        document: the parsed file; it is not changed.
        categories: other categories are not changed.
        options: the order of the keypoints, and other names.
    """
    lengths = numbers_of_points(document["annotations"])
    entries: list[Any] = list(document["categories"])
    notes: list[Note] = []
    if not entries and len(categories) == 1:
        entries, notes = _only_category(document["annotations"], lengths, categories.only, options.kpt_order)
    for i, entry in enumerate(entries):
        ours = category_of(entry.get("name"), categories, options) if isinstance(entry, dict) else None
        if ours is None:
            continue
        skeleton = categories[ours]
        numbers = lengths.get(entry["id"], {}) if isinstance(entry.get("id"), int) else {}
        names = entry.get("keypoints") or []
        if len(numbers) > 1 and not names:
            notes.append(_differing(raw_place("categories", i, entry), numbers))
        if len(numbers) != 1 or not isinstance(names, list):
            continue
        (number,) = numbers
        foreign = len(names) == number and not any(_is_known(name, skeleton, options) for name in names)
        if len(names) == number and not (foreign and (options.kpt_order is not None or are_numbered(names))):
            continue
        place = raw_place("categories", i, entry)
        order = options.kpt_order or (() if names else made_order(number, skeleton, options))
        if order and len(order) == number:
            entries[i] = {**entry, "keypoints": list(order)}
            if foreign:
                notes.append(("W336", place, f"keypoints are named {_shown(names)}: renamed by --kpt-order", _ORDERED))
        else:
            notes.append(_unnamed(place, number, names, skeleton, options.kpt_order))
    return {**document, "categories": entries}, tuple(notes)


def _only_category(
    annotations: Sequence[Any],
    lengths: Mapping[int, Mapping[int, int]],
    skeleton: Skeleton,
    order: Sequence[str] | None,
) -> tuple[list[Any], list[Note]]:
    """Return the one category of the objects of a file without categories; the user names its keypoints."""
    used = Counter(entry.get("category_id") for entry in annotations if isinstance(entry, dict))
    number = next(iter(used)) if len(used) == 1 else None
    if type(number) is not int or number < 0:
        return [], []
    name, objects = skeleton.category.name, f"{used[number]} object{'s' * (used[number] > 1)} of category {number}"
    if order is not None:
        message = f"categories is empty: the {objects} were read as {name!r} with the keypoints of --kpt-order"
        category = {"id": number, "name": name, "keypoints": list(order)}
        return [category], [("W324", "categories", message, "the source is not changed")]
    message = f"categories must list the category of the objects, got none for the {objects}"
    points = lengths.get(number, {})
    fits = set(points) <= {skeleton.num_keypoints}
    named = ",".join(skeleton.names) if fits else "a,b,c"
    hint = f"`posetools convert --kpt-order {named}` reads them as {name!r} with these keypoints, in the file's order"
    return [], [("E111", "categories", message, hint)]


def _is_known(name: Any, skeleton: Skeleton, options: ReadOptions) -> bool:
    return not isinstance(name, str) or options.names.get(name, name) in skeleton.index or name in options.ignore


def are_numbered(names: Sequence[str]) -> bool:
    """Return whether names only count: 0, 1, 2 or kp_1, kp_2, kp_3."""
    numbered = [re.fullmatch(r"(\D*)(\d{1,9})", name) for name in names]
    found = [(match[1], int(match[2])) for match in numbered if match]
    first = found[0] if len(found) == len(names) else None
    return first is not None and found == [(first[0], first[1] + i) for i in range(len(found))]


def _shown(names: Sequence[Any]) -> str:
    return ", ".join(map(show_value, names[:_SHOWN_PLACES])) + ", ..." * (len(names) > _SHOWN_PLACES)


def numbers_of_points(annotations: Sequence[Any]) -> Mapping[int, Mapping[int, int]]:
    """Return category id -> number of keypoints -> number of objects, where all values come in threes."""
    found: dict[int, Counter[int]] = {}
    odd: set[int] = set()
    for entry in annotations:
        if isinstance(entry, dict) and isinstance(entry.get("keypoints"), list) and entry["keypoints"]:
            category = entry.get("category_id")
            if isinstance(category, int):
                number, rest = divmod(len(entry["keypoints"]), 3)
                found.setdefault(category, Counter())[number] += 1
                odd |= {category} if rest else set()
    return {category: counts for category, counts in found.items() if category not in odd}


def _differing(place: str, numbers: Mapping[int, int]) -> Note:
    listed = ", ".join(f"{number} in {count}" for number, count in sorted(numbers.items())[:_SHOWN_PLACES])
    more = ", ..." * (len(numbers) > _SHOWN_PLACES)
    message = f"the number of unnamed keypoints must be the same in every object, got {listed} objects{more}"
    hint = "export with keypoint names (from CVAT with a skeleton), or label the other objects again"
    return "E113", place, message, hint


def _unnamed(place: str, number: int, names: Sequence[Any], skeleton: Skeleton, order: Sequence[str] | None) -> Note:
    if order is not None:
        rule = f"{number} names, as many as the objects have keypoints"
        message, hint = must_be("--kpt-order", rule, len(order)), "list all names in the file's order"
    else:
        got = f"{len(names)} names" if names else "no names"
        got = f"the numbers {_shown(names)} for names" if len(names) == number else got
        message = f"keypoints must name all keypoints of the objects, got {number} keypoints and {got}"
        if number == skeleton.num_keypoints:
            listed = ",".join(skeleton.names)
            hint = f"`posetools convert --kpt-order {listed}` names them, if this is the file's order"
        else:
            hint = f"`posetools convert --kpt-order a,b,c` names them: {number} names in the file's order"
    return "E113", place, message, hint
