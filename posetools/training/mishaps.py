"""What can befall a run, each in a sentence: what happened, where, what is kept, and what to do.

Full disks, killed workers, unreadable images, a GPU without memory, and numbers that are no numbers any more. What is
advised can be done in the case at hand, and is written as it is typed.
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

# A run killed while it saves still has the checkpoint before.
FEWEST_KEPT = 2
_DISK_IS_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LESS_LR = 10

# Seconds between two looks at the losses: reading one makes a GPU wait.
_LOSS_PAUSE = 0.5
# Mixed precision skips the steps whose gradients overflow, and finds its scale by that.
_SKIPPED_STEPS = 20

NO_CHECKPOINT = "there is no checkpoint yet"
AGAIN = ": the same command restarts the run"

_LOADERS = ("train_dataloader", "val_dataloader")
_WORKER = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?:is killed by signal: ([\w ]+)|exited unexpectedly)"
)
# MMPose's, mmcv's and Python's own words: the first ones hold the second. A worker's error is its whole traceback, with
# lines of source; braces tell those from messages.
_IMAGE_MESSAGES = (
    re.compile(r"occurs when loading `([^`{}\n]+)`"),
    re.compile(r"failed to load image: ([^`{}\n]+)"),
    re.compile(r"No such file or directory: '([^'{}\n]+)'"),
)


class DivergedError(RunError):
    """The loss or the weights are no finite numbers any more.

    Attributes:
        at_start: whether it is the very first iteration, before which no step was taken.
    """

    def __init__(self, what: str, runner: Any, iteration: int | None = None) -> None:
        self.at_start = runner.epoch == 0 and iteration == 1
        super().__init__(f"{what} {where(runner, iteration)}")


def where(runner: Any, iteration: int | None = None) -> str:
    """Return ``in epoch 3 of 100``, with the iteration (from 1) where that is known, or ``after epoch 3 of 100``."""
    if runner is None:
        return "before the first epoch"
    # mmengine lets the model evaluate until the next epoch begins, by whose number the runner goes already.
    if not runner.model.training:
        return f"after epoch {runner.epoch} of {runner.max_epochs}"
    epoch = f"in epoch {min(runner.epoch + 1, runner.max_epochs)} of {runner.max_epochs}"
    return f"{epoch}, at iteration {iteration}" if iteration is not None else epoch


def how_to_go_on(stage: Stage, work_dir: Path) -> tuple[str, str]:
    """Return what is kept, and the command that goes on from it, which follows as it is."""
    kept = last_in(work_dir)
    if kept is None:
        return NO_CHECKPOINT, AGAIN
    return f"{kept} is kept", f"\n  posetools train --stage {stage} --work-dir {work_dir} --resume goes on from there"


@contextmanager
def watched(stage: Stage, work_dir: Path, runner: Callable[[], Any]) -> Iterator[None]:
    """Turn what ends a run into one sentence that says how to go on; ``runner`` gives mmengine's once it is built.

    Raises:
        RunError: it failed.
        StoppedError: the user stopped it.
    """
    try:
        with failures("training failed", work_dir, lambda error: explained(error, runner(), stage, work_dir)), quiet():
            yield
    except KeyboardInterrupt as exc:
        kept, way = how_to_go_on(stage, work_dir)
        raise StoppedError(f"stopped {where(runner())}; {kept}", way) from exc


def explained(error: Exception, runner: Any, stage: Stage, work_dir: Path) -> RunError | None:
    """Return the sentence for what ended a run, or None for what this module does not know."""
    if isinstance(error, DivergedError):
        return _diverged(error, runner, stage, work_dir)
    config = {} if runner is None else runner.cfg
    place = where(runner)
    lines = _disk(error, place, work_dir) or _worker(error, place, config)
    lines = lines or _gpu_memory(error, place, config) or _image(error, place, config)
    if lines:
        kept, way = how_to_go_on(stage, work_dir)
        return RunError("\n  ".join([*lines, kept]), way)
    if runner is not None and first_not_finite(runner.model.state_dict()):
        # Networks with NaN in them fail in other ways as well, with words that do not say so.
        return _diverged(DivergedError("the weights are no finite numbers any more", runner), runner, stage, work_dir)
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error, and what it was raised from."""
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
    # Only the signal's own error, where it came first, names it.
    found = next((match for match in matches if match[1]), matches[0])
    how = f"was killed (signal {found[1].strip()})" if found[1] else "ended unexpectedly"
    shared = bool(found[1]) and "Bus error" in found[1]
    reason = (
        "/dev/shm, by which workers hand over images, is full" if shared else "most often the machine ran out of memory"
    )
    workers = {name: int((config.get(name) or {}).get("num_workers", 0)) for name in _LOADERS}
    return [f"a worker that loads data {how} {place}: {reason}", *fewer_workers(workers, shared=shared)]


def _gpu_memory(error: Exception, place: str, config: Mapping[str, Any]) -> list[str]:
    import torch

    # The class has another name before torch 2.5.
    if not isinstance(error, torch.cuda.OutOfMemoryError):
        return []
    batch = (config.get("train_dataloader") or {}).get("batch_size", 1)
    return [f"the GPU ran out of memory {place}", *less_memory(batch, amp=_is_amp(config))]


