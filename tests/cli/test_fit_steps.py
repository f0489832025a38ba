"""The summary of a fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from posetools.cli.fit_steps import command_of, print_fit, typed_options
from posetools.workflow.figures import FitFigures
from posetools.workflow.fit_request import FitResult


def _result(*, usable: bool) -> FitResult:
    metrics = {"box AP50": 0.91, "pose AP, labeled boxes": None}
    figures = FitFigures(images=5, objects=1, metrics=metrics, usable=usable, sentences=("box AP50 [0.91] is fine",))
    files = {Path("w/report.html"): "the report", Path("w/[a].zip"): "the bundle"}
    return FitResult(figures=figures, seconds={"convert": 2.0, "train": 58.0}, bundle=Path("w/[a].zip"), files=files)


def test_a_usable_pair(capsys: pytest.CaptureFixture[str]) -> None:
    print_fit(_result(usable=True), "posetools fit x")
    lines = capsys.readouterr().out.splitlines()
    assert "5 validation images, 1 object" in lines[1]
    assert any(line.split() == ["│", "box", "AP50", "│", "0.910", "│"] for line in lines)
    start = lines.index("1.0 minutes: convert 2 s, train 58 s")
    assert lines[start + 1 :] == [
        "",
        "the pair is usable",
        "  box AP50 [0.91] is fine",
        "",
        "open:",
        "  w/report.html  the report",
        "  w/[a].zip  the bundle",
        "use it: posetools predict IMAGES --bundle 'w/[a].zip' --output-root out",
    ]


def test_a_pair_that_is_not_usable(capsys: pytest.CaptureFixture[str]) -> None:
    print_fit(_result(usable=False), "posetools fit x --yes")
    out = capsys.readouterr().out
    assert out.index("the pair is NOT usable yet") < out.index("posetools fit x --yes --overwrite") < out.index("open:")


def test_options_as_typed() -> None:
    given: dict[str, str | bool | float | list[str] | None] = {"--minutes": 60.0, "--seed": 0, "--map": ["a=b", "c=d"]}
    typed = typed_options({**given, "--one": True, "--two": False, "--det": None, "--ignore": []})
    assert typed == {"--minutes": ["60"], "--seed": ["0"], "--map": ["a=b", "c=d"], "--one": ()}
    assert command_of("fit", Path("my labels"), typed, yes=True) == (
        "posetools fit 'my labels' --minutes 60 --seed 0 --map a=b --map c=d --one --yes"
    )
