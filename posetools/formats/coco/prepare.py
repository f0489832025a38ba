"""A COCO document made ready for the models: what a file may leave out is filled in, what can be mended is mended.

Everything that is changed, left out on purpose, or not carried over is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from posetools.core.geometry import xywh_from_xyxy
from posetools.core.skeleton import Skeleton
from posetools.formats.base import ReadOptions
from posetools.formats.coco.errors import Note, raw_place
from posetools.formats.coco.model import LABELED, CocoAnnotation, CocoImage, drawn_box, is_coordinate, lacks_size
from posetools.formats.coco.repair import OF_OBJECTS, Repair, image_sizes, repair
from posetools.formats.joining.made_boxes import HINT, Completed, ThinBox, box_round, complete
from posetools.formats.labels import is_category
from posetools.formats.reading import Corners

# A polygon of as many numbers has no area.
_LINE = 4
# How groups that are left out are counted.
CROWDS = "groups (iscrowd)"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that is ready.

    Attributes:
        document: the document, changed.
        ours: the ids of the categories that are the skeleton's.
        ignored_ids: the ids of the categories left out on purpose.
        ignored: name of such a category -> how many objects of it there are.
        left_out: the indices of those objects in the file's list.
        notes: what was changed, and what is not carried over.
    """

    document: Any
    ours: frozenset[int] = frozenset()
    ignored_ids: frozenset[int] = frozenset()
    ignored: Counter[str] = field(default_factory=Counter)
    left_out: frozenset[int] = frozenset()
    notes: tuple[Note, ...] = ()


def prepare(document: Any, skeleton: Skeleton, options: ReadOptions) -> Prepared:
    """Return a COCO document made ready for the models; the argument stays as it is."""
    if not isinstance(document, dict) or not isinstance(document.get("annotations"), list):
        return Prepared(document)
    names = dict(_categories(document))
    ours = frozenset(i for i, name in names.items() if is_category(name, skeleton, options))
    ignored_names = {i: name for i, name in names.items() if i not in ours and name in options.ignore}
    places: dict[int, str] = {}
    ignored = Counter[str]()
    for i, entry in enumerate(document["annotations"]):
        if _category_of(entry) in ignored_names:
            places[i] = raw_place("annotations", i, entry)
            ignored[ignored_names[entry["category_id"]]] += 1
        elif options.drop_crowds and isinstance(entry, dict) and entry.get("iscrowd") == 1:
            places[i] = raw_place("annotations", i, entry)
            ignored[CROWDS] += 1
    filled, notes = _fill(document, ours, options)
    mended, repairs = repair(filled, OF_OBJECTS)
    untold = set(places.values())
    notes += _repaired([done for done in repairs if done.place not in untold])
    return Prepared(
        document=mended,
        ours=ours,
        ignored_ids=frozenset(ignored_names),
        ignored=ignored,
        left_out=frozenset(places),
        notes=(*notes, *_not_carried(document, ours)),
    )


def _repaired(repairs: Sequence[Repair]) -> Iterator[Note]:
    """Yield one note for each kind of repair."""
    hint = "the source stays as it is; the data set that is written has these values"
    kinds: dict[str, list[Repair]] = {}
    for done in repairs:
        kinds.setdefault(done.code, []).append(done)
    for of_kind in kinds.values():
        more = f" (and {len(of_kind) - 1} more such object{'s' * (len(of_kind) > 2)})" if len(of_kind) > 1 else ""
        yield "W324", of_kind[0].place, of_kind[0].message + more, hint


def _categories(document: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    categories = document.get("categories")
    for entry in reversed(categories if isinstance(categories, list) else []):
        if isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("id"), int):
            yield entry["id"], entry["name"]


def _category_of(entry: Any) -> int | None:
    number = entry.get("category_id") if isinstance(entry, dict) else None
    return number if isinstance(number, int) else None


def _fill(document: Mapping[str, Any], ours: frozenset[int], options: ReadOptions) -> tuple[Any, list[Note]]:
    """Give every object keypoints (none labelled), and a box where the user wants one made from them."""
    filled: list[Any] = list(document["annotations"])
    bare = [i for i, entry in enumerate(filled) if isinstance(entry, dict) and "keypoints" not in entry]
    for i in bare:
        filled[i] = {"keypoints": [], "num_keypoints": 0, **filled[i]}
    notes: list[Note] = []
    outlines = {i: box for i, entry in enumerate(filled) if (box := _outline(entry))}
    notes += _outlined(filled, outlines, ours)
    for i, box in outlines.items():
        filled[i] = {**filled[i], "bbox": xywh_from_xyxy(np.array([box]))[0].tolist()}
    if options.box_from == "keypoints":
        sizes = image_sizes(document)
        boxes = {i: box for i, entry in enumerate(filled) if (box := _box_of(entry, sizes, options))}
        notes += _complete(filled, boxes, sizes, ours)
        notes += _made(filled, boxes, ours)
        for i, box in boxes.items():
            filled[i] = {**filled[i], "bbox": xywh_from_xyxy(np.array([box]))[0].tolist()}
    mine = [i for i in bare if _category_of(filled[i]) in ours]
    if mine:
        first = raw_place("annotations", mine[0], filled[mine[0]])
        message = f"keypoints set to none labelled in {len(mine)} objects without any, the first is {first}"
        notes.append(("W324", "annotations", message, "they train the detector, not the pose estimator"))
    return {**document, "annotations": filled}, notes


