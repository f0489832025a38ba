"""Score thresholds: precision, recall and F1 by hand, and agreement with a matching for each threshold."""

from __future__ import annotations

import json

import numpy as np
import pytest

from posetools.core.skeleton import load_skeleton
from posetools.evaluation.coco import Predictions
from posetools.evaluation.metrics import match_boxes
from posetools.evaluation.thresholds import confidence_sweep, curve_of
from tests.coco_cases import random_predictions, random_truth


def test_precision_recall_and_f1_by_hand() -> None:
    # Two of the five scores are equal, one right and one wrong: a threshold keeps both or none.
    scores = np.array([0.9, 0.6, 0.6, 0.3, 0.1])
    curve = curve_of(scores, np.array([True, True, False, False, True]), there=4)
    assert curve.thresholds.tolist() == [0.9, 0.6, 0.3, 0.1]
    assert curve.precision.tolist() == pytest.approx([1, 2 / 3, 1 / 2, 3 / 5])
    assert curve.recall.tolist() == [0.25, 0.5, 0.5, 0.75]
    assert curve.f1.tolist() == pytest.approx([2 / 5, 4 / 7, 4 / 8, 6 / 9])
    assert curve.best is not None
    assert (curve.best.threshold, curve.best.hits, curve.best.false_alarms) == (0.1, 3, 2)
    assert curve.average_precision == pytest.approx(0.25 * 1 + 0.25 * 2 / 3 + 0.25 * 3 / 5)


@pytest.mark.parametrize(
    ("threshold", "hits", "wrong"), [(0.95, 0, 0), (0.9, 1, 0), (0.6, 2, 1), (0.2, 2, 2), (0, 3, 2)]
)
def test_a_threshold_keeps_what_is_at_or_above_it(threshold: float, hits: int, wrong: int) -> None:
    scores = np.array([0.1, 0.9, 0.6, 0.6, 0.3])
    point = curve_of(scores, np.array([True, True, True, False, False]), there=4).at(threshold)
    assert (point.hits, point.false_alarms, point.recall) == (hits, wrong, hits / 4)
    assert point.precision == (hits / (hits + wrong) if hits + wrong else None)


def test_what_cannot_be_said_is_none() -> None:
    nothing_there = curve_of(np.array([0.5]), np.array([False]), there=0)
    assert (nothing_there.best, nothing_there.average_precision) == (None, None)
    assert (nothing_there.at(0.4).precision, nothing_there.at(0.4).recall, nothing_there.at(0.4).f1) == (
        0.0,
        None,
        None,
    )
    nothing_found = curve_of(np.zeros(0), np.zeros(0, dtype=np.bool_), there=3)
    assert (nothing_found.best, nothing_found.average_precision) == (None, 0.0)
    assert (nothing_found.at(0.5).precision, nothing_found.at(0.5).recall) == (None, 0.0)
    for curve in (nothing_there, nothing_found):
        json.dumps(curve.as_dict(), allow_nan=False)


@pytest.mark.parametrize("seed", range(20))
def test_each_threshold_gives_what_matching_at_that_threshold_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = random_truth(load_skeleton("car8"), rng, images=6, most=4)
    truth = truth.select_images([i for i, rows in enumerate(truth.rows_of_images()) if not truth.iscrowd[rows].any()])
    predicted = random_predictions(truth, rng, copies=1.3, strays=2)
    sweep = confidence_sweep(truth, predicted)
    for threshold in (0.0, 0.25, 0.5, 0.75):
        kept = predicted.scores >= threshold
        alone = Predictions(
            *(getattr(predicted, name)[kept] for name in ("image_index", "boxes", "scores", "keypoints"))
        )
        point = sweep.curve.at(threshold)
        matched = confidence_sweep(truth, alone).curve
        assert point.hits + point.false_alarms == kept.sum()
        assert point.hits == (matched.hits[-1] if len(matched.hits) else 0)
        # match_boxes has the same rules except for equal overlaps.
        assert abs(point.hits - (match_boxes(truth, alone) >= 0).sum()) <= 1


def test_false_boxes_are_counted_per_image_and_the_json_says_the_same() -> None:
    rng = np.random.default_rng(3)
    truth = random_truth(load_skeleton("car8"), rng, images=5, most=3)
    predicted = random_predictions(truth, rng, copies=1.0, strays=70)
    sweep = confidence_sweep(truth, predicted)
    assert sweep.curve.at(0.0).hits + sweep.curve.at(0.0).false_alarms > 300
    document = sweep.as_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["points"]["0.5"]["false_per_picture"] == sweep.curve.at(0.5).false_alarms / 5
    assert document["points"]["best F1"]["f1"] == pytest.approx(max(document["curve"]["f1"]), abs=0.01)
    assert sweep.curve.best is not None
    assert sweep.curve.best.f1 == pytest.approx(sweep.curve.f1.max())
    assert document["curve"]["threshold"][0] == pytest.approx(predicted.scores.max(), abs=1e-6)
    assert len(document["curve"]["threshold"]) <= 200


def test_more_boxes_than_coco_looks_at_count() -> None:
    rng = np.random.default_rng(1)
    truth = random_truth(load_skeleton("car8"), rng, images=1, most=2)
    predicted = random_predictions(truth, rng, copies=0.0, strays=150)
    curve = confidence_sweep(truth, predicted).curve
    assert curve.hits[-1] + curve.false_alarms[-1] > 140
