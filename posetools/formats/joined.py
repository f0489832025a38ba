"""Findings of one cause as one finding with counts: readers find in every file, a user is told once.

A reader gives a finding of its own class for each place, which says what it has in common with others; ``joined`` makes
one of all of a kind when a run's findings are together. Unknown labels are joined in ``unknown_labels``.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from posetools.findings import Finding, Severity

_KEEP = "boxes and keypoints are carried over; keep the source"


@dataclass(frozen=True, slots=True)
class OneOfMany(Finding):
    """A finding that is told together with all others of its kind."""

    @property
    @abstractmethod
    def kind(self) -> tuple[str, ...]:
        """What those have in common that are one finding."""

    @classmethod
    @abstractmethod
    def of_all(cls, same: Sequence[Self]) -> Finding:
        """Return the one finding for all of a kind."""


@dataclass(frozen=True, slots=True)
class Repeated(OneOfMany):
    """A finding whose message is true of many places as it is; the first place stays.

    Attributes:
        number: how many values or shapes of its file it is about.
    """

    number: int = 1

    @property
    def kind(self) -> tuple[str, ...]:
        """Code and words."""
        return self.code, self.message, self.hint

    @classmethod
    def of_all(cls, same: Sequence[Self]) -> Finding:
        """Return the first, with how many there are in how many files."""
        first = same[0]
        number, files = sum(one.number for one in same), len({one.file for one in same})
        message = first.message
        if files > 1:
            message += f" ({number} in {files} files, this is the first)"
        elif number > 1:
            message += f" ({number})"
        return Finding(first.code, first.file, first.place, message, first.hint, first.fixable)


@dataclass(frozen=True, slots=True)
class NotCarried(OneOfMany):
    """What a file holds that COCO keypoints do not.

    Attributes:
        counts: pairs of what it is and how often it is there.
    """

    counts: tuple[tuple[str, int], ...] = ()

    @property
    def kind(self) -> tuple[str, ...]:
        """All files of a run."""
        return (self.code,)

    @classmethod
    def of_all(cls, same: Sequence[Self]) -> Finding:
        """Return one finding with the sums."""
        first = same[0]
        total = Counter[str]()
        for one in same:
            total.update(dict(one.counts))
        files = len({one.file for one in same})
        message = _told(total) + (f", in {files} files, this is the first" if files > 1 else "")
        return Finding(first.code, first.file, "", message, first.hint)


def not_carried(file: object, dropped: Mapping[str, int]) -> Iterator[Finding]:
    """Yield the finding (W323) on what a file holds that is not carried over, if there is anything."""
    counts = {what: number for what, number in sorted(dropped.items()) if number}
    if counts:
        yield NotCarried("W323", str(file), "", _told(counts), _KEEP, counts=tuple(counts.items()))


def _told(counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{what} ({number})" for what, number in sorted(counts.items()))
    return f"the file must hold what COCO keypoints hold to be carried over whole, got also {listed}"


def joined(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings of a run, one of each kind where they can be joined."""
    others: list[Finding] = []
    alike: dict[tuple[object, ...], list[OneOfMany]] = {}
    for finding in findings:
        if isinstance(finding, OneOfMany):
            alike.setdefault((type(finding), *finding.kind), []).append(finding)
        else:
            others.append(finding)
    return others + [type(same[0]).of_all(same) for same in alike.values()]


@dataclass(frozen=True, slots=True)
class Cause(Finding):
    """A finding without which further points could be read.

    Attributes:
        dependents: how many points that is.
    """

    dependents: int = 0


def add_dependents(findings: list[Finding], place: str, dependents: Sequence[str]) -> None:
    """Tell at the error on a place, in the list itself, of the points that cannot be read because of it.

    Args:
        findings: what was found in one image.
        place: of the shape that could not be read, as the error's place begins.
        dependents: the places of the points.
    """
    named = re.compile(rf"{re.escape(place)}(?!\d)")
    for at, cause in enumerate(findings):
        if cause.severity is Severity.ERROR and named.search(cause.place):
            number = len(dependents)
            points = "1 point that depends on it is" if number == 1 else f"{number} points that depend on it are"
            places = f"{cause.place}, {', '.join(dependents)}"
            told = replace(cause, place=places, message=f"{cause.message}; {points} not read either")
            findings[at] = replace(told, dependents=number) if isinstance(told, Cause) else told
            return
