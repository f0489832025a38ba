"""One network that detects boxes and estimates the keypoints in them, as a detector and a pose estimator.

The network gives each box K heatmaps of s x s equal cells, as logits. For a keypoint it was trained to give a
probability to each cell, the softmax of its heatmap. From a heatmap follow, for the trainer's model and for a bundle:

- the location, as torchvision's ``heatmaps_to_keypoints``: the heatmap is resized to the box, rounded up to whole
  pixels, by bicubic interpolation; the location is the center of its largest pixel. OpenCV and torch have the same
  kernel (a = -0.75).
- the score: the probability of the 5 x 5 cells around the largest cell, 0 to 1. Of 56 cells this is an error of at most
  4.5 % of the box's sides.

The detector keeps the heatmaps of the boxes that it detected in the last images, so that the keypoints in these boxes
need no second run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from posetools.core.categories import Categories
from posetools.core.geometry import Floats, Ints
from posetools.errors import InputError, must_be
from posetools.imaging.header import Pixels
from posetools.runtime.manifest import OneStageNetwork
from posetools.runtime.networks import fitted_size, letterbox, normalize, tables
from posetools.runtime.results import Detections, Poses
from posetools.runtime.session import INPUT_NAME, Session, Singles

BOXES, DETS, HEATMAPS = "boxes", "dets", "heatmaps"
# Cells on each side of the largest one whose probability counts as the score.
_AROUND = 2

# (1, 3, h, w) image and (M, 4) boxes -> (D, 6) detections and (D + M, K, s, s) heatmaps; posetools/runtime/manifest.py.
Run: TypeAlias = Callable[[Singles, Singles], tuple[Singles, Singles]]


def onnx_run(model: bytes, network: OneStageNetwork, device: str = "cpu", *, source: Path | str = "bundle") -> Run:
    """Return a function that runs the ONNX file of a bundle.

    Raises:
        MissingExtraError: the ``runtime`` extra is not installed.
        RequestError: the device is not available.
        InputError: the network is damaged, or not allowed in a bundle.
    """
    width, height = network.input_size
    side = network.heatmap_side
    outputs = {DETS: (6,), HEATMAPS: (network.num_keypoints, side, side)}
    inputs = {INPUT_NAME: (1, 3, height, width), BOXES: (None, 4)}
    session = Session(model, network, outputs, device=device, source=source, inputs=inputs)

    def run(batch: Singles, boxes: Singles) -> tuple[Singles, Singles]:
        dets, heatmaps = session.run_on({INPUT_NAME: batch, BOXES: boxes}, None)
        if len(heatmaps) != len(dets) + len(boxes):
            rule = f"of {len(dets) + len(boxes)} boxes, the detected and the given ones"
            raise InputError(source, network.file, must_be(f"output {HEATMAPS}", rule, len(heatmaps)))
        return dets, heatmaps

    return run


@dataclass(frozen=True, eq=False, slots=True)
class _Seen:
    """The boxes detected in an image: in its pixels, in those of the network's input, and their heatmaps."""

    image: Pixels
    boxes: Floats
    inside: Singles
    heatmaps: Singles


