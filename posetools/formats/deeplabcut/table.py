"""DeepLabCut's tables taken apart, CSV and H5: columns (individual, body part, coordinate), rows (picture, values).

A CSV has header lines that begin with ``scorer``, ``individuals`` (several animals only), ``bodyparts`` and ``coords``;
the picture is one column with a path, or three (``labeled-data``, the video's folder, the file). H5 holds the same as a
pandas table, which is read by ``deeplabcut_h5`` without pandas, and written with it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from posetools.core.findings import Finding
from posetools.core.geometry import MAX_COORDINATE
from posetools.errors import InputError, must_be
from posetools.formats.deeplabcut.csv import ADVICE, Lines, begins_as_table, read_lines
from posetools.formats.deeplabcut.h5 import read_frame

# The animal of a file that has no line ``individuals``.
ONLY = ""
# Beyond it a number is no pixel.


class Column(NamedTuple):
    """One body part of one individual, and where its x and y stand among the values of a row."""

    individual: str
    bodypart: str
    x: int
    y: int


class TableRow(NamedTuple):
    """One image.

    Attributes:
        picture: its path with slashes.
        values: the values, as text or number.
        place: the place in the file.
        problem: why the values cannot be read; empty when they can.
    """

    picture: str
    values: Sequence[str | float]
    place: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds.

    Attributes:
        columns: the body parts, in their order.
        rows: the pictures, in their order.
        findings: what was repaired.
    """

    columns: Sequence[Column]
    rows: Sequence[TableRow]
    findings: Sequence[Finding] = ()


def is_csv_table(path: Path) -> bool:
    """Return whether a .csv file begins as DeepLabCut's do."""
    return path.is_file() and begins_as_table(path)


def read_table(path: Path) -> Table | Finding:
    """Return the table in a .csv or .h5 file, or why it cannot be read.

    Raises:
        MissingExtraError: an .h5 file needs packages that are not installed.
    """
    if path.suffix.lower() == ".h5":
        return _read_h5(path)
    try:
        lines = read_lines(path)
        return lines if isinstance(lines, Finding) else _from_lines(lines, path)
    except InputError as exc:
        return Finding("E310", str(path), exc.place, exc.problem, ADVICE)
    except csv.Error as exc:
        return Finding("E310", str(path), "", f"is not valid CSV: {exc}", ADVICE)


def number(value: str | float) -> float | None:
    """Return a coordinate; NaN where the point is not labelled, None when it is no number of pixels."""
    if isinstance(value, str) and not value.strip():
        return math.nan
    try:
        parsed = float(value)
    except ValueError:
        return None
    return parsed if math.isnan(parsed) or abs(parsed) <= MAX_COORDINATE else None


def _from_lines(lines: Lines, path: Path) -> Table | Finding:
    columns = _columns(lines.heads, str(path))
    if isinstance(columns, Finding):
        return columns
    rows = [TableRow(*line) for line in lines.rows]
    return Table(columns, rows, lines.findings)


def _columns(heads: Mapping[str, list[str]], file: str) -> list[Column] | Finding:
    for name in ("bodyparts", "coords"):
        if name not in heads:
            return Finding("E310", file, "", must_be("the header", f"lines with one {name!r}", list(heads)), ADVICE)
    individuals = heads.get("individuals") or [ONLY] * len(heads["coords"])
    if not len(individuals) == len(heads["bodyparts"]) == len(heads["coords"]):
        lengths = {name: len(line) for name, line in heads.items()}
        return Finding("E310", file, "", must_be("the header's lines", "of one length", lengths), ADVICE)
    places: dict[tuple[str, str], dict[str, int]] = {}
    for place, (individual, part, coord) in enumerate(
        zip(individuals, heads["bodyparts"], heads["coords"], strict=True)
    ):
        if coord not in ("x", "y"):
            hint = "files with likelihood are predictions; CollectedData files hold labels"
            return Finding("E310", file, "coords", must_be("coords", "x and y", coord), hint)
        if coord in places.setdefault((individual, part), {}):
            rule = f"one column {coord} of {part!r}" + (f" of {individual!r}" if individual else "")
            return Finding("E310", file, "coords", must_be("the header", rule, "two"), ADVICE)
        places[individual, part][coord] = place
    for (_, part), found in places.items():
        if len(found) != 2:
            return Finding("E310", file, "coords", must_be(f"coords of {part!r}", "x and y", sorted(found)), ADVICE)
    return [Column(individual, part, found["x"], found["y"]) for (individual, part), found in places.items()]


def _read_h5(path: Path) -> Table | Finding:
    frame = read_frame(path)
    if isinstance(frame, str):
        return Finding("E310", str(path), "", frame, ADVICE)
    columns = _columns(frame.heads, str(path))
    if isinstance(columns, Finding):
        return columns
    rows = zip(frame.pictures, frame.values, strict=True)
    return Table(columns, [TableRow("/".join(parts), row, f"row {place}") for place, (parts, row) in enumerate(rows)])


def csv_text(table: Table, scorer: str) -> str:
    """Return a table as DeepLabCut's CSV: three columns that say which picture, numbers with all their digits.

    Args:
        table: with pictures whose paths have three parts; NaN where a point is not labelled.
        scorer: who labelled.
    """
    several = any(column.individual for column in table.columns)
    heads = {
        "scorer": [scorer for column in table.columns],
        **({"individuals": [column.individual for column in table.columns]} if several else {}),
        "bodyparts": [column.bodypart for column in table.columns],
    }
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for name, values in heads.items():
        writer.writerow([name, "", "", *(value for value in values for _ in "xy")])
    writer.writerow(["coords", "", "", *("xy" * len(table.columns))])
    for row in table.rows:
        numbers = ["" if isinstance(value, float) and math.isnan(value) else value for value in row.values]
        writer.writerow([*row.picture.split("/", 2), *numbers])
    return text.getvalue()


def write_h5(table: Table, scorer: str, path: Path) -> bool:
    """Write a table as DeepLabCut's H5; return whether the packages for it are installed."""
    try:
        import pandas as pd
        import tables  # noqa: F401
    except ImportError:
        return False
    several = any(column.individual for column in table.columns)
    names = ["scorer", *(["individuals"] if several else []), "bodyparts", "coords"]
    keys = [
        (scorer, *((column.individual,) if several else ()), column.bodypart, coord)
        for column in table.columns
        for coord in "xy"
    ]
    frame = pd.DataFrame(
        [list(row.values) for row in table.rows],
        columns=pd.MultiIndex.from_tuples(keys, names=names),
        index=pd.MultiIndex.from_tuples([tuple(row.picture.split("/", 2)) for row in table.rows]),
        dtype="float64",
    )
    frame.to_hdf(path, key="df_with_missing", mode="w")
    return True
