"""Left/right pairs of keypoints, found by name.

Both of a pair must be there: ``left-ear`` alone has no partner, and ``leftover`` has none either. From the surest way
of writing to the least: a word of its own (``left-ear``, ``ear_l``, ``R.ear``, ``Left Ear``); a word in camel case
(``LHip``, ``hipLeft``, ``pawL2``); left or right anywhere (``lefthip``, ``frontrightpaw``); a letter at the beginning
or end of a word (``lhip``, ``FL_paw``). A name that could be the partner of two others is the partner of none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

_OPPOSITE_WORD = {"left": "right", "l": "r", "right": "left", "r": "l"}
_NAME_WORD = re.compile(r"[^-_. /]+")
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_SIDE = re.compile(r"left|right", re.IGNORECASE)
# Words without their side letter that count; ``lip`` and ``rip`` are not a pair.
_REST = 3


def swaps(names: Sequence[str]) -> dict[str, str]:
    """Return the partner of each keypoint that has one."""
    found: dict[str, str] = {}
    for variants in (partial(_by, _NAME_WORD), partial(_by, _CAMEL), partial(_by, _SIDE), _by_letters):
        free = [name for name in names if name not in found]
        wanted = {name: _partner(name, variants, free) for name in free}
        found |= {name: other for name, other in wanted.items() if other and wanted[other] == name}
    return found


def without_partner(names: Sequence[str]) -> tuple[str, ...]:
    """Return the keypoints whose names have a word for a side, but no partner among them."""
    found = swaps(names)
    return tuple(name for name in names if name not in found and (_by(_NAME_WORD, name) or _by(_CAMEL, name)))


def is_left(name: str, partner: str) -> bool | None:
    """Return whether a keypoint is the left one of a pair; None when the names do not say so."""
    for one, other in zip(name.casefold(), partner.casefold(), strict=False):
        if one != other:
            return {("l", "r"): True, ("r", "l"): False}.get((one, other))
    return None


def _partner(name: str, variants: Callable[[str], Iterable[str]], names: Sequence[str]) -> str | None:
    folded = Counter(other.casefold() for other in names)
    wanted = {variant if variant in names else variant.casefold() for variant in variants(name)}
    found = [
        other for other in names if other in wanted or (other.casefold() in wanted and folded[other.casefold()] == 1)
    ]
    return found[0] if len(found) == 1 and found[0] != name else None


def _by(part: re.Pattern[str], name: str) -> tuple[str, ...]:
    """Return the name with left and right words exchanged, if that changes it."""
    other = part.sub(lambda match: _other_side(match[0]), name)
    return (other,) if other != name else ()


def _by_letters(name: str) -> Iterator[str]:
    for match in _NAME_WORD.finditer(name):
        word = match[0]
        for place in (0, len(word) - 1):
            other = word[:place] + _other_side(word[place]) + word[place + 1 :]
            is_long = len(word) > _REST or (len(word) == 2 and word.isupper())
            if other != word and is_long and not {word.lower(), other.lower()} & _OPPOSITE_WORD.keys():
                yield name[: match.start()] + other + name[match.end() :]


def _other_side(word: str) -> str:
    other = _OPPOSITE_WORD.get(word.lower(), word)
    return other.upper() if word.isupper() else other.capitalize() if word.istitle() else other
