"""The meaning of one labelme shape: a box, a keypoint, left out on purpose, or unknown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from posetools.core.categories import Categories
from posetools.core.dataset import Visibility
from posetools.errors import RequestError, must_be
from posetools.formats.joining.label_hints import Advice, LabelParts, advice, extended
from posetools.formats.joining.ordered import Order, stated_order
from posetools.formats.joining.visibility_words import (
    Statement,
    UnclearVisibility,
    agreed,
    of_flags,
    of_key,
    of_text,
    of_word,
)
from posetools.formats.labelme.model import SoundShape
from posetools.formats.options import ReadOptions


class SharedGroup(NamedTuple):
    """The group of points in one element, or of points drawn one after another, without a name in the source.

    Attributes:
        first: the index of its first shape.
        name: the element's place, if it is not a shape itself.
    """

    first: int
    name: str = ""


# A group_id, or the instance in a label.
Group: TypeAlias = int | str | SharedGroup

# Keys that some writers add to a labelme shape.
VISIBILITY_KEYS = ("visible", "occluded", "visibility")
_SPOKEN = ("0", "1", "2", "visible")


class Label(NamedTuple):
    """A label, taken apart: the name in the skeleton (or the unknown one), the instance and the visibility word."""

    name: str
    instance: str | None = None
    visibility: str | None = None


@dataclass(frozen=True)
class Labels:
    """How to read a source's labels.

    Attributes:
        categories: the labels of rectangles, with the ids of their categories.
        index: the labels of points, with their columns.
        names: label or name in the source -> name in the skeleton.
        ignored: labels and names to leave out.
        pattern: how to take a label apart, or None.
        hidden: words and flags, in lower case, that mean "labeled but not visible".
        order: the keypoints of unnamed points, in their order; None if the user gives none.
    """

    categories: Mapping[str, int]
    index: Mapping[str, int]
    names: Mapping[str, str]
    ignored: frozenset[str]
    pattern: re.Pattern[str] | None
    hidden: frozenset[str]
    order: Order | None = None

    @classmethod
    def of(cls, categories: Categories, options: ReadOptions) -> Labels:
        """Return how to read labels for some categories and the user's options.

        Raises:
            RequestError: the label pattern is not a regular expression, or has no group ``name``; or the order of
                keypoints has names that no skeleton has.
        """
        return cls(
            categories=categories.ids,
            index=categories.index,
            names=options.names,
            ignored=options.ignore,
            pattern=compiled_pattern(options.label_pattern),
            hidden=frozenset(word.casefold() for word in options.hidden),
            order=stated_order(categories, options),
        )

    @property
    def unnamed(self) -> str:
        """The object's label where a label names none: that of the only category."""
        return next(iter(self.categories)) if len(self.categories) == 1 else ""

    def read(self, text: str) -> Label:
        """Return the meaning of a label; if the pattern finds no name, it is the object's label."""
        found = self.pattern.fullmatch(text) if self.pattern else None
        if found is None:
            return Label(self.names.get(text, text))
        parts = found.groupdict()
        name = parts["name"] or self.unnamed
        name = self.names.get(text) or self.names.get(name, name)
        return Label(name, parts.get("instance"), parts.get("visibility"))

    def is_ignored(self, text: str) -> bool:
        """Return whether a label is left out: as written, or by the name in it."""
        if not self.ignored:
            return False
        found = self.pattern.fullmatch(text) if self.pattern else None
        if found is None:
            return text in self.ignored
        return (found["name"] or self.unnamed) in self.ignored or frozenset.__contains__(self.ignored, text)

    def visibility(self, shape: SoundShape, word: str | None) -> Visibility | UnclearVisibility | None:
        """Return a point's visibility from its label's word, flags, keys, description; None: the word is unknown."""
        if word is None:
            return self.visibility_of(shape)
        said = of_word(word, self.hidden)
        if said is None:
            return None
        return agreed([Statement(f"{word!r} in the label", said), *self._statements(shape)])

    def visibility_of(self, shape: SoundShape) -> Visibility | UnclearVisibility:
        """Return a point's visibility from its flags, keys and description."""
        return agreed(list(self._statements(shape)))

    def _statements(self, shape: SoundShape) -> Iterator[Statement]:
        if shape.difficult:
            yield Statement("difficult true", Visibility.HIDDEN)
        if shape.flags:
            yield from of_flags(shape.flags, self.hidden)
        keys = {key: getattr(shape, key) for key in VISIBILITY_KEYS}
        attributes = shape.attributes if isinstance(shape.attributes, dict) else {}
        said = [of_key(key, value, self.hidden) for key, value in (*keys.items(), *attributes.items())]
        if shape.description:
            said.append(of_text(shape.description, self.hidden))
        yield from (one for one in said if one is not None)

    def advice(self, name: str) -> Advice | None:
        """Return how to read an unknown label that starts with a known name; None for any other."""
        known = (*self.categories, *self.index, *(one for one in self.names if "*" not in one and "?" not in one))
        found = extended(name, known, self.hidden, points={*known} - {*self.categories})
        return advice(found, name, has_pattern=self.pattern is not None) if found else None

    def loss(self, text: str) -> LabelParts | None:
        """Return what is lost when the user maps a label to a name, if anything."""
        name = self.names.get(text)
        if name is None or (self.pattern and self.pattern.fullmatch(text)):
            return None
        found = extended(text, (*self.categories, *self.index), self.hidden, points=self.index, any_name=True)
        is_lost = found and found.hides and (found.says == "instance" or name in self.index)
        return found if is_lost else None

    @property
    def visibility_words(self) -> str:
        """The words that ``visibility`` understands, for messages."""
        return ", ".join(sorted({*_SPOKEN, *self.hidden}))


def compiled_pattern(pattern: str | None) -> re.Pattern[str] | None:
    """Return the label pattern, compiled.

    Raises:
        RequestError: it is not a regular expression, or has no group ``name``.
    """
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as exc:
        raise RequestError(must_be("--label-pattern", "a regular expression", pattern), str(exc)) from exc
    unknown = set(compiled.groupindex) - {"name", "instance", "visibility"}
    if "name" not in compiled.groupindex or unknown:
        rule = "a regular expression with the group (?P<name>...) and optionally instance and visibility"
        raise RequestError(must_be("--label-pattern", rule, pattern))
    return compiled
