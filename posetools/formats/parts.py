"""What one shard of annotation files gave, picture by picture: columns that cost little to keep and to send."""

from __future__ import annotations

import itertools
import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from posetools.core.findings import Finding, has_errors
from posetools.core.geometry import DECIMALS, Floats, Ints
from posetools.core.skeleton import Skeleton
from posetools.formats.joining.made_boxes import Completed, ThinBox, complete
from posetools.formats.reading import Corners, FileReading
from posetools.scale.spool import lay_down

# How many numbers an object's box is; its keypoints follow.
BOX = 4

# An object: x1, y1, x2, y2; x, y and, as an int, the visibility of each keypoint, all 0 for what is not labelled; its
# number in its file.
Object: TypeAlias = tuple[Sequence[float], list[Any], int]

_UNLABELLED = (0, 0, 0)
_EVERY_THIRD = operator.itemgetter(slice(2, None, 3))


def row_length(skeleton: Skeleton) -> int:
    """Return how many numbers an object is in a Part: its box, x, y, v of each keypoint, and its number."""
    return BOX + 3 * skeleton.num_keypoints + 1


class Picture(NamedTuple):
    """A picture that can be used.

    Attributes:
        file: the annotation file.
        path: the picture's path, empty when nobody knows or needs it.
        identity: the same with every link followed.
        name: its name in the Dataset, if no other picture wants it.
        origin: what is put before the name when another picture wants it too.
        width: of the upright picture, in pixels.
        height: likewise.
        split: the split that the source declares, or None.
        shapes: how many shapes or lines the file holds.
        objects: how many objects the picture has.
    """

    file: str
    path: str
    identity: str
    name: str
    origin: str
    width: int
    height: int
    split: str | None
    shapes: int
    objects: int


# The same as a bare tuple, which takes a fifth of the time to make.
PictureRow: TypeAlias = tuple[str, str, str, str, str, int, int, str | None, int, int]


@dataclass(slots=True)
class Part:
    """What a shard of annotation files gave.

    Attributes:
        pictures: the pictures that can be used.
        objects: the objects in them that are not packed yet.
        packed: the others as bytes, until they are laid down elsewhere.
        lengths: (N,) how many bytes each of these is.
        laid_down: where they begin in the Spool of the process that asked for them; None when they are here.
        visibility: their visibilities, a byte for each.
        left_out: the identities of pictures that are named and cannot be used.
        broken: the identities of those that can, but in which an object could not be read.
        findings: what could not be read, and what is odd.
        ignored: label -> how many shapes were left out on purpose.
        read: how many annotation files were read.
        completed: how boxes from keypoints that had a short side were completed; None when there is none.
    """

    pictures: list[PictureRow] = field(default_factory=list)
    objects: list[Object] = field(default_factory=list)
    packed: bytearray = field(default_factory=bytearray)
    lengths: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    laid_down: int | None = None
    visibility: bytearray = field(default_factory=bytearray)
    left_out: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    read: int = 0
    completed: Completed | None = None

    def add(self, reading: FileReading, numbers: Iterable[int], *, keep_path: bool = True) -> None:
        """Add what one annotation file gave.

        Args:
            reading: the file.
            numbers: the number of each of its objects.
            keep_path: whether anybody needs the picture's path.
        """
        self.findings += reading.findings
        self.ignored.update(reading.ignored)
        self.read += 1
        if reading.picture is None:
            self.left_out += [reading.identity] if reading.identity else []
            return
        picture = Picture(
            file=str(reading.file),
            path=str(reading.picture) if keep_path else "",
            identity=reading.identity,
            name=reading.name,
            origin=reading.origin,
            width=reading.size[0],
            height=reading.size[1],
            split=reading.split,
            shapes=reading.objects,
            objects=len(reading.rows),
        )
        self.pictures.append(picture)
        if has_errors(reading.findings):
            self.broken.append(reading.identity)
        boxes = [row.box for row in reading.rows]
        if any(type(box) is ThinBox for box in boxes):
            boxes = self._complete(reading, boxes)
        for row, box, number in zip(reading.rows, boxes, numbers, strict=True):
            points = (point if point[2] else _UNLABELLED for point in row.keypoints)
            self.objects.append((box, list(itertools.chain.from_iterable(points)), number))

    def _complete(self, reading: FileReading, boxes: list[Corners]) -> list[Corners]:
        completed, given, by_others = complete(boxes, reading.size)
        thin = [row for row in reading.rows if isinstance(row.box, ThinBox)]
        file = str(reading.file)
        place = thin[0].place.removeprefix(f"{file}: ")
        number = len(thin)
        more = Completed(number, number if by_others else 0, min(given), max(given), file, place)
        self.completed = more if self.completed is None else self.completed + more
        return completed

    def pack(self, packing: Packing) -> Part:
        """Pack the objects that are not packed yet, which sooner is cheaper; return this part."""
        if self.objects:
            corners, points, numbers = zip(*self.objects, strict=True)
            flat = np.fromiter(itertools.chain.from_iterable(corners), dtype=np.float64, count=BOX * len(corners))
            boxes = flat.reshape(-1, BOX).round(DECIMALS)
            visibility = [bytes(values) for values in map(_EVERY_THIRD, points)]
            self.visibility += b"".join(visibility)
            self.packed += packing.pack(boxes, points, visibility, numbers)
            self.objects = []
        return self

    def finish(self, packing: Packing) -> Part:
        """Measure the objects when all are packed, and lay them down where that is better; return this part.

        Raises:
            OutputError: they cannot be laid down.
        """
        self.lengths = packing.lengths(self.packed)
        self.laid_down = lay_down(self.packed)
        if self.laid_down is not None:
            self.packed = bytearray()
        return self


class Packing(Protocol):
    """Makes bytes of objects."""

    def pack(
        self, boxes: Floats, points: Sequence[Sequence[float]], visibility: Sequence[bytes], numbers: Sequence[int]
    ) -> bytes:
        """Return N objects as bytes.

        Args:
            boxes: (N, 4) x1, y1, x2, y2 in pixels.
            points: x, y, visibility of each keypoint, 3K numbers for each object.
            visibility: the visibilities among them, K bytes for each object.
            numbers: the object's number in its file.
        """

    def lengths(self, packed: bytes | bytearray) -> Ints:
        """Return how many bytes each object is: (N,)."""


@dataclass(frozen=True, slots=True)
class RowPacking:
    """Packs objects as rows of float64: the box, the keypoints, the number.

    Attributes:
        skeleton: the skeleton of all.
    """

    skeleton: Skeleton

    def pack(
        self, boxes: Floats, points: Sequence[Sequence[float]], visibility: Sequence[bytes], numbers: Sequence[int]
    ) -> bytes:
        """Return N objects as bytes."""
        del visibility
        return np.column_stack(
            [boxes, np.array(points, dtype=np.float64), np.array(numbers, dtype=np.float64)]
        ).tobytes()

    def lengths(self, packed: bytes | bytearray) -> Ints:
        """Return how many bytes each object is: (N,)."""
        each = row_length(self.skeleton) * np.dtype(np.float64).itemsize
        return np.full(len(packed) // each, each)
