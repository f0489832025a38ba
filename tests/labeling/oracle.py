"""Models that know the true labels, and data sets with planted errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.geometry import Floats, pairwise_iou
from posetools.core.place import Origin
from posetools.core.skeleton import Skeleton
from posetools.imaging.header import Pixels
from posetools.runtime.results import Detections, Poses

SIZE = (256, 192)


def make_objects(
    folder: Path, skeleton: Skeleton, shape: Floats, *, images: int = 120, seed: int = 0, squeeze: float = 0.15
) -> Dataset:
    """Return two objects in each image: a (K, 2) shape between 0 and 1, turned, scaled and squeezed.

    The image's number is in its pixels, for ``Knowing``.
    """
    rng, builder = np.random.default_rng(seed), DatasetBuilder(skeleton)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(images):
        name = f"{number:04d}.png"
        Pillow.new("RGB", SIZE, (number // 256, number % 256, 0)).save(folder / name)
        builder.add_image(Image(name, *SIZE, path=folder / name))
        for place in range(2):
            turn, middle = rng.uniform(-0.6, 0.6), np.array([64 + 128 * place, 96]) + rng.uniform(-10, 10, 2)
            turned = (shape - 0.5) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
            points = middle + turned * rng.uniform(45, 80) * np.exp(rng.normal(0, squeeze, 2))
            box = np.concatenate([points.min(axis=0) - 6, points.max(axis=0) + 6])
            keypoints = np.column_stack([points, np.full(len(points), 2.0)])
            builder.add_instance(name, box=box, keypoints=keypoints, origin=Origin(name, f"object {place}"))
    return builder.build()


@dataclass
class Knowing:
    """A detector and a pose estimator in one: the true objects with noise of known size.

    Attributes:
        truth: the true labels.
        noise: the standard deviation of points and box edges, as a share of the object's size.
        inverted: rows of objects whose points get each other's names by ``order``.
        order: (K,) the point whose place each point of them gets.
    """

    truth: Dataset
    noise: float = 0.02
    inverted: Sequence[int] = ()
    order: Sequence[int] = ()
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.truth.categories.ids)

    @property
    def num_keypoints(self) -> int:
        return self.truth.categories.num_keypoints

    def _rows(self, image: Pixels) -> range:
        # OpenCV's order of channels.
        number = int(image[0, 0, 2]) * 256 + int(image[0, 0, 1])
        return self.truth.rows_of_images()[number]

    def __call__(self, images: Sequence[Pixels]) -> list[Detections]:
        found = []
        for image in images:
            boxes = self.truth.boxes[list(self._rows(image))]
            sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
            scores = self.rng.uniform(0.6, 0.95, len(boxes))
            noisy = boxes + self.rng.normal(0, self.noise, boxes.shape) * sides
            found.append(Detections(noisy, scores, np.zeros(len(boxes), dtype=np.int64)))
        return found

    def estimate(self, images: Sequence[Pixels], boxes: Sequence[Floats], *, heatmaps: bool = False) -> list[Poses]:
        return [self._poses(self._rows(image), own) for image, own in zip(images, boxes, strict=True)]

    def _poses(self, rows: range, boxes: Floats) -> Poses:
        everyone = np.array(rows, dtype=np.int64)
        own = everyone[pairwise_iou(boxes, self.truth.boxes[everyone]).argmax(axis=1)] if len(boxes) else everyone[:0]
        points = self.truth.keypoints[own, :, :2].copy()
        for at in np.flatnonzero(np.isin(own, self.inverted)):
            points[at] = points[at, list(self.order)]
        size = np.sqrt((self.truth.boxes[own, 2:] - self.truth.boxes[own, :2]).prod(axis=1))
        points += self.rng.normal(0, self.noise, points.shape) * size[:, None, None]
        crops = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
        return Poses(points, self.rng.uniform(0.5, 0.9, points.shape[:2]), crops)


def relabeled(
    truth: Dataset, *, boxes: Floats | None = None, keypoints: Floats | None = None, gone: Sequence[int] = ()
) -> Dataset:
    """Return a Dataset with other boxes and keypoints, and without some of the objects."""
    kept = np.setdiff1d(np.arange(len(truth)), gone)
    new_boxes = truth.boxes if boxes is None else boxes
    areas = (new_boxes[:, 2:] - new_boxes[:, :2]).prod(axis=1)
    return Dataset(
        truth.categories,
        truth.images,
        boxes=new_boxes[kept],
        keypoints=(truth.keypoints if keypoints is None else keypoints)[kept],
        areas=areas[kept],
        iscrowd=truth.iscrowd[kept],
        category_ids=truth.category_ids[kept],
        image_index=truth.image_index[kept],
        origins=truth.origins.take(kept.tolist()),
    )
