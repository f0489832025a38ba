"""What part of an image a pipeline can read, and that warping this part gives the same as warping the image."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from posetools.core.geometry import Floats
from posetools.errors import RequestError
from posetools.training.crops.store import Layout
from posetools.training.crops.transforms import warp
from posetools.training.crops.window import Reach, crop_rects, reach_of

pytestmark = pytest.mark.train

REACH = Reach(padding=1.25, aspect=0.75, shift=0.16, scale=1.4, rotation=30)


def _corners(box: Floats, reach: Reach, shift: tuple[float, float], scale: float, degrees: float) -> Floats:
    """Return the corners (4, 2) of a window in its image, as MMPose places it."""
    import cv2
    from mmpose.datasets.transforms import TopdownAffine
    from mmpose.structures.bbox import bbox_xyxy2cs, get_warp_matrix

    center, sides = bbox_xyxy2cs(box.astype(np.float32)[None], reach.padding)
    center, sides = center + np.array(shift) * sides, sides * scale
    sides = TopdownAffine._fix_aspect_ratio(sides, reach.aspect)
    size = (192, round(192 / reach.aspect))
    matrix = get_warp_matrix(center[0], sides[0], degrees, output_size=size)
    inverse = cv2.invertAffineTransform(np.asarray(matrix, np.float64))
    corners = np.array([[0, 0, 1], [size[0], 0, 1], [0, size[1], 1], [*size, 1]], dtype=np.float64)
    placed: Floats = corners @ inverse.T
    return placed


@pytest.mark.parametrize("rotation", [0, 10, 30, 80, 170])
@pytest.mark.parametrize("sides", [(40, 300), (300, 40), (200, 210)])
def test_no_window_leaves_the_crop_and_the_crop_is_no_larger_than_needed(
    rotation: float, sides: tuple[int, int]
) -> None:
    reach = Reach(padding=1.25, aspect=0.75, shift=0.16, scale=1.4, rotation=rotation)
    box = np.array([5000.0, 5000.0, 5000.0 + sides[0], 5000.0 + sides[1]])
    rect = crop_rects(box[None], [reach], (10000, 10000))[0]
    seen = [
        _corners(box, reach, (dx, dy), 1.4, degrees)
        for dx in (-0.16, 0.16)
        for dy in (-0.16, 0.16)
        for degrees in np.linspace(-rotation, rotation, 81)
    ]
    points = np.concatenate(seen)
    assert (points.min(axis=0) >= rect[:2] + 1).all()
    assert (points.max(axis=0) <= rect[2:] - 2).all()
    # A margin of some pixels, and the steps between the angles tried here.
    spare = np.concatenate([points.min(axis=0) - rect[:2], rect[2:] - points.max(axis=0)])
    assert spare.max() <= 8


def test_what_mmpose_draws_stays_within_the_crop() -> None:
    from mmpose.datasets.transforms import GetBBoxCenterScale, LoadImage, RandomBBoxTransform, TopdownAffine

    random = RandomBBoxTransform(scale_factor=[0.5, 1.3], rotate_factor=45)
    pipeline = [LoadImage(), GetBBoxCenterScale(padding=1.1), random, TopdownAffine(input_size=(192, 256))]
    reach = reach_of(pipeline, "pipeline")
    assert reach == Reach(padding=1.1, aspect=0.75, shift=0.16, scale=1.3, rotation=45)
    box = np.array([3000.0, 3000, 3250, 3100])
    rect = crop_rects(box[None], [reach], (8000, 8000))[0]
    np.random.seed(3)
    for _ in range(300):
        offset, scale, degrees = random._get_transform_params(1)
        points = _corners(box, reach, tuple(offset[0]), float(scale[0, 0]), float(degrees[0]))
        assert (points.min(axis=0) >= rect[:2]).all()
        assert (points.max(axis=0) <= rect[2:]).all()


def test_several_pipelines_share_one_crop_that_is_enough_for_each() -> None:
    wide, tall = Reach(padding=1.25, aspect=2.0), Reach(padding=1.25, aspect=0.5)
    boxes = np.array([[100.0, 100, 200, 200]])
    both, first, second = (crop_rects(boxes, reaches, (1000, 1000))[0] for reaches in ((wide, tall), (wide,), (tall,)))
    assert both.tolist() == [*np.minimum(first, second)[:2], *np.maximum(first, second)[2:]]


def test_crops_end_where_the_image_ends() -> None:
    boxes = np.array([[0.0, 0, 50, 50], [960, 700, 999, 799], [-300, -300, -200, -200], [1200, 900, 1300, 1000]])
    rects = crop_rects(boxes, [Reach(padding=1.25, aspect=1.0)], (1000, 800))
    assert rects[:, :2].min() == 0
    assert rects.max(axis=0).tolist()[2:] == [1000, 800]
    assert (rects[:, 2:] > rects[:, :2]).all()


def test_crops_that_would_be_more_than_the_image_are_the_image_once() -> None:
    boxes = np.array([[10.0, 10, 90, 90], [20, 20, 80, 80]])
    rects = crop_rects(boxes, [REACH], (100, 100))
    assert rects.tolist() == [[0, 0, 100, 100]] * 2
    layout = Layout((100, 100), (b"a", b"b"), rects)
    assert layout.nbytes == 30_000
    assert layout.objects == 2


def test_a_warped_crop_is_byte_for_byte_the_warped_image() -> None:
    import cv2
    from mmpose.structures.bbox import get_udp_warp_matrix, get_warp_matrix

    rng = np.random.default_rng(0)
    width, height = 1920, 1080
    image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    for number in range(300):
        sides = rng.uniform(20, 700, 2)
        corner = rng.uniform(-20, [width - 20, height - 20])
        if number % 2:
            # Whole and half pixels are where rounding goes either way.
            sides, corner = sides.round(), corner.round()
        edge = np.array([width - 1, height - 1])
        box = np.concatenate([corner.clip(0, edge), (corner + sides).clip(0, edge)]).astype(np.float32)[None]
        rect = crop_rects(box.astype(np.float64), [REACH], (width, height))[0]
        center, scale = (box[0, 2:] + box[0, :2]) * 0.5, (box[0, 2:] - box[0, :2]) * 1.25
        long = np.float32(max(scale[0], scale[1] * 0.75) * rng.uniform(0.6, 1.4))
        degrees = rng.uniform(-30, 30) if number % 3 else 0.0
        matrix_of = get_udp_warp_matrix if number % 5 else get_warp_matrix
        matrix = matrix_of(center, np.array([long, long / 0.75]), degrees, output_size=(96, 128))
        expected = cv2.warpAffine(image, matrix, (96, 128), flags=cv2.INTER_LINEAR)
        crop = image[rect[1] : rect[3], rect[0] : rect[2]]
        found = warp(crop, (int(rect[0]), int(rect[1])), (width, height), matrix, (96, 128))
        assert np.array_equal(found, expected), f"window {number}"


def test_a_window_that_left_its_crop_would_be_an_error_and_no_black_border() -> None:
    matrix = np.array([[1.0, 0, -10], [0, 1, -10]])
    pixels = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(RuntimeError, match="needs pixels 10 to 43, and the crop has 10 to 30"):
        warp(pixels, (10, 10), (100, 100), matrix, (32, 32))


def test_a_window_beside_the_image_is_black() -> None:
    matrix = np.array([[1.0, 0, 500], [0, 1, 500]])
    assert not warp(np.ones((20, 20, 3), np.uint8), (0, 0), (20, 20), matrix, (32, 32)).any()


def _prefix(*names: str) -> Callable[[], list[Any]]:
    def build() -> list[Any]:
        import mmpose.datasets.transforms as known

        arguments: dict[str, dict[str, Any]] = {"TopdownAffine": {"input_size": (192, 256)}}
        return [getattr(known, name)(**arguments.get(name, {})) for name in names]

    return build


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_prefix("LoadImage", "GetBBoxCenterScale"), "must be LoadImage, box transforms and one TopdownAffine"),
        (_prefix("GetBBoxCenterScale", "LoadImage", "TopdownAffine"), "must be LoadImage, box transforms and one"),
        (_prefix("LoadImage", "TopdownAffine"), "GetBBoxCenterScale must be there"),
        (
            _prefix("LoadImage", "GetBBoxCenterScale", "RandomHalfBody", "TopdownAffine"),
            "the train pipeline: --cache crops does not support RandomHalfBody before TopdownAffine\n  fix: remove it",
        ),
        (
            _prefix("LoadImage", "GetBBoxCenterScale", "RandomBBoxTransform", "RandomBBoxTransform", "TopdownAffine"),
            "does not support RandomBBoxTransform",
        ),
    ],
)
def test_a_pipeline_that_may_look_elsewhere_is_refused(build: Callable[[], list[Any]], message: str) -> None:
    with pytest.raises(RequestError, match=re.escape(message)):
        reach_of(build(), "the train pipeline")


def test_a_loader_with_other_arguments_is_refused() -> None:
    from mmpose.datasets.transforms import LoadImage, TopdownAffine

    pipeline = [LoadImage(to_float32=True), TopdownAffine(input_size=(192, 256))]
    with pytest.raises(
        RequestError, match="LoadImage must have its default arguments for --cache crops, got LoadImage"
    ):
        reach_of(pipeline, "pipeline")
