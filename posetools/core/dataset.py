"""The data set in memory: a table of pictures and the objects in them as arrays.

The Dataset is columnar, frozen, and knows nothing of JSON keys, YOLO lines or folders. An Instance is a view of one
row. Readers fill a DatasetBuilder; writers and checks read the arrays.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TypeAlias

import numpy as np

from posetools.core.geometry import DECIMALS, Bools, Floats, Ints, box_area
from posetools.core.skeleton import Skeleton


class Visibility(IntEnum):
    """COCO's three values; every path through posetools keeps all three apart."""

    NOT_LABELLED = 0
    HIDDEN = 1
    VISIBLE = 2


@dataclass(frozen=True, slots=True)
class Image:
    """One picture.

    Attributes:
        file_name: its name in the data set's ``images/`` folder, with forward slashes; unique in a Dataset.
        width: in pixels, of the upright frame (after EXIF rotation).
        height: likewise.
        path: where the file lies now, or None when the source does not say.
        split: the split that the source declares for it, or None.
    """

    file_name: str
    width: int
    height: int
    path: Path | None = field(default=None, compare=False)
    split: str | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height


# A picture's name, width, height and path; no path, or an empty one, when nobody knows it.
Entry: TypeAlias = tuple[str, int, int, Path | str | None]


@dataclass(frozen=True, slots=True)
class Instance:
    """One object: a view of one row of a Dataset.

    Attributes:
        image: the picture it is in.
        box: (4,) x1, y1, x2, y2.
        keypoints: (K, 3) x, y, visibility; x = y = 0 where the visibility is 0.
        area: in square pixels.
        iscrowd: whether it stands for a group of objects.
        place: where it came from: the file, and the place in it.
    """

    image: Image
    box: Floats
    keypoints: Floats
    area: float
    iscrowd: bool
    place: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pictures and the N objects in them, all of one skeleton with K keypoints. Arrays are read-only.

    Objects are sorted by picture, pictures by file name. Two Datasets are equal when skeleton, pictures (but for where
    the files lie) and all arrays are; where an object came from does not count.

    Attributes:
        skeleton: what the K keypoints are.
        images: the pictures, sorted by ``file_name``.
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        keypoints: (N, K, 3) x, y in pixels and visibility 0, 1 or 2.
        areas: (N,) in square pixels.
        iscrowd: (N,) booleans.
        image_index: (N,) index into ``images``, ascending.
        places: N texts: the file that each came from, and the place in it.
    """

    skeleton: Skeleton
    images: tuple[Image, ...]
    boxes: Floats
    keypoints: Floats
    areas: Floats
    iscrowd: Bools
    image_index: Ints
    places: tuple[str, ...]

    def __post_init__(self) -> None:
        n, k = len(self.boxes), self.skeleton.num_keypoints
        shapes = {"boxes": (n, 4), "keypoints": (n, k, 3), "areas": (n,), "iscrowd": (n,), "image_index": (n,)}
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise ValueError(f"{name} must have the shape {shape}, got {array.shape}")
            array.setflags(write=False)
        if len(self.places) != n:
            raise ValueError(f"places must be {n} texts, got {len(self.places)}")

    def __len__(self) -> int:
        return len(self.boxes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Dataset):
            return NotImplemented
        return (
            self.skeleton == other.skeleton
            and self.images == other.images
            and all(
                np.array_equal(getattr(self, name), getattr(other, name))
                for name in ("boxes", "keypoints", "areas", "iscrowd", "image_index")
            )
        )

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, row: int) -> Instance:
        return Instance(
            image=self.images[int(self.image_index[row])],
            box=self.boxes[row],
            keypoints=self.keypoints[row],
            area=float(self.areas[row]),
            iscrowd=bool(self.iscrowd[row]),
            place=self.places[row],
        )

    def __iter__(self) -> Iterator[Instance]:
        return (self[row] for row in range(len(self)))

    @property
    def num_images(self) -> int:
        """How many pictures there are."""
        return len(self.images)

    @property
    def counts(self) -> Ints:
        """(M,) how many objects each picture has."""
        counts: Ints = np.bincount(self.image_index, minlength=len(self.images)).astype(np.int64)
        return counts

    def entries(self) -> Iterator[Entry]:
        """Yield the pictures' names, widths, heights and paths."""
        return ((image.file_name, image.width, image.height, image.path) for image in self.images)

    @property
    def visibility(self) -> Ints:
        """(N, K) visibilities."""
        return self.keypoints[:, :, 2].astype(np.int64)

    @property
    def num_labelled(self) -> Ints:
        """(N,) how many keypoints of each object are labelled (COCO's ``num_keypoints``)."""
        counts: Ints = (self.keypoints[:, :, 2] > 0).sum(axis=1)
        return counts

    def rows_of_images(self) -> tuple[range, ...]:
        """Return for each picture the rows of its objects."""
        edges = np.searchsorted(self.image_index, np.arange(len(self.images) + 1))
        return tuple(range(int(a), int(b)) for a, b in itertools.pairwise(edges))

    def select_images(self, indices: Iterable[int]) -> Dataset:
        """Return the Dataset of those pictures (indices into ``images``) and the objects in them."""
        kept = sorted(set(indices))
        new_index = np.full(len(self.images), -1, dtype=np.int64)
        new_index[kept] = np.arange(len(kept))
        rows = np.flatnonzero(new_index[self.image_index] >= 0)
        return Dataset(
            skeleton=self.skeleton,
            images=tuple(self.images[i] for i in kept),
            boxes=self.boxes[rows],
            keypoints=self.keypoints[rows],
            areas=self.areas[rows],
            iscrowd=self.iscrowd[rows],
            image_index=new_index[self.image_index[rows]],
            places=tuple(self.places[row] for row in rows),
        )

    def with_images(self, images: Sequence[Image]) -> Dataset:
        """Return this Dataset with other pictures in the places of its own, and everything sorted again."""
        if len(images) != len(self.images):
            raise ValueError(f"images must be {len(self.images)}, got {len(images)}")
        builder = DatasetBuilder(self.skeleton)
        for image, rows in zip(images, self.rows_of_images(), strict=True):
            builder.add_image(image)
            for row in rows:
                instance = self[row]
                builder.add_instance(
                    image.file_name,
                    box=instance.box,
                    keypoints=instance.keypoints,
                    place=instance.place,
                    area=instance.area,
                    iscrowd=instance.iscrowd,
                )
        return builder.build()


