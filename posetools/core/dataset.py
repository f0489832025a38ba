"""The data set in memory: a table of images and the objects in them as arrays.

The Dataset is columnar, frozen, and knows nothing of JSON keys, YOLO lines or folders. An Instance is a view of one
row. Readers fill a DatasetBuilder; writers and checks read the arrays.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from posetools.core.categories import Categories
from posetools.core.geometry import DECIMALS, Bools, Floats, Ints, box_area
from posetools.core.place import Origin, Origins
from posetools.core.skeleton import Skeleton

# Images per slice for writers: small enough for CPU caches.
SLICE = 500


class Visibility(IntEnum):
    """COCO's three values; posetools always keeps all three."""

    NOT_LABELED = 0
    HIDDEN = 1
    VISIBLE = 2


@dataclass(frozen=True, slots=True)
class Image:
    """One image.

    Attributes:
        file_name: its name in the data set's ``images/`` folder, with forward slashes; unique in a Dataset.
        width: of the upright image (after EXIF rotation), in pixels.
        height: of the upright image, in pixels.
        path: the file's current path, or None if unknown.
        split: its split in the source, or None.
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


@dataclass(frozen=True, slots=True)
class Instance:
    """One object: a view of one row of a Dataset.

    Attributes:
        image: the image it is in.
        box: (4,) x1, y1, x2, y2.
        keypoints: (K, 3) x, y, visibility of its category's K keypoints; x = y = 0 where the visibility is 0.
        area: in square pixels.
        iscrowd: whether it is a group of objects.
        category_id: the COCO id of its category.
        origin: where it came from.
    """

    image: Image
    box: Floats
    keypoints: Floats
    area: float
    iscrowd: bool
    category_id: int
    origin: Origin


class Split(Protocol):
    """Images with their objects as a writer takes them: a Dataset, or several of them one after the other."""

    @property
    def categories(self) -> Categories:
        """The categories, each with its skeleton."""

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the only category."""

    @property
    def images(self) -> Sequence[Image]:
        """All images, sorted by ``file_name``."""

    def slices(self) -> Iterator[Dataset]:
        """Yield Datasets of a few hundred images each, in the order of ``images``."""


