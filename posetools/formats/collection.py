"""What readers give, as Datasets: as one, or in slices that fit into any memory.

The Collection joins the Parts of all shards. It keeps the pictures' names, and lays the objects down in a file of its
own once they are many; so what a conversion of millions of pictures needs is memory for their names.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import reduce
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from posetools.core.dataset import Dataset, Entry, Image, Visibility
from posetools.core.findings import Finding, sort_findings
from posetools.core.folder import split_folder
from posetools.core.geometry import Ints, box_area
from posetools.core.skeleton import Skeleton
from posetools.errors import must_be
from posetools.files.names import unique_names
from posetools.formats.base import ReadResult
from posetools.formats.joined import SameCause
from posetools.formats.joining.made_boxes import Completed
from posetools.formats.parts import BOX, Part, Picture, RowPacking, row_length
from posetools.formats.reading import FileReading
from posetools.scale.spool import Spool

# From an annotation file and the number of an object in it to the object's place.
PlaceOf: TypeAlias = Callable[[str, int], str]


class Collection:
    """All parts of a source, joined: the pictures as columns, sorted by name, the objects behind them.

    Attributes:
        skeleton: the skeleton of all.
        names: the pictures' names in the Dataset, sorted.
        declared: the split that the source declares for each, or None.
        counts: (M,) how many objects each has.
        findings: what could not be read, and what is odd, in the order it was found.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        parts: Iterable[Part],
        place_of: PlaceOf,
        store: Spool,
    ) -> None:
        """Join the parts as they come.

        Args:
            skeleton: the skeleton of all.
            parts: what was read, finished.
            place_of: gives an object's place.
            store: holds their objects, or will; it is closed with the Collection.

        Raises:
            OutputError: they cannot be laid down.
        """
        self.skeleton = skeleton
        self.findings: list[Finding] = []
        self._place_of = place_of
        self._store = store
        self._read = 0
        self._ignored = Counter[str]()
        # The pictures, a list for each of their attributes.
        self._columns: tuple[list[Any], ...] = tuple([] for _ in Picture._fields)
        self._left_out: set[str] = set()
        self._broken: set[str] = set()
        self._completed: list[Completed] = []
        self._visibility = bytearray()
        # Where each picture's objects begin in the store, and how many bytes they are: a piece for each part.
        self._places = [np.empty((2, 0), dtype=np.int64)]
        with ExitStack() as stack:
            stack.callback(self.close)
            for part in parts:
                self._add(part)
            if self._completed:
                self.findings.append(reduce(operator.add, self._completed).finding)
            # All is well: it stays open.
            stack.pop_all()
        self._sort(self._without_doubles())

    @property
    def ignored(self) -> Mapping[str, int]:
        """Label -> how many shapes were left out on purpose."""
        return dict(sorted(self._ignored.items()))

    @property
    def paths(self) -> Sequence[str]:
        """Where each picture lies; empty where nobody needs it."""
        return list(map(self._column("path").__getitem__, self._order.tolist()))

    @property
    def files(self) -> int:
        """How many annotation files were read."""
        return self._read

    def named(self) -> set[str]:
        """Return the pictures that some file names, whether they can be used or not: paths with every link followed."""
        return self._left_out.union(self._column("identity"))

    @property
    def broken(self) -> frozenset[str]:
        """The names of the images in which an object could not be read."""
        if not self._broken:
            return frozenset()
        identities = self._column("identity")
        at = zip(self.names, self._order.tolist(), strict=True)
        return frozenset(name for name, index in at if identities[index] in self._broken)

    def close(self) -> None:
        """Forget the objects, and the file that they were laid down in."""
        self._store.close()

    def entries(self, rows: Ints) -> Iterator[Entry]:
        """Return the pictures' entries."""
        at = self._order[rows].tolist()
        widths, heights, paths = (map(self._column(name).__getitem__, at) for name in ("width", "height", "path"))
        return zip(map(self.names.__getitem__, rows.tolist()), widths, heights, paths, strict=True)

    def seen(self, rows: Ints) -> Ints:
        """Return how many keypoints are not labelled, hidden, visible: (3, K)."""
        wanted = np.zeros(len(self._objects), dtype=np.bool_)
        wanted[self._order[rows]] = True
        values = np.frombuffer(self._visibility, dtype=np.uint8).reshape(-1, self.skeleton.num_keypoints)
        values = values[np.repeat(wanted, self._objects)]
        return np.array([(values == value).sum(axis=0) for value in Visibility], dtype=np.int64)

    def take(self, rows: Ints) -> bytes:
        """Return what the objects of the pictures were packed as."""
        at = self._order[rows]
        return self._store.take(self._starts[at], self._lengths[at])

    def dataset_of(self, rows: Ints) -> Dataset:
        """Return pictures, whose rows ascend, and the objects in them, which were packed as they are."""
        at, counts, files, splits = self._order[rows], self.counts[rows], self._column("file"), self._column("split")
        numbers = np.frombuffer(self.take(rows)).reshape(-1, row_length(self.skeleton))
        boxes = numbers[:, :BOX].copy()
        of_objects = (files[i] for i in np.repeat(at, counts).tolist())
        return Dataset(
            skeleton=self.skeleton,
            images=tuple(
                Image(name, width, height, Path(path) if path else None, splits[i])
                for (name, width, height, path), i in zip(self.entries(rows), at.tolist(), strict=True)
            ),
            boxes=boxes,
            keypoints=numbers[:, BOX:-1].reshape(len(numbers), self.skeleton.num_keypoints, 3),
            areas=box_area(boxes),
            iscrowd=np.zeros(len(numbers), dtype=np.bool_),
            image_index=np.repeat(np.arange(len(rows)), counts),
            places=tuple(map(self._place_of, of_objects, numbers[:, -1].astype(np.int64).tolist())),
        )

    def _column(self, name: str) -> list[Any]:
        return self._columns[Picture._fields.index(name)]

    def _add(self, part: Part) -> None:
        for column, values in zip(self._columns, zip(*part.pictures, strict=True), strict=False):
            column.extend(values)
        self.findings += part.findings
        self._ignored.update(part.ignored)
        self._read += part.read
        self._left_out.update(part.left_out)
        self._broken.update(part.broken)
        if part.completed is not None:
            self._completed.append(part.completed)
        self._visibility += part.visibility
        first = self._store.add(part.packed) if part.laid_down is None else part.laid_down
        # Where the objects of each picture end among the part's objects, and where those end in the store.
        ends = np.array([row[-1] for row in part.pictures], dtype=np.int64).cumsum()
        edges = np.concatenate([[first], first + part.lengths.cumsum(dtype=np.int64)])
        after = edges[ends]
        before = np.concatenate([[first], after])[:-1]
        self._places.append(np.stack([before, after - before]))

    def _without_doubles(self) -> list[int]:
        """Return the pictures but those that several files annotate: which of them is right is not known."""
        identities = self._column("identity")
        if len(set(identities)) == len(identities):
            return list(range(len(identities)))
        by_picture: dict[str, list[int]] = {}
        for at, identity in enumerate(identities):
            by_picture.setdefault(identity, []).append(at)
        doubles = [group for group in by_picture.values() if len(group) > 1]
        self.findings += [self._double(at, group) for group in doubles for at in group]
        return [group[0] for group in by_picture.values() if len(group) == 1]

    def _double(self, at: int, group: Sequence[int]) -> Finding:
        this = Picture(*(column[at] for column in self._columns))
        files = self._column("file")
        others = " and ".join(files[other] for other in group if other != at)
        message = must_be("the file", f"the only annotation of {this.path or this.identity}", others)
        message += f" besides; none of them is read ({this.shapes} shapes here)"
        hint, cause = "move all but one of them out of the source", "an image must have one annotation file"
        return SameCause("E313", this.file, "", message, hint, cause=cause)

    def _sort(self, kept: Sequence[int]) -> None:
        origins, wanted, declared = (self._column(name) for name in ("origin", "name", "split"))
        _declare_by_folders(declared, origins, wanted)
        names = unique_names([(origins[at], wanted[at]) for at in kept])
        order = sorted(range(len(kept)), key=names.__getitem__)
        self.names = [names[i] for i in order]
        self._order = np.array(kept, dtype=np.int64)[order]
        self._objects: Ints = np.array(self._column("objects"), dtype=np.int64)
        self.counts: Ints = self._objects[self._order]
        self._starts, self._lengths = np.concatenate(self._places, axis=1)
        self._places.clear()
        self.declared = [declared[at] for at in self._order.tolist()]


