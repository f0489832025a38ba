"""A run that is resumed goes on as one that was never stopped: the same random numbers, the schedule of its config.

mmengine seeds a process once. What it draws later depends on all that was drawn before: in the run's own process, and
in each worker that loads data, whose state no checkpoint can hold. Here the process is seeded anew with each epoch, and
each sample of the training data with the run's seed, the epoch and its index. So the order of loading, the number of
workers and the moment of a stop make no difference to what augmentation draws. (Workers that are started anew with each
epoch also stop repeating the same draws, as mmengine seeds them all alike.)

One thing has a memory still: the cache of mosaic and mixup, from which MMDet takes its other images. It begins empty
in a resumed run, as in a new one.

mmengine puts the stored schedulers, with the ends and lengths of the old schedule, in the place of the config's: a run
of 30 epochs that is resumed for 130 would train the other 100 at the last learning rate of the first 30.
"""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Any

from posetools.mm.stack import RunHook

# What a scheduler counts while it runs; everything else in its state is what it was built with.
_COUNTED = frozenset({"last_step", "_global_step", "_last_value", "verbose"})


def seed_of(*parts: int) -> int:
    """Return 32 bits that any change of any part makes unlike the others."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "little")


def seed_process(seed: int) -> None:
    """Seed the generators that augmentation and models draw from, on the CPU."""
    import numpy as np
    import torch

    random.seed(seed)
    # MMDet's and MMPose's transforms draw from numpy's global generator.
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


class SeededSamples:
    """A data set's samples, each drawn with its own seed: what a DataLoader calls as ``dataset.__getitems__``."""

    def __init__(self, dataset: Any, seed: int) -> None:
        import torch

        self._dataset = dataset
        self._seed = seed
        # In shared memory: workers that outlive an epoch see the next one's number.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def start(self, epoch: int) -> None:
        """Set the epoch, before its first sample is asked for."""
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
        # A loop over iterations has no epochs that could tell two visits of an image apart.
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
    """Lets the schedule of a run that is resumed be the config's, and says so where that is not the stored one."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def before_train(self, runner: Any) -> None:
        """Compare both."""
        if _follow_config(runner):
            rate = runner.optim_wrapper.get_lr()["lr"][0]
            self._say(
                f"the schedule is not the one before: the learning rate goes on at {rate:.2e}, as the config says"
            )


def _follow_config(runner: Any) -> bool:
    """Put the config's schedule, as far along as the run is, in the place of another one; return whether it was."""
    stored = runner.param_schedulers
    # With several optimizers, which no config of ours has, there is a list for each: they stay as stored.
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
    """Return the config's schedulers at their start, and the optimizer, of the run's own weights, that they drive."""
    resumed = runner.optim_wrapper, runner.param_schedulers
    # mmengine scales the rate for the number of processes only as long as there is no schedule.
    runner.param_schedulers = None
    runner.optim_wrapper = runner.build_optim_wrapper(copy.deepcopy(runner.cfg.optim_wrapper))
    try:
        runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
        schedulers = runner.build_param_scheduler(copy.deepcopy(runner.cfg.param_scheduler))
        return schedulers, runner.optim_wrapper
    finally:
        runner.optim_wrapper, runner.param_schedulers = resumed


def _step_through(schedulers: list[Any], runner: Any) -> None:
    """Let schedulers take the steps that they would have taken up to where the run is."""
    from mmengine.runner import EpochBasedTrainLoop

    by_epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
    # With another batch size or number of processes an epoch has another number of iterations than it had.
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
