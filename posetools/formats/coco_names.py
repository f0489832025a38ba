"""COCO files that do not name the keypoints of their objects: ``--kpt-order`` names them, else one finding says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from posetools.errors import must_be
from posetools.formats.base import ReadOptions
from posetools.formats.coco_errors import Note, raw_place
from posetools.skeleton import Skeleton


def name_keypoints(document: Any, skeleton: Skeleton, options: ReadOptions) -> tuple[Any, tuple[Note, ...]]:
    """Return a COCO document whose categories name their keypoints, and the errors of those that cannot be named.

    Args:
        document: the file, as parsed; it stays as it is.
        skeleton: the categories that are not its own are left alone.
        options: the order of the keypoints, and other names.
    """
    if not isinstance(document, dict) or not isinstance(document.get("categories"), list):
        return document, ()
    counts = _numbers_of_points(document.get("annotations"))
    categories: list[Any] = list(document["categories"])
    notes: list[Note] = []
    for i, entry in enumerate(categories):
        if not isinstance(entry, dict) or not _is_ours(entry.get("name"), skeleton, options):
            continue
        number = counts.get(entry["id"]) if isinstance(entry.get("id"), int) else None
        names = entry.get("keypoints") or []
        if number is None or not isinstance(names, list) or len(names) == number:
            continue
        if options.kpt_order is not None and len(options.kpt_order) == number:
            categories[i] = {**entry, "keypoints": list(options.kpt_order)}
        else:
            place = raw_place("categories", i, entry)
            notes.append(_unnamed(place, number, names, skeleton, options.kpt_order))
    return {**document, "categories": categories}, tuple(notes)


def _is_ours(name: Any, skeleton: Skeleton, options: ReadOptions) -> bool:
    return isinstance(name, str) and options.names.get(name, name) == skeleton.category.name


def _numbers_of_points(annotations: Any) -> Mapping[int, int]:
    """Return category id -> how many keypoints all its objects with any have; not those where they differ."""
    lengths: dict[int, Counter[int]] = {}
    for entry in annotations if isinstance(annotations, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("keypoints"), list) and entry["keypoints"]:
            category = entry.get("category_id")
            if isinstance(category, int):
                lengths.setdefault(category, Counter())[len(entry["keypoints"])] += 1
    same = {category: next(iter(counts)) for category, counts in lengths.items() if len(counts) == 1}
    return {category: length // 3 for category, length in same.items() if length % 3 == 0}


def _unnamed(place: str, number: int, names: Sequence[Any], skeleton: Skeleton, order: Sequence[str] | None) -> Note:
    if order is not None:
        rule = f"{number} names, as many as the objects have keypoints"
        message, hint = must_be("--kpt-order", rule, len(order)), "name all of them, in the order of the file"
    else:
        got = f"{len(names)} names" if names else "no names"
        message = f"keypoints must be the names of the objects' keypoints, got {number} keypoints and {got}"
        if number == skeleton.num_keypoints:
            listed = ",".join(skeleton.names)
            hint = f"`posetools convert --kpt-order {listed}` names them, if the file has them in this order"
        else:
            hint = f"`posetools convert --kpt-order a,b,c` names them: {number} names, in the order of the file"
    return "E113", place, message, hint
