"""Summary of the demo, with a verdict, because its training time is short."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from posetools.cli.demo import print_result
from posetools.evaluation.metrics import PCK_THRESHOLDS, BoxScores, KeypointScores, OksScores, PointScores
from posetools.evaluation.scoring import PoseScores
from posetools.workflow.demo import DemoResult, TrainingPlan
from tests.reporting import planted_report


def _all(kind: Any, value: float) -> Any:
    return kind(**dict.fromkeys((field.name for field in fields(kind)), value))


def _result(ap50: float, pck: float, *, enough: int) -> DemoResult:
    points = KeypointScores(PointScores(500, 0, (pck,) * len(PCK_THRESHOLDS), 0.3, 40.0), {})
    scores = PoseScores(_all(OksScores, 0.01), {"labelled": points, "visible": points}, 0)
    return DemoResult(
        det=planted_report("best.pth", "det", boxes=_all(BoxScores, ap50)),
        pose=planted_report("best.pth", "pose", labeled=scores),
        seconds={"render": 3.0},
        plans={"det": TrainingPlan(1, enough=enough), "pose": TrainingPlan(1, enough=enough)},
        iterations={"det": 44, "pose": 60},
        files={Path("demo/results.json"): "all numbers"},
    )


def test_what_was_reached_within_the_time_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(_result(0.107, 0.533, enough=12_000))
    lines = capsys.readouterr().out.splitlines()
    start = "det: box AP50 0.107 is too low to be usable (below 0.5); trained 44 of the recipe's 12000 iterations"
    assert [line for line in lines if line.startswith(start)]
    start = "pose: PCK@0.1 on labeled boxes 0.533 is usable (0.5 or more); trained 60 of the recipe's 12000 iterations"
    assert [line for line in lines if line.startswith(start)]


def test_two_iterations_are_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(_result(0.0, 0.0, enough=0))
    assert "usable" not in capsys.readouterr().out
