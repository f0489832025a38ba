"""``minutes`` in a config: the run ends on time, with a whole schedule, even if the machine becomes slower or faster.

The number of epochs was chosen from a short measurement. After each epoch the time left is divided by the duration of
an epoch. If the planned epochs no longer fit, or if more do, the schedule gets that many, and the learning rate still
decays to its end. More epochs are added only before it begins to decay, and only up to the recipe's target without a
limit: minutes that a model does not need are not used. The config in the work folder is updated, so that a finished run
counts as finished.
"""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from posetools.errors import counted
from posetools.mm.configs import set_epochs
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
        self._epochs: deque[float] = deque(maxlen=_RECENT)
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
        if self._changed:
            follow_config(runner)
            self._changed = False

    def after_train_epoch(self, runner: Any) -> None:
        """Compare the epochs left with the time left."""
        now, done, planned = time.monotonic(), runner.epoch + 1, runner.max_epochs
        self._epochs.append(now - self._epoch_started)
        runner.message_hub.update_info(SPENT, now - self._started)
        interval = runner.train_loop.val_interval
        # All processes of a run need the same number.
        fitting = by_first(lambda: done + max(0, self._fitting(self._limit - (now - self._started), interval)))
        if fitting > planned:
            # Without the target in the config, the run has as many iterations as it needs.
            enough = runner.cfg.get("enough_iterations", 0) // len(runner.train_dataloader)
            # Before the first evaluation it is not known how long they take.
            may_grow = done <= planned // 2 and self._evaluation > 0
            fitting = max(planned, min(fitting, enough)) if may_grow else planned
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

    def _fitting(self, left: float, interval: int) -> int:
        """Return how many more epochs fit into the seconds left, with their evaluations and the last one."""
        each = sum(self._epochs) / len(self._epochs) + self._evaluation / interval
        return int((left - self._evaluation) / each)

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
