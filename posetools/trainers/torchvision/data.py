"""Training samples: images scaled into the network's input, with torchvision's targets.

Each sample depends only on the seed, the epoch and its image, so a resumed run sees what an uninterrupted one sees.
Objects without area, and groups of objects (crowds), are left out. Points that are not labeled, or that a random change
of the image moves out of it, are not trained.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Floats, Ints
from posetools.errors import InputError
from posetools.imaging.frames import read_image
from posetools.imaging.header import Pixels
from posetools.runtime.manifest import OneStageNetwork
from posetools.runtime.networks import normalize, tables
from posetools.runtime.session import Singles
from posetools.trainers.torchvision.recipe import TrainingRecipe

# Random changes of an image: its scale, and the brightness, contrast and color of its pixels.
_SCALE_RANGE = (0.7, 1.25)
_GAIN_RANGE, _COLOR_RANGE, _SHIFT_RANGE = (0.7, 1.3), (0.92, 1.08), (-20.0, 20.0)
# An object stays if at least this part of its box is in the input.
_INSIDE = 0.3
_SMALLEST_BOX = 2.0
_READERS = 2

# The (3, h, w) input, and the targets: boxes (N, 4), labels (N,), keypoints (N, K, 3).
TrainingSample: TypeAlias = tuple[Singles, dict[str, Any]]


@dataclass(frozen=True, eq=False, slots=True)
class Samples:
    """The training samples of a data set.

    Attributes:
        dataset: the train split.
        network: what the network's input is like.
        recipe: the recipe.
    """

    dataset: Dataset
    network: OneStageNetwork
    recipe: TrainingRecipe

    @property
    def batches(self) -> int:
        """Number of batches in an epoch."""
        return -(-len(self.dataset.images) // self.recipe.batch_size)

    def epoch(self, number: int) -> Iterator[list[TrainingSample]]:
        """Yield the batches of an epoch in random order; the next ones are read meanwhile.

        Raises:
            InputError: an image cannot be read.
        """
        order = np.random.default_rng([self.recipe.seed, number]).permutation(len(self.dataset.images)).tolist()
        size = self.recipe.batch_size
        with ThreadPoolExecutor(_READERS) as pool:
            waiting = deque(pool.submit(self.sample, index, number) for index in order[: 2 * size])
            left = iter(order[2 * size :])
            while waiting:
                batch = [waiting.popleft().result() for _ in range(min(size, len(waiting)))]
                waiting.extend(pool.submit(self.sample, index, number) for _, index in zip(batch, left, strict=False))
                yield batch

    def sample(self, index: int, epoch: int) -> TrainingSample:
        """Return the sample of an image in an epoch.

        Raises:
            InputError: the image cannot be read.
        """
        import cv2

        image = self.dataset.images[index]
        if image.path is None:
            raise InputError(image.file_name, "", "image cannot be read: the data set has no path for it")
        rng = np.random.default_rng([self.recipe.seed, epoch, index])
        pixels, (width, height) = read_image(image.path), self.network.input_size
        scale = min(width / image.width, height / image.height) * rng.uniform(*_SCALE_RANGE)
        room = width - scale * image.width, height - scale * image.height
        left, top = (rng.uniform(min(0.0, each), max(0.0, each)) for each in room)
        # Pixels are unit squares: the center of the first one is at 0.5.
        half = 0.5 * scale - 0.5
        matrix = np.array([[scale, 0, left + half], [0, scale, top + half]])
        value = self.network.pad_value
        moved: Pixels = cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=value)
        moved = _recolored(moved, rng)
        boxes, keypoints, labels = self._objects(index, np.array([left, top]), scale)
        if self.recipe.flip and rng.random() < 0.5:
            moved = np.ascontiguousarray(moved[:, ::-1])
            boxes, keypoints = self._mirrored(boxes, keypoints, labels)
        tensor = np.empty((3, height, width), dtype=np.float32)
        normalize(moved, tables(self.network), tensor)
        return tensor, {"boxes": boxes.astype(np.float32), "keypoints": keypoints.astype(np.float32), "labels": labels}

    def _objects(self, index: int, shift: Floats, scale: float) -> tuple[Floats, Floats, Ints]:
        """Return boxes, keypoints and torchvision's labels (0 is the background) of the objects in an input."""
        data, size = self.dataset, np.array(self.network.input_size, dtype=np.float64)
        rows = np.arange(*np.searchsorted(data.image_index, [index, index + 1]))
        rows = rows[~data.iscrowd[rows]]
        boxes = data.boxes[rows] * scale + np.tile(shift, 2)
        cut = np.clip(boxes, 0.0, np.tile(size, 2))
        sides, whole = cut[:, 2:] - cut[:, :2], (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        kept = (sides >= _SMALLEST_BOX).all(axis=1) & (sides.prod(axis=1) >= _INSIDE * whole)
        keypoints = data.keypoints[rows][kept].copy()
        points = keypoints[..., :2] * scale + shift
        inside = (keypoints[..., 2] > 0) & (points >= 0).all(axis=2) & (points <= size).all(axis=2)
        keypoints[..., :2], keypoints[..., 2] = np.where(inside[..., None], points, 0.0), inside
        numbers = list(data.categories)
        labels = [numbers.index(number) + 1 for number in data.category_ids[rows][kept].tolist()]
        return cut[kept], keypoints, np.array(labels, dtype=np.int64)

    def _mirrored(self, boxes: Floats, keypoints: Floats, labels: Ints) -> tuple[Floats, Floats]:
        width, categories = self.network.input_size[0], self.dataset.categories
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
        mirrored = keypoints.copy()
        mirrored[..., 0] = width - keypoints[..., 0]
        for at, (number, skeleton) in enumerate(categories.items(), start=1):
            own, columns = np.flatnonzero(labels == at), categories.columns[number]
            mirrored[np.ix_(own, columns)] = mirrored[np.ix_(own, columns[list(skeleton.flip_indices)])]
        return boxes, mirrored


def _recolored(image: Pixels, rng: np.random.Generator) -> Pixels:
    import cv2

    gains = rng.uniform(*_GAIN_RANGE) * rng.uniform(*_COLOR_RANGE, 3)
    values = np.arange(256)[:, None] * gains + rng.uniform(*_SHIFT_RANGE)
    table = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    changed: Pixels = cv2.LUT(image, np.ascontiguousarray(table[None]))
    return changed


def tensors(batch: Sequence[TrainingSample], device: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Return a batch's (B, 3, h, w) images and targets as tensors on a device."""
    import torch

    images = torch.from_numpy(np.stack([image for image, _ in batch])).to(device, memory_format=torch.channels_last)
    return images, [{name: torch.from_numpy(value).to(device) for name, value in each.items()} for _, each in batch]
