"""COCO files that do not name the keypoints of their objects: ``--kpt-order`` names them, else one finding says so."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from posetools.core.skeleton import Skeleton
from posetools.errors import must_be, show_value
from posetools.formats.base import ReadOptions
from posetools.formats.coco.model import Note, raw_place
from posetools.formats.labels import is_category

_SHOWN = 5
_ORDERED = "the first of its names is that of the first keypoint in the file"


def name_keypoints(
    document: Mapping[str, Any], skeleton: Skeleton, options: ReadOptions
) -> tuple[Mapping[str, Any], tuple[Note, ...]]:
    """Return a COCO document whose categories name their keypoints, and the errors of those that cannot be named.

    Args:
        document: the file, as parsed; it stays as it is.
        skeleton: the categories that are not its own are left alone.
        options: the order of the keypoints, and other names.
    """
    lengths = _numbers_of_points(document["annotations"])
    categories: list[Any] = list(document["categories"])
    notes: list[Note] = []
    if not categories:
        categories, notes = _only_category(document["annotations"], lengths, skeleton, options.kpt_order)
    for i, entry in enumerate(categories):
        if not isinstance(entry, dict) or not is_category(entry.get("name"), skeleton, options):
            continue
        numbers = lengths.get(entry["id"], {}) if isinstance(entry.get("id"), int) else {}
        names = entry.get("keypoints") or []
        if len(numbers) > 1 and not names:
            notes.append(_differing(raw_place("categories", i, entry), numbers))
        if len(numbers) != 1 or not isinstance(names, list):
            continue
        (number,) = numbers
        foreign = len(names) == number and not any(_is_known(name, skeleton, options) for name in names)
        if len(names) == number and not (foreign and (options.kpt_order is not None or _are_numbered(names))):
            continue
        place = raw_place("categories", i, entry)
        if options.kpt_order is not None and len(options.kpt_order) == number:
            categories[i] = {**entry, "keypoints": list(options.kpt_order)}
            if foreign:
                notes.append(("W336", place, f"keypoints are named {_shown(names)}: --kpt-order names them", _ORDERED))
        else:
            notes.append(_unnamed(place, number, names, skeleton, options.kpt_order))
    return {**document, "categories": categories}, tuple(notes)


def _only_category(
    annotations: Sequence[Any],
    lengths: Mapping[int, Mapping[int, int]],
    skeleton: Skeleton,
    order: Sequence[str] | None,
) -> tuple[list[Any], list[Note]]:
    """Return the category of the objects of a file that lists none: one, whose keypoints the user names."""
    used = Counter(entry.get("category_id") for entry in annotations if isinstance(entry, dict))
    number = next(iter(used)) if len(used) == 1 else None
    if type(number) is not int or number < 0:
        return [], []
    name, objects = skeleton.category.name, f"{used[number]} object{'s' * (used[number] > 1)} of category {number}"
    if order is not None:
        message = f"categories lists none: the {objects} were taken for {name!r}, with the keypoints of --kpt-order"
        category = {"id": number, "name": name, "keypoints": list(order)}
        return [category], [("W324", "categories", message, "the source stays as it is")]
    message = f"categories must list the category of the objects, got none for the {objects}"
    points = lengths.get(number, {})
    fits = set(points) <= {skeleton.num_keypoints}
    named = ",".join(skeleton.names) if fits else "a,b,c"
    hint = f"`posetools convert --kpt-order {named}` takes them for {name!r} with these keypoints, in the file's order"
    return [], [("E111", "categories", message, hint)]


def _is_known(name: Any, skeleton: Skeleton, options: ReadOptions) -> bool:
    return not isinstance(name, str) or options.names.get(name, name) in skeleton.index or name in options.ignore


def _are_numbered(names: Sequence[str]) -> bool:
    """Return whether names only count: 0, 1, 2 or kp_1, kp_2, kp_3."""
    numbered = [re.fullmatch(r"(\D*)(\d{1,9})", name) for name in names]
    found = [(match[1], int(match[2])) for match in numbered if match]
    first = found[0] if len(found) == len(names) else None
    return first is not None and found == [(first[0], first[1] + i) for i in range(len(found))]


def _shown(names: Sequence[Any]) -> str:
    return ", ".join(map(show_value, names[:_SHOWN])) + ", ..." * (len(names) > _SHOWN)


def _numbers_of_points(annotations: Sequence[Any]) -> Mapping[int, Mapping[int, int]]:
    """Return category id -> numbers of keypoints, with how many of its objects have each; none that is no number."""
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
    listed = ", ".join(f"{number} in {count}" for number, count in sorted(numbers.items())[:_SHOWN])
    more = ", ..." * (len(numbers) > _SHOWN)
    message = f"keypoints must be as many in every object where they have no names, got {listed} objects{more}"
    hint = "which point is which cannot be known: export with names, from CVAT with a skeleton, or label the rest again"
    return "E113", place, message, hint


def _unnamed(place: str, number: int, names: Sequence[Any], skeleton: Skeleton, order: Sequence[str] | None) -> Note:
    if order is not None:
        rule = f"{number} names, as many as the objects have keypoints"
        message, hint = must_be("--kpt-order", rule, len(order)), "name all of them, in the order of the file"
    else:
        got = f"{len(names)} names" if names else "no names"
        got = f"the numbers {_shown(names)} for names" if len(names) == number else got
        message = f"keypoints must be the names of the objects' keypoints, got {number} keypoints and {got}"
        if number == skeleton.num_keypoints:
            listed = ",".join(skeleton.names)
            hint = f"`posetools convert --kpt-order {listed}` names them, if the file has them in this order"
        else:
            hint = f"`posetools convert --kpt-order a,b,c` names them: {number} names, in the order of the file"
    return "E113", place, message, hint
