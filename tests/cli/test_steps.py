"""Output of a command with several steps and of a run that it starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from posetools.cli.steps import Steps
from posetools.cli.train_display import PlainDisplay, print_result
from posetools.core.stages import Stage
from posetools.training.train import TrainResult


def test_steps_are_numbered_and_say_the_command_that_does_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps()
    steps.step("read [labels]", "posetools convert a [b]")
    steps.say("12 images [of cars]")
    steps.step("look", "")
    assert capsys.readouterr().out.splitlines() == [
        "",
        "1. read [labels]",
        "   $ posetools convert a [b]",
        "   12 images [of cars]",
        "",
        "2. look",
    ]


def test_progress_and_training_are_shown_as_in_their_own_commands(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps()
    with steps.progress() as report:
        report("reading", 3, 3)
    with steps.training() as listener:
        assert isinstance(listener, PlainDisplay)
        listener.say("a sentence")
    assert capsys.readouterr().err.splitlines() == ["reading: 3/3", "a sentence"]


@pytest.mark.parametrize(
    ("stage", "name", "measure"),
    [("det", "coco/bbox_mAP_50", "box AP50"), ("pose", "coco/AP .5", "OKS AP50 on labeled boxes")],
)
def test_a_run_that_time_has_cut_short_is_judged(
    capsys: pytest.CaptureFixture[str], stage: Stage, name: str, measure: str
) -> None:
    result = TrainResult(Path("w"), Path("w/epoch_3.pth"), None, {name: 0.107}, epochs=3, trained=3, iterations=240)
    print_result(result, stage)
    assert "usable" not in capsys.readouterr().out
    print_result(replace(result, enough=3000), stage)
    out = capsys.readouterr().out
    assert f"{measure} 0.107 is too low to be usable (below 0.5); trained 240 of the recipe's 3000 iterations" in out
    assert "│ iterations │ 240 │" in " ".join(out.split())


@pytest.mark.parametrize("best", [None, Path("w/[a]/best.pth")])
def test_what_a_run_left(capsys: pytest.CaptureFixture[str], best: Path | None) -> None:
    result = TrainResult(
        work_dir=Path("w/[a]"), last=Path("w/[a]/epoch_3.pth"), best=best, epochs=3, metrics={"coco/AP": 0.31256}
    )
    print_result(result, "det")
    lines = [" ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "det: epoch 3",
        "work folder w/[a]",
        "last checkpoint epoch_3.pth",
        f"best checkpoint {best.name if best else 'none'}",
        "coco/AP 0.313",
    ):
        assert lines.count(line) == 1, line
    assert lines[-1] == f"evaluate it: posetools eval --stage det {best or 'w/[a]/epoch_3.pth'}"
