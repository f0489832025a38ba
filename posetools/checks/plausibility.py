"""Checks for valid but unlikely labels: misplaced boxes and points, duplicate or missing labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from posetools.checks.structure import SoundObjects, of_whom
from posetools.core.categories import Categories
from posetools.core.findings import Finding
from posetools.core.geometry import SIZE_CLASSES, Bools, Floats, box_iou
from posetools.core.skeleton import Skeleton
from posetools.errors import first_names, must_be
from posetools.formats.coco.repair import OUTSIDE
from posetools.formats.coco.table import CocoTable

# How far a point may be outside its box, as a share of the box's larger side, because boxes are drawn more or less
# tightly; at least so many pixels.
POINT_MARGIN = 0.1
POINT_MARGIN_PIXELS = 2.0
DUPLICATE_IOU = 0.95
# A keypoint is rare if fewer than this share of the labeled objects have it.
RARE = 0.05
# The stock recipes warm up for 1000 iterations: a tenth of the default 200 epochs if an epoch has 50 iterations, that
# is 1600 objects in batches of 32.
STOCK_WARM_UP = 1000
STOCK_BATCH = 32
LONGEST_WARM_UP_EPOCHS = 20
_ENOUGH_OBJECTS = (
    f"at least {STOCK_WARM_UP * STOCK_BATCH // LONGEST_WARM_UP_EPOCHS}, so that the stock warm-up ({STOCK_WARM_UP} "
    f"iterations in batches of {STOCK_BATCH}) ends within {LONGEST_WARM_UP_EPOCHS} epochs"
)
_LISTED_NAMES = 5
_AT_ONCE = 4096
# Thousands of boxes in one image with the same left edge are not real objects.
_MOST_PASSES = 4096
_MOST_TWINS = 20


def check_boxes(objects: SoundObjects, categories: Categories | None = None) -> Iterator[Finding]:
    """Yield boxes that leave their image, that MMDet drops for their size, and duplicates.

    Args:
        objects: of all categories.
        categories: the data set's; None: one.
    """
    boxes, sizes = objects.boxes, objects.table.images.sizes[objects.images]
    outside = (boxes[:, :2] < -OUTSIDE).any(axis=1) | (boxes[:, 2:] > sizes + OUTSIDE).any(axis=1)
    for index in np.flatnonzero(outside):
        width, height = sizes[index].tolist()
        rule = f"inside the image of {width} x {height}"
        hint = "`posetools validate --fix` clips it to the image if any of it is inside"
        yield objects.finding("W201", int(index), must_be("bbox", rule, _bbox(objects, int(index))), hint)
    for index in np.flatnonzero((boxes[:, 2:] - boxes[:, :2] < 1).any(axis=1)):
        message = must_be("bbox", "at least 1 pixel wide and high", _bbox(objects, int(index)))
        yield objects.finding("W214", int(index), message, "draw it again, or remove the annotation")
    for index, earlier, iou in _overlapping(objects):
        other = objects.table.annotations.place(int(objects.rows[earlier]))
        message = f"bbox must be of another object than {other}, got an overlap (IoU) of {iou:.3f}"
        hint = "remove one of the two"
        names = _names_of(objects, categories, (earlier, index))
        if len(set(names)) > 1:
            message = f"the object must have one category, got {names[0]!r} in {other} and {names[1]!r} here "
            message, hint = f"{message}(IoU {iou:.3f})", "remove the one with the wrong category"
        yield objects.finding("W205", index, message, hint)


def _names_of(objects: SoundObjects, categories: Categories | None, indices: Sequence[int]) -> list[str]:
    """Return the names of the categories of some objects; none if there is only one category."""
    if categories is None or objects.category_ids is None:
        return []
    return [categories[number].category.name for number in objects.category_ids[list(indices)].tolist()]


def _bbox(objects: SoundObjects, index: int) -> list[float]:
    numbers: list[float] = objects.table.annotations.bbox[objects.rows[index]].tolist()
    return numbers


def _overlapping(objects: SoundObjects) -> Iterator[tuple[int, int, float]]:
    """Yield (index, earlier index, IoU) of boxes of one image that overlap by more than DUPLICATE_IOU.

    Objects are sorted by image and left edge; each pass compares every object with the one ``step`` places later, as
    long as that one is in the same image and its left edge is near enough. For an object with many duplicates some
    pairs are enough.
    """
    boxes = objects.boxes
    order = np.lexsort((objects.rows, boxes[:, 0], objects.images))
    order = order[~objects.table.annotations.iscrowd[objects.rows[order]]]
    images, left = objects.images[order], boxes[order, 0]
    # Boxes with such an overlap have left edges this close.
    furthest = left + (1 - DUPLICATE_IOU) * (boxes[order, 2] - left)
    told = np.zeros(len(objects), dtype=np.int64)
    first = np.arange(len(order))
    for step in range(1, min(len(order), _MOST_PASSES)):
        first = first[first + step < len(order)]
        first = first[(images[first] == images[first + step]) & (left[first + step] <= furthest[first])]
        if not len(first):
            return
        one, other = order[first], order[first + step]
        later, earlier = np.maximum(one, other), np.minimum(one, other)
        wanted = told[later] < _MOST_TWINS
        later, earlier = later[wanted], earlier[wanted]
        iou = box_iou(boxes[later], boxes[earlier])
        for at in np.flatnonzero(iou > DUPLICATE_IOU):
            told[later[at]] += 1
            yield int(later[at]), int(earlier[at]), float(iou[at])


def check_points(objects: SoundObjects, skeleton: Skeleton) -> Iterator[Finding]:
    """Yield points far outside their box, unlabeled points with coordinates, and labeled points at (0, 0)."""
    far, unlabeled, labeled = _misplaced(objects)
    rule = f"in the box, or outside it by at most {POINT_MARGIN:.0%} of its larger side"
    hint = "check whether the point belongs to another object, or the box is too small"
    yield from _points(objects, skeleton, ("W202", rule), far, hint)
    hint = "set its visibility to 1 (occluded) or 2 (visible) if it is a label: training ignores the point"
    yield from _points(objects, skeleton, ("W203", "0, 0 where the visibility is 0"), unlabeled, hint)
    rule = "a place in the image where the visibility is above 0"
    yield from _points(objects, skeleton, ("W204", rule), labeled, "set the visibility of an unlabeled keypoint to 0")


def _misplaced(objects: SoundObjects) -> tuple[Bools, Bools, Bools]:
    """Return (R, K) each: labeled far outside the box, unlabeled but not at the origin, labeled at the origin."""
    far, unlabeled, labeled = (np.empty(objects.keypoints.shape[:2], dtype=np.bool_) for _ in range(3))
    # Blocks that fit into the CPU cache.
    for start in range(0, len(objects), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        x, y, seen = np.moveaxis(objects.keypoints[part], 2, 0)
        left, top, right, bottom = objects.boxes[part].T[:, :, None]
        margin = np.maximum(np.maximum(right - left, bottom - top) * POINT_MARGIN, POINT_MARGIN_PIXELS)
        outside = (x < left - margin) | (x > right + margin) | (y < top - margin) | (y > bottom + margin)
        given, elsewhere = seen > 0, (x != 0) | (y != 0)
        far[part] = outside & given & elsewhere
        unlabeled[part] = ~given & elsewhere
        labeled[part] = given & ~elsewhere
    return far, unlabeled, labeled


def _points(
    objects: SoundObjects, skeleton: Skeleton, rule: tuple[str, str], bad: Bools, hint: str
) -> Iterator[Finding]:
    code, must = rule
    for start in range(0, len(bad), _AT_ONCE):
        rows, points = np.nonzero(bad[start : start + _AT_ONCE])
        places = objects.keypoints[rows + start, points, :2].tolist()
        for index, group in groupby(zip((rows + start).tolist(), points.tolist(), places, strict=True), itemgetter(0)):
            names, got = zip(*((skeleton.names[point], tuple(place)) for _, point, place in group), strict=True)
            message = must_be(", ".join(names), must, got[0] if len(got) == 1 else list(got))
            yield objects.finding(code, index, message, hint, names)


def check_split(objects: SoundObjects, what: Skeleton | Categories, *, train: bool) -> Iterator[Finding]:
    """Yield what a whole file lacks: keypoints, images with objects, and, for training, iterations.

    Args:
        objects: of all categories.
        what: the data set's skeleton or categories.
        train: whether the file is for training.
    """
    table, file, every = objects.table, str(objects.table.path), Categories.of(what)
    parts = [(part, group) for part, group in objects.parts(every) if group.num_keypoints]
    for part, group in parts:
        yield from _rare_points(part, group.skeletons[0], of_whom(group, every))
    empty = np.flatnonzero(~np.isin(table.images.ids, table.annotations.image_ids))
    dropped = table.num_annotations - len(table.annotations)
    if len(empty) and not dropped:
        names = first_names([table.images.file_names[row] for row in empty], _LISTED_NAMES)
        got = f"{len(empty)} of {len(table.images)} without: {names}"
        hint = "label their objects, if any: RTMDet trains on them as background; RTMPose does not use them"
        yield Finding("W210", file, "images", f"images must have an annotation each, got {got}", hint)
    for part, group in parts if train else ():
        usable = int((part.keypoints[:, :, 2] > 0).any(axis=1).sum())
        if usable * LONGEST_WARM_UP_EPOCHS < STOCK_WARM_UP * STOCK_BATCH:
            message = must_be(f"objects{of_whom(group, every)} with labeled keypoints", _ENOUGH_OBJECTS, usable)
            hint = (
                "`posetools config` fits warm-up and schedule to the data; the stock recipe keeps the learning rate low"
            )
            yield Finding("W211", file, "annotations", message, hint)


def _rare_points(objects: SoundObjects, skeleton: Skeleton, of: str) -> Iterator[Finding]:
    labeled = objects.keypoints[:, :, 2] > 0
    total = int(labeled.any(axis=1).sum())
    if not total:
        return
    for index, count in enumerate(labeled.sum(axis=0).tolist()):
        if count < RARE * total:
            name = f"{skeleton.names[index]}{of}"
            rule = f"labeled in at least {RARE:.0%} of the objects with keypoints"
            hint = "label it, or remove it from the skeleton: too few to learn it or to evaluate it"
            message = f"{name} must be {rule}, got {count} of {total}"
            yield Finding("W209", str(objects.table.path), f"keypoint {name}", message, hint)


def check_categories(table: CocoTable, what: Skeleton | Categories) -> Iterator[Finding]:
    """Yield a finding if keypoints seem to be exported as objects with categories of their own."""
    categories = Categories.of(what)
    alone, names = len(categories) == 1, [category.name for category in table.categories.values()]
    points = {_plain(name) for name in categories.names}
    as_points = [name for name in names if _plain(name) in points and (alone or name not in categories.ids)]
    if len(as_points) > 1 or (alone and len(names) == categories.num_keypoints + 1 and len(names) > 2):
        shown = as_points or names
        rule = f"objects ({categories.told}), not keypoints"
        hint = (
            "convert its source instead (`posetools convert LABELME_FOLDER --out DATA`), which keeps points as "
            "keypoints of one category: the tool that wrote this file made each point an object with a box of one pixel"
        )
        yield Finding("W213", str(table.path), "categories", must_be("categories", rule, shown), hint)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


def check_whole(
    data: Path, splits: Mapping[str, SoundObjects], categories: Categories | None = None
) -> Iterator[Finding]:
    """Yield what the whole data set lacks: occluded points, boxes of more than one size.

    Args:
        data: the data set.
        splits: split -> its objects of all categories.
        categories: the data set's; None: one.
    """
    for of, values in _visibilities(list(splits.values()), categories):
        if any((part == 2).any() for part in values) and not any((part == 1).any() for part in values):
            message = (
                f"visibility{of} must be 1 for labeled but occluded points, got only 0 and 2 in the whole data set"
            )
            hint = "label occluded points whose place you can guess, and mark them occluded; RTMPose learns them too"
            yield Finding("W208", str(data), "", message, hint)
    areas = [objects.table.annotations.areas[objects.rows] for objects in splits.values()]
    classes = _size_classes(areas)
    if len(classes) == 1:
        (only,) = classes
        others = " and ".join(f"AP ({name})" for name in SIZE_CLASSES if name != only)
        message = f"area must be of more than one of COCO's size classes (32^2 and 96^2 apart), got only {only} objects"
        yield Finding(
            "W212", str(data), "", message, f"ignore {others}: they cannot be computed (n/a; COCO's tools print -1)"
        )


def _visibilities(splits: Sequence[SoundObjects], categories: Categories | None) -> Iterator[tuple[str, list[Floats]]]:
    """Yield for each skeleton the words that name its categories, and the visibilities in each split."""
    if categories is None:
        yield "", [objects.keypoints[:, :, 2] for objects in splits]
        return
    for group in categories.groups:
        parts = [objects.of_categories(group, categories) for objects in splits]
        yield of_whom(group, categories), [part.keypoints[:, :, 2] for part in parts]


def _size_classes(areas: Sequence[Floats]) -> set[str]:
    names = np.array(list(SIZE_CLASSES))
    edges = np.array([low for low, _ in SIZE_CLASSES.values()])
    return {str(names[i]) for part in areas for i in np.unique(np.searchsorted(edges, part, side="right") - 1)}
