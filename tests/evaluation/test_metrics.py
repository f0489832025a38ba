"""The metrics: COCO's AP with our sigmas and sizes, PCK and NME by hand, and MMPose's values."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from posetools.core.dataset import Dataset
from posetools.core.geometry import Floats
from posetools.evaluation.coco import Predictions
from posetools.evaluation.metrics import (
    PCK_THRESHOLDS,
    PointErrors,
    box_scores,
    match_boxes,
    object_scores,
    oks_nms,
    oks_scores,
)
from tests.build import make_dataset

NONE = np.zeros((0, 0, 2))


def predict(truth: Dataset, *, shift: float = 0.0, rows: slice = slice(None)) -> Predictions:
    """Return the labels as predictions, every point moved right by ``shift`` times sqrt(area)."""
    moved = truth.keypoints[rows, :, :2] + np.array([1.0, 0.0]) * shift * np.sqrt(truth.areas[rows])[:, None, None]
    boxes = truth.boxes[rows]
    return Predictions(truth.image_index[rows], boxes, np.linspace(1.0, 0.5, len(boxes)), moved)


def labeled(truth: Dataset) -> Dataset:
    """Return the Dataset with every point visible, so that no object is without labeled points."""
    keypoints = truth.keypoints.copy()
    keypoints[:, :, 2] = 2
    return dataclasses.replace(truth, keypoints=keypoints)


TRUTH = labeled(make_dataset(images=[f"{i}.jpg" for i in range(6)], per_image=3, seed=4))
SIGMAS = TRUTH.skeleton.sigmas


def test_perfect_predictions_have_ap_one() -> None:
    assert box_scores(TRUTH, predict(TRUTH)).ap == pytest.approx(1.0)
    assert oks_scores(TRUTH, predict(TRUTH), SIGMAS).ap == pytest.approx(1.0)


@pytest.mark.parametrize(("sigma", "ap"), [(0.025, 0.5), (0.05, 0.9), (0.125, 1.0)])
def test_ap_uses_the_given_sigmas(sigma: float, ap: float) -> None:
    # Every point is off by 0.04 sqrt(area), so OKS is exp(-0.04^2 / (2 (2 sigma)^2)) for every object: 0.726, 0.923,
    # 0.987. It passes the thresholds 0.50, 0.55, ... up to itself: 5, 9 and all 10 of 10.
    assert oks_scores(TRUTH, predict(TRUTH, shift=0.04), [sigma] * len(SIGMAS)).ap == pytest.approx(ap)


def test_a_size_class_without_objects_is_none_never_minus_one() -> None:
    large = dataclasses.replace(
        TRUTH, boxes=TRUTH.boxes * 10, keypoints=TRUTH.keypoints * [10, 10, 1], areas=TRUTH.areas * 100
    )
    boxes, points = box_scores(large, predict(large)), oks_scores(large, predict(large), SIGMAS)
    assert [boxes.ap_small, boxes.ap_medium, points.ap_medium] == [None] * 3
    assert [boxes.ap_large, points.ap_large] == pytest.approx([1.0, 1.0])
    assert boxes.as_dict()["APs"] is None
    assert -1 not in {*boxes.as_dict().values(), *points.as_dict().values()}


def test_no_prediction_is_zero_and_no_label_is_none() -> None:
    nothing = predict(TRUTH, rows=slice(0, 0))
    assert box_scores(TRUTH, nothing).ap == 0.0
    assert oks_scores(TRUTH, nothing, SIGMAS).ap == 0.0
    empty = TRUTH.select_images([])
    assert set(box_scores(empty, nothing).as_dict().values()) == {None}


def test_half_of_the_objects_found() -> None:
    found = predict(TRUTH, rows=slice(0, 9))
    assert oks_scores(TRUTH, found, SIGMAS).ar == pytest.approx(0.5)
    # Recall stops at 0.5: 51 of COCO's 101 recall steps have precision 1.
    assert box_scores(TRUTH, found).ap == pytest.approx(51 / 101)


def test_pck_nme_and_pixels_by_hand() -> None:
    # Two objects, two points. Box 1 is 40 x 10 (longer side 40, sqrt(area) 20), box 2 is 100 x 100.
    boxes = np.array([[0.0, 0, 40, 10], [0, 0, 100, 100]])
    truth = np.array([[[5.0, 5, 2], [20, 5, 1]], [[50, 50, 2], [0, 0, 0]]])
    predicted = truth[:, :, :2] + np.array([[[0.0, 3], [4, 0]], [[15, 20], [70, 0]]])
    scores = PointErrors.of(truth, predicted, boxes).scores(["a", "b"])
    # Point a: 3/40 = 0.075 and 25/100 = 0.25. Point b: 4/40 = 0.1, which is not below 0.1; one label is missing.
    assert scores.by_keypoint["a"].pck == (0.0, 0.5, 0.5)
    assert scores.by_keypoint["b"].pck == (0.0, 0.0, 1.0)
    assert scores.overall.pck == (0.0, 0.25, 0.75)
    assert scores.overall.points == 3
    assert scores.overall.nme == pytest.approx((3 / 20 + 4 / 20 + 25 / 100) / 3)
    assert scores.overall.error_px == pytest.approx((3 + 4 + 25) / 3)
    assert scores.overall.as_dict()["PCK@0.1"] == 0.25


def test_visible_and_hidden_points_are_measured_apart() -> None:
    boxes = np.array([[0.0, 0, 100, 100]])
    truth = np.array([[[10.0, 10, 2], [20, 20, 1]]])
    predicted = np.array([[[10.0, 10], [20, 70]]])
    visible = PointErrors.of(truth, predicted, boxes, "visible").scores(["a", "b"])
    hidden = PointErrors.of(truth, predicted, boxes, "hidden").scores(["a", "b"])
    assert (visible.overall.error_px, visible.overall.points) == (0.0, 1)
    assert (hidden.overall.error_px, hidden.overall.points) == (50.0, 1)
    assert hidden.by_keypoint["a"].as_dict() == {
        "points": 0,
        "missing": 0,
        "PCK@0.05": None,
        "PCK@0.1": None,
        "PCK@0.2": None,
        "NME": None,
        "error_px": None,
    }


def test_an_object_that_was_not_found_is_wrong_in_pck_and_left_out_of_nme() -> None:
    boxes = np.array([[0.0, 0, 100, 100], [0, 0, 100, 100]])
    truth = np.array([[[10.0, 10, 2]], [[20, 20, 2]]])
    predicted = np.array([[[11.0, 10]], [[np.nan, np.nan]]])
    scores = PointErrors.of(truth, predicted, boxes).scores(["a"]).overall
    assert (scores.points, scores.missing, scores.pck) == (2, 1, (0.5, 0.5, 0.5))
    assert scores.nme == pytest.approx(0.01)


def test_matching_is_greedy_by_score_within_an_image() -> None:
    truth = make_dataset(images=["a.jpg", "b.jpg"], per_image=1, seed=1)
    box = truth.boxes[0]
    near = box + 0.1 * (box[2] - box[0])
    predicted = Predictions(
        np.array([0, 0, 0, 1]), np.stack([near, box, box, box + 500]), np.array([0.9, 0.8, 0.95, 1]), NONE
    )
    assert match_boxes(truth, predicted).tolist() == [2, -1]
    crowd = dataclasses.replace(truth, iscrowd=np.array([True, False]))
    assert match_boxes(crowd, predicted).tolist() == [-1, -1]


def test_scores_and_nms_of_objects_by_hand() -> None:
    scores = object_scores(np.array([1.0, 0.5]), np.array([[0.6, 0.4, 0.1], [0.1, 0.1, 0.2]]))
    assert scores.tolist() == pytest.approx([0.5, 0.0])
    points = np.array([[[10.0, 10], [90, 90]], [[11, 10], [90, 90]], [[60, 10], [10, 60]]])
    kept = oks_nms(points, np.array([0.5, 0.9, 0.3]), np.full(3, 8000.0), [0.05, 0.05])
    assert kept.tolist() == [1, 2]


def _random_case(seed: int) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(seed)
    truth = np.concatenate([rng.uniform(0, 200, (40, 8, 2)), rng.integers(0, 3, (40, 8, 1))], axis=2)
    corner = rng.uniform(0, 100, (40, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 150, (40, 2))], axis=1)
    return truth, truth[:, :, :2] + rng.normal(0, 12, (40, 8, 2)), boxes


@pytest.mark.train
@pytest.mark.parametrize("seed", range(5))
def test_pck_is_mmposes(seed: int) -> None:
    from mmpose.evaluation.functional import keypoint_epe, keypoint_nme, keypoint_pck_accuracy

    truth, predicted, boxes = _random_case(seed)
    mask = truth[:, :, 2] > 0
    ours = PointErrors.of(truth, predicted, boxes).scores([f"p{i}" for i in range(8)])
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    for i, threshold in enumerate(PCK_THRESHOLDS):
        shares, mean, _ = keypoint_pck_accuracy(
            predicted, truth[:, :, :2], mask, threshold, np.stack([longer, longer], axis=1)
        )
        assert [ours.by_keypoint[f"p{k}"].pck[i] for k in range(8)] == pytest.approx(list(shares), abs=1e-6)
        assert ours.overall.pck[i] == pytest.approx(mean, abs=1e-6)
    side = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    nme = keypoint_nme(predicted, truth[:, :, :2], mask, np.stack([side, side], axis=1))
    assert ours.overall.nme == pytest.approx(nme, rel=1e-5)
    assert ours.overall.error_px == pytest.approx(keypoint_epe(predicted, truth[:, :, :2], mask), rel=1e-5)


@pytest.mark.train
@pytest.mark.parametrize("seed", range(5))
def test_nms_is_mmposes(seed: int) -> None:
    from mmpose.evaluation.functional import oks_nms as mmpose_oks_nms

    rng = np.random.default_rng(seed)
    points = np.repeat(rng.uniform(0, 200, (5, 8, 2)), 4, axis=0) + rng.normal(0, 1.5, (20, 8, 2))
    scores, areas = rng.uniform(0, 1, 20), rng.uniform(2000, 9000, 20)
    flat = np.concatenate([points, np.ones((20, 8, 1))], axis=2)
    theirs = mmpose_oks_nms(
        [{"score": s, "keypoints": k, "area": a} for s, k, a in zip(scores, flat, areas, strict=True)],
        0.9,
        sigmas=np.array(SIGMAS),
    )
    kept = oks_nms(points, scores, areas, SIGMAS).tolist()
    assert kept == list(theirs)
    assert 5 <= len(kept) < 20
