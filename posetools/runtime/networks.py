"""The two networks of a bundle as a detector and a pose estimator: images in, boxes and keypoints out.

They implement AnyDetector and AnyEstimator of ``posetools.runtime.results``, as OpenMMLab's models in ``posetools.mm``
do. The inputs of the networks equal, bit by bit, those of the test pipelines of MMDet and MMPose, and the outputs are
decoded with the same arithmetic.

Detector (``Resize(keep_ratio=True)``, ``Pad``): the image is scaled to fit into the input, rounded to whole pixels,
and padded right and below. The two factors after rounding are kept to map boxes back. For a portrait image and a
landscape input (or vice versa) MMDet swaps the input's sides, so the network gets another size; here the input always
has the size that the network was exported with.

Pose estimator (``GetBBoxCenterScale``, ``TopdownAffine``): the box, ``padding`` times larger, is extended to the
input's aspect ratio and warped into it. Single precision wherever MMPose has it.

Both then compute (x - mean) / std in single precision, by a table of 256 values per channel.

Of boxes with equal scores, the first in the output comes first (torch's sort, used by MMDet, does not define the
order). MMDet passes at most ``nms_pre`` boxes of each level to NMS, 30,000 in RTMDet's configs; here there is no limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from posetools.core.geometry import Floats, Ints
from posetools.errors import RequestError, must_be
from posetools.imaging.header import Pixels
from posetools.runtime.manifest import DetNetwork, FittedNetwork, Network, PoseNetwork
from posetools.runtime.results import Detections, Poses, block_max, heatmap_size
from posetools.runtime.session import InputShape, Session, Singles

# A table per channel: (3, 256).
Tables = Singles


class Crops(NamedTuple):
    """Crops of an image: (N, 2) centers and (N, 2) widths and heights, in pixels."""

    centers: Singles
    sizes: Singles


def tables(network: Network) -> Tables:
    """Return (x - mean) / std of each channel for each value of a byte."""
    mean, std = (np.array(each, dtype=np.float32)[:, None] for each in (network.mean, network.std))
    values: Tables = (np.arange(256, dtype=np.float32) - mean) / std
    return values


def normalize(image: Pixels, by: Tables, out: Singles) -> None:
    """Write a normalized (h, w, 3) image into the (3, h, w) of a batch."""
    import cv2

    for plane, table, target in zip(cv2.split(image), by, out, strict=True):
        cv2.LUT(plane, table[None], target)


def fitted_size(size: tuple[int, int], into: tuple[int, int]) -> tuple[int, int]:
    """Return the (width, height) of an image that is scaled to fit into another size, in whole pixels."""
    scale = min(into[0] / size[0], into[1] / size[1])
    return max(int(size[0] * scale + 0.5), 1), max(int(size[1] * scale + 0.5), 1)


def letterbox(image: Pixels, network: FittedNetwork) -> tuple[Pixels, tuple[float, float]]:
    """Return an image of the network's input size, and the scale factors of its width and height."""
    import cv2

    (height, width), (into_width, into_height) = image.shape[:2], network.input_size
    new = fitted_size((width, height), network.input_size)
    # Rounded to the nearest byte, as OpenCV pads.
    canvas = np.empty((into_height, into_width, 3), dtype=np.uint8)
    canvas[:] = np.clip(np.rint(network.pad_value), 0, 255)
    canvas[: new[1], : new[0]] = cv2.resize(image, new, interpolation=cv2.INTER_LINEAR)
    return canvas, (new[0] / width, new[1] / height)


def crops_of(boxes: Floats, network: PoseNetwork) -> Crops:
    """Return the crops for (N, 4) boxes."""
    single = boxes.astype(np.float32)
    padding = np.float32(network.padding)
    sizes, centers = (single[:, 2:] - single[:, :2]) * padding, (single[:, 2:] + single[:, :2]) * np.float32(0.5)
    width, height = sizes[:, :1], sizes[:, 1:]
    ratio = np.float32(network.input_size[0] / network.input_size[1])
    wide = np.concatenate([width, width / ratio], axis=1)
    high = np.concatenate([height * ratio, height], axis=1)
    return Crops(centers, np.where(width > height * ratio, wide, high))


