"""What readers give, as Datasets: as one, or in slices that fit into any memory.

The Collection joins the Parts of all shards. It keeps the pictures' names, and lays the objects down in a file of its
own once they are many; so what a conversion of millions of pictures needs is memory for their names.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np

from posetools.dataset import Dataset, Entry, Image
from posetools.errors import OutputError, must_be
from posetools.findings import Finding, sort_findings
from posetools.formats.base import ReadResult
from posetools.formats.collect import FileReading
from posetools.formats.parts import BOX, Part, pack_rows, row_length, unique_names
from posetools.geometry import Ints, box_area
from posetools.skeleton import Skeleton

# Bytes of objects that are kept in memory; beyond, they are laid down in a file.
_IN_MEMORY = 32 << 20

# From an annotation file and the number of an object in it to the object's place.
PlaceOf: TypeAlias = Callable[[str, int], str]


@dataclass(slots=True)
class _Store:
    """Bytes, in memory while they are few, then in a nameless file that ends with the process."""

    folder: Path | None
    _file: IO[bytes] | None = None

    def add(self, content: bytes) -> None:
        """Append bytes."""
        try:
            if self._file is None:
                limit, folder = (_IN_MEMORY, str(self.folder)) if self.folder else (0, None)
                self._file = tempfile.SpooledTemporaryFile(max_size=limit, dir=folder)  # noqa: SIM115
            self._file.write(content)
        except OSError as exc:
            raise OutputError(f"{self.folder}: objects cannot be laid down here: {exc.strerror or exc}") from exc

    def close(self) -> None:
        """Forget the bytes."""
        if self._file is not None:
            self._file.close()

    def take(self, starts: Ints, lengths: Ints) -> bytes:
        """Return the bytes from ``starts[i]`` to ``starts[i] + lengths[i]``, all i one after the other."""
        if self._file is None or not len(starts):
            return b""
        ends = starts + lengths
        breaks = np.flatnonzero(starts[1:] != ends[:-1]) + 1
        edges = [0, *breaks.tolist(), len(starts)]
        blocks = []
        for first, after in itertools.pairwise(edges):
            self._file.seek(int(starts[first]))
            blocks.append(self._file.read(int(ends[after - 1] - starts[first])))
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)


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
        self, skeleton: Skeleton, parts: Iterable[Part], place_of: PlaceOf, *, folder: Path | None = None
    ) -> None:
        """Join the parts as they come.

        Args:
            skeleton: the skeleton of all.
            parts: what was read, packed.
            place_of: gives an object's place.
            folder: where objects are laid down when they are too many for the memory; None keeps them there.

        Raises:
            OutputError: they cannot be laid down.
        """
        self.skeleton = skeleton
        self.findings: list[Finding] = []
        self._place_of = place_of
        self._store = _Store(folder)
        self._all = Part()
        self._left_out: set[str] = set()
        lengths, seen = [np.empty(0, dtype=np.int64)], [np.empty((0, 3, skeleton.num_keypoints), dtype=np.uint16)]
        try:
            for part in parts:
                self._add(part)
                lengths.append(part.lengths)
                seen.append(part.seen)
        except BaseException:
            self.close()
            raise
        self._lengths, self._seen = np.concatenate(lengths), np.concatenate(seen)
        self._sort(self._without_doubles())

    @property
    def ignored(self) -> Mapping[str, int]:
        """Label -> how many shapes were left out on purpose."""
        return dict(sorted(self._all.ignored.items()))

    @property
    def files(self) -> int:
        """How many annotation files were read."""
        return self._all.read

    def named(self) -> set[str]:
        """Return the pictures that some file names, whether they can be used or not: paths with every link followed."""
        return self._left_out.union(self._all.identities)

    def close(self) -> None:
        """Forget the objects, and the file that they were laid down in."""
        self._store.close()

    def entries(self, rows: Ints) -> Iterator[Entry]:
        """Yield the pictures' entries."""
        whole = self._all
        for row, at in zip(rows.tolist(), self._order[rows].tolist(), strict=True):
            yield self.names[row], *whole.sizes[at], whole.pictures[at] or None

    def seen(self, rows: Ints) -> Ints:
        """Return how many keypoints are not labelled, hidden, visible: (3, K)."""
        sums: Ints = self._seen[self._order[rows]].sum(axis=0, dtype=np.int64)
        return sums

    def take(self, rows: Ints) -> bytes:
        """Return what the objects of the pictures were packed as."""
        at = self._order[rows]
        return self._store.take(self._starts[at], self._lengths[at])

    def dataset_of(self, rows: Ints) -> Dataset:
        """Return pictures, whose rows ascend, and the objects in them, which were packed as they are."""
        whole, at, counts = self._all, self._order[rows], self.counts[rows]
        numbers = np.frombuffer(self.take(rows)).reshape(-1, row_length(self.skeleton))
        boxes = numbers[:, :BOX].copy()
        files = (whole.files[i] for i in np.repeat(at, counts).tolist())
        return Dataset(
            skeleton=self.skeleton,
            images=tuple(
                Image(name, width, height, Path(path) if path else None, whole.splits[i])
                for (name, width, height, path), i in zip(self.entries(rows), at.tolist(), strict=True)
            ),
            boxes=boxes,
            keypoints=numbers[:, BOX:-1].reshape(len(numbers), self.skeleton.num_keypoints, 3),
            areas=box_area(boxes),
            iscrowd=np.zeros(len(numbers), dtype=np.bool_),
            image_index=np.repeat(np.arange(len(rows)), counts),
            places=tuple(map(self._place_of, files, numbers[:, -1].astype(np.int64).tolist())),
        )

    def _add(self, part: Part) -> None:
        whole = self._all
        for name in ("files", "pictures", "identities", "names", "origins", "sizes", "splits", "shapes", "counts"):
            getattr(whole, name).extend(getattr(part, name))
        self.findings += part.findings
        whole.ignored.update(part.ignored)
        whole.read += part.read
        self._left_out.update(part.left_out)
        self._store.add(part.packed)

    def _without_doubles(self) -> list[int]:
        """Return the pictures but those that several files annotate: which of them is right is not known."""
        identities = self._all.identities
        if len(set(identities)) == len(identities):
            return list(range(len(identities)))
        by_picture: dict[str, list[int]] = {}
        for at, identity in enumerate(identities):
            by_picture.setdefault(identity, []).append(at)
        doubles = [group for group in by_picture.values() if len(group) > 1]
        self.findings += [self._double(at, group) for group in doubles for at in group]
        return [group[0] for group in by_picture.values() if len(group) == 1]

    def _double(self, at: int, group: Sequence[int]) -> Finding:
        files = self._all.files
        others = " and ".join(files[other] for other in group if other != at)
        picture = self._all.pictures[at] or self._all.identities[at]
        message = must_be("the file", f"the only annotation of {picture}", others)
        message += f" besides; none of them is read ({self._all.shapes[at]} shapes here)"
        return Finding("E313", files[at], "", message, "move all but one of them out of the source")

    def _sort(self, kept: Sequence[int]) -> None:
        whole = self._all
        names = unique_names([(whole.origins[at], whole.names[at]) for at in kept])
        order = sorted(range(len(kept)), key=names.__getitem__)
        self.names = [names[i] for i in order]
        self._order = np.array([kept[i] for i in order], dtype=np.int64)
        self._starts = self._lengths.cumsum() - self._lengths
        self.counts: Ints = np.array(whole.counts, dtype=np.int64)[self._order]
        self.declared = [whole.splits[at] for at in self._order.tolist()]


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
    part.pack(skeleton, pack_rows)
    collection = Collection(skeleton, [part], lambda _, number: places[number])
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
    )
