"""The objects of an image and their keypoints, where no skeleton says yet which labels are keypoints.

A rectangle is an object, a point a keypoint of the rectangle of its group, else of a rectangle around it, as in
objects.py. Where an image has no rectangle with an outline's label, the outline is an object.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from posetools.formats.declared import SeenObject, SeenObjects, UnsurePoint
from posetools.formats.joining.boxes_and_points import NEAR_BOX, Box, BoxKind, Point, around, center, is_outline
from posetools.formats.joining.shape_labels import Group, compiled_pattern
from posetools.formats.labelme.model import AnyShape, BadShape, SoundShape

_ROUND = frozenset({"circle", "ellipse"})


def add_shapes(seen: SeenObjects, shapes: Sequence[AnyShape]) -> None:
    """Add the objects of an image.

    Args:
        seen: receives them.
        shapes: the image's shapes.

    Raises:
        RequestError: the label pattern is invalid.
    """
    pattern = compiled_pattern(seen.options.label_pattern)
    image = _Image(one_object=seen.options.one_object)
    sound = [shape for shape in shapes if not isinstance(shape, BadShape)]
    read = [(*_label(shape, pattern), shape) for shape in sound]
    rectangles = {label for label, _, shape in read if shape.shape_type == "rectangle"}
    for label, group, shape in read:
        if shape.shape_type == "rectangle" or (label not in rectangles and _is_object(shape)):
            image.add_box(label, group, shape)
    labels = {one.label for one in image.objects}
    for label, group, shape in read:
        if label and label not in labels and _is_point(shape):
            image.add_point(label, group, shape)
    image.join()
    seen.add(image.objects, image.unsure)


def _label(shape: SoundShape, pattern: re.Pattern[str] | None) -> tuple[str, Group | None]:
    """Return a shape's label and group; of a label that is only an object's and its number, the text before it."""
    found = pattern.fullmatch(shape.label) if pattern else None
    if found is None:
        return shape.label, shape.group_id
    instance = found.groupdict().get("instance")
    group = shape.group_id if instance is None else instance
    if found["name"] or instance is None:
        return found["name"] or shape.label, group
    return re.sub(r"[\W_]+$", "", shape.label[: found.start("instance")]), group


def _is_object(shape: SoundShape) -> bool:
    return shape.shape_type not in _ROUND and is_outline(shape)


def _is_point(shape: SoundShape) -> bool:
    if shape.shape_type in ("point", "points"):
        return len(shape.points) == 1
    return shape.shape_type in _ROUND and is_outline(shape)


@dataclass
class _Image:
    one_object: bool
    objects: list[SeenObject] = field(default_factory=list)
    unsure: list[UnsurePoint] = field(default_factory=list)
    _boxes: list[Box] = field(default_factory=list)
    _points: list[Point] = field(default_factory=list)

    def add_box(self, label: str, group: Group | None, shape: SoundShape) -> None:
        if shape.points:
            self._boxes.append(Box(len(self.objects), group, BoxKind.OBJECT, around(shape)))
            self.objects.append(SeenObject(label, []))

    def add_point(self, label: str, group: Group | None, shape: SoundShape) -> None:
        self._points.append(Point(len(self._points), group, label, 0, (*center(shape), 2)))

    def join(self) -> None:
        """Give each point to the object that it can only belong to."""
        by_group: dict[Group | None, list[Point]] = defaultdict(list)
        for point in self._points:
            by_group[None if self.one_object else point.group].append(point)
        for group, points in by_group.items():
            own = [box for box in self._boxes if box.group == group is not None] or self._around(points, group)
            if own:
                for point in points:
                    self._give(point, own)
            elif group is None and self._boxes:
                for point in points:
                    self._give(point, list(self._owners(point)))
            else:
                self.objects.append(SeenObject("", [point.label for point in points]))

    def _around(self, points: Sequence[Point], group: Group | None) -> list[Box]:
        """Return the boxes that may own all points of a group without a box; of an image with one object, its boxes."""
        if self.one_object:
            return self._boxes
        free = [box for box in self._boxes if group is not None and box.group is None]
        return [box for box in free if all(box.misses(point) <= NEAR_BOX for point in points)]

    def _owners(self, point: Point) -> Iterator[Box]:
        """Yield the boxes around a point, the smallest first; else the only one that it just misses."""
        holders = sorted((box for box in self._boxes if box.holds(point)), key=lambda box: box.area)
        near = [box for box in self._boxes if not holders and box.misses(point) <= NEAR_BOX]
        yield from holders or (near if len(near) == 1 else [])

    def _give(self, point: Point, boxes: Sequence[Box]) -> None:
        owners = [self.objects[box.index] for box in boxes]
        lacking = [one for one in owners if point.label not in one.keypoints] or owners
        if len({one.label for one in owners}) > 1:
            self.unsure.append(UnsurePoint(point.label, [box.index for box in boxes]))
        elif lacking:
            lacking[0].keypoints.append(point.label)
