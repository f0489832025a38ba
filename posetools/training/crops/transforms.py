"""The two transforms that replace LoadImage and TopdownAffine in a pipeline that reads crops.

All coordinates remain image coordinates: boxes, keypoints, flips, windows and evaluation are the same as without
crops. Only the warp needs the crop's origin.

The warp gives the same bytes as cv2.warpAffine on the whole image. Shifting its matrix would not: OpenCV rounds
source coordinates to 1/32 pixel, and adding the origin in floating point changes some of them. So this module computes
the rounded coordinates as warpAffine does (imgproc/src/imgwarp.cpp), subtracts the origin as an integer, and calls
cv2.remap, as warpAffine does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from posetools.core.geometry import Ints
from posetools.training.crops.store import CropPixels, CropStore

# Where the crop in results["img"] begins in the image: (x, y).
ORIGIN = "crop_origin"

# OpenCV's AB_BITS and INTER_BITS: fractional bits of source coordinates when adding and when interpolating.
_AB_SCALE = 1 << 10
_INTER_BITS = 5
_INTER_SIZE = 1 << _INTER_BITS
_HALF = _AB_SCALE // _INTER_SIZE // 2


class LoadCrop:
    """Loads an object's crop instead of its image."""

    def __init__(self, loader: Any, store: CropStore) -> None:
        """Use ``store``, and ``loader`` (LoadImage) for objects without a crop."""
        self.loader, self.store = loader, store

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img`` of the crop, and ``img_shape`` and ``ori_shape`` of the image."""
        crop = self.store.crop(results["img_path"], results["bbox"].tobytes())
        if crop is None:
            whole: dict[str, Any] = self.loader(results)
            whole[ORIGIN] = (0, 0)
            return whole
        width, height = crop.size
        results["img"] = crop.pixels
        results["img_shape"] = results["ori_shape"] = (height, width)
        results[ORIGIN] = crop.origin
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.loader})"


class WarpCrop:
    """TopdownAffine for a crop."""

    def __init__(self, affine: Any) -> None:
        self.affine = affine

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Write the network's input to ``img``, and add the keys of TopdownAffine."""
        from mmpose.structures.bbox import get_udp_warp_matrix, get_warp_matrix

        pixels, origin = results["img"], _flipped_origin(results)
        # With an empty list of images it does everything but the warp.
        results["img"] = []
        warped: dict[str, Any] = self.affine(results)
        rotation = warped["bbox_rotation"][0] if "bbox_rotation" in warped else 0.0
        matrix_of = get_udp_warp_matrix if self.affine.use_udp else get_warp_matrix
        size = warped["input_size"]
        matrix = matrix_of(warped["input_center"], warped["input_scale"], rotation, output_size=size)
        height, width = warped["img_shape"]
        warped["img"] = warp(pixels, origin, (width, height), matrix, size)
        return warped

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.affine})"


def _flipped_origin(results: dict[str, Any]) -> tuple[int, int]:
    x, y = results.pop(ORIGIN)
    height, width = results["img_shape"]
    rows, columns = results["img"].shape[:2]
    direction = results.get("flip_direction")
    if direction in ("horizontal", "diagonal"):
        x = width - columns - x
    if direction in ("vertical", "diagonal"):
        y = height - rows - y
    return x, y


def warp(
    pixels: CropPixels,
    origin: tuple[int, int],
    image: tuple[int, int],
    matrix: npt.NDArray[np.floating[Any]],
    size: tuple[int, int],
) -> CropPixels:
    """Return cv2.warpAffine of a whole image from a part of it.

    Args:
        pixels: (H, W, 3), the part.
        origin: (x, y) of its first pixel in the image.
        image: (width, height) of the image; pixels outside are 0.
        matrix: (2, 3) from the image to the result.
        size: (width, height) of the result.

    Raises:
        RuntimeError: the result needs pixels of the image that are not in the part.
    """
    import cv2

    x, y, fraction = source_pixels(matrix, size)
    columns = _needed(x, origin[0], pixels.shape[1], image[0])
    rows = _needed(y, origin[1], pixels.shape[0], image[1])
    if columns.start >= columns.stop or rows.start >= rows.stop:
        return np.zeros((size[1], size[0], pixels.shape[2]), pixels.dtype)
    # Copies only the needed part of a mirrored crop.
    part = np.asarray(pixels)[
        rows.start - origin[1] : rows.stop - origin[1], columns.start - origin[0] : columns.stop - origin[0]
    ]
    limits = np.iinfo(np.int16)
    places = np.stack([x - columns.start, y - rows.start], axis=-1).clip(limits.min, limits.max).astype(np.int16)
    warped: CropPixels = cv2.remap(part, places, fraction, cv2.INTER_LINEAR)
    return warped


def _needed(places: Ints, start: int, length: int, edge: int) -> range:
    """Return the range of image pixels on one axis that interpolation reads."""
    first, end = max(int(places.min()), 0), min(int(places.max()) + 2, edge)
    if first < end and not start <= first < end <= start + length:
        raise RuntimeError(f"a window needs pixels {first} to {end}, and the crop has {start} to {start + length}")
    return range(first, end)


def source_pixels(
    matrix: npt.NDArray[np.floating[Any]], size: tuple[int, int]
) -> tuple[Ints, Ints, npt.NDArray[np.uint16]]:
    """Return the source coordinates of cv2.warpAffine for each pixel of its result.

    Args:
        matrix: (2, 3) from source to result.
        size: (width, height) of the result.

    Returns:
        x (H, W) and y (H, W), the upper left of four pixels, and (H, W) the index into OpenCV's table of weights.
    """
    a, b, c, d, e, f = (float(value) for value in np.asarray(matrix, np.float64).ravel())
    determinant = a * e - b * d
    scale = 1.0 / determinant if determinant != 0 else 0.0
    a11, a12, a21, a22 = e * scale, b * -scale, d * -scale, a * scale
    b1, b2 = -a11 * c - a12 * f, -a21 * c - a22 * f
    columns, rows = np.arange(size[0]), np.arange(size[1])[:, None]
    x = _fixed(a11 * columns) + _fixed(a12 * rows + b1) + _HALF
    y = _fixed(a21 * columns) + _fixed(a22 * rows + b2) + _HALF
    shift = _AB_SCALE.bit_length() - 1 - _INTER_BITS
    x, y = x >> shift, y >> shift
    fraction = (y & (_INTER_SIZE - 1)) * _INTER_SIZE + (x & (_INTER_SIZE - 1))
    return x >> _INTER_BITS, y >> _INTER_BITS, fraction.astype(np.uint16)


def _fixed(values: npt.NDArray[np.float64]) -> Ints:
    fixed: Ints = np.rint(values * _AB_SCALE).astype(np.int64)
    return fixed
