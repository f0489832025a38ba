"""The main metrics of a pair and their verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from posetools.core.dataset import Dataset
from posetools.evaluation.remarks import Remark
from posetools.evaluation.report import Report, Subject
from posetools.evaluation.run import measure
from posetools.synth.dataset import render_set
from posetools.workflow.figures import FitFigures
from tests.oracle import Oracle


@pytest.fixture(scope="module")
def cars(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return render_set(tmp_path_factory.mktemp("set") / "cars", images=6, size=(160, 120), seed=5)


def _report(cars: Dataset, *, blur: float) -> Report:
    oracle = Oracle(cars, blur=blur)
    return measure(Subject("run", "det.pth", "pose.pth", "data", "val", 0.05), oracle, oracle, cars)


def test_a_good_pair(cars: Dataset) -> None:
    report = _report(cars, blur=0.001)
    figures = FitFigures.of(report, {"det": (900, 900), "pose": (900, 900)})
    assert figures.usable
    assert (figures.images, figures.objects) == (6, len(cars))
    assert figures.metrics["box AP50"] == report.det.scores.ap50
    assert figures.metrics["pose AP, detected boxes"] == report.detected.scores.oks.ap
    assert figures.sentences[0].endswith("is usable (0.5 or more); trained 900 of the recipe's 900 iterations")
    assert FitFigures.from_dict(json.loads(json.dumps(figures.as_dict()))) == figures


def test_keypoints_no_better_than_the_mean_pose_are_not_usable(cars: Dataset) -> None:
    report = _report(cars, blur=0.001)
    report = replace(report, remarks={"poses, labeled boxes": (Remark("mean-pose", "as bad as the mean pose"),)})
    figures = FitFigures.of(report, {"det": (900, 900), "pose": (900, 900)})
    assert not figures.usable
    assert figures.sentences[-1] == "poses, labeled boxes: as bad as the mean pose"


def test_one_bad_half_is_enough(cars: Dataset) -> None:
    figures = FitFigures.of(_report(cars, blur=0.6), {"det": (900, 900), "pose": (90, 900)})
    assert not figures.usable
    assert "is usable" in figures.sentences[0]
    assert figures.sentences[1].endswith("; all of them take about 10 times as long")