def _image(error: Exception, place: str, config: Mapping[str, Any]) -> list[str]:
    found = next((match for pattern in _IMAGE_MESSAGES if (match := pattern.search(str(error)))), None)
    path = Path(found[1] if found else "")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return []
    # What OpenCV cannot decode is None to it, without a reason.
    problem = "cannot be decoded (it is damaged or incomplete)" if path.is_file() else "is not there any more"
    root = data_root_of(config) if config else "DATA"
    others = f"posetools validate {root}"
    return [f"{path}: {problem}, which showed {place}", f"put the image back; `{others}` finds others like it"]


def _is_amp(config: Mapping[str, Any]) -> bool:
    return (config.get("optim_wrapper") or {}).get("type") == "AmpOptimWrapper"


def _diverged(error: DivergedError, runner: Any, stage: Stage, work_dir: Path) -> RunError:
    kept = last_in(work_dir)
    optimizer = (runner.cfg.get("optim_wrapper") or {}).get("optimizer") or {}
    again = ""
    if kept is not None:
        # The work folder keeps what went well, so the new run goes beside it.
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
    return RunError("\n  ".join([str(error), *lines]))


def more_room(number: int | None, kept: int) -> list[str]:
    """Return what makes room for a checkpoint, by the system's error number and how many checkpoints are kept."""
    if number == errno.EFBIG:
        return ["a file may not be that large here: raise the limit (`ulimit -f`, or that of the file system)"]
    lines = ["free some space of your quota" if number == errno.EDQUOT else "free some space"]
    if kept > FEWEST_KEPT:
        lines[0] += f"; --resume with --keep {FEWEST_KEPT} removes {kept - FEWEST_KEPT} of the {kept} checkpoints"
    return lines


def fewer_workers(workers: Mapping[str, int], *, shared: bool) -> list[str]:
    """Return the options with which fewer processes load data, none at all where ``shared`` memory is full."""
    options = []
    for loader, number in workers.items():
        fewer = 0 if shared else number // 2
        if number:
            options.append(f"{loader}.num_workers={fewer}")
        if number and not fewer:
            # torch refuses to keep workers where there are none.
            options.append(f"{loader}.persistent_workers=False")
    if not options:
        return []
    return [f"fewer workers need less memory: --cfg-options {' '.join(options)}"]


def less_memory(batch: int, *, amp: bool) -> list[str]:
    """Return what needs less memory of a GPU than this batch, for a new run."""
    ways = [f"--cfg-options train_dataloader.batch_size={batch // 2}"] if batch > 1 else []
    ways += [] if amp else ["--amp"]
    return [f"a new run needs less with {' or '.join(ways)}"] if ways else ["a smaller model or image size needs less"]


def after_divergence(
    *, kept: Path | None, again: str, lr: float | None, stepped: bool, amp: bool, data: Path
) -> list[str]:
    """Return what to try after the loss or the weights became NaN or infinite; ``again`` trains on from ``kept``."""
    lines = [f"{kept} is kept" if kept else NO_CHECKPOINT]
    if stepped and lr is not None:
        lower = f"--cfg-options optim_wrapper.optimizer.lr={lr / _LESS_LR:.2g}"
        lines.append(f"try a lower learning rate (it was {lr:.2g}):")
        lines.append(f"{again} {lower}" if kept else f"the same command with {lower}")
    elif not stepped:
        lines.append("this was the first iteration: look at the labels and at the weights that it started from")
    lines += ["leave --amp out: float16 holds no large numbers"] if amp else []
    lines.append(f"look for wrong labels: {shlex.join(['posetools', 'validate', str(data)])}")
    return lines


def first_not_finite(state: Mapping[str, Any]) -> str | None:
    """Return the name of the first tensor with NaN or infinity in it, or None."""
    import torch

    floats = ((name, value) for name, value in state.items() if torch.is_tensor(value) and value.is_floating_point())
    return next((name for name, value in floats if not bool(torch.isfinite(value).all())), None)


class GuardHook(RunHook):
    """Stops a run whose loss is no finite number, for less than a microsecond each.

    Losses are collected where they are and looked at together: twice a second, and at the end of an epoch, before
    anything is saved. With mixed precision single ones are its business; many in a row are not.
    """

    # Before CheckpointHook, which counts iterations in some configs.
    priority = "NORMAL"

    def __init__(self) -> None:
        self._losses: list[Any] = []
        self._looked = 0.0
        self._row = 0

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:  # noqa: ARG002
        """Take the loss."""
        if outputs and "loss" in outputs:
            loss = outputs["loss"]
            # With the graph of its iteration, a loss would hold much more than a number.
            self._losses.append(loss.detach() if hasattr(loss, "detach") else loss)
        last = batch_idx + 1 == len(runner.train_dataloader)
        if self._losses and (last or time.monotonic() - self._looked >= _LOSS_PAUSE):
            self._look(runner, batch_idx + 1)

    def _look(self, runner: Any, iteration: int) -> None:
        import torch
        from mmengine.optim import AmpOptimWrapper

        losses = self._losses
        if all(map(torch.is_tensor, losses)):
            # One copy for all: each of its own would make a GPU wait.
            losses = torch.stack([loss.detach().reshape(()) for loss in losses]).cpu().tolist()
        values = list(map(float, losses))
        self._losses, self._looked = [], time.monotonic()
        allowed = _SKIPPED_STEPS if isinstance(runner.optim_wrapper, AmpOptimWrapper) else 0
        for number, value in enumerate(values, start=iteration - len(values) + 1):
            self._row = 0 if math.isfinite(value) else self._row + 1
            if self._row > allowed:
                raise DivergedError(f"the loss became {value}", runner, max(number, 1))