def concatenate(parts: Sequence[Dataset]) -> Dataset:
    """Return one Dataset of all pictures and objects; the parts share a skeleton and no file name.

    Raises:
        ValueError: there is no part, or the skeletons differ, or a file name stands in two parts.
    """
    if not parts or any(part.skeleton != parts[0].skeleton for part in parts):
        raise ValueError("concatenate needs at least one Dataset, and one skeleton in all")
    images = [image for part in parts for image in part.images]
    offsets = np.cumsum([0, *(len(part.images) for part in parts)])
    indices = [part.image_index + offset for part, offset in zip(parts, offsets[:-1], strict=True)]
    return _sorted(
        parts[0].skeleton,
        images,
        boxes=np.concatenate([part.boxes for part in parts]),
        keypoints=np.concatenate([part.keypoints for part in parts]),
        areas=np.concatenate([part.areas for part in parts]),
        iscrowd=np.concatenate([part.iscrowd for part in parts]),
        image_index=np.concatenate(indices),
        places=[place for part in parts for place in part.places],
    )


class DatasetBuilder:
    """Collects pictures and objects in any order; ``build`` sorts them into a Dataset."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        self._images: list[Image] = []
        self._index: dict[str, int] = {}
        self._boxes: list[Floats] = []
        self._keypoints: list[Floats] = []
        self._areas: list[float | None] = []
        self._iscrowd: list[bool] = []
        self._image_index: list[int] = []
        self._places: list[str] = []

    def __contains__(self, file_name: str) -> bool:
        return file_name in self._index

    def add_image(self, image: Image) -> None:
        """Add a picture.

        Raises:
            ValueError: one of that name is already there.
        """
        if image.file_name in self._index:
            raise ValueError(f"file_name must be unique, got {image.file_name!r} again")
        self._index[image.file_name] = len(self._images)
        self._images.append(image)

    def add_instance(
        self,
        file_name: str,
        *,
        box: Floats,
        keypoints: Floats,
        place: str,
        area: float | None = None,
        iscrowd: bool = False,
    ) -> None:
        """Add an object of the picture ``file_name``, which was added before.

        Args:
            file_name: the picture's.
            box: (4,) x1, y1, x2, y2 in pixels, kept to 1e-9 px, which every format can give back exactly.
            keypoints: (K, 3) x, y, visibility; coordinates of points that are not labelled become 0.
            place: where it came from, for messages.
            area: in square pixels; None for the box's width times height.
            iscrowd: whether it stands for a group.
        """
        points = np.array(keypoints, dtype=np.float64)
        points[points[:, 2] == Visibility.NOT_LABELLED] = 0.0
        self._boxes.append(np.array(box, dtype=np.float64).round(DECIMALS))
        self._keypoints.append(points)
        self._areas.append(area)
        self._iscrowd.append(iscrowd)
        self._image_index.append(self._index[file_name])
        self._places.append(place)

    def build(self) -> Dataset:
        """Return the Dataset of what was added; objects of one picture keep the order they were added in."""
        n, k = len(self._boxes), self.skeleton.num_keypoints
        boxes = np.array(self._boxes, dtype=np.float64).reshape(n, 4)
        own = np.array([np.nan if area is None else area for area in self._areas], dtype=np.float64)
        return _sorted(
            self.skeleton,
            self._images,
            boxes=boxes,
            keypoints=np.array(self._keypoints, dtype=np.float64).reshape(n, k, 3),
            areas=np.where(np.isnan(own), box_area(boxes), own),
            iscrowd=np.array(self._iscrowd, dtype=np.bool_),
            image_index=np.array(self._image_index, dtype=np.int64),
            places=self._places,
        )


def _sorted(
    skeleton: Skeleton,
    images: Sequence[Image],
    *,
    boxes: Floats,
    keypoints: Floats,
    areas: Floats,
    iscrowd: Bools,
    image_index: Ints,
    places: Sequence[str],
) -> Dataset:
    order = sorted(range(len(images)), key=lambda i: images[i].file_name)
    rank = np.empty(len(images), dtype=np.int64)
    rank[order] = np.arange(len(images))
    index = rank[image_index]
    rows = np.argsort(index, kind="stable")
    names = {image.file_name for image in images}
    if len(names) != len(images):
        raise ValueError("file names must be unique")
    return Dataset(
        skeleton=skeleton,
        images=tuple(images[i] for i in order),
        boxes=boxes[rows],
        keypoints=keypoints[rows],
        areas=areas[rows],
        iscrowd=iscrowd[rows],
        image_index=index[rows],
        places=tuple(places[row] for row in rows),
    )
