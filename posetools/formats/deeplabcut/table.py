"""Parses DeepLabCut's tables, CSV and H5: columns (individual, body part, coordinate), rows (image, values).

A CSV has header lines that start with ``scorer``, ``individuals`` (only with several animals), ``bodyparts`` and
``coords``; the image is one column with a path, or three (``labeled-data``, the video's folder, the file). H5 has the
same content as a pandas table; h5.py reads it without pandas, and pandas writes it.

In a CSV, deviations with one meaning are read, and counted once per file (W324):

- a line that ends early: missing cells are empty;
- empty cells beyond the header's, as spreadsheets write them: ignored;
- ``;`` or a tab between the cells, as in the header, and decimal commas, if no number has a point and at least one
  comma cannot be a thousands separator;
- words for an empty cell, such as ``NA``.

Byte order marks, quotes, any line endings and empty lines are normal CSV.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from posetools.core.findings import Finding
from posetools.errors import InputError, counted, must_be
from posetools.files.disk import read_text
from posetools.formats.deeplabcut.h5 import LEVELS, read_frame

# The individual's name in a file without a line ``individuals``.
ONLY = ""


class Column(NamedTuple):
    """One body part of one individual, and the positions of its x and y in a row's values."""

    individual: str
    bodypart: str
    x: int
    y: int


class TableRow(NamedTuple):
    """One image.

    Attributes:
        image: its path with slashes.
        values: the values, as text or number.
        place: its place in the file.
        problem: why the values cannot be read; empty if they can.
    """

    image: str
    values: Sequence[str | float]
    place: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The content of a file.

    Attributes:
        columns: the body parts, in their order.
        rows: the images, in their order.
        findings: what was converted.
    """

    columns: Sequence[Column]
    rows: Sequence[TableRow]
    findings: Sequence[Finding] = ()


def is_csv_table(path: Path) -> bool:
    """Return whether a .csv file starts like DeepLabCut's: ``scorer``, then ``individuals`` or ``bodyparts``."""
    if not path.is_file():
        return False
    try:
        text = "\n".join(read_text(path).split("\n", 3)[:3])
        lines = [line[0] for line in _reader(text) if len(line) > 1]
    except (InputError, csv.Error):
        return False
    return lines[:1] == ["scorer"] and lines[1:2] in (["individuals"], ["bodyparts"])


def read_table(path: Path) -> Table | Finding:
    """Return the table in a .csv or .h5 file, or why it cannot be read.

    Raises:
        MissingExtraError: an .h5 file needs packages that are not installed.
    """
    if path.suffix.lower() == ".h5":
        return _read_h5(path)
    try:
        return _read_csv(path)
    except InputError as exc:
        return Finding("E310", str(path), exc.place, exc.problem, DLC_ADVICE)
    except csv.Error as exc:
        return Finding("E310", str(path), "", f"is not valid CSV: {exc}", DLC_ADVICE)


def _columns(heads: Mapping[str, list[str]], file: str) -> list[Column] | Finding:
    for name in ("bodyparts", "coords"):
        if name not in heads:
            return Finding("E310", file, "", must_be("the header", f"lines with one {name!r}", list(heads)), DLC_ADVICE)
    individuals = heads.get("individuals") or [ONLY] * len(heads["coords"])
    if not len(individuals) == len(heads["bodyparts"]) == len(heads["coords"]):
        lengths = {name: len(line) for name, line in heads.items()}
        return Finding("E310", file, "", must_be("the header's lines", "equally long", lengths), DLC_ADVICE)
    places: dict[tuple[str, str], dict[str, int]] = {}
    for place, (individual, part, coord) in enumerate(
        zip(individuals, heads["bodyparts"], heads["coords"], strict=True)
    ):
        if coord not in ("x", "y"):
            hint = "give CollectedData files, which hold labels: files with likelihood are predictions"
            return Finding("E310", file, "coords", must_be("coords", "x and y", coord), hint)
        if coord in places.setdefault((individual, part), {}):
            rule = f"one column {coord} of {part!r}" + (f" of {individual!r}" if individual else "")
            return Finding("E310", file, "coords", must_be("the header", rule, "two"), DLC_ADVICE)
        places[individual, part][coord] = place
    for (_, part), found in places.items():
        if len(found) != 2:
            return Finding("E310", file, "coords", must_be(f"coords of {part!r}", "x and y", sorted(found)), DLC_ADVICE)
    return [Column(individual, part, found["x"], found["y"]) for (individual, part), found in places.items()]


def _read_h5(path: Path) -> Table | Finding:
    frame = read_frame(path)
    if isinstance(frame, str):
        return Finding("E310", str(path), "", frame, DLC_ADVICE)
    columns = _columns(frame.heads, str(path))
    if isinstance(columns, Finding):
        return columns
    rows = zip(frame.images, frame.values, strict=True)
    return Table(columns, [TableRow("/".join(parts), row, f"row {place}") for place, (parts, row) in enumerate(rows)])


