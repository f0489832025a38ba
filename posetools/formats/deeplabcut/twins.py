"""The .h5 file that DeepLabCut keeps beside each .csv file: it must hold the same, for only one of them is read.

DeepLabCut trains on the .h5 file, people edit the .csv file: where the two differ, nobody but the user knows which one
is right. Where they hold the same, as in every project that nobody has edited, nothing is said.
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

# A .csv file may hold fewer digits than the .h5 file beside it.
_SAME_NUMBER = 1e-3

# An image's file name, an individual, a body part.
_CellKey: TypeAlias = tuple[str, str, str]


@dataclass
class Twins:
    """Compares .csv files with the .h5 files beside them.

    Attributes:
        unknown: .csv files whose .h5 file could not be compared.
        reason: why the first of these could not.
    """

    unknown: list[Path] = field(default_factory=list)
    reason: str = ""

    def compare(self, path: Path, table: Table) -> Finding | None:
        """Return the finding when a .csv file and the .h5 file beside it differ.

        Args:
            path: the .csv file.
            table: what it holds.
        """
        twin = path.with_suffix(".h5")
        if not twin.is_file():
            return None
        try:
            other = read_table(twin)
        except MissingExtraError as exc:
            other = Finding("E310", str(twin), "", " ".join(str(exc).split()), "install it")
        if isinstance(other, Finding):
            self.unknown.append(path)
            self.reason = self.reason or f"{twin}: {other.message}"
            return None
        difference = _difference(table, other)
        if difference is None:
            return None
        message = must_be("the file", f"the same as {twin.name} beside it", difference)
        hint = f"give the file that is right as the source instead of its folder: {path} or {twin}"
        return Finding("E313", str(path), "", f"{message}; none of the two is read", hint)

    def findings(self) -> list[Finding]:
        """Return what is to be said once for all files: that some were not compared."""
        if not self.unknown:
            return []
        number = len(self.unknown)
        pairs = "1 pair was" if number == 1 else f"{number} pairs were"
        message = (
            f"the .csv file must hold what the .h5 file beside it holds, but {pairs} not compared "
            f"(the first: {self.reason}): the .csv files are read"
        )
        return [Finding("W334", str(self.unknown[0]), "", message, "give the .csv file itself if it is the right one")]


def _difference(table: Table, other: Table) -> str | None:
    """Return the first difference in words, with how many there are; None when there is none."""
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
    """Return the points that are labeled; None for what is no number."""
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
