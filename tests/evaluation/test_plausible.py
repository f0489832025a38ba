"""Why AP is 0 or too good: each planted cause has its remark, and there is none if nothing is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, Image
from posetools.core.geometry import Floats, box_area
from posetools.evaluation.coco import EvaluationKind, Predictions, evaluate_coco
from posetools.evaluation.remarks import Remark, explain
from tests.build import make_dataset

SIZE = (320, 240)
# Two, by the median of noisy sizes.
TWO = r"(1\.9[5-9]|2|2\.0[0-9])"


def labels(images: int = 40, seed: int = 4) -> Dataset:
    """Return labels with every point visible."""
    truth = make_dataset(images=[f"{i:03}.jpg" for i in range(images)], per_image=2, seed=seed, size=SIZE)
    rng = np.random.default_rng(seed)
    sides = (truth.boxes[:, 2:] - truth.boxes[:, :2])[:, None]
    points = truth.boxes[:, None, :2] + rng.uniform(0.02, 0.98, (len(truth), 8, 2)) * sides
    return replace(truth, keypoints=np.concatenate([points, np.full((len(truth), 8, 1), 2.0)], axis=2))


def predict(truth: Dataset, *, noise: float = 0.03, seed: int = 0) -> Predictions:
    """Return the labels, moved by a normal ``noise`` in units of sqrt(area of the box), in random order of scores."""
    rng = np.random.default_rng(seed)
    scale = np.sqrt(box_area(truth.boxes))[:, None] * noise
    points = truth.keypoints[:, :, :2] + rng.normal(0, 1, (len(truth), 8, 2)) * scale[:, :, None]
    boxes = truth.boxes + rng.normal(0, 1, (len(truth), 4)) * scale
    return Predictions(truth.image_index, boxes, rng.uniform(0.3, 0.9, len(truth)), points)


TRUTH = labels()


def said(
    truth: Dataset, predicted: Predictions, kind: EvaluationKind = "keypoints", **more: Dataset
) -> dict[str, Remark]:
    evaluation = evaluate_coco(truth, predicted, kind, sigmas=truth.skeleton.sigmas)
    return {one.code: one for one in explain(truth, predicted, evaluation, training=more.get("training"))}


def with_sigmas(truth: Dataset, sigma: float) -> Dataset:
    return replace(truth, categories=Categories.of(truth.skeleton.model_copy(update={"sigmas": (sigma,) * 8})))


@pytest.mark.parametrize("kind", ["bbox", "keypoints"])
@pytest.mark.parametrize("noise", [0.04, 0.08])
@pytest.mark.parametrize("seed", range(5))
def test_an_ordinary_model_gets_no_remark(kind: EvaluationKind, noise: float, seed: int) -> None:
    truth = labels(seed=seed)
    assert said(truth, predict(truth, noise=noise, seed=seed), kind) == {}


@pytest.mark.parametrize("seed", range(10))
def test_a_model_that_finds_nothing_is_not_given_a_wrong_excuse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 200, (80, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 60, (80, 2))], axis=1)
    points = corner[:, None] + rng.uniform(0, 60, (80, 8, 2))
    guessed = Predictions(TRUTH.image_index, boxes, rng.uniform(0, 1, 80), points)
    for kind, measure in (("bbox", "IoU"), ("keypoints", "OKS")):
        found = said(TRUTH, guessed, "bbox" if kind == "bbox" else "keypoints")
        assert list(found) == ["zero"]
        assert f"the median of the objects' best {measure}" in found["zero"].text
        assert not found["zero"].hides


def test_nothing_labeled() -> None:
    empty = replace(
        TRUTH,
        boxes=np.zeros((0, 4)),
        keypoints=np.zeros((0, 8, 3)),
        areas=np.zeros(0),
        iscrowd=np.zeros(0, dtype=np.bool_),
        image_index=np.zeros(0, dtype=np.int64),
        category_ids=TRUTH.category_ids[:0],
        origins=TRUTH.origins[:0],
    )
    one = said(empty, predict(TRUTH))["no-objects"]
    assert one.text.startswith("no object is labeled in 40 images, so AP is undefined")
    assert one.hides
    crowds = replace(TRUTH, iscrowd=np.ones(80, dtype=np.bool_))
    assert "all of 80 labeled objects are crowds" in said(crowds, predict(TRUTH), "bbox")["no-objects"].text
    without = replace(TRUTH, keypoints=np.zeros((80, 8, 3)))
    assert "no keypoint is labeled on any of 80 objects" in said(without, predict(TRUTH))["no-keypoints"].text
    assert "no-keypoints" not in said(without, predict(TRUTH), "bbox")


def test_nothing_predicted_and_nothing_of_the_category() -> None:
    nothing = Predictions(np.zeros(0, dtype=np.int64), np.zeros((0, 4)), np.zeros(0), np.zeros((0, 8, 2)))
    assert said(TRUTH, nothing)["no-predictions"].text == (
        "AP is 0 because nothing was predicted in 40 images with 80 objects: check the score threshold, and whether "
        "the model is trained"
    )
    evaluation = evaluate_coco(TRUTH, nothing, "bbox")
    (one,) = explain(TRUTH, nothing, evaluation, classes={"person": 12, "car": 0, "truck": 30})
    assert one.text == (
        "AP is 0 because of the category: no box is a car, but the detector predicts 30 truck, 12 person in 40 "
        "images with 80 objects"
    )
    # If the class is there, its boxes are below the threshold.
    (one,) = explain(TRUTH, nothing, evaluation, classes={"person": 12, "car": 3})
    assert "nothing was predicted" in one.text


@pytest.mark.parametrize("area", [0.0, 1.0, 40.0])
def test_areas_far_below_the_boxes(area: float) -> None:
    # A converter that writes area 1.0: AP is 0 for any prediction.
    truth = replace(TRUTH, areas=np.full(80, area))
    assert (evaluate_coco(truth, predict(TRUTH), "keypoints", sigmas=TRUTH.skeleton.sigmas).ap() or 0.0) < 0.1
    one = said(truth, predict(TRUTH))["area"]
    true_ap = evaluate_coco(TRUTH, predict(TRUTH), "keypoints", sigmas=TRUTH.skeleton.sigmas).ap()
    assert f"the median is {area:.3g} square px, but" in one.text
    assert f"near 0 for any prediction; with the boxes' areas it is {true_ap:.3f}" in one.text
    assert one.hides
    # The areas do not affect the boxes' AP.
    assert said(truth, predict(TRUTH), "bbox") == {}


def test_areas_far_above_the_boxes_and_areas_of_silhouettes() -> None:
    assert "too high for any" in said(replace(TRUTH, areas=TRUTH.areas * 9), predict(TRUTH))["area"].text
    assert said(replace(TRUTH, areas=TRUTH.areas * 0.5), predict(TRUTH)) == {}


def test_sigmas_that_forgive_everything() -> None:
    one = said(with_sigmas(TRUTH, 0.2), predict(TRUTH, noise=0.04))["sigma-large"]
    assert one.text.startswith("AP is 1.000 though half of the points are 4.")
    assert "sigmas of 0.2 are too large" in one.text
    expected = evaluate_coco(TRUTH, predict(TRUTH, noise=0.04), "keypoints", sigmas=[0.1] * 8).ap()
    assert f"With half the sigmas AP is {expected:.3f}" in one.text


def test_sigmas_that_forgive_nothing() -> None:
    one = said(with_sigmas(TRUTH, 0.004), predict(TRUTH, noise=0.02))["sigma-small"]
    expected = evaluate_coco(TRUTH, predict(TRUTH, noise=0.02), "keypoints", sigmas=[0.05] * 8).ap()
    assert "AP is 0.000 though half of the points are within 2." in one.text
    assert f"sigmas of 0.004 are too small. With 0.05 AP is {expected:.3f}" in one.text


def moved(change: Callable[[Floats], Floats]) -> Predictions:
    right = predict(TRUTH)
    corners = change(right.boxes.reshape(-1, 2)).reshape(-1, 4)
    return replace(right, boxes=corners, keypoints=change(right.keypoints.reshape(-1, 2)).reshape(-1, 8, 2))


@pytest.mark.parametrize("kind", ["bbox", "keypoints"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda xy: xy * 2, rf"{TWO} times the labels'\."),
        (lambda xy: xy * 0.25, r"0\.2[45]\d? times the labels'\."),
        (lambda xy: xy * [2.0, 0.5], rf"{TWO} times \(x\) and 0\.(49\d|5|50\d) times \(y\) the labels'\."),
        (lambda xy: xy + np.array([60.0, -40.0]), r"shifted by \((59|60)\.\d, -(39|40)\.\d\) px\."),
        (lambda xy: xy * 3 + [-200.0, 100.0], r"times the labels', shifted by \(-(19|20)\d\.\d, (9\d|10\d)\.\d\) px"),
        (lambda xy: xy / SIZE, r"fractions of the image's width and height\."),
        (lambda xy: xy[:, ::-1], r"x and y exchanged\."),
    ],
    ids=["double", "quarter", "stretched", "shifted", "both", "fractions", "exchanged"],
)
def test_predictions_in_other_units(kind: EvaluationKind, change: Callable[[Floats], Floats], words: str) -> None:
    found = said(TRUTH, moved(change), kind)
    assert list(found) == ["units"]
    text = found["units"].text
    assert re.search(words, text), text
    fixed = float(text.split("AP is ")[1].split(",")[0])
    true_ap = evaluate_coco(TRUTH, predict(TRUTH), kind, sigmas=TRUTH.skeleton.sigmas).ap()
    assert fixed == pytest.approx(true_ap, abs=0.12)
    assert found["units"].hides


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda low, high: (low, high - low), "x, y, width and height read as two corners"),
        (lambda low, high: (low, low + high), "two corners read as x, y, width and height"),
        (lambda low, high: ((low + high) / 2, (low + high) / 2 + high - low), "the box's center read as its corner"),
    ],
)
def test_boxes_in_another_convention(change: Callable[[Floats, Floats], tuple[Floats, Floats]], words: str) -> None:
    right = predict(TRUTH)
    wrong = replace(right, boxes=np.concatenate(change(right.boxes[:, :2], right.boxes[:, 2:]), axis=1))
    assert words in said(TRUTH, wrong, "bbox")["units"].text


def test_keypoints_in_pixels_or_fractions_of_the_box() -> None:
    right = predict(TRUTH)
    boxes = TRUTH.boxes
    corner, sides = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
    in_pixels = replace(right, boxes=boxes, keypoints=right.keypoints - corner)
    in_shares = replace(right, boxes=boxes, keypoints=(right.keypoints - corner) / sides)
    assert "pixels relative to the box's corner" in said(TRUTH, in_pixels)["units"].text
    assert "fractions of the box" in said(TRUTH, in_shares)["units"].text


def test_boxes_that_are_all_too_small_though_most_are_found() -> None:
    right = predict(TRUTH, noise=0.01)
    center, half = (right.boxes[:, :2] + right.boxes[:, 2:]) / 2, (right.boxes[:, 2:] - right.boxes[:, :2]) / 2
    small = replace(right, boxes=np.concatenate([center - 0.85 * half, center + 0.85 * half], axis=1))
    # Shrinking around their own centers is not a factor of the coordinates: there is no remark on units.
    assert said(TRUTH, small, "bbox") == {}


@pytest.mark.parametrize("kind", ["bbox", "keypoints"])
def test_labels_given_as_predictions(kind: EvaluationKind) -> None:
    found = said(TRUTH, predict(TRUTH, noise=0.0), kind)
    assert found["copied"].text.startswith("80 of 80 objects are predicted exactly as labeled")
    assert found["copied"].hides
    assert "copied" not in said(TRUTH, predict(TRUTH, noise=0.002), kind)


def test_labeled_boxes_are_no_copy_of_the_keypoints() -> None:
    assert said(TRUTH, replace(predict(TRUTH), boxes=TRUTH.boxes)) == {}


def test_images_that_were_trained_on() -> None:
    same = said(TRUTH, predict(TRUTH), training=TRUTH)["seen"]
    assert same.text.startswith("40 of 40 images were used for training")
    assert same.hides
    other = labels(seed=99)
    assert said(TRUTH, predict(TRUTH), training=other) == {}
    # Three of the images, under other names.
    few = TRUTH.select_images([3, 5, 7])
    few = replace(few, images=tuple(Image(f"copy{i}.jpg", *SIZE) for i in range(3)))
    some = said(TRUTH, predict(TRUTH), training=few)["seen"]
    assert (some.text.split(",")[0], some.hides) == (
        "3 of 40 images were used for training (same file or same labels)",
        False,
    )
    path = Path("images/007.jpg")
    by_file = replace(
        TRUTH, images=tuple(replace(one, path=path) if i == 7 else one for i, one in enumerate(TRUTH.images))
    )
    relabelled = replace(other, images=(replace(other.images[0], path=path), *other.images[1:]))
    assert said(by_file, predict(TRUTH), training=relabelled)["seen"].text.startswith("1 of 40 images")


def test_scores_that_are_all_the_same() -> None:
    level = replace(predict(TRUTH, noise=0.06), scores=np.full(80, 0.9))
    assert said(TRUTH, level)["equal-scores"].text.startswith("all 80 predictions have the score 0.9: AP ranks by")
    assert "equal-scores" not in said(TRUTH, replace(level, boxes=level.boxes + 5000), "bbox")


def test_too_good_to_be_true() -> None:
    few = TRUTH.select_images(range(3))
    assert "AP is 1.000, but over only 6 objects" in said(few, predict(few, noise=0.005))["few"].text
    perfect = said(TRUTH, predict(TRUTH, noise=0.004))["perfect"]
    assert "check whether these images, or others of the same scenes" in perfect.text


def test_remarks_are_json() -> None:
    document = [asdict(one) for one in said(TRUTH, predict(TRUTH, noise=0.0)).values()]
    assert json.loads(json.dumps(document)) == document
    assert document[0]["code"] == "copied"
