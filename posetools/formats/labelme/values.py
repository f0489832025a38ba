"""Values of labelme files in another type than labelme's that have one meaning: ``"1"`` for 1, ``[]`` for no flags.

Only files that the models refuse come here. What is changed is counted by kind, and anything else is left as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from posetools.formats.plain_numbers import whole

_NUMBER = re.compile(r"[+-]?(?:\d{1,15}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,3})?")
_BOOLS = {"true": True, "false": False, "1": True, "0": False}


def lenient_shape(raw: Any, repairs: Counter[str]) -> Any:
    """Return a shape with the values that have one meaning in labelme's types; count what was changed."""
    if not isinstance(raw, dict):
        return raw
    made = dict(raw)
    for field, (kind, change) in _CHANGES.items():
        if field in raw:
            value = change(raw[field])
            # 1 equals True, and a list of the one a list of the other.
            if repr(value) != repr(raw[field]):
                made[field] = value
                repairs[kind] += 1
    return made


def _group(value: Any) -> Any:
    number = whole(value)
    return number.strip() or None if isinstance(number, str) else number


def flag(value: Any) -> Any:
    """Return the true or false that a value is, as a number or a text; else the value itself."""
    # 1.0 and True are equal to 1, and mean the same here.
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    return _BOOLS.get(value.casefold(), value) if isinstance(value, str) else value


def _flags(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: flag(on) for name, on in value.items()}
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return dict.fromkeys(value, True)
    return None if value == "" else value


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _label(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def pairs(value: Any) -> Any:
    """Return a list of points with texts as numbers; else the value itself."""
    if not isinstance(value, list) or not all(isinstance(point, list) for point in value):
        return value
    return [[coordinate(number) for number in point] for point in value]


def coordinate(value: Any) -> Any:
    """Return the number that a text is; else the value itself."""
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value.strip()) else value


_CHANGES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "label": ("a label as a number was taken for its digits", _label),
    "points": ("coordinates as texts were taken for numbers", pairs),
    "group_id": ("a group_id as a text or a fraction was taken for an integer, an empty one for none", _group),
    "flags": ("flags as names, 0, 1 or texts were taken for true and false", _flags),
    "description": ("a description as a number was taken for a text", _text),
    "difficult": ("difficult as 0, 1 or a text was taken for true or false", flag),
    "shape_type": (
        "a shape_type of null was taken for a missing one",
        lambda value: "polygon" if value is None else value,
    ),
}
