"""Reads the visibility of a point from flags, keys and free text, including negations and contradictions.

A statement comes from one place: a flag, a key of the shape, the description, or a word in the label. All statements
on a point must agree; an ambiguous text ("not fully occluded") is refused, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from posetools.core.dataset import Visibility

# Flags and keys that mean "visible" when on, and whose values are numbers or words.
SEEN = frozenset({"visible"})
# The key with COCO's number: 0 not labeled, 1 labeled but not visible, 2 visible.
SCALE = frozenset({"visibility"})
_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})
_NUMBER_WORDS = {"0": Visibility.NOT_LABELED, "1": Visibility.HIDDEN, "2": Visibility.VISIBLE}
_OPPOSITE_VISIBILITY = {Visibility.HIDDEN: Visibility.VISIBLE, Visibility.VISIBLE: Visibility.HIDDEN}
# These change nothing between a negation and its word.
_FILLERS = frozenset({"at", "all", "is", "be", "really"})
_NOT = frozenset({"not", "non", "no", "never", "isn't", "isnt", "un"})
_CLAUSE = re.compile(r"[,;\n|]+|\.(?:\s|$)")
_TOKEN_PATTERN = re.compile(r"[:=]|[^\s:=]+")


class UnclearVisibility(NamedTuple):
    """A point with an ambiguous visibility; ``problem`` is the text."""

    problem: str


class Statement(NamedTuple):
    """One statement: its source as shown in messages, and the visibility; None if ambiguous."""

    source: str
    visibility: Visibility | None


def agreed(statements: Collection[Statement]) -> Visibility | UnclearVisibility:
    """Return the visibility that all statements agree on; visible if there are none."""
    unread = [one.source for one in statements if one.visibility is None]
    if unread:
        return UnclearVisibility(unread[0])
    said = {one.visibility for one in statements}
    if len(said) > 1:
        return UnclearVisibility(" and ".join(dict.fromkeys(one.source for one in statements)))
    return next(iter(said)) or Visibility.NOT_LABELED if said else Visibility.VISIBLE


def of_flags(flags: Mapping[str, bool], hidden: Collection[str]) -> Iterator[Statement]:
    """Yield the statements of flags. Off is labelme's default, so ``occluded: false`` alone says nothing."""
    seen_off = any(not on and flag.casefold() in SEEN for flag, on in flags.items())
    for flag, on in flags.items():
        name, source = flag.casefold(), f"flag {flag!r} {str(on).lower()}"
        if name in hidden:
            if on or seen_off:
                yield Statement(source, Visibility.HIDDEN if on else Visibility.VISIBLE)
        elif name in SEEN:
            yield Statement(source, Visibility.VISIBLE if on else Visibility.HIDDEN)
        elif on and (meaning := _meaning(name, hidden)) is not None:
            # Such as ``invisible``, or ``not_occluded``.
            yield Statement(source, meaning)


def says_of_visibility(flag: str, hidden: Collection[str]) -> bool:
    """Return whether a flag concerns visibility."""
    return _meaning(flag.casefold(), hidden) is not None


def of_key(key: str, value: object, hidden: Collection[str]) -> Statement | None:
    """Return the statement of a key such as ``occluded``, ``visible`` or ``visibility``; None if it makes none."""
    name = key.casefold()
    if value is None or value == "" or not (name in SEEN or name in SCALE or name in hidden):
        return None
    source = f"{key} {str(value).lower() if isinstance(value, bool) else repr(value)}"
    if not isinstance(value, bool | int | float | str):
        return Statement(source, None)
    if isinstance(value, float) and value in (0.0, 1.0, 2.0):
        value = int(value)
    return Statement(source, _value(name, str(value).strip().casefold(), hidden))


def of_text(text: str, hidden: Collection[str]) -> Statement | None:
    """Return the statement of a description; None if it does not concern visibility."""
    said = set(_spoken(text.casefold(), hidden))
    if not said:
        return None
    return Statement(f"description {text[:80]!r}", said.pop() if len(said) == 1 else None)


def of_word(word: str, hidden: Collection[str]) -> Visibility | None:
    """Return the meaning of a visibility word in a label; None if unknown."""
    text = word.casefold()
    if text in _NUMBER_WORDS:
        return _NUMBER_WORDS[text]
    return _meaning(text, hidden)


def _value(name: str, text: str, hidden: Collection[str]) -> Visibility | None:
    if name in SCALE and text in _NUMBER_WORDS:
        return _NUMBER_WORDS[text]
    positive = Visibility.HIDDEN if name in hidden else Visibility.VISIBLE
    if text in _TRUE:
        return positive
    if text in _FALSE:
        return _OPPOSITE_VISIBILITY[positive]
    said = set(_spoken(text, hidden))
    return said.pop() if len(said) == 1 else None


def _spoken(text: str, hidden: Collection[str]) -> Iterator[Visibility | None]:
    """Yield the visibility for each word about it; None for an ambiguous word."""
    for clause in _CLAUSE.split(text):
        tokens = _TOKEN_PATTERN.findall(clause)
        for at, token in enumerate(tokens):
            value = (
                tokens[at + 2] if tokens[at + 1 : at + 2] and tokens[at + 1] in ":=" and at + 2 < len(tokens) else ""
            )
            if value and (token in SCALE or token in ("v", *SEEN) or token in hidden):
                name = "visibility" if token == "v" else token
                if name in SCALE or value in _TRUE or value in _FALSE:
                    yield _value(name, value, hidden)
                    continue
            meaning = _meaning(token.strip(".!?()[]\"'"), hidden)
            # The value after "visibility:" has been read already.
            if meaning is None or (at >= 2 and tokens[at - 1] in ":=" and tokens[at - 2] in ("v", *SCALE)):
                continue
            yield _negated(meaning, tokens[:at])


def _negated(meaning: Visibility, before: list[str]) -> Visibility | None:
    words = [word for word in before if word not in _FILLERS]
    if not _NOT.intersection(words):
        return meaning
    return _OPPOSITE_VISIBILITY[meaning] if words[-1] in _NOT and len(_NOT.intersection(words)) == 1 else None


def _meaning(word: str, hidden: Collection[str]) -> Visibility | None:
    return _words(frozenset(hidden)).get(word)


@lru_cache(maxsize=16)
def _words(hidden: frozenset[str]) -> dict[str, Visibility]:
    """Return the words with a meaning of their own, with their negations."""
    words = {"invisible": Visibility.HIDDEN}
    for plain, meaning in ((SEEN, Visibility.VISIBLE), (hidden, Visibility.HIDDEN)):
        for word in plain:
            words[word] = meaning
            for prefix in ("un", "non", "non-", "not-", "not_", "un-"):
                words.setdefault(prefix + word, _OPPOSITE_VISIBILITY[meaning])
    return words