def csv_text(table: Table, scorer: str) -> str:
    """Return a table as DeepLabCut's CSV: three columns for the image, numbers with all their digits.

    Args:
        table: its images have paths with three parts; NaN where a point is not labeled.
        scorer: who labeled.
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
        writer.writerow([*row.image.split("/", 2), *numbers])
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
        index=pd.MultiIndex.from_tuples([tuple(row.image.split("/", 2)) for row in table.rows]),
        dtype="float64",
    )
    frame.to_hdf(path, key="df_with_missing", mode="w")
    return True


DLC_ADVICE = "save it again in DeepLabCut, or move it out of the source"
_FIRST_CELL = re.compile(r'\s*"?(?:scorer|individuals|bodyparts|coords)"?([,;\t])')
_COMMA = re.compile(r"\s*[+-]?\d+,(\d+)\s*")
# Words that pandas reads as an empty cell; NaN is a number.
_EMPTY = frozenset({"na", "n/a", "#n/a", "<na>", "null", "none"})


@dataclass
class _Repairs:
    short: list[str] = field(default_factory=list)
    long: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    commas: list[str] = field(default_factory=list)

    def findings(self, file: str, width: int) -> Iterator[Finding]:
        rule = f"a line must have {width} cells like the header"
        for places, message in (
            (self.short, f"{rule}, got fewer in %s: missing cells were read as empty"),
            (self.long, f"{rule}, got more in %s: further empty cells were ignored"),
            (self.words, "an empty cell must be empty or NaN, got another word in %s: read as empty"),
            (self.commas, "numbers must have a decimal point, got decimal commas in %s: read as decimal points"),
        ):
            if places:
                count = counted(len(places), "line")
                yield Finding("W324", file, places[0], message % count, "correct the table: this is the first of them")


def _read_csv(path: Path) -> Table | Finding:
    heads: dict[str, list[str]] = {}
    rows: list[TableRow] = []
    repairs = _Repairs()
    index = width = 0
    reader = _reader(read_text(path))
    for cells in reader:
        place = f"line {reader.line_num}"
        if not any(map(str.strip, cells)):
            continue
        if "coords" not in heads:
            if cells[0] not in LEVELS:
                rule = f"a header that starts with one of {', '.join(LEVELS)}"
                return Finding("E310", str(path), place, must_be("the line", rule, cells[0]), DLC_ADVICE)
            heads[cells[0]] = _without_empty_end(cells)
            if "coords" in heads:
                # The first column, and those with an empty header, identify the image.
                index = next((at for at, text in enumerate(heads["coords"]) if at and text), 1)
                width = len(heads["coords"])
            continue
        rows.append(_line(cells, index, width, place, repairs))
    mixed = _read_commas(rows, repairs, str(path))
    if mixed is not None:
        return mixed
    columns = _columns({name: line[index or 1 :] for name, line in heads.items()}, str(path))
    if isinstance(columns, Finding):
        return columns
    return Table(columns, rows, list(repairs.findings(str(path), width)))


def _reader(text: str) -> Any:
    found = _FIRST_CELL.match(text)
    return csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=found[1] if found else ",")


def _without_empty_end(cells: list[str]) -> list[str]:
    end = len(cells)
    while end > 1 and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def _line(cells: list[str], index: int, width: int, place: str, repairs: _Repairs) -> TableRow:
    image = "/".join(cells[:index])
    if len(cells) < index or not image.strip("/ "):
        rule = f"an image in the first {index} cells"
        return TableRow(image, [], place, must_be("the line", rule, cells[:index]))
    if len(cells) > width:
        if any(map(str.strip, cells[width:])):
            return TableRow(image, [], place, must_be("the line", f"{width} cells like the header", len(cells)))
        repairs.long.append(place)
    elif len(cells) < width:
        repairs.short.append(place)
    values = [*cells[index:width], *([""] * (width - len(cells)))]
    if any(value.strip().lower() in _EMPTY for value in values):
        repairs.words.append(place)
        values = ["" if value.strip().lower() in _EMPTY else value for value in values]
    return TableRow(image, values, place)


def _read_commas(rows: list[TableRow], repairs: _Repairs, file: str) -> Finding | None:
    """Replace decimal commas by points; return a finding if a comma may be something else."""
    texts = [[str(cell) for cell in row.values] for row in rows]
    found = [(at, match) for at, row in enumerate(texts) for cell in row if (match := _COMMA.fullmatch(cell))]
    if not found:
        return None
    pointed = next((cell for row in texts for cell in row if "." in cell), None)
    if pointed is not None or all(len(match[1]) == 3 for _, match in found):
        at, match = found[0]
        got = f"{match[0].strip()!r}" + (f" and {pointed.strip()!r}" if pointed else "")
        message = f"numbers must have a decimal point, got {got}: the comma may be a thousands separator"
        return Finding("E310", file, rows[at].place, message, "save the table with decimal points")
    for at in sorted({at for at, _ in found}):
        values = [cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell for cell in texts[at]]
        rows[at] = rows[at]._replace(values=values)
        repairs.commas.append(rows[at].place)
    return None
