"""The object or image of a finding, cropped: a small image as a data URI.

A finding names a file and a place in it: an object, or an image of the COCO file. Invalid entries are not in the
table's columns; their box and points are read from the file if they are numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from posetools.checks.data import CheckedData
from posetools.core.coco_document import CocoDocument, read_document
from posetools.core.findings import Finding
from posetools.core.geometry import Floats, Ints, xyxy_from_xywh
from posetools.core.place import Origin
from posetools.errors import Place
from posetools.formats.coco.sources import safe_name
from posetools.pages.cutouts import WRONG, cut_out, open_upright, region_of
from posetools.pages.sealed import data_uri

# The keypoints of a finding are ringed if they are at most so many.
_MOST_RINGED = 3


class CropImage(NamedTuple):
    """An image in the page: the image itself, and its split and name."""

    uri: str
    caption: str


@dataclass(frozen=True, eq=False, slots=True)
class _FindingSpot:
    """A place in an image: ``whole`` shows the image with its M objects; else the surroundings of one object."""

    split: str
    name: str
    boxes: Floats
    keypoints: Floats
    category_ids: Ints | None
    whole: bool


class Cropper:
    """Draws the objects or images of findings."""

    def __init__(self, checked: CheckedData) -> None:
        self._checked = checked
        self._splits = {str(table.path): split for split, table in checked.tables.items()}
        self._documents: dict[str, CocoDocument] = {}

    def crops(self, finding: Finding) -> tuple[CropImage, ...]:
        """Return the images of a finding: none, one, or two duplicates."""
        ringed = finding.keypoints if len(finding.keypoints) <= _MOST_RINGED else ()
        drawn = (self._draw(spot, ringed) for spot in self._spots(finding))
        return tuple(crop for crop in drawn if crop)

    def object_crop(self, split: str, row: int) -> CropImage | None:
        """Return an image of the sound object at a row of a split's annotations; None if it cannot be read."""
        at = _row(self._checked.objects[split].rows, row)
        return None if at is None else self._draw(self._object(split, at), ())

    def _object(self, split: str, row: int) -> _FindingSpot:
        name = self._checked.tables[split].images.file_names[int(self._checked.objects[split].images[row])]
        return self._spot_of(split, name, [row], whole=False)

    def _spot_of(self, split: str, name: str, rows: Sequence[int] | Ints, *, whole: bool) -> _FindingSpot:
        objects = self._checked.objects[split]
        ids = None if objects.category_ids is None else objects.category_ids[rows]
        return _FindingSpot(split, name, objects.boxes[rows], objects.keypoints[rows], ids, whole)

    def _spots(self, finding: Finding) -> Iterator[_FindingSpot]:
        for at in (Origin(finding.file, finding.place), finding.other):
            spot = self._spot(at.file, at.place) if at else None
            if spot:
                yield spot

    def _spot(self, file: str, place: str) -> _FindingSpot | None:
        split = self._splits.get(file)
        if split is None or not isinstance(place, Place) or place.kind not in ("images", "annotations"):
            return None
        table, objects, position = self._checked.tables[split], self._checked.objects[split], place.position
        if place.kind == "images":
            row = _row(table.images.position, position)
            if row is None:
                return None
            rows = np.flatnonzero(objects.images == row)
            return self._spot_of(split, table.images.file_names[row], rows, whole=True)
        row = _row(table.annotations.position, position)
        at = None if row is None else _row(objects.rows, row)
        if at is None:
            return self._raw(split, position)
        return self._object(split, at)

    def _raw(self, split: str, position: int) -> _FindingSpot | None:
        """Return the place of an invalid annotation, as far as it can be read from the file."""
        if split not in self._documents:
            self._documents[split] = read_document(self._checked.tables[split].path)
        name = self._documents[split].image_name("annotations", position)
        if name is None:
            return None
        entry, categories = self._documents[split].entries("annotations")[position], self._checked.categories
        number = self._category(split, entry.get("category_id"))
        columns = categories.columns[number]
        box, points = _numbers(entry.get("bbox"), 4), _numbers(entry.get("keypoints"), 3 * len(columns))
        keypoints = np.zeros((1, categories.num_keypoints, 3))
        if box is None:
            return _FindingSpot(split, name, np.zeros((0, 4)), keypoints[:0], np.zeros(0, dtype=np.int64), True)
        if points is not None:
            keypoints[0, columns] = points.reshape(-1, 3)
        ids = np.array([number])
        return _FindingSpot(split, name, xyxy_from_xywh(box[None]), keypoints, ids, bool((box[2:] <= 0).any()))

    def _category(self, split: str, number: Any) -> int:
        """Return the data set's id of a category id in the file; the first one if it has none."""
        categories, entries = self._checked.categories, self._checked.tables[split].categories.values()
        names = [entry.name for entry in entries if entry.id == number and entry.name in categories.ids]
        return categories.ids[names[0]] if names else next(iter(categories))

    def _draw(self, spot: _FindingSpot, ringed: Sequence[str]) -> CropImage | None:
        name = safe_name(spot.name)
        opened = open_upright(self._checked.folder / name) if name else None
        if opened is None:
            return None
        image, scale = opened
        boxes, points = spot.boxes * scale, spot.keypoints.copy()
        points[:, :, :2] *= scale
        region = (0, 0, *image.size) if spot.whole else region_of(boxes, points, image.size)
        cut = cut_out(image, region, 1.0)
        drawn = cut.draw(boxes, points, self._checked.categories, spot.category_ids)
        _, points = cut.place(boxes, points)
        _ring(drawn, points, [self._checked.categories.index[each] for each in ringed])
        return CropImage(data_uri(drawn), f"{spot.split}: {spot.name}")


def _row(values: Any, wanted: int) -> int | None:
    """Return the index of ``wanted`` in ascending values."""
    at = int(np.searchsorted(values, wanted))
    return at if at < len(values) and int(values[at]) == wanted else None


def _numbers(value: Any, length: int) -> Floats | None:
    """Return a list of ``length`` finite numbers that can be drawn, as an array; else None."""
    if not isinstance(value, list) or len(value) != length or not all(type(each) in (int, float) for each in value):
        return None
    return np.array(value, dtype=np.float64) if all(abs(each) < 1e6 for each in value) else None


def _ring(image: Pillow.Image, keypoints: Floats, indices: list[int]) -> None:
    pen = ImageDraw.Draw(image)
    for points in keypoints:
        for x, y, visibility in points[indices].tolist():
            if visibility and -1e4 < x < 1e4 and -1e4 < y < 1e4:
                pen.ellipse((x - 11, y - 11, x + 11, y + 11), outline=WRONG, width=2)
