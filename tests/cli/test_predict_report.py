"""Summary of ``predict``: counts and shortened lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from posetools.cli.predict import print_report
from posetools.prediction.predict import PredictReport


def lines_of(capsys: pytest.CaptureFixture[str], report: PredictReport) -> list[str]:
    print_report(report)
    return [" ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()]


def test_one_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    report = PredictReport(images=1, objects=1, seconds=0.5, written=[Path("out/[a].png")], problems=["b.png: [no]"])
    assert lines_of(capsys, report) == [
        "1 object in 1 image, 0.5 s (2.0 images/s)",
        "out/[a].png",
        "problem: b.png: [no]",
    ]


def test_nothing_took_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines_of(capsys, PredictReport()) == ["0 objects in 0 images, 0.0 s (0.0 images/s)"]


@pytest.mark.parametrize(("files", "named"), [(5, 5), (6, 4)])
def test_more_than_five_files_are_counted(capsys: pytest.CaptureFixture[str], files: int, named: int) -> None:
    written = [Path("out") / "sub" / f"{i}.png" for i in range(files - 1)] + [Path("out/predictions.json")]
    lines = lines_of(capsys, PredictReport(images=2, objects=3, seconds=1.0, written=written))
    assert lines[1 : 1 + named] == [str(path) for path in written[:named]]
    assert lines[1 + named :] == ([] if files == 5 else ["... and 2 more in out"])


@pytest.mark.parametrize(("problems", "more"), [(20, []), (23, ["... and 3 more problems"])])
def test_more_than_twenty_problems_are_counted(
    capsys: pytest.CaptureFixture[str], problems: int, more: list[str]
) -> None:
    lines = lines_of(capsys, PredictReport(problems=[f"p{i}" for i in range(problems)]))
    assert lines[1:] == [*(f"problem: p{i}" for i in range(20)), *more]


def test_where_nothing_is_written_images_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[str, tuple[float, ...]]] = [
        (f"[{i}].png", (0.5,) * 21 if i == 0 else (0.875,) * 2) for i in range(22)
    ]
    lines = lines_of(capsys, PredictReport(images=22, objects=63, seconds=2.0, seen=seen))
    assert "[1].png 2 0.88 0.88" in lines
    # Twenty scores of the first image, on several lines, and two of each other image.
    text = " ".join(lines)
    assert (text.count("0.50"), text.count("0.88")) == (20, 2 * 19)
    assert text.count("0.50 ...") == 1
    assert not any(line.startswith("[20].png") for line in lines)
    assert "... and 2 more" in lines
    assert lines[-1] == "to save drawn images: --output-root DIR; also the numbers: --save-predictions"
