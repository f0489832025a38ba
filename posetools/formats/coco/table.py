"""One COCO file as columns: every entry that keeps to the models, and a finding for every one that does not.

Checks and the reader work on these arrays. A file is read once, and its entries are objects only a batch at a time;
places and messages are made only for what is wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from pydantic import ValidationError

from posetools.core.findings import Finding
from posetools.core.geometry import Ints
from posetools.errors import InputError
from posetools.files.disk import read_bytes, read_json
from posetools.formats.coco.columns import AnnotationColumns, AnnotationRows, ImageColumns, ImageRows
from posetools.formats.coco.entries import (
    AnnotationEntry,
    ImageEntry,
    RawFile,
    Refused,
    parse,
    read_parsed,
    read_raw,
    read_strict,
    split_text,
)
from posetools.formats.coco.errors import place_of
from posetools.formats.coco.model import CocoAnnotation, CocoCategory, CocoFile, CocoImage
from posetools.scale.shards import no_collection

LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True, slots=True)
class CategoryRow:
    """One category that keeps to the model.

    Attributes:
        place: its place in the file.
        id: as in the file.
        name: likewise.
        keypoints: the names in their order, or None when the file has none.
        edges: 1-based pairs, or None when the file has none.
    """

    place: str
    id: int
    name: str
    keypoints: tuple[str, ...] | None
    edges: tuple[tuple[int, int], ...] | None


@dataclass(frozen=True, eq=False, slots=True)
class CocoTable:
    """One COCO file.

    Attributes:
        path: the file.
        findings: what does not keep to the models; those entries are not in the columns.
        refused: index of an annotation among those in the file -> its findings, for those that have any.
        readable: whether the three lists are there; without them the columns are empty.
        images: the pictures.
        annotations: the objects.
        categories: the categories.
        image_ids: the ids of all pictures, those with findings included.
        category_ids: likewise of the categories.
        num_images: how many pictures the file lists, those with findings included.
        num_annotations: likewise of the annotations.
        num_categories: likewise of the categories.
    """

    path: Path
    findings: tuple[Finding, ...]
    refused: Mapping[int, tuple[Finding, ...]]
    readable: bool
    images: ImageColumns
    annotations: AnnotationColumns
    categories: tuple[CategoryRow, ...]
    image_ids: frozenset[int]
    category_ids: frozenset[int]
    num_images: int
    num_annotations: int
    num_categories: int

    def image_rows(self) -> Ints:
        """Return for each annotation the row of its picture in ``images``, or -1: (N,)."""
        if not len(self.images):
            return np.full(len(self.annotations), -1, dtype=np.int64)
        order = np.argsort(self.images.ids, kind="stable")
        ids = self.images.ids[order]
        at = np.minimum(np.searchsorted(ids, self.annotations.image_ids), len(ids) - 1)
        return np.where(ids[at] == self.annotations.image_ids, order[at], -1)


def read_table(path: Path) -> CocoTable:
    """Return the COCO file at ``path`` as columns.

    Raises:
        InputError: the file cannot be read or is not JSON.
    """
    raw = split_text(read_bytes(path))
    if raw is not None:
        try:
            return _from_raw(raw, path)
        except RecursionError:
            # An entry that is nested more deeply than Python's json goes.
            pass
    return table_from(read_json(path), path)


def _from_raw(raw: RawFile, path: Path) -> CocoTable:
    found = _Found(path)
    beside = {"info": raw.info, "licenses": raw.licenses}
    found.check_head({name: parse(text) for name, text in beside.items() if isinstance(text, msgspec.Raw)})
    with no_collection():
        read_raw("images", raw.images, (ImageEntry, CocoImage), found.images, found.refused)
        read_raw("annotations", raw.annotations, (AnnotationEntry, CocoAnnotation), found.annotations, found.refused)
        read_parsed("categories", [parse(text) for text in raw.categories], CocoCategory, found, found.refused)
    return found.table({name: len(getattr(raw, name)) for name in LISTS})


def strict_table(document: object, path: Path) -> CocoTable | None:
    """Return a parsed COCO document as columns where all of it keeps to the models; None at the first entry that fails.

    What it returns has values of the models' types alone, so that no other meaning needs to be looked for.
    """
    if not isinstance(document, Mapping) or not all(isinstance(document.get(name), list) for name in LISTS):
        return None
    found = _Found(path)
    found.check_head(document)
    if found.refused.findings:
        return None
    try:
        with no_collection():
            read_strict(document["images"], CocoImage, found.images)
            read_strict(document["annotations"], CocoAnnotation, found.annotations)
            read_strict(document["categories"], CocoCategory, found)
    except ValidationError:
        return None
    return found.table({name: len(document[name]) for name in LISTS})


def table_from(document: object, path: Path, *, reading: bool = False) -> CocoTable:
    """Return a parsed COCO document as columns.

    Args:
        document: the file, as parsed.
        path: the file, for the findings.
        reading: whether it is read to be converted: findings then leave out what the reader makes from other fields.
    """
    found = _Found(path, reading=reading)
    if not isinstance(document, Mapping) or not all(isinstance(document.get(name), list) for name in LISTS):
        found.check_whole(document)
        return found.table(dict.fromkeys(LISTS, 0), readable=False)
    found.check_head(document)
    with no_collection():
        read_parsed("images", document["images"], CocoImage, found.images, found.refused)
        read_parsed("annotations", document["annotations"], CocoAnnotation, found.annotations, found.refused)
        read_parsed("categories", document["categories"], CocoCategory, found, found.refused)
    return found.table({name: len(document[name]) for name in LISTS})


def unreadable_table(path: Path, error: InputError) -> CocoTable:
    """Return the table without rows of a file that cannot be read, with the finding that says why."""
    found = _Found(path)
    hint = "write the file again with the tool that it comes from"
    found.refused.findings.append(Finding("E310", str(path), error.place, error.problem, hint))
    return found.table(dict.fromkeys(LISTS, 0), readable=False)


def read_entries(path: Path, wanted: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, int, Any]]:
    """Yield some entries of the lists of a COCO file as they are, parsed one by one: list, index, entry.

    Args:
        path: the file.
        wanted: the list's name -> indices in ascending order; those beyond its end, and those of no list, are left out.

    Raises:
        InputError: the file cannot be read or is not JSON.
    """
    raw = split_text(read_bytes(path))
    document = read_json(path) if raw is None else {}
    for kind, positions in wanted.items():
        entries: Any = getattr(raw, kind, None) or document.get(kind)
        for at in itertools.takewhile(len(entries).__gt__, positions) if isinstance(entries, list) else ():
            yield kind, at, entries[at] if raw is None else parse(entries[at])


class _Found:
    """What has been read of a file so far."""

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        self.images, self.annotations, self.refused = ImageRows(), AnnotationRows(), Refused(path, reading=reading)
        self._categories: list[CategoryRow] = []

    def add(self, position: Sequence[int], rows: Sequence[CocoCategory]) -> None:
        """Add categories, with their indices in the file's list."""
        for at, category in zip(position, rows, strict=True):
            self._categories.append(
                CategoryRow(
                    place=place_of("categories", at, category.id, category.name),
                    id=category.id,
                    name=category.name,
                    keypoints=None if category.keypoints is None else tuple(category.keypoints),
                    edges=None if category.skeleton is None else tuple(category.skeleton),
                )
            )

    def check_head(self, document: Mapping[str, Any]) -> None:
        """Check what stands in a document beside the three lists."""
        self._check({**document, **{name: [] for name in LISTS}}, document)

    def check_whole(self, document: object) -> None:
        """Check a document that is no COCO file."""
        self._check(document, document)

    def _check(self, part: object, document: object) -> None:
        try:
            CocoFile.model_validate(part)
        except ValidationError as exc:
            self.refused.add_of_file(document, exc)

    def table(self, numbers: Mapping[str, int], *, readable: bool = True) -> CocoTable:
        """Return all of it, given how many entries each list has."""
        images = self.images.columns()
        return CocoTable(
            path=self.refused.path,
            findings=tuple(self.refused.findings),
            refused=self.refused.annotations,
            readable=readable,
            images=images,
            annotations=self.annotations.columns(),
            categories=tuple(self._categories),
            image_ids=frozenset(images.ids.tolist()) | self.refused.ids["images"],
            category_ids=frozenset(category.id for category in self._categories) | self.refused.ids["categories"],
            num_images=numbers["images"],
            num_annotations=numbers["annotations"],
            num_categories=numbers["categories"],
        )
