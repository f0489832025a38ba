"""SIGTERM, with which process managers stop a run, works like Ctrl-C."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from posetools.training.request import TrainRequest
from posetools.training.train import train
from tests.tiny_runs import Tiny

pytestmark = pytest.mark.train

WORKERS = ("--cfg-options", "train_dataloader.num_workers=1", "train_dataloader.persistent_workers=True")


def _stopped(words: list[str | Path], when: Callable[[str], bool]) -> tuple[int, list[str]]:
    """Run a command, send SIGTERM at a line of its output, and return its exit status and lines."""
    command = [sys.executable, "-m", "posetools", *map(str, words)]
    lines = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        for line in process.stderr or ():
            lines.append(line.rstrip("\n"))
            if when(line):
                process.terminate()
        return process.wait(timeout=60), lines


def _processes_of(work_dir: Path) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text()
        except OSError:
            continue
        found += [words] if str(work_dir) in words else []
    return found


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")
def test_sigterm_keeps_the_last_epoch_and_says_how_to_go_on(tiny: Tiny, tmp_path: Path) -> None:
    work_dir = tmp_path / "run"
    words: list[str | Path] = [
        "train",
        "--stage",
        "pose",
        "--config",
        tiny.pose,
        "--work-dir",
        work_dir,
        "--device",
        "cpu",
    ]
    status, lines = _stopped(
        [*words, "--epochs", "500", *WORKERS], lambda line: line.startswith("epoch 2/500 1/") or "epoch 3/500" in line
    )
    assert status == 143, lines
    stopped, going_on = lines[-2:]
    assert stopped.startswith("error: stopped in epoch ") and stopped.endswith(".pth is kept")
    assert going_on == f"  posetools train --stage pose --work-dir {work_dir} --resume continues from there"
    end = time.monotonic() + 10
    while _processes_of(work_dir) and time.monotonic() < end:
        time.sleep(0.1)
    assert _processes_of(work_dir) == []
    kept = len(list(work_dir.glob("epoch_*.pth")))
    assert kept >= 1
    result = train(TrainRequest(stage="pose", work_dir=work_dir, resume=True, device="cpu", epochs=1))
    assert result.epochs >= 1


def test_sigterm_before_the_first_checkpoint_does_not_mention_resuming(tiny: Tiny, tmp_path: Path) -> None:
    work_dir = tmp_path / "cars"
    configs: list[str | Path] = ["--config", tiny.det, "--config", tiny.pose]
    status, lines = _stopped(
        ["train", "--stage", "all", *configs, "--work-dir", work_dir, "--device", "cpu"],
        lambda line: line.startswith("training on "),
    )
    assert status == 143, lines
    assert lines[-2] in (
        "error: stopped in epoch 1 of 2; there is no checkpoint yet",
        "error: stopped before the first epoch; there is no checkpoint yet",
    )
    command = f"posetools train --stage all --work-dir {work_dir} --device cpu --resume"
    assert lines[-1] == f"  {command} restarts this model"
