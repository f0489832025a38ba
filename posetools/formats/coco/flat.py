"""COCO files in which every keypoint is an object with its own category, joined to the objects by their boxes.

RectLabel writes such files, and so does CVAT for a task with plain points. A keypoint belongs to an object if it is in
exactly one box of the object's category. It is visible unless its object is marked as occluded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posetools.core.categories import Categories
from posetools.core.dataset import Visibility
from posetools.core.skeleton import Skeleton
from posetools.errors import first_names, show_value
from posetools.formats.coco.model import Note, drawn_box, raw_place
from posetools.formats.options import ReadOptions
from posetools.formats.plain_numbers import number_in

# Maximum size of a keypoint's own box relative to its object's; a larger box is no point.
_TINY = 0.1
_IN_ONE_BOX = "a keypoint must be in exactly one box of the object's category"
_IN_NO_BOX = f"{_IN_ONE_BOX}, got none"
_EXPORT_KEYPOINTS = "export keypoints as parts of objects (in CVAT: format 'CVAT for images 1.1')"
_SHOWN_NAMES = 6


# x, y and visibility.
_Point = tuple[float, float, int]


@dataclass(frozen=True, slots=True)
class _Box:
    index: int
    image: int
    corners: tuple[float, float, float, float]


def join_categories(
    document: Mapping[str, Any], categories: Categories, options: ReadOptions
) -> tuple[Mapping[str, Any], tuple[Note, ...]]:
    """Return a document whose objects have their keypoints, and notes; a regular document stays as it is.

    Args:
        document: the parsed file; it is not changed.
        categories: if there is only one, its keypoints are searched for among the file's categories.
        options: names, and whether to join such keypoints.
    """
    if len(categories) > 1:
        return document, ()
    skeleton = categories.only
    points, ours = _roles(document["categories"], skeleton, options)
    if len(points) < 2:
        return document, ()
    if options.keypoints_from != "categories":
        return document, (_told(points, skeleton),)
    if options.one_object:
        document, ours = _one_each(document, points, ours, skeleton)
    return _joined(document, points, ours, skeleton, one_object=options.one_object)


def _one_each(
    document: Mapping[str, Any], points: Mapping[int, str], ours: set[int], skeleton: Skeleton
) -> tuple[Mapping[str, Any], set[int]]:
    """Return a document with an object without a box added to every image that has only keypoints."""
    annotations, categories = list(document["annotations"]), list(document["categories"])
    known = [entry for entry in annotations if _has_ids(entry)]
    drawn = {entry["image_id"] for entry in known if entry["category_id"] in ours}
    bare = dict.fromkeys(entry["image_id"] for entry in known if entry["category_id"] in points)
    category = min(ours, default=max(points) + 1)
    if not ours:
        used = {entry["id"] for entry in categories if isinstance(entry, dict) and type(entry.get("id")) is int}
        category = max(used | points.keys()) + 1
        categories.append({"id": category, "name": skeleton.category.name})
    ids = [entry["id"] for entry in annotations if isinstance(entry, dict) and type(entry.get("id")) is int]
    new = (image for image in bare if image not in drawn)
    for number, image in enumerate(new, max(ids, default=0) + 1):
        annotations.append({"id": number, "image_id": image, "category_id": category, "iscrowd": 0, "bbox": None})
    return {**document, "annotations": annotations, "categories": categories}, {*ours, category}


def _roles(categories: Sequence[Any], skeleton: Skeleton, options: ReadOptions) -> tuple[dict[int, str], set[int]]:
    """Return category id -> its keypoint, and the object's category ids; empty if that category names keypoints."""
    points: dict[int, str] = {}
    ours: set[int] = set()
    for entry in categories:
        if not isinstance(entry, dict) or type(entry.get("id")) is not int or not isinstance(entry.get("name"), str):
            continue
        name = options.names.get(entry["name"], entry["name"])
        if name == skeleton.category.name:
            if entry.get("keypoints"):
                return {}, set()
            ours.add(entry["id"])
        elif name in skeleton.index and entry["name"] not in options.ignore:
            points[entry["id"]] = name
    return points, ours


def _told(points: Mapping[int, str], skeleton: Skeleton) -> Note:
    names = list(dict.fromkeys(points.values()))
    listed = first_names(names, _SHOWN_NAMES)
    message = f"keypoints must belong to objects, got {len(names)} categories that are keypoints: {listed}"
    hint = (
        f"`posetools convert --keypoints-from categories` joins them if each is in exactly one box of category "
        f"{skeleton.category.name!r} (`posetools convert --keypoints-from categories --one-object-per-image --box-from "
        f"keypoints` if every image shows one object); else {_EXPORT_KEYPOINTS}"
    )
    return "E127", "categories", message, hint


