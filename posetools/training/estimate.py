"""Time, memory and disk of a whole run, estimated from a short one.

The first iterations take longer (kernel selection, memory allocation, loader start), so the seconds per iteration are
the mean over the second half. Measured times are multiplied by the counts in the config.
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
from posetools.mm.configs import early_epochs
from posetools.mm.evaluations import is_due
from posetools.training.memory import memory_of_machine

# Above this fraction, a run may run out of memory on images that the dry run did not load.
_NEARLY_ALL = 0.9


@dataclass(slots=True)
class Timing:
    """Times of events in a short run, in seconds of one clock.

    Attributes:
        early: the same of the epoch at ``early_size`` before this one, up to its iterations; None without two sizes.
        started: the run was requested, or the epoch at ``early_size`` ended.
        train: the first training batch was requested.
        waits: per iteration, how long it waited for its batch.
        iterations: per iteration, when it ended.
        epoch: training ended.
        val: the evaluation began.
        batches: per evaluation batch, when it ended.
        scored: the metrics were computed.
        ended: checkpoints were saved.
        epoch_length: iterations of a whole epoch.
        val_length: batches of a whole evaluation.
        memory: the peak of this process and its loaders, in bytes.
        gpu_memory: the peak of what torch allocated, in bytes; None on the CPU.
        checkpoint: bytes of one.
        best: bytes of the best one, which has no optimizer; 0 when none was saved.
    """

    early: Timing | None = None
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
        """Number of iterations not counted."""
        return max(1, len(self.iterations) // 2) if len(self.iterations) > 1 else 0

    @property
    def counted(self) -> int:
        """Number of iterations counted."""
        return len(self.iterations) - self.warm_up

    @property
    def seconds_per_iteration(self) -> float:
        """The mean over the second half."""
        started = self.iterations[self.warm_up - 1] if self.warm_up else self.train
        return (self.iterations[-1] - started) / self.counted

    @property
    def waiting(self) -> float:
        """The fraction of time that the model waits for data."""
        return sum(self.waits[self.warm_up :]) / (self.counted * self.seconds_per_iteration or 1.0)

    @property
    def epoch_start(self) -> float:
        """Extra seconds for the first batch of an epoch: nothing is prefetched yet."""
        counted = self.waits[self.warm_up :]
        return max(0.0, self.waits[0] - sum(counted) / len(counted))

    @property
    def start_up(self) -> float:
        """Seconds from the start to the first batch, plus the extra time of the very first iterations."""
        extra = self.iterations[-1] - self.train - len(self.iterations) * self.seconds_per_iteration
        own = self.train - self.started + max(0.0, extra - self.epoch_start)
        return own + (self.early.start_up if self.early else 0.0)

    @property
    def seconds_per_evaluation(self) -> float:
        """For all images: the slower first batch, the other batches, and the metrics in proportion."""
        done = len(self.batches)
        first, rest = self.batches[0] - self.val, self.batches[-1] - self.batches[0]
        per_batch = rest / (done - 1) if done > 1 else first
        return first + per_batch * (self.val_length - 1) + (self.scored - self.batches[-1]) * self.val_length / done

    @property
    def evaluated(self) -> float:
        """The fraction of all images that was evaluated."""
        return len(self.batches) / self.val_length

    @property
    def seconds_per_save(self) -> float:
        """For one checkpoint.

        The first one after the epoch takes longer, because the config's text is formatted for it; after the evaluation,
        always the best so far, there were two. The shorter time is closest to a usual one.
        """
        first, best = self.val - self.epoch, self.ended - self.scored
        return max(0.0, min(first, best))


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """What is left to do.

    Attributes:
        epochs: of training.
        early: how many of them are at ``early_size``.
        evaluations: number of evaluations.
        saves: number of checkpoints saved.
        kept: number of checkpoints kept.
    """

    epochs: int
    early: int = 0
    evaluations: int
    saves: int
    kept: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StageEstimate:
    """How long one stage takes, and what it needs.

    Attributes:
        stage: which of the two models.
        config: its config.
        device: the device.
        batch_size: samples per iteration.
        work_dir: where the real run would write.
        processes: number of processes, with one GPU each where there are GPUs.
        schedule: what to do.
        measured: measurements in one process.
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
        """Divisor of the work: GPUs add up, CPU processes share the cores."""
        return self.processes if self.device != "cpu" else 1

    @property
    def epoch_length(self) -> int:
        """Iterations per epoch."""
        return -(-self.measured.epoch_length // self.shares)

    @property
    def iterations(self) -> int:
        """Total iterations."""
        return self.schedule.epochs * self.epoch_length

    @property
    def training_seconds(self) -> float:
        """Seconds for all iterations."""
        full, early = self.measured, self.measured.early or self.measured
        at_full = self.schedule.epochs - self.schedule.early
        return self.epoch_length * (
            at_full * full.seconds_per_iteration + self.schedule.early * early.seconds_per_iteration
        )

    @property
    def evaluation_seconds(self) -> float:
        """Seconds for all evaluations."""
        return self.schedule.evaluations * self.measured.seconds_per_evaluation / self.shares

    @property
    def memory(self) -> int:
        """Bytes, for all processes."""
        return self.processes * self.measured.memory

    @property
    def seconds(self) -> float:
        """Seconds for the whole run."""
        seen = self.measured
        starting = seen.start_up + self.schedule.epochs * seen.epoch_start
        saving = self.schedule.saves * seen.seconds_per_save
        return starting + self.training_seconds + self.evaluation_seconds + saving

    @property
    def disk(self) -> int:
        """Bytes at the peak, when a new checkpoint is written and the old one not yet removed."""
        return (self.schedule.kept + 1) * self.measured.checkpoint + self.measured.best


@dataclass(frozen=True, kw_only=True, slots=True)
class DryRun:
    """Estimate of the run.

    Attributes:
        models: name of a model -> its estimate; the detector is the first.
        memory: of this machine, in bytes.
        gpu_memory: of the GPU, in bytes; None on the CPU.
        disk: free bytes at the work folder.
    """

    models: Mapping[str, StageEstimate]
    memory: int
    gpu_memory: int | None
    disk: int

    @property
    def joint_seconds(self) -> float:
        """Seconds for the joint evaluation, 0 for one model: boxes once, poses on labeled and detected boxes."""
        if len(self.models) == 1:
            return 0.0
        return sum((1 + (one.stage == "pose")) * one.measured.seconds_per_evaluation for one in self.models.values())

    @property
    def seconds(self) -> float:
        """Seconds in total, one stage after the other."""
        return sum(one.seconds for one in self.models.values()) + self.joint_seconds

    @property
    def disk_needed(self) -> int:
        """Bytes for all checkpoints."""
        return sum(one.disk for one in self.models.values())

    def remarks(self) -> Iterator[str]:
        """Yield warnings: what is short, what slows the run down."""
        for model, one in self.models.items():
            seen = one.measured
            if one.processes > 1:
                how = f"divided by {one.shares}" if one.shares > 1 else "not divided, as they share the cores"
                yield (
                    f"{model}: {one.processes} processes: measured in one and {how}; time spent waiting for each "
                    "other is not included"
                )
            if one.memory > _NEARLY_ALL * self.memory:
                yield (
                    f"{model}: memory is short: {size_text(one.memory)} of {size_text(self.memory)}; "
                    "use a smaller batch or fewer loader processes"
                )
            if self.gpu_memory and seen.gpu_memory and seen.gpu_memory > _NEARLY_ALL * self.gpu_memory:
                yield (
                    f"{model}: GPU memory is short: {size_text(seen.gpu_memory)} of {size_text(self.gpu_memory)}; "
                    "use a smaller batch or --amp"
                )
            if seen.counted > 1 and seen.waiting > 0.25:
                yield (
                    f"{model}: the model waits for data {seen.waiting:.0%} of the time: use more loader processes "
                    "(num_workers) or smaller images"
                )
        if self.disk_needed > self.disk:
            yield (
                f"disk: {size_text(self.disk_needed)} needed, {size_text(self.disk)} free: keep fewer "
                "checkpoints, or choose another --work-dir"
            )


def summary(models: Mapping[str, StageEstimate]) -> DryRun:
    """Return the estimates of the models with the machine's memory and disk."""
    first = next(iter(models.values()))
    there, device = existing_folder(first.work_dir / "checkpoint"), first.device
    gpu = None
    if device.startswith("cuda"):
        import torch

        gpu = int(torch.cuda.get_device_properties(device).total_memory)
    return DryRun(models=models, memory=memory_of_machine(), gpu_memory=gpu, disk=shutil.disk_usage(there).free)


def schedule_of(config: Any, start: int = 0) -> Schedule:
    """Return what is left after ``start`` epochs, counted as mmengine's loop and CheckpointHook do.

    Raises:
        RequestError: the config does not count in epochs.
    """
    loop = config.train_cfg
    last = loop.get("max_epochs")
    hook: Mapping[str, Any] = config.default_hooks.get("checkpoint") or {}
    if not last or not hook.get("by_epoch", True):
        raise RequestError(
            f"{config.filename}: train_cfg.max_epochs and checkpoints by epoch must be set for --dry-run, which "
            "multiplies the time of an epoch"
        )
    epochs = range(start + 1, last + 1)
    evaluated = [epoch for epoch in epochs if is_due(loop, epoch)]
    every, most = hook.get("interval", -1), hook.get("max_keep_ckpts", -1)
    saves_last = hook.get("save_last", True)
    saved = [epoch for epoch in epochs if (every > 0 and epoch % every == 0) or (epoch == last and saves_last)]
    kept = min(len(saved), most) if most > 0 else len(saved)
    early = len(range(start, min(early_epochs(config)[0], last)))
    return Schedule(epochs=len(epochs), early=early, evaluations=len(evaluated), saves=len(saved), kept=kept)


def size_text(number: int) -> str:
    """Return a number of bytes as ``1.5 GB`` or ``35 MB``."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
