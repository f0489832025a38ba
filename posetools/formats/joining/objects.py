"""From the shapes of one image to its objects: assigns points to boxes for labelme, CVAT, Label Studio and VIA.

With a group (``group_id``, or the instance in a label) points belong to the rectangle of their group. Without
one, a point belongs to the only possible box: of the boxes that contain points of one keypoint, and lack it, there
must be a single way to give each point one (``only_assignment``). Ambiguous cases are findings:

- several boxes are possible, or none contains the point (a box just next to it is used if it is the only one);
- two points without a group have one box and the same keypoint, or the box has that keypoint already;
- the smallest box is left out on purpose while another one also contains the point;
- a box around the point, or a shape that could be a box, could not be read: reported in that shape's finding.

Points of a group without a rectangle belong to the one rectangle without a group that contains, or just misses, all of
them; so do points of one element (a CVAT skeleton, keypoints in their order), unless several boxes contain them.

Uses plain floats: with the few shapes of a file, arrays cost more than they save.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from posetools.core.categories import Categories
from posetools.errors import Place, must_be
from posetools.formats.joining.boxes_and_points import (
    NEAR_BOX,
    SHOWN_POINTS,
    Box,
    BoxKind,
    Point,
    just_missed,
    overlap,
    told_near,
    told_outside,
)
from posetools.formats.joining.made_boxes import box_round, complete
from posetools.formats.joining.shape_labels import Group, Labels, SharedGroup
from posetools.formats.joining.sorting import Sorter
from posetools.formats.joining.wording import ShapeReport
from posetools.formats.labelme.model import AnyShape
from posetools.formats.options import ReadOptions
from posetools.formats.reading import Corners, PointXYV, Row

# The group of all shapes if an image shows one object.
_THE_ONE = "the image"
_ONE_OBJECT = "--one-object-per-image"
_ABSENT: PointXYV = (0.0, 0.0, 0)


@dataclass
class FileShapes:
    """Joins the shapes of one image to objects; every shape ends up in rows, in the report or in ``ignored``.

    Attributes:
        size: (width, height) of the image.
        categories: the categories, each with its skeleton.
        labels: how to read labels.
        options: the user's options.
        report: errors and warnings.
        ignored: label -> how many shapes are left out on purpose.
    """

    size: tuple[int, int]
    categories: Categories
    labels: Labels
    options: ReadOptions
    report: ShapeReport
    ignored: Counter[str] = field(default_factory=Counter)
    _boxes: list[Box] = field(default_factory=list)
    _points: list[Point] = field(default_factory=list)
    # The boxes without loose points in them; computed once, as every group without a box needs it.
    _quiet: list[Box] | None = None
    # Why points without a group could have several boxes -> these points.
    _ambiguous: dict[str, list[Point]] = field(default_factory=dict)

    def read(self, shapes: Sequence[AnyShape]) -> list[Row]:
        """Return the objects in the order of their rectangles."""
        sorter = Sorter(self.categories, self.labels, self.options, self.report)
        sorter.sort(shapes)
        self._boxes, self._points, self.ignored = sorter.boxes, sorter.points, sorter.ignored
        if self.options.one_object:
            # Shapes that are left out on purpose are not part of the object, and keep their points.
            for box in self._boxes:
                if box.kind is not BoxKind.IGNORED:
                    box.group = _THE_ONE
            for point in self._points:
                point.group = _THE_ONE
        loose = [point for point in self._points if point.group is None]
        rows = self._join_groups()
        if loose:
            self._place_loose(loose)
        rows += [(box.index, self._row(box)) for box in self._boxes if box.kind is BoxKind.OBJECT]
        self.report.close()
        return [row for _, row in sorted(rows, key=lambda pair: pair[0])]

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
        for group in sorted({*boxes, *points}, key=_order):
            own = [box for box in boxes[group] if box.kind is BoxKind.OBJECT]
            if len(own) == 1:
                own[0].points += self._once_each(self._of_category(own[0], points[group]))
            elif own:
                self._refuse_several(group, own, points[group])
            elif points[group]:
                alone.append(group)
        homes, unclear = self._houses({group: points[group] for group in alone if isinstance(group, SharedGroup)})
        lone = [group for group in alone if not boxes[group] and group not in homes and group not in unclear]
        homes |= self._free_homes({group: points[group] for group in lone})
        for group in alone:
            if group in homes:
                homes[group].points += self._once_each(self._of_category(homes[group], points[group]))
            elif group not in unclear:
                rows += self._without_box(group, boxes[group], points[group])
        return rows

    def _houses(self, groups: Mapping[Group, Sequence[Point]]) -> tuple[dict[Group, Box], set[Group]]:
        """Return the box of each unnamed group: the only possible one around it.

        Also return the groups that are reported because several boxes are possible.
        """
        free = {box.index: box for box in self._boxes if box.kind is BoxKind.OBJECT and not box.points}
        around = {
            group: [index for index, box in free.items() if all(map(box.holds, points))]
            for group, points in groups.items()
        }
        holders = {group: indices for group, indices in around.items() if indices}
        given, contested, rest = only_assignment(holders)
        words, name = self.report.words, self._name
        for same in (*contested, *([group] for group in rest)):
            for group in same:
                others = [*map(self.report.named, holders[group]), *(name(one) for one in same if one != group)]
                rule = "in only one possible box, or joined with it"
                message = must_be(name(group), rule, " and ".join(others))
                self.report.tell("E304", name(group), message, words.join)
        decided = [name(group) for group in given if len(holders[group]) > 1]
        if decided:
            message = f"{words.group} must be given where boxes overlap, got none for {', '.join(decided)}"
            hint = f"to be explicit, {words.join}: each was assigned to the only possible box"
            self.report.find("W321", Place.several(*decided), message, hint)
        return {group: free[index] for group, index in given.items()}, {*holders} - {*given}

    def _free_homes(self, groups: Mapping[Group, Sequence[Point]]) -> dict[Group, Box]:
        """Return the free box of each group without one: the only one that contains, or just misses, all its points."""
        free = self._without_points()
        near = {
            group: [
                box.index
                for box in free
                if (box.group is None or isinstance(group, SharedGroup))
                and all(box.misses(p) <= NEAR_BOX for p in points)
            ]
            for group, points in groups.items()
        }
        given, _, _ = only_assignment(near)
        homes: dict[Group, Box] = {}
        for group, index in given.items():
            if len(near[group]) > 1:
                continue
            homes[group] = next(box for box in free if box.index == index)
            indices = [index, *(point.index for point in groups[group])]
            word, join = self.report.words.group, self.report.words.join
            message = f"{word} must join the points with their box, got none: used the only free box around all"
            self.report.find("W330", sorted({*indices}), message, f"to be explicit, {join}")
        return homes

    def _refuse_several(self, group: Group, boxes: Sequence[Box], points: Sequence[Point]) -> None:
        indices = sorted({*(box.index for box in boxes), *(point.index for point in points)})
        what, hint = self._name(group), self.report.words.part
        if self.options.one_object:
            what, hint = "the image", f"leave out {_ONE_OBJECT} if it shows several objects, or delete the wrong box"
        self.report.tell("E307", indices, f"{what} must have one rectangle, got {len(boxes)}", hint)
        for box in boxes:
            box.kind = BoxKind.UNREAD

    def _without_box(self, group: Group, boxes: Sequence[Box], points: Sequence[Point]) -> list[tuple[int, Row]]:
        words = self.report.words
        if any(box.kind is BoxKind.IGNORED for box in boxes):
            self.ignored.update(point.label for point in points)
            return []
        indices = _indices(points)
        unread = boxes or [box for box in self._boxes if box.group is None and _may_be_of(box, points)]
        if unread:
            self.report.dependents[unread[0].index] += indices
            return []
        what = "the image" if self.options.one_object else self._name(group)
        number = f"{len(points)} points" if len(points) > 1 else "1 point"
        problem = f"{what} must have one rectangle labeled {self.categories.told}, got none for {number}"
        makes = self.options.box_from == "keypoints"
        free = self._free_for(points, makes=makes)
        if free:
            problem += f"; {self.report.named(free[0].index)} has no points and may be theirs"
            self.report.tell("E304", indices, problem, self.report.words.join)
            return []
        category = self._only_category(points)
        if makes and category is not None:
            values = self._keypoints(self._once_each(points))
            corners = box_round(values, self.options, self.size)
            if corners is not None:
                return [(indices[0], Row(corners, values, self.report.place_of(indices[0]), category))]
            hint = "draw the rectangle: its labeled points are outside the image"
        elif makes:
            hint = "draw the rectangle: its points are not those of exactly one category"
        else:
            drawn = "draw the rectangle" if self.options.one_object else f"draw the rectangle and {words.join}"
            hint = f"{drawn}, or make boxes from points with --box-from keypoints"
        self.report.tell("E306", indices, problem, hint)
        return []

    def _of_category(self, box: Box, points: Sequence[Point]) -> list[Point]:
        """Return the points that the box's category has; report the others."""
        others = [point for point in points if not box.may_have(point)]
        if others:
            category = self.categories[box.category_id]
            names = ", ".join(dict.fromkeys(self.categories.names[point.keypoint] for point in others))
            rule = f"keypoints of {category.category.name!r}, as {self.report.named(box.index)} is"
            hint = f"{self.report.words.part}, or relabel the wrong shape"
            cause = "the points of an object must be keypoints of its category"
            self.report.tell("E302", _indices(others), must_be("points", rule, names), hint, cause)
        return [point for point in points if box.may_have(point)]

    def _only_category(self, points: Sequence[Point]) -> int | None:
        """Return the id of the only category that has all these keypoints; None: there are none, or several."""
        wanted = {point.keypoint for point in points}
        fits = [number for number, columns in self.categories.columns.items() if wanted <= {*columns.tolist()}]
        return fits[0] if len(fits) == 1 else None

    def _without_points(self) -> list[Box]:
        """Return the boxes without points, and without loose points in them that may be theirs."""
        if self._quiet is None:
            loose = [point for point in self._points if point.group is None]
            self._quiet = [box for box in self._boxes if not any(map(box.holds, loose))]
        return [box for box in self._quiet if box.kind is BoxKind.OBJECT and not box.points]

    def _free_for(self, points: Sequence[Point], *, makes: bool) -> list[Box]:
        """Return the boxes without points that may belong to these points: a box made from them would be a second one.

        These are the boxes that overlap the points' extent or the box to be made from them. If no box is made, any box
        without a group counts too, as the hint suggests making one.
        """
        xs, ys = [point.value[0] for point in points], [point.value[1] for point in points]
        extents: list[Corners] = [(min(xs), min(ys), max(xs), max(ys))]
        made = box_round(self._keypoints(points), self.options, self.size)
        if made is not None:
            drawn = [box.corners for box in self._boxes if box.kind is BoxKind.OBJECT and box.corners]
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
        if twice and (self.options.one_object or len(twice) > 1):
            self._refuse_second_object(twice)
        else:
            for keypoint, same in twice.items():
                self._refuse_twice(keypoint, same)
        return [same[0] for same in by_name.values() if len(same) == 1]

    def _refuse_second_object(self, twice: Mapping[int, Sequence[Point]]) -> None:
        indices = _indices(point for same in twice.values() for point in same)
        names = ", ".join(f"{self.categories.names[keypoint]} ({len(same)})" for keypoint, same in twice.items())
        what, hint = "the group", self.report.words.part
        if self.options.one_object:
            what, hint = "the image", f"leave out {_ONE_OBJECT} if it shows several objects"
        message = must_be(what, "of one object with each keypoint once", f"several of {names}")
        hint = f"{hint}, or delete or relabel the wrong points"
        self.report.tell("E305", indices, message, hint)

    def _refuse_twice(self, keypoint: int, points: Sequence[Point], also: int | None = None) -> None:
        name = self.categories.names[keypoint]
        indices = [point.index for point in points]
        got = f"{len(points)} points" if also is None else f"another one in {self.report.named(also)}"
        hint = "delete or relabel the wrong one: none of them is read"
        self.report.tell("E305", indices, must_be(name, "at most one point of an object", got), hint)

    def _place_loose(self, points: Sequence[Point]) -> None:
        """Give each point without a group to the only possible box, or report why not."""
        unknown = [box.index for box in self._boxes if box.corners is None]
        clear: dict[int, list[tuple[Point, list[Box]]]] = defaultdict(list)
        outside: list[Point] = []
        for point in points:
            if unknown:
                self.report.dependents[unknown[0]].append(point.index)
                continue
            holders = sorted((box for box in self._boxes if box.holds(point)), key=lambda box: box.area)
            if not holders:
                outside.append(point)
            elif self._is_clear(point, holders):
                own = [box for box in holders if box.kind is BoxKind.OBJECT]
                clear[point.keypoint].append((point, own))
        decided: list[tuple[Point, list[Box], Box]] = []
        for keypoint, placed in clear.items():
            decided += self._assign(keypoint, placed)
        for point, _, box in decided:
            box.points.append(point)
        self._refuse_ambiguous()
        several = [one for one in decided if len(one[1]) > 1]
        if several:
            self._note_several(several)
        if outside:
            self._place_outside(outside)

    def _place_outside(self, points: Sequence[Point]) -> None:
        """Give points in no box to the only box that is near and lacks their keypoint; report the rest."""
        owned, lost = just_missed(points, self._boxes)
        if owned:
            self._note_near(owned)
        flat = [box for box in self._boxes if box.kind is BoxKind.UNREAD and not box.area]
        if lost and flat:
            # The content of a box without width or height is unknown; the box's own finding reports it.
            self.report.dependents[flat[0].index] += _indices(lost)
        elif lost:
            self._refuse_outside(lost)

    def _note_near(self, owned: Sequence[tuple[Point, Box]]) -> None:
        for point, box in owned:
            box.points.append(point)
        message = told_near(owned, self.report.named)
        join = self.report.words.join
        hint = f"to be explicit, {join}: each was assigned to the only rectangle near it without this keypoint"
        self.report.find("W327", [point.index for point, _ in owned], message, hint)

    def _refuse_outside(self, points: Sequence[Point]) -> None:
        rule = f"in a rectangle labeled {self.categories.told}, or joined with one"
        message = told_outside(points, rule)
        one_each = len({one.keypoint for one in self._points}) == len(self._points)
        hint = f"move it into its box, or {self.report.words.join}"
        if one_each and all(box.kind is BoxKind.IGNORED for box in self._boxes):
            hint = f"if every image shows one object, add {_ONE_OBJECT}; else {hint}"
        self.report.tell("E303", [point.index for point in points], message, hint)

    def _assign(self, keypoint: int, placed: Sequence[tuple[Point, list[Box]]]) -> list[tuple[Point, list[Box], Box]]:
        """Return points of one keypoint with the boxes around them and the only possible box; report the rest."""
        boxes = {box.index: box for _, holders in placed for box in holders}
        free = {point.index: [b.index for b in holders if not b.has(keypoint)] for point, holders in placed}
        given, contested, rest = only_assignment(free)
        points = {point.index: point for point, _ in placed}
        for group in contested:
            self._refuse_twice(keypoint, [points[index] for index in group])
        for point, holders in placed:
            names = [self.report.named(box.index) for box in holders]
            if point.index in rest and len(holders) > 1:
                reason = f"{', '.join(names[:-1])} and {names[-1]} contain {{them}}"
                self._ambiguous.setdefault(reason, []).append(point)
            elif point.index in rest:
                taken = next((one.index for one in holders[0].points if one.keypoint == keypoint), None)
                self._refuse_twice(keypoint, [point], taken)
        return [(point, holders, boxes[given[point.index]]) for point, holders in placed if point.index in given]

    def _note_several(self, decided: Sequence[tuple[Point, list[Box], Box]]) -> None:
        named, words = self.report.named, self.report.words
        shown = [
            f"{named(point.index)} ({point.label}) is in {self.report.all_named(b.index for b in holders)} "
            f"and was assigned to {named(box.index)}"
            for point, holders, box in decided[:SHOWN_POINTS]
        ]
        more = f"; and {len(decided) - SHOWN_POINTS} more" if len(decided) > SHOWN_POINTS else ""
        message = f"{words.group} must be given where boxes overlap, got none for {len(decided)} points: "
        hint = f"to be explicit, {words.join}: no other choice gives each box each keypoint once"
        self.report.find("W321", [point.index for point, _, _ in decided], message + "; ".join(shown) + more, hint)

    def _is_clear(self, point: Point, holders: Sequence[Box]) -> bool:
        """Return whether readable boxes contain the point; if not, count it as ignored, or report it."""
        smallest = holders[0]
        unread = [box for box in holders if box.kind is BoxKind.UNREAD]
        if unread:
            self.report.dependents[unread[0].index].append(point.index)
        elif smallest.kind is BoxKind.IGNORED and any(box.kind is not BoxKind.IGNORED for box in holders):
            reason = f"{self.report.named(smallest.index)}, the smallest, is left out on purpose"
            self._ambiguous.setdefault(reason, []).append(point)
        elif smallest.kind is BoxKind.IGNORED:
            self.ignored[point.label] += 1
        else:
            return True
        return False

    def _refuse_ambiguous(self) -> None:
        """Report the points with several possible boxes: one finding for those with the same boxes."""
        for reason, points in self._ambiguous.items():
            several = len(points) > 1
            rule = "in only one possible rectangle"
            message = f"{told_outside(points, rule)}: {reason.format(them='them' if several else 'it')}"
            self.report.tell("E304", [point.index for point in points], message, self.report.words.join)

    def _keypoints(self, points: Iterable[Point]) -> list[PointXYV]:
        values = [_ABSENT] * self.categories.num_keypoints
        for point in points:
            values[point.keypoint] = point.value
        return values

    def _row(self, box: Box) -> Row:
        corners = box.corners or (0.0, 0.0, 0.0, 0.0)
        return Row(corners, self._keypoints(box.points), self.report.place_of(box.index), box.category_id)

    def _name(self, group: Group) -> str:
        return (group.name or self.report.named(group.first)) if isinstance(group, SharedGroup) else f"group {group!r}"


