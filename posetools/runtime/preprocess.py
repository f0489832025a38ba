"""From pictures to what the networks take: the same numbers as the test pipelines of MMDet and MMPose give, bit by bit.

Detector (``Resize(keep_ratio=True)``, ``Pad``): the picture is scaled to fit into the input, rounded to whole pixels,
and padded right and below. The two factors that the rounding leaves are kept, to go back by. MMDet fits a picture that
is upright into an input that is lying (or the other way round) as if the input were turned, and then feeds the network
another size than the stated one; here the input has the one size that the network was exported with.

Pose estimator (``GetBBoxCenterScale``, ``TopdownAffine``): the box, ``padding`` times larger, is widened or heightened
to the input's ratio and warped into it. Single precision wherever MMPose has it.

Both then take (x - mean) / std in single precision. A byte has 256 values, so that is a table per channel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from posetools.core.geometry import Floats
from posetools.imaging.header import Picture
from posetools.runtime.backend import Singles
from posetools.runtime.manifest import DetNetwork, Network, PoseNetwork

# A table per channel: (3, 256).
Tables = Singles


class Crops(NamedTuple):
    """Where crops lie in their picture: (N, 2) centres and (N, 2) widths and heights, in pixels."""

    centres: Singles
    sizes: Singles


def tables(network: Network) -> Tables:
    """Return (x - mean) / std of each channel for each value of a byte."""
    mean, std = (np.array(each, dtype=np.float32)[:, None] for each in (network.mean, network.std))
    values: Tables = (np.arange(256, dtype=np.float32) - mean) / std
    return values


def normalise(picture: Picture, by: Tables, out: Singles) -> None:
    """Write an (h, w, 3) picture into the (3, h, w) of a batch, normalised."""
    import cv2

    for plane, table, target in zip(cv2.split(picture), by, out, strict=True):
        cv2.LUT(plane, table[None], target)


def letterbox(picture: Picture, network: DetNetwork) -> tuple[Picture, tuple[float, float]]:
    """Return a picture as large as the detector's input, and by how much its width and its height were scaled."""
    import cv2

    (height, width), (into_width, into_height) = picture.shape[:2], network.input_size
    scale = min(into_width / width, into_height / height)
    new = max(int(width * scale + 0.5), 1), max(int(height * scale + 0.5), 1)
    # As OpenCV pads: to the nearest byte.
    canvas = np.empty((into_height, into_width, 3), dtype=np.uint8)
    canvas[:] = np.clip(np.rint(network.pad_value), 0, 255)
    canvas[: new[1], : new[0]] = cv2.resize(picture, new, interpolation=cv2.INTER_LINEAR)
    return canvas, (new[0] / width, new[1] / height)


def crops_of(boxes: Floats, network: PoseNetwork) -> Crops:
    """Return the crops for (N, 4) boxes."""
    single = boxes.astype(np.float32)
    padding = np.float32(network.padding)
    sizes, centres = (single[:, 2:] - single[:, :2]) * padding, (single[:, 2:] + single[:, :2]) * np.float32(0.5)
    width, height = sizes[:, :1], sizes[:, 1:]
    ratio = np.float32(network.input_size[0] / network.input_size[1])
    wide = np.concatenate([width, width / ratio], axis=1)
    high = np.concatenate([height * ratio, height], axis=1)
    return Crops(centres, np.where(width > height * ratio, wide, high))


def crop(picture: Picture, centre: Singles, size: Singles, input_size: tuple[int, int]) -> Picture:
    """Return one crop of a picture, as large as the pose network's input; what is outside the picture is black."""
    import cv2

    corners = _corners(centre, size[0] * np.float32(0.5))
    target = _corners(np.array(input_size, dtype=np.float32) / 2, np.float32(input_size[0] / 2))
    warped: Picture = cv2.warpAffine(
        picture, cv2.getAffineTransform(corners, target), input_size, flags=cv2.INTER_LINEAR
    )
    return warped


def _corners(centre: Singles, half: np.float32) -> Singles:
    """Return the three points by which MMPose states a warp: the middle, left of it, and below the left one."""
    x, y = centre
    left = x - half
    return np.array([[x, y], [left, y], [left, y + (x - left)]], dtype=np.float32)
