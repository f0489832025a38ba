"""A resumed run continues like one that was never stopped: the same random numbers, the config's schedule.

mmengine seeds a process once. Later random numbers depend on all earlier ones, in the run's process and in each loader
worker, whose state no checkpoint can store. Here the process is seeded at each epoch, and each training sample by the
run's seed, the epoch and its index. So augmentation does not depend on the order of loading, the number of workers or
the moment of a stop. (mmengine also seeds workers restarted at each epoch alike, so they would repeat their draws.)

One state is not restored: the cache of mosaic and mixup, from which MMDet takes its other images. It starts empty in a
resumed run, as in a new one.

mmengine replaces the config's schedulers by the stored ones, with the old schedule's ends and lengths: a run of 30
epochs resumed for 130 would train the other 100 at the last learning rate of the first 30.
"""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Any

from posetools.mm.stack import RunHook

# The counters in a scheduler's state; the rest is how it was built.
_COUNTED = frozenset({"last_step", "_global_step", "_last_value", "verbose"})


def seed_of(*parts: int) -> int:
    """Return a 32-bit hash of the parts."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "little")


def seed_process(seed: int) -> None:
    """Seed the CPU generators of augmentation and models."""
    import numpy as np
    import torch

    random.seed(seed)
    # MMDet's and MMPose's transforms use numpy's global generator.
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


class SeededSamples:
    """A data set's samples, each with its own seed; a DataLoader calls it as ``dataset.__getitems__``."""

    def __init__(self, dataset: Any, seed: int) -> None:
        import torch

        self._dataset = dataset
        self._seed = seed
        # In shared memory, so that persistent workers see the next epoch's number.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def start(self, epoch: int) -> None:
        """Set the epoch, before its first sample is loaded."""
        self._epoch[0] = epoch

    def __call__(self, indices: Sequence[int]) -> list[Any]:
        """Return the samples of a batch."""
        epoch = int(self._epoch[0])
        samples = []
        for index in indices:
            seed_process(seed_of(self._seed, epoch, index))
            samples.append(self._dataset[index])
        return samples


class SeedHook(RunHook):
    """Seeds each epoch and each sample of a run that counts in epochs."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self._samples: SeededSamples | None = None

    def before_train(self, runner: Any) -> None:
        """Seed the samples."""
        from mmengine.runner import EpochBasedTrainLoop

        dataset = runner.train_dataloader.dataset
        # A loop over iterations has no epochs to seed by.
        if isinstance(runner.train_loop, EpochBasedTrainLoop) and not hasattr(dataset, "__getitems__"):
            self._samples = SeededSamples(dataset, runner.seed)
            dataset.__getitems__ = self._samples

    def before_train_epoch(self, runner: Any) -> None:
        """Seed the process, and all GPUs."""
        import torch
        from mmengine.dist import get_rank

        if self._samples is not None:
            self._samples.start(runner.epoch)
            seed = seed_of(runner.seed, runner.epoch, -1 - get_rank())
            seed_process(seed)
            torch.manual_seed(seed)


class ScheduleHook(RunHook):
    """Makes a resumed run follow the config's schedule, and says so if the stored one differs."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def before_train(self, runner: Any) -> None:
        """Compare both schedules."""
        if follow_config(runner):
            rate = runner.optim_wrapper.get_lr()["lr"][0]
            self._say(f"the config's schedule differs from the checkpoint's: continuing at learning rate {rate:.2e}")


def follow_config(runner: Any) -> bool:
    """Replace a different stored schedule by the config's, advanced to the same step; return whether it differed."""
    stored = runner.param_schedulers
    # With several optimizers (in no emitted config) there is a list for each: they stay as stored.
    if not isinstance(stored, list) or not stored:
        return False
    fresh, optimizer = _as_configured(runner)
    if len(fresh) == len(stored) and all(map(_same, fresh, stored)):
        return False
    _step_through(fresh, runner)
    for group, wanted in zip(runner.optim_wrapper.param_groups, optimizer.param_groups, strict=True):
        for name in {scheduler.param_name for scheduler in fresh}:
            group[name], group[f"initial_{name}"] = wanted[name], wanted[f"initial_{name}"]
    for scheduler in fresh:
        scheduler.optimizer = runner.optim_wrapper
    runner.param_schedulers = fresh
    return True


def _as_configured(runner: Any) -> tuple[list[Any], Any]:
    """Return the config's schedulers at their start, and their optimizer for the run's weights."""
    resumed = runner.optim_wrapper, runner.param_schedulers
    # mmengine scales the rate for the number of processes only without a schedule.
    runner.param_schedulers = None
    runner.optim_wrapper = runner.build_optim_wrapper(copy.deepcopy(runner.cfg.optim_wrapper))
    try:
        runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
        schedulers = runner.build_param_scheduler(copy.deepcopy(runner.cfg.param_scheduler))
        return schedulers, runner.optim_wrapper
    finally:
        runner.optim_wrapper, runner.param_schedulers = resumed


def _step_through(schedulers: list[Any], runner: Any) -> None:
    """Advance schedulers to the run's current step."""
    from mmengine.runner import EpochBasedTrainLoop

    by_epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
    # The number of iterations per epoch changes with the batch size and the number of processes.
    each = len(runner.train_dataloader) if by_epochs else runner.iter
    for scheduler in schedulers:
        # mmengine warns of a scheduler that steps before its optimizer does.
        scheduler.optimizer._global_step = 0
    for _ in range(runner.epoch if by_epochs else 1):
        for _ in range(each):
            _step(schedulers, by_epoch=False)
        _step(schedulers, by_epoch=True)


def _step(schedulers: list[Any], *, by_epoch: bool) -> None:
    for scheduler in schedulers:
        if scheduler.by_epoch == by_epoch:
            scheduler.step()


def _same(fresh: Any, stored: Any) -> bool:
    one, other = ({k: v for k, v in each.state_dict().items() if k not in _COUNTED} for each in (fresh, stored))
    return type(fresh) is type(stored) and one == other
