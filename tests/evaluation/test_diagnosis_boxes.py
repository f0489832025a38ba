"""The diagnosis of boxes: planted errors get the right kind, and the right cost."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posetools.core.geometry import Floats, pairwise_iou
from posetools.evaluation.coco import Predictions
from posetools.evaluation.diagnosis.boxes import BOX_ERROR_KINDS, BOX_KINDS, BoxDiagnosis, diagnose_boxes
from posetools.evaluation.metrics import box_scores
from tests.build import make_dataset
from tests.diagnosing import Planted, cars, one_car


def boxes_of(boxes: Floats, scores: Floats | None = None) -> Predictions:
    scores = np.linspace(1.0, 0.5, len(boxes)) if scores is None else scores
    return Predictions(np.zeros(len(boxes), dtype=np.int64), boxes, scores, np.zeros((len(boxes), 0, 2)))


def moved(boxes: Floats, iou: Floats) -> Floats:
    """Return the boxes moved right until their IoU with the original is ``iou``."""
    shift = (boxes[:, 2] - boxes[:, 0]) * (1 - iou) / (1 + iou)
    away: Floats = boxes + np.stack([shift, 0 * shift, shift, 0 * shift], axis=1)
    return away


def kinds_of(found: BoxDiagnosis) -> list[str]:
    return [case.kind for case in found.cases]


def test_the_limits_of_the_kinds() -> None:
    truth = one_car(others=5)
    iou = np.array([0.86, 0.84, 0.51, 0.49, 0.11, 0.09])
    boxes = truth.boxes.copy()
    # Upwards, where no other car is.
    height = boxes[:, 3] - boxes[:, 1]
    boxes[:, [1, 3]] -= (height * (1 - iou) / (1 + iou))[:, None]
    found = diagnose_boxes(truth, boxes_of(boxes))
    assert kinds_of(found) == ["good", "inexact", "inexact", "box_shifted", "box_shifted", "no_box"]
    np.testing.assert_allclose([case.iou for case in found.cases], [*iou[:5], 0.0])
    assert found.counts == {
        "good": 1,
        "inexact": 2,
        "box_shifted": 2,
        "no_box": 1,
        "duplicate": 0,
        "background": 1,
    }


@pytest.mark.parametrize("kind", ["no_box", "box_shifted", "duplicate", "background"])
def test_what_was_planted_is_found_and_is_all_that_is_found(kind: str) -> None:
    truth = cars()
    clean = Planted(truth, np.random.default_rng(1))
    errors = Planted(truth, np.random.default_rng(1))
    assert errors.plant(kind, 0.3) > 5
    found = diagnose_boxes(truth, errors.predictions())
    expected = ["no_box" if kind == "no_box" and not kept else "good" for kept in errors.kept]
    if kind == "box_shifted":
        expected = ["box_shifted" if kind in row else "good" for row in errors.kinds.tolist()]
    assert kinds_of(found) == expected
    assert found.counts["duplicate"] == errors.roles.count("duplicate")
    assert found.counts["background"] == errors.roles.count("background")
    assert {other for other, gain in found.gains.items() if gain.alone} <= {kind, "scores"}
    gain, before = found.gains[kind], box_scores(truth, clean.predictions()).ap
    assert gain.alone is not None
    assert gain.alone == gain.in_order
    assert gain.alone > 0.005
    assert found.ap is not None
    assert before is not None
    assert found.ap == box_scores(truth, errors.predictions()).ap
    assert found.ap + gain.alone >= before - 0.005
    names = ("no box: ", "box shifted: ", "duplicate prediction: ", "background prediction: ")
    assert any(line.startswith(names) for line in found.sentences())


def test_inexact_boxes_cost_ap_and_not_ap50() -> None:
    truth = one_car(others=3)
    predicted = boxes_of(moved(truth.boxes, np.full(4, 0.72)))
    found = diagnose_boxes(truth, predicted)
    assert box_scores(truth, predicted).ap50 == pytest.approx(1.0)
    # 0.50 to 0.70: 5 of 10 thresholds.
    assert found.ap == pytest.approx(0.5)
    assert found.gains["inexact"].alone == pytest.approx(0.5)
    assert found.rest == pytest.approx(0.0)
    assert found.sentences() == ("inexact box: 4 objects, AP 0.500 would be 1.000 without it",)


def test_the_surest_of_several_boxes_is_the_objects_own() -> None:
    truth = one_car()
    boxes = np.concatenate([moved(truth.boxes, np.array([0.6])), truth.boxes])
    found = diagnose_boxes(truth, boxes_of(boxes, np.array([0.9, 0.8])))
    assert [found.cases[0].predicted, found.cases[0].kind, found.counts["duplicate"]] == [0, "inexact", 1]
    other = diagnose_boxes(truth, boxes_of(boxes, np.array([0.8, 0.9])))
    assert [other.cases[0].predicted, other.cases[0].kind, other.counts["duplicate"]] == [1, "good", 1]


def test_a_box_in_a_crowd_is_nobodys() -> None:
    truth = one_car(others=1)
    truth = replace(truth, iscrowd=np.array([False, True]))
    x1, y1, x2, y2 = truth.boxes[1]
    inside = np.array([truth.boxes[0], [x1, y1, (x1 + x2) / 2, (y1 + y2) / 2]])
    found = diagnose_boxes(truth, boxes_of(inside))
    assert kinds_of(found) == ["good"]
    assert found.counts["background"] == found.counts["duplicate"] == 0


def test_better_scores_bring_ap_back() -> None:
    truth = one_car(others=1)
    nowhere = np.array([100.0, 500, 500, 660])
    boxes = np.stack([truth.boxes[0], nowhere, truth.boxes[1]])
    found = diagnose_boxes(truth, boxes_of(boxes, np.array([0.9, 0.8, 0.7])))
    assert found.counts["background"] == 1
    # One of two boxes, then two of three: recall above 0.5 has a precision of 2/3.
    assert found.ap == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert found.gains["scores"].alone == found.gains["background"].alone == pytest.approx(1 - (51 + 50 * 2 / 3) / 101)
    assert found.gains["scores"].in_order == pytest.approx(0.0)


def test_nothing_to_diagnose() -> None:
    truth = cars(2)
    found = diagnose_boxes(truth, boxes_of(np.zeros((0, 4))))
    assert [found.ap, found.counts["no_box"], found.gains["no_box"].alone] == [0.0, len(truth), pytest.approx(1.0)]
    empty = diagnose_boxes(truth.select_images([]), boxes_of(np.zeros((0, 4))))
    assert [empty.ap, empty.rest, empty.objects, empty.sentences()] == [None, None, 0, ()]


@given(st.integers(0, 4), st.integers(0, 15), st.integers(0, 10_000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_object_has_one_kind_and_all_sums_agree(per_image: int, number: int, seed: int, crowds: bool) -> None:
    rng = np.random.default_rng(seed)
    truth = make_dataset(per_image=per_image, seed=seed)
    if crowds:
        truth = replace(truth, iscrowd=rng.random(len(truth)) < 0.3)
    corners = rng.uniform(0, 200, (number, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 120, (number, 2))], axis=1)
    if len(truth) and number:
        near = rng.random(number) < 0.6
        boxes[near] = truth.boxes[rng.integers(0, len(truth), near.sum())] + rng.uniform(-8, 8, (near.sum(), 4))
    index = rng.integers(0, 2, number)
    predicted = Predictions(index, boxes, rng.choice([0.2, 0.5, 0.9], number), np.zeros((number, 0, 2)))
    found = diagnose_boxes(truth, predicted)
    assert [case.row for case in found.cases] == np.flatnonzero(~truth.iscrowd).tolist()
    assert sum(found.counts[kind] for kind in BOX_KINDS) == found.objects == len(found.cases)
    own = [case.predicted for case in found.cases if case.predicted >= 0]
    assert len(own) == len(set(own))
    free = set(range(number)) - set(own)
    assert found.counts["duplicate"] + found.counts["background"] <= len(free)
    assert crowds or found.counts["duplicate"] + found.counts["background"] == len(free)
    for case in found.cases:
        if case.predicted >= 0:
            assert index[case.predicted] == case.image
            iou = pairwise_iou(boxes[[case.predicted]], truth.boxes[[case.row]])[0, 0]
            assert case.iou == pytest.approx(iou)
            assert case.iou >= 0.1
    assert tuple(found.gains) == BOX_ERROR_KINDS
    assert json.loads(json.dumps(found.as_dict())) == found.as_dict()
    assert found.ap == box_scores(truth, predicted).ap
    assert found.rest is None or found.rest >= -1e-9
