"""Boxes and points, and the conventions of file formats for them.

The canonical geometry is absolute pixels, float64, boxes as (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2. Pixel
coordinates are continuous: (0, 0) is the corner of the image, (width, height) the opposite one. Every other
convention is a named pair of functions here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
SizeClass: TypeAlias = Literal["small", "medium", "large"]

# Normalized coordinates read from text have an error near 1e-13 of the image, a box's far corner as a sum (COCO) one
# of 1e-13 px: boxes are rounded to 1e-9 px, so that every format stores them exactly.
DECIMALS = 9
# In pixels or percent: no annotation is larger, and float64 has little precision beyond.
MAX_COORDINATE = 1_000_000

# COCO's size classes: smallest and largest area, in square pixels.
SIZE_CLASSES: Mapping[SizeClass, tuple[float, float]] = {
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, np.inf),
}


def xywh_from_xyxy(boxes: Floats) -> Floats:
    """Return (N, 4) boxes as (x, y, width, height), COCO's convention, to 1e-9 px."""
    pixels = boxes.copy()
    pixels[:, 2:] -= boxes[:, :2]
    rounded: Floats = pixels.round(DECIMALS)
    return rounded


def xyxy_from_xywh(boxes: Floats) -> Floats:
    """Return (N, 4) COCO boxes (x, y, width, height) as canonical ones, to 1e-9 px.

    The sum of two float64 numbers cannot reach every float64 number; the rounding makes this the exact inverse of
    ``xywh_from_xyxy`` for boxes on the grid of 1e-9 px.
    """
    pixels: Floats = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1).round(DECIMALS)
    return pixels


def yolo_from_xyxy(boxes: Floats, size: tuple[int, int]) -> Floats:
    """Return (N, 4) boxes as (center x, center y, width, height) in fractions of the image's (width, height)."""
    scale = np.array(size, dtype=np.float64)
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2 / scale, (boxes[:, 2:] - boxes[:, :2]) / scale], axis=1)


def xyxy_from_yolo(boxes: Floats, size: tuple[int, int]) -> Floats:
    """Return (N, 4) YOLO boxes as canonical ones in an image of ``size`` (width, height), to 1e-9 px."""
    scale = np.array(size, dtype=np.float64)
    center, half = boxes[:, :2] * scale, boxes[:, 2:] * scale / 2
    pixels: Floats = np.concatenate([center - half, center + half], axis=1).round(DECIMALS)
    return pixels


def normalize_points(points: Floats, size: tuple[int, int]) -> Floats:
    """Return (..., 2) points in fractions of the image's (width, height)."""
    return points / np.array(size, dtype=np.float64)


def denormalize_points(points: Floats, size: tuple[int, int]) -> Floats:
    """Return (..., 2) points, given in fractions of ``size`` (width, height), in pixels, to 1e-9 px."""
    pixels: Floats = (points * np.array(size, dtype=np.float64)).round(DECIMALS)
    return pixels


def box_from_corners(points: Floats) -> Floats:
    """Return the (4,) box round (M, 2) corner points given in any order."""
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def box_area(boxes: Floats) -> Floats:
    """Return the (...) areas of (..., 4) boxes, in square pixels."""
    sides = boxes[..., 2:] - boxes[..., :2]
    area: Floats = sides[..., 0] * sides[..., 1]
    return area


def box_overlap(a: Floats, b: Floats) -> Floats:
    """Return the (...) areas, in square pixels, that (..., 4) boxes have in common; both are broadcast."""
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0.0, None)
    overlap: Floats = sides[..., 0] * sides[..., 1]
    return overlap


def box_iou(a: Floats, b: Floats) -> Floats:
    """Return the (...) intersections over unions of (..., 4) boxes, 0 where both are empty; both are broadcast."""
    overlap = box_overlap(a, b)
    union = box_area(a) + box_area(b) - overlap
    iou: Floats = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return iou


def pairwise_iou(a: Floats, b: Floats) -> Floats:
    """Return the (N, M) intersections over unions of (N, 4) and (M, 4) boxes; 0 where both are empty."""
    return box_iou(a[:, None], b[None])


def clip_boxes(boxes: Floats, size: tuple[int, int]) -> Floats:
    """Return (N, 4) boxes cut to an image of ``size`` (width, height)."""
    limit = np.array([*size, *size], dtype=np.float64)
    clipped: Floats = np.clip(boxes, 0.0, limit)
    return clipped


def box_from_keypoints(keypoints: Floats, margin: float, size: tuple[int, int], *, pixels: float = 0.0) -> Floats:
    """Return the (4,) box round the labeled ones of (K, 3) keypoints, wider by a margin, cut to the image.

    Args:
        keypoints: x, y, visibility; at least one labeled (visibility > 0).
        margin: what each side moves outwards, as a fraction of the box's width or height.
        size: the image's (width, height), to which the box is cut.
        pixels: how far each side moves outwards in addition.
    """
    box = box_from_corners(keypoints[keypoints[:, 2] > 0, :2])
    grow = (box[2:] - box[:2]) * margin + pixels
    wider: Floats = clip_boxes(np.concatenate([box[:2] - grow, box[2:] + grow])[None], size)[0]
    return wider
