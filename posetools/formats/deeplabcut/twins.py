"""Compares each .csv file with the .h5 file next to it: they must have the same content, as only one is read.

DeepLabCut trains on the .h5 file, and users edit the .csv file: if they differ, only the user knows which one is
right. If they are the same, as in any project without edits, there is no message.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from posetools.core.findings import Finding
from posetools.errors import MissingExtraError, must_be
from posetools.formats.deeplabcut.table import Table, read_table
from posetools.formats.plain_numbers import cell_number

# A .csv file may have fewer digits than its .h5 file.
_SAME_NUMBER = 1e-3

# An image's file name, an individual, a body part.
_CellKey: TypeAlias = tuple[str, str, str]


@dataclass
class Twins:
    """Compares .csv files with the .h5 files next to them.

    Attributes:
        unknown: .csv files whose .h5 file could not be compared.
        reason: why the first of them could not.
    """

    unknown: list[Path] = field(default_factory=list)
    reason: str = ""

    def compare(self, path: Path, table: Table) -> Finding | None:
        """Return the finding if a .csv file and its .h5 file differ.

        Args:
            path: the .csv file.
            table: its content.
        """
        twin = path.with_suffix(".h5")
        if not twin.is_file():
            return None
        try:
            other = read_table(twin)
        except MissingExtraError as exc:
            other = Finding("E310", str(twin), "", exc.sentence, exc.hint)
        if isinstance(other, Finding):
            self.unknown.append(path)
            self.reason = self.reason or f"{twin}: {other.message}"
            return None
        difference = _difference(table, other)
        if difference is None:
            return None
        message = must_be("the file", f"the same as {twin.name} next to it", difference)
        hint = f"give the correct file as SRC instead of its folder: {path} or {twin}"
        return Finding("E313", str(path), "", f"{message}; neither is read", hint)

    def findings(self) -> list[Finding]:
        """Return the finding on all files that were not compared."""
        if not self.unknown:
            return []
        number = len(self.unknown)
        pairs = "1 pair was" if number == 1 else f"{number} pairs were"
        message = (
            f"the .csv file must be the same as its .h5 file, but {pairs} not compared "
            f"(the first: {self.reason}): the .csv files are read"
        )
        return [Finding("W334", str(self.unknown[0]), "", message, "give the .csv file as SRC if it is correct")]


def _difference(table: Table, other: Table) -> str | None:
    """Return a message with the first difference and the number of differences; None if there are none."""
    here, there = _points(table), _points(other)
    images, others = _images(table), _images(other)
    alone = sorted(images ^ others)
    if alone:
        where = "the .csv file" if alone[0] in images else "the .h5 file"
        return f"{len(alone)} images in one of them only, the first is {alone[0]} in {where}"
    apart = [key for key in {**here, **there} if not _is_same(here.get(key), there.get(key))]
    if not apart:
        return None
    first = ": ".join(filter(None, apart[0]))
    points = f"{_shown(here.get(apart[0]))} in the .csv file, {_shown(there.get(apart[0]))} in the .h5 file"
    return f"{len(apart)} other points, the first is {first}: {points}"


def _images(table: Table) -> set[str]:
    return {_name(row.image) for row in table.rows}


def _name(image: str) -> str:
    return PurePosixPath(image.replace("\\", "/")).name


def _points(table: Table) -> dict[_CellKey, tuple[float | None, float | None]]:
    """Return the points that are labeled; None for an invalid number."""
    found: dict[_CellKey, tuple[float | None, float | None]] = {}
    for row in table.rows:
        if row.problem:
            continue
        for column in table.columns:
            x, y = cell_number(row.values[column.x]), cell_number(row.values[column.y])
            if not (_is_nan(x) and _is_nan(y)):
                found[_name(row.image), column.individual, column.bodypart] = x, y
    return found


def _is_nan(value: float | None) -> bool:
    return value is not None and math.isnan(value)


def _is_same(one: Sequence[float | None] | None, other: Sequence[float | None] | None) -> bool:
    if one is None or other is None:
        return False
    return all(
        a is not None and b is not None and (abs(a - b) <= _SAME_NUMBER or (math.isnan(a) and math.isnan(b)))
        for a, b in zip(one, other, strict=True)
    )


def _shown(point: tuple[float | None, float | None] | None) -> str:
    return "not labeled" if point is None else f"({point[0]}, {point[1]})"