def _may_be_of(box: Box, points: Sequence[Point]) -> bool:
    """Return whether an unreadable box contains all points, so that it may be theirs."""
    return box.kind is BoxKind.UNREAD and box.corners is not None and all(map(box.holds, points))


def _order(group: Group) -> tuple[int, int, str]:
    if isinstance(group, SharedGroup):
        return 2, group.first, ""
    return (1, 0, group) if isinstance(group, str) else (0, group, "")


def _indices(points: Iterable[Point]) -> list[int]:
    """Return the shapes of points, each once: one shape may have several points."""
    return sorted({point.index for point in points})


_Key = TypeVar("_Key", bound=Hashable)


def only_assignment(holders: Mapping[_Key, Sequence[int]]) -> tuple[dict[_Key, int], list[list[_Key]], list[_Key]]:
    """Return the box of each point of one keypoint, where there is a single way to give every point its own box.

    A point with one box left gets it, which may leave another point with one. If all remaining points have two boxes or
    more, each of them could also have another: starting from a matching that covers the points, follow from any point a
    box it does not own to the point that does, until a box is free or repeats; this gives a second matching.

    Args:
        holders: point -> the boxes that may own it, without repetition.

    Returns:
        Point -> its box, for points with only one possible box; the groups of points that have the same single box
        left; and all others.
    """
    left = {point: set(boxes) for point, boxes in holders.items()}
    given: dict[_Key, int] = {}
    contested: list[list[_Key]] = []
    while forced := {next(iter(boxes)) for boxes in left.values() if len(boxes) == 1}:
        for box in forced:
            mine = [point for point, boxes in left.items() if boxes == {box}]
            if len(mine) == 1:
                given[mine[0]] = box
            else:
                contested.append(mine)
            for point in mine:
                del left[point]
            for boxes in left.values():
                boxes.discard(box)
    return given, contested, list(left)