def crop(image: Pixels, center: Singles, size: Singles, input_size: tuple[int, int]) -> Pixels:
    """Return one crop of an image, in the pose network's input size; black outside the image."""
    import cv2

    corners = _corners(center, size[0] * np.float32(0.5))
    target = _corners(np.array(input_size, dtype=np.float32) / 2, np.float32(input_size[0] / 2))
    warped: Pixels = cv2.warpAffine(image, cv2.getAffineTransform(corners, target), input_size, flags=cv2.INTER_LINEAR)
    return warped


def _corners(center: Singles, half: np.float32) -> Singles:
    """Return the three points that define MMPose's warp: the center, left of it, and below the left one."""
    x, y = center
    left = x - half
    return np.array([[x, y], [left, y], [left, y + (x - left)]], dtype=np.float32)


def detections(dets: Singles, scales: tuple[float, float], network: DetNetwork, min_score: np.float32) -> Detections:
    """Return the boxes in an image, by descending score.

    Args:
        dets: (A, 4 + C) of one image: boxes in pixels of the input, and the scores of each class.
        scales: the scale factors of the image's width and height.
        network: the detector's manifest entry.
        min_score: boxes must have a higher score.
    """
    rows, labels = np.nonzero(dets[:, 4:] > min_score)
    scores = dets[rows, 4 + labels]
    limit = np.array([*network.input_size, *network.input_size], dtype=np.float32)
    back = np.array([1 / scales[0], 1 / scales[1]] * 2, dtype=np.float32)
    boxes = np.clip(dets[rows, :4], np.float32(0), limit) * back
    # RTMDet's min_bbox_size is 0: boxes without width or height are dropped.
    there = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, scores, labels = boxes[there], scores[there], labels[there]
    kept = class_nms(boxes, scores, labels, network.iou_threshold, network.max_per_img)
    return Detections(boxes[kept].astype(np.float64), scores[kept].astype(np.float64), labels[kept].astype(np.int64))


def class_nms(boxes: Singles, scores: Singles, labels: Ints, iou_threshold: float, most: int) -> Ints:
    """Return the rows of at most ``most`` boxes that NMS within a class keeps, by descending score.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 with x1 < x2 and y1 < y2.
        scores: (N,).
        labels: (N,).
        iou_threshold: the largest allowed overlap; in single precision, as in mmcv.
        most: number of boxes to return.
    """
    left = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    threshold = np.float32(iou_threshold)
    kept: list[int] = []
    while left.size and len(kept) < most:
        first, left = left[0], left[1:]
        kept.append(int(first))
        others = boxes[left]
        sides = np.minimum(boxes[first, 2:], others[:, 2:]) - np.maximum(boxes[first, :2], others[:, :2])
        np.maximum(sides, 0, out=sides)
        inter = sides[:, 0] * sides[:, 1]
        iou = inter / (areas[first] + areas[left] - inter)
        left = left[(iou <= threshold) | (labels[left] != labels[first])]
    return np.array(kept, dtype=np.int64)


def keypoints(simcc_x: Singles, simcc_y: Singles, crops: Crops, network: PoseNetwork) -> tuple[Floats, Floats]:
    """Return (N, K, 2) keypoints in pixels of the image, and their (N, K) scores.

    Args:
        simcc_x: (N, K, Wx).
        simcc_y: (N, K, Wy).
        crops: the N crops.
        network: the pose estimator's manifest entry.
    """
    bins = np.stack([simcc_x.argmax(axis=2), simcc_y.argmax(axis=2)], axis=2).astype(np.float32)
    scores = np.minimum(simcc_x.max(axis=2), simcc_y.max(axis=2))
    bins[scores <= 0] = -1
    bins /= np.float32(network.split_ratio)
    # From here MMPose uses double precision, and rounds the result to single.
    inside = bins / np.array(network.input_size)
    centers, sizes = crops.centers[:, None], crops.sizes[:, None]
    points = inside * sizes + centers - np.float32(0.5) * sizes
    return points.astype(np.float32).astype(np.float64), scores.astype(np.float64)


