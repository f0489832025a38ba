"""``posetools train --dry-run``: whether the run works, and the time, memory and disk it needs.

Everything is as in the real run (checks, loader processes, model, hooks, metrics), but in a temporary folder and with
only a local tracker. A hook shortens the loaders to a few iterations, one evaluation of a few images and one
checkpoint, and times each of them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from posetools.errors import RequestError, RunError, StoppedError
from posetools.mm.stack import SET_DEBUG, RunHook, prepare, require_train
from posetools.training.estimate import StageEstimate, Timing, schedule_of
from posetools.training.hooks import SilentListener, TrainListener
from posetools.training.memory import MemoryWatch
from posetools.training.request import TrainRequest, check_training
from posetools.training.saving import BEST
from posetools.training.trackers import name_visualizer
from posetools.training.train import execute, plan_run

# With fewer iterations or batches, all of them are warm-up.
_LEAST = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a run a dry run does: fast iterations are repeated until the figures are steady.

    Attributes:
        fewest: iterations at least, if an epoch has that many.
        most: iterations at most.
        batches: of the evaluation at most; at least two, unless this is one.
        seconds: once ``fewest`` are done, no iteration or batch starts later than this.
    """

    fewest: int = _LEAST
    most: int = 20
    batches: int = 20
    seconds: float = 10.0

    def go_on(self, done: int, started: float) -> bool:
        """Return whether to run another iteration."""
        return done < self.fewest or (done < self.most and time.monotonic() - started < self.seconds)


_USUAL_LIMITS = Limits()


class _ShortLoader:
    """A loader that yields only its first batches."""

    def __init__(self, loader: Any, goes_on: Callable[[int], bool]) -> None:
        self.__dict__.update(_loader=loader, _goes_on=goes_on)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # The hook that switches pipelines restarts the loader by its private attributes.
        setattr(self._loader, name, value)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        # Loads no batch that is not used.
        return (batch for _, batch in zip(takewhile(self._goes_on, count()), self._loader, strict=False))


class _ShortRunHook(RunHook):
    """Shortens a run to one epoch, or to two if they have two input sizes, and times it."""

    # Before all other hooks, so that their work counts toward the next step.
    priority = "VERY_HIGH"

    def __init__(self, timing: Timing, limits: Limits, device: str, *, two: bool) -> None:
        self._timing, self._limits, self._device = timing, limits, device
        if two:
            timing.early = Timing(started=timing.started)
        # Of the epoch that runs.
        self._epoch = timing.early or timing
        self._on_gpu = device.startswith("cuda")

    def _now(self) -> float:
        if self._on_gpu:
            import torch

            # The GPU runs asynchronously.
            torch.cuda.synchronize(self._device)
        return time.monotonic()

    def before_train(self, runner: Any) -> None:
        loop, timing = runner.train_loop, self._timing
        timing.epoch_length = len(loop.dataloader)
        loop.dataloader = _ShortLoader(loop.dataloader, lambda done: self._limits.go_on(done, self._epoch.train))
        if self._on_gpu:
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)

    def before_train_epoch(self, runner: Any) -> None:  # noqa: ARG002
        self._epoch.train = self._now()
        if self._epoch is self._timing and self._timing.early:
            self._timing.started = self._timing.train

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:  # noqa: ARG002
        timing = self._epoch
        timing.waits.append(time.monotonic() - (timing.iterations[-1] if timing.iterations else timing.train))

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:  # noqa: ARG002
        self._epoch.iterations.append(self._now())

    def after_train_epoch(self, runner: Any) -> None:
        if self._epoch is not self._timing:
            self._epoch = self._timing
            return
        self._timing.epoch = self._now()
        # Checked after this epoch's evaluation: there is no further epoch.
        runner.train_loop.stop_training = True

    def before_val(self, runner: Any) -> None:
        self._timing.val = started = self._now()
        loop = runner.val_loop
        self._timing.val_length = len(loop.dataloader)
        batches = self._limits.batches
        limits = replace(self._limits, fewest=min(_LEAST, batches), most=batches)
        loop.dataloader = _ShortLoader(loop.dataloader, lambda done: limits.go_on(done, started))

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:  # noqa: ARG002
        self._timing.batches.append(self._now())

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:  # noqa: ARG002
        self._timing.scored = self._now()

    def after_run(self, runner: Any) -> None:  # noqa: ARG002
        self._timing.ended = self._now()
        if self._on_gpu:
            import torch

            self._timing.gpu_memory = torch.cuda.max_memory_allocated(self._device)


