"""The classes of points: their limits, counterparts, and OKS against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest

from posetools.core.skeleton import Skeleton, load_skeleton
from posetools.evaluation.diagnosis.diagnosis import diagnose
from posetools.evaluation.diagnosis.match import POINT_KINDS, match_objects, partners, sort_points
from tests.diagnosing import CAR8, EXCHANGED, OTHER, Planted, cars, one_car, only_image, shifted_by


def test_the_limits_of_good_and_jitter() -> None:
    truth = one_car()
    # ks = exp(-d^2 / (2 area (2 sigma)^2)); sigma is 0.05, so d = 0.1 sqrt(-2 ln ks) sqrt(area).
    at = {ks: 0.1 * np.sqrt(-2 * np.log(ks)) for ks in (0.86, 0.84, 0.51, 0.49)}
    shares = np.array([[at[0.86], at[0.84], at[0.51], at[0.49], -at[0.86], -at[0.84], -at[0.51], -at[0.49]]])
    found = diagnose(truth, shifted_by(truth, shares), boxes_are_labels=False)
    assert found.cases[0].kinds == ("good", "jitter", "jitter", "missing") * 2
    assert found.cases[0].oks == pytest.approx((0.86 + 0.84 + 0.51 + 0.49) / 4)
    assert found.by_keypoint["left-rear-tire"] == {**dict.fromkeys(POINT_KINDS, 0), "missing": 1}


def test_a_point_that_is_no_number_is_missing() -> None:
    truth = one_car()
    points = truth.keypoints[:, :, :2].copy()
    points[0, 3] = np.nan
    matches = match_objects(truth, only_image(truth.boxes, points), by_points=True, boxes_are_labels=False)
    assert matches.predicted.tolist() == [0]
    kinds = sort_points(truth, points, matches, boxes_are_labels=False)[0]
    assert [POINT_KINDS[code] for code in kinds] == ["good"] * 3 + ["missing"] + ["good"] * 4


def test_partners_of_car8() -> None:
    names = CAR8.names
    found = {kind: [names[k] for k in order] for kind, order in partners(CAR8).items()}
    for k, name in enumerate(names):
        words = name.split("-")
        for kind, which in EXCHANGED.items():
            other = [OTHER[word] if i in which else word for i, word in enumerate(words)]
            assert found[kind][k] == "-".join(other)  # type: ignore[index]


def test_front_and_rear_by_name_where_there_is_no_template() -> None:
    bare = CAR8.model_copy(update={"template": None})
    assert partners(bare)["front_rear"].tolist() == partners(CAR8)["front_rear"].tolist()
    assert partners(bare)["diagonal"].tolist() == partners(CAR8)["diagonal"].tolist()
    assert set(partners(bare)["neighbour"]) == {-1}
    other = _skeleton("front_wheel", "back_wheel", "top", "rear axle", "front axle", "front of rear")
    assert partners(other)["front_rear"].tolist() == [1, 0, -1, 4, 3, -1]
    assert set(partners(other)["left_right"]) == {-1}


def test_a_person_has_no_front_and_rear() -> None:
    found = partners(load_skeleton("coco17"))
    assert set(found["front_rear"]) == set(found["diagonal"]) == set(found["neighbour"]) == {-1}
    assert found["left_right"][:3].tolist() == [-1, 2, 1]


def _skeleton(*names: str) -> Skeleton:
    document = {
        "name": "other",
        "category": {"name": "thing"},
        "keypoints": [{"name": name} for name in names],
        "sigmas": [0.05] * len(names),
        "joint_weights": [1.0] * len(names),
    }
    return Skeleton.model_validate(document)


def test_oks_is_pycocotools() -> None:
    from pycocotools.cocoeval import COCOeval

    truth = cars(10)
    errors = Planted(truth, np.random.default_rng(1))
    assert errors.plant("jitter", 0.5)
    predicted = errors.predictions()
    found = diagnose(truth, predicted, boxes_are_labels=False)
    evaluation = COCOeval(iouType="keypoints")
    evaluation.params.kpt_oks_sigmas = np.array(CAR8.sigmas)
    evaluation.params.useCats = 0
    for case in found.cases:
        x1, y1, x2, y2 = truth.boxes[case.row].tolist()
        label = {"keypoints": truth.keypoints[case.row].ravel().tolist(), "bbox": [x1, y1, x2 - x1, y2 - y1]}
        points = np.column_stack([predicted.keypoints[case.predicted], np.ones(8)])
        evaluation.params.catIds = [1]
        evaluation._gts = {(1, 1): [{**label, "area": truth.areas[case.row], "ignore": 0}]}
        evaluation._dts = {(1, 1): [{"keypoints": points.ravel().tolist(), "score": 1.0}]}
        assert evaluation.computeOks(1, 1)[0, 0] == pytest.approx(case.oks, abs=1e-12)
