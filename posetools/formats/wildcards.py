"""Labels to map or leave out, in which ``*`` matches any text and ``?`` any character."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from posetools.errors import RequestError, must_be


class LabelNames(dict[str, str]):
    """Label -> name; a label that is not a key is matched against the keys with wildcards.

    No wildcard matches a label that is itself a skeleton name.

    Attributes:
        own: the skeleton's names.
    """

    own: frozenset[str]

    def __init__(self, names: Mapping[str, str], own: frozenset[str] = frozenset()) -> None:
        """Keep names; wildcards do not match the skeleton's own names."""
        super().__init__(names)
        self.own = own

    def get(self, label: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """Return the name of a label.

        Raises:
            RequestError: two wildcards match it and give different names.
        """
        if label in self:
            return self[label]
        if label in self.own:
            return default
        fitting = {pattern: name for pattern, name in self.items() if fits(label, pattern)}
        if len(set(fitting.values())) > 1:
            both = " and ".join(f"{pattern}={name}" for pattern, name in fitting.items())
            problem = must_be("--map", f"clear about {label!r}", both)
            raise RequestError(problem, hint=f"--map '{label}=NAME' decides")
        return next(iter(fitting.values()), default)


class LabelSet(frozenset[str]):
    """Labels to leave out: those in it, those that its wildcards match, and optionally all unknown ones.

    Attributes:
        known: the labels to keep when all others are left out; None to leave out only the listed ones.
        own: the skeleton's names, which no wildcard matches.
    """

    known: frozenset[str] | None
    own: frozenset[str]
    _wild: tuple[str, ...]

    def __new__(
        cls, labels: Iterable[str] = (), known: frozenset[str] | None = None, own: frozenset[str] = frozenset()
    ) -> LabelSet:
        """Return a set of labels."""
        made = super().__new__(cls, labels)
        made.known, made.own = known, own
        made._wild = tuple(filter(_is_wild, made))
        return made

    def __contains__(self, label: object) -> bool:
        """Return whether a label is left out."""
        if super().__contains__(label):
            return True
        if not isinstance(label, str):
            return False
        if self.known is not None and not any(fits(label, name) for name in self.known):
            return True
        return label not in self.own and any(fits(label, pattern) for pattern in self._wild)

    def __bool__(self) -> bool:
        """Return whether any label may be left out."""
        return len(self) > 0 or self.known is not None


def fits(label: str, pattern: str) -> bool:
    """Return whether a label matches a pattern, in which only ``*`` and ``?`` are special."""
    if label == pattern:
        return True
    return _is_wild(pattern) and _compiled(pattern).match(label) is not None


def _is_wild(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
