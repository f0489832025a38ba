"""Intervals of metrics and of differences: against scipy, a formula, and simulated data sets of known quality."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.intervals import BOX_AP, MEASURES, coverage, predict, report_of, scene
from posetools.evaluation.bootstrap import Resamples
from posetools.evaluation.comparison import compare, images_needed
from posetools.evaluation.intervals import DIFFERENCES, Interval, student_quantile
from posetools.evaluation.metrics import PointErrors
from posetools.evaluation.tables import differences, images_to_settle, intervals_from
from posetools.evaluation.verdict import evaluation_verdict


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 1000])
def test_quantiles_are_those_of_scipy(freedom: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert student_quantile(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-3)


def test_the_interval_of_a_share_is_that_of_the_textbook() -> None:
    rng, images = np.random.default_rng(0), 400
    labels = np.concatenate([np.full((images, 1, 2), 50.0), np.full((images, 1, 1), 2.0)], axis=2)
    wrong = rng.random(images) < 0.3
    points = labels[:, :, :2] + np.where(wrong, 40.0, 0.0)[:, None, None]
    errors = PointErrors.of(labels, points, np.tile([0.0, 0.0, 100.0, 100.0], (images, 1)))
    found = errors.resampled(np.arange(images), Resamples(np.arange(images)), ["tip"])["overall"]["PCK@0.1"]
    share = 1 - wrong.mean()
    interval = Interval.of(share, found)
    assert interval is not None
    assert interval.half == pytest.approx(1.96 * np.sqrt(share * (1 - share) / images), rel=0.06)


def test_what_cannot_have_an_interval_has_none() -> None:
    everything = Resamples(np.arange(9))
    labels = np.full((9, 1, 3), 2.0)
    errors = PointErrors.of(labels, labels[:, :, :2], np.tile([0.0, 0.0, 9.0, 9.0], (9, 1)))
    perfect = errors.resampled(np.arange(9), everything, ["tip"])["overall"]
    assert Interval.of(1.0, perfect["PCK@0.1"]) is None
    assert Interval.of(None, perfect["PCK@0.1"]) is None
    one_clip = errors.resampled(np.arange(9), Resamples(np.zeros(9, dtype=np.int64)), ["tip"])["overall"]
    assert Interval.of(0.5, one_clip["PCK@0.1"]) is None


@pytest.mark.parametrize(("frames", "least"), [(1, 0.87), (20, 0.83)])
def test_intervals_hold_the_true_value(frames: int, least: float) -> None:
    """5 clips of 20 frames are few; benchmarks/intervals.py has the figures of 500 sets."""
    for name, share in coverage(30, 1, images=100, frames=frames, resamples=200).items():
        assert share >= least, name


def test_a_clear_difference_is_settled_and_a_small_one_asks_for_more_images() -> None:
    of = scene(np.random.default_rng(3), 150)
    runs = [report_of(of, predict(np.random.default_rng(4), of, worse=worse)) for worse in (0.0, 0.5, 0.02)]
    good, bad, near = runs
    found = compare(bad, good)[BOX_AP]
    assert found.interval is not None
    assert found.interval.settled
    assert found.interval.value == pytest.approx((good.det.scores.ap or 0) - (bad.det.scores.ap or 0))
    sentence = evaluation_verdict([bad, good]).sentence
    assert sentence.startswith("simulated is better by 0.")
    assert "(pose AP on detected boxes)" in sentence
    far = images_needed([good, bad])
    assert set(far) == {*MEASURES, "pose AP on labeled boxes", "PCK@0.1 on labeled boxes"}
    for numbers in far.values():
        known = [number for number in numbers if number]
        assert known == sorted(known, reverse=True)
    small = compare(near, good)[BOX_AP]
    assert small.interval is not None
    if not small.interval.settled:
        assert small.sentence("a", "b").startswith("150 images cannot tell a and b apart (box AP: 0.")
        assert small.needed is not None
        assert small.needed > 150
    assert len(differences(runs).columns) == 4
    assert len(images_to_settle(runs).columns) == 1 + len(DIFFERENCES)


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    of = scene(np.random.default_rng(5), 200)
    first, second = (report_of(of, predict(np.random.default_rng(seed), of, correlation=0.9)) for seed in (1, 2))
    paired = compare(first, second)[BOX_AP].interval
    alone = [report.det.intervals["bbox"]["AP"] for report in (first, second)]
    assert paired is not None
    assert paired.half < 0.8 * np.hypot(alone[0].half, alone[1].half)


def test_few_clips_come_with_a_warning() -> None:
    of = scene(np.random.default_rng(6), 40, 10)
    report = report_of(of, predict(np.random.default_rng(7), of), 10)
    assert intervals_from(report).endswith("4 images; fewer than 10 are few: the intervals are rough.")
