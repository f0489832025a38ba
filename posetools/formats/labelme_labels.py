"""What one shape of a labelme file says: a box, a keypoint, something left out on purpose, or nothing we know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from posetools.dataset import Visibility
from posetools.errors import RequestError, must_be
from posetools.formats.base import ReadOptions
from posetools.formats.labelme_model import SoundShape
from posetools.skeleton import Skeleton

# A group_id, or the instance that a label names.
Group: TypeAlias = int | str

_WORDS = re.compile(r"[\s,;]+")
_SPOKEN = {
    "0": Visibility.NOT_LABELLED,
    "1": Visibility.HIDDEN,
    "2": Visibility.VISIBLE,
    "visible": Visibility.VISIBLE,
}


class Label(NamedTuple):
    """A label, taken apart: the name in the skeleton (or the unknown one), the instance and the visibility word."""

    name: str
    instance: str | None = None
    visibility: str | None = None


@dataclass(frozen=True)
class Labels:
    """How the labels of a source are read.

    Attributes:
        category: the name that rectangles have.
        index: the names that points have, with their index.
        names: label or name in the source -> name in the skeleton.
        ignored: labels and names that are left out.
        pattern: how a label is taken apart, or None.
        hidden: words and flags, in lower case, that mean "labelled but hidden".
    """

    category: str
    index: Mapping[str, int]
    names: Mapping[str, str]
    ignored: frozenset[str]
    pattern: re.Pattern[str] | None
    hidden: frozenset[str]

    @classmethod
    def of(cls, skeleton: Skeleton, options: ReadOptions) -> Labels:
        """Return how labels are read for a skeleton and the user's options.

        Raises:
            RequestError: the label pattern is no regular expression, or has no group ``name``.
        """
        return cls(
            category=skeleton.category.name,
            index=skeleton.index,
            names=options.names,
            ignored=options.ignore,
            pattern=_compile(options.label_pattern),
            hidden=frozenset(word.casefold() for word in options.hidden),
        )

    def read(self, text: str) -> Label:
        """Return what a label says; where the pattern finds no name, the label is the object's own."""
        found = self.pattern.fullmatch(text) if self.pattern else None
        if found is None:
            return Label(self.names.get(text, text))
        parts = found.groupdict()
        name = parts["name"] or self.category
        name = self.names.get(text) or self.names.get(name, name)
        return Label(name, parts.get("instance"), parts.get("visibility"))

    def is_ignored(self, text: str) -> bool:
        """Return whether a label is left out: as written, or by the name in it."""
        if not self.ignored:
            return False
        found = self.pattern.fullmatch(text) if self.pattern else None
        if found is None:
            return text in self.ignored
        return (found["name"] or self.category) in self.ignored or frozenset.__contains__(self.ignored, text)

    def visibility(self, shape: SoundShape, word: str | None) -> Visibility | None:
        """Return a point's visibility by the word in its label, else its flags or description; None: not understood."""
        if word is not None:
            if word.casefold() in self.hidden:
                return Visibility.HIDDEN
            return _SPOKEN.get(word.casefold())
        return self.visibility_of(shape)

    def visibility_of(self, shape: SoundShape) -> Visibility:
        """Return a point's visibility by its flags or description."""
        if shape.difficult:
            return Visibility.HIDDEN
        if shape.flags and any(on and flag.casefold() in self.hidden for flag, on in shape.flags.items()):
            return Visibility.HIDDEN
        if shape.description and not self.hidden.isdisjoint(_WORDS.split(shape.description.casefold())):
            return Visibility.HIDDEN
        return Visibility.VISIBLE

    @property
    def visibility_words(self) -> str:
        """The words that ``visibility`` understands, for messages."""
        return ", ".join(sorted({*_SPOKEN, *self.hidden}))


def _compile(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as exc:
        raise RequestError(f"{must_be('--label-pattern', 'a regular expression', pattern)}\n  {exc}") from exc
    unknown = set(compiled.groupindex) - {"name", "instance", "visibility"}
    if "name" not in compiled.groupindex or unknown:
        rule = "a regular expression with the group (?P<name>...) and, if wanted, instance and visibility"
        raise RequestError(must_be("--label-pattern", rule, pattern))
    return compiled
