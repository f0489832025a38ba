"""A run cut short: a few iterations, one evaluation of a few pictures, one checkpoint; and how long each of them took.

A hook cuts the loaders of a run that is otherwise the real one: its loaders, processes, model, optimiser, hooks and
metrics. The first iterations take longer (kernels are chosen, memory is taken, loaders start), so that the seconds per
iteration are the mean over the second half of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from posetools.mm.stack import RunHook

# With fewer iterations or batches there is nothing without warm-up.
_LEAST = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a run is run: fast iterations are repeated until the figures are steady.

    Attributes:
        fewest: iterations at least, as far as an epoch has them.
        most: iterations at most.
        batches: of the evaluation at most; two at least, unless this is one.
        seconds: with the fewest done, no iteration and no batch is begun later than this.
    """

    fewest: int = _LEAST
    most: int = 20
    batches: int = 20
    seconds: float = 10.0

    def train(self, done: int, begun: float) -> bool:
        """Return whether there is another iteration."""
        return self._goes_on(done, begun, self.fewest, self.most)

    def evaluate(self, done: int, begun: float) -> bool:
        """Return whether there is another batch of the evaluation."""
        return self._goes_on(done, begun, min(_LEAST, self.batches), self.batches)

    def _goes_on(self, done: int, begun: float, fewest: int, most: int) -> bool:
        return done < fewest or (done < most and time.monotonic() - begun < self.seconds)


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
        best: bytes of the best one, which has no optimiser; 0 when none was saved.
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
        """Of all pictures: the first batch, which takes longer, then the others', and the metrics in proportion."""
        done = len(self.batches)
        first, rest = self.batches[0] - self.val, self.batches[-1] - self.batches[0]
        per_batch = rest / (done - 1) if done > 1 else first
        return first + per_batch * (self.val_length - 1) + (self.scored - self.batches[-1]) * self.val_length / done

    @property
    def evaluated(self) -> float:
        """The share of all pictures that was evaluated."""
        return len(self.batches) / self.val_length

    @property
    def seconds_per_save(self) -> float:
        """Of one checkpoint.

        The first one after the epoch takes longer, because the text of the config is laid out for it; after the
        evaluation, which is always the best so far, there were two. The shorter of both is nearest to a usual one.
        """
        first, best = self.val - self.epoch, self.ended - self.scored
        return max(0.0, min(first, best))


class _Cut:
    """A loader of which only the first batches are given; in everything else it is the loader."""

    def __init__(self, loader: Any, goes_on: Callable[[int], bool]) -> None:
        self._loader, self._goes_on = loader, goes_on

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self._loader)
        done = 0
        while self._goes_on(done):
            try:
                yield next(batches)
            except StopIteration:
                return
            done += 1


class ShortRunHook(RunHook):
    """Cuts a run short, and notes when what happened."""

    # Before all others, so that their work counts to what comes next.
    priority = "VERY_HIGH"

    def __init__(self, timing: Timing, limits: Limits, device: str) -> None:
        self._timing, self._limits, self._device = timing, limits, device
        self._on_gpu = device.startswith("cuda")

    def _now(self) -> float:
        if self._on_gpu:
            import torch

            # The GPU works on while Python goes ahead.
            torch.cuda.synchronize(self._device)
        return time.monotonic()

    def before_train(self, runner: Any) -> None:
        """Cut the training."""
        loop, timing = runner.train_loop, self._timing
        timing.epoch_length = len(loop.dataloader)
        loop.dataloader = _Cut(loop.dataloader, lambda done: self._limits.train(done, timing.train))
        if self._on_gpu:
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)

    def before_train_epoch(self, runner: Any) -> None:  # noqa: ARG002
        """Note it."""
        self._timing.train = self._now()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:  # noqa: ARG002
        """Note it."""
        timing = self._timing
        timing.waits.append(time.monotonic() - (timing.iterations[-1] if timing.iterations else timing.train))

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:  # noqa: ARG002
        """Note it."""
        self._timing.iterations.append(self._now())

    def after_train_epoch(self, runner: Any) -> None:
        """End the training, after this epoch's evaluation."""
        self._timing.epoch = self._now()
        runner.train_loop.stop_training = True

    def before_val(self, runner: Any) -> None:
        """Cut the evaluation."""
        self._timing.val = begun = self._now()
        loop = runner.val_loop
        self._timing.val_length = len(loop.dataloader)
        loop.dataloader = _Cut(loop.dataloader, lambda done: self._limits.evaluate(done, begun))

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:  # noqa: ARG002
        """Note it."""
        self._timing.batches.append(self._now())

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:  # noqa: ARG002
        """Note it."""
        self._timing.scored = self._now()

    def after_run(self, runner: Any) -> None:  # noqa: ARG002
        """Note it, and the memory."""
        self._timing.ended = self._now()
        if self._on_gpu:
            import torch

            self._timing.gpu_memory = torch.cuda.max_memory_allocated(self._device)