class OneStageModel:
    """A detector; ``estimators`` are its pose estimators.

    Args:
        run: runs the network.
        network: its manifest entry.
        score_thr: drop boxes below this score.

    Attributes:
        network: its manifest entry.
        classes: the names that labels are indices into.
    """

    def __init__(self, run: Run, network: OneStageNetwork, *, score_thr: float | None = None) -> None:
        self.network, self.classes = network, network.classes
        # One step below, because callers compare with the threshold in double precision.
        self._run, self._min_score = run, np.nextafter(np.float32(score_thr or 0), np.float32(-1))
        self._tables = tables(network)
        self._seen: list[_Seen] = []

    def estimators(self, categories: Categories) -> tuple[OneStageEstimator, ...]:
        """Return the pose estimator of each of ``categories.posed``, in its order."""
        return tuple(
            OneStageEstimator(self, categories.columns[next(iter(group))]) for group in categories.posed.values()
        )

    def __call__(self, images: Sequence[Pixels]) -> list[Detections]:
        """Return the boxes in each image."""
        self._seen, found = [], []
        for image in images:
            dets, heatmaps = self._run(*self.inputs(image, np.zeros((0, 4))))
            kept = dets[:, 4] > self._min_score
            dets = dets[kept]
            boxes = (dets[:, :4] / self._scales(image)).astype(np.float64)
            self._seen.append(_Seen(image, boxes, dets[:, :4], heatmaps[kept]))
            found.append(Detections(boxes, dets[:, 4].astype(np.float64), dets[:, 5].astype(np.int64)))
        return found

    def inputs(self, image: Pixels, boxes: Floats) -> tuple[Singles, Singles]:
        """Return the network's inputs for an image and (M, 4) boxes in its pixels."""
        fitted, _ = letterbox(image, self.network)
        batch = np.empty((1, 3, *fitted.shape[:2]), dtype=np.float32)
        normalize(fitted, self._tables, batch[0])
        return batch, (boxes * self._scales(image)).astype(np.float32)

    def heatmaps(self, image: Pixels, boxes: Floats) -> tuple[Singles, Singles]:
        """Return the boxes in pixels of the network's input, (N, 4), and their heatmaps, (N, K, s, s).

        Args:
            image: the image.
            boxes: (N, 4) in its pixels; those just detected in it need no run.
        """
        k, side = self.network.num_keypoints, self.network.heatmap_side
        inside = np.zeros((len(boxes), 4), dtype=np.float32)
        heatmaps = np.zeros((len(boxes), k, side, side), dtype=np.float32)
        seen = next((one for one in self._seen if one.image is image), None)
        rows = np.full(len(boxes), -1) if seen is None else _rows_of(boxes, seen.boxes)
        if seen is not None:
            inside[rows >= 0], heatmaps[rows >= 0] = seen.inside[rows[rows >= 0]], seen.heatmaps[rows[rows >= 0]]
        if (rows < 0).any():
            batch, inside[rows < 0] = self.inputs(image, boxes[rows < 0])
            dets, every = self._run(batch, inside[rows < 0])
            heatmaps[rows < 0] = every[len(dets) :]
        return inside, heatmaps

    def points(self, image: Pixels, inside: Singles, heatmaps: Singles) -> tuple[Floats, Floats]:
        """Return (N, K, 2) keypoints in pixels of the image, and their (N, K) scores."""
        return locations(heatmaps, inside) / self._scales(image)[:2], scores_of(heatmaps)

    def _scales(self, image: Pixels) -> Singles:
        """Return (4,) the scale factors of x, y, x, y: rounded sizes over sizes, as in ``letterbox``."""
        size = image.shape[1], image.shape[0]
        new = fitted_size(size, self.network.input_size)
        return np.array([new[0] / size[0], new[1] / size[1]] * 2, dtype=np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class OneStageEstimator:
    """The pose estimator of a skeleton.

    Attributes:
        model: the network.
        columns: (K,) its keypoints among those of the network.
    """

    model: OneStageModel
    columns: Ints

    @property
    def num_keypoints(self) -> int:
        """K."""
        return len(self.columns)

    def estimate(self, images: Sequence[Pixels], boxes: Sequence[Floats], *, heatmaps: bool = False) -> list[Poses]:
        """Return the keypoints of the (N, 4) boxes of each image."""
        found = []
        for image, own in zip(images, boxes, strict=True):
            inside, every = self.model.heatmaps(image, own)
            every = every[:, self.columns]
            points, scores = self.model.points(image, inside, every)
            crops = np.concatenate([(own[:, :2] + own[:, 2:]) / 2, own[:, 2:] - own[:, :2]], axis=1)
            # As bright as the keypoint is certain.
            peaks = every.max(axis=(2, 3), keepdims=True)
            shown = (np.exp(every - peaks) * scores[..., None, None]).astype(np.float32) if heatmaps else None
            found.append(Poses(points, scores, crops, shown))
        return found


def locations(heatmaps: Singles, boxes: Singles) -> Floats:
    """Return the (N, K, 2) locations of keypoints, as torchvision's ``heatmaps_to_keypoints``.

    Args:
        heatmaps: (N, K, s, s).
        boxes: (N, 4) x1, y1, x2, y2; locations are in their pixels.
    """
    import cv2

    found = np.zeros((*heatmaps.shape[:2], 2))
    sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], np.float32(1))
    pixels = np.ceil(sizes).astype(np.int64)
    for row, (box, size, whole) in enumerate(zip(boxes, sizes, pixels.tolist(), strict=True)):
        for column, heatmap in enumerate(heatmaps[row]):
            y, x = divmod(int(cv2.resize(heatmap, whole, interpolation=cv2.INTER_CUBIC).argmax()), whole[0])
            found[row, column] = (np.array([x, y]) + 0.5) * size / whole + box[:2]
    return found


def scores_of(heatmaps: Singles) -> Floats:
    """Return the (N, K) scores of keypoints: the probability of the cells around the largest one, 0 to 1."""
    n, k, side, _ = heatmaps.shape
    flat = heatmaps.reshape(n, k, side * side)
    shares = np.exp(flat - flat.max(axis=2, keepdims=True))
    shares /= shares.sum(axis=2, keepdims=True)
    padded = np.pad(shares.reshape(n, k, side, side), ((0, 0), (0, 0), (_AROUND, _AROUND), (_AROUND, _AROUND)))
    y, x = np.divmod(flat.argmax(axis=2)[..., None, None], side)
    rows, columns, down, right = np.ogrid[:n, :k, : 2 * _AROUND + 1, : 2 * _AROUND + 1]
    scores: Floats = padded[rows, columns, y + down, x + right].sum(axis=(2, 3)).astype(np.float64)
    return np.minimum(scores, 1.0)


def _rows_of(boxes: Floats, known: Floats) -> Ints:
    """Return (N,) the row of each box in ``known``, or -1."""
    same = (boxes[:, None] == known[None]).all(axis=2)
    rows: Ints = np.where(same.any(axis=1), same.argmax(axis=1) if len(known) else 0, -1)
    return rows
