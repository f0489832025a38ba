"""Prepares a COCO document for the models: fills in missing optional values, and repairs what can be repaired.

Every change is reported, and so is everything left out or not carried over. Only values with a single right answer are
repaired; keys and their order stay. ``posetools validate --fix`` makes all of these repairs, the COCO reader those of
objects:

- E104 ``area`` missing or at most 1: the box's width times height, if greater than 1;
- E105 ``num_keypoints`` missing or wrong: the number of keypoints with a visibility of 1 or 2;
- E115 ``iscrowd`` missing: 0;
- E114 a category's edges contain a 0, so they are 0-based: 1 is added to every index;
- W201 a box extends more than a pixel outside its image: it is clipped to the image, unless nothing would remain. Its
area is updated if it was the box's.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard

import numpy as np

from posetools.core.categories import Categories
from posetools.core.coco_document import links_of
from posetools.core.geometry import DECIMALS, MAX_COORDINATE, xywh_from_xyxy
from posetools.core.place import Origin
from posetools.errors import show_value
from posetools.formats.coco.model import (
    LABELED_VALUES,
    MIN_AREA,
    CocoAnnotation,
    CocoImage,
    Note,
    drawn_box,
    is_coordinate,
    lacks_size,
    plain_number,
    raw_place,
)
from posetools.formats.joining.made_boxes import MARGIN_HINT, BoxCompletion, ThinBox, box_round, complete
from posetools.formats.labels import category_of
from posetools.formats.options import ReadOptions
from posetools.formats.reading import Corners

OF_OBJECTS = frozenset({"E104", "E105", "E115"})
ALL = OF_OBJECTS | {"E114", "W201"}
# Rounding puts edges of valid boxes up to a pixel outside.
OUTSIDE = 1.0
# A polygon with at most this many numbers has no area.
_LINE = 4
# The name under which crowds that are left out are counted.
CROWDS = "groups (iscrowd)"

_Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Repair:
    """One change.

    Attributes:
        code: the finding that it repairs.
        place: as in the finding.
        message: the change: ``area set to 1200, was 1.0``.
    """

    code: str
    place: str
    message: str


def repair(document: Any, codes: frozenset[str] = ALL) -> tuple[Any, tuple[Repair, ...]]:
    """Return a repaired COCO document, and the changes; the argument is not changed."""
    if not isinstance(document, dict):
        return document, ()
    repairs: list[Repair] = []
    repaired = dict(document)
    sizes = image_sizes(document)
    if isinstance(document.get("annotations"), list):
        repaired["annotations"] = [
            _annotation(entry, i, sizes, codes, repairs) for i, entry in enumerate(document["annotations"])
        ]
    if isinstance(document.get("categories"), list) and "E114" in codes:
        repaired["categories"] = [_category(entry, i, repairs) for i, entry in enumerate(document["categories"])]
    return (repaired, tuple(repairs)) if repairs else (document, ())


def repairs_at(entries: Iterable[tuple[str, int, Any]], codes: frozenset[str] = ALL) -> frozenset[tuple[str, str]]:
    """Return the (code, place) of each repairable problem in some entries of a COCO document.

    Args:
        entries: the list's name, the index in it, and the entry; images, which have the sizes, before annotations.
        codes: the findings to repair.
    """
    repairs: list[Repair] = []
    repairable: set[tuple[str, str]] = set()
    images: list[Any] = []
    sizes: dict[int, tuple[int, int]] | None = None
    for kind, position, entry in entries:
        if kind == "images":
            images.append(entry)
        elif kind == "annotations":
            sizes = image_sizes({"images": images}) if sizes is None else sizes
            _annotation(entry, position, sizes, codes, repairs)
        elif "E114" in codes:
            _category(entry, position, repairs)
        repairable.update((done.code, done.place) for done in repairs)
        repairs.clear()
    return frozenset(repairable)


def image_sizes(document: Mapping[str, Any]) -> dict[int, tuple[int, int]]:
    """Return image id -> (width, height) in pixels, for the entries in ``images`` that have them."""
    sizes: dict[int, tuple[int, int]] = {}
    images = document.get("images")
    for entry in images if isinstance(images, list) else ():
        if isinstance(entry, dict) and all(_is_size(entry.get(key)) for key in ("width", "height")):
            number = entry.get("id")
            if isinstance(number, int):
                sizes.setdefault(number, (entry["width"], entry["height"]))
    return sizes


def _annotation(
    entry: Any, position: int, sizes: Mapping[int, tuple[int, int]], codes: frozenset[str], repairs: list[Repair]
) -> Any:
    if not isinstance(entry, dict):
        return entry
    new: _Entry = {}
    for code, fix in (("W201", partial(_clipped, sizes=sizes)), ("E105", _counted), ("E115", _crowd), ("E104", _area)):
        # The area comes last, as it depends on the clipped box.
        if code in codes and (change := fix({**entry, **new} if new else entry)):
            new |= change
            repairs.append(_told(code, raw_place("annotations", position, entry), entry, change))
    return {**entry, **new} if new else entry


def _told(code: str, place: str, old: _Entry, change: _Entry) -> Repair:
    parts = [
        f"{key} set to {value}, " + (f"was {show_value(old[key])}" if key in old else "was missing")
        for key, value in change.items()
    ]
    return Repair(code, place, "; ".join(parts))


def _area(entry: _Entry) -> _Entry:
    area = entry.get("area")
    if "area" in entry and not (_is_number(area) and area <= MIN_AREA):
        return {}
    box = drawn_box(entry.get("bbox"))
    own = round(box[2] * box[3], DECIMALS) if box else 0
    return {"area": plain_number(float(own))} if own > MIN_AREA else {}


def _counted(entry: _Entry) -> _Entry:
    keypoints, said = entry.get("keypoints"), entry.get("num_keypoints", 0)
    if not isinstance(keypoints, list) or len(keypoints) % 3 or not isinstance(said, int) or isinstance(said, bool):
        return {}
    if not _are_numbers(keypoints):
        return {}
    count = sum(value in LABELED_VALUES for value in keypoints[2::3])
    return {} if "num_keypoints" in entry and said == count else {"num_keypoints": count}


def _crowd(entry: _Entry) -> _Entry:
    return {} if "iscrowd" in entry else {"iscrowd": 0}


def _clipped(entry: _Entry, sizes: Mapping[int, tuple[int, int]]) -> _Entry:
    box, image = drawn_box(entry.get("bbox")), entry.get("image_id")
    if box is None or not isinstance(image, int) or image not in sizes:
        return {}
    x, y, w, h = box
    width, height = sizes[image]
    if min(x, y) >= -OUTSIDE and x + w <= width + OUTSIDE and y + h <= height + OUTSIDE:
        return {}
    left, top = max(x, 0), max(y, 0)
    sides = min(x + w, width) - left, min(y + h, height) - top
    if min(sides) <= 0 or sides[0] * sides[1] <= MIN_AREA:
        return {}
    cut = [round(float(value), DECIMALS) for value in (left, top, *sides)]
    change: _Entry = {"bbox": [plain_number(value) for value in cut]}
    area = entry.get("area")
    if _is_number(area) and math.isclose(area, w * h, rel_tol=1e-6):
        change["area"] = plain_number(round(cut[2] * cut[3], DECIMALS))
    return change


def _category(entry: Any, position: int, repairs: list[Repair]) -> Any:
    if not isinstance(entry, dict):
        return entry
    links = links_of(entry)
    if links is None or not any(0 in edge for edge in entry["skeleton"]):
        return entry
    place = raw_place("categories", position, entry)
    repairs.append(Repair("E114", place, "skeleton: 1 added to every index of the 0-based edges"))
    return {**entry, "skeleton": [[a + 1, b + 1] for a, b in links]}


def _is_size(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_COORDINATE


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_COORDINATE**2


def _are_numbers(values: list[Any]) -> bool:
    """Like ``_is_number`` for all values, but much faster."""
    # Only NaN differs from itself.
    plain = set(map(type, values)) <= {int, float} and all(map(operator.eq, values, values))
    return plain and max(map(abs, values), default=0) <= MAX_COORDINATE**2


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """A prepared document.

    Attributes:
        document: the document, changed.
        ours: the id in the file of each category that is read -> its id in the data set.
        ignored_ids: the ids of the categories left out on purpose.
        ignored: the category's name -> its number of objects.
        left_out: the indices of these objects in the file's list.
        notes: changes, and what is not carried over.
    """

    document: Mapping[str, Any]
    ours: Mapping[int, int]
    ignored_ids: frozenset[int]
    ignored: Counter[str]
    left_out: frozenset[int]
    notes: tuple[Note, ...]


def prepare(document: Mapping[str, Any], categories: Categories, options: ReadOptions) -> PreparedDocument:
    """Return a COCO document prepared for the models; the argument is not changed."""
    names = dict(_categories(document))
    found = {i: category_of(name, categories, options) for i, name in names.items()}
    ours = {i: number for i, number in found.items() if number is not None}
    ignored_names = {i: name for i, name in names.items() if i not in ours and name in options.ignore}
    places: dict[int, str] = {}
    ignored = Counter[str]()
    for i, entry in enumerate(document["annotations"]):
        if _category_id(entry) in ignored_names:
            places[i] = raw_place("annotations", i, entry)
            ignored[ignored_names[entry["category_id"]]] += 1
        elif options.drop_crowds and isinstance(entry, dict) and entry.get("iscrowd") == 1:
            places[i] = raw_place("annotations", i, entry)
            ignored[CROWDS] += 1
    filled, notes = _fill(document, ours, options)
    repaired, repairs = repair(filled, OF_OBJECTS)
    untold = set(places.values())
    notes += _repaired([done for done in repairs if done.place not in untold])
    return PreparedDocument(
        document=repaired,
        ours=ours,
        ignored_ids=frozenset(ignored_names),
        ignored=ignored,
        left_out=frozenset(places),
        notes=(*notes, *_not_carried(document, ours)),
    )


def _repaired(repairs: Sequence[Repair]) -> Iterator[Note]:
    """Yield one note for each kind of repair."""
    hint = "correct the source too, if you keep it: only the written data set has these values"
    kinds: dict[str, list[Repair]] = {}
    for done in repairs:
        kinds.setdefault(done.code, []).append(done)
    for of_kind in kinds.values():
        more = f" (and {len(of_kind) - 1} more such object{'s' * (len(of_kind) > 2)})" if len(of_kind) > 1 else ""
        yield "W324", of_kind[0].place, of_kind[0].message + more, hint


def _categories(document: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    for entry in reversed(document["categories"]):
        if isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("id"), int):
            yield entry["id"], entry["name"]


def _category_id(entry: Any) -> int | None:
    number = entry.get("category_id") if isinstance(entry, dict) else None
    return number if isinstance(number, int) else None


def _fill(document: Mapping[str, Any], ours: Container[int], options: ReadOptions) -> tuple[Any, list[Note]]:
    """Give every object keypoints (none labeled), and a box from keypoints if requested."""
    filled: list[Any] = list(document["annotations"])
    bare = [i for i, entry in enumerate(filled) if isinstance(entry, dict) and "keypoints" not in entry]
    for i in bare:
        filled[i] = {"keypoints": [], "num_keypoints": 0, **filled[i]}
    notes: list[Note] = []
    outlines = {i: box for i, entry in enumerate(filled) if (box := _outline(entry))}
    mine = [i for i in outlines if _category_id(filled[i]) in ours]
    message = "bbox set to the upright extent of the segmentation in {} without one"
    notes += _done(filled, mine, message, "the source is not changed")
    _set_boxes(filled, outlines)
    if options.box_from == "keypoints":
        sizes = image_sizes(document)
        boxes = {i: box for i, entry in enumerate(filled) if (box := _box_of(entry, sizes, options))}
        notes += _complete(filled, boxes, sizes, ours)
        mine = [i for i in boxes if _category_id(filled[i]) in ours and filled[i].get("bbox")]
        message = "bbox without a size was replaced by one from keypoints in {}"
        notes += _done(filled, mine, message, "the source is not changed")
        _set_boxes(filled, boxes)
    mine = [i for i in bare if _category_id(filled[i]) in ours]
    message = f"no labeled keypoints in {len(mine)} objects without any"
    notes += _done(filled, mine, message, "they only train the detector")
    return {**document, "annotations": filled}, notes


def _set_boxes(entries: list[Any], boxes: Mapping[int, Corners]) -> None:
    for i, box in boxes.items():
        entries[i] = {**entries[i], "bbox": xywh_from_xyxy(np.array([box]))[0].tolist()}


def _done(entries: Sequence[Any], rows: Sequence[int], message: str, hint: str) -> Iterator[Note]:
    """Yield the note on changed objects, if there are any; ``{}`` in the message is their number."""
    if rows:
        number = f"{len(rows)} object{'s' * (len(rows) > 1)}"
        first = raw_place("annotations", rows[0], entries[rows[0]])
        yield "W324", "annotations", f"{message.format(number)}, the first is {first}", hint


def _outline(entry: Any) -> Corners | None:
    """Return the upright extent of an object's polygons if it has no box."""
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


