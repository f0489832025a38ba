"""Predictions made from labels, with planted errors: a pair of models without training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Floats
from posetools.imaging.frames import read_image
from posetools.imaging.header import Pixels
from posetools.runtime.results import Detections, Poses


@dataclass
class Oracle:
    """A detector and a pose estimator that know the labels.

    Attributes:
        truth: the labels; all images must be different.
        blur: standard deviation of points, as a fraction of the box's longer side.
        lost: rows that the detector misses.
        flipped: rows whose points get the names of the other side.
        ghosts: how many boxes without an object each image gets.
        asked: how many images the detector, and how many boxes the estimator received.
    """

    truth: Dataset
    blur: float = 0.01
    lost: frozenset[int] = frozenset()
    flipped: frozenset[int] = frozenset()
    ghosts: int = 0
    asked: list[int] = field(default_factory=lambda: [0, 0])

    def __post_init__(self) -> None:
        paths = [image.path for image in self.truth.images]
        self._images = {read_image(path).tobytes(): i for i, path in enumerate(paths) if path}
        assert len(self._images) == len(paths)
        self.num_keypoints = self.truth.skeleton.num_keypoints
        self.classes = ("bicycle", self.truth.skeleton.category.name)

    def __call__(self, images: Sequence[Pixels]) -> list[Detections]:
        self.asked[0] += len(images)
        return [self._found(self._images[image.tobytes()]) for image in images]

    def _found(self, image: int) -> Detections:
        rng = np.random.default_rng(image)
        rows = [row for row in self.truth.rows_of_images()[image] if row not in self.lost]
        boxes = self.truth.boxes[rows]
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        near = boxes + rng.normal(0, 0.02, boxes.shape) * sides
        width, height = self.truth.images[image].size
        corner = rng.uniform(0, 0.7, (self.ghosts, 2)) * [width, height]
        ghosts = np.concatenate([corner, corner + rng.uniform(0.1, 0.25, (self.ghosts, 2)) * [width, height]], axis=1)
        scores = np.concatenate([rng.uniform(0.6, 0.99, len(rows)), rng.uniform(0.1, 0.5, self.ghosts)])
        order = np.argsort(-scores)
        every = np.concatenate([near, ghosts])[order]
        # A box of another class covers everything; it must not count.
        whole = np.array([[0.0, 0.0, width, height]])
        labels = np.array([0, *[1] * len(every)], dtype=np.int64)
        return Detections(np.concatenate([whole, every]), np.array([1.0, *scores[order]]), labels)

    def estimate(self, images: Sequence[Pixels], boxes: Sequence[Floats], *, heatmaps: bool = False) -> list[Poses]:
        assert not heatmaps
        self.asked[1] += sum(map(len, boxes))
        pairs = zip(images, boxes, strict=True)
        return [self._poses(self._images[image.tobytes()], own) for image, own in pairs]

    def _poses(self, image: int, boxes: Floats) -> Poses:
        rng = np.random.default_rng(1000 + image)
        rows = np.array(self.truth.rows_of_images()[image], dtype=np.int64)
        points, scores = [], []
        for box in boxes:
            center, sides = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
            labeled = self.truth.boxes[rows]
            apart = np.linalg.norm((labeled[:, :2] + labeled[:, 2:]) / 2 - center, axis=1)
            row = int(rows[apart.argmin()]) if len(rows) else -1
            guess = center + rng.uniform(-0.5, 0.5, (self.num_keypoints, 2)) * sides
            score = rng.uniform(0.05, 0.3, self.num_keypoints)
            if row >= 0 and apart.min() < sides.max() / 4:
                known = self.truth.keypoints[row]
                own = known[list(self.truth.skeleton.flip_indices)] if row in self.flipped else known
                there = own[:, 2] > 0
                guess[there] = own[there, :2]
                score[there] = 0.3 + 0.3 * own[there, 2] + rng.uniform(-0.25, 0.1, there.sum())
            points.append(guess + rng.normal(0, self.blur, guess.shape) * sides.max())
            scores.append(score)
        k = self.num_keypoints
        crops = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, 1.25 * (boxes[:, 2:] - boxes[:, :2])], axis=1)
        return Poses(np.reshape(points, (len(boxes), k, 2)), np.reshape(scores, (len(boxes), k)), crops)
