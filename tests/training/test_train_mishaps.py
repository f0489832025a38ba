"""Failures of real runs: a full disk, a killed worker, a broken image, a loss that is NaN."""

from __future__ import annotations

import math
import os
import re
import shlex
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from posetools.core.folder import IMAGES
from posetools.core.stages import Stage
from posetools.errors import RunError
from posetools.mm.run_folder import resumable
from posetools.training.hooks import TrainStatus
from posetools.training.mishaps import first_not_finite
from posetools.training.request import TrainRequest
from posetools.training.train import train
from tests.cli.run import run
from tests.tiny_runs import Recorder, Tiny, make_tiny

resource = pytest.importorskip("resource", reason="limits of a process are for Linux and macOS")

pytestmark = pytest.mark.train

EPOCHS = 3
NO_WORKERS = ("train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False")
WORKERS = ("train_dataloader.num_workers=1", "train_dataloader.persistent_workers=True")


class Trouble(Recorder):
    """Does something once, in the second epoch of training or after it."""

    def __init__(self, work: Callable[[], None], phase: str) -> None:
        super().__init__()
        self._work: Callable[[], None] | None = work
        self._phase = phase

    def update(self, status: TrainStatus) -> None:
        super().update(status)
        if self._work and status.epoch == 2 and status.phase == self._phase:
            self._work()
            self._work = None


def _fail(request: TrainRequest, told: Recorder) -> list[str]:
    """Train, and return the lines of the error."""
    with pytest.raises(RunError) as caught:
        train(request, told)
    assert caught.value.exit_status == 1
    return str(caught.value).splitlines()


def _goes_on(stage: Stage, work_dir: Path, *options: str) -> None:
    result = train(TrainRequest(stage=stage, work_dir=work_dir, resume=True, device="cpu", cfg_options=options))
    assert result.epochs == EPOCHS


def _resume_line(stage: Stage, work_dir: Path) -> str:
    return f"       posetools train --stage {stage} --work-dir {work_dir} --resume continues from there"


