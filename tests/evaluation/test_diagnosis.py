"""The diagnosis of poses: planted errors get the right kind, and only their kind has a gain."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posetools.core.dataset import Dataset
from posetools.evaluation.coco import Predictions
from posetools.evaluation.diagnosis.diagnosis import ERROR_KINDS, Diagnosis, diagnose
from posetools.evaluation.diagnosis.gains import ERROR_NAMES
from posetools.evaluation.diagnosis.match import POINT_KINDS, PointKind, oks_with, partners
from posetools.evaluation.metrics import oks_scores
from tests.build import make_dataset
from tests.diagnosing import CAR8, Planted, cars, disc, one_car, only_image, shifted_by

POINTS = ("no_box", "box_shifted", "jitter", "left_right", "front_rear", "diagonal", "neighbour", "swap", "missing")


def planted(truth: Dataset, *kinds: str, share: float = 0.15, seed: int = 1) -> Planted:
    result = Planted(truth, np.random.default_rng(seed))
    for kind in kinds:
        assert result.plant(kind, share) >= 5, f"too few of {kind} to say anything"
    return result


def kinds_of(found: Diagnosis, truth: Dataset) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]]:
    """Return the (N, K) kinds, empty for unlabeled points."""
    kinds = np.full(truth.keypoints.shape[:2], "", dtype=object)
    for case in found.cases:
        kinds[case.row] = [kind or "" for kind in case.kinds]
    return kinds


def test_small_noise_is_no_error() -> None:
    truth = cars()
    found = diagnose(truth, planted(truth).predictions(), boxes_are_labels=False)
    assert {kind for kind, number in found.counts.items() if number} == {"good"}
    assert found.counts["good"] == found.points == int(truth.num_labeled.sum())
    assert {kind for kind, gain in found.gains.items() if gain.alone} <= {"scores"}
    assert found.ap is not None
    assert found.ap > 0.9


@pytest.mark.parametrize("kind", POINTS)
def test_what_was_planted_is_found_and_is_all_that_is_found(kind: str) -> None:
    truth = cars()
    clean = oks_scores(truth, planted(truth).predictions(), CAR8.sigmas).ap
    errors = planted(truth, kind)
    found = diagnose(truth, errors.predictions(), boxes_are_labels=False)
    np.testing.assert_array_equal(kinds_of(found, truth), errors.kinds)
    assert set(np.unique(errors.kinds)) == {"", "good", kind}
    # Only this kind costs AP, and without it AP is as without errors (slightly more: the points are exact).
    assert {other for other, gain in found.gains.items() if gain.alone} <= {kind, "scores"}
    assert found.ap is not None
    assert clean is not None
    gain = found.gains[kind]
    assert gain.alone is not None
    assert gain.alone > 0.005
    assert gain.alone == gain.in_order
    assert found.ap + gain.alone >= clean - 1e-3
    assert any(line.startswith(f"{ERROR_NAMES[kind]}: {found.counts[kind]} points (") for line in found.sentences())


@pytest.mark.parametrize("kind", ["duplicate", "background"])
def test_predictions_that_are_too_many(kind: str) -> None:
    truth = cars()
    errors = planted(truth, kind, share=0.5)
    found = diagnose(truth, errors.predictions(), boxes_are_labels=False)
    assert found.counts == {**dict.fromkeys(found.counts, 0), "good": found.points, kind: len(errors.roles)}
    assert {other for other, gain in found.gains.items() if gain.alone} <= {kind, "scores"}
    gain = found.gains[kind].alone
    assert gain is not None
    assert gain > 0.0


@pytest.mark.parametrize("seed", range(3))
def test_a_mix_of_all_kinds(seed: int) -> None:
    truth = cars(120, seed=10 + seed)
    errors = planted(truth, *POINTS[:2], "duplicate", "background", *POINTS[2:], share=0.08, seed=seed)
    found = diagnose(truth, errors.predictions(), boxes_are_labels=False)
    got = kinds_of(found, truth)
    for kind in POINT_KINDS:
        right = ((got == kind) & (errors.kinds == kind)).sum()
        assert right / (errors.kinds == kind).sum() >= 0.98, f"recall of {kind}"
        assert right / (got == kind).sum() >= 0.98, f"precision of {kind}"
    assert found.counts["background"] == pytest.approx(errors.roles.count("background"), abs=1)
    assert found.counts["duplicate"] == pytest.approx(errors.roles.count("duplicate"), abs=1)


def test_all_mended_leaves_good_points_and_the_best_order() -> None:
    truth = cars()
    errors = planted(truth, *POINTS[:2], "duplicate", "background", *POINTS[2:], share=0.08)
    # Good points at the limit: AP would be 1 with less.
    fine = truth.keypoints[:, :, :2]
    errors.points = np.where((errors.kinds == "good")[:, :, None], fine + 1.35 * (errors.points - fine), errors.points)
    found = diagnose(truth, errors.predictions(), boxes_are_labels=False)
    good = (errors.kinds == "good")[:, :, None]
    points = np.where(good, errors.points, truth.keypoints[:, :, :2])
    scores = oks_with(truth, np.arange(len(truth)), points)
    left = oks_scores(truth, Predictions(truth.image_index, truth.boxes.copy(), scores, points), CAR8.sigmas).ap
    assert found.ap is not None
    assert left is not None
    assert found.ap < 0.8 < left < 1
    assert found.rest == pytest.approx(1 - left)


def test_when_nothing_is_left_out_few_points_are_taken_for_another_kind() -> None:
    """Points move to another name's location, even if it is near their own: docs/diagnosis.md has the table."""
    truth = cars(300, seed=77)
    errors = Planted(truth, np.random.default_rng(5), clear=False)
    for kind in POINTS[2:]:
        errors.plant(kind, 0.05)
    got = kinds_of(diagnose(truth, errors.predictions(), boxes_are_labels=False), truth)
    for kind in POINTS[2:]:
        right = ((got == kind) & (errors.kinds == kind)).sum()
        assert right / (errors.kinds == kind).sum() >= (0.8 if kind == "jitter" else 0.9), f"recall of {kind}"
        assert right / (got == kind).sum() >= (0.8 if kind in ("neighbour", "swap") else 0.9), f"precision of {kind}"


