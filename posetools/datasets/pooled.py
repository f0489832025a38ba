"""The images and annotations of several splits of a data set, put together as they are in their files.

Unknown keys, and the order of images and annotations, are kept. Only ids used in two files are renumbered, because they
could end up in one file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from posetools.core.coco_document import HINT, CocoDocument, read_document
from posetools.core.folder import SPLITS, ann_file, splits_of
from posetools.core.geometry import SIZE_CLASSES
from posetools.core.journal import finish
from posetools.core.record import SplitCounts, count_annotations
from posetools.datasets.stratify import Strata, Stratify
from posetools.errors import InputError, RequestError, must_be, show_value
from posetools.files.disk import dump_json
from posetools.files.locks import only_one_in


@contextmanager
def splitting(data_root: Path) -> Iterator[tuple[bool, tuple[str, ...], list[str]]]:
    """Keep other runs out of a data set while it is split.

    Yields:
        whether an interrupted split was completed first; all splits; those of train and val that are there.

    Raises:
        RequestError: it is no data set, has neither train nor val, or another run is writing it.
    """
    if not data_root.is_dir():
        splits_of(data_root)
    with only_one_in(data_root):
        finished, splits = finish(data_root), splits_of(data_root)
        if not (shared := [split for split in splits if split in SPLITS]):
            raise RequestError(f"{data_root}: must have a train_coco.json or a val_coco.json, got {', '.join(splits)}")
        yield finished, splits, shared


@dataclass(frozen=True, eq=False, slots=True)
class PooledSplits:
    """The images and annotations of several splits.

    Attributes:
        data_root: the data set's folder.
        documents: split -> its file.
        images: the N entries of all files in ``images``, in the order of the files.
        annotations: the entries in ``annotations``.
        renumbered: which ids were renumbered: of ``images``, of ``annotations``, of both, or none.
    """

    data_root: Path
    documents: Mapping[str, CocoDocument]
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    renumbered: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The N file names."""
        return [image["file_name"] for image in self.images]

    @property
    def objects(self) -> list[int]:
        """The number of objects in each of the N images."""
        held = Counter(annotation["image_id"] for annotation in self.annotations)
        return [held[image["id"]] for image in self.images]

    def part(self, chosen: Collection[int], split: str) -> tuple[str, SplitCounts]:
        """Return a COCO file with some of the images, and what is in it.

        Args:
            chosen: the indices of the images.
            split: the split whose other content the file has; the first one's if there is no such file.

        Raises:
            InputError: the content has NaN or infinity.
        """
        first = next(iter(self.documents.values()))
        images = [image for index, image in enumerate(self.images) if index in chosen]
        ids = {image["id"] for image in images}
        theirs = [annotation for annotation in self.annotations if annotation["image_id"] in ids]
        content = {**self.documents.get(split, first).content, "images": images, "annotations": theirs}
        return _dump(self.data_root, content), count_annotations(len(images), _by_category(first, theirs))


def read_pooled(data_root: Path, splits: Sequence[str]) -> PooledSplits:
    """Read some splits of a data set, at least one.

    Raises:
        InputError: a file cannot be read, is not a COCO file, or has other categories than the first.
    """
    documents = {split: _read(ann_file(data_root, split)) for split in splits}
    first, *others = documents.values()
    for other in others:
        if first.content.get("categories") != other.content.get("categories"):
            got = show_value(other.content.get("categories"))
            problem = f"categories must be those of {first.path.name}, got {got}"
            raise InputError(other.path, "categories", problem, hint=HINT)
    return PooledSplits(data_root, documents, *_merge(list(documents.values())))


def strata_of(pooled: PooledSplits, stratify: Stratify) -> Strata:
    """Return the contents of each image: objects of each size or category, or points of each visibility; or none.

    Raises:
        RequestError: visibility is requested of categories without keypoints.
        InputError: an annotation has no area, category or visibility to count.
    """
    first = next(iter(pooled.documents.values()))
    names = _keypoint_names(first)
    categories = _category_names(first)
    if stratify == "visibility" and not any(names.values()):
        raise RequestError(f"{pooled.data_root}: --stratify visibility requires keypoints in the category, got none")
    labels, held = {
        "size": ([f"{each} objects" for each in SIZE_CLASSES], partial(_sizes, pooled.data_root)),
        "visibility": (
            ["unlabeled points", "occluded points", "visible points"],
            partial(_visibilities, pooled.data_root, names),
        ),
        "category": (
            [f"{name} objects" for name in categories.values()],
            partial(_in_category, pooled.data_root, categories),
        ),
    }[stratify]
    row_of = {image["id"]: row for row, image in enumerate(pooled.images)}
    counts = np.zeros((len(pooled.images), len(labels) + 1))
    for entry in pooled.annotations:
        counts[row_of[entry["image_id"]], :-1] += held(entry)
    counts[:, -1] = counts[:, :-1].sum(axis=1) == 0
    return Strata(stratify, (*labels, "images without objects"), counts)


def _read(path: Path) -> CocoDocument:
    document = read_document(path)
    if not isinstance(document.content, dict):
        raise InputError(path, "", must_be("a COCO file", "an object", document.content), hint=HINT)
    images, annotations = document.objects("images"), document.objects("annotations")
    for i, image in enumerate(images):
        if not isinstance(image.get("file_name"), str):
            problem = must_be("file_name", "a text", image.get("file_name"))
            raise InputError(path, f"images[{i}]", problem, hint=HINT)
    ids = _unique_ids(path, images, "images")
    _unique_ids(path, annotations, "annotations")
    names = _keypoint_names(document)
    for i, annotation in enumerate(annotations):
        place = f"annotations[{i}] (id {annotation['id']})"
        if annotation.get("image_id") not in ids:
            problem = must_be("image_id", "the id of an image in this file", annotation.get("image_id"))
            raise InputError(path, place, problem, hint=HINT)
        _check_keypoints(path, place, annotation.get("keypoints"), 3 * len(names[_category(names, annotation)]))
    return document