@pytest.fixture
def limit() -> Iterator[Callable[[], None]]:
    """Return a function that limits files of this process to a megabyte, until the test ends."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_for_a_checkpoint_leaves_the_one_before(tiny: Tiny, tmp_path: Path, limit: Callable[[], None]) -> None:
    work_dir = tmp_path / "run"
    request = TrainRequest(stage="pose", config=tiny.pose, work_dir=work_dir, epochs=EPOCHS, device="cpu")
    first, *rest = _fail(request, Trouble(limit, "train"))
    assert first == f"{work_dir / 'epoch_2.pth'}: cannot be written in epoch 2 of 3: File too large"
    kept = work_dir / "epoch_1.pth"
    assert rest == [
        f"  {kept} is kept",
        "  fix: raise the file size limit, which was reached (`ulimit -f`, or the limit of the file system)",
        _resume_line("pose", work_dir),
    ]
    assert not (work_dir / "epoch_2.pth").exists()
    assert not list(work_dir.glob(".*.tmp"))
    assert len(list(work_dir.glob("best_*.pth"))) == 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    _goes_on("pose", work_dir)


def _kill_worker() -> None:
    from multiprocessing import active_children

    worker = next(child for child in active_children() if child.pid is not None)
    os.kill(worker.pid or 0, signal.SIGKILL)


def test_a_killed_worker_is_named_and_nothing_is_lost(tiny: Tiny, tmp_path: Path) -> None:
    work_dir = tmp_path / "run"
    request = TrainRequest(
        stage="pose", config=tiny.pose, work_dir=work_dir, epochs=EPOCHS, device="cpu", cfg_options=WORKERS
    )
    first, *rest = _fail(request, Trouble(_kill_worker, "scored"))
    # torch reports either the signal or the missing worker, whichever it notices first.
    how = r"(was killed \(signal Killed\)|ended unexpectedly)"
    ending = "(after epoch 2|in epoch 3) of 3: most likely the machine ran out of memory"
    assert re.fullmatch(rf"a data loader worker {how} {ending}", first)
    assert rest == [
        f"  {work_dir / 'epoch_2.pth'} is kept",
        f"  fix: use fewer workers: --cfg-options {' '.join(NO_WORKERS)}",
        _resume_line("pose", work_dir),
    ]
    _goes_on("pose", work_dir, *NO_WORKERS)


@pytest.mark.parametrize(("stage", "options"), [("det", ()), ("pose", WORKERS)])
def test_an_image_that_breaks_in_the_third_epoch_is_named(
    tmp_path: Path, stage: Stage, options: tuple[str, ...]
) -> None:
    tiny, work_dir = make_tiny(tmp_path), tmp_path / "run"
    image = tiny.data / IMAGES / "1.png"
    whole = image.read_bytes()
    request = TrainRequest(
        stage=stage, config=tiny.config(stage), work_dir=work_dir, epochs=EPOCHS, device="cpu", cfg_options=options
    )
    first, *rest = _fail(request, Trouble(lambda: _cut(image), "scored"))
    assert first == (f"{image}: cannot be decoded (it is damaged or incomplete), detected in epoch 3 of 3")
    assert (rest[0], rest[2]) == (f"  {work_dir / 'epoch_2.pth'} is kept", _resume_line(stage, work_dir))
    image.write_bytes(whole)
    _goes_on(stage, work_dir)


def _cut(image: Path) -> None:
    image.write_bytes(image.read_bytes()[:-40])


def test_an_image_that_is_gone_is_named(tmp_path: Path) -> None:
    tiny, work_dir = make_tiny(tmp_path), tmp_path / "run"
    image = tiny.data / IMAGES / "2.png"
    request = TrainRequest(stage="pose", config=tiny.pose, work_dir=work_dir, epochs=EPOCHS, device="cpu")
    first, *_ = _fail(request, Trouble(image.unlink, "scored"))
    assert first == f"{image}: no longer exists, detected in epoch 3 of 3"


@pytest.mark.parametrize("stage", ["pose", "det"])
def test_a_loss_that_is_no_number_ends_the_run_before_it_is_saved(tiny: Tiny, tmp_path: Path, stage: Stage) -> None:
    from posetools.mm.checkpoint import load_checkpoint

    work_dir = tmp_path / "run"
    # A step that is far too large, in the second epoch.
    scheduler = "[dict(type='MultiStepLR',by_epoch=True,milestones=[1],gamma=1e30)]"
    options = (f"param_scheduler={scheduler}", "optim_wrapper.clip_grad=None")
    config = tmp_path / "steep.py"
    config.write_text(f"_base_ = [{str(tiny.config(stage))!r}]\n{options[0]}\noptim_wrapper = dict(clip_grad=None)\n")
    told = Recorder()
    first, *rest = _fail(TrainRequest(stage=stage, config=config, work_dir=work_dir, epochs=2, device="cpu"), told)
    assert "in epoch 2 of 2" in first
    assert first.startswith(("the loss became ", "the weights became NaN or infinite"))
    kept = work_dir / "epoch_1.pth"
    lower, again = "--cfg-options optim_wrapper.optimizer.lr=", tmp_path / "run-again"
    assert rest[0] == f"  {kept} is kept"
    assert rest[1].startswith("  fix: try a lower learning rate (it was ")
    command, rate = rest[2].rsplit(lower, 1)
    named = f"--config {work_dir / config.name} --work-dir {again} --weights {kept}"
    assert command == f"       posetools train --stage {stage} {named} " and 0 < float(rate) < 0.01
    assert rest[3:] == [f"       check the labels: posetools validate {tiny.data}"]
    assert sorted(path.name for path in work_dir.glob("epoch_*.pth")) == ["epoch_1.pth"]
    for path in (resumable(work_dir, told.say).path, *work_dir.glob("best_*.pth")):
        assert first_not_finite(load_checkpoint(path)["state_dict"]) is None
    # The suggested command works: it starts a new run with the lower rate.
    done = run(*shlex.split(rest[2])[1:], "param_scheduler=[]", "--epochs", "1", "--device", "cpu")
    assert done.status == 0, done.err
    assert f"lr = {rate}" in (again / config.name).read_text() or f"lr={rate}" in (again / config.name).read_text()


@pytest.mark.parametrize("data", ["labels", "rate"])
def test_a_loss_that_is_no_number_in_the_first_epoch(tiny: Tiny, tmp_path: Path, data: str) -> None:
    config = tmp_path / "first.py"
    lines = [f"_base_ = [{str(tiny.pose)!r}]", "param_scheduler = []"]
    if data == "rate":
        lines.append("optim_wrapper = dict(clip_grad=None, optimizer=dict(lr=1e30))")
    else:
        lines.append("model = dict(head=dict(loss=dict(beta=float('nan'))))")
    config.write_text("\n".join(lines))
    work_dir = tmp_path / "run"
    first, *rest = _fail(TrainRequest(stage="pose", config=config, work_dir=work_dir, device="cpu"), Recorder())
    assert "in epoch 1 of 2" in first
    assert rest[0] == "  there is no checkpoint yet"
    assert rest[-1] == f"       check the labels: posetools validate {tiny.data}"
    if data == "rate":
        assert rest[1:-1] == [
            "  fix: try a lower learning rate (it was 1e+30):",
            "       the same command with --cfg-options optim_wrapper.optimizer.lr=1e+29",
        ]
    else:
        assert first.endswith("at iteration 1")
        assert rest[1:-1] == ["  fix: check the labels and the initial weights: this was the first iteration"]


def test_the_first_tensor_that_is_not_finite_is_found() -> None:
    import torch

    whole = {"a": torch.zeros(2), "count": torch.tensor(3)}
    assert first_not_finite(whole) is None
    assert first_not_finite({**whole, "b": torch.tensor([0.0, math.inf]), "c": torch.tensor(math.nan)}) == "b"


class Counter(Recorder):
    """Counts the checkpoints of epochs when training starts."""

    def __init__(self, work_dir: Path) -> None:
        super().__init__()
        self._work_dir = work_dir
        self.kept: list[int] = []

    def update(self, status: TrainStatus) -> None:
        super().update(status)
        self.kept.append(len(list(self._work_dir.glob("epoch_*.pth"))))


def test_keeping_fewer_makes_room_before_the_next_checkpoint_is_written(tiny: Tiny, tmp_path: Path) -> None:
    work_dir = tmp_path / "run"
    train(TrainRequest(stage="pose", config=tiny.pose, work_dir=work_dir, epochs=3, keep=5, device="cpu"))
    assert len(list(work_dir.glob("epoch_*.pth"))) == 3
    told = Counter(work_dir)
    train(TrainRequest(stage="pose", work_dir=work_dir, epochs=4, keep=2, resume=True, device="cpu"), told)
    assert told.kept[0] == 2
    assert sorted(path.name for path in work_dir.glob("epoch_*.pth")) == ["epoch_3.pth", "epoch_4.pth"]
