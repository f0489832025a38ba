"""How long an iteration of training takes on this machine, and how much training there is time for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posetools.mm.configs import Stage
    from posetools.mm.hooks import TrainListener, TrainStatus


# With fewer there is nothing to average over.
_FEWEST_ITERATIONS = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """How long one stage is trained.

    Attributes:
        epochs: how many.
        samples: how many samples an epoch has, where there is no time for all of them even once; else None.
    """

    epochs: int
    samples: int | None = None

    @property
    def cfg_options(self) -> tuple[str, ...]:
        """What limits an epoch to that many samples."""
        return () if self.samples is None else (f"train_dataloader.dataset.indices={self.samples}",)


def plan_training(iterations: float, samples: int, batch_size: int) -> Plan:
    """Return the whole epochs that come nearest to the time that there is, or a part of one.

    Args:
        iterations: how many there is time for.
        samples: of an epoch.
        batch_size: samples per iteration.
    """
    epochs = round(iterations / -(-samples // batch_size))
    if epochs:
        return Plan(epochs)
    part = max(_FEWEST_ITERATIONS, int(iterations)) * batch_size
    return Plan(1, part if part < samples else None)


class Stopwatch:
    """A listener of a training run that notes its iterations, and passes on to another one what it is told."""

    def __init__(self, listener: TrainListener | None = None) -> None:
        self._listener = listener
        self._marks: list[tuple[int, float]] = []

    @property
    def iterations(self) -> int:
        """How many iterations the run has had."""
        return self._marks[-1][0] if self._marks else 0

    @property
    def seconds_per_iteration(self) -> float:
        """The mean over the second half of the iterations: the first ones take longer."""
        (first, started), (last, ended) = self._marks[len(self._marks) // 2], self._marks[-1]
        return (ended - started) / (last - first) if last > first else 1.0

    def say(self, line: str) -> None:
        """Pass it on."""
        if self._listener:
            self._listener.say(line)

    def update(self, status: TrainStatus) -> None:
        """Note it, and pass it on."""
        if status.phase == "train":
            self._marks.append((status.done, time.monotonic()))
        if self._listener:
            self._listener.update(status)


def seconds_per_iteration(
    stage: Stage, config: Path, work_dir: Path, *, samples: int, cfg_options: tuple[str, ...]
) -> float:
    """Return how long an iteration takes, from one short epoch, with the real config and data, without evaluation.

    Args:
        stage: which of the two models.
        config: the config, of one epoch.
        work_dir: a folder for what the run leaves.
        samples: how many samples the epoch has.
        cfg_options: further changes of the config.
    """
    from posetools.mm.train import TrainRequest, train

    short = (f"train_dataloader.dataset.indices={samples}", "train_cfg.val_begin=1000")
    watch = Stopwatch()
    train(TrainRequest(stage=stage, config=config, work_dir=work_dir, cfg_options=(*cfg_options, *short)), watch)
    return watch.seconds_per_iteration


def count(number: int, what: str) -> str:
    """Return ``1 epoch``, ``2 epochs``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
