"""Calibration of scores: bins and errors by hand, planted over-confidence, and what counts as right."""

from __future__ import annotations

import json

import numpy as np
import pytest

from posetools.core.skeleton import load_skeleton
from posetools.evaluation.calibration import (
    BINS,
    Calibration,
    box_calibration,
    calibration,
    keypoint_calibration,
    object_calibration,
)
from posetools.evaluation.coco import Predictions
from posetools.evaluation.metrics import PointErrors
from tests.build import make_dataset
from tests.coco_cases import random_predictions, random_truth


def test_bins_and_errors_by_hand() -> None:
    scores = np.array([0.0, 0.05, 0.3, 0.95, 1.0, 1.4])
    right = np.array([True, False, False, True, True, False])
    found = calibration(scores, right, "right")
    counts = [one.count for one in found.bins]
    # 0.3 is the lower edge of the fourth bin, whatever 0.3 * 10 is in floating point; scores above 1 are in the last.
    assert counts == [2, 0, 0, 1, 0, 0, 0, 0, 0, 3]
    assert (found.bins[1].score, found.bins[1].right) == (None, None)
    gaps = [0.025 - 0.5, 0.3 - 0.0, (0.95 + 1 + 1.4) / 3 - 2 / 3]
    assert found.expected_error == pytest.approx((2 * abs(gaps[0]) + gaps[1] + 3 * gaps[2]) / 6)
    assert found.largest_error == pytest.approx(0.475)
    assert found.bias == pytest.approx(scores.mean() - right.mean())
    assert (found.count, found.above_one) == (6, 1)


def test_scores_of_nothing_but_zero_still_count() -> None:
    found = calibration(np.zeros(4), np.array([True, True, True, False]), "right")
    assert (found.expected_error, found.bias) == (0.75, -0.75)


def test_without_scores_there_is_no_error() -> None:
    found = calibration(np.zeros(0), np.zeros(0, dtype=np.bool_), "right")
    assert (found.expected_error, found.largest_error, found.bias, found.count) == (None, None, None, 0)
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize("too_sure", [0.0, 0.2])
def test_planted_over_confidence_is_found(too_sure: float) -> None:
    rng = np.random.default_rng(0)
    share = rng.uniform(0.0, 0.8, 20000)
    found = calibration(share + too_sure, rng.uniform(0, 1, 20000) < share, "right")
    assert found.expected_error == pytest.approx(too_sure, abs=0.02)
    assert found.bias == pytest.approx(too_sure, abs=0.02)


def test_a_box_is_right_when_it_takes_an_object() -> None:
    truth = make_dataset(images=["a.jpg"], per_image=2, seed=1)
    box = truth.boxes[0]
    far = box + 1000
    predicted = Predictions(
        np.zeros(3, dtype=np.int64), np.stack([box, box, far]), np.array([0.95, 0.55, 0.15]), np.zeros((3, 8, 2))
    )
    found = box_calibration(truth, predicted)
    # The second box on one object is wrong, whatever its IoU.
    assert {one.low: one.right for one in found.bins if one.count} == {0.9: 1.0, 0.5: 0.0, 0.1: 0.0}
    assert found.note == ""


@pytest.mark.parametrize("measure", [box_calibration, object_calibration])
def test_what_lies_in_a_crowd_counts_nowhere(measure: object) -> None:
    rng = np.random.default_rng(5)
    truth = random_truth(load_skeleton("car8"), rng, images=8, most=4)
    predicted = random_predictions(truth, rng, copies=2.0, strays=1)
    found = measure(truth, predicted)  # type: ignore[operator]
    assert isinstance(found, Calibration)
    assert 0 < found.count < len(predicted)
    assert sum(one.count for one in found.bins) == found.count
    assert len(found.bins) == BINS


def test_a_keypoint_is_right_when_pck_says_so() -> None:
    rng = np.random.default_rng(2)
    truth = make_dataset(images=[f"{i}.jpg" for i in range(10)], per_image=3, seed=2)
    points = truth.keypoints[:, :, :2] + rng.normal(0, 8, (30, 8, 2))
    points[0] = np.nan
    scores = rng.uniform(0, 1.2, (30, 8))
    found = keypoint_calibration(truth.keypoints, points, scores, truth.boxes)
    pck = PointErrors.of(truth.keypoints[1:], points[1:], truth.boxes[1:]).scores(truth.skeleton.names)
    hits = sum(round((one.pck[1] or 0) * one.points) for one in pck.by_keypoint.values())
    assert found.count == pck.overall.points
    assert sum((one.right or 0) * one.count for one in found.bins) == pytest.approx(hits)
    assert found.above_one > 0
    assert "not probabilities" in found.note
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["count"] == found.count
