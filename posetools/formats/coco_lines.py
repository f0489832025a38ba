"""COCO annotations as JSON, many at a time, before anybody knows their ids.

The ids of pictures and annotations run through a whole data set, in the order of the pictures' names; the rest of an
entry depends on the object alone. So the processes that read make the lines, and the one that writes numbers them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import msgspec
import numpy as np
import numpy.typing as npt

from posetools.dataset import Dataset
from posetools.formats.parts import BOX
from posetools.geometry import Bools, Floats, Ints, box_area, xywh_from_xyxy
from posetools.skeleton import Skeleton


class _Body(msgspec.Struct, gc=False):
    category_id: int
    bbox: list[float]
    area: float
    iscrowd: int
    num_keypoints: int
    keypoints: list[float]
    segmentation: tuple[()] = ()


ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Lines:
    """The annotations of some pictures, without ids.

    Attributes:
        counts: (M,) how many each picture has.
        bodies: one line for each annotation: its JSON but for the line feed.
    """

    counts: Ints
    bodies: Sequence[bytes]

    def numbered(self, first_image: int, first_annotation: int) -> Iterator[bytes]:
        """Yield the annotations with ids: those of the pictures start at one number, their own at another."""
        images = np.repeat(np.arange(first_image, first_image + len(self.counts)), self.counts).tolist()
        for number, (image, body) in enumerate(zip(images, self.bodies, strict=True), start=first_annotation):
            yield b'{"id":%d,"image_id":%d,%b' % (number, image, body[1:])


def lines_of(dataset: Dataset) -> Lines:
    """Return the annotations of a Dataset."""
    counts = np.bincount(dataset.image_index, minlength=len(dataset.images)).astype(np.int64)
    text = _encode(dataset.skeleton, dataset.boxes, dataset.keypoints, dataset.areas, dataset.iscrowd)
    return Lines(counts, text.split(b"\n")[:-1])


@dataclass(frozen=True, slots=True)
class LinePacking:
    """Packs the objects of a Part as lines, each with a line feed.

    Attributes:
        skeleton: the skeleton of all.
    """

    skeleton: Skeleton

    def __call__(self, rows: Floats) -> tuple[bytes, Ints]:
        """Return (N, ...) objects of a Part as one text, and how many bytes each is: (N,)."""
        boxes, points = rows[:, :BOX], rows[:, BOX:-1].reshape(len(rows), self.skeleton.num_keypoints, 3)
        text = _encode(self.skeleton, boxes, points, box_area(boxes), np.zeros(len(rows), dtype=np.bool_))
        ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n")) + 1
        return text, np.diff(ends, prepend=0)

    def unpack(self, text: bytes, counts: Ints) -> Lines:
        """Return lines as they were packed, of pictures with so many objects."""
        return Lines(counts, text.split(b"\n")[:-1])


def _encode(skeleton: Skeleton, boxes: Floats, keypoints: Floats, areas: Floats, iscrowd: Bools) -> bytes:
    labelled = (keypoints[:, :, 2] > 0).sum(axis=1)
    bodies = map(
        _Body,
        repeat(skeleton.category.id),
        _plain(xywh_from_xyxy(boxes)).tolist(),
        _plain(areas).tolist(),
        iscrowd.astype(np.int64).tolist(),
        labelled.tolist(),
        _plain(keypoints.reshape(len(keypoints), 3 * skeleton.num_keypoints)).tolist(),
    )
    return ENCODER.encode_lines(bodies)


def _plain(numbers: Floats) -> npt.NDArray[np.object_]:
    """Return numbers as JSON shows them best: 3 and not 3.0."""
    plain = numbers.astype(object)
    whole = numbers == np.rint(numbers)
    plain[whole] = numbers[whole].astype(np.int64)
    return plain
