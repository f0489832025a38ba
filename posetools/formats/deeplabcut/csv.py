"""DeepLabCut's .csv files as DeepLabCut, pandas and spreadsheets write them: their lines, made even.

The header's lines begin with ``scorer``, ``individuals`` (several animals only), ``bodyparts`` and ``coords``. What has
one meaning is read, and counted once per file (W324):

- a line that ends early: the cells that are missing are empty;
- empty cells beyond those of the header, as spreadsheets leave them: they are left out;
- ``;`` or a tab between the cells, which the header shows, and decimal commas, when no number has a point and one of
  them cannot be a thousands separator;
- words for an empty cell, such as ``NA``.

A byte order mark, quotes, any line ends and empty lines are CSV like any other.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from posetools.core.findings import Finding
from posetools.errors import InputError, must_be
from posetools.files.disk import read_text

ADVICE = "save it again in DeepLabCut, or move it out of the source"
_HEADS = ("scorer", "individuals", "bodyparts", "coords")
_FIRST = re.compile(r'\s*"?(?:scorer|individuals|bodyparts|coords)"?([,;\t])')
_COMMA = re.compile(r"\s*[+-]?\d+,(\d+)\s*")
# What pandas takes for an empty cell, besides NaN, which is a number.
_EMPTY = frozenset({"na", "n/a", "#n/a", "<na>", "null", "none"})


class Line(NamedTuple):
    """One image: its path, the cells behind it, its place in the file, and why the cells cannot be read (or empty)."""

    picture: str
    cells: list[str]
    place: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Lines:
    """What a file holds.

    Attributes:
        heads: the header's lines by their first cell, each without the columns that name the image.
        rows: the images, in their order.
        findings: what was repaired.
    """

    heads: Mapping[str, list[str]]
    rows: Sequence[Line]
    findings: Sequence[Finding]


@dataclass
class _Repairs:
    """What was repaired: the places, for each kind of repair."""

    short: list[str] = field(default_factory=list)
    long: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    commas: list[str] = field(default_factory=list)

    def findings(self, file: str, width: int) -> Iterator[Finding]:
        """Yield one finding for each kind."""
        rule = f"a line must have {width} cells as the header"
        for places, message in (
            (self.short, f"{rule}, got fewer in %s: the missing cells are taken as empty"),
            (self.long, f"{rule}, got more in %s: the cells beyond are empty and were left out"),
            (self.words, "an empty cell must be empty or NaN, got another word in %s: taken as empty"),
            (self.commas, "numbers must have a decimal point, got decimal commas in %s: read as such"),
        ):
            if places:
                count = f"{len(places)} line{'' if len(places) == 1 else 's'}"
                yield Finding("W324", file, places[0], message % count, "this is the first of them")


def begins_as_table(path: Path) -> bool:
    """Return whether a .csv file begins as DeepLabCut's do: ``scorer``, then ``individuals`` or ``bodyparts``."""
    try:
        text = "\n".join(read_text(path).split("\n", 3)[:3])
    except InputError:
        return False
    try:
        lines = [line[0] for line in _reader(text) if len(line) > 1]
    except csv.Error:
        return False
    return lines[:1] == ["scorer"] and lines[1:2] in (["individuals"], ["bodyparts"])


def read_lines(path: Path) -> Lines | Finding:
    """Return the lines of a .csv file, or why they cannot be read.

    Raises:
        InputError: it cannot be read or is not UTF-8.
        csv.Error: it is not CSV.
    """
    heads: dict[str, list[str]] = {}
    rows: list[Line] = []
    repairs = _Repairs()
    index = width = 0
    reader = _reader(read_text(path))
    for cells in reader:
        place = f"line {reader.line_num}"
        if not any(map(str.strip, cells)):
            continue
        if "coords" not in heads:
            if cells[0] not in _HEADS:
                rule = f"a header that begins with one of {', '.join(_HEADS)}"
                return Finding("E310", str(path), place, must_be("the line", rule, cells[0]), ADVICE)
            heads[cells[0]] = _without_empty_end(cells)
            if "coords" in heads:
                index, width = _index_columns(heads["coords"]), len(heads["coords"])
            continue
        rows.append(_line(cells, index, width, place, repairs))
    mixed = _read_commas(rows, repairs, str(path))
    if mixed is not None:
        return mixed
    heads = {name: line[index or 1 :] for name, line in heads.items()}
    return Lines(heads, rows, list(repairs.findings(str(path), width)))


def _reader(text: str) -> Any:
    found = _FIRST.match(text)
    return csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=found[1] if found else ",")


def _index_columns(coords: Sequence[str]) -> int:
    """Return how many columns say which image it is: those under which the header is empty, and the first."""
    return next((place for place, text in enumerate(coords) if place and text), 1)


def _without_empty_end(cells: list[str]) -> list[str]:
    end = len(cells)
    while end > 1 and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def _line(cells: list[str], index: int, width: int, place: str, repairs: _Repairs) -> Line:
    picture = "/".join(cells[:index])
    if len(cells) < index or not picture.strip("/ "):
        return Line(picture, [], place, must_be("the line", f"one that names an image in {index} cells", cells[:index]))
    if len(cells) > width:
        if any(map(str.strip, cells[width:])):
            return Line(picture, [], place, must_be("the line", f"{width} cells as the header", len(cells)))
        repairs.long.append(place)
    elif len(cells) < width:
        repairs.short.append(place)
    values = [*cells[index:width], *([""] * (width - len(cells)))]
    if any(value.strip().lower() in _EMPTY for value in values):
        repairs.words.append(place)
        values = ["" if value.strip().lower() in _EMPTY else value for value in values]
    return Line(picture, values, place)


def _read_commas(rows: list[Line], repairs: _Repairs, file: str) -> Finding | None:
    """Give numbers with a decimal comma a point; return a finding where a comma may be something else."""
    found = [(at, match) for at, row in enumerate(rows) for cell in row.cells if (match := _COMMA.fullmatch(cell))]
    if not found:
        return None
    pointed = next((cell for row in rows for cell in row.cells if "." in cell), None)
    if pointed is not None or all(len(match[1]) == 3 for _, match in found):
        at, match = found[0]
        got = f"{match[0].strip()!r}" + (f" beside {pointed.strip()!r}" if pointed else "")
        message = f"numbers must have a decimal point, got {got}: a comma may mark thousands there"
        return Finding("E310", file, rows[at].place, message, "save the table with decimal points")
    for at in sorted({at for at, _ in found}):
        row = rows[at]
        rows[at] = row._replace(
            cells=[cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell for cell in row.cells]
        )
        repairs.commas.append(row.place)
    return None
