"""The learning rate of a run that is resumed follows its config, also where that is another one than before.

mmengine puts the stored schedulers, with the ends and lengths of the old schedule, in the place of the config's: a run
of 30 epochs that is resumed for 130 would train the other 100 at the last learning rate of the first 30.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from posetools.mm.stack import RunHook

# What a scheduler counts while it runs; everything else in its state is what it was built with.
_COUNTED = frozenset({"last_step", "_global_step", "_last_value", "verbose"})


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
