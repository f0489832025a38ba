"""Undertrained: each sign, on curves with a known answer and on recorded logs of real runs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posetools.evaluation.coco import Predictions
from posetools.evaluation.undertrained import FEW, LOW_AP, Training, fall_at_end, nowhere, undertrained
from posetools.mm.run_log import LoggedCurve, read_run
from tests.build import make_dataset


def curve(lengths: float, *, noise: float = 0.01, points: int = 60, seed: int = 0, floor: float = 0.2) -> LoggedCurve:
    """Return a loss that decays as exp(-t / T) in a run of a number of T."""
    at = np.linspace(1 / points, 1, points)
    values = floor + np.exp(-lengths * at) + np.random.default_rng(seed).normal(0, noise, points)
    return LoggedCurve(at * 600, values)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("lengths", "falls"), [(0.5, True), (1, True), (3, True), (6, False), (12, False)])
def test_the_length_of_a_run_in_times_of_its_own_fall(lengths: float, falls: bool, seed: int) -> None:
    assert (fall_at_end(curve(lengths, seed=seed)) is not None) == falls


# RTMPose-t at 64 px, from random weights, logged by mmengine: six images for 120 and for 1,200 iterations, both with
# a final AP of 0.000, and one image without augmentation, until it was memorized.
@pytest.mark.parametrize(
    ("log", "falls"),
    [("rtmpose_120_iterations", True), ("rtmpose_1200_iterations", True), ("rtmpose_converged", False)],
)
def test_recorded_logs_of_real_runs(tmp_path: Path, log: str, falls: bool) -> None:
    place = tmp_path / "20260101_000000" / "vis_data" / "scalars.json"
    place.parent.mkdir(parents=True)
    shutil.copyfile(Path(__file__).parents[1] / "logs" / f"{log}.jsonl", place)
    training = read_run(tmp_path).training
    assert (fall_at_end(training["loss"], training["base_lr"]) is not None) == falls


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_does_not_fall(seed: int) -> None:
    assert fall_at_end(curve(0, noise=0.1, seed=seed)) is None


def test_a_loss_that_is_flat_because_the_rate_is_near_0_still_falls() -> None:
    rates = np.concatenate([np.full(30, 1.0), np.linspace(1, 0.01, 30)])
    done = np.cumsum(rates) / rates.sum()
    loss = LoggedCurve(np.arange(1.0, 61), 0.2 + np.exp(-2.5 * done))
    assert loss.values[-8:].max() - loss.values[-8:].min() < 0.02
    assert fall_at_end(loss, LoggedCurve(loss.iterations, rates)) is not None


def test_only_what_comes_after_the_last_change_of_the_data_counts() -> None:
    loss = curve(8)
    changed = replace(loss, values=np.where(loss.iterations > 450, loss.values - 0.5, loss.values))
    assert fall_at_end(changed) is not None
    assert fall_at_end(changed, since=450) is None


def test_a_short_log_and_gaps_tell_nothing() -> None:
    assert fall_at_end(curve(1, points=8)) is None
    gaps = curve(1, points=40)
    gaps.values[5:35] = np.nan
    assert fall_at_end(gaps) is None


def test_each_sign_is_a_sentence_with_its_numbers_and_the_command() -> None:
    training = Training(iterations=FEW - 1, loss=curve(1, noise=0), command="posetools train --resume --epochs 40")
    few, falling = undertrained(0.1, training)
    assert (few.code, falling.code) == ("few-iterations", "still-falling")
    assert f"{FEW - 1} iterations" in few.text
    assert "the loss still falls in the last quarter of the schedule, from 0.7" in falling.text
    assert all(one.text.endswith("train longer with `posetools train --resume --epochs 40`") for one in (few, falling))
    assert [one.code for one in undertrained(0.0, Training(iterations=FEW, stopped=(3, 10)))] == ["stopped"]


def test_nothing_is_said_of_a_good_model_or_one_of_which_nothing_is_known() -> None:
    training = Training(iterations=10, loss=curve(1))
    assert undertrained(LOW_AP, training) == undertrained(None, training) == undertrained(0.0, None) == ()
    assert undertrained(0.0, Training(iterations=FEW, loss=curve(8))) == ()


def test_boxes_that_overlap_nothing_are_told_from_those_that_overlap_little() -> None:
    truth = make_dataset(images=["a.jpg", "b.jpg"], per_image=2, size=(320, 240), seed=4)
    rows = np.array([0, 1])
    far = np.array([[0.0, 0, 1, 1], [319, 239, 320, 240]])
    blind = Predictions(rows, far, np.array([0.9, 0.8]), np.zeros((2, 0, 2)))
    (remark,) = nowhere(truth, blind)
    assert remark.code == "nowhere"
    assert "none of 2 predicted boxes overlaps a labeled object (the best IoU is 0.0" in remark.text
    one = next(iter(truth.rows_of_images()[1]))
    near = replace(blind, boxes=np.stack([far[0], truth.boxes[one] * [1, 1, 1, 1]]))
    assert not list(nowhere(truth, near))
