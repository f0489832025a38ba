"""Error messages for failed runs: what happened, where, what is kept, and what to do.

Covers full disks, killed workers, unreadable images, a GPU out of memory, and NaN or infinite values. The advice fits
the run at hand, as commands to type.
"""

from __future__ import annotations

import errno
import math
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from posetools.core.stages import Stage
from posetools.errors import RunError, StoppedError
from posetools.imaging.header import IMAGE_SUFFIXES
from posetools.mm.configs import data_root_of
from posetools.mm.run_folder import last_in, numbered_in
from posetools.mm.stack import RunHook, failures, quiet

# A run killed while saving still has the previous checkpoint.
FEWEST_KEPT = 2
_DISK_IS_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LESS_LR = 10

# Seconds between two checks of the losses: reading one makes a GPU wait.
_LOSS_PAUSE = 0.5
# Mixed precision skips steps whose gradients overflow, to find its loss scale.
_SKIPPED_STEPS = 20

NO_CHECKPOINT = "there is no checkpoint yet"
AGAIN = "the same command restarts the run"

_LOADERS = ("train_dataloader", "val_dataloader")
_WORKER = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?:is killed by signal: ([\w ]+)|exited unexpectedly)"
)
# Messages of MMPose, mmcv and Python: the first contain the second. A worker's error is its whole traceback, with
# lines of source, which have braces.
_IMAGE_MESSAGES = (
    re.compile(r"occurs when loading `([^`{}\n]+)`"),
    re.compile(r"failed to load image: ([^`{}\n]+)"),
    re.compile(r"No such file or directory: '([^'{}\n]+)'"),
)


class DivergedError(RunError):
    """The loss or the weights became NaN or infinite.

    Attributes:
        at_start: whether it is the very first iteration, before any optimizer step.
    """

    def __init__(self, what: str, runner: Any, iteration: int | None = None) -> None:
        self.at_start = runner.epoch == 0 and iteration == 1
        super().__init__(f"{what} {where(runner, iteration)}")


def where(runner: Any, iteration: int | None = None) -> str:
    """Return ``in epoch 3 of 100``, with the iteration (from 1) if known, or ``after epoch 3 of 100``."""
    if runner is None:
        return "before the first epoch"
    # Until the next epoch starts, mmengine keeps the model in eval mode, and the epoch is already counted.
    if not runner.model.training:
        return f"after epoch {runner.epoch} of {runner.max_epochs}"
    epoch = f"in epoch {min(runner.epoch + 1, runner.max_epochs)} of {runner.max_epochs}"
    return f"{epoch}, at iteration {iteration}" if iteration is not None else epoch


def how_to_go_on(stage: Stage, work_dir: Path) -> tuple[str, str]:
    """Return what is kept, and the command that resumes."""
    kept = last_in(work_dir)
    if kept is None:
        return NO_CHECKPOINT, AGAIN
    return f"{kept} is kept", f"posetools train --stage {stage} --work-dir {work_dir} --resume continues from there"


@contextmanager
def watched(stage: Stage, work_dir: Path, runner: Callable[[], Any]) -> Iterator[None]:
    """Turn errors of a run into one message with the command to continue; ``runner`` returns mmengine's once built.

    Raises:
        RunError: the run failed.
        StoppedError: the user stopped it.
    """
    try:
        with failures("training failed", work_dir, lambda error: explained(error, runner(), stage, work_dir)), quiet():
            yield
    except KeyboardInterrupt as exc:
        kept, way = how_to_go_on(stage, work_dir)
        raise StoppedError(f"stopped {where(runner())}; {kept}", way=way) from exc


def explained(error: Exception, runner: Any, stage: Stage, work_dir: Path) -> RunError | None:
    """Return the message for an error that ended a run, or None for unknown errors."""
    if isinstance(error, DivergedError):
        return _diverged(error, runner, stage, work_dir)
    config = {} if runner is None else runner.cfg
    place = where(runner)
    lines = _disk(error, place, work_dir) or _worker(error, place, config)
    lines = lines or _gpu_memory(error, place, config) or _image(error, place, config)
    if lines:
        (sentence, *advice), (kept, way) = lines, how_to_go_on(stage, work_dir)
        return RunError(sentence, kept, hint=advice, way=way)
    if runner is not None and first_not_finite(runner.model.state_dict()):
        # Networks with NaN also fail in other ways, with unrelated messages.
        return _diverged(DivergedError("the weights became NaN or infinite", runner), runner, stage, work_dir)
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    while error is not None:
        yield error
        error = error.__cause__