def _declare_by_folders(declared: list[str | None], origins: Sequence[str], names: Sequence[str]) -> None:
    """Where nothing declares a split, let the image's first folder do so by its name, or else its source."""
    known: dict[tuple[str, str], str | None] = {}
    for at, (split, origin, name) in enumerate(zip(declared, origins, names, strict=True)):
        if split is None:
            folders = (name.partition("/")[0] if "/" in name else "", origin)
            if folders not in known:
                known[folders] = split_folder(folders[0]) or split_folder(folders[1])
            declared[at] = known[folders]


def collect(
    readings: Sequence[FileReading], skeleton: Skeleton, more: Iterable[Finding] = (), *, files: int
) -> ReadResult:
    """Return one Dataset of all readings, with every finding and every count.

    Two readings of one picture are both left out, with a finding each: which of them is right is not known.

    Args:
        readings: one per annotation file, or entry of one.
        skeleton: the skeleton of all.
        more: findings that belong to no file's reading.
        files: how many annotation files there are.
    """
    part, places = Part(), list[str]()
    for reading in readings:
        part.add(reading, range(len(places), len(places) + len(reading.rows)))
        if reading.picture is not None:
            places += [row.place for row in reading.rows]
    packing = RowPacking(skeleton)
    finished = part.pack(packing).finish(packing)
    collection = Collection(skeleton, [finished], lambda _, number: places[number], Spool(None))
    return result_of(collection, more, files=files)


def result_of(collection: Collection, more: Iterable[Finding] = (), *, files: int | None = None) -> ReadResult:
    """Return a collection as what a reader gives, with further findings, and another number of files."""
    dataset = collection.dataset_of(np.arange(len(collection.names)))
    collection.close()
    return ReadResult(
        dataset=dataset,
        findings=sort_findings([*collection.findings, *more]),
        files=collection.files if files is None else files,
        ignored=collection.ignored,
        broken=collection.broken,
    )
