"""Pictures to choose from, split by split: a whole Dataset, or a Collection whose objects are lines of COCO already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from posetools.core.dataset import Dataset, Entry
from posetools.core.geometry import Ints
from posetools.core.record import SplitCounts, count, counts_of
from posetools.core.skeleton import Skeleton
from posetools.formats.coco.lines import LinePacking, Lines
from posetools.formats.collection import Collection

# Pictures whose lines are in memory at a time: few enough for the caches of a processor.
_SLICE = 500


@dataclass(frozen=True, slots=True)
class Selection:
    """Some pictures of a Collection whose objects were packed as lines, in the order of their names.

    Attributes:
        collection: the whole.
        rows: indices of the pictures in the collection.
        packing: how the objects were packed.
    """

    collection: Collection
    rows: Ints
    packing: LinePacking

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of all."""
        return self.collection.skeleton

    @property
    def num_images(self) -> int:
        """How many pictures there are."""
        return len(self.rows)

    def __len__(self) -> int:
        return int(self.collection.counts[self.rows].sum())

    def entries(self) -> Iterator[Entry]:
        """Yield the pictures' names, widths, heights and paths."""
        return self.collection.entries(self.rows)

    def lines(self) -> Iterator[Lines]:
        """Yield the annotations, of a few thousand pictures at a time."""
        for start in range(0, len(self.rows), _SLICE):
            rows = self.rows[start : start + _SLICE]
            yield self.packing.unpack(self.collection.take(rows), self.collection.counts[rows])

    def counts(self) -> SplitCounts:
        """Return what is in them."""
        return counts_of(self.skeleton, len(self.rows), len(self), self.collection.seen(self.rows))


@dataclass(frozen=True, slots=True)
class Packed:
    """A Collection whose objects are packed as lines.

    Attributes:
        collection: the pictures.
        packing: how they were packed.
    """

    collection: Collection
    packing: LinePacking

    @property
    def names(self) -> Sequence[str]:
        """The pictures' names, sorted."""
        return self.collection.names

    @property
    def declared(self) -> Sequence[str | None]:
        """The split that the source declares for each, or None."""
        return self.collection.declared

    @property
    def paths(self) -> Sequence[str]:
        """Where each lies; empty where nobody knows."""
        return self.collection.paths

    @property
    def counts(self) -> Ints:
        """(M,) how many objects each has."""
        return self.collection.counts

    def select(self, rows: Sequence[int], split: str | None) -> Selection:  # noqa: ARG002 (lines say no split)
        """Return some of the pictures (ascending indices into ``names``), as the split called so."""
        return Selection(self.collection, np.array(rows, dtype=np.int64), self.packing)

    def close(self) -> None:
        """Forget the objects."""
        self.collection.close()


@dataclass(frozen=True, slots=True)
class Whole:
    """A Dataset.

    Attributes:
        dataset: the pictures with what is in them.
    """

    dataset: Dataset

    @property
    def names(self) -> Sequence[str]:
        """The pictures' names, sorted."""
        return [image.file_name for image in self.dataset.images]

    @property
    def declared(self) -> Sequence[str | None]:
        """The split that the source declares for each, or None."""
        return [image.split for image in self.dataset.images]

    @property
    def paths(self) -> Sequence[str]:
        """Where each lies; empty where nobody knows."""
        return [str(image.path or "") for image in self.dataset.images]

    @property
    def counts(self) -> Ints:
        """(M,) how many objects each has."""
        return self.dataset.counts

    def select(self, rows: Sequence[int], split: str | None) -> Dataset:
        """Return some of the pictures (ascending indices into ``names``), as the split called so."""
        part = self.dataset.select_images(rows)
        return replace(part, images=tuple(replace(image, split=split or image.split) for image in part.images))

    def close(self) -> None:
        """Do nothing: a Dataset is in memory as long as somebody knows it."""


Pictures: TypeAlias = Packed | Whole


def counts_in(part: Selection | Dataset) -> SplitCounts:
    """Return what is in a split."""
    return part.counts() if isinstance(part, Selection) else count(part)
