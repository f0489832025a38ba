"""What a short run has shown, and what the whole will take by it: time, memory, disk.

The first iterations take longer (kernels are chosen, memory is taken, loaders start), so that the seconds per iteration
are the mean over the second half of them. What was measured is multiplied by what the config says there will be.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posetools.core.stages import Stage
from posetools.errors import RequestError
from posetools.files.disk import existing_folder
from posetools.mm.evaluations import is_due
from posetools.training.memory import memory_of_machine

# Above this share of what there is, a run that needs memory for other images than those of the dry run may fail.
_NEARLY_ALL = 0.9


@dataclass(slots=True)
class Timing:
    """When what happened in a short run, in seconds of one clock.

    Attributes:
        started: the run was asked for.
        train: the first batch of training was asked for.
        waits: per iteration, how long its batch was waited for.
        iterations: per iteration, when it was over.
        epoch: training was over.
        val: the evaluation began.
        batches: per batch of the evaluation, when it was over.
        scored: the metrics were there.
        ended: checkpoints were saved.
        epoch_length: iterations of a whole epoch.
        val_length: batches of a whole evaluation.
        memory: the peak of this process and its loaders, in bytes.
        gpu_memory: the peak of what torch allocated, in bytes; None on the CPU.
        checkpoint: bytes of one.
        best: bytes of the best one, which has no optimizer; 0 when none was saved.
    """

    started: float = field(default_factory=time.monotonic)
    train: float = 0.0
    waits: list[float] = field(default_factory=list)
    iterations: list[float] = field(default_factory=list)
    epoch: float = 0.0
    val: float = 0.0
    batches: list[float] = field(default_factory=list)
    scored: float = 0.0
    ended: float = 0.0
    epoch_length: int = 0
    val_length: int = 0
    memory: int = 0
    gpu_memory: int | None = None
    checkpoint: int = 0
    best: int = 0

    @property
    def warm_up(self) -> int:
        """How many of the iterations are not counted."""
        return max(1, len(self.iterations) // 2) if len(self.iterations) > 1 else 0

    @property
    def counted(self) -> int:
        """How many of the iterations are counted."""
        return len(self.iterations) - self.warm_up

    @property
    def seconds_per_iteration(self) -> float:
        """The mean over the second half."""
        begun = self.iterations[self.warm_up - 1] if self.warm_up else self.train
        return (self.iterations[-1] - begun) / self.counted

    @property
    def waiting(self) -> float:
        """The share of that in which the model waits for data."""
        return sum(self.waits[self.warm_up :]) / (self.counted * self.seconds_per_iteration or 1.0)

    @property
    def epoch_start(self) -> float:
        """Seconds that the first batch of an epoch takes longer: nothing has been loaded ahead when it is asked for."""
        counted = self.waits[self.warm_up :]
        return max(0.0, self.waits[0] - sum(counted) / len(counted))

    @property
    def start_up(self) -> float:
        """Seconds from the start to the first batch, and what the first iterations of all took longer."""
        extra = self.iterations[-1] - self.train - len(self.iterations) * self.seconds_per_iteration
        return self.train - self.started + max(0.0, extra - self.epoch_start)

    @property
    def seconds_per_evaluation(self) -> float:
        """Of all images: the first batch, which takes longer, then the others', and the metrics in proportion."""
        done = len(self.batches)
        first, rest = self.batches[0] - self.val, self.batches[-1] - self.batches[0]
        per_batch = rest / (done - 1) if done > 1 else first
        return first + per_batch * (self.val_length - 1) + (self.scored - self.batches[-1]) * self.val_length / done

    @property
    def evaluated(self) -> float:
        """The share of all images that was evaluated."""
        return len(self.batches) / self.val_length

    @property
    def seconds_per_save(self) -> float:
        """Of one checkpoint.

        The first one after the epoch takes longer, because the text of the config is laid out for it; after the
        evaluation, which is always the best so far, there were two. The shorter of both is nearest to a usual one.
        """
        first, best = self.val - self.epoch, self.ended - self.scored
        return max(0.0, min(first, best))


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
        """Of the evaluation of both models at the end, 0 for one: boxes once, poses on labeled and detected boxes."""
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
                    "(num_workers), or smaller images, would make it faster"
                )
        if self.disk_needed > self.disk:
            yield (
                f"disk: {size_text(self.disk_needed)} are needed, {size_text(self.disk)} are free: keep fewer "
                "checkpoints, or choose another --work-dir"
            )


def summary(stages: tuple[StageEstimate, ...]) -> DryRun:
    """Return the estimates of the stages with what the machine has."""
    there = existing_folder(stages[0].work_dir / "checkpoint")
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