def _disk(error: Exception, place: str, work_dir: Path) -> list[str]:
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in _DISK_IS_FULL:
            written = f"{cause.filename}: " if cause.filename else ""
            kept = len(list(numbered_in(work_dir)))
            return [f"{written}cannot be written {place}: {cause.strerror}", *more_room(cause.errno, kept)]
    return []


def _worker(error: Exception, place: str, config: Mapping[str, Any]) -> list[str]:
    matches = [match for cause in causes(error) if (match := _WORKER.search(str(cause)))]
    if not matches:
        return []
    # Only the error raised by the signal names it.
    found = next((match for match in matches if match[1]), matches[0])
    how = f"was killed (signal {found[1].strip()})" if found[1] else "ended unexpectedly"
    shared = bool(found[1]) and "Bus error" in found[1]
    reason = (
        "/dev/shm, which workers use to pass images, is full" if shared else "most likely the machine ran out of memory"
    )
    workers = {name: int((config.get(name) or {}).get("num_workers", 0)) for name in _LOADERS}
    return [f"a data loader worker {how} {place}: {reason}", *fewer_workers(workers, shared=shared)]


def _gpu_memory(error: Exception, place: str, config: Mapping[str, Any]) -> list[str]:
    import torch

    # torch before 2.5 has no torch.OutOfMemoryError.
    if not isinstance(error, torch.cuda.OutOfMemoryError):
        return []
    batch = (config.get("train_dataloader") or {}).get("batch_size", 1)
    return [f"the GPU ran out of memory {place}", *less_memory(batch, amp=_is_amp(config))]


def _image(error: Exception, place: str, config: Mapping[str, Any]) -> list[str]:
    found = next((match for pattern in _IMAGE_MESSAGES if (match := pattern.search(str(error)))), None)
    path = Path(found[1] if found else "")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return []
    # OpenCV returns None without a reason.
    problem = "cannot be decoded (it is damaged or incomplete)" if path.is_file() else "no longer exists"
    root = data_root_of(config) if config else "DATA"
    others = f"posetools validate {root}"
    return [f"{path}: {problem}, detected {place}", f"restore the image; `{others}` finds other broken images"]


def _is_amp(config: Mapping[str, Any]) -> bool:
    return (config.get("optim_wrapper") or {}).get("type") == "AmpOptimWrapper"


def _diverged(error: DivergedError, runner: Any, stage: Stage, work_dir: Path) -> RunError:
    kept = last_in(work_dir)
    optimizer = (runner.cfg.get("optim_wrapper") or {}).get("optimizer") or {}
    again = ""
    if kept is not None:
        # The work folder keeps the good checkpoints, so the new run goes next to it.
        beside = work_dir.with_name(f"{work_dir.name}-again")
        words = ["--config", work_dir / Path(runner.cfg.filename).name, "--work-dir", beside, "--weights", kept]
        again = shlex.join(["posetools", "train", "--stage", stage, *map(str, words)])
    lines = after_divergence(
        kept=kept,
        again=again,
        lr=optimizer.get("lr"),
        stepped=not error.at_start,
        amp=_is_amp(runner.cfg),
        data=data_root_of(runner.cfg),
    )
    return RunError(error.sentence, f"{kept} is kept" if kept else NO_CHECKPOINT, hint=lines)


def more_room(number: int | None, kept: int) -> list[str]:
    """Return how to free space for a checkpoint, by error number and number of checkpoints kept."""
    if number == errno.EFBIG:
        return ["raise the file size limit, which was reached (`ulimit -f`, or the limit of the file system)"]
    lines = ["free some space in your quota" if number == errno.EDQUOT else "free some space"]
    if kept > FEWEST_KEPT:
        lines[0] += f"; --resume with --keep {FEWEST_KEPT} removes {kept - FEWEST_KEPT} of the {kept} checkpoints"
    return lines


