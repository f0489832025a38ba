"""Labels that say more than a name (``left-ear-occluded``, ``nose:1``, ``car-2``), and --label-pattern for them.

Mapping such a label to the name would lose the visibility or the object's number, so the hint gives the pattern.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass

from posetools.formats.joining.visibility_words import of_word

_BREAK = r"[-_.:/|@# (\[]"
_VISIBILITY_WORD = r"(?P<v>v?[012]|[^\W\d][\w-]*?)"
_LABEL_ENDINGS = (
    re.compile(rf"(?P<s2>{_BREAK}+){_VISIBILITY_WORD}(?P<c2>[)\]]?)"),
    re.compile(
        rf"(?P<s1>{_BREAK}*)(?P<n>\d{{1,9}})(?P<c1>[)\]]?)(?:(?P<s2>{_BREAK}+){_VISIBILITY_WORD}(?P<c2>[)\]]?))?"
    ),
)
_BASE_LABEL = re.compile(rf"(.*?[^\W_])({_BREAK}+[^\W\d][\w-]*[)\]]?)")
# After one of these separators, a digit behind a keypoint's name usually is its visibility.
_OF_VISIBILITY = ":"


@dataclass(frozen=True, slots=True)
class LabelParts:
    """A label taken apart.

    Attributes:
        name: the name at its start.
        says: what the rest gives: ``visibility``, ``instance``, or both.
        pattern: the regular expression that reads it.
        other: the pattern for the other meaning if the rest is an ambiguous number; else empty.
        hides: whether the rest means anything but visible.
    """

    name: str
    says: str
    pattern: str
    other: str = ""
    hides: bool = True

    def options(self, mapped_to: str | None = None) -> str:
        """Return what to type, including --map if the name is mapped."""
        mapping = f"--map '{self.name}={mapped_to}' " if mapped_to and mapped_to != self.name else ""
        return mapping + typed_pattern(self.pattern)


def extended(
    label: str, known: Collection[str], hidden: Collection[str], *, points: Collection[str], any_name: bool = False
) -> LabelParts | None:
    """Return a label taken apart if it is a known name followed by a visibility or a number; else None.

    Args:
        label: the label, which is not a known name.
        known: all names.
        hidden: the words that mean hidden, in lower case.
        points: the names that have a visibility.
        any_name: whether any text before a visibility word counts as a name.
    """
    for name in sorted(known, key=len, reverse=True):
        if name and label.startswith(name):
            found = _read(name, label[len(name) :], known, hidden, is_point=name in points)
            if found is not None:
                return found
    numbered = _numbered_object(label, known, points)
    if numbered is not None:
        return numbered
    base = _BASE_LABEL.fullmatch(label) if any_name else None
    return _read(base[1], base[2], known, hidden, is_point=True) if base else None


def typed_pattern(pattern: str) -> str:
    """Return a pattern with its option, quoted for a shell."""
    return f"--label-pattern {shlex.quote(pattern)}"


def as_typed(label: str) -> str:
    """Return a label in quotes, for a shell."""
    return shlex.quote(label) if "'" in label else f"'{label}'"


@dataclass(frozen=True, slots=True)
class Advice:
    """How to read a label that says more than a name.

    Attributes:
        text: the hint.
        pattern: the --label-pattern that reads it, if there is one; else empty.
    """

    text: str
    pattern: str = ""


def advice(found: LabelParts, label: str, *, has_pattern: bool) -> Advice:
    """Return the hint for a label that cannot be read without a pattern."""
    leave = f"--ignore {as_typed(label)} leaves it out"
    if has_pattern:
        text = f"add the {found.says} after {found.name!r} to --label-pattern, as in {found.options()}; {leave}"
        return Advice(text)
    if found.other:
        first, second = ("visibility", "number of the object") if found.says == "visibility" else (
            "number of the object", "visibility",
        )  # fmt: skip
        ways = f"if the number is the {first}, {found.options()} reads it; if it is the {second}"
        return Advice(f"{ways}, {typed_pattern(found.other)}; {leave}")
    text = f"{found.options()} reads the {found.says} after {found.name!r}, which --map would lose; {leave}"
    return Advice(text, found.pattern)


def _read(
    name: str, rest: str, known: Collection[str], hidden: Collection[str], *, is_point: bool
) -> LabelParts | None:
    match = next((found for one in _LABEL_ENDINGS if (found := one.fullmatch(rest))), None)
    if match is None:
        return None
    told = match.groupdict()
    parts = {key: told.get(key) or "" for key in ("s1", "c1", "n", "s2", "c2")}
    word: str | None = told["v"]
    if word is not None and of_word(word.casefold().removeprefix("v") if len(word) == 2 else word, hidden) is None:
        return None
    if word is not None and not is_point:
        # A box has no visibility.
        if parts["n"] or not word.isdigit():
            return None
        parts |= {"s1": parts["s2"], "n": word, "c1": parts["c2"]}
        word = None
    instance, seen = "", ""
    if parts["n"]:
        instance = rf"{_literal(parts['s1'])}(?P<instance>\d+){_literal(parts['c1'])}"
    if word is not None:
        seen = f"{_literal(parts['s2'])}{_group(word, hidden)}{_literal(parts['c2'])}"
    plain = word is not None and word.isdigit() and not instance
    hides = word is None or not word.isalpha() or word.casefold() != "visible"
    says = " and ".join(kind for kind, part in (("instance", instance), ("visibility", seen)) if part)
    if plain and parts["s2"] and word is not None:
        number = rf"{_literal(parts['s2'])}(?P<instance>\d+){_literal(parts['c2'])}"
        first, second = _whole(seen, known), _whole(number, known)
        if parts["s2"].strip() != _OF_VISIBILITY:
            return LabelParts(name, "instance", second, first)
        return LabelParts(name, "visibility", first, second)
    ending = f"{instance}(?:{seen})?" if instance and seen else instance + seen
    return LabelParts(name, says, _whole(ending, known), hides=hides)


def _numbered_object(label: str, known: Collection[str], points: Collection[str]) -> LabelParts | None:
    """Return a label that starts with an object and its number, and ends with a keypoint's name: ``dog1_nose``."""
    for category in (name for name in known if name not in points):
        found = re.fullmatch(rf"{re.escape(category)}({_BREAK}*)\d{{1,9}}({_BREAK}+)(.+)", label)
        if found and found[3] in points:
            number = rf"{_literal(category)}{_literal(found[1])}(?P<instance>\d+)"
            return LabelParts(category, "instance", rf"{number}(?:{_literal(found[2])}(?P<name>.+))?")
    return None


def _group(word: str, hidden: Collection[str]) -> str:
    if word[-1].isdigit() and len(word) <= 2:
        return f"{word[:-1]}(?P<visibility>[012])"
    words = sorted({"visible", *hidden, word.casefold()}, key=lambda one: (-len(one), one))
    listed = "|".join(map(_literal, words))
    return f"(?P<visibility>{listed if word.islower() else f'(?i:{listed})'})"


def _whole(ending: str, known: Collection[str]) -> str:
    """Return the pattern; names are listed in it if one of them would itself be taken apart."""
    pattern = f"(?P<name>.+?){ending}"
    if any(re.fullmatch(pattern, name) for name in known):
        names = "|".join(map(_literal, sorted(known, key=lambda one: (-len(one), one))))
        pattern = f"(?P<name>{names}){ending}"
    return pattern


def _literal(text: str) -> str:
    """Return a text for a pattern, with as few backslashes as possible."""
    return re.sub(r"([.^$*+?{}\[\]\\|()])", r"\\\1", text)
