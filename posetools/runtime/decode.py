"""From what the networks give to boxes and keypoints: the arithmetic of MMDet and MMPose, in numpy.

Single precision wherever they have it, so that the same outputs give the same boxes and keypoints. Where boxes have
equal scores, the one that comes first in the output goes first (torch's sort, which MMDet uses, leaves that open).
MMDet takes at most ``nms_pre`` boxes of each level into NMS, 30,000 in RTMDet's configs; here there is no such limit.
"""

from __future__ import annotations

import numpy as np

from posetools.core.geometry import Floats, Ints
from posetools.runtime.backend import Singles
from posetools.runtime.manifest import DetNetwork, PoseNetwork
from posetools.runtime.preprocess import Crops
from posetools.runtime.results import Detections, block_max


def detections(dets: Singles, scales: tuple[float, float], network: DetNetwork, min_score: np.float32) -> Detections:
    """Return the boxes in a picture, the surest first.

    Args:
        dets: (A, 4 + C) of one picture: boxes in pixels of the input, and the scores of each class.
        scales: by how much the picture's width and height were scaled.
        network: what the detector is.
        min_score: boxes must have a higher score.
    """
    rows, labels = np.nonzero(dets[:, 4:] > min_score)
    scores = dets[rows, 4 + labels]
    limit = np.array([*network.input_size, *network.input_size], dtype=np.float32)
    back = np.array([1 / scales[0], 1 / scales[1]] * 2, dtype=np.float32)
    boxes = np.clip(dets[rows, :4], np.float32(0), limit) * back
    # RTMDet's min_bbox_size is 0: a box without width or height is none.
    there = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, scores, labels = boxes[there], scores[there], labels[there]
    kept = class_nms(boxes, scores, labels, network.iou_threshold, network.max_per_img)
    return Detections(boxes[kept].astype(np.float64), scores[kept].astype(np.float64), labels[kept].astype(np.int64))


def class_nms(boxes: Singles, scores: Singles, labels: Ints, iou_threshold: float, most: int) -> Ints:
    """Return the rows of at most ``most`` boxes, the surest first, that overlap no surer one of their class by more.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 with x1 < x2 and y1 < y2.
        scores: (N,).
        labels: (N,).
        iou_threshold: how much two boxes may overlap; in single precision, as in mmcv.
        most: how many boxes to return.
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
    """Return (N, K, 2) keypoints in pixels of the picture, and their (N, K) scores.

    Args:
        simcc_x: (N, K, Wx).
        simcc_y: (N, K, Wy).
        crops: where the N crops lie in their pictures.
        network: what the pose estimator is.
    """
    bins = np.stack([simcc_x.argmax(axis=2), simcc_y.argmax(axis=2)], axis=2).astype(np.float32)
    scores = np.minimum(simcc_x.max(axis=2), simcc_y.max(axis=2))
    bins[scores <= 0] = -1
    bins /= np.float32(network.split_ratio)
    # From here MMPose computes in double precision, and rounds the result to single.
    inside = bins / np.array(network.input_size)
    centres, sizes = crops.centres[:, None], crops.sizes[:, None]
    points = inside * sizes + centres - np.float32(0.5) * sizes
    return points.astype(np.float32).astype(np.float64), scores.astype(np.float64)


def heatmaps_of(simcc_x: Singles, simcc_y: Singles, size: tuple[int, int]) -> Singles:
    """Return (N, K, h, w) heatmaps of at most ``size``, (width, height), of (N, K, Wx) and (N, K, Wy).

    Each is the product of its two vectors, scaled as MMPose does it to be looked at. The largest value of a block of
    such a product is the product of the largest values, so the vectors are made shorter first.
    """
    x, y = (block_max(_scaled(vectors), blocks, 2) for vectors, blocks in zip((simcc_x, simcc_y), size, strict=True))
    product: Singles = y[:, :, :, None] * x[:, :, None, :]
    return product


def _scaled(vectors: Singles) -> Singles:
    positive = np.maximum(vectors, 0)
    peaks = positive.max(axis=2, keepdims=True)
    scaled: Singles = positive / np.where(peaks > 1, peaks, np.float32(1))
    return scaled
