"""What one shard of annotation files gave, picture by picture: columns that cost little to keep and to send."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from posetools.dataset import Visibility
from posetools.findings import Finding
from posetools.formats.collect import FileReading
from posetools.geometry import DECIMALS, Floats, Ints
from posetools.skeleton import Skeleton

# How many numbers an object's box is; its keypoints follow.
BOX = 4

# From (N, C) objects to their bytes, and how many of those each is: (N,).
Packing: TypeAlias = Callable[[Floats], tuple[bytes, Ints]]


def row_length(skeleton: Skeleton) -> int:
    """Return how many numbers an object is in a Part: its box, x, y, v of each keypoint, and its number."""
    return BOX + 3 * skeleton.num_keypoints + 1


@dataclass(slots=True)
class Part:
    """What a shard of annotation files gave; the lists have an entry for each picture that can be used.

    Attributes:
        files: the annotation file.
        pictures: the picture's path, empty when nobody knows or needs it.
        identities: the picture's path with every link followed.
        names: the picture's name in the Dataset, if no other picture wants it.
        origins: what is put before the name when another picture wants it too.
        sizes: (width, height) of the upright picture.
        splits: the split that the source declares, or None.
        shapes: how many shapes or lines the file holds.
        counts: how many objects the picture has.
        values: the objects, one after the other: x1, y1, x2, y2, then x, y, visibility of each keypoint, then the
            object's number in its file; empty once they are packed.
        packed: the objects as bytes.
        lengths: (M,) how many bytes of them are each picture's.
        seen: (M, 3, K) how many keypoints of each picture's objects are not labelled, hidden, visible.
        left_out: the identities of pictures that are named and cannot be used.
        findings: what could not be read, and what is odd.
        ignored: label -> how many shapes were left out on purpose.
        read: how many annotation files were read.
    """

    files: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    shapes: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    packed: bytes = b""
    lengths: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    seen: npt.NDArray[np.uint16] = field(default_factory=lambda: np.empty((0, 0, 0), dtype=np.uint16))
    left_out: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    read: int = 0

    def add(self, reading: FileReading, numbers: Iterable[int]) -> None:
        """Add what one annotation file gave.

        Args:
            reading: the file.
            numbers: the number of each of its objects.
        """
        self.findings += reading.findings
        self.ignored.update(reading.ignored)
        self.read += 1
        if reading.picture is None:
            self.left_out += [reading.identity] if reading.identity else []
            return
        self.files.append(str(reading.file))
        self.pictures.append(str(reading.picture))
        self.identities.append(reading.identity)
        self.names.append(reading.name)
        self.origins.append(reading.origin)
        self.sizes.append(reading.size)
        self.splits.append(reading.split)
        self.shapes.append(reading.objects)
        self.counts.append(len(reading.rows))
        for row, number in zip(reading.rows, numbers, strict=True):
            self.values.extend((*row.box, *itertools.chain.from_iterable(row.keypoints), number))

    def pack(self, skeleton: Skeleton, packing: Packing) -> Part:
        """Return this part with its objects packed, which goes to another process as it is.

        Args:
            skeleton: the skeleton of all.
            packing: makes bytes of the objects.
        """
        rows = np.array(self.values, dtype=np.float64).reshape(-1, row_length(skeleton))
        self.values = []
        rows[:, :BOX] = rows[:, :BOX].round(DECIMALS)
        visibility = rows[:, BOX + 2 : -1 : 3]
        unlabelled = visibility == Visibility.NOT_LABELLED
        for first in (BOX, BOX + 1):
            rows[:, first:-1:3][unlabelled] = 0.0
        # Negative zeros are zeros.
        rows += 0.0
        self.packed, lengths = packing(rows)
        counts = np.array(self.counts, dtype=np.int64)
        self.lengths = _sums(lengths[:, None], counts)[:, 0]
        each = [_sums((visibility == value).astype(np.int64), counts) for value in Visibility]
        self.seen = np.stack(each, axis=1).astype(np.uint16)
        return self


def pack_rows(rows: Floats) -> tuple[bytes, Ints]:
    """Return (N, C) objects of a Part as they are, and how many bytes each is: (N,)."""
    return rows.tobytes(), np.full(len(rows), rows.shape[1] * rows.itemsize)


def _sums(values: Ints, counts: Ints) -> Ints:
    """Return the sums of the first ``counts[0]`` rows, of the next ``counts[1]``, and so on: (len(counts), C)."""
    totals = np.concatenate([np.zeros((1, values.shape[1]), dtype=np.int64), values.cumsum(axis=0)])
    ends = counts.cumsum()
    sums: Ints = totals[ends] - totals[ends - counts]
    return sums


def unique_names(wanted: Sequence[tuple[str, str]]) -> list[str]:
    """Return a name for each picture so that all differ, from (origin, name) pairs.

    A name that only one picture wants stays as it is. Where several want it, each gets its origin put before it, and
    a number after the origin when that is taken too.
    """
    times = Counter(name for _, name in wanted)
    if len(times) == len(wanted):
        return [name for _, name in wanted]
    used = {name for name, count in times.items() if count == 1}
    names = []
    for origin, name in wanted:
        if times[name] == 1:
            names.append(name)
            continue
        number, candidate = 1, f"{origin}/{name}"
        while candidate in used:
            number += 1
            candidate = f"{origin}-{number}/{name}"
        used.add(candidate)
        names.append(candidate)
    return names
