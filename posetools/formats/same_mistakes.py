"""Entries of a COCO file with the same mistake, as one finding: three objects with 64 bad numbers each are one.

A mistake is the same where code, file and rule are: all of the message up to the value, but for indices.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from posetools.findings import Finding, Severity

_ENTRY = re.compile(r"(annotations|images)\[\d+\]")
_INDEX = re.compile(r"\[\d+\]")
# What is wrong with an image's file is wrong with that file alone.
_OF_ONE = frozenset({"E109", "E121", "E122", "E124", "E125", "E301", "E308", "E313"})
_SHOWN = 5


def one_per_mistake(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings of a run, one for each mistake in the entries of a COCO file, at the first of them."""
    errors = [one for one in findings if one.severity is Severity.ERROR]
    boxless = {(one.file, one.place) for one in errors if one.message.startswith("bbox")}
    kept: list[list[Finding]] = []
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        entry = _ENTRY.match(finding.place)
        if not entry or finding.severity is not Severity.ERROR or finding.code in _OF_ONE:
            kept.append([finding])
        elif finding.code == "E104" and (finding.file, finding.place) in boxless:
            # The box would say which area is right.
            continue
        else:
            rule = _INDEX.sub("[]", finding.message.partition(", got ")[0])
            key = (finding.code, finding.file, entry[1], rule)
            if key not in groups:
                groups[key] = []
                kept.append(groups[key])
            groups[key].append(finding)
    return [_joined(same) for same in kept]


def _joined(same: Sequence[Finding]) -> Finding:
    first = same[0]
    if len(same) == 1:
        return first
    places = list(dict.fromkeys(one.place for one in same))
    what = "objects" if first.place.startswith("annotations") else "images"
    listed = ", ".join(places[:_SHOWN]) + ", ..." * (len(places) > _SHOWN)
    where = f"{len(places)} {what}: {listed}" if len(places) > 1 else f"this {what[:-1]}"
    times = f", {len(same)} times" if len(same) > len(places) else ""
    return replace(first, message=f"{first.message}{times} in {where}")
