"""Our COCO evaluation against pycocotools and xtcocotools, on hundreds of random sets, and its rules by hand."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from posetools.core.dataset import Dataset
from posetools.core.geometry import Floats, box_area
from posetools.core.skeleton import load_skeleton
from posetools.evaluation.coco import RECALLS, Evaluation, EvaluationKind, Predictions, evaluate_coco, oks_of
from posetools.evaluation.metrics import BoxScores, OksScores, box_scores, oks_scores
from tests.build import make_dataset
from tests.coco_cases import STATS, peer_evaluation, peer_stats, random_predictions, random_truth

# (images, most objects per image, predictions per object, stray predictions per image)
SHAPES = ((1, 1, 1.0, 0), (4, 3, 1.5, 1), (12, 6, 2.0, 3), (6, 2, 0.3, 0), (3, 8, 6.0, 110), (5, 0, 1.0, 2))
CASES = 120


def case(seed: int) -> tuple[Dataset, Predictions, Floats]:
    rng = np.random.default_rng(seed)
    images, most, copies, strays = SHAPES[seed % len(SHAPES)]
    skeleton = load_skeleton("coco17" if seed % 4 == 3 else "car8")
    truth = random_truth(skeleton, rng, images=images, most=most)
    predicted = random_predictions(truth, rng, copies=copies, strays=strays)
    return truth, predicted, np.array(skeleton.sigmas) * rng.choice([0.3, 1.0, 2.0])


def ours(
    truth: Dataset, predicted: Predictions, kind: EvaluationKind, sigmas: Floats, *, use_area: bool = True
) -> list[float | None]:
    # The object area in xtcocotools without the labeled one.
    areas = truth.areas if use_area else box_area(truth.boxes) * 0.53
    evaluation = evaluate_coco(dataclasses.replace(truth, areas=areas), predicted, kind, sigmas=sigmas.tolist())
    scores = BoxScores.of(evaluation) if kind == "bbox" else OksScores.of(evaluation)
    return list(scores.as_dict().values())


def assert_same(got: list[float | None], expected: list[float | None]) -> None:
    assert [value is None for value in got] == [value is None for value in expected]
    assert [value or 0.0 for value in got] == pytest.approx([value or 0.0 for value in expected], abs=1e-6)


@pytest.mark.parametrize("kind", ["bbox", "keypoints"])
@pytest.mark.parametrize("seed", range(CASES))
def test_numbers_are_those_of_pycocotools(seed: int, kind: EvaluationKind) -> None:
    truth, predicted, sigmas = case(seed)
    assert_same(ours(truth, predicted, kind, sigmas), peer_stats("pycocotools", truth, predicted, kind, sigmas))


@pytest.mark.train
@pytest.mark.parametrize("use_area", [True, False])
@pytest.mark.parametrize("seed", range(CASES))
def test_numbers_are_those_of_xtcocotools(seed: int, use_area: bool) -> None:
    truth, predicted, sigmas = case(seed)
    theirs = peer_stats("xtcocotools", truth, predicted, "keypoints", sigmas, use_area=use_area)
    assert_same(ours(truth, predicted, "keypoints", sigmas, use_area=use_area), theirs)


def test_the_random_sets_have_what_they_are_for() -> None:
    sets = [case(seed) for seed in range(CASES)]
    labels = [truth for truth, _, _ in sets if len(truth)]
    assert sum(truth.iscrowd.any() for truth in labels) > 50
    assert sum(bool((truth.num_labeled == 0).any()) for truth in labels) > 50
    assert sum(len(truth) == 0 for truth, _, _ in sets) > 10
    assert sum(len(predicted) == 0 for _, predicted, _ in sets) > 5
    assert sum(len(np.unique(p.scores)) < len(p) / 2 for _, p, _ in sets) > 25
    values = np.array([[v for v in ours(t, p, "keypoints", s) if v is not None][:1] or [np.nan] for t, p, s in sets])
    assert (np.isfinite(values) & (values > 0.02) & (values < 0.98)).sum() > 60


@pytest.mark.parametrize("kind", ["bbox", "keypoints"])
@pytest.mark.parametrize("seed", [2, 8, 10, 14, 20, 26])
def test_curves_and_matches_are_those_of_pycocotools(seed: int, kind: EvaluationKind) -> None:
    truth, predicted, sigmas = case(seed)
    evaluation = evaluate_coco(truth, predicted, kind, sigmas=sigmas.tolist())
    theirs = peer_evaluation("pycocotools", truth, predicted, kind, sigmas)
    theirs.evaluate()
    theirs.accumulate()
    np.testing.assert_allclose(evaluation.curves, theirs.eval["precision"][:, :, 0, 0, -1], atol=1e-12)
    found = np.full((10, len(truth)), -1)
    for image in theirs.evalImgs[: len(truth.images)]:
        if image is not None:
            found[:, np.array(image["gtIds"], dtype=int) - 1] = image["gtMatches"].astype(int) - 1
    found[:, truth.iscrowd] = -1
    assert evaluation.found.tolist() == found.tolist()
    assert (evaluation.found >= 0).any()


@pytest.mark.parametrize("kind", ["bbox", "keypoints"])
@pytest.mark.parametrize("seed", range(1, 30, 4))
def test_matches_agree_with_each_other(seed: int, kind: EvaluationKind) -> None:
    truth, predicted, sigmas = case(seed)
    evaluation = evaluate_coco(truth, predicted, kind, sigmas=sigmas.tolist())
    for found, taken, counted, precision, recall in zip(
        evaluation.found, evaluation.taken, evaluation.counted, evaluation.curves, evaluation.recall[0], strict=True
    ):
        rows = np.flatnonzero(found >= 0)
        assert (taken[found[rows]] == rows).all()
        right = counted & (taken >= 0)
        ignored = truth.iscrowd | ((truth.num_labeled == 0) & (kind == "keypoints"))
        assert not ignored[taken[right]].any()
        assert evaluation.objects[0] == (~ignored).sum()
        if evaluation.objects[0]:
            assert recall == pytest.approx(right.sum() / evaluation.objects[0])
            assert precision[-1] == 0 or recall == 1


def two_cars() -> Dataset:
    # Both in one image, 100 x 100 and side by side, every point in the middle of its box and visible.
    truth = make_dataset(images=["a.jpg"], per_image=2, seed=1)
    boxes = np.array([[0.0, 0, 100, 100], [100, 0, 200, 100]])
    keypoints = np.full((2, 8, 3), 2.0)
    keypoints[:, :, :2] = ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
    return dataclasses.replace(truth, boxes=boxes, keypoints=keypoints, areas=np.full(2, 1e4))


def boxes_of(*boxes: list[float], scores: list[float]) -> Predictions:
    n = len(boxes)
    return Predictions(np.zeros(n, dtype=np.int64), np.array(boxes), np.array(scores), np.zeros((n, 8, 2)))


def at_half(evaluation: Evaluation) -> tuple[list[int], list[int], list[bool]]:
    return evaluation.found[0].tolist(), evaluation.taken[0].tolist(), evaluation.counted[0].tolist()


def test_a_crowd_takes_what_lies_in_it_again_and_again_and_none_of_it_counts() -> None:
    truth = dataclasses.replace(two_cars(), iscrowd=np.array([True, False]))
    # Two small boxes inside the crowd: their IoU with it is 1, their fraction inside it. One on background.
    predicted = boxes_of([10, 10, 20, 20], [30, 10, 40, 20], [100, 0, 200, 100], [300, 0, 400, 9], scores=[4, 3, 2, 1])
    found, taken, counted = at_half(evaluate_coco(truth, predicted, "bbox"))
    assert (found, taken, counted) == ([-1, 2], [0, 0, 1, -1], [False, False, True, True])


def test_of_two_objects_that_fit_the_nearer_one_is_taken_and_the_surer_prediction_comes_first() -> None:
    truth = dataclasses.replace(two_cars(), boxes=np.array([[0.0, 0, 100, 100], [10, 0, 110, 100]]))
    found, taken, _ = at_half(evaluate_coco(truth, boxes_of([8, 0, 108, 100], [9, 0, 109, 100], scores=[1, 2]), "bbox"))
    assert (found, taken) == ([0, 1], [0, 1])


def test_only_the_best_boxes_of_an_image_count() -> None:
    predicted = boxes_of([0, 0, 100, 100], [100, 0, 200, 100], [300, 0, 400, 100], scores=[0.1, 0.9, 0.8])
    assert at_half(evaluate_coco(two_cars(), predicted, "bbox", max_dets=2))[2] == [False, True, True]
    assert evaluate_coco(two_cars(), predicted, "bbox").ar() == 1.0


def test_an_object_without_points_is_ignored_but_keeps_what_lies_near_it() -> None:
    keypoints = two_cars().keypoints.copy()
    keypoints[0] = 0
    truth = dataclasses.replace(two_cars(), keypoints=keypoints)
    points = np.stack([np.full((8, 2), [-99.0, -99]), np.full((8, 2), [150.0, 50]), np.full((8, 2), [-200.0, 50])])
    predicted = Predictions(
        np.zeros(3, dtype=np.int64), np.repeat(truth.boxes[:1], 3, axis=0), np.array([0.9, 0.8, 0.7]), points
    )
    evaluation = evaluate_coco(truth, predicted, "keypoints", sigmas=[0.05] * 8)
    # Only the first is in the box made three times as wide and high.
    assert at_half(evaluation) == ([0, 1], [0, 1, -1], [False, True, True])
    assert evaluation.objects == (1, 0, 1)


def test_a_coordinate_that_is_no_number_finds_nothing() -> None:
    truth = two_cars()
    points = truth.keypoints[:, :, :2].copy()
    points[0, 0] = np.nan
    predicted = Predictions(np.zeros(2, dtype=np.int64), truth.boxes, np.array([0.9, 0.8]), points)
    assert at_half(evaluate_coco(truth, predicted, "keypoints", sigmas=[0.05] * 8))[1] == [-1, 1]


def test_oks_of_pairs_by_hand() -> None:
    truth = two_cars()
    moved = truth.keypoints[[1, 0], :, :2] + [6.0, 8.0]
    # 10 px are 0.1 of sqrt(area): exp(-0.1^2 / (2 (2 0.05)^2)) = exp(-0.5).
    assert oks_of(truth, np.array([1, 0]), moved, [0.05] * 8).tolist() == pytest.approx([np.exp(-0.5)] * 2)


def test_what_the_evaluation_gives_out_is_json_without_nan() -> None:
    truth, predicted, sigmas = case(2)
    document = evaluate_coco(truth, predicted, "keypoints", sigmas=sigmas.tolist()).as_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["AP"] == oks_scores(truth, predicted, sigmas.tolist()).ap
    assert len(document["precision"]["0.50"]) == len(document["recalls"]) == len(RECALLS)
    nothing = Predictions(np.zeros(0, dtype=np.int64), np.zeros((0, 4)), np.zeros(0), np.zeros((0, 8, 2)))
    empty = evaluate_coco(truth.select_images([]), nothing, "bbox").as_dict()
    assert (empty["AP"], empty["precision"]["0.50"], empty["objects"]["all"]) == (None, None, 0)
    json.dumps(empty, allow_nan=False)


def test_what_cannot_be_asked_is_refused() -> None:
    truth, predicted, _ = case(2)
    with pytest.raises(ValueError, match="sigmas must be 8 numbers, got 7"):
        evaluate_coco(truth, predicted, "keypoints", sigmas=[0.05] * 7)
    with pytest.raises(ValueError, match=r"threshold must be one of \[0.5, 0.55.*got 0.3"):
        evaluate_coco(truth, predicted, "bbox").ap(threshold=0.3)


def test_thresholds_can_be_chosen_and_agree_with_the_ten() -> None:
    truth, predicted, _ = case(2)
    assert evaluate_coco(truth, predicted, "bbox", thresholds=[0.5]).ap() == box_scores(truth, predicted).ap50
    assert len(STATS["bbox"]) == len(box_scores(truth, predicted).as_dict())
