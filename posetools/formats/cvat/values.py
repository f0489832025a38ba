"""Attributes of CVAT files in another spelling than CVAT's with one meaning: ``True`` for 1, ``1.0`` for group 1.

What is changed is counted by kind; anything else is left as it is, for the models to refuse.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping

from posetools.formats.plain_numbers import whole

_FLAGS = {"true": "1", "yes": "1", "on": "1", "1.0": "1", "false": "0", "no": "0", "off": "0", "0.0": "0"}
_NONE = frozenset({"", "none", "null", "nan"})
# What CVAT itself writes, told apart at a glance.
_PLAIN_PAIRS = re.compile(r"-?\d+(?:\.\d+)?,-?\d+(?:\.\d+)?(?:;-?\d+(?:\.\d+)?,-?\d+(?:\.\d+)?)*", re.ASCII)
_SEPARATOR = re.compile(r"\s*,\s*|\s+")
_HALF_SIZE = "a size without its other half was not used: the image says both"
_NO_SIZE = "a missing size was taken from the image"


def lenient_shape(attributes: Mapping[str, str]) -> tuple[Mapping[str, str], list[str]]:
    """Return the attributes of a shape as CVAT writes them where they have one meaning, and what was changed."""
    changes: list[str] = []
    made = attributes
    for field, (kind, change) in _CHANGES.items():
        text = made.get(field)
        # Most attributes are so, of each of many thousand points.
        if text is None or text == "0" or text == "1":
            continue
        value = change(text)
        if value == text:
            continue
        changes.append(kind)
        made = {name: one for name, one in made.items() if name != field} | ({} if value is None else {field: value})
    return made, changes


def lenient_image(attributes: Mapping[str, str], repairs: Counter[str]) -> dict[str, str]:
    """Return the attributes of an image entry likewise; the size is left out unless both its sides are said."""
    made = dict(attributes)
    said = [side for side in ("width", "height") if made.get(side, "").strip().casefold() not in _NONE]
    if len(said) < 2:
        repairs[_HALF_SIZE if said else _NO_SIZE] += 1
        made.pop("width", None)
        made.pop("height", None)
    for side in said if len(said) == 2 else ():
        value = whole(made[side])
        if isinstance(value, int) and str(value) != made[side]:
            made[side] = str(value)
            repairs["a size as a fraction was taken for an integer"] += 1
    return made


def exchanged(*corners: tuple[float, float]) -> list[str]:
    """Return what to say of a box whose sides (left and right, top and bottom) are exchanged; nothing of others."""
    return ["exchanged corners of a box were put in order"] if any(a > b for a, b in corners) else []


def _flag(text: str) -> str | None:
    said = text.strip().casefold()
    return None if said in _NONE else _FLAGS.get(said, said)


def _group(text: str) -> str | None:
    if text.isascii() and text.isdigit():
        return text
    if text.strip().casefold() in _NONE:
        return None
    value = whole(text)
    return str(value) if isinstance(value, int) else text


def _number(text: str) -> str | None:
    return None if text.strip().casefold() in _NONE - {"nan"} else text


def _pairs(text: str) -> str:
    """Return pairs as CVAT writes them: other white space and empty pairs say nothing."""
    if _PLAIN_PAIRS.fullmatch(text):
        return text
    pairs = [_SEPARATOR.split(pair.strip()) for pair in text.split(";") if pair.strip()]
    return ";".join(map(",".join, pairs)) if pairs else text


_CHANGES: dict[str, tuple[str, Callable[[str], str | None]]] = {
    "group_id": ("a group_id as a fraction was taken for an integer, an empty one for none", _group),
    "occluded": ("occluded or outside as a word or a fraction was taken for 0 or 1, an empty one for 0", _flag),
    "outside": ("occluded or outside as a word or a fraction was taken for 0 or 1, an empty one for 0", _flag),
    "rotation": ("an empty rotation was taken for none", _number),
    "points": ("points with other white space, or a separator too many, were read as pairs", _pairs),
}
