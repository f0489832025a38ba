"""Findings of one cause as one finding with counts: readers find in every file, a user is told once.

A reader gives a finding of its own class for each place, which says what it has in common with others; ``joined`` makes
one of all of a kind when a run's findings are together. Unknown labels are joined in ``unknown_labels``.
"""

from __future__ import annotations

import itertools
import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from posetools.core.findings import Finding, Severity
from posetools.errors import Place

# The cause of findings on images that nobody has annotated.
UNLABELED = "images that are not labeled yet are left out"
_KEEP = "boxes and keypoints are carried over; keep the source"


@dataclass(frozen=True, slots=True)
class Cause(Finding):
    """A finding without which further points could be read; it says so when it is joined.

    Attributes:
        dependents: how many points that is.
    """

    dependents: int = 0


@dataclass(frozen=True, slots=True)
class JoinableFinding(Finding):
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
class RepeatedFinding(Cause, JoinableFinding):
    """A finding that is true of many places in the same words; the first place stays.

    Attributes:
        what: these words, without the count that the message may end with.
        number: how many values or shapes of its file it is about.
    """

    what: str = ""
    number: int = 1

    @property
    def kind(self) -> tuple[str, ...]:
        """Code and words."""
        return self.code, self.what, self.hint

    @classmethod
    def of_all(cls, same: Sequence[Self]) -> Finding:
        """Return the first, with how many there are in how many files."""
        first = same[0]
        number, files = sum(one.number for one in same), len({one.file for one in same})
        message = first.message
        if files > 1:
            message = f"{first.what} ({number} in {files} files, this is the first)"
        elif number > 1:
            message = f"{first.what} ({number})"
        message += depend(sum(one.dependents for one in same))
        return Finding(first.code, first.file, first.place, message, first.hint, first.fixable)


@dataclass(frozen=True, slots=True)
class CauseFinding(JoinableFinding):
    """A finding whose cause is that of others, in words of its own: told once, with every place in the details.

    Attributes:
        cause: what all of them have in common, in words.
        way: what to do, where those that differ in it are told apart.
    """

    cause: str = ""
    way: str = ""

    @property
    def kind(self) -> tuple[str, ...]:
        """Code, cause, and way on."""
        return self.code, self.cause, self.way

    @classmethod
    def of_all(cls, same: Sequence[Self]) -> Finding:
        """Return the finding as it is, or the cause with how often it is there, and the places."""
        first = same[0]
        if len(same) == 1:
            return Finding(first.code, first.file, first.place, first.message, first.hint, first.fixable)
        details = tuple(f"{one.where}: {one.message}" for one in same)
        where = common_place([one.file for one in same])
        return Finding(first.code, where, "", f"{first.cause} ({len(same)})", first.hint, details=details)


def common_place(files: Sequence[str]) -> str:
    """Return the one file, or the innermost folder of all."""
    if len(set(files)) == 1:
        return files[0]
    folders = [file.replace(os.sep, "/").split("/")[:-1] for file in files]
    same = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*folders, strict=False))
    found = "/".join(parts[0] for parts in same)
    return found or ("/" if files[0].startswith("/") else ".")


def repaired(file: object, counts: Mapping[str, int]) -> Iterator[Finding]:
    """Yield a finding (W324) for each kind of value in a file that was taken for another, with how many there are."""
    for what, number in sorted(counts.items()):
        if number:
            yield RepeatedFinding("W324", str(file), "", f"{what} ({number})", what=what, number=number)


@dataclass(frozen=True, slots=True)
class DroppedContent(JoinableFinding):
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
        yield DroppedContent("W323", str(file), "", _told(counts), _KEEP, counts=tuple(counts.items()))


def _told(counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{what} ({number})" for what, number in sorted(counts.items()))
    return f"the file must hold what COCO keypoints hold to be carried over whole, got also {listed}"


def joined(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings of a run, one of each kind."""
    others: list[Finding] = []
    alike: dict[tuple[object, ...], list[JoinableFinding]] = {}
    for finding in findings:
        if isinstance(finding, JoinableFinding):
            alike.setdefault((type(finding), *finding.kind), []).append(finding)
        else:
            others.append(finding)
    return others + [type(same[0]).of_all(same) for same in alike.values()]


def add_dependents(findings: list[Finding], place: str, points: Sequence[str]) -> None:
    """Tell at the error on a shape, in the list itself, of the points that cannot be read because of it.

    Args:
        findings: what was found in one image.
        place: of the shape, as it is called there.
        points: the places of the points.
    """
    at, cause = next(
        (at, one) for at, one in enumerate(findings) if one.severity is Severity.ERROR and _names(one.place, place)
    )
    places = Place.several(*dict.fromkeys([cause.place, *points]))
    if isinstance(cause, Cause):
        findings[at] = replace(cause, place=places, dependents=cause.dependents + len(points))
    else:
        findings[at] = replace(cause, place=places, message=cause.message + depend(len(points)))


def _names(place: str, shape: str) -> bool:
    """Return whether a place is the shape, or in it, or lists it."""
    parts = (place.inner, place.outer, *place.parts) if isinstance(place, Place) else ()
    return place == shape or any(_names(one, shape) for one in parts)


def depend(number: int) -> str:
    """Return the end of a message on what keeps points from being read; empty when there is none."""
    if not number:
        return ""
    return f"; {number} point{'s that depend on it are' if number > 1 else ' that depends on it is'} not read either"
