"""Writing COCO keypoint files; the format is described in posetools/formats/coco/format.py.

A file is written in slices, so that its whole text is never in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from posetools.core.dataset import SLICE, Dataset, Image, Split, Visibility
from posetools.core.folder import IMAGES, SPLITS, ann_file
from posetools.core.geometry import xywh_from_xyxy
from posetools.core.skeleton import Skeleton
from posetools.errors import InputError, must_be
from posetools.files.disk import Transfer, transfer, write_chunks
from posetools.files.urls import as_path, fetch, is_url
from posetools.formats.coco.sources import safe_name

# How many images are fetched from URLs at once.
_FETCHED_TOGETHER = 256


class _ImageLine(msgspec.Struct, gc=False):
    id: int
    file_name: str
    width: int
    height: int


class _Annotation(msgspec.Struct, gc=False):
    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: float
    iscrowd: int
    num_keypoints: int
    keypoints: list[float]
    segmentation: tuple[()] = ()


_ENCODER = msgspec.json.Encoder()


def write(splits: Mapping[str, Split], folder: Path, images: Transfer) -> None:
    """Write ``images/`` and one COCO file per split; ids continue from split to split, train and val first.

    Raises:
        InputError: an image is in two splits, has a name that leaves the folder, or no known file.
        OutputError: a file cannot be written.
    """
    seen: dict[str, str] = {}
    first_image = first_annotation = 1
    for split in sorted(splits, key=lambda name: (name not in SPLITS, SPLITS.index(name) if name in SPLITS else name)):
        part = splits[split]
        _bring(part.images, split, seen, folder / IMAGES, images)
        text = _Text(part, first_image, first_annotation)
        write_chunks(ann_file(folder, split), text.chunks())
        first_image, first_annotation = text.next_image, text.next_annotation


def write_split(split: Split, path: Path) -> None:
    """Write one COCO file, without the images.

    Raises:
        OutputError: it cannot be written.
    """
    write_chunks(path, _Text(split, 1, 1).chunks())


def category_entry(skeleton: Skeleton) -> dict[str, Any]:
    """Return the skeleton's entry in ``categories``."""
    return {
        "id": skeleton.category.id,
        "name": skeleton.category.name,
        "supercategory": skeleton.category.name,
        "keypoints": list(skeleton.names),
        "skeleton": skeleton.coco_edges,
    }


class _Text:
    """The text of a COCO file in chunks, so that a data set does not need to fit into memory.

    Attributes:
        next_image: the first free image id.
        next_annotation: the first free annotation id; known when all chunks are made.
    """

    def __init__(self, split: Split, first_image: int, first_annotation: int) -> None:
        self._split = split
        self._first = first_image
        self.next_image = first_image + len(split.images)
        self.next_annotation = first_annotation

    def chunks(self) -> Iterator[bytes]:
        """Yield the file: one line per entry of a list."""
        skeletons = self._split.categories.skeletons
        named = ", ".join(dict.fromkeys(skeleton.name for skeleton in skeletons))
        info = {"description": f"{named} keypoints", "version": "1.0"}
        yield b'{\n"info": ' + _ENCODER.encode(info) + b',\n"licenses": [],\n"images": ['
        yield from _listed(self._images())
        yield b'],\n"annotations": ['
        yield from _listed(self._annotations())
        entries = b",\n".join(_ENCODER.encode(category_entry(skeleton)) for skeleton in skeletons)
        yield b'],\n"categories": [\n' + entries + b"\n]\n}\n"

    def _images(self) -> Iterator[list[_ImageLine]]:
        images = self._split.images
        for at in range(0, len(images), SLICE):
            numbered = enumerate(images[at : at + SLICE], start=self._first + at)
            yield [_ImageLine(number, image.file_name, image.width, image.height) for number, image in numbered]

    def _annotations(self) -> Iterator[list[_Annotation]]:
        first_image = self._first
        for dataset in self._split.slices():
            yield list(map(_Annotation, count(self.next_annotation), *_columns(dataset, first_image)))
            first_image += len(dataset.images)
            self.next_annotation += len(dataset)


def _columns(dataset: Dataset, first_image: int) -> tuple[Iterable[Any], ...]:
    """Return the values of all annotation fields but the first."""
    visibility, keypoints = dataset.visibility, np.empty(dataset.keypoints.shape, dtype=object)
    keypoints[:, :, :2], keypoints[:, :, 2] = dataset.keypoints[:, :, :2], visibility
    # 0 rather than 0.0, as most files have it.
    keypoints[visibility == Visibility.NOT_LABELED] = 0
    return (
        (dataset.image_index + first_image).tolist(),
        dataset.category_ids.tolist(),
        xywh_from_xyxy(dataset.boxes).tolist(),
        dataset.areas.tolist(),
        dataset.iscrowd.astype(np.int64).tolist(),
        dataset.num_labeled.tolist(),
        _own_keypoints(dataset, keypoints),
    )


def _own_keypoints(dataset: Dataset, keypoints: Any) -> list[list[float]]:
    """Return the flat keypoints of each object's own category, from (N, K, 3) of all columns."""
    own: list[list[float]] = [[]] * len(dataset)
    for category, columns in dataset.categories.columns.items():
        rows = np.flatnonzero(dataset.category_ids == category)
        flat = keypoints[np.ix_(rows, columns)].reshape(len(rows), 3 * len(columns)).tolist()
        for row, values in zip(rows.tolist(), flat, strict=True):
            own[row] = values
    return own


def _listed(batches: Iterable[Sequence[msgspec.Struct]]) -> Iterator[bytes]:
    """Yield entries as a JSON list, one per line."""
    before = b"\n"
    for entries in batches:
        if entries:
            yield before
            # msgspec 0.22 leaks a reference to an iterator that is not a list.
            yield _ENCODER.encode_lines(entries)[:-1].replace(b"\n", b",\n")
            before = b",\n"
    if before != b"\n":
        yield b"\n"


def _bring(images: Iterable[Image], split: str, seen: dict[str, str], folder: Path, how: Transfer) -> None:
    """Copy or link each image into the folder; ``seen`` maps the names that are taken to their splits."""
    remote: dict[Path, Path] = {}
    for name, path in ((image.file_name, image.path) for image in images):
        if (other := seen.setdefault(name, split)) != split:
            raise InputError(name, "", must_be("file_name", f"in one split only ({other} has it)", split))
        if safe_name(name) != name:
            raise InputError(name, "", must_be("file_name", "a path that stays in images/", name))
        if how == "none":
            continue
        if not path:
            problem = must_be("path", "an image file for images/", None)
            raise InputError(name, "", problem, hint="read the data set with its images before writing it")
        if is_url(path):
            remote[folder / name] = as_path(path)
        else:
            transfer(path, folder / name, how)
        if len(remote) == _FETCHED_TOGETHER:
            fetch(remote)
            remote.clear()
    fetch(remote)
