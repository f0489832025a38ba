"""Reading COCO keypoint files; the format is described in posetools/formats/coco/format.py."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, Image, Visibility
from posetools.core.findings import Finding
from posetools.core.geometry import DECIMALS, Floats, Ints, xyxy_from_xywh
from posetools.core.place import Origins
from posetools.errors import InputError, must_be, quoted
from posetools.files.disk import read_json
from posetools.files.urls import heads
from posetools.formats.coco.flat import join_categories
from posetools.formats.coco.keypoints import assume_visible, has_marks, has_visibility, in_fractions, name_keypoints
from posetools.formats.coco.model import LABELED_VALUES, CocoCategory, Note
from posetools.formats.coco.repair import PreparedDocument, prepare
from posetools.formats.coco.sources import UNKNOWN_SIZE, FoundImage, ImageLookup, TrustedImages, split_of
from posetools.formats.coco.table import (
    LISTS,
    CocoTable,
    clean_table,
    has_lists,
    table_from,
    unreadable_table,
)
from posetools.formats.coco.values import NOT_FOUND, plain_values
from posetools.formats.joined import RepeatedFinding
from posetools.formats.labels import unknown_label
from posetools.formats.options import ReadOptions
from posetools.formats.shards import ImageSource, ShardReading
from posetools.scale.shards import SHARD, cut

# Finds the images of a file.
Lookup: TypeAlias = ImageLookup | TrustedImages
# How many places one finding lists.
_SHOWN_PLACES = 5


class KeypointColumns(NamedTuple):
    """The mapping of a category's keypoints to the Dataset's columns.

    Attributes:
        number: how many keypoints the category has.
        source: indices in the category.
        target: columns of the Dataset, one for each in ``source``.
        ignored: index in the category -> name, for those left out on purpose.
        category_id: the category's id in the Dataset.
    """

    number: int
    source: Ints
    target: Ints
    ignored: Mapping[int, str]
    category_id: int


@dataclass(eq=False)
class Reading:
    """The content of one COCO file.

    Attributes:
        table: the file as columns.
        categories: the categories to read.
        split: the split that its name declares, or None.
        images: row in ``table.images`` -> the image, for usable images.
        columns: category id in the file -> its keypoints, for the categories to read.
        findings: errors and warnings.
        ignored: label -> how many were left out on purpose.
        ignored_ids: the ids of the categories left out on purpose.
        drop_crowds: whether crowds are left out.
        broken: the ids of the images in which an object could not be read.
        measured: index in the file's list of images -> the result, for images that were opened for their size.
    """

    table: CocoTable
    categories: Categories
    split: str | None
    images: dict[int, FoundImage] = field(default_factory=dict)
    columns: dict[int, KeypointColumns] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    ignored_ids: frozenset[int] = frozenset()
    drop_crowds: bool = False
    broken: set[int] = field(default_factory=set)
    measured: Mapping[int, FoundImage | Finding] = field(default_factory=dict)

    def add(self, code: str, place: str, message: str, hint: str = "") -> None:
        """Add a finding of this file."""
        self.findings.append(Finding(code, str(self.table.path), place, message, hint))


def read_file(path: Path, categories: Categories, options: ReadOptions, lookup: Lookup) -> Reading:
    """Return the content of one COCO file.

    Args:
        path: the file.
        categories: what to read; keypoints are mapped by name.
        options: names, what to ignore, where boxes come from, and the progress listener.
        lookup: finds the images.
    """
    try:
        document = read_json(path)
    except InputError as exc:
        table = unreadable_table(path, exc)
        return Reading(table, categories, None, findings=list(table.findings))
    if isinstance(document, dict) and document.get("categories") is None and "annotations" in document:
        document = {**document, "categories": []}
    if not has_lists(document):
        table = table_from(document, path)
        return Reading(table, categories, None, findings=list(table.findings))
    strict = clean_table(document, path)
    measured: dict[int, FoundImage | Finding] = {}
    taken: tuple[Note, ...] = ()
    original = document
    if strict is None or has_marks(strict):
        document, taken = plain_values(document, partial(_measure, lookup, measured))
    document, settled = _settled(document, categories, options, complete=strict is not None and has_visibility(strict))
    refused = [note for note in settled if note[0].startswith("E")]
    if refused:
        # Without its keypoints, the file's images must not count as images without objects.
        findings = [Finding(code, str(path), place, message, hint) for code, place, message, hint in refused]
        return Reading(table_from({name: [] for name in LISTS}, path), categories, None, findings=findings)
    prepared = prepare(document, categories, options)
    # Unchanged entries are not checked twice.
    kept = strict is not None and _has_same_entries(prepared.document, original)
    table = strict if strict and kept else table_from(prepared.document, path, reading=True)
    reading = Reading(table, categories, split_of(path), ignored=prepared.ignored, ignored_ids=prepared.ignored_ids)
    reading.drop_crowds = options.drop_crowds
    reading.measured = measured
    _take_refused(reading, prepared)
    for code, place, message, hint in (*taken, *settled, *prepared.notes):
        reading.add(code, place, message, hint)
    for place, category in table.categories.items():
        if category.id in prepared.ours and category.id not in reading.columns:
            reading.columns[category.id] = _columns(category, place, prepared.ours[category.id], options, reading)
    _find_images(reading, options, lookup)
    _leave_unlabeled(reading, prepared.document)
    return reading


def _settled(
    document: Mapping[str, Any], categories: Categories, options: ReadOptions, *, complete: bool
) -> tuple[Mapping[str, Any], tuple[Note, ...]]:
    """Return a document whose objects have named keypoints with visibility, and notes on changes or missing options.

    Args:
        document: the parsed file.
        categories: the categories to read.
        options: the user's options.
        complete: whether every keypoint is known to have a visibility.
    """
    if fractions := in_fractions(document):
        return document, fractions
    document, joined = join_categories(document, categories, options)
    document, seen = (document, ()) if complete else assume_visible(document, categories, options)
    if any(code.startswith("E") for code, *_ in seen):
        # The number of keypoints is not known yet.
        return document, (*joined, *seen)
    document, unnamed = name_keypoints(document, categories, options)
    return document, (*joined, *seen, *unnamed)


def _leave_unlabeled(reading: Reading, document: Mapping[str, Any]) -> None:
    """Leave out images without objects that the file marks as unlabeled (PoseTrack's ``is_labeled``)."""
    said = {
        i for i, entry in enumerate(document["images"]) if isinstance(entry, dict) and entry.get("is_labeled") is False
    }
    if not said:
        return
    used = set(reading.table.annotations.image_ids.tolist())
    columns = reading.table.images
    rows = [row for row in reading.images if int(columns.position[row]) in said and int(columns.ids[row]) not in used]
    for row in rows:
        del reading.images[row]
    if rows:
        images = f"{len(rows)} image{'s' * (len(rows) > 1)} without objects"
        message = f"is_labeled is false in {images}: left out as unlabeled"
        reading.add("W322", columns.place(rows[0]), message)


def _measure(
    lookup: Lookup, measured: dict[int, FoundImage | Finding], position: int, file_name: str, place: str
) -> tuple[int, int] | None:
    """Return the size in an image's header, and keep the result; None if no image is opened."""
    found = measured[position] = lookup.find(file_name, UNKNOWN_SIZE, place)
    if isinstance(found, Finding):
        return NOT_FOUND
    return None if found.size == UNKNOWN_SIZE else found.size


def shards_of(readings: Sequence[Reading]) -> Iterator[ShardReading]:
    """Yield the reading of each file; an image that is listed twice is left out of all."""
    _refuse_doubles(readings)
    for reading in readings:
        dataset = _dataset(reading)
        images = [(int(reading.table.images.ids[row]), reading.images[row]) for row in sorted(reading.images)]
        sources = [ImageSource(str(reading.table.path), str(found.path), found.origin, 0) for _, found in images]
        broken = [str(found.path) for number, found in images if number in reading.broken]
        found = reading.findings
        yield ShardReading(dataset, sources, broken=broken, findings=found, ignored=reading.ignored, files=1)


def _has_same_entries(document: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(
        len(document[name]) == len(other[name]) and all(map(operator.is_, document[name], other[name]))
        for name in LISTS
    )


def _take_refused(reading: Reading, prepared: PreparedDocument) -> None:
    """Add the table's findings, except on objects left out on purpose, and mark the images of the others as broken."""
    table = reading.table
    untold = {finding for at in prepared.left_out for finding in table.refused.get(at, ())}
    reading.findings += [finding for finding in table.findings if finding not in untold]
    for at in table.refused.keys() - prepared.left_out:
        annotation = prepared.document["annotations"][at]
        image = annotation.get("image_id") if isinstance(annotation, dict) else None
        reading.broken |= {image} if isinstance(image, int) else set()


def _columns(
    category: CocoCategory, place: str, category_id: int, options: ReadOptions, reading: Reading
) -> KeypointColumns:
    """Return how the file's keypoints map to the Dataset's columns; unknown names become findings."""
    skeleton, columns = reading.categories[category_id], reading.categories.columns[category_id]
    source: dict[int, int] = {}
    ignored: dict[int, str] = {}
    file = str(reading.table.path)
    for i, label in enumerate(category.keypoints or ()):
        name = options.names.get(label, label)
        if name not in skeleton.index and label in options.ignore:
            ignored[i] = label
        elif name not in skeleton.index:
            rule = f"a keypoint of skeleton {skeleton.name}"
            found = unknown_label(label, skeleton.names, file=file, place=place, field=f"keypoints[{i}]", rule=rule)
            reading.findings.append(replace(found, of="point"))
        elif skeleton.index[name] in source:
            rule = f"the only one that is {name!r} (keypoints[{source[skeleton.index[name]]}] is)"
            other = (category.keypoints or ())[source[skeleton.index[name]]]
            renamed = next((one for one in (label, other) if one != name), None)
            hint = f"--map {quoted(f'{renamed}=NAME')} maps {renamed!r} to another keypoint"
            hint = hint if renamed else "correct one of the two in the file"
            reading.add("E305", place, must_be(f"keypoints[{i}]", rule, label), hint)
        else:
            source[skeleton.index[name]] = i
    return KeypointColumns(
        number=len(category.keypoints or ()),
        source=np.array(list(source.values()), dtype=np.int64),
        target=columns[list(source)],
        ignored=ignored,
        category_id=category_id,
    )


def _find_images(reading: Reading, options: ReadOptions, lookup: Lookup) -> None:
    images, seen = reading.table.images, dict[int, int]()
    # The first image alone: the others are probably in the same place.
    for rows in (range(min(1, len(images))), *cut(range(1, len(images)), SHARD)):
        with heads(lookup.ahead([images.file_names[row] for row in rows])):
            _find_some(reading, rows, seen, options, lookup)


def _find_some(
    reading: Reading, rows: Sequence[int], seen: dict[int, int], options: ReadOptions, lookup: Lookup
) -> None:
    images = reading.table.images
    for row in rows:
        number = int(images.ids[row])
        place = images.place(row)
        options.progress(f"looking for the images of {reading.table.path.name}", row + 1, len(images))
        if number in seen:
            message = must_be("id", f"unique among the images ({images.place(seen[number])} has it)", number)
            reading.add("E109", place, message, "give every image an id of its own")
            # The objects of this id could belong to either image.
            reading.broken.add(number)
            continue
        seen[number] = row
        width, height = images.sizes[row].tolist()
        found = reading.measured.get(int(images.position[row]))
        if found is None or (isinstance(found, FoundImage) and found.size != (width, height)):
            found = lookup.find(images.file_names[row], (width, height), place)
        if isinstance(found, Finding):
            reading.findings.append(found)
        else:
            reading.images[row] = found
            reading.findings += found.notes


def _refuse_doubles(readings: Sequence[Reading]) -> None:
    """Leave out every image that is listed twice: it is not known which entry is right."""
    at: dict[str, list[tuple[Reading, int]]] = {}
    for reading in readings:
        for row, found in reading.images.items():
            at.setdefault(str(found.path.resolve()), []).append((reading, row))
    for path, entries in at.items():
        if len(entries) == 1:
            continue
        for reading, row in entries:
            others = [f"{r.table.path}: {r.table.images.place(i)}" for r, i in entries if (r, i) != (reading, row)]
            message = must_be("file_name", f"the only entry of {path}", reading.table.images.file_names[row])
            hint = "give only the files to read as SRC, or join the entries; none of them is read"
            files = " and ".join(sorted({str(r.table.path) for r, _ in entries}))
            place, what = reading.table.images.place(row), f"an image must be listed once, got several in {files}"
            message += f"; also at {', '.join(others)}"
            reading.findings.append(RepeatedFinding("E313", str(reading.table.path), place, message, hint, what=what))
            del reading.images[row]


def _dataset(reading: Reading) -> Dataset:
    """Return the images and objects of a file; unreadable ones become findings."""
    table, listed = reading.table.annotations, sorted(reading.images.items())
    index_of, images = {row: index for index, (row, _) in enumerate(listed)}, reading.table.image_rows()
    keypoints = _keypoints(reading)
    rows = np.array(list(_usable_rows(reading, images, keypoints)), dtype=np.int64)
    image_index = np.array([index_of[image] for image in images[rows].tolist()], dtype=np.int64)
    by_image = np.argsort(image_index, kind="stable")
    rows, file = rows[by_image], str(reading.table.path)
    points = np.array([keypoints[row] for row in rows.tolist()]).reshape(len(rows), reading.categories.num_keypoints, 3)
    points[points[:, :, 2] == Visibility.NOT_LABELED] = 0
    own = {number: columns.category_id for number, columns in reading.columns.items()}
    return Dataset(
        categories=reading.categories,
        images=tuple(Image(found.name, *found.size, found.path, reading.split) for _, found in listed),
        boxes=xyxy_from_xywh(table.bbox)[rows].round(DECIMALS),
        keypoints=points,
        areas=table.areas[rows].astype(np.float64),
        iscrowd=table.iscrowd[rows].astype(np.bool_),
        category_ids=np.array([own[number] for number in table.category_ids[rows].tolist()], dtype=np.int64),
        image_index=image_index[by_image],
        origins=Origins((file,) * len(rows), tuple(str(table.place(row)) for row in rows.tolist())),
    )


def _usable_rows(reading: Reading, images: Ints, keypoints: Mapping[int, Floats]) -> Iterator[int]:
    """Yield the usable objects; the others become findings, unless they already are."""
    table = reading.table.annotations
    for row in range(len(table)):
        if int(table.category_ids[row]) in reading.ignored_ids or (reading.drop_crowds and table.iscrowd[row]):
            continue
        if int(images[row]) not in reading.images:
            # The finding of a listed image covers its objects.
            if int(table.image_ids[row]) not in reading.table.image_ids:
                message = must_be("image_id", "the id of an entry in images", int(table.image_ids[row]))
                reading.add("E110", table.place(row), message, "add the image to images, or remove the annotation")
        elif int(table.category_ids[row]) not in reading.columns:
            reading.findings += _category_problem(reading, row)
            reading.broken.add(int(table.image_ids[row]))
        elif row in keypoints:
            yield row


def _keypoints(reading: Reading) -> dict[int, Floats]:
    """Return row -> (K, 3) keypoints in the Dataset's columns; a wrong length or visibility becomes a finding."""
    table = reading.table.annotations
    usable: dict[int, Floats] = {}
    stray = 0
    for category, columns in reading.columns.items():
        of_category = table.category_ids == category
        if reading.drop_crowds:
            of_category &= ~table.iscrowd
        empty = table.lengths == 0
        fits = table.lengths == 3 * columns.number
        wrong_length = np.flatnonzero(of_category & ~fits & ~empty)
        _lengths(reading, wrong_length, columns.number)
        reading.broken.update(table.image_ids[wrong_length].tolist())
        rows = np.flatnonzero(of_category & (fits | empty))
        points = np.zeros((len(rows), columns.number, 3))
        filled = np.flatnonzero(fits[rows])
        points[filled] = table.points(rows[filled], columns.number)
        for index, label in columns.ignored.items():
            reading.ignored[label] += int(np.isin(points[:, index, 2], LABELED_VALUES).sum())
        mapped = np.zeros((len(rows), reading.categories.num_keypoints, 3))
        mapped[:, columns.target] = points[:, columns.source]
        stray += int(((mapped[:, :, 2] == 0) & (mapped[:, :, :2] != 0).any(axis=2)).sum())
        bad = ~np.isin(points[:, :, 2], (0, 1, 2)).all(axis=1)
        for row, wrong in zip(rows[bad].tolist(), points[bad][:, :, 2], strict=True):
            index = int(np.flatnonzero(~np.isin(wrong, (0, 1, 2)))[0])
            message = must_be(f"keypoints[{3 * index + 2}]", "a visibility of 0, 1 or 2", float(wrong[index]))
            reading.add("E107", table.place(row), message, "0 not labeled, 1 labeled but not visible, 2 visible")
            reading.broken.add(int(table.image_ids[row]))
        usable |= dict(zip(rows[~bad].tolist(), mapped[~bad], strict=True))
    if stray:
        message = f"keypoints with visibility 0 must be at 0, 0, got coordinates for {stray}, left out"
        reading.add("W203", "annotations", message, "visibility 1 means labeled but not visible")
    return usable


def _lengths(reading: Reading, rows: Ints, number: int) -> None:
    """Add one finding for all objects with the same wrong count of numbers."""
    table = reading.table.annotations
    rule = f"3 numbers for each of the category's {number} keypoints, {3 * number} in all"
    for length in np.unique(table.lengths[rows]):
        of_length = rows[table.lengths[rows] == length]
        places = [table.place(int(row)) for row in of_length]
        message = must_be("keypoints", rule, int(length))
        if len(places) > 1:
            message += f" in {len(places)} objects: {', '.join(places[:_SHOWN_PLACES])}" + ", ..." * (
                len(places) > _SHOWN_PLACES
            )
        reading.add("E106", places[0], message, "the category defines the number of keypoints")


def _category_problem(reading: Reading, row: int) -> Iterator[Finding]:
    """Yield the finding on an object of another category; the finding of an unreadable category covers its objects."""
    table, number = reading.table.annotations, int(reading.table.annotations.category_ids[row])
    place, file = table.place(row), str(reading.table.path)
    named = [each for each in reading.table.categories.values() if each.id == number]
    if named:
        rule = f"the skeleton's category {reading.categories.told}"
        found = unknown_label(
            named[0].name, tuple(reading.categories.ids), file=file, place=place, field="category", rule=rule
        )
        yield replace(found, of="rectangle", points=tuple(named[0].keypoints or ()))
    elif number not in reading.table.category_ids:
        message = must_be("category_id", "the id of an entry in categories", number)
        yield Finding("E111", file, place, message, "add the category to categories")