# The columns of a Dataset that have a row per object, but for where it came from.
OBJECT_COLUMNS = ("boxes", "keypoints", "areas", "iscrowd", "category_ids", "image_index")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and the N objects in them, with K columns of keypoints. Arrays are read-only.

    Objects are sorted by image, images by file name. Two Datasets are equal if their categories, images (except for
    paths) and arrays are equal; origins are ignored.

    Attributes:
        categories: the categories, each with its skeleton; they say what the K columns are.
        images: the images, sorted by ``file_name``.
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        keypoints: (N, K, 3) x, y in pixels and visibility 0, 1 or 2; 0 in the columns of other categories.
        areas: (N,) in square pixels.
        iscrowd: (N,) booleans.
        category_ids: (N,) the COCO id of each object's category, a key of ``categories``.
        image_index: (N,) index into ``images``, ascending.
        origins: where each of the N came from.
    """

    categories: Categories
    images: tuple[Image, ...]
    boxes: Floats
    keypoints: Floats
    areas: Floats
    iscrowd: Bools
    category_ids: Ints
    image_index: Ints
    origins: Origins

    def __post_init__(self) -> None:
        n, k = len(self.boxes), self.categories.num_keypoints
        shapes = {"boxes": (n, 4), "keypoints": (n, k, 3)}
        for name in OBJECT_COLUMNS:
            array, shape = getattr(self, name), shapes.get(name, (n,))
            if array.shape != shape:
                raise ValueError(f"{name} must have the shape {shape}, got {array.shape}")
            array.setflags(write=False)
        if len(self.origins) != n:
            raise ValueError(f"origins must be {n}, got {len(self.origins)}")

    def __len__(self) -> int:
        return len(self.boxes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Dataset):
            return NotImplemented
        return (
            self.categories == other.categories
            and self.images == other.images
            and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in OBJECT_COLUMNS)
        )

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, row: int) -> Instance:
        category = int(self.category_ids[row])
        return Instance(
            image=self.images[int(self.image_index[row])],
            box=self.boxes[row],
            keypoints=self.keypoints[row, self.categories.columns[category]],
            area=float(self.areas[row]),
            iscrowd=bool(self.iscrowd[row]),
            category_id=category,
            origin=self.origins[row],
        )

    def __iter__(self) -> Iterator[Instance]:
        return (self[row] for row in range(len(self)))

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the only category.

        Raises:
            ValueError: there are several.
        """
        return self.categories.only

    def of_categories(self, categories: Categories) -> Dataset:
        """Return all images, with the objects of some of the categories, which share a skeleton.

        Args:
            categories: some of its categories; their K keypoints are the new columns.
        """
        if categories == self.categories:
            return self
        rows = np.flatnonzero(np.isin(self.category_ids, list(categories)))
        own = {name: getattr(self, name)[rows] for name in OBJECT_COLUMNS}
        own["keypoints"] = own["keypoints"][:, self.categories.columns[next(iter(categories))]]
        return Dataset(categories, self.images, **own, origins=self.origins.take(rows.tolist()))

    def parts(self) -> tuple[Dataset, ...]:
        """Return for each different skeleton the Dataset of its categories, with all images."""
        return tuple(self.of_categories(group) for group in self.categories.groups)

    @property
    def counts(self) -> Ints:
        """(M,) how many objects each image has."""
        counts: Ints = np.bincount(self.image_index, minlength=len(self.images)).astype(np.int64)
        return counts

    @property
    def visibility(self) -> Ints:
        """(N, K) visibilities."""
        return self.keypoints[:, :, 2].astype(np.int64)

    @property
    def num_labeled(self) -> Ints:
        """(N,) how many keypoints of each object are labeled (COCO's ``num_keypoints``)."""
        counts: Ints = (self.keypoints[:, :, 2] > 0).sum(axis=1)
        return counts

    def rows_of_images(self) -> tuple[range, ...]:
        """Return for each image the rows of its objects."""
        edges = np.searchsorted(self.image_index, np.arange(len(self.images) + 1))
        return tuple(range(int(a), int(b)) for a, b in itertools.pairwise(edges))

    def slices(self) -> Iterator[Dataset]:
        """Yield the Dataset as Datasets of a few hundred images, one after the other."""
        if len(self.images) <= SLICE:
            yield self
            return
        edges = np.searchsorted(self.image_index, np.arange(0, len(self.images) + SLICE, SLICE)).tolist()
        for number, (a, b) in enumerate(itertools.pairwise(edges)):
            first = number * SLICE
            own = {name: getattr(self, name)[a:b] for name in OBJECT_COLUMNS}
            own["image_index"] = own["image_index"] - first
            yield Dataset(self.categories, self.images[first : first + SLICE], **own, origins=self.origins[a:b])

    def take(self, images: Sequence[Image], rows: Ints, image_index: Ints) -> Dataset:
        """Return the Dataset of some of the objects, which are in these images.

        Args:
            images: its images, sorted by file name.
            rows: (n,) the objects, in its order.
            image_index: (n,) the image of each, an index into ``images``, ascending.
        """
        own = {name: getattr(self, name)[rows] for name in OBJECT_COLUMNS}
        own["image_index"] = image_index
        return Dataset(self.categories, tuple(images), **own, origins=self.origins.take(rows.tolist()))

    def select_images(self, indices: Iterable[int]) -> Dataset:
        """Return the Dataset of those images (indices into ``images``) and the objects in them."""
        kept = sorted(set(indices))
        new_index = np.full(len(self.images), -1, dtype=np.int64)
        new_index[kept] = np.arange(len(kept))
        rows = np.flatnonzero(new_index[self.image_index] >= 0)
        return self.take([self.images[i] for i in kept], rows, new_index[self.image_index[rows]])

    def with_images(self, images: Sequence[Image]) -> Dataset:
        """Return this Dataset with its images replaced, and everything sorted again.

        Raises:
            ValueError: their number differs, or two have the same name.
        """
        if len(images) != len(self.images):
            raise ValueError(f"images must be {len(self.images)}, got {len(images)}")
        names = [image.file_name for image in images]
        if len(set(names)) != len(names):
            raise ValueError("file names must be unique")
        order = sorted(range(len(names)), key=names.__getitem__)
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        index = rank[self.image_index]
        rows = np.argsort(index, kind="stable")
        return self.take([images[i] for i in order], rows, index[rows])


