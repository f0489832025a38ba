"""Config changes for several processes.

- **Learning rate.** A step has N times the samples. The rate of Adam-like optimizers scales with the square root of the
  batch size (Malladi et al., On the SDEs and Scaling Rules for Adaptive Gradient Algorithms, 2022), as in the recipe.
  mmengine's ``auto_scale_lr`` is linear, the rule for SGD, so it stays off; if you enable it, or set a rate on the
  command line, that is used. The minimum of the cosine scales with the rate.
- **Warm-up** counts steps, of which there are fewer: it takes at most a tenth of them, as in the recipe.
- **Batch normalization** uses the images of all processes (SyncBN) on GPUs. On the CPU that does not work: each process
  normalizes its own images, and the running statistics are averaged (``SameBuffersHook``).
- **Evaluation** is split, and its results are gathered through the process group: mmengine's default gathers them in a
  folder ``.dist_test`` that all machines would have to share, and does not remove it.
- ``processes`` is saved in the config, so that resuming does not scale it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import ceil, sqrt
from pathlib import Path
from typing import Any

from posetools.errors import PosetoolsError, RequestError
from posetools.mm.configs import config_of_run, load_config, parts_of
from posetools.training.spread.processes import SameBuffersHook, here

PROCESSES = "processes"
_RATE = "optim_wrapper.optimizer.lr"
# Warm-up takes at most 1/10 of all steps, and at least 2: as in the recipe.
_WARMUP_SHARE, _SHORTEST_WARMUP = 10, 2


def spread_out(
    config: Any, processes: int, *, gpus: bool, options: Sequence[str] = (), say: Callable[[str], None]
) -> None:
    """Change a config in place for a number of processes; with one, undo earlier changes.

    Args:
        config: the config, otherwise ready to run.
        processes: the number on all machines.
        gpus: whether each has a GPU.
        options: the user's config changes; a learning rate among them stays.
        say: receives messages.

    Raises:
        RequestError: the run to resume was trained by another number of processes.
    """
    before = int(config.get(PROCESSES, 1))
    if config.get("resume"):
        _check_number(config, before, processes)
    config.launcher = "pytorch" if processes > 1 else "none"
    if before != processes:
        config[PROCESSES] = processes
        _scale_rate(config, before, processes, options, say)
        if before == 1:
            _scale_warmup(config, processes)
    if processes == 1:
        return
    _normalize(config, say, gpus=gpus)
    for name in ("val_evaluator", "test_evaluator"):
        evaluator = config.get(name) or ()
        for metric in evaluator if isinstance(evaluator, list | tuple) else [evaluator]:
            metric.setdefault("collect_device", "gpu")


def _check_number(config: Any, before: int, now: int) -> None:
    # The config may differ from the one in the work folder.
    with suppress(PosetoolsError):
        before, _ = recorded_processes(config_of_run(Path(config.work_dir)))
    if before != now:
        how = f"with --gpus {before} (or --processes {before} --device cpu)" if before > 1 else "without --gpus"
        raise RequestError(
            f"{config.work_dir}: must be resumed with {_processes(before)}, as it was trained, got {now}: "
            "batch size, learning rate and schedule depend on it",
            hint=f"resume it {how}; or start a new run from its weights with --weights",
        )


def _processes(number: int) -> str:
    return f"{number} processes" if number > 1 else "one process"


def _scale_rate(config: Any, before: int, now: int, options: Sequence[str], say: Callable[[str], None]) -> None:
    optimizer, batch = config.optim_wrapper["optimizer"], config.train_dataloader["batch_size"]
    step = f"{_processes(now)}: {now} x {batch} = {now * batch} samples per step"
    if any(option.partition("=")[0].strip() == _RATE for option in options):
        say(f"{step}, learning rate {optimizer['lr']:.3g} from the command line")
    elif (config.get("auto_scale_lr") or {}).get("enable"):
        say(f"{step}, learning rate scaled linearly by mmengine's auto_scale_lr")
    else:
        rate, factor = optimizer["lr"], sqrt(now / before)
        optimizer["lr"] = rate * factor
        for scheduler in config.get("param_scheduler") or ():
            if "eta_min" in scheduler:
                scheduler["eta_min"] *= factor
        root = f"sqrt({now})" if before == 1 else f"sqrt({now}/{before})"
        say(f"{step}, learning rate {rate:.3g} x {root} = {optimizer['lr']:.3g}")


def _scale_warmup(config: Any, processes: int) -> None:
    """Shorten warm-up, if the config is from `posetools config` and so has the steps of one process."""
    steps, epochs = config.get("iterations"), config.get("max_epochs")
    if not isinstance(steps, int) or not isinstance(epochs, int):
        return
    steps = ceil(steps * config.train_cfg["max_epochs"] / epochs / processes)
    longest = max(_SHORTEST_WARMUP, steps // _WARMUP_SHARE)
    for scheduler in config.get("param_scheduler") or ():
        if scheduler.get("type") == "LinearLR" and not scheduler.get("by_epoch", True):
            scheduler["end"] = min(scheduler["end"], longest)


def hooks_of_several(config: Any, device: str) -> list[Any]:
    """Return the hooks for several processes, and set the model wrapper in the config."""
    if not here().several:
        return []
    # mmengine uses LOCAL_RANK as the GPU, also on the CPU and where each process sees only one GPU.
    number = device.partition(":")[2]
    unused = config.get("find_unused_parameters", _has_frozen_stages(config.model))
    config.model_wrapper_cfg = {
        "type": "MMDistributedDataParallel",
        "broadcast_buffers": False,
        "find_unused_parameters": unused,
        **(config.get("model_wrapper_cfg") or {}),
        "device_ids": [int(number)] if number else None,
    }
    return [SameBuffersHook()]


def _has_frozen_stages(model: Any) -> bool:
    # Stages are frozen when training starts, after the wrapper has listed the weights with a gradient.
    return any(part.get("frozen_stages", -1) >= 0 for _, part in parts_of(model))


def _normalize(config: Any, say: Callable[[str], None], *, gpus: bool) -> None:
    if gpus:
        config.setdefault("sync_bn", "torch")
        return
    config.pop("sync_bn", None)
    if config.model.get("type") == "RTMDet":
        # RTMDet converts all of its BN to SyncBN with several processes, whatever norm_cfg says.
        config.model["use_syncbn"] = False
    synced = [part for _, part in parts_of(config.model) if part.get("type") == "SyncBN"]
    for part in synced:
        part["type"] = "BN"
    if synced:
        say("SyncBN cannot run on the CPU: using BN")


def recorded_processes(path: Path) -> tuple[int, bool]:
    """Return the number of processes of a run, and whether they used GPUs, from its config as run.

    Raises:
        InputError: it cannot be read.
    """
    config = load_config(path)
    return int(config.get(PROCESSES, 1)), "sync_bn" in config