@pytest.mark.parametrize("kind", ["jitter", "left_right", "front_rear", "diagonal", "neighbour", "missing", "swap"])
def test_on_labeled_boxes(kind: str) -> None:
    truth = cars()
    errors = planted(truth, kind)
    # The boxes are the labeled ones, given to the estimator.
    errors.boxes = truth.boxes.copy()
    found = diagnose(truth, errors.predictions(), boxes_are_labels=True)
    np.testing.assert_array_equal(kinds_of(found, truth), errors.kinds)
    assert found.counts["duplicate"] == found.counts["background"] == 0


def test_labeled_boxes_that_two_objects_share() -> None:
    truth = one_car(others=1)
    truth = replace(truth, boxes=np.repeat(truth.boxes[:1], 2, axis=0))
    for order in ([0, 1], [1, 0]):
        points = truth.keypoints[order, :, :2].copy()
        predicted = Predictions(np.zeros(2, dtype=np.int64), truth.boxes.copy(), np.array([0.9, 0.8]), points)
        found = diagnose(truth, predicted, boxes_are_labels=True)
        assert [case.predicted for case in found.cases] == order
        assert found.counts["good"] == 16
    # One of the two was dropped as the other's duplicate.
    alone = Predictions(np.zeros(1, dtype=np.int64), truth.boxes[:1].copy(), np.ones(1), truth.keypoints[:1, :, :2])
    found = diagnose(truth, alone, boxes_are_labels=True)
    assert [found.counts["good"], found.counts["no_box"], found.object_counts["no_box"]] == [8, 8, 1]


def test_labeled_boxes_that_are_cut_at_the_edge() -> None:
    truth = one_car()
    boxes = np.array([[-50.0, 100, 4100, 260]])
    truth = replace(truth, boxes=boxes)
    cut = np.array([[0.0, 100, 3999, 260]])
    predicted = Predictions(np.zeros(1, dtype=np.int64), cut, np.ones(1), truth.keypoints[:, :, :2].copy())
    assert diagnose(truth, predicted, boxes_are_labels=True).counts["good"] == 8