def _box_of(entry: Any, sizes: Mapping[int, tuple[int, int]], options: ReadOptions) -> Corners | None:
    """Return the box around an object's labeled points if it has none."""
    if not isinstance(entry, dict) or not _lacks_box(entry) or not _has_image(entry):
        return None
    keypoints, size = entry["keypoints"], sizes.get(entry["image_id"])
    if size is None or not isinstance(keypoints, list) or len(keypoints) % 3:
        return None
    if not all(map(is_coordinate, keypoints)):
        return None
    triples = zip(keypoints[::3], keypoints[1::3], keypoints[2::3], strict=True)
    points = [triple for triple in triples if triple[2] in LABELED_VALUES]
    if not points:
        return None
    x, y, _ = points[0]
    # A box without size gives a finding of its own, with the fix for points outside the image.
    return box_round(points, options, size) or (x, y, x, y)


def _complete(
    entries: Sequence[Any], boxes: dict[int, Corners], sizes: Mapping[int, tuple[int, int]], ours: Container[int]
) -> Iterator[Note]:
    """Give each ThinBox among the boxes (index of an entry -> its box) its size; yield the note on the skeleton's."""
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
    total: BoxCompletion | None = None
    for image, rows in thin.items():
        completed, given, by_others = complete([*(boxes[i] for i in rows), *own[image]], sizes[image])
        boxes.update(zip(rows, completed, strict=False))
        told = [i for i in rows if _category_id(entries[i]) in ours]
        if told:
            place = raw_place("annotations", told[0], entries[told[0]])
            more = BoxCompletion(len(told), len(told) if by_others else 0, min(given), max(given), Origin("", place))
            total = more if total is None else total + more
    if total is not None:
        yield "W333", total.first.place, total.message, MARGIN_HINT


def _lacks_box(entry: Mapping[str, Any]) -> bool:
    """Return whether an object has no box, or one without size as programs write around a single point."""
    box = entry.get("bbox")
    if not box:
        return box is None or isinstance(box, list)
    return lacks_size(box)


def _has_image(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("image_id"), int)


def _not_carried(document: Mapping[str, Any], ours: Container[int]) -> Iterator[Note]:
    """Yield one note on all keys that a Dataset cannot hold."""
    counts = Counter[str]()
    for kind, model in (("annotations", CocoAnnotation), ("images", CocoImage)):
        for entry in document[kind]:
            if isinstance(entry, dict) and (kind == "images" or _category_id(entry) in ours):
                extra = entry.keys() - model.model_fields.keys()
                counts.update(f"{kind}.{key}" for key in extra)
                counts.update(["annotations.segmentation"] if entry.get("segmentation") else [])
    if counts:
        listed = ", ".join(f"{key} ({number})" for key, number in sorted(counts.items()))
        hint = "keep the source: boxes, areas, iscrowd and keypoints are carried over"
        yield "W323", "", f"keys must be those of COCO keypoints to be converted, got also {listed}", hint