def heatmaps_of(simcc_x: Singles, simcc_y: Singles, size: tuple[int, int]) -> Singles:
    """Return (N, K, h, w) heatmaps of at most ``size``, (width, height), of (N, K, Wx) and (N, K, Wy).

    Each is the product of its two vectors, scaled as in MMPose for display. The maximum over a block of such a product
    is the product of the maxima, so the vectors are shortened first.
    """
    x, y = (block_max(_scaled(vectors), blocks, 2) for vectors, blocks in zip((simcc_x, simcc_y), size, strict=True))
    product: Singles = y[:, :, :, None] * x[:, :, None, :]
    return product


def _scaled(vectors: Singles) -> Singles:
    positive = np.maximum(vectors, 0)
    peaks = positive.max(axis=2, keepdims=True)
    scaled: Singles = positive / np.where(peaks > 1, peaks, np.float32(1))
    return scaled


DETS = "dets"
SIMCC_X, SIMCC_Y = "simcc_x", "simcc_y"
# cv2.warpAffine uses 16-bit coordinates.
LONGEST_SIDE = 32766


class _OnnxModel:
    """A session and the normalization of its input."""

    def __init__(
        self,
        model: bytes,
        network: Network,
        outputs: Mapping[str, InputShape],
        device: str,
        *,
        source: Path | str,
        batch_size: int,
    ) -> None:
        self._session = Session(model, network, outputs, device=device, source=source)
        self._size, self._tables, self._batch_size = network.input_size, tables(network), batch_size

    def _batch(self, fitted: Sequence[Pixels]) -> Singles:
        """Return the (B, 3, h, w) batch of images of the input's size."""
        width, height = self._size
        batch = np.empty((len(fitted), 3, height, width), dtype=np.float32)
        for image, target in zip(fitted, batch, strict=True):
            normalize(image, self._tables, target)
        return batch


class OnnxDetector(_OnnxModel):
    """A detector, created like a Session.

    Args:
        batch_size: images per batch.
        score_thr: also drop boxes below this score. That does not change the boxes above it: in NMS only boxes with
            higher scores suppress a box.

    Attributes:
        network: its manifest entry.
        classes: the names that labels are indices into.
    """

    def __init__(
        self,
        model: bytes,
        network: DetNetwork,
        device: str = "cpu",
        *,
        source: Path | str = "bundle",
        score_thr: float | None = None,
        batch_size: int = 4,
    ) -> None:
        outputs: dict[str, InputShape] = {DETS: (None, 4 + len(network.classes))}
        super().__init__(model, network, outputs, device, source=source, batch_size=batch_size)
        self.network = network
        own = np.float32(network.score_thr)
        # One step below, because callers compare with the threshold in double precision.
        asked = np.nextafter(np.float32(score_thr or 0), np.float32(-1))
        self._min_score: np.float32 = max(own, asked)
        self.classes: tuple[str, ...] = network.classes

    def __call__(self, images: Sequence[Pixels]) -> list[Detections]:
        """Return the boxes in each image."""
        found: list[Detections] = []
        for start in range(0, len(images), self._batch_size):
            batch, scales = self.preprocess(images[start : start + self._batch_size])
            dets = self.run(batch)
            pairs = zip(dets, scales, strict=True)
            found += [detections(one, scale, self.network, self._min_score) for one, scale in pairs]
        return found

    def preprocess(self, images: Sequence[Pixels]) -> tuple[Singles, list[tuple[float, float]]]:
        """Return the (B, 3, h, w) batch of images, and the scale factors of each one's width and height."""
        fitted = [letterbox(image, self.network) for image in images]
        return self._batch([image for image, _ in fitted]), [scales for _, scales in fitted]

    def run(self, batch: Singles) -> Singles:
        """Return the network's (B, A, 4 + C) output for a batch."""
        return self._session.run(batch)[0]