def dry_run(
    request: TrainRequest, listener: TrainListener | None = None, limits: Limits = _USUAL_LIMITS
) -> StageEstimate:
    """Run a few iterations of one stage, and estimate the whole run. Leaves no files.

    Args:
        request: what to train; its work folder is read, not written to.
        listener: receives progress.
        limits: how much to run.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: the real run would be refused; the config does not count in epochs; nothing is left to train; or
            this is one of several processes.
        InputError: the config or a checkpoint cannot be read.
        RunError: the run ended with an error of OpenMMLab or torch.
        StoppedError: the user stopped it.
    """
    require_train("posetools train")
    if request.launcher != "none":
        raise RequestError(
            f"--dry-run cannot be combined with --launcher {request.launcher}",
            hint="use --gpus N or --processes N to estimate a run with N processes",
        )
    check_training(request)
    prepare("posetools train")
    told = listener or SilentListener()
    timing = Timing()
    with _temporary() as folder:
        planned = plan_run(_without_emitting(request, folder, told), told)
        if planned.categories is None:
            raise RequestError(planned.left, hint="pass a larger --epochs N to continue")
        told.say(f"trying {request.stage} on {planned.device}: a few iterations, an evaluation, a checkpoint")
        schedule = schedule_of(planned.config, planned.start)
        two = 0 < schedule.early < schedule.epochs
        if planned.cache:
            told.say("without --cache, which would have to be built first: the real run loads data faster")
        short = replace(
            planned,
            config=_shortened(planned.config, folder / "run", planned.start + 1 if two else 0),
            work_dir=folder / "run",
            processes=1,
            cache=None,
        )
        hook = _ShortRunHook(timing, limits, planned.device, two=two)
        # Free what an earlier run left in this process, such as loader processes.
        gc.collect()
        with MemoryWatch() as watch:
            execute(short, SilentListener(), hooks=(hook,))
        timing.memory = watch.peak
        _record_sizes(timing, short.work_dir)
    return StageEstimate(
        stage=request.stage,
        config=Path(planned.config.filename).name,
        device=planned.device,
        batch_size=planned.config.train_dataloader["batch_size"],
        work_dir=planned.work_dir,
        processes=planned.processes,
        schedule=schedule,
        measured=timing,
    )


def _record_sizes(timing: Timing, work_dir: Path) -> None:
    for path in work_dir.glob("*.pth"):
        size = path.stat().st_size
        if path.name.startswith(BEST):
            timing.best = max(timing.best, size)
        else:
            timing.checkpoint = max(timing.checkpoint, size)


@contextmanager
def _temporary() -> Iterator[Path]:
    """Yield a temporary folder, and keep its path out of error messages."""
    with TemporaryDirectory(prefix="posetools-dry-run-", ignore_cleanup_errors=True) as name:
        try:
            yield Path(name)
        except RunError as exc:
            # Logs and checkpoints in the folder are deleted, so do not name them.
            details = [line for line in exc.details if name not in line]
            if isinstance(exc, StoppedError):
                raise StoppedError(exc.sentence, *details, "this was a dry run: nothing was kept") from exc
            helpful = [line for line in exc.advice if name not in line]
            raise RunError(exc.sentence, *details, hint=helpful or SET_DEBUG) from exc


def _without_emitting(request: TrainRequest, folder: Path, told: TrainListener) -> TrainRequest:
    """Return the request with a temporary folder for configs, if the run would emit the default pair."""
    if request.config is not None or request.data is None or request.found_config() is not None:
        return request
    told.say(f"no config for {request.data} in {request.configs}: using the default pair, not kept")
    return replace(request, configs=folder / "configs")


def _shortened(config: Any, work_dir: Path, switch: int) -> Any:
    """Return a copy of a config that evaluates and saves after its first epoch, and writes only to ``work_dir``.

    Unless ``switch`` is 0, the pipeline changes after this epoch, and the evaluation is after the next one.
    """
    short = config.copy()
    short.work_dir, short.launcher = str(work_dir), "none"
    short.train_cfg = {**config.train_cfg, "val_begin": switch + 1, "val_interval": 1, "dynamic_intervals": None}
    short.default_hooks["checkpoint"] = {**(config.default_hooks.get("checkpoint") or {}), "interval": 1}
    if switch:
        hooks = config.custom_hooks
        short.custom_hooks = [{**one, "switch_epoch": switch} if "switch_epoch" in one else one for one in hooks]
    if short.get("visualizer"):
        # A dry run does not belong in a tracker.
        short.visualizer["vis_backends"] = [{"type": "LocalVisBackend"}]
        name_visualizer(short, work_dir)
    return short
