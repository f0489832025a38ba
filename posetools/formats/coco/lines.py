"""COCO annotations as JSON, many at a time, before anybody knows their ids.

The ids of pictures and annotations run through a whole data set, in the order of the pictures' names; the rest of an
entry depends on the object alone. So the processes that read make the lines, and the one that writes numbers them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import msgspec
import numpy as np

from posetools.core.dataset import Dataset, Visibility
from posetools.core.geometry import Floats, Ints, box_area, xywh_from_xyxy
from posetools.core.skeleton import Skeleton


class _Body(msgspec.Struct, gc=False):
    category_id: int
    bbox: list[float]
    area: float
    iscrowd: int
    num_keypoints: int
    keypoints: Sequence[float]
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
    keypoints = dataset.keypoints.astype(object)
    keypoints[:, :, 2] = dataset.visibility
    # 0 rather than 0.0, as Parts have it.
    keypoints[dataset.visibility == Visibility.NOT_LABELLED] = 0
    text = _encode(
        dataset.skeleton,
        dataset.boxes,
        keypoints.reshape(len(dataset), 3 * dataset.skeleton.num_keypoints).tolist(),
        dataset.num_labelled.tolist(),
        dataset.areas,
        dataset.iscrowd.astype(np.int64).tolist(),
    )
    return Lines(dataset.counts, text.split(b"\n")[:-1])


@dataclass(frozen=True, slots=True)
class LinePacking:
    """Packs the objects of a Part as lines, each with a line feed.

    Attributes:
        skeleton: the skeleton of all.
    """

    skeleton: Skeleton

    def pack(
        self, boxes: Floats, points: Sequence[Sequence[float]], visibility: Sequence[bytes], numbers: Sequence[int]
    ) -> bytes:
        """Return N objects as one text."""
        del numbers
        labelled = [len(values) - values.count(0) for values in visibility]
        return _encode(self.skeleton, boxes, points, labelled, box_area(boxes), repeat(0))

    def lengths(self, packed: bytes | bytearray) -> Ints:
        """Return how many bytes each object is: (N,)."""
        return np.diff(np.flatnonzero(np.frombuffer(packed, dtype=np.uint8) == ord("\n")), prepend=-1)

    def unpack(self, text: bytes, counts: Ints) -> Lines:
        """Return lines as they were packed, of pictures with so many objects."""
        return Lines(counts, text.split(b"\n")[:-1])


def _encode(
    skeleton: Skeleton,
    boxes: Floats,
    keypoints: Sequence[Sequence[float]],
    labelled: Sequence[int],
    areas: Floats,
    iscrowd: Iterable[int],
) -> bytes:
    bodies = map(
        _Body,
        repeat(skeleton.category.id),
        xywh_from_xyxy(boxes).tolist(),
        areas.tolist(),
        iscrowd,
        labelled,
        keypoints,
    )
    # msgspec 0.22 never lets go of an iterator that is no list.
    return ENCODER.encode_lines(list(bodies))
