"""Runs that are killed and resumed: real processes and signals, and the same losses as an unstopped run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from posetools.core.stages import Stage
from posetools.errors import RequestError
from posetools.mm.configs import config_of_run
from posetools.mm.run_folder import last_in, resumable
from posetools.training.request import TrainRequest
from posetools.training.train import train
from tests.tiny_runs import Recorder, Run, Tiny

pytestmark = pytest.mark.train

# One line of losses per iteration, not smoothed.
EXACT = ("default_hooks.logger.interval=1", "log_processor.window_size=1")
EPOCHS = 3

PROGRAM = """
import sys
from pathlib import Path
from posetools.training.request import TrainRequest
from posetools.training.train import train
stage, config, work_dir, epochs, *options = sys.argv[1:]
train(TrainRequest(stage=stage, config=Path(config), work_dir=Path(work_dir), epochs=int(epochs), device="cpu",
                   cfg_options=tuple(options)))
"""


def _losses(work_dir: Path) -> dict[int, float]:
    """Return the loss of each iteration of a run; of repeated iterations the later one."""
    losses = {}
    for path in sorted(work_dir.glob("*/vis_data/scalars.json"), key=lambda path: path.stat().st_mtime):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if "loss" in entry:
                losses[entry["iter"]] = entry["loss"]
    return losses


def _request(tiny: Tiny, stage: Stage, work_dir: Path, *options: str) -> TrainRequest:
    return TrainRequest(
        stage=stage, config=tiny.config(stage), work_dir=work_dir, epochs=EPOCHS, device="cpu", cfg_options=options
    )


def _killed(request: TrainRequest, moment: Callable[[], bool]) -> None:
    """Train in a new process, and kill it without warning at a moment."""
    command = [sys.executable, "-c", PROGRAM, request.stage, request.config, request.work_dir, str(request.epochs)]
    process = subprocess.Popen([*map(str, command), *request.cfg_options], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not moment():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    if process.stderr:
        process.stderr.close()


def _resume(stage: Stage, work_dir: Path, told: Recorder | None = None) -> int:
    return train(TrainRequest(stage=stage, work_dir=work_dir, resume=True, device="cpu"), told).epochs


@pytest.mark.parametrize("stage", ["pose", "det"])
def test_killed_at_any_moment_a_run_ends_as_if_it_was_not(tiny: Tiny, tmp_path: Path, stage: Stage) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    train(_request(tiny, stage, straight, *EXACT))
    # First in the second epoch, then while the second checkpoint is being written.
    moments = (lambda: (broken / "epoch_1.pth").is_file(), lambda: any(broken.glob(".epoch_2.pth.*.tmp")))
    _killed(_request(tiny, stage, broken, *EXACT), moments[stage == "det"])
    told = Recorder()
    assert _resume(stage, broken, told) == EPOCHS
    assert "epoch 1 of 3 is done" in told.text
    first, second = _losses(straight), _losses(broken)
    assert sorted(first) == sorted(second) == list(range(1, len(first) + 1))
    assert len(first) % EPOCHS == 0
    assert second == pytest.approx(first, rel=1e-4)
    assert len({round(loss, 6) for loss in first.values()}) > EPOCHS
    evaluated = [json.loads((work_dir / "evaluations.json").read_text()) for work_dir in (straight, broken)]
    assert [entry["epoch"] for entry in evaluated[1]["evaluations"]] == [1, 2, 3]
    assert not list(broken.glob(".*.tmp"))


def test_workers_draw_what_one_process_draws_and_a_resumed_run_too(tiny: Tiny, tmp_path: Path) -> None:
    workers = ("train_dataloader.num_workers=2", "train_dataloader.persistent_workers=True")
    alone, together, stopped = tmp_path / "alone", tmp_path / "together", tmp_path / "stopped"
    train(_request(tiny, "pose", alone, *EXACT))
    train(_request(tiny, "pose", together, *EXACT, *workers))
    shutil.copytree(together, stopped)
    for name in ("epoch_3.pth", "epoch_2.pth"):
        (stopped / name).unlink(missing_ok=True)
    if last_in(stopped) is None:
        pytest.fail("the run kept too few checkpoints to be set back")
    assert _resume("pose", stopped) == EPOCHS
    assert _losses(together) == pytest.approx(_losses(alone), rel=1e-4)
    assert _losses(stopped) == pytest.approx(_losses(alone), rel=1e-4)


def test_a_resumed_run_keeps_its_averaged_model_and_its_seed(tiny: Tiny, tmp_path: Path) -> None:
    import torch

    from posetools.mm.checkpoint import load_checkpoint

    straight, broken = tmp_path / "straight", tmp_path / "broken"
    config = tmp_path / "averaged.py"
    config.write_text(
        f"_base_ = [{str(tiny.pose)!r}]\n"
        "custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.01, update_buffers=True, "
        "priority=49)]\n"
        # Without a seed it gets a random one, which the resumed run must reuse.
        "randomness = dict(seed=None)\n"
    )
    train(TrainRequest(stage="pose", config=config, work_dir=straight, epochs=EPOCHS, keep=3, device="cpu"))
    shutil.copytree(straight, broken)
    for name in ("epoch_3.pth", "epoch_2.pth"):
        (broken / name).unlink()
    told = Recorder()
    train(TrainRequest(stage="pose", work_dir=broken, resume=True, device="cpu", seed=5), told)
    first, second = (load_checkpoint(work_dir / "epoch_3.pth") for work_dir in (straight, broken))
    assert second["meta"]["seed"] == first["meta"]["seed"]
    assert f"ignoring --seed 5: a resumed run keeps its seed {first['meta']['seed']}" in told.text
    for part in ("state_dict", "ema_state_dict"):
        for name, tensor in first[part].items():
            assert torch.allclose(tensor.float(), second[part][name].float(), atol=1e-4), (part, name)
    assert not torch.equal(
        first["state_dict"]["head.final_layer.weight"], first["ema_state_dict"]["module.head.final_layer.weight"]
    )


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("damage", [_half, _flipped, _emptied, _zeros])
def test_a_damaged_checkpoint_is_passed_over_and_named(
    pose_run: Run, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    work_dir = tmp_path / "run"
    shutil.copytree(pose_run.work_dir, work_dir)
    damage(work_dir / "epoch_2.pth")
    lines: list[str] = []
    found = resumable(work_dir, lines.append)
    assert (found.path, found.epoch) == (work_dir / "epoch_1.pth", 1)
    assert len(lines) == 1
    assert lines[0].startswith(f"{work_dir / 'epoch_2.pth'}: ")
    assert "damaged" in lines[0]
    assert lines[0].endswith("using the checkpoint before it")


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (b"", "names no checkpoint"),
        (b"/gone/work_dirs/epo", "names no checkpoint"),
        (b"\xff\xfe\x00", "names no checkpoint"),
        (b"/gone/epoch_1.pth", "names epoch_1.pth"),
        (None, "names no checkpoint"),
    ],
)
def test_a_wrong_record_is_no_obstacle(pose_run: Run, tmp_path: Path, record: bytes | None, said: str) -> None:
    work_dir = tmp_path / "run"
    shutil.copytree(pose_run.work_dir, work_dir)
    (work_dir / "last_checkpoint").unlink()
    if record is not None:
        (work_dir / "last_checkpoint").write_bytes(record)
    lines: list[str] = []
    assert resumable(work_dir, lines.append).path == work_dir / "epoch_2.pth"
    assert lines == [f"{work_dir / 'last_checkpoint'}: {said}; using epoch_2.pth, the newest intact one"]


def test_no_whole_checkpoint_is_said_with_the_names_of_the_damaged(pose_run: Run, tmp_path: Path) -> None:
    work_dir = tmp_path / "run"
    shutil.copytree(pose_run.work_dir, work_dir)
    for path in work_dir.glob("epoch_*.pth"):
        _half(path)
    with pytest.raises(
        RequestError, match=r"no checkpoint to resume from\n  damaged: epoch_2.pth, epoch_1.pth\n  fix: "
    ):
        train(TrainRequest(stage="pose", work_dir=work_dir, resume=True, device="cpu"))


def test_killed_during_the_last_evaluation_a_run_makes_up_for_it(pose_run: Run, tmp_path: Path) -> None:
    work_dir = tmp_path / "run"
    shutil.copytree(pose_run.work_dir, work_dir)
    (work_dir / "metrics.json").unlink()
    record = work_dir / "evaluations.json"
    document = json.loads(record.read_text())
    record.write_text(json.dumps({"evaluations": document["evaluations"][:1]}))
    result = train(TrainRequest(stage="pose", work_dir=work_dir, resume=True, device="cpu"))
    assert (result.epochs, result.trained) == (2, 0)
    assert result.metrics == pytest.approx(dict(pose_run.result.metrics), abs=1e-6)
    assert json.loads(record.read_text()) == document
    assert json.loads((work_dir / "metrics.json").read_text())["epochs"] == 2


def test_another_model_cannot_be_resumed(pose_run: Run, tmp_path: Path) -> None:
    work_dir = tmp_path / "run"
    shutil.copytree(pose_run.work_dir, work_dir)
    options = ("model.head.gau_cfg.s=64",)
    request = TrainRequest(stage="pose", work_dir=work_dir, resume=True, epochs=3, device="cpu", cfg_options=options)
    with pytest.raises(RequestError, match=r"cannot be resumed: its model differs from (.|\n)*head.gau.*\n.*--weights"):
        train(request)


def _rates(work_dir: Path) -> dict[int, float]:
    """Return the learning rate of each iteration of a run; of repeated iterations the later one."""
    rates = {}
    for path in sorted(work_dir.glob("*/vis_data/scalars.json"), key=lambda path: path.stat().st_mtime):
        for entry in map(json.loads, path.read_text().splitlines()):
            if "lr" in entry:
                rates[entry["iter"]] = entry["lr"]
    return rates


def test_a_run_that_is_extended_follows_the_longer_schedule(tiny: Tiny, tmp_path: Path) -> None:
    """After the first three epochs it has the same rates as a run started with as many epochs."""
    extended, straight = tmp_path / "extended", tmp_path / "straight"
    train(_request(tiny, "pose", extended, *EXACT))
    config = Path(shutil.copy(config_of_run(extended), tmp_path))
    told = Recorder()
    resumed = TrainRequest(stage="pose", work_dir=extended, resume=True, epochs=8, device="cpu")
    assert train(resumed, told).epochs == 8
    train(TrainRequest(stage="pose", config=config, work_dir=straight, epochs=8, device="cpu"))
    first, second = _rates(extended), _rates(straight)
    each = len(second) // 8
    assert sorted(first) == sorted(second)
    done = EPOCHS * each
    assert {i: rate for i, rate in first.items() if i > done} == pytest.approx(
        {i: rate for i, rate in second.items() if i > done}, rel=1e-6
    )
    assert first[done + 1] > 2 * first[done], "the old schedule had come to its end"
    assert f"continuing at learning rate {first[done + 1]:.2e}" in told.text


def test_a_resumed_copy_leaves_the_run_alone_that_it_was_copied_from(pose_run: Run, tmp_path: Path) -> None:
    shutil.copytree(pose_run.work_dir, tmp_path / "copy")
    before = {path: path.stat().st_mtime_ns for path in pose_run.work_dir.rglob("*")}
    result = train(TrainRequest(stage="pose", work_dir=tmp_path / "copy", resume=True, epochs=3, device="cpu"))
    # Every evaluation ties at 0, so the last one is the best.
    assert result.best == tmp_path / "copy" / "best_coco_AP_epoch_3.pth"
    assert [path.name for path in (tmp_path / "copy").glob("best_*")] == ["best_coco_AP_epoch_3.pth"]
    assert {path: path.stat().st_mtime_ns for path in pose_run.work_dir.rglob("*")} == before
