"""From a table's rows for one image to its objects, by the mapping.

Every row ends up in an object, in a finding, or in ``ignored``; a row with only an image says that it has no
objects.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from posetools.core.dataset import Visibility
from posetools.core.findings import Finding
from posetools.core.geometry import DECIMALS, MAX_COORDINATE, xyxy_from_xywh, xyxy_from_yolo
from posetools.core.skeleton import Skeleton
from posetools.errors import Place, must_be
from posetools.formats.custom.mapping import TableMapping as TableMapping
from posetools.formats.custom.mapping import Units, cell_text
from posetools.formats.joining.made_boxes import box_round
from posetools.formats.labels import unknown_label
from posetools.formats.options import ReadOptions
from posetools.formats.plain_numbers import cell_number
from posetools.formats.reading import Corners, PointXYV, Row

_ROW_ADVICE = "correct the row"
# Programs without an empty integer write integer columns this way.
_WHOLE_TEXT = re.compile(r"[0-9]\.0+")


class CustomRow(NamedTuple):
    """One row: its place in the file, and its cells by column."""

    place: str
    cells: Mapping[str, Any]

    def text(self, column: str | None) -> str:
        """Return a cell as text, empty if there is none."""
        return "" if column is None else cell_text(self.cells.get(column))


class Cells(NamedTuple):
    """The location of a point: its name in the table, and its columns."""

    name: str
    x: str
    y: str
    visibility: str | None


@dataclass
class _ObjectRows:
    place: str
    boxes: dict[Corners, str] = field(default_factory=dict)
    points: dict[int, list[tuple[PointXYV, str]]] = field(default_factory=dict)
    is_bad: bool = False


@dataclass
class RowsOfImage:
    """Reads the rows of one image.

    Attributes:
        file: the table's name, for findings.
        size: (width, height) of the upright image.
        mapping: what the columns are.
        skeleton: the skeleton.
        options: the user's options, with the mapping's names added.
        findings: errors and warnings.
        ignored: label -> how many points or rows are left out on purpose.
        repaired: conversion -> how often, in the whole table.
    """

    file: str
    size: tuple[int, int]
    mapping: TableMapping
    skeleton: Skeleton
    options: ReadOptions
    findings: list[Finding] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    _unknown: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    _unlabeled: list[str] = field(default_factory=list)

    def read(self, rows: Sequence[CustomRow]) -> list[Row]:
        """Return the objects in the order of their first rows."""
        objects: dict[str, _ObjectRows] = {}
        for number, row in enumerate(rows):
            if not self._is_category(row):
                continue
            by_object = self.mapping.point is not None
            key = row.text(self.mapping.columns.object) if by_object else str(number)
            self._add(objects, key, row)
        found = [self._finish(one) for one in objects.values()]
        for (name, what), places in self._unknown.items():
            self._refuse_label(name, what, places)
        if self._unlabeled:
            message = "points with visibility 0 must have no coordinates, got some: left out"
            self._find("W203", Place.several(*self._unlabeled), message, "visibility 1 means labeled but not visible")
        return [row for row in found if row is not None]

    def _find(self, code: str, place: str, message: str, hint: str = "") -> None:
        self.findings.append(Finding(code, self.file, place, message, hint))

    def _is_category(self, row: CustomRow) -> bool:
        column = self.mapping.columns.category
        label = row.text(column)
        if column is None or (not label and not self._says_something(row)):
            return True
        if label in self.options.ignore:
            self.ignored[label] += 1
        elif self.options.names.get(label, label) == self.skeleton.category.name:
            return True
        else:
            self._unknown.setdefault((label, column), []).append(row.place)
        return False

    def _says_something(self, row: CustomRow) -> bool:
        told = self.mapping.point
        columns = [*(self.mapping.box.columns if self.mapping.box else ()), *((told.x, told.y) if told else ())]
        columns += [column for cells in self._wide_cells() for column in (cells.x, cells.y)]
        return any(row.text(column) for column in columns)

    def _add(self, objects: dict[str, _ObjectRows], key: str, row: CustomRow) -> None:
        told = self.mapping.point
        if not self._says_something(row) and not (told and row.text(told.name)):
            return
        if told and self.mapping.columns.object and not key:
            self._find(
                "E311", row.place, must_be(self.mapping.columns.object, "an object's identifier", key), _ROW_ADVICE
            )
            return
        one = objects.setdefault(key, _ObjectRows(row.place))
        self._add_box(one, row)
        if told is None:
            for cells in self._wide_cells():
                self._add_point(one, row, cells)
        elif row.text(told.name):
            self._add_point(one, row, Cells(row.text(told.name), told.x, told.y, told.visibility))
        elif row.text(told.x) or row.text(told.y):
            self._find("E311", row.place, must_be(told.name, "the name of a point", ""), _ROW_ADVICE)

    def _wide_cells(self) -> Iterable[Cells]:
        told = self.mapping.points
        if told is None:
            return
        for name in told.names or self.skeleton.names:
            visibility = told.visibility.format(name=name) if told.visibility else None
            yield Cells(name, told.x.format(name=name), told.y.format(name=name), visibility)

    def _add_box(self, one: _ObjectRows, row: CustomRow) -> None:
        told = self.mapping.box
        if told is None or not any(row.text(column) for column in told.columns):
            return
        values = [cell_number(row.cells.get(column)) for column in told.columns]
        field_name = f"the box ({', '.join(told.columns)})"
        shown = [row.cells.get(column) for column in told.columns]
        if any(value is None or math.isnan(value) for value in values):
            rule = f"four numbers of at most {MAX_COORDINATE}"
        else:
            corners = np.array([values], dtype=np.float64) * np.tile(self._scale(told.units), 2)
            if told.convention == "xywh":
                corners = xyxy_from_xywh(corners)
            elif told.convention == "cxcywh":
                corners = xyxy_from_yolo(corners, (1, 1))
            x1, y1, x2, y2 = corners.round(DECIMALS)[0].tolist()
            if x1 < x2 and y1 < y2:
                one.boxes.setdefault((x1, y1, x2, y2), row.place)
                return
            rule = f"{told.convention} with width and height"
        self._find("E311", row.place, f"{must_be(field_name, rule, shown)}; the object is left out", _ROW_ADVICE)
        one.is_bad = True

    def _add_point(self, one: _ObjectRows, row: CustomRow, cells: Cells) -> None:
        x, y = cell_number(row.cells.get(cells.x)), cell_number(row.cells.get(cells.y))
        word = row.text(cells.visibility)
        visibility = Visibility.VISIBLE if cells.visibility is None else self._visibility(word)
        is_absent = x is not None and y is not None and math.isnan(x) and math.isnan(y)
        if is_absent and (cells.visibility is None or not word or visibility == Visibility.NOT_LABELED):
            return
        keypoint = self.skeleton.index.get(self.options.names.get(cells.name, cells.name))
        if cells.name in self.options.ignore:
            self.ignored[cells.name] += 1
        elif keypoint is None:
            self._unknown.setdefault((cells.name, "a point's name"), []).append(row.place)
        elif x is None or y is None or math.isnan(x) or math.isnan(y):
            shown = [row.cells.get(cells.x), row.cells.get(cells.y)]
            rule = f"two numbers of at most {MAX_COORDINATE}, or both empty"
            self._find("E311", row.place, must_be(f"{cells.name} ({cells.x}, {cells.y})", rule, shown), _ROW_ADVICE)
        elif visibility is None:
            rule = f"one of {', '.join(map(repr, self.mapping.words))}"
            hint = "write in [visibility] in the mapping which words mean 0, 1 and 2"
            self._find("E311", row.place, must_be(f"{cells.name} ({cells.visibility})", rule, word), hint)
        elif visibility == Visibility.NOT_LABELED:
            if (x, y) != (0.0, 0.0):
                self._unlabeled.append(row.place)
        else:
            scale = self._scale(None)
            px, py = (np.array([x, y]) * scale).round(DECIMALS).tolist() if self.mapping.units != "pixel" else (x, y)
            one.points.setdefault(keypoint, []).append(((px, py, int(visibility)), row.place))

    def _visibility(self, word: str) -> Visibility | None:
        """Return the meaning of a word: as in the mapping, or as a fraction (2.0), or in another letter case."""
        words = self.mapping.words
        if word in words:
            return words[word]
        whole = words.get(word.rstrip("0").removesuffix(".")) if _WHOLE_TEXT.fullmatch(word) else None
        alike = {value for known, value in words.items() if known.casefold() == word.casefold()}
        if whole is not None:
            self.repaired["a visibility as a fraction was read as an integer"] += 1
        elif len(alike) == 1:
            (whole,) = alike
            self.repaired["a visibility word in another letter case was read as the mapping's"] += 1
        return whole

    def _scale(self, units: Units | None) -> Any:
        wanted = units or self.mapping.units
        whole = {"pixel": (1.0, 1.0), "fraction": self.size, "percent": (self.size[0] / 100, self.size[1] / 100)}
        return np.array(whole[wanted], dtype=np.float64)

    def _finish(self, one: _ObjectRows) -> Row | None:
        points: list[PointXYV] = [(0.0, 0.0, 0)] * self.skeleton.num_keypoints
        for keypoint, same in one.points.items():
            if len(same) == 1:
                points[keypoint] = same[0][0]
            else:
                self._refuse_twice(keypoint, [place for _, place in same])
        if one.is_bad:
            return None
        if len(one.boxes) > 1:
            rule = "the same in every row of an object"
            message = must_be("the box", rule, f"{len(one.boxes)} different ones")
            self._find("E307", Place.several(*one.boxes.values()), f"{message}; the object is left out", _ROW_ADVICE)
            return None
        box = next(iter(one.boxes), None)
        if box is None and self.options.box_from == "keypoints":
            box = box_round(points, self.options, self.size)
        if box is None and (self.mapping.box or one.points):
            hint = "fill in its cells, or make boxes from points with --box-from keypoints"
            if self.options.box_from == "keypoints":
                hint = "correct the row: none of its labeled points is in the image"
            self._find("E306", one.place, must_be("an object", "one with a box", "none"), hint)
        return Row(box, points, one.place, self.skeleton.category.id) if box else None

    def _refuse_twice(self, keypoint: int, places: Sequence[str]) -> None:
        name = self.skeleton.names[keypoint]
        hint = "correct the name of one: none of them is read"
        if self.mapping.columns.object is None and self.mapping.point:
            hint = "set columns.object in the mapping to the column that identifies objects"
        message = must_be(name, "at most one point of an object", f"{len(places)} points")
        self._find("E305", Place.several(*places), message, hint)

    def _refuse_label(self, name: str, what: str, places: Sequence[str]) -> None:
        is_point = what == "a point's name"
        known = self.skeleton.names if is_point else (self.skeleton.category.name,)
        rule = f"a keypoint of skeleton {self.skeleton.name}" if is_point else f"the category {known[0]!r}"
        place = Place.several(*places)
        found = unknown_label(name, known, file=self.file, place=place, field=what, rule=rule)
        self.findings.append(replace(found, of="point" if is_point else "rectangle", number=len(places)))
