"""From the shapes of one labelme file to its objects: which points belong to which rectangle.

With a group (``group_id``, or the instance that a label names) points belong to the rectangle of their group. Without
one, a point belongs to the one box that can be its own: of the boxes that hold points of one name, and lack it, there
must be a single way to give each point one (assigning.py). What has more than one reading is a finding and not read:

- several boxes could own the point, or none holds it (one that just misses it owns it, if it is the only one);
- two points without group have one box and the same name, or the box has that name already;
- the smallest box is left out on purpose while one that is read holds the point too;
- a box that holds the point could not be read, or some shape that could be a box.

Points of a group without a rectangle belong to the one rectangle without group that holds, or just misses, all of them.

Plain floats throughout: a file has a handful of shapes, for which arrays cost more than they save.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from posetools.errors import must_be
from posetools.findings import Finding
from posetools.formats.assigning import only_assignment
from posetools.formats.base import ReadOptions
from posetools.formats.boxes import box_round, complete
from posetools.formats.collect import Corners, PointXYV, Row
from posetools.formats.joining import NEAR, SHOWN, Box, Kind, Point, just_missed, overlap, told_near, told_outside
from posetools.formats.label_hints import Extended
from posetools.formats.labelme_labels import Group, Label, Labels
from posetools.formats.labelme_model import AnyShape, BadShape, SoundShape
from posetools.formats.labelme_outlines import around, extent, is_outline, is_upright
from posetools.formats.labels import unknown_label
from posetools.formats.visibility_words import SEEN, Unclear
from posetools.skeleton import Skeleton

# The group of everything, where an image shows one object.
_THE_ONE = "the image"
_ONE_OBJECT = "--one-object-per-image"
_ABSENT: PointXYV = (0.0, 0.0, 0)


@dataclass
class FileShapes:
    """Reads the shapes of one file; every shape ends in ``rows``, in ``findings`` or in ``ignored``.

    Attributes:
        file: the file's name, for places.
        size: (width, height) of the picture.
        skeleton: the skeleton.
        labels: how labels are read.
        options: the user's options.
        findings: what cannot be read, and what is odd.
        ignored: label -> how many shapes are left out on purpose.
        outlines: whether outlines and circles are labelme's own; those of other tools have other points.
    """

    file: str
    size: tuple[int, int]
    skeleton: Skeleton
    labels: Labels
    options: ReadOptions
    findings: list[Finding] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    outlines: bool = False
    _boxes: list[Box] = field(default_factory=list)
    _points: list[Point] = field(default_factory=list)
    # The boxes in which there is no point without a group, once that is asked: it is for each group without a box.
    _quiet: list[Box] | None = None
    _dropped: dict[str, list[int]] = field(default_factory=dict)
    _unclear: dict[str, list[int]] = field(default_factory=dict)
    _untyped: list[int] = field(default_factory=list)
    _has_rectangles: bool = False
    _circles: list[int] = field(default_factory=list)
    _outlines: list[int] = field(default_factory=list)
    _lost: list[tuple[int, str, Extended]] = field(default_factory=list)

    def read(self, shapes: Sequence[AnyShape]) -> list[Row]:
        """Return the objects in the order of their rectangles."""
        self._has_rectangles = any(not isinstance(shape, BadShape) and self._is_rectangle(shape) for shape in shapes)
        for index, shape in enumerate(shapes):
            self._sort(index, shape)
        if self.options.one_object:
            # What is left out on purpose is no part of the object, and does not take its points along.
            for box in self._boxes:
                if box.kind is not Kind.IGNORED:
                    box.group = _THE_ONE
            for point in self._points:
                point.group = _THE_ONE
        loose = [point for point in self._points if point.group is None]
        rows = self._join_groups()
        if loose:
            self._place_loose(loose)
        rows += [(box.index, self._row(box)) for box in self._boxes if box.kind is Kind.OBJECT]
        self._warn_of_losses()
        for code, what, indices in (
            ("W324", "a circle labelled as a keypoint was taken for its center", self._circles),
            ("W323", "the outlines of objects are not carried over: the upright boxes around them are", self._outlines),
            ("W324", "a shape without a shape_type was taken for what its label and points are", self._untyped),
        ):
            if indices:
                self._find(code, indices, f"{what} ({len(indices)})")
        for said, indices in sorted(self._unclear.items()):
            hint = "correct it, so that all that is said of the point agrees"
            self._find("E311", indices, must_be("visibility", "said once, or with one meaning", said), hint)
        for flag, indices in sorted(self._dropped.items()):
            self._find(
                "W323", indices, f"flag {flag!r} says nothing that COCO keypoints hold here; it is not carried over"
            )
        return [row for _, row in sorted(rows, key=lambda pair: pair[0])]

    def _find(self, code: str, place: Iterable[int] | str, message: str, hint: str = "") -> None:
        text = place if isinstance(place, str) else ", ".join(f"shapes[{index}]" for index in place)
        self.findings.append(Finding(code, self.file, text, message, hint))

    def _sort(self, index: int, shape: AnyShape) -> None:
        if shape.label is not None and self.labels.is_ignored(shape.label):
            self._leave_out(index, shape, shape.label)
        elif isinstance(shape, BadShape):
            place = f"shapes[{index}]" + (f".{shape.field}" if shape.field else "")
            self._find("E311", place, shape.problem, "correct the shape in labelme, or delete it")
            if not shape.is_point:
                self._boxes.append(Box(index, shape.group_id, Kind.UNREAD, None))
        else:
            self._sort_known(index, shape, self.labels.read(shape.label))

    def _leave_out(self, index: int, shape: AnyShape, label: str) -> None:
        self.ignored[label] += 1
        if not isinstance(shape, BadShape) and shape.shape_type == "rectangle" and shape.points:
            instance = self.labels.read(label).instance
            group = shape.group_id if instance is None else instance
            self._boxes.append(Box(index, group, Kind.IGNORED, extent(shape)))

    def _sort_known(self, index: int, shape: SoundShape, label: Label) -> None:
        group = shape.group_id if label.instance is None else label.instance
        self._note_loss(index, shape)
        kind = self._kind(index, shape, label.name)
        if kind == "rectangle" and label.name == self.labels.category:
            self._add_box(index, shape, group)
        elif label.name == self.labels.category and self._is_outline(shape):
            self._outlines.append(index)
            self._note_flags(index, shape, frozenset())
            self._boxes.append(Box(index, group, Kind.OBJECT, around(shape)))
        elif kind == "point" and label.name in self.labels.index:
            self._add_point(index, shape, label, group)
        else:
            self._refuse(index, shape, label.name)
            if shape.shape_type != "point" and label.name not in self.labels.index:
                corners = extent(shape) if shape.points else None
                self._boxes.append(Box(index, group, Kind.UNREAD, corners))

    def _is_rectangle(self, shape: SoundShape) -> bool:
        return shape.shape_type == "rectangle" and self.labels.read(shape.label).name == self.labels.category

    def _is_outline(self, shape: SoundShape) -> bool:
        return self.outlines and not self._has_rectangles and is_outline(shape, self.skeleton.num_keypoints)

    def _kind(self, index: int, shape: SoundShape, name: str) -> str:
        """Return what a shape is read as; its label and points decide where it says nothing (hence polygon)."""
        if self.outlines and shape.shape_type == "circle" and len(shape.points) == 2 and name in self.labels.index:
            self._circles.append(index)
            return "point"
        if shape.shape_type != "polygon" or len(shape.points) > 2:
            return shape.shape_type
        told = {self.labels.category: (2, "rectangle")} | dict.fromkeys(self.labels.index, (1, "point"))
        count, kind = told.get(name, (0, ""))
        if len(shape.points) != count:
            return shape.shape_type
        self._untyped.append(index)
        return kind

    def _note_loss(self, index: int, shape: SoundShape) -> None:
        lost = self.labels.loss(shape.label)
        if lost is not None and (lost.says != "instance" or shape.group_id is None):
            self._lost.append((index, shape.label, lost))

    def _warn_of_losses(self) -> None:
        if not self._lost:
            return
        _, label, lost = self._lost[0]
        name = self.labels.names.get(label)
        message = must_be("--map", f"of labels that say no {lost.says} to keep it", f"{label}={name}")
        count = f" ({len(self._lost)} shapes of this file)" if len(self._lost) > 1 else ""
        hint = f"leave that --map out, and type {lost.options(name)}"
        self._find("W328", [index for index, _, _ in self._lost], f"{message}: it is lost{count}", hint)

    def _refuse(self, index: int, shape: SoundShape, name: str) -> None:
        place = f"shapes[{index}]"
        wanted = "rectangle" if name == self.labels.category else "point" if name in self.labels.index else None
        if wanted is None:
            known = (self.labels.category, *self.labels.index)
            rule = f"the category {self.labels.category!r} or a keypoint of skeleton {self.skeleton.name}"
            advice = self.labels.advice(name)
            found = unknown_label(name, known, file=self.file, place=place, field="label", rule=rule, advice=advice)
            self.findings.append(found)
            return
        field_name = f"shape_type of {shape.label!r}"
        hint = f"draw it as a {wanted} in labelme, or delete it"
        self._find("E302", place, must_be(field_name, repr(wanted), shape.shape_type), hint)

    def _add_box(self, index: int, shape: SoundShape, group: Group | None) -> None:
        if not is_upright(shape):
            rule = "2 opposite or 4 upright corners of a rectangle with width and height"
            value = [list(point) for point in shape.points]
            self._find("E311", f"shapes[{index}].points", must_be("points", rule, value), "draw the rectangle anew")
            self._boxes.append(Box(index, group, Kind.UNREAD, extent(shape) if shape.points else None))
            return
        self._note_flags(index, shape, frozenset())
        self._boxes.append(Box(index, group, Kind.OBJECT, extent(shape)))

    def _add_point(self, index: int, shape: SoundShape, label: Label, group: Group | None) -> None:
        if len(shape.points) != 1 and not (self.outlines and shape.shape_type == "circle"):
            value = [list(point) for point in shape.points]
            self._find("E311", f"shapes[{index}].points", must_be("points", "one pair (x, y)", value))
            return
        visibility = self.labels.visibility(shape, label.visibility)
        if visibility is None:
            rule = f"one of {self.labels.visibility_words}"
            self._find(
                "E311",
                f"shapes[{index}].label",
                must_be("visibility in the label", rule, label.visibility),
                "--hidden-flag WORD adds a word that means hidden",
            )
            return
        if isinstance(visibility, Unclear):
            self._unclear.setdefault(visibility.problem, []).append(index)
            return
        self._note_flags(index, shape, self.labels.hidden | SEEN | {"difficult"})
        x, y = shape.points[0]
        keypoint = self.labels.index[label.name]
        self._points.append(Point(index, group, shape.label, keypoint, (x, y, int(visibility))))

    def _note_flags(self, index: int, shape: SoundShape, understood: frozenset[str]) -> None:
        flags = {"difficult": shape.difficult, "occluded": shape.occluded is True, **(shape.flags or {})}
        for flag, on in flags.items():
            if on and flag.casefold() not in understood:
                self._dropped.setdefault(flag, []).append(index)

    def _join_groups(self) -> list[tuple[int, Row]]:
        """Give grouped points to their rectangle; return the objects whose box comes from their points."""
        boxes: dict[Group, list[Box]] = defaultdict(list)
        points: dict[Group, list[Point]] = defaultdict(list)
        for box in self._boxes:
            if box.group is not None:
                boxes[box.group].append(box)
        for point in self._points:
            if point.group is not None:
                points[point.group].append(point)
        rows = []
        alone: list[Group] = []
        for group in sorted({*boxes, *points}, key=lambda key: (isinstance(key, str), key)):
            own = [box for box in boxes[group] if box.kind is Kind.OBJECT]
            if len(own) == 1:
                own[0].points += self._once_each(points[group])
            elif own:
                self._refuse_several(group, own, points[group])
            elif points[group]:
                alone.append(group)
        homes = self._free_homes({group: points[group] for group in alone if not boxes[group]})
        for group in alone:
            if group in homes:
                homes[group].points += self._once_each(points[group])
            else:
                rows += self._without_box(group, boxes[group], points[group])
        return rows

    def _free_homes(self, groups: Mapping[Group, Sequence[Point]]) -> dict[Group, Box]:
        """Return the free box of each group without one: the only one that holds, or just misses, all its points."""
        free = [box for box in self._without_points() if box.group is None]
        near = {
            group: [box.index for box in free if all(box.misses(point) <= NEAR for point in points)]
            for group, points in groups.items()
        }
        given, _, _ = only_assignment(near)
        homes: dict[Group, Box] = {}
        for group, index in given.items():
            if len(near[group]) > 1:
                continue
            homes[group] = next(box for box in free if box.index == index)
            indices = [index, *(point.index for point in groups[group])]
            message = f"group_id must be that of the points, {group!r}, got none: the only free box around all of them"
            self._find("W330", indices, message, "it was taken as theirs; give both the same group_id to say so")
        return homes

    def _refuse_several(self, group: Group, boxes: Sequence[Box], points: Sequence[Point]) -> None:
        indices = sorted([*(box.index for box in boxes), *(point.index for point in points)])
        problem = must_be("the group", f"one rectangle in group {group!r}", len(boxes))
        if self.options.one_object:
            rule = f"of one object with one rectangle labelled {self.labels.category!r}"
            # Other tools have hints of their own; this is true in all.
            problem = f"{must_be('the image', rule, len(boxes))} rectangles; leave out {_ONE_OBJECT}"
        self._find("E307", indices, problem, "give each object a group_id of its own")
        for box in boxes:
            box.kind = Kind.UNREAD

    def _without_box(self, group: Group, boxes: Sequence[Box], points: Sequence[Point]) -> list[tuple[int, Row]]:
        if any(box.kind is Kind.IGNORED for box in boxes):
            self.ignored.update(point.label for point in points)
            return []
        indices = [point.index for point in points]
        rule = f"one rectangle labelled {self.labels.category!r} in group {group!r}"
        problem = must_be("the group", rule, f"{len(points)} points and none")
        if self.options.one_object:
            rule = f"of one object with one rectangle labelled {self.labels.category!r}"
            problem = must_be("the image", rule, f"{len(points)} points and none")
        makes = self.options.box_from == "keypoints" and not boxes
        free = self._free_for(points, makes=makes)
        if free:
            hint = "give the points and their rectangle the same group_id"
            self._find("E304", indices, f"{problem}; shapes[{free[0].index}], which has no points, may be theirs", hint)
            return []
        if makes:
            values = self._keypoints(self._once_each(points))
            corners = box_round(values, self.options, self.size)
            if corners is not None:
                return [(indices[0], Row(corners, values, place_of(self.file, indices[0]), indices[0]))]
            hint = "its labelled points are outside the image; draw the rectangle in labelme"
        elif boxes:
            hint = f"shapes[{boxes[0].index}] of this group cannot be read as its rectangle"
        else:
            drawn = "draw the rectangle" if self.options.one_object else "draw the rectangle with this group_id"
            hint = f"{drawn}, or make boxes from points with --box-from keypoints"
        self._find("E306", indices, problem, hint)
        return []

    def _without_points(self) -> list[Box]:
        """Return the boxes that have no points, and hold none without a group that might be theirs."""
        if self._quiet is None:
            loose = [point for point in self._points if point.group is None]
            self._quiet = [box for box in self._boxes if not any(map(box.holds, loose))]
        return [box for box in self._quiet if box.kind is Kind.OBJECT and not box.points]

    def _free_for(self, points: Sequence[Point], *, makes: bool) -> list[Box]:
        """Return the boxes without points that may be that of these: a box made of them would be a second one.

        Those are the boxes that the points' extent or the box to be made of them overlaps. Where none is to be made,
        any box without a group too: the hint would have another one made.
        """
        xs, ys = [point.value[0] for point in points], [point.value[1] for point in points]
        extents: list[Corners] = [(min(xs), min(ys), max(xs), max(ys))]
        made = box_round(self._keypoints(points), self.options, self.size)
        if made is not None:
            drawn = [box.corners for box in self._boxes if box.kind is Kind.OBJECT and box.corners]
            extents.append(complete([made, *drawn], self.size)[0][0])
        return [
            box
            for box in self._without_points()
            if (not makes and box.group is None)
            or any(box.corners and overlap(box.corners, extent) for extent in extents)
        ]

    def _once_each(self, points: Sequence[Point]) -> list[Point]:
        by_name: dict[int, list[Point]] = defaultdict(list)
        for point in points:
            by_name[point.keypoint].append(point)
        twice = {keypoint: same for keypoint, same in by_name.items() if len(same) > 1}
        if twice and self.options.one_object:
            self._refuse_second_object(twice)
        else:
            for keypoint, same in twice.items():
                self._refuse_twice(keypoint, same)
        return [same[0] for same in by_name.values() if len(same) == 1]

    def _refuse_second_object(self, twice: Mapping[int, Sequence[Point]]) -> None:
        indices = sorted(point.index for same in twice.values() for point in same)
        names = ", ".join(f"{self.skeleton.names[keypoint]} ({len(same)})" for keypoint, same in twice.items())
        message = must_be("the image", "of one object with each keypoint once", f"several of {names}")
        hint = f"leave out {_ONE_OBJECT} if it shows several objects; else delete or relabel the wrong points"
        self._find("E305", indices, message, hint)

    def _refuse_twice(self, keypoint: int, points: Sequence[Point], also: int | None = None) -> None:
        name = self.skeleton.names[keypoint]
        indices = [point.index for point in points]
        got = f"{len(points)} points" if also is None else f"one more beside shapes[{also}]"
        hint = "none of them is read: delete or relabel the wrong one"
        self._find("E305", indices, must_be(name, "at most one point of an object", got), hint)

    def _place_loose(self, points: Sequence[Point]) -> None:
        """Give each point without group to the one box that can be its own, or report why not."""
        unknown = [box.index for box in self._boxes if box.corners is None]
        clear: dict[int, list[tuple[Point, list[Box]]]] = defaultdict(list)
        outside: list[Point] = []
        for point in points:
            if unknown:
                self._refuse_ambiguous(point, f"shapes[{unknown[0]}] could be one and cannot be read")
                continue
            holders = sorted((box for box in self._boxes if box.holds(point)), key=lambda box: box.area)
            if not holders:
                outside.append(point)
            elif self._is_clear(point, holders):
                own = [box for box in holders if box.kind is Kind.OBJECT]
                clear[point.keypoint].append((point, own))
        decided: list[tuple[Point, list[Box], Box]] = []
        for keypoint, placed in clear.items():
            decided += self._assign(keypoint, placed)
        for point, _, box in decided:
            box.points.append(point)
        several = [one for one in decided if len(one[1]) > 1]
        if several:
            self._note_several(several)
        if outside:
            self._place_outside(outside)

    def _place_outside(self, points: Sequence[Point]) -> None:
        """Give points in no box to the only box that they just miss and that lacks their name; report the rest."""
        owned, lost = just_missed(points, self._boxes)
        if owned:
            self._note_near(owned)
        if lost:
            self._refuse_outside(lost)

    def _note_near(self, owned: Sequence[tuple[Point, Box]]) -> None:
        for point, box in owned:
            box.points.append(point)
        message = told_near(owned)
        hint = "each was given to that rectangle, the only one so near without its name; a group_id of both settles it"
        self._find("W327", [point.index for point, _ in owned], message, hint)

    def _refuse_outside(self, points: Sequence[Point]) -> None:
        rule = f"in a rectangle labelled {self.labels.category!r}, or have a group_id"
        message = told_outside(points, rule)
        one_each = len({one.keypoint for one in self._points}) == len(self._points) > 1
        if one_each and all(box.kind is Kind.IGNORED for box in self._boxes):
            # Other tools have hints of their own; this is true in all.
            message += f"; where every image shows one object, {_ONE_OBJECT} says so"
        hint = "move it into its box, or give both the same group_id"
        self._find("E303", [point.index for point in points], message, hint)

    def _assign(self, keypoint: int, placed: Sequence[tuple[Point, list[Box]]]) -> list[tuple[Point, list[Box], Box]]:
        """Return points of one name with the boxes around them and the one that can only be theirs; report the rest."""
        boxes = {box.index: box for _, holders in placed for box in holders}
        free = {point.index: [b.index for b in holders if not b.has(keypoint)] for point, holders in placed}
        given, contested, rest = only_assignment(free)
        points = {point.index: point for point, _ in placed}
        for group in contested:
            self._refuse_twice(keypoint, [points[index] for index in group])
        for point, holders in placed:
            names = [f"shapes[{box.index}]" for box in holders]
            if point.index in rest and len(holders) > 1:
                reason = f"{', '.join(names[:-1])} and {names[-1]} hold it, and each could own it"
                self._refuse_ambiguous(point, reason)
            elif point.index in rest:
                taken = next((one.index for one in holders[0].points if one.keypoint == keypoint), None)
                self._refuse_twice(keypoint, [point], taken)
        return [(point, holders, boxes[given[point.index]]) for point, holders in placed if point.index in given]

    def _note_several(self, decided: Sequence[tuple[Point, list[Box], Box]]) -> None:
        shown = [
            f"shapes[{point.index}] ({point.label}) lies in {' and '.join(f'shapes[{b.index}]' for b in holders)} "
            f"and was given to shapes[{box.index}]"
            for point, holders, box in decided[:SHOWN]
        ]
        more = f"; and {len(decided) - SHOWN} more" if len(decided) > SHOWN else ""
        message = f"group_id must be given where boxes overlap, got none for {len(decided)} points: "
        hint = "no other choice gives each box each name once; a group_id of box and point settles it"
        self._find("W321", [point.index for point, _, _ in decided], message + "; ".join(shown) + more, hint)

    def _is_clear(self, point: Point, holders: Sequence[Box]) -> bool:
        """Return whether boxes that can be read hold it; else the point is counted as ignored, or reported."""
        smallest = holders[0]
        unread = [box for box in holders if box.kind is Kind.UNREAD]
        if unread:
            self._refuse_ambiguous(point, f"shapes[{unread[0].index}], which holds it, cannot be read")
        elif smallest.kind is Kind.IGNORED and any(box.kind is not Kind.IGNORED for box in holders):
            self._refuse_ambiguous(point, f"shapes[{smallest.index}], the smallest, is left out on purpose")
        elif smallest.kind is Kind.IGNORED:
            self.ignored[point.label] += 1
        else:
            return True
        return False

    def _refuse_ambiguous(self, point: Point, reason: str) -> None:
        rule = "in one rectangle that can only be its own"
        self._find(
            "E304",
            [point.index],
            f"{must_be(f'point {point.label!r}', rule, list(point.value[:2]))}: {reason}",
            "give the point and its rectangle the same group_id",
        )

    def _keypoints(self, points: Iterable[Point]) -> list[PointXYV]:
        values = [_ABSENT] * self.skeleton.num_keypoints
        for point in points:
            values[point.keypoint] = point.value
        return values

    def _row(self, box: Box) -> Row:
        corners = box.corners or (0.0, 0.0, 0.0, 0.0)
        return Row(corners, self._keypoints(box.points), place_of(self.file, box.index), box.index)


def place_of(file: str, index: int) -> str:
    """Return the place of a shape."""
    return f"{file}: shapes[{index}]"