def _joined(
    document: Mapping[str, Any], points: Mapping[int, str], ours: set[int], skeleton: Skeleton, *, one_object: bool
) -> tuple[Mapping[str, Any], tuple[Note, ...]]:
    annotations: list[Any] = document["annotations"]
    boxes = list(_boxes(annotations, ours, one_object=one_object))
    found: dict[int, dict[str, _Point]] = {box.index: {} for box in boxes}
    wrong: dict[str, list[str]] = {}
    by_image: dict[int, list[_Box]] = {}
    for box in boxes:
        by_image.setdefault(box.image, []).append(box)
    gone: set[int] = set()
    for i, entry in enumerate(annotations):
        name = points.get(entry["category_id"]) if _has_ids(entry) else None
        if name is None:
            continue
        gone.add(i)
        problem = _assign(entry, name, by_image.get(entry["image_id"], []), found)
        if problem:
            wrong.setdefault(problem, []).append(raw_place("annotations", i, entry))
    if wrong:
        return document, tuple(_problem(what, places, skeleton) for what, places in wrong.items())
    new = [_with_keypoints(e, found.get(i), skeleton) for i, e in enumerate(annotations) if i not in gone]
    categories = [
        {**entry, "keypoints": list(skeleton.names)} if isinstance(entry, dict) and entry.get("id") in ours else entry
        for entry in document["categories"]
    ]
    message = (
        f"{len(gone)} keypoints with their own categories were joined to the {len(boxes)} "
        f"{'objects, one in each image' if one_object else f'boxes of {skeleton.category.name!r} around them'}, "
        f"{_seen(found)}; the places are those without these keypoints"
    )
    hint = "check a few of them: posetools view"
    joined = {**document, "annotations": new, "categories": categories}
    return joined, (("W331", "annotations", message, hint),)


def _seen(found: Mapping[int, Mapping[str, _Point]]) -> str:
    occluded = sum(point[2] == Visibility.HIDDEN for points in found.values() for point in points.values())
    return f"{occluded} of them as occluded" if occluded else "as visible"


def _has_ids(entry: Any) -> bool:
    return isinstance(entry, dict) and all(type(entry.get(key)) is int for key in ("category_id", "image_id"))


def _boxes(annotations: Sequence[Any], ours: set[int], *, one_object: bool) -> Iterator[_Box]:
    for i, entry in enumerate(annotations):
        if not _has_ids(entry) or entry["category_id"] not in ours:
            continue
        if one_object:
            # The box covers the whole image: all of its points belong to the object.
            yield _Box(i, entry["image_id"], (-math.inf, -math.inf, math.inf, math.inf))
        elif drawn := drawn_box(entry.get("bbox")):
            x, y, width, height = drawn
            yield _Box(i, entry["image_id"], (x, y, x + width, y + height))


def _numbers(value: Any, count: int) -> list[float] | None:
    if not isinstance(value, list) or len(value) != count:
        return None
    numbers = [float(number) for part in value if (number := number_in(part)) is not None]
    return numbers if len(numbers) == count else None


def _assign(entry: Mapping[str, Any], name: str, boxes: Sequence[_Box], found: dict[int, dict[str, _Point]]) -> str:
    """Give a keypoint to its object, or return the problem."""
    at = _point(entry)
    if at is None:
        return "a keypoint's object must have a bbox or a segmentation of one point"
    (x, y), (width, height) = at
    around = [box for box in boxes if box.corners[0] <= x <= box.corners[2] and box.corners[1] <= y <= box.corners[3]]
    if len(around) != 1:
        return f"{_IN_ONE_BOX}, got several" if around else _IN_NO_BOX
    (box,) = around
    x1, y1, x2, y2 = box.corners
    if width > max(1.0, _TINY * (x2 - x1)) or height > max(1.0, _TINY * (y2 - y1)):
        return "a keypoint's own box must be tiny"
    if name in found[box.index]:
        return f"a box must have every keypoint at most once, got {show_value(name)} again"
    found[box.index][name] = x, y, _visibility(entry)
    return ""


def _visibility(entry: Mapping[str, Any]) -> int:
    """Return a keypoint's visibility: from its object's own keypoints, or from CVAT's attribute."""
    own, attributes = _numbers(entry.get("keypoints"), 3), entry.get("attributes")
    occluded = isinstance(attributes, dict) and attributes.get("occluded") in (True, 1, "true")
    return Visibility.HIDDEN if occluded or (own and own[2] == 1) else Visibility.VISIBLE


def _point(entry: Mapping[str, Any]) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return a keypoint's x, y, and the width and height of its shape."""
    outline = entry.get("segmentation")
    if isinstance(outline, list) and len(outline) == 1 and (numbers := _numbers(outline[0], 2)):
        return (numbers[0], numbers[1]), (0.0, 0.0)
    numbers = _numbers(outline, 2)
    if numbers:
        return (numbers[0], numbers[1]), (0.0, 0.0)
    box = _numbers(entry.get("bbox"), 4)
    if not box or min(box[2:]) < 0:
        return None
    x, y, width, height = box
    return (x + width / 2, y + height / 2), (width, height)


def _problem(what: str, places: Sequence[str], skeleton: Skeleton) -> Note:
    listed = first_names(places, 3)
    message = f"{what}: {len(places)} of them ({listed})"
    hint = f"draw boxes of category {skeleton.category.name!r}, or {_EXPORT_KEYPOINTS}"
    if what == _IN_NO_BOX:
        command = "`posetools convert --one-object-per-image --box-from keypoints`"
        hint = f"{command}, if every image shows one object; else {hint}"
    return "E127", places[0], message, hint


def _with_keypoints(entry: Any, points: Mapping[str, _Point] | None, skeleton: Skeleton) -> Any:
    if points is None:
        return entry
    triples = [points.get(name, (0, 0, 0)) for name in skeleton.names]
    return {**entry, "keypoints": [value for triple in triples for value in triple], "num_keypoints": len(points)}
