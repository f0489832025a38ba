"""Finds the role of each shape of an image: box, keypoint, outline, keypoints in their order, or left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import NamedTuple

from posetools.core.categories import Categories
from posetools.errors import must_be
from posetools.formats.joining.boxes_and_points import (
    Box,
    BoxKind,
    Point,
    around,
    center,
    extent,
    is_outline,
    is_upright,
    settle,
)
from posetools.formats.joining.label_hints import LabelParts
from posetools.formats.joining.ordered import advice
from posetools.formats.joining.shape_labels import Group, Label, Labels, SharedGroup
from posetools.formats.joining.visibility_words import SEEN, UnclearVisibility, says_of_visibility
from posetools.formats.joining.wording import ShapeReport
from posetools.formats.labelme.model import AnyShape, BadShape, SoundShape
from posetools.formats.labels import unknown_label
from posetools.formats.options import ReadOptions
from posetools.formats.reading import Corners

# Shapes with several points that do not name them.
_LIST_SHAPES = frozenset({"linestrip", "line", "polyline", "points", "point"})
_NAMELESS = "points must name their keypoint"
# Shapes drawn around a keypoint; the keypoint is their center.
_ROUND = frozenset({"circle", "ellipse"})


class _UnnamedPoint(NamedTuple):
    """A point without a keypoint's name: its shape, its group, and the number of its run of such points."""

    at: int
    shape: SoundShape
    label: Label
    group: Group | None
    run: int


