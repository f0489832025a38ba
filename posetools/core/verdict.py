"""The first line of a report: one sentence, and what to check. For evaluations: evaluation/verdict.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from posetools.core.findings import Finding, Severity, count_by_code, severity_of, title_of
from posetools.errors import counted

Level: TypeAlias = Literal["good", "warning", "error"]

# Warnings about wrong results come first, then labels; all others follow by code.
_FIRST_CODES = ("W221", "W213", "W215", "W216", "W219", "W217", "W218", "W205", "W202", "W204", "W203", "W209", "W206")


@dataclass(frozen=True, slots=True)
class Thing:
    """Findings of one code.

    Attributes:
        code: of the findings.
        count: how many there are.
    """

    code: str
    count: int

    def __str__(self) -> str:
        """Return the text in a list."""
        return f"{self.code} {title_of(self.code)} ({self.count:,})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict.

    Attributes:
        level: how good it is.
        sentence: in words, without a full stop.
        things: what to look at, the most serious first.
    """

    level: Level
    sentence: str
    things: tuple[Thing, ...] = ()


def data_verdict(findings: Sequence[Finding], splits: Iterable[str], *, images: bool = True) -> Verdict:
    """Return whether a data set can be trained on, and what to look at before.

    Args:
        findings: of all checks.
        splits: the names of the splits that were checked.
        images: whether the image files were checked.
    """
    counts = count_by_code(findings)
    order = sorted(
        counts, key=lambda code: (_FIRST_CODES.index(code) if code in _FIRST_CODES else len(_FIRST_CODES), code)
    )
    errors, warnings = ([code for code in order if severity_of(code) is severity] for severity in Severity)
    things = tuple(Thing(code, counts[code]) for code in (*errors, *warnings))
    if errors:
        total = sum(counts[code] for code in errors)
        fixable = sum(each.fixable and each.severity is Severity.ERROR for each in findings)
        them = "it" if total == 1 else "all of them" if fixable == total else f"{fixable:,} of them"
        fix = f"; --fix can fix {them}" if fixable else ""
        return Verdict("error", f"not ready to train: {counted(f'{total:,}', 'error')} to fix first{fix}", things)
    ready = "ready to train" if {"train", "val"} <= set(splits) else "no errors"
    unchecked = "" if images else " (image files not checked)"
    if warnings:
        look = f"{counted(f'{len(warnings):,}', 'thing')} to look at first"
        return Verdict("warning", f"{ready}{unchecked}; {look}", things)
    return Verdict("good", f"{ready}{unchecked}; no problems found")