def fewer_workers(workers: Mapping[str, int], *, shared: bool) -> list[str]:
    """Return the options for fewer loader processes, zero if ``shared`` memory is full."""
    options = []
    for loader, number in workers.items():
        fewer = 0 if shared else number // 2
        if number:
            options.append(f"{loader}.num_workers={fewer}")
        if number and not fewer:
            # torch refuses persistent_workers without workers.
            options.append(f"{loader}.persistent_workers=False")
    if not options:
        return []
    return [f"use fewer workers: --cfg-options {' '.join(options)}"]


def less_memory(batch: int, *, amp: bool) -> list[str]:
    """Return how a new run can use less GPU memory."""
    ways = [f"--cfg-options train_dataloader.batch_size={batch // 2}"] if batch > 1 else []
    ways += [] if amp else ["--amp"]
    return [f"start a new run with {' or '.join(ways)}"] if ways else ["use a smaller model or image size"]


def after_divergence(
    *, kept: Path | None, again: str, lr: float | None, stepped: bool, amp: bool, data: Path
) -> list[str]:
    """Return what to try after the loss or the weights became NaN or infinite; ``again`` trains on from ``kept``."""
    lines = []
    if stepped and lr is not None:
        lower = f"--cfg-options optim_wrapper.optimizer.lr={lr / _LESS_LR:.2g}"
        lines.append(f"try a lower learning rate (it was {lr:.2g}):")
        lines.append(f"{again} {lower}" if kept else f"the same command with {lower}")
    elif not stepped:
        lines.append("check the labels and the initial weights: this was the first iteration")
    lines += ["omit --amp: float16 overflows on large values"] if amp else []
    lines.append(f"check the labels: {shlex.join(['posetools', 'validate', str(data)])}")
    return lines


def first_not_finite(state: Mapping[str, Any]) -> str | None:
    """Return the name of the first tensor with a NaN or infinite value, or None."""
    import torch

    floats = ((name, value) for name, value in state.items() if torch.is_tensor(value) and value.is_floating_point())
    return next((name for name, value in floats if not bool(torch.isfinite(value).all())), None)


class GuardHook(RunHook):
    """Stops a run whose loss is NaN or infinite; costs less than a microsecond per iteration.

    Losses stay on their device and are checked together: twice a second, and at the end of an epoch, before anything
    is saved. Mixed precision may produce single bad losses, but not many in a row.
    """

    # Before CheckpointHook, which counts iterations in some configs.
    priority = "NORMAL"

    def __init__(self) -> None:
        self._losses: list[Any] = []
        self._looked = 0.0
        self._row = 0

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:  # noqa: ARG002
        """Collect the loss."""
        if outputs and "loss" in outputs:
            loss = outputs["loss"]
            # Detached, so that it does not keep the graph of its iteration.
            self._losses.append(loss.detach() if hasattr(loss, "detach") else loss)
        last = batch_idx + 1 == len(runner.train_dataloader)
        if self._losses and (last or time.monotonic() - self._looked >= _LOSS_PAUSE):
            self._look(runner, batch_idx + 1)

    def _look(self, runner: Any, iteration: int) -> None:
        import torch
        from mmengine.optim import AmpOptimWrapper

        losses = self._losses
        if all(map(torch.is_tensor, losses)):
            # One copy for all: each copy makes the GPU wait.
            losses = torch.stack([loss.detach().reshape(()) for loss in losses]).cpu().tolist()
        values = list(map(float, losses))
        self._losses, self._looked = [], time.monotonic()
        allowed = _SKIPPED_STEPS if isinstance(runner.optim_wrapper, AmpOptimWrapper) else 0
        for number, value in enumerate(values, start=iteration - len(values) + 1):
            self._row = 0 if math.isfinite(value) else self._row + 1
            if self._row > allowed:
                raise DivergedError(f"the loss became {value}", runner, max(number, 1))
