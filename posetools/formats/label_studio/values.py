"""Label Studio's JSON as other programs write it: ids as numbers, numbers as strings, a single task.

Changes are counted by kind; anything else is left as it is, for the models to refuse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from posetools.formats.labelme.model import coordinate, flag, pairs
from posetools.formats.plain_numbers import whole

_LARGEST_ID = 10**15
_IDS = ("id", "parentID", "from_id", "to_id")
_SIZE_KEYS = ("original_width", "original_height")
# What may differ in copies of a region.
_OF_ONE_ANNOTATION = frozenset({"origin", "score"})
_NUMBER_KEYS = frozenset({"x", "y", "width", "height", "rotation", "radiusX", "radiusY"})


def tasks_of(document: object) -> list[Any] | None:
    """Return the tasks in a JSON document: a list, a single task, or a file of a cloud storage; None for others.

    To a cloud storage, Label Studio writes one annotation per file, with its task inside.
    """
    if isinstance(document, list):
        return [_with_annotation(one) for one in document]
    if not isinstance(document, dict):
        return None
    tasks = document.get("tasks")
    if isinstance(tasks, list):
        return [_with_annotation(one) for one in tasks]
    return [_with_annotation(document)] if is_task(_with_annotation(document)) else None


def is_task(raw: object) -> bool:
    """Return whether an object is a task: by its annotations, or by JSON-MIN's keys next to the data."""
    if not isinstance(raw, dict):
        return False
    full = isinstance(raw.get("data"), dict) and not {"annotations", "completions", "predictions"}.isdisjoint(raw)
    return full or is_minimal(raw) or any(isinstance(one.get("result"), list) for one in _annotations(raw))


def is_minimal(raw: Mapping[str, Any]) -> bool:
    """Return whether a task is one of JSON-MIN, whose regions are next to the data."""
    return {"annotation_id", "annotator"} <= raw.keys()


def agree(results: Sequence[Sequence[Any]]) -> bool:
    """Return whether annotations are equal, apart from the ids and the origin of their regions."""
    return len({_told(result) for result in results}) == 1


def lenient_annotation(raw: Mapping[str, Any], repairs: Counter[str]) -> dict[str, Any]:
    """Return an annotation with its canceled and ground truth marks as true and false."""
    made = dict(raw)
    for key in ("was_cancelled", "skipped", "ground_truth"):
        value = flag(made.get(key))
        if isinstance(value, bool) and not isinstance(made[key], bool):
            made[key] = value
            repairs[f"{key} as a number or a string was read as true or false"] += 1
    return made


def lenient_entry(raw: Any, repairs: Counter[str]) -> Any:
    """Return an entry of ``result`` with unambiguous values in Label Studio's types."""
    if not isinstance(raw, dict):
        return raw
    made = dict(raw)
    for key in _IDS:
        given = raw.get(key)
        if given is None or isinstance(given, str):
            continue
        value = whole(given)
        if type(value) is int and abs(value) < _LARGEST_ID:
            made[key] = str(value)
            repairs["an id as a number was read as a string"] += 1
    lenient_sizes(made, repairs)
    value = raw.get("value")
    if isinstance(value, dict):
        made["value"] = lenient_value(value, repairs)
    return made


def lenient_sizes(entry: dict[str, Any], repairs: Counter[str]) -> None:
    """Turn the image's size and rotation in an entry into numbers, in place; half a size is dropped."""
    for key in (*_SIZE_KEYS, "image_rotation"):
        given = entry.get(key)
        if given is None or type(given) is int:
            continue
        value = 0 if key == "image_rotation" and given == "" else whole(given)
        if type(value) is int:
            entry[key] = value
            repairs["an image size or rotation as a string or a float was read as an integer"] += 1
    missing = [entry.get(key) in (None, "") for key in _SIZE_KEYS]
    if any(missing):
        if not all(missing):
            repairs["a width or height alone was ignored: the image gives both"] += 1
        for key in _SIZE_KEYS:
            entry.pop(key, None)


def lenient_value(raw: dict[str, Any], repairs: Counter[str]) -> dict[str, Any]:
    """Return the value of an entry with unambiguous values in Label Studio's types."""
    changed: dict[str, Any] = {}
    for key, given in raw.items():
        if isinstance(given, str):
            value = coordinate(given) if key in _NUMBER_KEYS else given
            if value is not given:
                changed[key] = value
                repairs["percentages as strings were read as numbers"] += 1
            elif key.endswith("labels"):
                repairs["a label outside a list was read as the only one"] += 1
        elif key == "points":
            points = pairs(given)
            if points != given:
                changed[key] = points
                repairs["percentages as strings were read as numbers"] += 1
    if raw.get("rotation") == "":
        changed["rotation"] = None
    return {**raw, **changed} if changed else raw


def _told(result: Sequence[Any]) -> str:
    numbers: dict[str, int] = {}
    told = []
    for entry in result:
        if isinstance(entry, dict):
            ids = {key: numbers.setdefault(repr(entry[key]), len(numbers)) for key in _IDS if entry.get(key)}
            told.append({key: value for key, value in entry.items() if key not in _OF_ONE_ANNOTATION} | ids)
        else:
            told.append(entry)
    return repr(told)


def _annotations(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = raw.get("annotations", raw.get("completions"))
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _with_annotation(raw: Any) -> Any:
    """Return the task inside an annotation, with the annotation; anything else as is."""
    task = raw.get("task") if isinstance(raw, dict) else None
    if not isinstance(task, dict) or not isinstance(raw.get("result"), list) or "data" in raw:
        return raw
    return {**task, "annotations": [{key: value for key, value in raw.items() if key != "task"}]}
