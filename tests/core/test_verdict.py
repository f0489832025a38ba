"""The one sentence on top of a report, from counts: of a data set, of a pair, of several pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from posetools.core.dataset import Dataset
from posetools.core.findings import Finding
from posetools.core.verdict import Thing, Verdict, data_verdict
from posetools.evaluation.remarks import Remark
from posetools.evaluation.report import Report, Subject
from posetools.evaluation.run import measure
from posetools.evaluation.verdict import PairCounts, evaluation_verdict, pair_verdict
from posetools.synth.dataset import render_set
from tests.oracle import Oracle

BOTH = ("train", "val")


def found(*codes: str, fixable: bool = False) -> list[Finding]:
    return [Finding(code, "train_coco.json", "", "x", fixable=fixable) for code in codes]


@pytest.mark.parametrize(
    ("findings", "splits", "images", "level", "sentence", "things"),
    [
        ([], BOTH, True, "good", "ready to train; no problems found", []),
        (found("W202"), BOTH, True, "warning", "ready to train; 1 thing to look at first", ["W202"]),
        (
            found("W202", "W202", "W211", "W215"),
            BOTH,
            True,
            "warning",
            "ready to train; 3 things to look at first",
            ["W215", "W202", "W211"],
        ),
        (
            found("W221", "E104", "E121", "E104"),
            BOTH,
            True,
            "error",
            "not ready to train: 3 errors to fix first",
            ["E104", "E121", "W221"],
        ),
        (
            found("E104", fixable=True),
            BOTH,
            True,
            "error",
            "not ready to train: 1 error to fix first; --fix can fix it",
            ["E104"],
        ),
        (
            [*found("E104", "E105", fixable=True), *found("E121")],
            BOTH,
            True,
            "error",
            "not ready to train: 3 errors to fix first; --fix can fix 2 of them",
            ["E104", "E105", "E121"],
        ),
        (
            found("E104", "E105", fixable=True),
            BOTH,
            True,
            "error",
            "not ready to train: 2 errors to fix first; --fix can fix all of them",
            ["E104", "E105"],
        ),
        ([], BOTH, False, "good", "ready to train (image files not checked); no problems found", []),
        (found("W202"), ("val",), True, "warning", "no errors; 1 thing to look at first", ["W202"]),
    ],
)
def test_a_data_set_is_ready_or_not_and_what_is_serious_comes_first(
    findings: list[Finding], splits: tuple[str, ...], images: bool, level: str, sentence: str, things: list[str]
) -> None:
    verdict = data_verdict(findings, splits, images=images)
    assert (verdict.level, verdict.sentence) == (level, sentence)
    assert [thing.code for thing in verdict.things] == things
    assert sum(thing.count for thing in verdict.things) == len(findings)


def test_a_thing_is_named_with_its_count() -> None:
    assert str(Thing("W202", 1234)) == "W202 point-outside-box (1,234)"


GOOD = PairCounts(ap=0.9, points={"good": 95, "jitter": 5}, objects=20, without_box=0)


@pytest.mark.parametrize(
    ("counts", "level", "sentence"),
    [
        (GOOD, "good", "both halves are good: 95% of the labeled points are near their label"),
        (
            PairCounts(ap=0.4, points={"good": 60, "no_box": 31, "jitter": 9}, objects=100, without_box=31),
            "warning",
            "boxes are the weak half: 31% of objects have none",
        ),
        (
            PairCounts(ap=0.4, points={"good": 60, "no_box": 5, "box_shifted": 26}, objects=100, without_box=31),
            "warning",
            "boxes are the weak half: 31% of objects have none that fits",
        ),
        (
            PairCounts(ap=0.3, points={"good": 30, "no_box": 20, "swap": 10, "missing": 40}, objects=9, without_box=2),
            "warning",
            "poses are the weak half: 62% of the points in a good box are wrong, mostly missing",
        ),
        (
            replace(GOOD, on_nothing=14),
            "warning",
            "boxes are the weak half: 14 are on background, for 20 objects",
        ),
        (
            PairCounts(ap=0.0, points={"no_box": 80}, objects=10, without_box=10),
            "error",
            "boxes are the weak half: 100% of objects have none",
        ),
        (
            PairCounts(ap=None, points={"good": 0}, objects=0, without_box=0),
            "error",
            "this pair cannot be judged: no keypoint is labeled in this split",
        ),
        (
            replace(GOOD, misleading=True),
            "error",
            "AP says nothing about the model here, see below; both halves are good: 95% of the labeled "
            "points are near their label",
        ),
    ],
)
def test_the_weak_half_of_a_pair_is_named_with_its_share(counts: PairCounts, level: str, sentence: str) -> None:
    assert pair_verdict(counts) == Verdict(level, sentence)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cars(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return render_set(tmp_path_factory.mktemp("set") / "cars", images=14, size=(160, 120), seed=5)


def measured(truth: Dataset, oracle: Oracle, name: str = "a") -> Report:
    return measure(Subject(name, "det.pth", "pose.pth", "data/cars", "val", 0.05), oracle, oracle, truth)


def test_a_detector_that_misses_objects_is_the_weak_half(cars: Dataset) -> None:
    lost = frozenset(range(0, len(cars), 3))
    report = measured(cars, Oracle(cars, blur=0.002, lost=lost))
    expected = f"boxes are the weak half: {report.detected.scores.without_box / len(cars):.0%} of objects have none"
    assert evaluation_verdict([report]).sentence == expected
    assert report.detected.scores.without_box >= len(lost) - 2


def test_an_estimator_that_takes_left_for_right_is_the_weak_half(cars: Dataset) -> None:
    report = measured(cars, Oracle(cars, blur=0.002, flipped=frozenset(range(len(cars)))))
    assert evaluation_verdict([report]).sentence.startswith("poses are the weak half: ")
    assert evaluation_verdict([report]).sentence.endswith("mostly left/right inversion")


def test_of_several_pairs_the_better_one_is_named(cars: Dataset) -> None:
    good, bad = measured(cars, Oracle(cars, blur=0.005)), measured(cars, Oracle(cars, blur=0.1), "work/b")
    aps = [report.detected.scores.oks.ap or 0.0 for report in (good, bad)]
    verdict = evaluation_verdict([bad, good])
    assert verdict.sentence.startswith(f"a is better by {aps[0] - aps[1]:.3f} [0.")
    assert "] (pose AP on detected boxes); " in verdict.sentence
    assert evaluation_verdict([good, replace(good, subject=replace(good.subject, name="c"))]).sentence == (
        "14 images cannot tell a and c apart (pose AP on detected boxes is the same)"
    )


def test_an_ap_that_a_remark_doubts_is_no_verdict(cars: Dataset) -> None:
    report = measured(cars, Oracle(cars, blur=0.005))
    doubtful = replace(
        report, remarks={**report.remarks, "boxes": (Remark("seen", "all were trained on", hides=True),)}
    )
    assert evaluation_verdict([doubtful]).level == "error"
    empty = replace(cars, keypoints=np.zeros_like(cars.keypoints))
    nothing = measured(empty, Oracle(cars))
    assert evaluation_verdict([nothing]).sentence.startswith("this pair cannot be judged")
