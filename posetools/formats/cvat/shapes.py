"""From the elements of one image of a CVAT file to shapes that labelme's rules can join.

A skeleton is its points with one group; the box of that group is the object's. CVAT keeps group_id per task, 0 is none.
A skeleton without a group gets a SharedGroup, whose box formats/joining/ finds.

A point's visibility attributes are read as in labelme. An attribute may also name the keypoint of a point whose label
is unknown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from posetools.core.categories import Categories
from posetools.core.findings import Finding
from posetools.errors import Place, must_be
from posetools.formats.cvat.model import (
    BadElement,
    CvatBox,
    CvatEllipse,
    CvatImage,
    CvatOutline,
    CvatShape,
    CvatValue,
    Mask,
    PointSet,
)
from posetools.formats.joining.label_hints import Advice
from posetools.formats.joining.shape_labels import Group, Labels, SharedGroup
from posetools.formats.joining.shapes import (
    PlacedShape,
    bad_shape,
    ellipse_corners,
    hull,
    made_shape,
    point_shape,
    rotated_corners,
)
from posetools.formats.joining.visibility_words import of_key
from posetools.formats.labelme.model import Shape
from posetools.formats.labels import near_name, unknown_label
from posetools.formats.unknown_labels import UnknownLabel

_FALSE_OR_EMPTY = frozenset({"false", "0", "no", "off", ""})


@dataclass(slots=True)
class _Skeleton:
    shape: CvatShape
    points: list[tuple[float, float]]
    group: Group | None = None

    @property
    def is_empty(self) -> bool:
        return all(_is_outside(part) for part in self.shape.parts)


@dataclass
class ImageShapes:
    """Sorts the elements of one image into ``shapes``, ``findings`` and ``ignored``.

    Attributes:
        file: the file's name, for findings.
        image: the image's entry.
        categories: the categories, each with its skeleton.
        labels: how labels are read.
        shapes: for labelme's rules to join.
        findings: on all that these rules do not check.
        ignored: label -> how many shapes are left out on purpose.
        dropped: what is not carried over -> how often it occurs.
        repairs: unusual values that were read -> how often.
    """

    file: str
    image: CvatImage
    categories: Categories
    labels: Labels
    shapes: list[PlacedShape] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)

    def sort(self) -> None:
        """Fill ``shapes``, ``findings``, ``ignored``, ``dropped`` and ``repairs``."""
        skeletons: list[_Skeleton] = []
        for shape in self.image.shapes:
            if shape.kind == "skeleton":
                skeletons += self._skeleton(shape)
            elif shape.kind == "tag":
                self._tag(shape)
            else:
                self._add(shape, _group(shape))
        for one in self._joined(skeletons):
            group = SharedGroup(len(self.shapes), one.shape.place) if one.group is None else one.group
            for part in one.shape.parts:
                self._add(part, group)

    def _find(self, code: str, skeletons: Sequence[_Skeleton], message: str, hint: str) -> None:
        place = Place.within(self.image.place, *(one.shape.place for one in skeletons))
        self.findings.append(Finding(code, self.file, place, message, hint))

    def _tag(self, shape: CvatShape) -> None:
        label = shape.value.label or ""
        if self.labels.is_ignored(label):
            self.ignored[label] += 1
        else:
            self.dropped[f"tag {label!r}"] += 1

    def _skeleton(self, shape: CvatShape) -> list[_Skeleton]:
        """Return the skeleton if it is of the category; else add a finding."""
        value, label, place = shape.value, shape.value.label, Place.within(self.image.place, shape.place)
        if label is not None and self.labels.is_ignored(label):
            self.ignored[label] += 1
        elif isinstance(value, BadElement):
            place = Place.field(place, value.field)
            self.findings.append(Finding("E311", self.file, place, value.problem, "correct the skeleton in CVAT"))
        elif self.labels.read(value.label).name not in self.categories.ids:
            rule = f"the category {self.categories.told}"
            parts = tuple(part.value.label for part in shape.parts if part.value.label)
            self.findings.append(
                replace(self._unknown_skeleton(value.label, place, rule), of="rectangle", points=parts, ways="")
            )
        else:
            self._note(shape, rotation=value.rotation)
            seen = [part for part in shape.parts if not _is_outside(part)]
            points = [xy for part in seen if isinstance(part.value, PointSet) for xy in part.value.points]
            return [_Skeleton(shape, points, _group(shape))]
        return []

    def _unknown_skeleton(self, label: str, place: str, rule: str) -> UnknownLabel:
        category = next(iter(self.categories.ids)) if len(self.categories) == 1 else "NAME"
        # It can only be the category, so the hint is complete.
        typed = (
            f"--map '{label}={category}' maps it to the category; --ignore '{label}' leaves it out with its points; "
        )
        advice = None
        if not near_name(label, self.categories.ids):
            advice = Advice(f"{typed}--skeleton FILE for another object")
        return unknown_label(
            label, [*self.categories.ids], file=self.file, place=place, field="label", rule=rule, advice=advice
        )

    def _joined(self, skeletons: Sequence[_Skeleton]) -> list[_Skeleton]:
        """Return the skeletons that can be read, each with its group."""
        grouped: dict[Group, list[_Skeleton]] = defaultdict(list)
        for one in skeletons:
            if one.group is not None:
                grouped[one.group].append(one)
        boxed = {shape.group_id for _, shape in self.shapes}
        kept = []
        for group, same in grouped.items():
            if len(same) == 1 and same[0].is_empty and group not in boxed:
                self._refuse_empty(same[0])
            elif len(same) == 1:
                kept += same
            else:
                rule = f"one skeleton and its box in group {group}"
                message = must_be("the group", rule, f"{len(same)} skeletons")
                self._find("E307", same, message, "give each object its own group")
        for one in (one for one in skeletons if one.group is None):
            if one.is_empty:
                self._refuse_empty(one)
            else:
                kept.append(one)
        order = {one.shape.place: index for index, one in enumerate(skeletons)}
        return sorted(kept, key=lambda one: order[one.shape.place])

    def _refuse_empty(self, one: _Skeleton) -> None:
        rule = "a skeleton with a point that is not outside, or in the group of a box"
        message = must_be(one.shape.place, rule, f"{len(one.shape.parts)} points outside")
        self._find("E306", [one], message, "delete it in CVAT, or group it with its box")

    def _add(self, shape: CvatShape, group: Group | None) -> None:
        value, place = shape.value, shape.place
        if isinstance(value, BadElement):
            bad = bad_shape(value.label, group, value.field, value.problem, is_point=shape.kind == "points")
            self.shapes.append(PlacedShape(place, bad))
        elif isinstance(value, PointSet):
            self._points(shape, value, group)
        elif isinstance(value, CvatBox):
            is_keypoint = self._is_keypoint(value.label)
            self._note(shape, rotation=value.rotation, occluded=value.occluded and not is_keypoint)
            box = made_shape(value.label, "rectangle", extent_of(value), group)
            self.shapes.append(PlacedShape(place, self._seen(shape, value, box)))
        else:
            other = made_shape(value.label, shape.kind, extent_of(value), group)
            self.shapes.append(PlacedShape(place, self._seen(shape, value, other)))

    def _is_keypoint(self, label: str) -> bool:
        return self.labels.read(label).name in self.labels.index

    def _seen(self, shape: CvatShape, value: CvatValue, made: Shape) -> Shape:
        """Return a shape other than a single point, with the visibility of its keypoints."""
        if not self._is_keypoint(value.label) and shape.kind not in ("points", "polyline"):
            return made
        said = {name: text for name, text in shape.attributes.items() if self._tells(name, text)}
        hidden = {"difficult": True} if value.occluded else {}
        return made.model_copy(update={**hidden, **({"attributes": said} if said else {})})

    def _points(self, shape: CvatShape, value: PointSet, group: Group | None) -> None:
        if value.outside:
            return
        said = {name: text for name, text in shape.attributes.items() if self._tells(name, text)}
        name = self._name_in(shape) or value.label
        if name != value.label:
            self.repairs[f"points labeled {value.label!r} were named by an attribute that is a keypoint's name"] += 1
        self._note(shape, rotation=value.rotation, named=name != value.label)
        if len(value.points) == 1:
            point = point_shape(name, *value.points[0], group, hidden=value.occluded)
            if said:
                point = point.model_copy(update={"attributes": said})
            self.shapes.append(PlacedShape(shape.place, point))
        else:
            # formats/joining/ reports that a keypoint is one pair.
            many = made_shape(value.label, "point", value.points, group)
            self.shapes.append(PlacedShape(shape.place, self._seen(shape, value, many)))

    def _tells(self, name: str, text: str) -> bool:
        """Return whether an attribute sets a point's visibility; a mark that is off is CVAT's default."""
        if name.casefold() in self.labels.hidden and text.casefold() in _FALSE_OR_EMPTY:
            return False
        return of_key(name, text, self.labels.hidden) is not None

    def _name_in(self, shape: CvatShape) -> str | None:
        """Return the keypoint that an attribute names, for a point with an unknown label."""
        label = shape.value.label or ""
        is_one = isinstance(shape.value, PointSet) and len(shape.value.points) == 1
        if not is_one or self.labels.is_ignored(label) or self.labels.read(label).name in self.labels.index:
            return None
        named = [text for text in shape.attributes.values() if self.labels.read(text).name in self.labels.index]
        return named[0] if len(named) == 1 else None

    def _note(self, shape: CvatShape, *, rotation: float = 0.0, occluded: bool = False, named: bool = False) -> None:
        """Count what a Dataset cannot store; ``named``: an attribute is the keypoint's name."""
        label = shape.value.label or ""
        if self.labels.is_ignored(label):
            return
        for name, text in shape.attributes.items():
            holds_keypoints = shape.kind in ("points", "polyline") or self._is_keypoint(label)
            is_mark = holds_keypoints and (name.casefold() in self.labels.hidden or self._tells(name, text))
            is_name = named and self.labels.read(text).name in self.labels.index
            if not is_mark and not is_name:
                self.dropped[f"attribute {name!r}"] += 1
        if rotation:
            self.dropped[f"rotation of {shape.kind} elements (a box becomes its upright bounding box)"] += 1
        if occluded:
            self.dropped["occluded of box elements"] += 1


def _group(shape: CvatShape) -> Group | None:
    return shape.value.group_id or None


def _is_outside(shape: CvatShape) -> bool:
    return isinstance(shape.value, PointSet) and shape.value.outside


def extent_of(value: CvatValue) -> list[tuple[float, float]]:
    """Return a shape's points; two opposite corners of a box, an ellipse or a mask, a rotated one's upright."""
    if isinstance(value, CvatBox):
        corners = [(value.xtl, value.ytl), (value.xbr, value.ybr)]
        sides = (value.xbr - value.xtl, value.ybr - value.ytl)
        turned = value.rotation and hull(rotated_corners(*corners[0], *sides, value.rotation, about_center=True))
        return turned or corners
    if isinstance(value, CvatOutline | PointSet):
        return value.points
    if isinstance(value, CvatEllipse):
        return ellipse_corners(value.cx, value.cy, value.rx, value.ry, value.rotation)
    if isinstance(value, Mask):
        return [(value.left, value.top), (value.left + value.width, value.top + value.height)]
    return []