def _unique_ids(path: Path, entries: Sequence[Mapping[str, Any]], key: str) -> set[int | str]:
    seen: set[int | str] = set()
    for i, entry in enumerate(entries):
        number = entry.get("id")
        if not isinstance(number, int | str):
            raise InputError(path, f"{key}[{i}]", must_be("id", "a whole number", number), hint=HINT)
        if number in seen:
            raise InputError(path, f"{key}[{i}]", must_be("id", "unique in this file", number), hint=HINT)
        seen.add(number)
    return seen


def _check_keypoints(path: Path, place: str, keypoints: object, numbers: int) -> None:
    if keypoints is None:
        return
    if not isinstance(keypoints, list) or not all(isinstance(number, int | float) for number in keypoints):
        raise InputError(path, place, must_be("keypoints", "a list of numbers", keypoints), hint=HINT)
    if numbers and len(keypoints) not in (0, numbers):
        problem = must_be("keypoints", f"{numbers} numbers, as the category says", len(keypoints))
        raise InputError(path, place, problem, hint=HINT)


def _keypoint_names(document: CocoDocument) -> dict[Any, tuple[str, ...]]:
    """Return category id -> the names of its keypoints, categories with keypoints first."""
    found = ((entry.get("id"), entry.get("keypoints")) for entry in _categories(document))
    named = {number: tuple(map(str, points)) if isinstance(points, list) else () for number, points in found}
    return dict(sorted(named.items(), key=lambda each: not each[1])) or {None: ()}


def _category_names(document: CocoDocument) -> dict[Any, str]:
    return {entry.get("id"): str(entry.get("name")) for entry in _categories(document)}


def _categories(document: CocoDocument) -> list[dict[str, Any]]:
    entries = (entry for entry in document.entries("categories") if isinstance(entry, dict))
    return [entry for entry in entries if isinstance(entry.get("id"), int | str | None)]


def _category(names: Mapping[Any, tuple[str, ...]], annotation: Mapping[str, Any]) -> Any:
    """Return the category of an annotation, an id in ``names``: the first one if it has an unknown one, or none."""
    number = annotation.get("category_id")
    return number if isinstance(number, int | str) and number in names else next(iter(names))


def _by_category(
    document: CocoDocument, annotations: Sequence[dict[str, Any]]
) -> list[tuple[str, tuple[str, ...], list[dict[str, Any]]]]:
    """Return the name, the keypoints and the annotations of each category."""
    names, called = _keypoint_names(document), _category_names(document)
    of: dict[Any, list[dict[str, Any]]] = {number: [] for number in names}
    for annotation in annotations:
        of[_category(names, annotation)].append(annotation)
    return [(called.get(number, ""), names[number], of[number]) for number in called or names]


def _merge(documents: Sequence[CocoDocument]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], tuple[str, ...]]:
    """Return all images, all annotations, and which of the two were renumbered because of ids in both files."""
    renumbered = []
    images = [(number, image) for number, document in enumerate(documents) for image in document.entries("images")]
    annotations = [
        (number, entry) for number, document in enumerate(documents) for entry in document.entries("annotations")
    ]
    new_id = {(number, image["id"]): image["id"] for number, image in images}
    if _clash(images):
        renumbered.append("images")
        new_id = {(number, image["id"]): i for i, (number, image) in enumerate(images, start=1)}
    all_images = [{**image, "id": new_id[number, image["id"]]} for number, image in images]
    moved = [{**entry, "image_id": new_id[number, entry["image_id"]]} for number, entry in annotations]
    if _clash(annotations):
        renumbered.append("annotations")
        moved = [{**entry, "id": i} for i, entry in enumerate(moved, start=1)]
    return all_images, moved, tuple(renumbered)


def _clash(entries: Sequence[tuple[int, Mapping[str, Any]]]) -> bool:
    return max(Counter(entry["id"] for _, entry in entries).values(), default=0) > 1


def _in_category(data_root: Path, categories: Mapping[Any, str], entry: Mapping[str, Any]) -> list[int]:
    category = entry.get("category_id")
    if category not in list(categories):
        problem = must_be("category_id", "the id of an entry in categories for --stratify category", category)
        raise InputError(data_root, f"annotation {entry['id']}", problem, hint=HINT)
    return [int(number == category) for number in categories]


def _sizes(data_root: Path, entry: Mapping[str, Any]) -> list[int]:
    area = entry.get("area")
    if not isinstance(area, int | float) or isinstance(area, bool) or not 0 < area < float("inf"):
        problem = must_be("area", "a number of square pixels for --stratify size", area)
        raise InputError(data_root, f"annotation {entry['id']}", problem, hint="`posetools validate --fix` fixes areas")
    return [int(low <= area < high) for low, high in SIZE_CLASSES.values()]


def _visibilities(data_root: Path, names: Mapping[Any, tuple[str, ...]], entry: Mapping[str, Any]) -> list[int]:
    seen = (entry.get("keypoints") or [0] * (3 * len(names[_category(names, entry)])))[2::3]
    numbers = [seen.count(value) for value in range(3)]
    if sum(numbers) != len(seen):
        problem = must_be("visibility", "0, 1 or 2 for --stratify visibility", seen)
        raise InputError(data_root, f"annotation {entry['id']}", problem, hint=HINT)
    return numbers


def _dump(data_root: Path, content: Mapping[str, Any]) -> str:
    try:
        return dump_json(content)
    except ValueError as exc:
        raise InputError(data_root, "", "numbers must be finite, got NaN or infinity", hint=HINT) from exc
