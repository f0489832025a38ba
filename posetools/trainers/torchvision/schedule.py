"""When a run ends, evaluates, and how fast it learns."""

from __future__ import annotations

import math
import time
from collections import deque

from posetools.trainers.torchvision.recipe import TrainingRecipe

# Epochs whose mean time is that of the next ones.
_RECENT = 3


def learning_rate(recipe: TrainingRecipe, iteration: int, total: int) -> float:
    """Return the learning rate of an iteration, counted from 0: a linear warm-up, and a cosine to 0."""
    warm = min(1.0, (iteration + 1) / max(1, recipe.warmup_iters))
    return recipe.lr * warm * 0.5 * (1 + math.cos(math.pi * iteration / total))


def is_due(epoch: int, epochs: int, evaluations: int) -> bool:
    """Return whether a run of that many epochs evaluates after this one: evenly spread, and after the last."""
    return epoch == epochs or epoch * evaluations // epochs > (epoch - 1) * evaluations // epochs


class Clock:
    """Fits the number of epochs into the recipe's minutes.

    After each epoch, the time left is divided by that of an epoch, evaluations included. Until half of the planned
    epochs there may be more again, up to those of the recipe: after that the learning rate decays too far.

    Args:
        recipe: the recipe.
        spent: seconds that earlier starts of the run took.
    """

    def __init__(self, recipe: TrainingRecipe, spent: float) -> None:
        self._recipe, self._started = recipe, time.monotonic() - spent
        self._epochs: deque[float] = deque(maxlen=_RECENT)
        self._evaluation: float | None = None

    @property
    def seconds(self) -> float:
        """How long the run took so far."""
        return time.monotonic() - self._started

    def trained(self, seconds: float) -> None:
        """Note the time of an epoch."""
        self._epochs.append(seconds)

    def evaluated(self, seconds: float) -> None:
        """Note the time of an evaluation."""
        self._evaluation = seconds

    def fitted(self, done: int, planned: int) -> int:
        """Return the number of epochs that fit, at least ``done``."""
        recipe = self._recipe
        if recipe.minutes is None:
            return planned
        left, each = 60 * recipe.minutes - self.seconds, sum(self._epochs) / len(self._epochs)
        most = recipe.epochs if done <= planned // 2 else planned
        for last in range(most, done, -1):
            due = sum(is_due(epoch, last, recipe.evaluations) for epoch in range(done + 1, last + 1))
            if (last - done) * each + due * (each if self._evaluation is None else self._evaluation) <= left:
                return last
        return done
