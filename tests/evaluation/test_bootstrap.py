"""Metrics in resamples of the images against pycocotools, and our own metrics, on data sets of copied images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from posetools.core.dataset import Dataset
from posetools.core.geometry import Ints
from posetools.core.skeleton import load_skeleton
from posetools.evaluation.bootstrap import ResampledEvaluation, Resamples
from posetools.evaluation.coco import EvaluationKind, Predictions, evaluate_coco
from posetools.evaluation.metrics import BoxScores, OksScores, PointErrors
from tests.coco_cases import peer_stats, random_predictions, random_truth

IMAGES, CLIPS = 12, 6


def copied(truth: Dataset, predicted: Predictions, weights: Ints) -> tuple[Dataset, Predictions]:
    """Return the data set and its predictions with so many copies of each image."""
    chosen = np.repeat(np.arange(len(truth.images)), weights)
    images = [replace(truth.images[old], file_name=f"{new:05}.jpg") for new, old in enumerate(chosen)]

    def rows(index: Ints) -> tuple[Ints, Ints]:
        of = [np.flatnonzero(index == old) for old in chosen]
        return np.concatenate(of), np.repeat(np.arange(len(chosen)), list(map(len, of)))

    rows_of_truth, image_index = rows(truth.image_index)
    rows_of_predicted, predicted_index = rows(predicted.image_index)
    again = replace(predicted[rows_of_predicted], image_index=predicted_index)
    return truth.take(images, rows_of_truth, image_index), again


@pytest.mark.parametrize("kind", ["bbox", "keypoints"])
@pytest.mark.parametrize("seed", range(6))
def test_ap_of_a_resample_is_that_of_pycocotools_on_copied_images(seed: int, kind: EvaluationKind) -> None:
    rng, skeleton = np.random.default_rng(seed), load_skeleton("coco17" if seed % 2 else "car8")
    truth = random_truth(skeleton, rng, images=IMAGES, most=6)
    predicted = random_predictions(truth, rng, copies=2.0, strays=3)
    # Without ties: the order of equal scores is not that of the copies.
    predicted = replace(predicted, scores=rng.permutation(len(predicted)) / len(predicted))
    resamples = Resamples(np.arange(IMAGES) % CLIPS, "clip", number=4)
    found = ResampledEvaluation.of(evaluate_coco(truth, predicted, kind, sigmas=skeleton.sigmas), resamples)
    ours = (BoxScores if kind == "bbox" else OksScores).resampled(found)
    ((_, weights),) = resamples.blocks(1)
    assert len(np.unique(weights, axis=0)) == 4
    for number, of_groups in enumerate(weights):
        again = copied(truth, predicted, of_groups[resamples.group])
        theirs = peer_stats("pycocotools", *again, kind, np.array(skeleton.sigmas))
        expected = [np.nan if value is None else value for value in theirs]
        assert [each.values[number] for each in ours.values()] == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_pck_and_nme_of_a_resample_are_those_of_copied_images() -> None:
    rng, skeleton = np.random.default_rng(7), load_skeleton("coco17")
    truth = random_truth(skeleton, rng, images=IMAGES, most=4)
    points = truth.keypoints[:, :, :2] + rng.normal(0, 8, truth.keypoints[:, :, :2].shape)
    points[rng.random(len(truth)) < 0.2] = np.nan
    resamples = Resamples(np.arange(IMAGES) % CLIPS, "clip", number=4)
    errors = PointErrors.of(truth.keypoints, points, truth.boxes, "visible")
    ours = errors.resampled(truth.image_index, resamples, skeleton.names)
    ((_, weights),) = resamples.blocks(1)
    for number, of_groups in enumerate(weights):
        rows = np.repeat(np.arange(len(truth)), of_groups[resamples.group][truth.image_index])
        labels, boxes = truth.keypoints[rows], truth.boxes[rows]
        theirs = PointErrors.of(labels, points[rows], boxes, "visible").scores(skeleton.names).as_dict()
        single = skeleton.names[3]
        for own, other in (
            (ours["overall"], theirs["overall"]),
            *[(ours["by_keypoint"][single], theirs["by_keypoint"][single])],
        ):
            for name, each in own.items():
                expected = np.nan if other[name] is None else other[name]
                assert each.values[number] == pytest.approx(expected, nan_ok=True), name


def test_two_runs_on_the_same_images_get_the_same_resamples_whatever_they_predict() -> None:
    resamples = Resamples(np.arange(50))
    narrow, wide = (np.concatenate([weights for _, weights in resamples.blocks(width)]) for width in (1, 40_000))
    assert np.array_equal(narrow, wide)
    assert (narrow.sum(axis=1) == 50).all()


def test_frames_of_a_clip_are_drawn_together_and_photos_alone() -> None:
    frames = [f"{clip}/{number:04}.jpg" for clip in ("day", "night", "rain") for number in range(5)]
    by_name = Resamples.of(frames)
    assert (by_name.kind, by_name.groups) == ("clip", 3)
    assert by_name.group.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert Resamples.of(frames, "image").groups == 15
    # The data set was split by an expression that a later image does not match.
    assert Resamples.of([*frames, "more.jpg"], "^(day|night|rain)").kind == "clip"
