"""Left/right pairs of keypoints, found by name.

Both of a pair must be there: ``left-ear`` alone has no partner, and ``leftover`` has none either. From the surest way
of writing to the least: a word of its own (``left-ear``, ``ear_l``, ``R.ear``, ``Left Ear``); a word in camel case
(``LHip``, ``hipLeft``, ``pawL2``); left or right anywhere (``lefthip``, ``frontrightpaw``); a letter at the beginning
or end of a word (``lhip``, ``FL_paw``); at last, two ways of writing in one pair (``left_ear``, ``EarR``). A name that
could be the partner of two others is the partner of none.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

SIDES = {"left", "right"}
_LEFT_RIGHT = {"left": "right", "l": "r", "lt": "rt", "lft": "rgt", "lhs": "rhs"}
_OPPOSITE_WORD = _LEFT_RIGHT | {right: left for left, right in _LEFT_RIGHT.items()}
_NAME_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_SIDE = re.compile(r"left|right", re.IGNORECASE)
_NUMBERED = re.compile(r"(.*?)[\W_]*[0-9]+")
# Words without their side letter that count; ``lip`` and ``rip`` are not a pair.
_REST = 3
# Similarity of two words, one of which is a misspelling of the other.
_ALIKE = 0.8
# A midline (``tail1``, ``tail2``, ...) has fewer points; a face's outline has more, and they have partners.
_CHAIN = 8
# Before a number, these words say nothing of the keypoint.
_SAYS_NOTHING = {"", "p", "pt", "point", "kp", "kpt", "keypoint", "joint", "landmark", "lm", "marker", "node", "face"}


@dataclass(frozen=True, slots=True)
class NamePairs:
    """What the names of a skeleton's keypoints say of left and right.

    Attributes:
        swaps: the partner of each keypoint that has one, both ways.
        alone: the keypoints whose names have a side, but no partner.
        unsure: (one, other) that may be pairs: a misspelling, or names of both sides without a partner.
        numbered: keypoints whose names are a number of many, and say nothing of a side.
    """

    swaps: dict[str, str]
    alone: tuple[str, ...]
    unsure: tuple[tuple[str, str], ...]
    numbered: tuple[str, ...]

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Each pair once."""
        return tuple({frozenset(pair): pair for pair in reversed(self.swaps.items())}.values())[::-1]

    @property
    def complete(self) -> bool:
        """Whether a keypoint without a partner can be taken to have none."""
        return not (self.alone or self.numbered)


def name_pairs(names: Sequence[str]) -> NamePairs:
    """Return the left/right pairs that names give, and the names that leave a pair open."""
    found = swaps(names)
    free = [name for name in names if name not in found]
    alone = tuple(name for name in free if side_of(name))
    stems = {name: match[1].casefold() for name in free if (match := _NUMBERED.fullmatch(name))}
    times = Counter(stems.values())
    numbered = (name for name, stem in stems.items() if stem in _SAYS_NOTHING or times[stem] >= _CHAIN)
    return NamePairs(found, alone, tuple(_unsure(alone, free)), tuple(name for name in numbered if name not in alone))


def swaps(names: Sequence[str]) -> dict[str, str]:
    """Return the partner of each keypoint that has one."""
    found: dict[str, str] = {}
    for variants in (partial(_by, _NAME_WORD), partial(_by, _CAMEL), partial(_by, _SIDE), _by_letters):
        free = [name for name in names if name not in found]
        wanted = {name: _partner(name, variants, free) for name in free}
        found |= {name: other for name, other in wanted.items() if other and wanted[other] == name}
    return found | _mixed([name for name in names if name not in found])


def is_left(name: str, partner: str) -> bool | None:
    """Return whether a keypoint is the left one of a pair; None when the names do not say so."""
    if {side_of(name), side_of(partner)} == SIDES:
        return side_of(name) == "left"
    for one, other in zip(name.casefold(), partner.casefold(), strict=False):
        if one != other:
            return {("l", "r"): True, ("r", "l"): False}.get((one, other))
    return None


def side_of(name: str) -> str | None:
    """Return ``left`` or ``right`` for a name with a word for it."""
    return next(iter(_sides([word.lower() for word in _NAME_WORD.findall(name)] + _words(name))), None)


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
    sides = [word for word in _words(name) if word in _OPPOSITE_WORD]
    is_rear_too = len(sides) > 1 and "r" in sides
    for match in itertools.chain(_NAME_WORD.finditer(name), _CAMEL.finditer(name)):
        word = match[0]
        for place in (0, len(word) - 1):
            other = word[:place] + _other_side(word[place]) + word[place + 1 :]
            is_known = bool({word.lower(), other.lower()} & _OPPOSITE_WORD.keys())
            if other != word and not is_known and (len(word) > _REST or len(word) == 2):
                yield name[: match.start()] + other + name[match.end() :]
        # In R_L_wheel one letter is the rear.
        if is_rear_too and word.lower() in _OPPOSITE_WORD:
            yield name[: match.start()] + _other_side(word) + name[match.end() :]


def _other_side(word: str) -> str:
    other = _OPPOSITE_WORD.get(word.lower(), word)
    return other.upper() if word.isupper() else other.capitalize() if word.istitle() else other


def _words(name: str) -> list[str]:
    return [part.lower() for word in _NAME_WORD.findall(name) for part in _CAMEL.findall(word) or [word]]


def _mixed(names: Sequence[str]) -> dict[str, str]:
    """Return the pairs whose two names write the side in different ways: the other words are the same, in any order."""
    groups: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for name in names:
        # A glued word is taken apart: lefthip is left hip.
        words = _words(name) if side_of(name) else _words(_SIDE.sub(r" \g<0> ", name))
        sides = _sides(words)
        rest = sorted(word for word in words if word not in _OPPOSITE_WORD)
        if len(sides) == 1 and rest:
            groups[tuple(rest)].append((sides[0], name))
    pairs = [sorted(group) for group in groups.values() if len(group) == 2]
    found = {left: right for (side, left), (other, right) in pairs if side != other}
    return found | {right: left for left, right in found.items()}


def _unsure(alone: Sequence[str], free: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of names without a partner that may belong together, the most similar first."""
    lefts = [name for name in alone if side_of(name) == "left"]
    both = [pair for pair in itertools.product(lefts, alone) if _sides(_mirrored(pair[0])) == _sides(_words(pair[1]))]
    plain = [name for name in free if name not in alone]
    both += [pair for pair in itertools.product(alone, plain) if _is_misspelled(_mirrored(pair[0]), _words(pair[1]))]
    taken: set[str] = set()
    for one, other in sorted(
        both, key=lambda pair: -_likeness(" ".join(_mirrored(pair[0])), " ".join(_words(pair[1])))
    ):
        if not {one, other} & taken:
            taken |= {one, other}
            yield one, other


def _mirrored(name: str) -> list[str]:
    return [_OPPOSITE_WORD.get(word, word) for word in _words(name)]


def _sides(words: Sequence[str]) -> list[str]:
    return ["left" if word in _LEFT_RIGHT else "right" for word in words if word in _OPPOSITE_WORD]


def _is_misspelled(words: Sequence[str], others: Sequence[str]) -> bool:
    alike = (_likeness(*pair) >= _ALIKE for pair in zip(words, others, strict=False))
    return len(words) == len(others) and all(alike)


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
