"""``posetools train --dry-run``: is the run possible, how long will it take, and how much memory and disk.

Everything is as in the real run (the checks, the loaders and their processes, the model, the hooks, the metrics), but
in a temporary folder that is removed, with few iterations (see dry_run_hook), with an evaluation of few pictures, and
with no tracker but a local one. What was measured is multiplied by what the config says there will be.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from posetools.errors import RequestError, RunError, StoppedError
from posetools.mm.configs import Stage
from posetools.mm.evaluations import is_due
from posetools.mm.stack import prepare, require_train
from posetools.training.dry_run_hook import Limits, ShortRunHook, Timing
from posetools.training.hooks import SilentListener, TrainListener
from posetools.training.memory import MemoryWatch, memory_of_machine
from posetools.training.request import TrainRequest, check_training
from posetools.training.saving import BEST
from posetools.training.trackers import name_visualizer
from posetools.training.train import execute, plan_run

USUAL = Limits()

_HINTS = {StoppedError: "  it was a dry run: nothing was kept", RunError: "  POSETOOLS_DEBUG=1 shows where"}

# Above this share of what there is, a run that needs memory for other pictures than those of the dry run may fail.
_NEARLY_ALL = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """What is still to be done.

    Attributes:
        epochs: of training.
        evaluations: after how many of them is evaluated.
        saves: after how many of them a checkpoint is saved.
        kept: how many of these checkpoints are kept.
    """

    epochs: int
    evaluations: int
    saves: int
    kept: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StageEstimate:
    """How long one stage takes, and what it needs.

    Attributes:
        stage: which of the two models.
        config: its config.
        device: what it runs on.
        batch_size: samples an iteration.
        work_dir: where the real run would write.
        processes: how many there are to be, with a GPU each where there are GPUs.
        schedule: what is to be done.
        measured: what was seen, in one process.
    """

    stage: Stage
    config: str
    device: str
    batch_size: int
    work_dir: Path
    processes: int = 1
    schedule: Schedule
    measured: Timing

    @property
    def shares(self) -> int:
        """By how much the work is divided: GPUs add up, processes on the CPU share its cores."""
        return self.processes if self.device != "cpu" else 1

    @property
    def epoch_length(self) -> int:
        """Iterations of an epoch."""
        return -(-self.measured.epoch_length // self.shares)

    @property
    def iterations(self) -> int:
        """How many there will be."""
        return self.schedule.epochs * self.epoch_length

    @property
    def training_seconds(self) -> float:
        """Of all iterations."""
        return self.iterations * self.measured.seconds_per_iteration

    @property
    def evaluation_seconds(self) -> float:
        """Of all evaluations."""
        return self.schedule.evaluations * self.measured.seconds_per_evaluation / self.shares

    @property
    def memory(self) -> int:
        """Bytes, of all processes."""
        return self.processes * self.measured.memory

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        seen = self.measured
        starting = seen.start_up + self.schedule.epochs * seen.epoch_start
        saving = self.schedule.saves * seen.seconds_per_save
        return starting + self.training_seconds + self.evaluation_seconds + saving

    @property
    def disk(self) -> int:
        """Bytes, at the moment at which a new checkpoint is there and an old one not yet removed."""
        return (self.schedule.kept + 1) * self.measured.checkpoint + self.measured.best


@dataclass(frozen=True, kw_only=True, slots=True)
class DryRun:
    """What the run would take.

    Attributes:
        stages: one per model.
        memory: of this machine, in bytes.
        gpu_memory: of the GPU, in bytes; None on the CPU.
        disk: bytes that are free where the work folder is to be.
    """

    stages: tuple[StageEstimate, ...]
    memory: int
    gpu_memory: int | None
    disk: int

    @property
    def joint_seconds(self) -> float:
        """Of the evaluation of both models at the end, 0 for one: boxes once, poses on labelled and detected boxes."""
        if len(self.stages) == 1:
            return 0.0
        each = {one.stage: one.measured.seconds_per_evaluation for one in self.stages}
        return each["det"] + 2 * each["pose"]

    @property
    def seconds(self) -> float:
        """Of everything, one stage after the other."""
        return sum(one.seconds for one in self.stages) + self.joint_seconds

    @property
    def disk_needed(self) -> int:
        """Bytes of all checkpoints."""
        return sum(one.disk for one in self.stages)

    def remarks(self) -> Iterator[str]:
        """Give what the figures mean for the run: what is short, what holds it up."""
        for one in self.stages:
            seen = one.measured
            if one.processes > 1:
                how = "divided by that" if one.shares > 1 else "not divided, for they share the cores"
                yield (
                    f"{one.stage}: {one.processes} processes: measured in one and {how}; what they wait for each other "
                    "is not in it"
                )
            if one.memory > _NEARLY_ALL * self.memory:
                yield (
                    f"{one.stage}: memory is short: {size_text(one.memory)} of {size_text(self.memory)}; "
                    "a smaller batch or fewer loader processes need less"
                )
            if self.gpu_memory and seen.gpu_memory and seen.gpu_memory > _NEARLY_ALL * self.gpu_memory:
                yield (
                    f"{one.stage}: GPU memory is short: {size_text(seen.gpu_memory)} of {size_text(self.gpu_memory)}; "
                    "a smaller batch, or --amp, needs less"
                )
            if seen.counted > 1 and seen.waiting > 0.25:
                yield (
                    f"{one.stage}: {seen.waiting:.0%} of the time the model waits for data: more loader processes "
                    "(num_workers), or smaller pictures, would make it faster"
                )
        if self.disk_needed > self.disk:
            yield (
                f"disk: {size_text(self.disk_needed)} are needed, {size_text(self.disk)} are free: keep fewer "
                "checkpoints, or choose another --work-dir"
            )


def dry_run(request: TrainRequest, listener: TrainListener | None = None, limits: Limits = USUAL) -> StageEstimate:
    """Run a little of one stage, and return what the whole would take. Nothing is left.

    Args:
        request: what to train; its work folder is looked at, not written to.
        listener: told where the short run is.
        limits: how much is run.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: the real run would be refused, for the same reasons; the config does not count in epochs; nothing
            is left to train; or this is one of several processes.
        InputError: the config or a checkpoint cannot be read.
        RunError: the run ended with an error of OpenMMLab or torch.
        StoppedError: the user stopped it.
    """
    require_train("posetools train")
    if request.launcher != "none":
        raise RequestError(
            f"--dry-run runs in one process, not under --launcher {request.launcher}\n"
            "  --gpus N or --processes N with it says how many there are to be"
        )
    check_training(request)
    prepare("posetools train")
    told = listener or SilentListener()
    timing = Timing()
    with _temporary() as folder:
        planned = plan_run(_without_emitting(request, folder, told), told)
        if planned.skeleton is None:
            raise RequestError(f"{planned.left}\n  --epochs N with a larger N goes on")
        told.say(f"trying {request.stage} on {planned.device}: a few iterations, an evaluation, a checkpoint")
        schedule = schedule_of(planned.config, planned.start)
        if planned.cache:
            told.say("without --cache, which would have to be built first: the real run loads faster")
        short = replace(
            planned,
            config=_shortened(planned.config, folder / "run"),
            work_dir=folder / "run",
            processes=1,
            cache=None,
        )
        hook = ShortRunHook(timing, limits, planned.device)
        # What an earlier run left in this process, loader processes among it, is not this one's.
        gc.collect()
        with MemoryWatch() as watch:
            execute(short, SilentListener(), hooks=(hook,))
        timing.memory = watch.peak
        for path in short.work_dir.glob("*.pth"):
            size = path.stat().st_size
            if path.name.startswith(BEST):
                timing.best = max(timing.best, size)
            else:
                timing.checkpoint = max(timing.checkpoint, size)
    return StageEstimate(
        stage=request.stage,
        config=Path(planned.config.filename).name,
        device=planned.device,
        batch_size=planned.config.train_dataloader["batch_size"],
        work_dir=planned.work_dir,
        processes=planned.processes,
        schedule=schedule,
        measured=timing,
    )


def summary(stages: tuple[StageEstimate, ...]) -> DryRun:
    """Return the estimates of the stages with what the machine has."""
    place = stages[0].work_dir.absolute()
    there = next(folder for folder in (place, *place.parents) if folder.is_dir())
    device = stages[0].device
    gpu = None
    if device.startswith("cuda"):
        import torch

        gpu = int(torch.cuda.get_device_properties(device).total_memory)
    return DryRun(stages=stages, memory=memory_of_machine(), gpu_memory=gpu, disk=shutil.disk_usage(there).free)


def schedule_of(config: Any, start: int = 0) -> Schedule:
    """Return what is still to be done after ``start`` epochs, as mmengine's loop and its CheckpointHook count it.

    Raises:
        RequestError: the config does not count in epochs.
    """
    loop = config.train_cfg
    last = loop.get("max_epochs")
    hook: Mapping[str, Any] = config.default_hooks.get("checkpoint") or {}
    if not last or not hook.get("by_epoch", True):
        raise RequestError(
            f"{config.filename}: train_cfg.max_epochs and checkpoints by epoch must be there for --dry-run, which "
            "multiplies what an epoch takes"
        )
    epochs = range(start + 1, last + 1)
    evaluated = [epoch for epoch in epochs if is_due(loop, epoch)]
    every, most = hook.get("interval", -1), hook.get("max_keep_ckpts", -1)
    saves_last = hook.get("save_last", True)
    saved = [epoch for epoch in epochs if (every > 0 and epoch % every == 0) or (epoch == last and saves_last)]
    kept = min(len(saved), most) if most > 0 else len(saved)
    return Schedule(epochs=len(epochs), evaluations=len(evaluated), saves=len(saved), kept=kept)


def size_text(number: int) -> str:
    """Return a number of bytes as ``1.5 GB`` or ``35 MB``."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


