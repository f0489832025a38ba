"""How long an iteration of training takes on this machine, and how much training there is time for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from posetools.recipes.budget import enough_iterations

if TYPE_CHECKING:
    from posetools.core.stages import Stage


# With fewer there is nothing to average over.
_FEWEST_ITERATIONS = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """How long one stage is trained.

    Attributes:
        epochs: how many.
        samples: how many samples an epoch has, where there is no time for all of them even once; else None.
        enough: how many iterations a recipe aims at without a limit of time; 0: that was not asked.
    """

    epochs: int
    samples: int | None = None
    enough: int = 0

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
    epochs, enough = round(iterations / -(-samples // batch_size)), enough_iterations(samples, batch_size)
    if epochs:
        return Plan(epochs, enough=enough)
    part = max(_FEWEST_ITERATIONS, int(iterations)) * batch_size
    return Plan(1, part if part < samples else None, enough)


def seconds_per_iteration(stage: Stage, config: Path, work_dir: Path, *, iterations: int) -> float:
    """Return how long an iteration takes, from a dry run with the real config and data.

    Args:
        stage: which of the two models.
        config: its config.
        work_dir: where it would be trained; nothing is written there.
        iterations: how many are run.
    """
    from posetools.training.dry_run import Limits, dry_run
    from posetools.training.request import TrainRequest

    request = TrainRequest(stage=stage, config=config, work_dir=work_dir)
    estimate = dry_run(request, limits=Limits(fewest=iterations, most=iterations, batches=1))
    return estimate.measured.seconds_per_iteration
