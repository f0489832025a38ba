"""The content of a shard of annotation files: a Dataset, and the findings on those files.

All readers yield shards, whether this process, other processes or Dask workers read them. Columns are small to keep
and to send.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, repeat
from typing import NamedTuple, TypeAlias

import numpy as np

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, Image
from posetools.core.findings import Finding, has_errors
from posetools.core.folder import split_folder
from posetools.core.geometry import DECIMALS, box_area
from posetools.core.place import Origin, Origins
from posetools.formats.joining.made_boxes import BoxCompletion, ThinBox, complete
from posetools.formats.reading import Corners, FileReading

# An object: x1, y1, x2, y2; x, y, visibility of each column of keypoints (all 0 if not labeled); its place in the file;
# the id of its category.
Object: TypeAlias = tuple[Sequence[float], Sequence[float], str, int]

_UNLABELED = (0, 0, 0)


class ImageSource(NamedTuple):
    """What is known of an image until all are read: where it is annotated, and what decides its name.

    Attributes:
        file: the annotation file.
        identity: the image's path with symlinks resolved.
        origin: the prefix of its name if another image has the same.
        shapes: how many shapes or lines the file holds.
    """

    file: str
    identity: str
    origin: str
    shapes: int


@dataclass(frozen=True, slots=True)
class ShardReading:
    """The content of a shard of annotation files.

    Attributes:
        dataset: the usable images, in the order of the files, and their objects. Names are not final: two images
            may have the same one until all shards are joined.
        sources: one for each image.
        left_out: the identities of images that cannot be used.
        broken: the identities of usable images in which an object could not be read.
        findings: errors and warnings.
        ignored: label -> how many shapes were left out on purpose.
        files: how many annotation files were read.
        completed: how boxes from keypoints with a short side were completed; None if there are none.
    """

    dataset: Dataset
    sources: Sequence[ImageSource] = ()
    left_out: Sequence[str] = ()
    broken: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    files: int = 0
    completed: BoxCompletion | None = None


@dataclass(slots=True)
class ShardBuilder:
    """Collects the content of annotation files.

    Attributes:
        categories: the categories, each with its skeleton.
    """

    categories: Categories
    _images: list[Image] = field(default_factory=list)
    _sources: list[ImageSource] = field(default_factory=list)
    _counts: list[int] = field(default_factory=list)
    _objects: list[Object] = field(default_factory=list)
    _left_out: list[str] = field(default_factory=list)
    _broken: list[str] = field(default_factory=list)
    _findings: list[Finding] = field(default_factory=list)
    _ignored: Counter[str] = field(default_factory=Counter)
    _completed: BoxCompletion | None = None
    _sizes: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def add(self, reading: FileReading, *, keep_path: bool = True) -> None:
        """Add the content of one annotation file.

        Args:
            reading: the file.
            keep_path: whether the image's path is needed.
        """
        self._findings += reading.findings
        self._ignored.update(reading.ignored)
        if reading.image is None:
            self._left_out += [reading.identity] if reading.identity else []
            return
        if has_errors(reading.findings):
            self._broken.append(reading.identity)
        file, path = str(reading.file), reading.image if keep_path else None
        boxes = [row.box for row in reading.rows]
        if any(type(box) is ThinBox for box in boxes):
            boxes = self._complete(reading, boxes)
        objects = []
        for row, box in zip(reading.rows, boxes, strict=True):
            points = (point if point[2] else _UNLABELED for point in row.keypoints)
            objects.append((box, list(chain.from_iterable(points)), row.place, row.category_id))
        split = reading.split or split_by_folders(reading.name, reading.origin)
        image = Image(reading.name, *self.shared(reading.size), path, split)
        self.add_image(image, ImageSource(file, reading.identity, reading.origin, reading.objects), objects)

    def add_image(self, image: Image, source: ImageSource, objects: Sequence[Object]) -> None:
        """Add an image with its objects."""
        self._images.append(image)
        self._sources.append(source)
        self._counts.append(len(objects))
        self._objects += objects

    def shared(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return an equal size that all images of that size share, to save memory."""
        return self._sizes.setdefault(size, size)

    def build(self, more: Iterable[Finding] = (), *, files: int) -> ShardReading:
        """Return everything that was added.

        Args:
            more: findings that belong to no file.
            files: how many annotation files were read.
        """
        return ShardReading(
            dataset=self._dataset(),
            sources=self._sources,
            left_out=self._left_out,
            broken=self._broken,
            findings=[*self._findings, *more],
            ignored=self._ignored,
            files=files,
            completed=self._completed,
        )

    def _dataset(self) -> Dataset:
        corners, points, places, ids = zip(*self._objects, strict=True) if self._objects else ((), (), (), ())
        files = (repeat(source.file, count) for source, count in zip(self._sources, self._counts, strict=True))
        n, k, flat = len(corners), self.categories.num_keypoints, chain.from_iterable
        boxes = np.fromiter(flat(corners), dtype=np.float64, count=4 * n).reshape(n, 4).round(DECIMALS)
        return Dataset(
            categories=self.categories,
            images=tuple(self._images),
            boxes=boxes,
            keypoints=np.fromiter(flat(points), dtype=np.float64, count=3 * k * n).reshape(n, k, 3),
            areas=box_area(boxes),
            iscrowd=np.zeros(n, dtype=np.bool_),
            category_ids=np.array(ids, dtype=np.int64),
            image_index=np.repeat(np.arange(len(self._counts)), np.array(self._counts, dtype=np.int64)),
            origins=Origins(tuple(flat(files)), places),
        )

    def _complete(self, reading: FileReading, boxes: list[Corners]) -> list[Corners]:
        completed, given, by_others = complete(boxes, reading.size)
        thin = [row for row in reading.rows if isinstance(row.box, ThinBox)]
        number, first = len(thin), Origin(str(reading.file), thin[0].place)
        more = BoxCompletion(number, number if by_others else 0, min(given), max(given), first)
        self._completed = more if self._completed is None else self._completed + more
        return completed


def split_by_folders(name: str, origin: str) -> str | None:
    """Return the split named by an image's first folder, else the source's split."""
    return _declared(name.partition("/")[0] if "/" in name else "", origin)


@cache
def _declared(folder: str, origin: str) -> str | None:
    return split_folder(folder) or split_folder(origin)


def shard_of(
    readings: Iterable[FileReading], categories: Categories, more: Iterable[Finding] = (), *, files: int
) -> ShardReading:
    """Return the content of some annotation files, or of the entries of one.

    Args:
        readings: one per file or entry.
        categories: the categories, each with its skeleton.
        more: findings that belong to no file.
        files: how many annotation files there are.
    """
    builder = ShardBuilder(categories)
    for reading in readings:
        builder.add(reading)
    return builder.build(more, files=files)