@contextmanager
def _temporary() -> Iterator[Path]:
    """Give a folder that is removed, also from what an error says."""
    with TemporaryDirectory(prefix="posetools-dry-run-", ignore_cleanup_errors=True) as name:
        try:
            yield Path(name)
        except RunError as exc:
            sentence, *hints = str(exc).splitlines()
            # A log or a checkpoint that lies in it is no help, for it goes.
            helpful = [line for line in hints if name not in line]
            kind = StoppedError if isinstance(exc, StoppedError) else RunError
            raise kind("\n".join([sentence, *(helpful or [_HINTS[kind]])])) from exc


def _without_emitting(request: TrainRequest, folder: Path, told: TrainListener) -> TrainRequest:
    """Return the request with another place for configs, where the run would have to emit the default pair."""
    if request.config is not None or request.data is None or request.found_config() is not None:
        return request
    told.say(f"no config for {request.data} in {request.configs}: the default pair is tried, and not kept")
    return replace(request, configs=folder / "configs")


def _shortened(config: Any, work_dir: Path) -> Any:
    """Return a copy of a config that evaluates and saves after its first epoch, and writes only into ``work_dir``."""
    short = config.copy()
    short.work_dir, short.launcher = str(work_dir), "none"
    short.train_cfg = {**config.train_cfg, "val_begin": 1, "val_interval": 1, "dynamic_intervals": None}
    short.default_hooks["checkpoint"] = {**(config.default_hooks.get("checkpoint") or {}), "interval": 1}
    if short.get("visualizer"):
        # A dry run is nothing that a tracker should hear of.
        short.visualizer["vis_backends"] = [{"type": "LocalVisBackend"}]
        name_visualizer(short, work_dir)
    return short
