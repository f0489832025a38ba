"""Joins findings with one cause into one finding with counts, so that a user reads each problem once.

For each place a reader returns a finding of its own class, which says what it shares with others; ``joined`` turns all
findings with the same key into one at the end of a run. ``unknown_labels`` joins unknown labels.
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

# The cause of findings on images that have not been annotated.
UNLABELED = "unlabeled images are left out"
_KEEP = "boxes and keypoints are carried over; keep the source"


@dataclass(frozen=True, slots=True)
class Cause(Finding):
    """A finding that makes further points unreadable; it says so when it is joined.

    Attributes:
        dependents: how many points.
    """

    dependents: int = 0


@dataclass(frozen=True, slots=True)
class JoinableFinding(Finding):
    """A finding that is reported together with all others that have the same key."""

    @property
    @abstractmethod
    def kind(self) -> tuple[str, ...]:
        """The key: findings that share it become one."""

    @classmethod
    @abstractmethod
    def of_all(cls, same: Sequence[Self]) -> Finding:
        """Return the one finding for all that share a key."""


@dataclass(frozen=True, slots=True)
class RepeatedFinding(Cause, JoinableFinding):
    """A finding that holds in many places with the same message; the first place is kept.

    Attributes:
        what: the message without its trailing count.
        number: how many values or shapes of the file it covers.
    """

    what: str = ""
    number: int = 1

    @property
    def kind(self) -> tuple[str, ...]:
        """Code and message."""
        return self.code, self.what, self.hint

    @classmethod
    def of_all(cls, same: Sequence[Self]) -> Finding:
        """Return the first one, with the total count and the number of files."""
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
    """A finding that shares its cause with others but has its own message: reported once, all places in the details.

    Attributes:
        cause: what they have in common.
        way: the fix; findings with different fixes are reported separately.
    """

    cause: str = ""
    way: str = ""

    @property
    def kind(self) -> tuple[str, ...]:
        """Code, cause, and fix."""
        return self.code, self.cause, self.way

    @classmethod
    def of_all(cls, same: Sequence[Self]) -> Finding:
        """Return a single finding unchanged, or the cause with its count and the places."""
        first = same[0]
        if len(same) == 1:
            return Finding(first.code, first.file, first.place, first.message, first.hint, first.fixable)
        details = tuple(f"{one.where}: {one.message}" for one in same)
        where = common_place([one.file for one in same])
        return Finding(first.code, where, "", f"{first.cause} ({len(same)})", first.hint, details=details)


def common_place(files: Sequence[str]) -> str:
    """Return the one file, or the innermost folder that holds all of them."""
    if len(set(files)) == 1:
        return files[0]
    folders = [file.replace(os.sep, "/").split("/")[:-1] for file in files]
    same = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*folders, strict=False))
    found = "/".join(parts[0] for parts in same)
    return found or ("/" if files[0].startswith("/") else ".")


def repaired(file: object, counts: Mapping[str, int]) -> Iterator[Finding]:
    """Yield one counted finding (W324) for each kind of value that was converted to another type."""
    for what, number in sorted(counts.items()):
        if number:
            yield RepeatedFinding("W324", str(file), "", f"{what} ({number})", what=what, number=number)


@dataclass(frozen=True, slots=True)
class DroppedContent(JoinableFinding):
    """What a file holds beyond COCO keypoints.

    Attributes:
        counts: pairs of content and how often it occurs.
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
    """Yield the finding (W323) on content that is not carried over, if there is any."""
    counts = {what: number for what, number in sorted(dropped.items()) if number}
    if counts:
        yield DroppedContent("W323", str(file), "", _told(counts), _KEEP, counts=tuple(counts.items()))


def _told(counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{what} ({number})" for what, number in sorted(counts.items()))
    return f"the file must hold only COCO keypoints to be converted in full, got also {listed}"


def joined(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings of a run, one for each key."""
    others: list[Finding] = []
    alike: dict[tuple[object, ...], list[JoinableFinding]] = {}
    for finding in findings:
        if isinstance(finding, JoinableFinding):
            alike.setdefault((type(finding), *finding.kind), []).append(finding)
        else:
            others.append(finding)
    return others + [type(same[0]).of_all(same) for same in alike.values()]


def add_dependents(findings: list[Finding], place: str, points: Sequence[str]) -> None:
    """Add to the error on a shape how many points cannot be read because of it; changes the list in place.

    Args:
        findings: the findings of one image.
        place: the shape's place, as in the findings.
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
    """Return whether a place is the shape, is in it, or lists it."""
    parts = (place.inner, place.outer, *place.parts) if isinstance(place, Place) else ()
    return place == shape or any(_names(one, shape) for one in parts)


def depend(number: int) -> str:
    """Return the end of a message: how many points cannot be read; empty for none."""
    if not number:
        return ""
    return f"; {number} point{'s that depend on it are' if number > 1 else ' that depends on it is'} not read either"