@dataclass
class Sorter:
    """Sorts the shapes of one image; every shape ends up in ``boxes``, ``points``, ``ignored`` or the report.

    Attributes:
        categories: the categories, each with its skeleton.
        labels: how to read labels.
        options: the user's options.
        report: errors and warnings.
        boxes: the boxes, including unreadable ones and those left out on purpose.
        points: the labeled keypoints.
        ignored: label -> how many shapes are left out on purpose.
    """

    categories: Categories
    labels: Labels
    options: ReadOptions
    report: ShapeReport
    boxes: list[Box] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    _names_points: bool = False
    _run: int = 0
    _unnamed: list[_UnnamedPoint] = field(default_factory=list)
    _unordered: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    _outlines: list[Box] = field(default_factory=list)
    _centers: list[int] = field(default_factory=list)
    _untyped: list[int] = field(default_factory=list)
    _dropped: dict[str, list[int]] = field(default_factory=dict)
    _unclear: dict[str, list[int]] = field(default_factory=dict)
    _lost: list[tuple[int, str, LabelParts]] = field(default_factory=list)
    # (required, actual shape type) -> the shapes.
    _misdrawn: dict[tuple[str, str], list[tuple[int, SoundShape]]] = field(default_factory=dict)

    def sort(self, shapes: Sequence[AnyShape]) -> None:
        """Sort the shapes."""
        self._names_points = any(
            isinstance(shape, SoundShape) and self.labels.read(shape.label).name in self.labels.index
            for shape in shapes
        )
        for index, shape in enumerate(shapes):
            self._sort(index, shape)
        self._settle_outlines()
        self._name_unnamed()
        self._report_misdrawn()
        self._report_unordered()
        self._report_losses()

    def _sort(self, index: int, shape: AnyShape) -> None:
        if shape.label is not None and self.labels.is_ignored(shape.label):
            self._leave_out(index, shape, shape.label)
        elif isinstance(shape, BadShape):
            self.report.find_in(index, shape.field, shape.problem, self.report.words.correct)
            if not shape.is_point:
                self.boxes.append(Box(index, shape.group_id, BoxKind.UNREAD, None))
        else:
            self._sort_known(index, shape, self.labels.read(shape.label))

    def _leave_out(self, index: int, shape: AnyShape, label: str) -> None:
        self.ignored[label] += 1
        if not isinstance(shape, BadShape) and shape.shape_type == "rectangle" and shape.points:
            instance = self.labels.read(label).instance
            group = shape.group_id if instance is None else instance
            self.boxes.append(Box(index, group, BoxKind.IGNORED, extent(shape)))

    def _sort_known(self, index: int, shape: SoundShape, label: Label) -> None:
        group = shape.group_id if label.instance is None else label.instance
        self._note_loss(index, shape)
        kind = self._kind(index, shape, label.name)
        if kind == "point" and len(shape.points) == 1 and (not label.name or label.name in self.categories.ids):
            self._unnamed.append(_UnnamedPoint(index, shape, label, group, self._run))
            return
        self._run += 1
        if kind == "point" and label.name in self.labels.index:
            self._add_point(index, shape, label, group)
        elif label.name not in self.categories.ids and (label.name or shape.shape_type not in _LIST_SHAPES):
            self._refuse(index, shape, label.name, group)
        elif kind == "rectangle":
            self._add_box(index, shape, label.name, group)
        elif self._is_list(shape, label.name):
            self._add_list(index, shape, label, group)
        elif is_outline(shape):
            self._note_flags(index, shape, frozenset())
            self._outlines.append(self._box(index, label.name, group, around(shape)))
        else:
            self._refuse(index, shape, label.name, group)

    def _kind(self, index: int, shape: SoundShape, name: str) -> str:
        """Return how to read a shape; where its type says nothing, its label and points decide (hence polygon)."""
        kind, count = shape.shape_type, len(shape.points)
        if kind == "points" and count == 1:
            return "point"
        if name in self.labels.index and count > 1 and kind not in _LIST_SHAPES:
            is_keypoint = kind in _ROUND or self.options.keypoints_from == "categories"
            if is_keypoint and (kind == "rectangle" or is_outline(shape)):
                self._centers.append(index)
                return "point"
        if kind != "polygon" or count > 2:
            return kind
        told = dict.fromkeys(self.categories.ids, (2, "rectangle")) | dict.fromkeys(self.labels.index, (1, "point"))
        wanted, read_as = told.get(name, (0, ""))
        if count != wanted:
            return kind
        self._untyped.append(index)
        return read_as

    def _is_list(self, shape: SoundShape, category: str) -> bool:
        """Return whether a shape of the category holds, or may hold, keypoints in their order."""
        if shape.shape_type in _LIST_SHAPES:
            return len(shape.points) > 1
        if shape.shape_type != "polygon" or self._names_points or self.options.box_from == "outlines":
            return False
        order, skeleton = self.labels.order, self.categories[self.categories.ids[category]]
        return len(shape.points) == (skeleton.num_keypoints if order is None else len(order))

    def _add_list(self, index: int, shape: SoundShape, label: Label, group: Group | None) -> None:
        order = self.labels.order
        if order is None or len(order) != len(shape.points):
            self._unordered.setdefault((shape.shape_type, len(shape.points)), []).append(index)
            return
        visibility = self._seen(index, shape, label)
        if visibility is None:
            return
        self._note_flags(index, shape, self.labels.hidden | SEEN | {"difficult"})
        own = SharedGroup(index) if group is None else group
        for keypoint, (x, y) in zip(order, shape.points, strict=True):
            self._put(index, own, keypoint, (x, y, visibility))

    def _put(self, index: int, group: Group, keypoint: int | None, value: tuple[float, float, int]) -> None:
        if keypoint is not None:
            self.points.append(Point(index, group, self.categories.names[keypoint], keypoint, value))

    def _name_unnamed(self) -> None:
        """Name unnamed points by the user's order; each group, or run of points, must match its length."""
        if self._unnamed and self.labels.order is None:
            self._refuse_unnamed()
            return
        grouped: dict[Group | None, list[_UnnamedPoint]] = {}
        for one in self._unnamed:
            grouped.setdefault(None if self.options.one_object else one.group, []).append(one)
        for group, same in grouped.items():
            runs = [list(run) for _, run in groupby(same, key=lambda one: one.run)]
            for run in runs if group is None and not self.options.one_object else [same]:
                self._name_run(run, group)

    def _name_run(self, run: Sequence[_UnnamedPoint], group: Group | None) -> None:
        order = self.labels.order or ()
        count = len(order)
        single = group is not None or self.options.one_object
        if len(run) % count or (single and len(run) != count):
            indices = [one.at for one in run]
            where = "in a row" if group is None else "of one object"
            problem = must_be(f"points without names {where}", f"{count}, as in --kpt-order", len(run))
            hint = "add the missing ones, or label each point with its name"
            self.report.tell("E302", indices, problem, hint, "points without names must be as many as in --kpt-order")
            return
        for start in range(0, len(run), count):
            own = SharedGroup(run[start].at) if group is None else group
            for one, keypoint in zip(run[start : start + count], order, strict=True):
                visibility = self._seen(one.at, one.shape, one.label)
                if visibility is not None:
                    self._note_flags(one.at, one.shape, self.labels.hidden | SEEN | {"difficult"})
                    x, y = one.shape.points[0]
                    self._put(one.at, own, keypoint, (x, y, visibility))

    def _refuse_unnamed(self) -> None:
        number, each = len(self._unnamed), self.categories.num_keypoints
        got = f"{number} points" if number > 1 else "a point"
        problem = f"points must be labeled with keypoint names, got {got} labeled {self._unnamed[0].shape.label!r}"
        hint = advice(self.categories, each if number % each == 0 else None)
        hint = f"label each with its name, or {hint}"
        self.report.tell("E302", [one.at for one in self._unnamed], problem, hint, _NAMELESS)

    def _report_unordered(self) -> None:
        for (kind, count), indices in self._unordered.items():
            order = self.labels.order
            what = f"{'points' if kind == 'point' else kind} of {self.categories.told}"
            problem = f"{what} must name the keypoint of each of its {count} points, got no names"
            hint = advice(self.categories, count)
            if order is not None:
                problem = must_be(what, f"{len(order)} points, as in --kpt-order", count)
                hint = f"add the missing ones, or {self.report.words.correct}"
            if kind == "polygon":
                hint += "; --box-from outlines reads it as an object's outline"
            number = f" ({len(indices)})" if len(indices) > 1 else ""
            self.report.tell("E302", indices, problem + number, hint, _NAMELESS)

    def _settle_outlines(self) -> None:
        """Make boxes from outlines of objects without a rectangle."""
        if not self._outlines:
            return
        rectangles = [box for box in self.boxes if box.kind is BoxKind.OBJECT]
        found = settle(self._outlines, rectangles, {point.group for point in self.points if point.group is not None})
        self.boxes += found.objects
        for box in found.unclear:
            over = self.report.all_named(one.index for one in rectangles)
            problem = must_be(self.report.named(box.index), f"the outline of {over}, or of another object", "either")
            words = self.report.words
            hint = f"for the same object, {words.join}; for another object, give it its own points"
            self.report.tell("E302", [box.index], problem, hint, "outlines over rectangles must belong to one object")
            box.kind = BoxKind.UNREAD
        self.boxes += found.unclear
        self._outlines = found.objects + found.doubles

    def _report_losses(self) -> None:
        self._warn_of_maps()
        outlines = sorted(box.index for box in self._outlines)
        count, untyped = self.report.count, "a shape without a shape_type was read by its label and points"
        count("W324", self._centers, "a shape around a keypoint was read as its center")
        count("W323", outlines, "outlines of objects were replaced by upright boxes")
        count("W324", self._untyped, untyped)
        for said, indices in sorted(self._unclear.items()):
            problem = must_be("visibility", "given once, or with one meaning", said)
            count("E311", indices, problem, self.report.words.agree)
        word = self.report.words.flag
        for flag, indices in sorted(self._dropped.items()):
            lost = f"{word} {flag!r} has no place in COCO keypoints here: left out"
            count("W323", indices, lost)

    def _note_loss(self, index: int, shape: SoundShape) -> None:
        lost = self.labels.loss(shape.label)
        if lost is not None and (lost.says != "instance" or shape.group_id is None):
            self._lost.append((index, shape.label, lost))

    def _warn_of_maps(self) -> None:
        if not self._lost:
            return
        _, label, lost = self._lost[0]
        name = self.labels.names.get(label)
        message = must_be("--map", f"of labels without {lost.says}", f"{label}={name}")
        count = f" ({len(self._lost)} shapes of this file)" if len(self._lost) > 1 else ""
        hint = f"replace that --map by {lost.options(name)}"
        cause = f"--map loses the {lost.says} in labels"
        self.report.tell("W328", [index for index, _, _ in self._lost], f"{message}: it is lost{count}", hint, cause)

    def _refuse(self, index: int, shape: SoundShape, name: str, group: Group | None) -> None:
        is_keypoint = name in self.labels.index
        if shape.shape_type != "point" and not is_keypoint:
            self.boxes.append(Box(index, group, BoxKind.UNREAD, extent(shape) if shape.points else None))
        if name in self.categories.ids or is_keypoint:
            wanted = "point" if is_keypoint else "rectangle"
            self._misdrawn.setdefault((wanted, shape.shape_type), []).append((index, shape))
            return
        known = (*self.categories.ids, *self.labels.index)
        rule = f"the category {self.categories.told} or a keypoint of skeleton {self.categories.name}"
        place = self.report.at(self.report.named(index))
        advice = self.labels.advice(name)
        found = unknown_label(name, known, file=self.report.file, place=place, field="label", rule=rule, advice=advice)
        self.report.findings.append(replace(found, of=shape.shape_type))

    def _report_misdrawn(self) -> None:
        """Report known names on shapes of the wrong type: one finding per type."""
        for (wanted, got), drawn in self._misdrawn.items():
            labels = list(dict.fromkeys(shape.label for _, shape in drawn))
            it, each, its, of = "it", "it", "its", repr(labels[0])
            if len(labels) > 1:
                it, each, its, of = "them", "each", "their", "keypoints"
            hint = f"draw {each} as a {wanted} in {self.report.words.tool}, or delete {it}"
            if wanted == "point" and (got == "rectangle" or any(is_outline(shape) for _, shape in drawn)):
                hint = f"--keypoints-from categories reads {its} center; or {hint}"
            problem = must_be(f"shape_type of {of}", repr(wanted), got)
            self.report.count("E302", [index for index, _ in drawn], problem, hint)

    def _add_box(self, index: int, shape: SoundShape, category: str, group: Group | None) -> None:
        if not is_upright(shape):
            rule = "2 opposite or 4 upright corners of a rectangle with width and height"
            value = [list(point) for point in shape.points]
            self.report.find_in(index, "points", must_be("points", rule, value), "draw the rectangle again")
            self.boxes.append(Box(index, group, BoxKind.UNREAD, extent(shape) if shape.points else None))
            return
        self._note_flags(index, shape, frozenset())
        self.boxes.append(self._box(index, category, group, extent(shape)))

    def _box(self, index: int, category: str, group: Group | None, corners: Corners) -> Box:
        number = self.categories.ids[category]
        own = frozenset(self.categories.columns[number].tolist()) if len(self.categories) > 1 else None
        return Box(index, group, BoxKind.OBJECT, corners, number, own)

    def _add_point(self, index: int, shape: SoundShape, label: Label, group: Group | None) -> None:
        if len(shape.points) != 1 and index not in self._centers[-1:]:
            value = [list(point) for point in shape.points]
            hint = "draw each point as its own shape" if len(value) > 1 else self.report.words.correct
            self.report.find_in(index, "points", must_be("points", "one pair (x, y)", value), hint)
            return
        visibility = self._seen(index, shape, label)
        if visibility is None:
            return
        self._note_flags(index, shape, self.labels.hidden | SEEN | {"difficult"})
        x, y = center(shape)
        keypoint = self.labels.index[label.name]
        self.points.append(Point(index, group, shape.label, keypoint, (x, y, visibility)))

    def _seen(self, index: int, shape: SoundShape, label: Label) -> int | None:
        """Return a point's visibility; None, with a finding, if it is ambiguous or unknown."""
        visibility = self.labels.visibility(shape, label.visibility)
        if visibility is None:
            rule = f"one of {self.labels.visibility_words}"
            problem = must_be("visibility in the label", rule, label.visibility)
            self.report.find_in(index, "label", problem, "--hidden-flag WORD adds a word for labeled but not visible")
            return None
        if isinstance(visibility, UnclearVisibility):
            self._unclear.setdefault(visibility.problem, []).append(index)
            return None
        return int(visibility)

    def _note_flags(self, index: int, shape: SoundShape, understood: frozenset[str]) -> None:
        flags = {"difficult": shape.difficult, "occluded": shape.occluded is True, **(shape.flags or {})}
        for flag, on in flags.items():
            if (
                on
                and flag.casefold() not in understood
                and not (understood and says_of_visibility(flag, self.labels.hidden))
            ):
                self._dropped.setdefault(flag, []).append(index)