class OnnxEstimator(_OnnxModel):
    """A top-down pose estimator, created like a Session.

    Args:
        batch_size: crops per batch.

    Attributes:
        network: its manifest entry.
    """

    def __init__(
        self,
        model: bytes,
        network: PoseNetwork,
        device: str = "cpu",
        *,
        source: Path | str = "bundle",
        batch_size: int = 32,
    ) -> None:
        k, (wide, high) = network.num_keypoints, network.bins
        outputs: dict[str, InputShape] = {SIMCC_X: (k, wide), SIMCC_Y: (k, high)}
        super().__init__(model, network, outputs, device, source=source, batch_size=batch_size)
        self.network = network

    @property
    def num_keypoints(self) -> int:
        """K."""
        return self.network.num_keypoints

    def estimate(self, images: Sequence[Pixels], boxes: Sequence[Floats], *, heatmaps: bool = False) -> list[Poses]:
        """Return the keypoints of the (N, 4) boxes of each image; crops of several images share a batch.

        Raises:
            RequestError: an image is too large for OpenCV's warpAffine.
        """
        for image in images:
            if max(image.shape) > LONGEST_SIDE:
                size = (image.shape[1], image.shape[0])
                raise RequestError(must_be("an image", f"at most {LONGEST_SIDE} pixels wide and high", size))
        owners = np.repeat(np.arange(len(images)), [len(of_image) for of_image in boxes])
        crops = crops_of(np.concatenate([*boxes, np.empty((0, 4))]), self.network)
        wide, high = self.network.bins
        k = self.num_keypoints
        outputs = [(np.empty((0, k, wide), dtype=np.float32), np.empty((0, k, high), dtype=np.float32))]
        for start in range(0, len(owners), self._batch_size):
            rows = slice(start, start + self._batch_size)
            these = Crops(crops.centers[rows], crops.sizes[rows])
            outputs.append(self.run(self.preprocess(images, owners[rows].tolist(), these)))
        x, y = (np.concatenate(part) for part in zip(*outputs, strict=True))
        parts = [slice(*ends) for ends in pairwise(np.cumsum([0, *(len(of_image) for of_image in boxes)]))]
        own = [Crops(crops.centers[part], crops.sizes[part]) for part in parts]
        return [self._poses(x[at], y[at], each, with_heatmaps=heatmaps) for at, each in zip(parts, own, strict=True)]

    def preprocess(self, images: Sequence[Pixels], owners: Sequence[int], crops: Crops) -> Singles:
        """Return the (N, 3, h, w) batch of N crops, each of the image whose index is in ``owners``."""
        each = zip(owners, crops.centers, crops.sizes, strict=True)
        return self._batch([crop(images[owner], center, size, self._size) for owner, center, size in each])

    def run(self, batch: Singles) -> tuple[Singles, Singles]:
        """Return the network's two outputs for a batch, (N, K, Wx) and (N, K, Wy)."""
        x, y = self._session.run(batch)
        return x, y

    def _poses(self, simcc_x: Singles, simcc_y: Singles, crops: Crops, *, with_heatmaps: bool) -> Poses:
        points, scores = keypoints(simcc_x, simcc_y, crops, self.network)
        return Poses(
            keypoints=points,
            scores=scores,
            crops=np.concatenate(crops, axis=1).astype(np.float64),
            heatmaps=heatmaps_of(simcc_x, simcc_y, heatmap_size(self.network.input_size)) if with_heatmaps else None,
        )