def concatenate(parts: Sequence[Dataset]) -> Dataset:
    """Return one Dataset of all images and objects; the parts share their categories and no file name.

    Raises:
        ValueError: there is no part, the categories differ, or a file name is in two parts.
    """
    if not parts or any(part.categories != parts[0].categories for part in parts):
        raise ValueError("concatenate needs at least one Dataset, and the same categories in all")
    images = tuple(image for part in parts for image in part.images)
    firsts = np.cumsum([0, *(len(part.images) for part in parts)]).tolist()
    own: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in OBJECT_COLUMNS}
    own["image_index"] = np.concatenate([part.image_index + at for part, at in zip(parts, firsts, strict=False)])
    origins = Origins.joined([part.origins for part in parts])
    return Dataset(parts[0].categories, images, **own, origins=origins).with_images(images)


def with_objects(whole: Dataset, more: Sequence[Dataset]) -> Dataset:
    """Return a Dataset with the objects of others, whose images are among its images by file name.

    Raises:
        KeyError: an image is not.
        ValueError: the categories differ.
    """
    parts = (whole, *more)
    if any(part.categories != whole.categories for part in parts):
        raise ValueError("with_objects needs the same categories in all")
    index = {image.file_name: at for at, image in enumerate(whole.images)}
    own: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in OBJECT_COLUMNS}
    places = (np.array([index[image.file_name] for image in part.images], dtype=np.int64) for part in parts)
    own["image_index"] = np.concatenate([at[part.image_index] for at, part in zip(places, parts, strict=True)])
    origins = Origins.joined([part.origins for part in parts])
    return Dataset(whole.categories, whole.images, **own, origins=origins).with_images(whole.images)


class DatasetBuilder:
    """Collects images and objects in any order; ``build`` sorts them into a Dataset."""

    def __init__(self, categories: Skeleton | Categories) -> None:
        self.categories = Categories.of(categories)
        self._images: list[Image] = []
        self._index: dict[str, int] = {}
        self._boxes: list[Floats] = []
        self._keypoints: list[Floats] = []
        self._areas: list[float | None] = []
        self._iscrowd: list[bool] = []
        self._category_ids: list[int] = []
        self._image_index: list[int] = []
        self._origins: list[Origin] = []

    def __contains__(self, file_name: str) -> bool:
        return file_name in self._index

    def add_image(self, image: Image) -> None:
        """Add an image.

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
        origin: Origin,
        area: float | None = None,
        iscrowd: bool = False,
        category_id: int | None = None,
    ) -> None:
        """Add an object of the image ``file_name``, which was added before.

        Args:
            file_name: the image's.
            box: (4,) x1, y1, x2, y2 in pixels, rounded to 1e-9 px, which every format can store exactly.
            keypoints: (K, 3) x, y, visibility of the category's K keypoints; coordinates of unlabeled points become 0.
            origin: where it came from, for messages.
            area: in square pixels; None for the box's width times height.
            iscrowd: whether it is a group.
            category_id: of its category; None for the only one.
        """
        category = self.categories.only.category.id if category_id is None else category_id
        points = np.zeros((self.categories.num_keypoints, 3))
        points[self.categories.columns[category]] = keypoints
        points[points[:, 2] == Visibility.NOT_LABELED] = 0.0
        self._boxes.append(np.array(box, dtype=np.float64).round(DECIMALS))
        self._keypoints.append(points)
        self._areas.append(area)
        self._iscrowd.append(iscrowd)
        self._category_ids.append(category)
        self._image_index.append(self._index[file_name])
        self._origins.append(origin)

    def build(self) -> Dataset:
        """Return the Dataset of what was added; objects of one image keep the order they were added in."""
        n, k = len(self._boxes), self.categories.num_keypoints
        boxes = np.array(self._boxes, dtype=np.float64).reshape(n, 4)
        own = np.array([np.nan if area is None else area for area in self._areas], dtype=np.float64)
        return Dataset(
            self.categories,
            tuple(self._images),
            boxes=boxes,
            keypoints=np.array(self._keypoints, dtype=np.float64).reshape(n, k, 3),
            areas=np.where(np.isnan(own), box_area(boxes), own),
            iscrowd=np.array(self._iscrowd, dtype=np.bool_),
            category_ids=np.array(self._category_ids, dtype=np.int64),
            image_index=np.array(self._image_index, dtype=np.int64),
            origins=Origins.of(self._origins),
        ).with_images(self._images)
