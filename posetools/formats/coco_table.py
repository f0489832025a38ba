"""One COCO file as columns: every entry that keeps to the models, and a finding for every one that does not.

Checks and the reader work on these arrays. A file without errors costs one pass of pydantic over its text; places and
messages are made only for what is wrong.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from posetools.errors import InputError
from posetools.files import read_json, read_text
from posetools.findings import Finding
from posetools.formats.coco_errors import finding_from, place_of
from posetools.formats.coco_model import CocoAnnotation, CocoFile, CocoImage
from posetools.geometry import Bools, Floats, Ints

LISTS = ("images", "annotations", "categories")

_EMPTY = CocoFile(images=[], annotations=[], categories=[])


@dataclass(frozen=True, eq=False, slots=True)
class ImageColumns:
    """The M pictures that keep to the model.

    Attributes:
        position: (M,) index in the file's list.
        ids: (M,) as in the file.
        sizes: (M, 2) width and height in pixels.
        file_names: M texts.
    """

    position: Ints
    ids: Ints
    sizes: Ints
    file_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def place(self, row: int) -> str:
        """Return the place of a row in the file."""
        return place_of("images", int(self.position[row]), int(self.ids[row]), self.file_names[row])


@dataclass(frozen=True, eq=False, slots=True)
class AnnotationColumns:
    """The N annotations that keep to the model.

    Attributes:
        position: (N,) index in the file's list.
        ids: (N,) as in the file.
        image_ids: (N,) as in the file.
        category_ids: (N,) as in the file.
        bbox: (N, 4) x, y, width, height in pixels.
        areas: (N,) in square pixels.
        iscrowd: (N,) booleans.
        num_keypoints: (N,) as the file says.
        keypoints: all numbers of all rows, one after the other.
        starts: (N + 1,) where each row's numbers start in ``keypoints``.
    """

    position: Ints
    ids: Ints
    image_ids: Ints
    category_ids: Ints
    bbox: Floats
    areas: Floats
    iscrowd: Bools
    num_keypoints: Ints
    keypoints: Floats
    starts: Ints

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> Ints:
        """(N,) how many numbers each row's keypoints are."""
        return np.diff(self.starts)

    def points(self, rows: Ints, k: int) -> Floats:
        """Return the keypoints of ``rows``, each of which has 3K numbers: (len(rows), K, 3)."""
        index = self.starts[rows][:, None] + np.arange(3 * k)
        points: Floats = self.keypoints[index].reshape(len(rows), k, 3)
        return points

    def place(self, row: int) -> str:
        """Return the place of a row in the file."""
        return place_of("annotations", int(self.position[row]), int(self.ids[row]))


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
    text = read_text(path)
    try:
        with _no_collection():
            file = CocoFile.model_validate_json(text)
            return _complete(file, path)
    except ValidationError:
        # Also what pydantic's parser refuses and Python's takes, such as deep nesting of an unknown key.
        return table_from(read_json(path), path)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from walking millions of new objects, none garbage: half of the time else."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def unreadable_table(path: Path, error: InputError) -> CocoTable:
    """Return the table without rows of a file that cannot be read, with the finding that says why."""
    hint = "write the file again with the tool that it comes from"
    finding = Finding("E310", str(path), error.place, error.problem, hint)
    return _table(path, _EMPTY, {}, (finding,), readable=False)


def table_from(document: object, path: Path) -> CocoTable:
    """Return a parsed COCO document as columns; ``path`` is for the findings."""
    try:
        return _complete(CocoFile.model_validate(document), path)
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
    findings = tuple(finding_from(error, document, path) for error in errors)
    if not isinstance(document, Mapping) or not all(isinstance(document.get(name), list) for name in LISTS):
        return _table(path, _EMPTY, {}, findings, readable=False)
    bad = {error["loc"][:2] for error in errors}
    kept = {name: [i for i in range(len(document[name])) if (name, i) not in bad] for name in LISTS}
    file = CocoFile.model_validate({name: [document[name][i] for i in kept[name]] for name in LISTS})
    return _table(path, file, document, findings, kept=kept)


def _complete(file: CocoFile, path: Path) -> CocoTable:
    return _table(path, file, {}, ())


def _table(
    path: Path,
    file: CocoFile,
    document: Mapping[str, Any],
    findings: tuple[Finding, ...],
    *,
    kept: Mapping[str, Sequence[int]] | None = None,
    readable: bool = True,
) -> CocoTable:
    at = kept or {name: range(len(getattr(file, name))) for name in LISTS}
    return CocoTable(
        path=path,
        findings=findings,
        readable=readable,
        images=_image_columns(file.images, at["images"]),
        annotations=_annotation_columns(file.annotations, at["annotations"]),
        categories=tuple(
            CategoryRow(
                place=place_of("categories", position, category.id, category.name),
                id=category.id,
                name=category.name,
                keypoints=None if category.keypoints is None else tuple(category.keypoints),
                edges=None if category.skeleton is None else tuple(category.skeleton),
            )
            for position, category in zip(at["categories"], file.categories, strict=True)
        ),
        image_ids=frozenset(image.id for image in file.images) | _integer_ids(document.get("images", ())),
        category_ids=frozenset(c.id for c in file.categories) | _integer_ids(document.get("categories", ())),
        num_images=len(document.get("images", file.images)),
        num_annotations=len(document.get("annotations", file.annotations)),
        num_categories=len(document.get("categories", file.categories)),
    )


def _integer_ids(entries: Sequence[Any]) -> frozenset[int]:
    ids = (entry.get("id") for entry in entries if isinstance(entry, Mapping))
    return frozenset(number for number in ids if isinstance(number, int))


def _image_columns(images: Sequence[CocoImage], position: Sequence[int]) -> ImageColumns:
    return ImageColumns(
        position=np.array(position, dtype=np.int64),
        ids=np.array([image.id for image in images], dtype=np.int64),
        sizes=np.array([(image.width, image.height) for image in images], dtype=np.int64).reshape(-1, 2),
        file_names=tuple(image.file_name for image in images),
    )


def _annotation_columns(rows: Sequence[CocoAnnotation], position: Sequence[int]) -> AnnotationColumns:
    lengths = np.fromiter((len(row.keypoints) for row in rows), dtype=np.int64, count=len(rows))
    numbers = itertools.chain.from_iterable(row.keypoints for row in rows)
    return AnnotationColumns(
        position=np.array(position, dtype=np.int64),
        ids=np.array([row.id for row in rows], dtype=np.int64),
        image_ids=np.array([row.image_id for row in rows], dtype=np.int64),
        category_ids=np.array([row.category_id for row in rows], dtype=np.int64),
        bbox=np.array([row.bbox for row in rows], dtype=np.float64).reshape(-1, 4),
        areas=np.array([row.area for row in rows], dtype=np.float64),
        iscrowd=np.array([row.iscrowd for row in rows], dtype=np.bool_),
        num_keypoints=np.array([row.num_keypoints for row in rows], dtype=np.int64),
        keypoints=np.fromiter(numbers, dtype=np.float64, count=int(lengths.sum())),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )
