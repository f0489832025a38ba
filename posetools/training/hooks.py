"""Progress reports of a run: a hook that posetools adds when it starts the run, never in an emitted config."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from posetools.errors import counted
from posetools.mm.configs import early_epochs
from posetools.mm.evaluations import BestEvaluation, Evaluations
from posetools.mm.stack import RunHook
from posetools.progress import Progress
from posetools.recipes.budget import too_few

# Seconds between two reports: reading the loss makes a GPU wait.
_LOSS_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class TrainStatus:
    """The progress of a run.

    Attributes:
        phase: ``train``, ``val`` during evaluation, ``scored`` after it.
        epoch: the current one, from 1.
        epochs: the total.
        iteration: in this epoch (or evaluation), from 1.
        iterations: how many the epoch (or evaluation) has.
        done: training iterations since the first epoch.
        total: training iterations in all.
        loss: of the last iteration, None before the first.
        lr: the learning rate.
        rate: iterations per second since the start, including evaluations; 0 before the first.
        slower: how much longer the iterations left take than those so far, because of a larger input.
        metrics: of the last evaluation.
        best: the best evaluation so far, None before one with its metric.
    """

    phase: Literal["train", "val", "scored"]
    epoch: int
    epochs: int
    iteration: int
    iterations: int
    done: int
    total: int
    loss: float | None = None
    lr: float | None = None
    rate: float = 0.0
    slower: float = 1.0
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    best: BestEvaluation | None = None

    @property
    def seconds_left(self) -> float | None:
        """Remaining seconds at this rate, None before the first iteration."""
        return self.slower * (self.total - self.done) / self.rate if self.rate else None


class TrainListener(Protocol):
    """Receives the progress of a run."""

    def say(self, line: str) -> None:
        """Show a sentence."""

    def update(self, status: TrainStatus) -> None:
        """Show the progress."""


class StepListener(Protocol):
    """Receives the progress of a command with several steps, such as training runs."""

    def step(self, title: str, command: str) -> None:
        """Show the next step, and its command (or none)."""

    def say(self, line: str) -> None:
        """Show a sentence."""

    def progress(self) -> AbstractContextManager[Progress]:
        """Return a progress callback for one step."""

    def training(self) -> AbstractContextManager[TrainListener]:
        """Return a listener for one training run."""


class SilentListener:
    """Shows nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""

    def update(self, status: TrainStatus) -> None:
        """Do nothing."""


def defined_metrics(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Return an evaluation's metrics, None for -1, by which COCO's metrics mean nothing to measure."""
    return {name: None if value == -1 else float(value) for name, value in metrics.items()}


def _slower(runner: Any, first: int, done: int) -> float:
    """Return the mean time of the iterations after ``done``, relative to those from ``first`` to it."""
    epochs, cost = early_epochs(runner.cfg)
    switch, total = epochs * len(runner.train_dataloader), runner.max_iters
    if not first < done < total:
        return 1.0

    def mean(start: int, end: int) -> float:
        early = max(0, min(end, switch) - start)
        return 1 - (1 - cost) * early / (end - start)

    return mean(done, total) / mean(first, done)


class ProgressHook(RunHook):
    """Reports progress to a listener, and records evaluations.

    Attributes:
        metrics: of the last evaluation.
        loss: of the last reported iteration.
    """

    priority = "VERY_LOW"

    def __init__(self, listener: TrainListener, evaluations: Evaluations) -> None:
        self.metrics: dict[str, float | None] = {}
        self.loss: float | None = None
        self._listener, self._evaluations = listener, evaluations
        self._started = self._told = 0.0
        self._first = 0

    def before_train(self, runner: Any) -> None:
        """Report the length in iterations, since the length of an epoch depends on data and batch size."""
        self._started, self._first = time.monotonic(), runner.iter
        epochs, total = runner.max_epochs, runner.max_iters
        text = f"{counted(epochs, 'epoch')} of {counted(total // epochs, 'iteration')}"
        text += f": {counted(total, 'iteration')}" if epochs > 1 else ""
        text += f", {runner.iter} of them done" if runner.iter else ""
        self._listener.say("; ".join(filter(None, (text, too_few(total)))))

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:  # noqa: ARG002
        """Report the loss."""
        iterations = len(runner.train_dataloader)
        if self._is_due() or batch_idx + 1 == iterations:
            self.loss = float(outputs["loss"]) if outputs and "loss" in outputs else None
            self._tell(runner, "train", (batch_idx + 1, iterations), ahead=1)

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:  # noqa: ARG002
        """Report the progress of the evaluation."""
        if self._is_due():
            self._tell(runner, "val", (batch_idx + 1, len(runner.val_dataloader)))

    def after_val_epoch(self, runner: Any, metrics: Mapping[str, Any] | None = None) -> None:
        """Report and record the metrics."""
        self.metrics = defined_metrics(metrics or {})
        self._evaluations.add(runner.epoch, self.metrics)
        self._tell(runner, "scored", (len(runner.val_dataloader),) * 2)

    def _is_due(self) -> bool:
        return time.monotonic() - self._told >= _LOSS_PAUSE

    def _tell(
        self, runner: Any, phase: Literal["train", "val", "scored"], place: tuple[int, int], ahead: int = 0
    ) -> None:
        """Report progress; during an iteration the runner's counts of iterations and epochs are one less."""
        self._told, done = time.monotonic(), runner.iter + ahead
        rates = runner.optim_wrapper.get_lr().get("lr")
        status = TrainStatus(
            phase=phase,
            epoch=runner.epoch + ahead,
            epochs=runner.max_epochs,
            iteration=place[0],
            iterations=place[1],
            done=done,
            total=runner.max_iters,
            loss=self.loss,
            lr=float(rates[0]) if rates else None,
            rate=(done - self._first) / (self._told - self._started or 1.0),
            slower=_slower(runner, self._first, done),
            metrics=self.metrics,
            best=self._evaluations.best,
        )
        self._listener.update(status)