def _made(entries: Sequence[Any], boxes: Mapping[int, Corners], ours: frozenset[int]) -> Iterator[Note]:
    """Yield the note on the objects of ours whose box is made from their keypoints, where the file has another."""
    made = [i for i in boxes if _category_of(entries[i]) in ours and entries[i].get("bbox")]
    if made:
        first = raw_place("annotations", made[0], entries[made[0]])
        number = f"{len(made)} object{'s' * (len(made) > 1)}"
        message = f"bbox without a size was replaced by one from keypoints in {number}, the first is {first}"
        yield "W324", "annotations", message, "the source stays as it is"


def _outline(entry: Any) -> Corners | None:
    """Return the upright extent of an object's polygons, where it has no box."""
    polygons = entry.get("segmentation") if isinstance(entry, dict) else None
    if not polygons or not isinstance(polygons, list) or not _lacks_box(entry):
        return None
    if not all(isinstance(one, list) and not len(one) % 2 and all(map(is_coordinate, one)) for one in polygons):
        return None
    numbers = [polygon for polygon in polygons if len(polygon) > _LINE]
    if not numbers:
        return None
    xs, ys = ([value for polygon in numbers for value in polygon[at::2]] for at in (0, 1))
    corners = (float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys)))
    return corners if corners[0] < corners[2] and corners[1] < corners[3] else None


def _outlined(entries: Sequence[Any], boxes: Mapping[int, Corners], ours: frozenset[int]) -> Iterator[Note]:
    """Yield the note on the objects of ours whose box is that of their polygons."""
    made = [i for i in boxes if _category_of(entries[i]) in ours]
    if made:
        first = raw_place("annotations", made[0], entries[made[0]])
        number = f"{len(made)} object{'s' * (len(made) > 1)} without one"
        message = f"bbox set to the upright extent of the segmentation in {number}, the first is {first}"
        yield "W324", "annotations", message, "the source stays as it is"


def _box_of(entry: Any, sizes: Mapping[int, tuple[int, int]], options: ReadOptions) -> Corners | None:
    """Return the box round an object's labelled points, where it has none of its own."""
    if not isinstance(entry, dict) or not _lacks_box(entry) or not _has_image(entry):
        return None
    keypoints, size = entry["keypoints"], sizes.get(entry["image_id"])
    if size is None or not isinstance(keypoints, list) or len(keypoints) % 3:
        return None
    if not all(map(is_coordinate, keypoints)):
        return None
    triples = zip(keypoints[::3], keypoints[1::3], keypoints[2::3], strict=True)
    points = [triple for triple in triples if triple[2] in LABELED]
    if not points:
        return None
    x, y, _ = points[0]
    # A box without size is a finding of its own, which says what to do where nothing is in the image.
    return box_round(points, options, size) or (x, y, x, y)


def _complete(
    entries: Sequence[Any], boxes: dict[int, Corners], sizes: Mapping[int, tuple[int, int]], ours: frozenset[int]
) -> Iterator[Note]:
    """Give each ThinBox among the boxes (index of an entry -> its box) its size; yield the note on those of ours."""
    thin: dict[int, list[int]] = {}
    for i, box in boxes.items():
        if isinstance(box, ThinBox):
            thin.setdefault(entries[i]["image_id"], []).append(i)
    if not thin:
        return
    own: dict[int, list[Corners]] = {image: [] for image in thin}
    for i, entry in enumerate(entries):
        others = own.get(entry["image_id"]) if isinstance(entry, dict) and _has_image(entry) else None
        if others is None:
            continue
        known = boxes.get(i)
        if known is None and (drawn := drawn_box(entry.get("bbox"))):
            x, y, width, height = drawn
            known = (x, y, x + width, y + height)
        if known is not None and not isinstance(known, ThinBox):
            others.append(known)
    total: Completed | None = None
    for image, rows in thin.items():
        completed, given, by_others = complete([*(boxes[i] for i in rows), *own[image]], sizes[image])
        boxes.update(zip(rows, completed, strict=False))
        told = [i for i in rows if _category_of(entries[i]) in ours]
        if told:
            place = raw_place("annotations", told[0], entries[told[0]])
            more = Completed(len(told), len(told) if by_others else 0, min(given), max(given), "", place)
            total = more if total is None else total + more
    if total is not None:
        yield "W333", total.place, total.message, HINT


def _lacks_box(entry: Mapping[str, Any]) -> bool:
    """Return whether an object has no box, or one without size, as programs write it round a single point."""
    box = entry.get("bbox")
    if not box:
        return box is None or isinstance(box, list)
    return lacks_size(box)


def _has_image(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("image_id"), int)


def _not_carried(document: Mapping[str, Any], ours: frozenset[int]) -> Iterator[Note]:
    """Yield one note on all keys that a Dataset has no room for."""
    counts = Counter[str]()
    for kind, model in (("annotations", CocoAnnotation), ("images", CocoImage)):
        entries = document.get(kind)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and (kind == "images" or _category_of(entry) in ours):
                extra = entry.keys() - model.model_fields.keys()
                counts.update(f"{kind}.{key}" for key in extra)
                counts.update(["annotations.segmentation"] if entry.get("segmentation") else [])
    if counts:
        listed = ", ".join(f"{key} ({number})" for key, number in sorted(counts.items()))
        hint = "boxes, areas, iscrowd and keypoints are carried over; keep the source for the rest"
        yield "W323", "", f"keys must be those of COCO keypoints to be carried over, got also {listed}", hint
