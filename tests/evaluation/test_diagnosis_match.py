"""Matching of predictions and objects, rule by rule, and fixed predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from posetools.core.dataset import Dataset
from posetools.core.geometry import Floats
from posetools.evaluation.diagnosis.diagnosis import diagnose
from posetools.evaluation.diagnosis.gains import Errors, fixed
from posetools.evaluation.diagnosis.match import Matches, Role, match_objects, similarity
from tests.diagnosing import CAR8, one_car, only_image


def match(truth: Dataset, boxes: Floats, points: Floats, *, labels: bool = False) -> Matches:
    return match_objects(truth, only_image(boxes, points), by_points=True, boxes_are_labels=labels)


def up(boxes: Floats, share: float) -> Floats:
    """Return the boxes moved up by a fraction of their height, where no other car is."""
    shift = (boxes[:, 3] - boxes[:, 1]) * share
    moved: Floats = boxes - np.stack([0 * shift, shift, 0 * shift, shift], axis=1)
    return moved


def elsewhere(truth: Dataset) -> Floats:
    points: Floats = truth.keypoints[:, :, :2] + 2000.0
    return points


def test_points_find_the_object_where_the_box_does_not() -> None:
    truth = one_car()
    far = up(truth.boxes, 0.95)
    found = match(truth, far, truth.keypoints[:, :, :2])
    assert found.predicted.tolist() == [0]
    assert 0 < found.iou[0] < 0.1
    assert match(truth, far, elsewhere(truth)).predicted.tolist() == [-1]


def test_a_box_on_two_objects_takes_the_one_that_is_free() -> None:
    truth = one_car(others=1)
    x1, y1, x2, y2 = truth.boxes[0]
    # The second car is nearly where the first one is, and both boxes are nearer to the first.
    truth = replace(truth, boxes=np.array([[x1, y1, x2, y2], [x1, y1, x1 + 0.7 * (x2 - x1), y2]]))
    boxes = np.array([[x1, y1, x2, y2], [x1, y1, x1 + 0.9 * (x2 - x1), y2]])
    found = match(truth, boxes, elsewhere(truth))
    assert found.predicted.tolist() == [0, 1]
    np.testing.assert_allclose(found.iou, [1.0, 0.7 / 0.9])


def test_what_overlaps_another_object_more_is_no_shifted_box() -> None:
    truth = one_car(others=1)
    left, right = truth.boxes
    # 30 % of the way from the first car to the second, and a second prediction of the first one.
    boxes = np.stack([left, left + 0.3 * (right - left)])
    found = match(truth, boxes, elsewhere(truth))
    assert found.predicted.tolist() == [0, -1]
    assert found.roles.tolist() == [Role.MATCHED, Role.DUPLICATE]


def test_predictions_of_an_object_without_labeled_points_are_ignored() -> None:
    truth = one_car(others=1)
    keypoints = truth.keypoints.copy()
    keypoints[1] = 0.0
    truth = replace(truth, keypoints=keypoints)
    boxes = truth.boxes[[0, 1, 1]]
    found = match(truth, boxes, np.concatenate([elsewhere(truth), elsewhere(truth)[:1]]))
    assert found.predicted.tolist() == [0, 1]
    assert found.roles.tolist() == [Role.MATCHED, Role.IGNORED, Role.IGNORED]


def test_another_box_is_not_the_labeled_one() -> None:
    truth = one_car()
    points = truth.keypoints[:, :, :2]
    assert match(truth, truth.boxes + 0.5, points, labels=True).predicted.tolist() == [0]
    assert match(truth, truth.boxes + 5.0, points, labels=True).predicted.tolist() == [-1]


def test_a_labeled_box_is_never_shifted_however_little_of_it_is_in_the_image() -> None:
    truth = one_car()
    truth = replace(truth, boxes=np.array([[-400.0, 100, 20, 260]]))
    points = truth.keypoints[:, :, :2] + [0.08 * np.sqrt(truth.areas[0]), 0.0]
    cut = only_image(np.array([[0.0, 100, 20, 260]]), points)
    assert diagnose(truth, cut, boxes_are_labels=True).counts["jitter"] == 8
    assert diagnose(truth, cut, boxes_are_labels=False).counts["box_shifted"] == 8


def test_only_objects_of_the_same_image_belong_together() -> None:
    truth = one_car()
    elsewhere = replace(only_image(truth.boxes, truth.keypoints[:, :, :2]), image_index=np.array([1], dtype=np.int64))
    two = replace(truth, images=(*truth.images, replace(truth.images[0], file_name="b.jpg")))
    found = match_objects(two, elsewhere, by_points=True, boxes_are_labels=False)
    assert [found.predicted.tolist(), found.roles.tolist()] == [[-1], [Role.BACKGROUND]]


def test_a_point_that_is_no_number_is_similar_to_nothing() -> None:
    truth = one_car()
    points = truth.keypoints[:, :, :2].copy()
    points[0, 3] = np.nan
    points[0, 4, 0] = np.inf
    near = similarity(points, truth.keypoints, truth.areas, CAR8.sigmas)
    assert near[0].tolist() == [1, 1, 1, 0, 0, 1, 1, 1]


def test_mended_predictions() -> None:
    truth = one_car(others=3)
    boxes = np.concatenate([truth.boxes[:3], up(truth.boxes[:1], 3.0), truth.boxes[:1]])
    points = np.concatenate([elsewhere(truth)[:3], elsewhere(truth)[:2]])
    predicted = only_image(boxes, points)
    predicted = replace(predicted, scores=np.array([0.9, 0.6, 0.5, 0.2, 0.1]))
    wrong = np.zeros((4, 8), dtype=np.bool_)
    wrong[1, 2] = True
    errors = Errors(
        truth=truth,
        predicted=predicted,
        matches=match_objects(truth, predicted, by_points=True, boxes_are_labels=False),
        absent=np.array([False, False, False, True]),
        boxes={"box_shifted": np.array([False, True, False, False])},
        points={"box_shifted": wrong},
        quality=lambda _, rows: rows / 10,
    )
    assert fixed(errors, set()).boxes.tolist() == boxes.tolist()
    no_extras = fixed(errors, {"duplicate", "background"})
    assert no_extras.scores.tolist() == [0.9, 0.6, 0.5]
    found = fixed(errors, {"no_box"})
    # The median score of the three that belong to an object.
    assert found.scores.tolist() == [0.9, 0.6, 0.5, 0.2, 0.1, 0.6]
    assert found.keypoints[5].tolist() == truth.keypoints[3, :, :2].tolist()
    moved = fixed(errors, {"box_shifted"})
    assert moved.boxes[1].tolist() == truth.boxes[1].tolist()
    assert moved.keypoints[1, 2].tolist() == truth.keypoints[1, 2, :2].tolist()
    assert (moved.keypoints != predicted.keypoints).any(axis=2).sum() == 1
    ranked = fixed(errors, {"no_box", "scores"})
    assert ranked.scores.tolist() == pytest.approx([0.0, 0.1, 0.2, 0.0, 0.0, 0.3])
    assert predicted.scores.tolist() == [0.9, 0.6, 0.5, 0.2, 0.1]
