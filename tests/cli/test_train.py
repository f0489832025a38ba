"""Output of ``posetools train`` and ``posetools eval``."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from posetools.cli.train import split_arguments
from posetools.cli.train_display import BarDisplay, PlainDisplay, TrainBar
from posetools.errors import RequestError
from posetools.mm.evaluations import BestEvaluation
from posetools.training.hooks import TrainStatus
from tests.cli.run import run

STATUS = TrainStatus(
    phase="train",
    epoch=3,
    epochs=15,
    iteration=20,
    iterations=20,
    done=60,
    total=300,
    loss=1.23456,
    lr=4e-4,
    rate=2.0,
    metrics={"coco/AP": 0.3125, "coco/AP (L)": None},
    best=BestEvaluation("coco/AP", 0.4025, epoch=2, since=1),
)
NUMBERS = "loss 1.235  AP 0.312  best 0.403 (epoch 2)  2.00 it/s  lr 0.0004"


@pytest.mark.parametrize(
    ("arguments", "options", "data", "merged"),
    [
        ([], [], None, ()),
        (["data/cars"], [], "data/cars", ()),
        (["data/a=b"], [], "data/a=b", ()),
        (["b=2", "data/cars", "c=[1,2]"], ["a=1"], "data/cars", ("a=1", "b=2", "c=[1,2]")),
    ],
)
def test_further_config_options_may_follow_the_first(
    arguments: Sequence[str], options: Sequence[str], data: str | None, merged: tuple[str, ...]
) -> None:
    assert split_arguments(arguments, options) == (Path(data) if data else None, merged)


def test_two_data_folders_are_refused() -> None:
    with pytest.raises(RequestError, match="DATA must be one folder, got a, b"):
        split_arguments(["a", "b"], [])


def test_plain_lines_say_where_the_run_is(capsys: pytest.CaptureFixture[str]) -> None:
    display = PlainDisplay()
    display.update(STATUS)
    display.update(TrainStatus("train", 4, 15, 1, 20, 61, 300, loss=1.0))
    display.update(TrainStatus("scored", 4, 15, 9, 9, 80, 300, metrics=STATUS.metrics))
    display.update(TrainStatus("scored", 5, 15, 9, 9, 100, 300))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"epoch 3/15 20/20  0:02:00 left  {NUMBERS}",
        "epoch 4/15 evaluated: coco/AP 0.312, coco/AP (L) n/a",
        "epoch 5/15 evaluated: no metrics, because nothing was predicted",
    ]


def _shown(width: int, *statuses: TrainStatus) -> list[str]:
    """Return the lines on a terminal."""
    out = io.StringIO()
    with TrainBar(Console(file=out, force_terminal=True, width=width, highlight=False, color_system=None)) as bar:
        display = BarDisplay(bar)
        display.say("training on [cpu]")
        for status in statuses:
            display.update(status)
            bar.refresh()
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip("\r ") for line in out.getvalue().splitlines()]
    return [line for line in lines if line]


def test_the_bar_shows_the_same_numbers() -> None:
    lines = _shown(120, STATUS)
    assert "training on [cpu]" in lines
    assert lines[-1] == NUMBERS
    assert re.fullmatch(r"epoch 3/15 \S+ +20/20  0:02:00 left", lines[-2])


def test_an_evaluation_is_shown_with_the_numbers_so_far() -> None:
    lines = _shown(120, STATUS, replace(STATUS, phase="val", iteration=4, iterations=9))
    assert lines[-1].startswith("evaluating 4/9  loss 1.235")


@pytest.mark.parametrize(
    ("width", "numbers"),
    [
        (60, "loss 1.235  AP 0.312  best 0.403 (epoch 2)  2.00 it/s"),
        (50, "loss 1.235  AP 0.312  best 0.403 (epoch 2)"),
        (30, "loss 1.235  AP 0.312"),
        (8, "loss 1.…"),
    ],
)
def test_a_narrow_terminal_shows_what_matters_most(width: int, numbers: str) -> None:
    lines = _shown(width, STATUS)
    assert lines[-1] == numbers
    assert max(map(len, lines[-2:])) <= width


@pytest.mark.parametrize(
    "command", [["train", "data/cars", "--stage", "det"], ["eval", "--stage", "pose", "epoch_2.pth"]]
)
def test_without_the_train_extra_the_message_names_the_install_command(command: list[str], tmp_path: Path) -> None:
    # None in sys.modules makes an import fail.
    program = (
        "import sys\n"
        "sys.modules['mmengine'] = None\n"
        "from posetools.cli import main\n"
        f"sys.argv = ['posetools', *{command!r}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "error: posetools" in done.stderr
    assert "needs the 'train' extra" in done.stderr
    assert "uv sync --extra train" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.train
def test_a_run_and_its_evaluation_on_the_command_line(tmp_path: Path) -> None:
    from tests.tiny_runs import make_tiny

    tiny, work_dir = make_tiny(tmp_path), tmp_path / "run"
    places: list[str | Path] = ["--config", tiny.pose, "--work-dir", work_dir, "--device", "cpu"]
    done = run("train", "--stage", "pose", *places, "--epochs", "1", "--cfg-options", "randomness.seed=5", "base_lr=1")
    assert done.status == 0, done.err
    assert "epoch 1/1 evaluated: coco/AP " in done.err
    assert "n/a" in done.err
    assert "mmengine" not in done.out + done.err
    assert f"posetools eval --stage pose {work_dir}/best_coco_AP_epoch_1.pth" in done.words
    assert json.loads((work_dir / "metrics.json").read_text())["epochs"] == 1
    assert "seed=5" in (work_dir / tiny.pose.name).read_text()

    again = run("train", "--stage", "pose", *places)
    assert (again.status, again.out) == (2, "")
    assert again.err.startswith(
        f"error: {work_dir}: has checkpoints of an earlier run\n  fix: continue it with --resume"
    )
    finished = run("train", "--stage", "pose", "--work-dir", work_dir, "--resume")
    assert finished.status == 0
    assert f"nothing to do: {work_dir}/epoch_1.pth is at epoch 1 of 1" in finished.err

    shown = run("eval", "--stage", "pose", work_dir / "epoch_1.pth", "--device", "cpu")
    assert shown.status == 0, shown.err
    assert "PCK@0.05" in shown.out
    assert "left-front-bumper" in shown.out
