"""Geometry: every convention is the inverse of its way back, and boxes against slow versions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from posetools.core import geometry
from posetools.core.geometry import Floats

SIZES = [(640, 480), (1, 1), (4032, 3024), (1333, 7)]


def _boxes(n: int, size: tuple[int, int], seed: int = 0) -> Floats:
    corners = np.random.default_rng(seed).uniform(-0.2, 1.2, (n, 2, 2)) * np.array(size)
    boxes: Floats = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).round(3)
    return boxes


def test_xywh_and_back() -> None:
    boxes = np.array([[10.0, 20.0, 30.0, 60.0]])
    assert geometry.xywh_from_xyxy(boxes).tolist() == [[10, 20, 20, 40]]
    assert geometry.xyxy_from_xywh(np.array([[10.0, 20.0, 20.0, 40.0]])).tolist() == boxes.tolist()
    many = _boxes(1000, (4032, 3024))
    assert geometry.xyxy_from_xywh(geometry.xywh_from_xyxy(many)).tolist() == many.tolist()


def test_yolo_by_hand() -> None:
    assert geometry.yolo_from_xyxy(np.array([[10.0, 20.0, 30.0, 60.0]]), (100, 200)).tolist() == [[0.2, 0.2, 0.2, 0.2]]


@pytest.mark.parametrize("size", SIZES)
def test_yolo_and_back_gives_the_very_same_numbers(size: tuple[int, int]) -> None:
    boxes = _boxes(200, size)
    assert geometry.xyxy_from_yolo(geometry.yolo_from_xyxy(boxes, size), size).tolist() == boxes.tolist()
    points = boxes.reshape(-1, 2, 2)
    back = geometry.denormalize_points(geometry.normalize_points(points, size), size)
    assert back.tolist() == points.tolist()


def test_box_from_corners_in_any_order() -> None:
    for corners in itertools.permutations([(1.0, 5.0), (4.0, 2.0), (1.0, 2.0), (4.0, 5.0)]):
        assert geometry.box_from_corners(np.array(corners)).tolist() == [1, 2, 4, 5]


def test_box_area() -> None:
    assert geometry.box_area(np.array([[0.0, 0.0, 2.0, 3.0], [1.0, 1.0, 1.0, 5.0]])).tolist() == [6, 0]
    assert geometry.box_area(np.zeros((0, 4))).shape == (0,)


def _slow_iou(a: Floats, b: Floats) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


def test_iou_against_a_slow_version() -> None:
    a, b = _boxes(40, (50, 50), seed=1), _boxes(30, (50, 50), seed=2)
    a[0] = a[1] = b[0] = [5, 5, 5, 5]
    b[1] = a[2]
    slow = [[_slow_iou(one, other) for other in b] for one in a]
    fast = geometry.pairwise_iou(a, b)
    np.testing.assert_allclose(fast, slow, atol=1e-12)
    assert fast[2, 1] == 1.0
    assert fast[0, 0] == 0.0
    assert geometry.pairwise_iou(a, np.zeros((0, 4))).shape == (40, 0)
    tiny = np.array([[0.0, 0.0, 0.5, 0.5]])
    assert geometry.pairwise_iou(tiny, tiny).tolist() == [[1.0]]


def test_clip_boxes() -> None:
    boxes = np.array([[-5.0, -5.0, 5.0, 500.0], [700.0, 1.0, 710.0, 2.0]])
    assert geometry.clip_boxes(boxes, (640, 480)).tolist() == [[0, 0, 5, 480], [640, 1, 640, 2]]


def test_box_from_keypoints_takes_labeled_ones_and_stays_in_the_image() -> None:
    keypoints = np.array([[10.0, 10.0, 2.0], [30.0, 90.0, 1.0], [0.0, 0.0, 0.0]])
    assert geometry.box_from_keypoints(keypoints, 0.0, (100, 100)).tolist() == [10, 10, 30, 90]
    assert geometry.box_from_keypoints(keypoints, 0.25, (100, 100)).tolist() == [5, 0, 35, 100]


def test_arguments_are_not_changed() -> None:
    boxes = _boxes(5, (100, 100))
    boxes.setflags(write=False)
    geometry.clip_boxes(boxes, (10, 10))
    geometry.xyxy_from_yolo(geometry.yolo_from_xyxy(boxes, (10, 10)), (10, 10))
    geometry.pairwise_iou(boxes, boxes)
