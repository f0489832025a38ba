"""What to do after a mishap of a run: only what can be done in the case at hand, each as it is typed."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Mapping
from pathlib import Path

# A run killed while it saves still has the checkpoint before.
FEWEST_KEPT = 2
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LESS_LR = 10


def more_room(number: int | None, kept: int) -> list[str]:
    """Return what makes room for a checkpoint.

    Args:
        number: the system's error number.
        kept: how many checkpoints of epochs are kept.
    """
    if number == errno.EFBIG:
        return ["a file may not be that large here: raise the limit (`ulimit -f`, or that of the file system)"]
    lines = ["free some space of your quota" if number == errno.EDQUOT else "free some space"]
    if kept > FEWEST_KEPT:
        lines[0] += f"; --resume with --keep {FEWEST_KEPT} removes {kept - FEWEST_KEPT} of the {kept} checkpoints"
    return lines


def fewer_workers(workers: Mapping[str, int], *, shared: bool) -> list[str]:
    """Return the options with which fewer processes load data, or none at all.

    Args:
        workers: how many each loader of the config has.
        shared: whether the memory that they share with the training is what is full.
    """
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
    """Return what needs less memory of a GPU, for a new run.

    Args:
        batch: the size of its batches.
        amp: whether it uses mixed precision.
    """
    ways = [f"--cfg-options train_dataloader.batch_size={batch // 2}"] if batch > 1 else []
    ways += [] if amp else ["--amp"]
    return [f"a new run needs less with {' or '.join(ways)}"] if ways else ["a smaller model or image size needs less"]


def after_divergence(
    *, kept: Path | None, again: str, lr: float | None, stepped: bool, amp: bool, data: Path
) -> list[str]:
    """Return what to try after the loss or the weights became NaN or infinite.

    Args:
        kept: the last checkpoint, or None.
        again: the command of a new run from it.
        lr: the learning rate of the config, where it has one.
        stepped: whether any step of the optimizer had been taken.
        amp: whether the run used mixed precision.
        data: the data set's folder.
    """
    lines = [f"{kept} is kept" if kept else "there is no checkpoint yet"]
    if stepped and lr is not None:
        lower = f"--cfg-options optim_wrapper.optimizer.lr={lr / _LESS_LR:.2g}"
        lines.append(f"try a lower learning rate (it was {lr:.2g}):")
        lines.append(f"{again} {lower}" if kept else f"the same command with {lower}")
    elif not stepped:
        lines.append("this was the first iteration: look at the labels and at the weights that it started from")
    lines += ["leave --amp out: float16 holds no large numbers"] if amp else []
    lines.append(f"look for wrong labels: {shlex.join(['posetools', 'validate', str(data)])}")
    return lines
