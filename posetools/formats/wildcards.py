"""Labels that a user maps or leaves out, in which ``*`` stands for any text and ``?`` for any character."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from posetools.errors import RequestError, must_be


class LabelNames(dict[str, str]):
    """Label -> name; a label that is none of the keys is looked for among the keys with wildcards.

    A label that is a name itself, as the skeleton's are, is fitted by none.

    Attributes:
        own: the skeleton's names.
    """

    own: frozenset[str]

    def __init__(self, names: Mapping[str, str], own: frozenset[str] = frozenset()) -> None:
        """Keep names; those of the skeleton are fitted by no wildcard."""
        super().__init__(names)
        self.own = own

    def get(self, label: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """Return the name of a label.

        Raises:
            RequestError: two wildcards fit it and name different things.
        """
        if label in self:
            return self[label]
        if label in self.own:
            return default
        fitting = {pattern: name for pattern, name in self.items() if fits(label, pattern)}
        if len(set(fitting.values())) > 1:
            both = " and ".join(f"{pattern}={name}" for pattern, name in fitting.items())
            problem = must_be("--map", f"clear about {label!r}", both)
            raise RequestError(f"{problem}\n  --map '{label}=NAME' settles it")
        return next(iter(fitting.values()), default)


class LabelSet(frozenset[str]):
    """Labels to leave out: those in it, those that its wildcards fit, and all that are not known where that is asked.

    Attributes:
        known: what is not left out although nothing names it; None where only what is named is left out.
        own: the skeleton's names, which no wildcard fits.
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
        """Return whether anything may be left out."""
        return len(self) > 0 or self.known is not None


def fits(label: str, pattern: str) -> bool:
    """Return whether a label is a pattern's, in which only ``*`` and ``?`` mean something else than themselves."""
    if label == pattern:
        return True
    return _is_wild(pattern) and _compiled(pattern).match(label) is not None


def _is_wild(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
