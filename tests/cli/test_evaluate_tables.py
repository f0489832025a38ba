"""The tables of a single model's evaluation: every value is there once, and missing ones are n/a."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from posetools.cli.evaluate_tables import print_reports
from posetools.evaluation.metrics import BoxScores, KeypointScores, OksScores, PointScores
from posetools.evaluation.report import Report
from posetools.evaluation.scoring import PoseScores
from tests.reporting import planted_report

NAME = "work_dirs/[det]/best.pth"
NAMES = ("left-front-bumper", "right-rear-tire")


def printed(report: Report) -> list[str]:
    """Return the lines on a terminal of 80 columns, with white space collapsed."""
    out = Console(file=io.StringIO(), width=80, highlight=False)
    print_reports([report], out)
    assert isinstance(out.file, io.StringIO)
    lines = out.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    return [" ".join(line.replace("│", " ").replace("┃", " ").split()) for line in lines]


def points(pck: float | None, nme: float | None) -> PointScores:
    return PointScores(5, 1, (pck, pck, pck and pck + 0.05), nme, nme and 100 * nme)


def side(ap: float, without_box: int = 0) -> PoseScores:
    overall = {"labelled": points(0.5, 0.125), "visible": points(0.625, 0.1), "hidden": points(None, None)}
    by_keypoint = dict(zip(NAMES, (points(0.25, 0.2), points(None, None)), strict=True))
    scores = {subset: KeypointScores(each, by_keypoint) for subset, each in overall.items()}
    return PoseScores(OksScores(ap, 0.8, None, *[0.125] * 7), scores, without_box)  # type: ignore[arg-type]


def test_boxes() -> None:
    scores = BoxScores(0.375, 0.75, 0.5, None, 0.25, 12.5, 0.5, 0.5, 0.5, 0.5)
    lines = printed(planted_report(NAME, "det", boxes=scores))
    assert lines[0] == "work_dirs/[det]/best.pth on val of data/cars: 12 images, 24 objects"
    for name, value in scores.as_dict().items():
        shown = "n/a" if value is None else "12.5" if value == 12.5 else f"{value:.3f}"
        assert lines.count(f"{name} {shown}") == 1


def test_poses_on_labeled_boxes() -> None:
    lines = printed(planted_report(NAME, "pose", labeled=side(0.375)))
    assert "keypoints labeled boxes" in lines
    assert not any("detected" in line for line in lines)
    for line in (
        "OKS AP 0.375",
        "PCK@0.05 0.500",
        "NME 0.125",
        "error in pixels, 5 labeled points 12.5",
        "PCK@0.1, 5 visible points 0.625",
        "PCK@0.1, 5 occluded points n/a",
        "objects without a box 0",
        "left-front-bumper 5 0.250 0.250 0.300 0.200 20.0",
        "right-rear-tire 5 n/a n/a n/a n/a n/a",
    ):
        assert lines.count(line) == 1, line


def test_poses_on_detected_boxes_stand_beside_them() -> None:
    both = side(0.375), side(0.25, without_box=3)
    lines = printed(planted_report(NAME, "pose", labeled=both[0], detected=both[1], detector="best [det].pth"))
    assert lines[1] == "detected boxes: best [det].pth"
    assert "keypoints labeled boxes detected boxes" in lines
    assert "per keypoint: labeled / detected boxes" in lines
    assert "OKS AP 0.375 0.250" in lines
    assert "objects without a box 0 3" in lines
    (line,) = [line for line in lines if line.startswith("left-front-bumper")]
    assert line == "left-front-bumper 5 0.250/0.250 0.250/0.250 0.300/0.300 0.200/0.200"
    assert "Detected boxes: the points of an object without a box count as wrong in PCK and are not in NME" in " ".join(
        lines
    )


@pytest.mark.parametrize("detected", [None, side(0.1)])
def test_what_the_shares_are_of_is_said(detected: PoseScores | None) -> None:
    text = " ".join(printed(planted_report(NAME, "pose", labeled=side(0.375), detected=detected)))
    assert "PCK@t: fraction of labeled points within t times the longer side of the labeled box." in text
    assert "NME: mean distance over sqrt(width * height) of the labeled box." in text
