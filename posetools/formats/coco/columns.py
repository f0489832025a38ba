"""The images and annotations of a COCO file as columns, and the classes that collect them batch by batch.

A quarter of a million annotations take a gigabyte as objects, and a tenth of that as columns: some thousand rows at a
time are decoded, added to the columns, and dropped.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posetools.core.geometry import Bools, Floats, Ints
from posetools.errors import Place
from posetools.formats.coco.model import CocoAnnotation, CocoImage


@dataclass(frozen=True, eq=False, slots=True)
class ImageColumns:
    """The M images that are valid.

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

    def place(self, row: int) -> Place:
        """Return the place of a row in the file."""
        return Place.entry("images", int(self.position[row]), f"id {self.ids[row]}", self.file_names[row])


@dataclass(frozen=True, eq=False, slots=True)
class AnnotationColumns:
    """The N annotations that are valid.

    Attributes:
        position: (N,) index in the file's list.
        ids: (N,) as in the file.
        image_ids: (N,) as in the file.
        category_ids: (N,) as in the file.
        bbox: (N, 4) x, y, width, height in pixels.
        areas: (N,) in square pixels.
        iscrowd: (N,) booleans.
        num_keypoints: (N,) as the file says.
        keypoints: the numbers of all rows, concatenated.
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
        """(N,) the number of keypoint values in each row."""
        return np.diff(self.starts)

    def points(self, rows: Ints, k: int) -> Floats:
        """Return the keypoints of ``rows``, each of which has 3K numbers: (len(rows), K, 3), read-only.

        Args:
            rows: in ascending order, each at most once.
            k: how many keypoints.
        """
        points: Floats
        if len(rows) == len(self):
            # No selection, so no copy is needed.
            points = self.keypoints.reshape(len(rows), k, 3)
        else:
            points = self.keypoints[self.starts[rows][:, None] + np.arange(3 * k)].reshape(len(rows), k, 3)
            points.flags.writeable = False
        return points

    def place(self, row: int) -> Place:
        """Return the place of a row in the file."""
        return Place.entry("annotations", int(self.position[row]), f"id {self.ids[row]}")


class ImageRows:
    """Collects ImageColumns."""

    def __init__(self) -> None:
        self._position, self._ids, self._sizes = array("q"), array("q"), array("q")
        self._names: list[str] = []

    def add(self, position: Sequence[int], rows: Sequence[CocoImage]) -> None:
        """Add rows, as models or their structs, with their indices in the file's list."""
        self._position.extend(position)
        self._ids.extend([row.id for row in rows])
        self._sizes.extend(itertools.chain.from_iterable([(row.width, row.height) for row in rows]))
        self._names.extend([row.file_name for row in rows])

    def columns(self) -> ImageColumns:
        """Return the columns."""
        sizes = _sealed(self._sizes).reshape(-1, 2)
        return ImageColumns(_sealed(self._position), _sealed(self._ids), sizes, tuple(self._names))


class AnnotationRows:
    """Collects AnnotationColumns."""

    def __init__(self) -> None:
        self._position, self._ids, self._images, self._categories = array("q"), array("q"), array("q"), array("q")
        self._boxes, self._areas, self._crowds, self._counts = array("d"), array("d"), array("b"), array("q")
        # An array grows in place, by a sixteenth at a time: no second copy of the numbers is in memory.
        self._numbers, self._lengths = array("d"), array("q")

    def add(self, position: Sequence[int], rows: Sequence[CocoAnnotation]) -> None:
        """Add rows, as models or their structs, with their indices in the file's list."""
        self._position.extend(position)
        self._ids.extend([row.id for row in rows])
        self._images.extend([row.image_id for row in rows])
        self._categories.extend([row.category_id for row in rows])
        self._areas.extend([row.area for row in rows])
        self._crowds.extend([row.iscrowd for row in rows])
        self._counts.extend([row.num_keypoints for row in rows])
        lengths = [len(row.keypoints) for row in rows]
        self._lengths.extend(lengths)
        _extend(self._boxes, [row.bbox for row in rows], 4 * len(rows))
        _extend(self._numbers, [row.keypoints for row in rows], sum(lengths))

    def columns(self) -> AnnotationColumns:
        """Return the columns."""
        return AnnotationColumns(
            position=_sealed(self._position),
            ids=_sealed(self._ids),
            image_ids=_sealed(self._images),
            category_ids=_sealed(self._categories),
            bbox=_sealed(self._boxes).reshape(-1, 4),
            areas=_sealed(self._areas),
            iscrowd=_sealed(self._crowds).view(np.bool_),
            num_keypoints=_sealed(self._counts),
            keypoints=_sealed(self._numbers),
            starts=np.concatenate([[0], np.cumsum(_sealed(self._lengths))]).astype(np.int64),
        )


def _extend(numbers: array[float], lists: Sequence[Sequence[float]], count: int) -> None:
    # numpy reads a row of numbers twice as fast as array does.
    new = np.fromiter(itertools.chain.from_iterable(lists), dtype=np.float64, count=count)
    numbers.frombytes(new.view(np.uint8).data)


def _sealed(numbers: array[Any]) -> NDArray[Any]:
    """Return a read-only numpy view of an array's memory."""
    view: NDArray[Any] = np.asarray(numbers)
    view.flags.writeable = False
    return view
