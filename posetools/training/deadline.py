"""``minutes`` in a config: the run ends on time, with a whole schedule, even if the machine becomes slower or faster.

The number of epochs was chosen from a short measurement. After each epoch the time left is divided by the duration of
an epoch; one at half the input size takes the part of it that the config states, until a full one was measured. If the
planned epochs no longer fit, or if more do, the schedule gets that many, and the learning rate still decays to its end.
More epochs are added only before it begins to decay, and only up to the recipe's target without a limit: minutes that a
model does not need are not used. The config in the work folder is updated, so that a finished run counts as finished.
"""

from __future__ import annotations

import copy
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from posetools.errors import counted
from posetools.mm.configs import early_epochs, scaled_epoch, set_epochs
from posetools.mm.stack import RunHook
from posetools.training.resuming import follow_config
from posetools.training.spread.processes import by_first, here

# Where the time spent is stored in checkpoints, in seconds.
SPENT = "posetools_seconds"
# Smaller differences between plan and clock are left alone, as a share of the run.
_SMALL_CHANGE = 0.03
# Epochs whose mean duration is that of the next ones.
_RECENT = 3


class DeadlineHook(RunHook):
    """Fits the number of epochs to the time limit of the config.

    Args:
        minutes: for the whole run, including evaluations.
        say: receives a sentence for each change.
    """

    # Before the hook that saves the last epoch.
    priority = "VERY_HIGH"

    def __init__(self, minutes: float, say: Callable[[str], None]) -> None:
        self._limit, self._say = 60 * minutes, say
        self._started = time.monotonic()
        self._epoch_started = self._evaluation_started = self._evaluation = 0.0
        # Durations, those of early epochs as at the full input size.
        self._epochs: deque[float] = deque(maxlen=_RECENT)
        self._early = False
        self._changed = False
        self._plan: Any = None

    def before_train(self, runner: Any) -> None:
        """Keep the plan, and continue the clock of a resumed run."""
        self._plan = copy.deepcopy(runner.cfg)
        if runner.epoch:
            self._started -= float(runner.message_hub.get_info(SPENT) or 0.0)

    def before_train_epoch(self, runner: Any) -> None:
        """Start the clock of the epoch, and the schedule for a new number of epochs."""
        self._epoch_started = time.monotonic()
        before, self._early = self._early, runner.epoch < early_epochs(runner.cfg)[0]
        if before and not self._early:
            # Better than any figure from the early ones.
            self._epochs.clear()
        if self._changed:
            follow_config(runner)
            self._changed = False

    def after_train_epoch(self, runner: Any) -> None:
        """Compare the epochs left with the time left."""
        now, done, planned = time.monotonic(), runner.epoch + 1, runner.max_epochs
        cost = early_epochs(runner.cfg)[1] if self._early else 1.0
        self._epochs.append((now - self._epoch_started) / cost)
        runner.message_hub.update_info(SPENT, now - self._started)
        # Without the target in the config, the run has as many iterations as it needs.
        enough = runner.cfg.get("enough_iterations", 0) // len(runner.train_dataloader)
        # Before the first evaluation it is not known how long they take.
        may_grow = done <= planned // 2 and self._evaluation > 0
        most, left = max(planned, enough) if may_grow else planned, self._limit - (now - self._started)
        interval = runner.train_loop.val_interval
        # All processes of a run need the same number.
        fitting = by_first(
            lambda: bisect_right(range(1, most + 1), left, done, key=lambda last: self._seconds(done, last, interval))
        )
        if abs(fitting - planned) > _SMALL_CHANGE * planned:
            how = "faster" if fitting > planned else "slower"
            self._say(f"{how} than planned: {counted(fitting, 'epoch')} instead of {planned}")
            self._set(runner, fitting)

    def before_val(self, runner: Any) -> None:  # noqa: ARG002
        """Start the clock of the evaluation."""
        self._evaluation_started = time.monotonic()

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:  # noqa: ARG002
        """Stop it."""
        self._evaluation = time.monotonic() - self._evaluation_started

    def _seconds(self, done: int, last: int, interval: int) -> float:
        """Return the time of the epochs from ``done`` to ``last``, with their evaluations and the last one."""
        switch, cost = early_epochs(self._plan)
        early = max(0, scaled_epoch(switch, last / self._plan.train_cfg["max_epochs"], last) - done)
        each = sum(self._epochs) / len(self._epochs)
        training = (last - done - early * (1 - cost)) * each
        return training + (last - done) / interval * self._evaluation + self._evaluation

    def _set(self, runner: Any, epochs: int) -> None:
        loop, config = runner.train_loop, runner.cfg
        # Always from the first plan: rounded again and again, the schedule would lose its shape.
        fitted = copy.deepcopy(self._plan)
        set_epochs(fitted, epochs)
        for name in ("train_cfg", "param_scheduler", "custom_hooks", "default_hooks"):
            config[name] = fitted[name]
        loop._max_epochs, loop._max_iters = epochs, epochs * len(loop.dataloader)
        for hook in runner.hooks:
            # MMDet's and MMPose's switch of pipelines.
            if hasattr(hook, "switch_epoch"):
                hook.switch_epoch = next(one["switch_epoch"] for one in config.custom_hooks if "switch_epoch" in one)
        self._changed = True
        if here().first:
            config.dump(str(Path(runner.work_dir) / Path(config.filename).name))
