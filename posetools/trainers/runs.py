"""Runs of any trainer: choose it, check that it knows the stated options, train, evaluate."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from pathlib import Path

from posetools.core.folder import check_both
from posetools.errors import PosetoolsError, RequestError
from posetools.pairs.trained import OPENMMLAB, TRAINER_RECORD, TrainedBy, record_trainer, trained_by, trainer_named
from posetools.plugins.registry import Plugin
from posetools.trainers.trainer import Trainer
from posetools.training.hooks import StepListener
from posetools.training.pair import TrainAllResult, evaluate_run
from posetools.training.request import WORK_DIRS, TrainRequest

# What every trainer knows.
_ALWAYS = frozenset(("stage", "data", "configs", "work_dir", "resume", "device", "skeleton"))
# Fields of TrainRequest whose options have other names.
_NAMED_OTHERWISE = {"trackers": "--tracker", "pair": "--config"}


@dataclass(frozen=True, slots=True)
class NamedTrainer:
    """A trainer and its plug-in.

    Attributes:
        plugin: how it is registered.
        trainer: the trainer itself.
    """

    plugin: Plugin
    trainer: Trainer

    @property
    def name(self) -> str:
        """The name, as on the command line."""
        return self.plugin.name

    def check_options(self, command: str, stated: Collection[str], known: Collection[str]) -> None:
        """Refuse options that the trainer does not know.

        Args:
            command: ``config`` or ``train``.
            stated: the options that the user stated, with underscores.
            known: those that the trainer knows.

        Raises:
            RequestError: one is not known.
        """
        unknown = [_option(name) for name in stated if name not in known]
        if unknown:
            able = ", ".join(sorted(_option(name) for name in known if name not in _ALWAYS))
            raise RequestError(
                f"{', '.join(unknown)}: {self.trainer.title} (--trainer {self.name}) does not have this option",
                hint=f"posetools {command} --trainer {self.name} takes {able}",
            )


def train_run(named: NamedTrainer, request: TrainRequest, listener: StepListener) -> TrainAllResult:
    """Train a run and evaluate it.

    Args:
        named: the trainer.
        request: what to train; ``stage`` and ``config`` are ignored.
        listener: receives progress.

    Raises:
        PosetoolsError: as the trainer's ``check`` and ``train``.
    """
    if named.name == OPENMMLAB:
        return named.trainer.train(request, listener)
    request = _settled(named, request)
    run = Path(request.work_dir or "")
    with named.plugin.guarded("failed", PosetoolsError):
        named.trainer.check(request)
        record_trainer(run, TrainedBy(named.name, request.folder), request.categories)
        result = named.trainer.train(request, listener)
    if result.evaluation is not None:
        return result
    return replace(result, evaluation=evaluate_run(run, result.models, request, listener))


def _settled(named: NamedTrainer, request: TrainRequest) -> TrainRequest:
    """Return the request with its work folder and data set; refuse the folder of another trainer's run."""
    run = request.work_dir
    if run is None:
        run = WORK_DIRS / f"{request.folder.resolve().name}-{named.name}"
    made = trained_by(run)
    if made is None and request.resume:
        raise RequestError(f"{run}: has no run to resume", hint="omit --resume to start at the first epoch")
    if made is not None and made.trainer != named.name:
        raise RequestError(f"{run / TRAINER_RECORD}: trainer must be {named.name}, got {made.trainer}")
    if made is not None and not request.resume:
        raise RequestError(f"{run}: has an earlier run", hint="continue it with --resume, or change --work-dir")
    request = replace(request, work_dir=run, data=request.data or (made.data if made else None))
    check_both(request.folder, request.fold)
    return request


def chosen_trainer(name: str) -> NamedTrainer:
    """Return the trainer of ``--trainer``.

    Raises:
        RequestError: there is no such trainer.
        PluginError: it cannot be loaded.
    """
    plugin = trainer_named(name, "--trainer")
    return NamedTrainer(plugin, plugin.load())


def stated_fields(request: TrainRequest) -> list[str]:
    """Return the fields of a request that differ from their defaults, except those that every trainer knows."""
    default = TrainRequest(stage=request.stage)
    names = (each.name for each in fields(request) if each.name not in _ALWAYS)
    return [name for name in names if getattr(request, name) != getattr(default, name)]


def _option(name: str) -> str:
    return _NAMED_OTHERWISE.get(name, f"--{name.replace('_', '-')}")
