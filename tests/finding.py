"""A pipeline without models: it detects a given number of objects in any image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from posetools.core.geometry import Floats
from posetools.core.skeleton import load_skeleton
from posetools.imaging.header import Pixels
from posetools.pairs.pipeline import PosePipeline
from posetools.runtime.results import Detections, Poses


@dataclass
class Told:
    """A detector and a pose estimator in one: N boxes side by side in each image, K points on a box's diagonal.

    Attributes:
        objects: how many to detect.
        score: the score of each box.
        points: (K,) scores of the points of each object; None: 0.9 each.
        meanwhile: called when images are processed.
    """

    objects: int = 1
    score: float = 0.8
    points: Sequence[float] | None = None
    meanwhile: Callable[[], object] | None = None
    classes: tuple[str, ...] = ("car",)
    num_keypoints: int = 8
    seen: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, images: Sequence[Pixels]) -> list[Detections]:
        if self.meanwhile is not None:
            self.meanwhile()
        self.seen += [(image.shape[1], image.shape[0]) for image in images]
        return [self._boxes(image) for image in images]

    def _boxes(self, image: Pixels) -> Detections:
        height, width = image.shape[:2]
        left = np.arange(self.objects) * width / max(self.objects, 1)
        sides = np.full(self.objects, 0.8 * width / max(self.objects, 1))
        boxes = np.stack([left, np.full_like(left, 10.0), left + sides, np.full_like(left, height - 10.0)], axis=1)
        return Detections(boxes, np.full(self.objects, self.score), np.zeros(self.objects, dtype=np.int64))

    def estimate(self, images: Sequence[Pixels], boxes: Sequence[Floats], *, heatmaps: bool = False) -> list[Poses]:
        assert not heatmaps
        return [self._poses(of_image) for _, of_image in zip(images, boxes, strict=True)]

    def _poses(self, boxes: Floats) -> Poses:
        along = np.linspace(0.1, 0.9, self.num_keypoints)[None, :, None]
        points = boxes[:, None, :2] + along * (boxes[:, None, 2:] - boxes[:, None, :2])
        given = np.full(self.num_keypoints, 0.9) if self.points is None else np.array(self.points)
        crops = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
        return Poses(points, np.tile(given, (len(boxes), 1)), crops)


def make_pipeline(told: Told | None = None) -> PosePipeline:
    told = told or Told()
    return PosePipeline(told, told, load_skeleton("car8"))