@pytest.mark.parametrize("kind", ["left_right", "front_rear", "diagonal"])
def test_a_whole_car_the_wrong_way_round_is_one_car_with_a_box(kind: PointKind) -> None:
    truth = one_car()
    points = truth.keypoints[:, partners(CAR8)[kind], :2].copy()
    found = diagnose(truth, only_image(truth.boxes, points), boxes_are_labels=False)
    assert found.counts[kind] == found.points == 8
    assert found.ap == 0.0
    assert found.gains[kind].alone == pytest.approx(1.0)


def test_a_pose_on_the_neighboring_car_is_a_swap_not_a_second_prediction_of_it() -> None:
    truth = one_car(others=1)
    near = truth.boxes.copy()
    # Both boxes are right; the second pose, with the higher score, is that of the first car.
    points = truth.keypoints[[0, 0], :, :2].copy()
    predicted = Predictions(np.zeros(2, dtype=np.int64), near, np.array([0.6, 0.9]), points)
    found = diagnose(truth, predicted, boxes_are_labels=False)
    assert [case.predicted for case in found.cases] == [0, 1]
    assert [found.counts["good"], found.counts["swap"]] == [8, 8]
    assert found.counts["duplicate"] == found.counts["background"] == 0


def test_right_points_in_a_poor_box_are_good() -> None:
    truth = one_car()
    wide = truth.boxes + np.array([[-400.0, -100, 400, 100]])
    found = diagnose(truth, only_image(wide, truth.keypoints[:, :, :2]), boxes_are_labels=False)
    assert found.cases[0].iou < 0.5
    assert found.counts["good"] == 8


def test_crowds_and_objects_without_labeled_points_do_not_count() -> None:
    truth = one_car(others=2)
    keypoints = truth.keypoints.copy()
    keypoints[1] = 0.0
    truth = replace(truth, keypoints=keypoints, iscrowd=np.array([False, False, True]))
    points = np.concatenate([truth.keypoints[:1, :, :2]] * 3)
    found = diagnose(truth, only_image(truth.boxes, points), boxes_are_labels=False)
    assert [found.objects, found.points, found.counts["good"], len(found.cases)] == [1, 8, 8, 1]
    assert found.counts["duplicate"] == found.counts["background"] == 0


def test_no_prediction_and_no_label() -> None:
    truth = one_car()
    nothing = Predictions(np.zeros(0, dtype=np.int64), np.zeros((0, 4)), np.zeros(0), np.zeros((0, 8, 2)))
    found = diagnose(truth, nothing, boxes_are_labels=False)
    assert [found.ap, found.counts["no_box"], found.cases[0].predicted, found.cases[0].oks] == [0.0, 8, -1, 0.0]
    assert found.gains["no_box"].alone == pytest.approx(1.0)
    assert found.sentences() == ("no box: 8 points (100.0%) of 1 object, AP 0.000 would be 1.000 without it",)
    empty = diagnose(truth.select_images([]), nothing, boxes_are_labels=False)
    assert [empty.ap, empty.rest, empty.points, empty.cases, empty.sentences()] == [None, None, 0, (), ()]
    assert asdict(empty.gains["jitter"]) == {"alone": None, "in_order": None}


def test_another_number_of_keypoints_is_refused() -> None:
    truth = one_car()
    with pytest.raises(ValueError, match=r"keypoints must have the shape \(1, 8, 2\), got \(1, 5, 2\)"):
        diagnose(truth, only_image(truth.boxes, np.zeros((1, 5, 2))), boxes_are_labels=False)


def test_better_scores_bring_ap_back() -> None:
    truth = cars(20)
    errors = planted(truth, "missing", share=0.4)
    # The worse a car is, the higher its score: the order that costs most.
    wrong = (errors.kinds == "missing").sum(axis=1)
    errors.scores = 0.3 + 0.05 * wrong
    found = diagnose(truth, errors.predictions(), boxes_are_labels=False)
    errors.scores = 1.0 - 0.05 * wrong
    better = diagnose(truth, errors.predictions(), boxes_are_labels=False)
    assert found.gains["scores"].alone is not None
    assert better.gains["scores"].alone is not None
    assert found.gains["scores"].alone > 0.05 > better.gains["scores"].alone
    assert found.ap is not None
    assert better.ap is not None
    assert found.ap + found.gains["scores"].alone >= better.ap - 0.01


def test_the_worst_cases_come_first() -> None:
    truth = one_car(others=3)
    shares = np.array([[0.05] * 8, [0.9] * 8, [0.0] * 8, [0.1] * 8])
    found = diagnose(truth, shifted_by(truth, shares), boxes_are_labels=False)
    assert [case.row for case in found.worst(3)] == [1, 3, 0]
    assert len(found.worst(50)) == 4


def test_the_json_form() -> None:
    truth = cars(20)
    found = diagnose(truth, planted(truth, "left_right").predictions(), boxes_are_labels=False).as_dict()
    assert json.loads(json.dumps(found)) == found
    assert tuple(found["gains"]) == ERROR_KINDS
    assert found["points"] == sum(found["counts"][kind] for kind in POINT_KINDS)


def _chance(truth: Dataset, number: int, seed: int) -> Predictions:
    """Return predictions that are labels, half-way labels or nothing, with boxes of all kinds."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, max(len(truth), 1), number) if len(truth) else np.zeros(0, dtype=np.int64)
    sides = np.tile(truth.boxes[rows, 2:] - truth.boxes[rows, :2], 2)
    boxes = truth.boxes[rows] + rng.uniform(-1, 1, (len(rows), 4)) * rng.choice([0.0, 0.1, 0.4], (len(rows), 1)) * sides
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    names = np.where(rng.random((len(rows), 8)) < 0.7, np.arange(8), rng.integers(0, 8, (len(rows), 8)))
    points = np.take_along_axis(truth.keypoints[rows, :, :2], names[:, :, None], axis=1)
    points = points + disc(rng, 0, 20, (len(rows), 8)) * rng.choice([0.1, 1.0], (len(rows), 1, 1))
    return Predictions(truth.image_index[rows], boxes, rng.choice([0.3, 0.6, 0.9], len(rows)), points)


@given(
    per_image=st.integers(0, 4),
    number=st.integers(0, 12),
    seed=st.integers(0, 10_000),
    crowds=st.booleans(),
    labels=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_every_labeled_point_has_one_class_and_all_sums_agree(
    per_image: int, number: int, seed: int, crowds: bool, labels: bool
) -> None:
    truth = make_dataset(per_image=per_image, seed=seed)
    if crowds:
        truth = replace(truth, iscrowd=np.random.default_rng(seed).random(len(truth)) < 0.3)
    predicted = _chance(truth, number, seed)
    found = diagnose(truth, predicted, boxes_are_labels=labels)
    counted = ~truth.iscrowd & (truth.num_labeled > 0)
    assert [case.row for case in found.cases] == np.flatnonzero(counted).tolist()
    for case in found.cases:
        assert [kind is not None for kind in case.kinds] == (truth.visibility[case.row] > 0).tolist()
        assert (case.predicted < 0) == ("no_box" in case.kinds)
        assert case.predicted < 0 or predicted.image_index[case.predicted] == case.image
        assert 0 <= case.oks <= 1
    own = [case.predicted for case in found.cases if case.predicted >= 0]
    assert len(own) == len(set(own))
    assert found.points == truth.num_labeled[counted].sum() == sum(found.counts[kind] for kind in POINT_KINDS)
    for kind in POINT_KINDS:
        assert found.counts[kind] == sum(counts[kind] for counts in found.by_keypoint.values())
        assert found.counts[kind] == sum(case.kinds.count(kind) for case in found.cases)
        assert found.object_counts[kind] == sum(kind in case.kinds for case in found.cases)
    assert len(own) + found.counts["duplicate"] + found.counts["background"] <= found.predictions
    assert tuple(found.gains) == ERROR_KINDS
    if found.ap is None:
        assert found.objects == 0
    else:
        assert found.ap == oks_scores(truth, predicted, CAR8.sigmas).ap
        # The rest comes from inexact good points.
        assert found.rest is not None
        assert found.rest >= -1e-9
        assert found.counts["good"] or found.rest == pytest.approx(0.0)
