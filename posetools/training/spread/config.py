"""What several processes change in a config.

- **Learning rate.** A step now has as many times the samples. The optimizer is of Adam's kind, whose rate goes with the
  square root of the batch (Malladi et al., On the SDEs and Scaling Rules for Adaptive Gradient Algorithms, 2022), as in
  the recipe itself. mmengine's ``auto_scale_lr`` is linear, which is the rule for SGD, so it is left off; who switches
  it on, or states a rate on the command line, gets just that. The floor of the cosine moves with the rate.
- **Warm-up** is counted in steps, of which there are fewer: a tenth of them at most, as in the recipe.
- **Batch normalization** looks at the images of all processes (SyncBN) on GPUs. It cannot on the CPU, where each
  process normalizes by its own and the running statistics are averaged (``SameBuffersHook``).
- **Evaluation** is shared out, and its results are gathered through the process group: mmengine's default gathers them
  in a folder ``.dist_test`` that all machines would have to share, and leaves that behind.
- ``processes`` is kept in the config, so that it is scaled once, however often the run is resumed.
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
# The share of all steps that warm-up may take, and the fewest steps it needs: as in the recipe.
_WARMUP_SHARE, _SHORTEST_WARMUP = 10, 2


def spread_out(
    config: Any, processes: int, *, gpus: bool, options: Sequence[str] = (), say: Callable[[str], None]
) -> None:
    """Change a config in place for as many processes as there are; with one, what an earlier run left is undone.

    Args:
        config: as it is to be run otherwise.
        processes: how many there are on all machines.
        gpus: whether each has one.
        options: what the user changed in the config by hand: a learning rate among it stays.
        say: takes the sentences about it.

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
    # The config may be another one than that which the work folder holds as run.
    with suppress(PosetoolsError):
        before, _ = recorded_processes(config_of_run(Path(config.work_dir)))
    if before != now:
        how = f"with --gpus {before} (or --processes {before} --device cpu)" if before > 1 else "without --gpus"
        raise RequestError(
            f"{config.work_dir}: was trained by {_processes(before)}, and goes on with as many, not with {now}: batch, "
            "learning rate and schedule are theirs\n"
            f"  resume it {how}; or start a new run from its weights with --weights"
        )


def _processes(number: int) -> str:
    return f"{number} processes" if number > 1 else "one process"


def _scale_rate(config: Any, before: int, now: int, options: Sequence[str], say: Callable[[str], None]) -> None:
    optimizer, batch = config.optim_wrapper["optimizer"], config.train_dataloader["batch_size"]
    step = f"{_processes(now)}: {now} x {batch} = {now * batch} samples a step"
    if any(option.partition("=")[0].strip() == _RATE for option in options):
        say(f"{step}, learning rate {optimizer['lr']:.3g} as said on the command line")
    elif (config.get("auto_scale_lr") or {}).get("enable"):
        say(f"{step}, learning rate as mmengine's auto_scale_lr scales it: with the batch")
    else:
        rate, factor = optimizer["lr"], sqrt(now / before)
        optimizer["lr"] = rate * factor
        for scheduler in config.get("param_scheduler") or ():
            if "eta_min" in scheduler:
                scheduler["eta_min"] *= factor
        root = f"sqrt({now})" if before == 1 else f"sqrt({now}/{before})"
        say(f"{step}, learning rate {rate:.3g} x {root} = {optimizer['lr']:.3g}")


def _scale_warmup(config: Any, processes: int) -> None:
    """Shorten warm-up; only in a config of `posetools config`, which says how many steps one process would take."""
    steps, epochs = config.get("iterations"), config.get("max_epochs")
    if not isinstance(steps, int) or not isinstance(epochs, int):
        return
    steps = ceil(steps * config.train_cfg["max_epochs"] / epochs / processes)
    longest = max(_SHORTEST_WARMUP, steps // _WARMUP_SHARE)
    for scheduler in config.get("param_scheduler") or ():
        if scheduler.get("type") == "LinearLR" and not scheduler.get("by_epoch", True):
            scheduler["end"] = min(scheduler["end"], longest)


def hooks_of_several(config: Any, device: str) -> list[Any]:
    """Return the hooks that a run of several processes needs, and say in its config how the model is wrapped."""
    if not here().several:
        return []
    # mmengine takes LOCAL_RANK for the GPU, also on the CPU and where each process sees one GPU only.
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
    # Stages are frozen when training begins, after the wrapper has asked which weights will have a gradient.
    return any(part.get("frozen_stages", -1) >= 0 for _, part in parts_of(model))


def _normalize(config: Any, say: Callable[[str], None], *, gpus: bool) -> None:
    if gpus:
        config.setdefault("sync_bn", "torch")
        return
    config.pop("sync_bn", None)
    if config.model.get("type") == "RTMDet":
        # It makes all of its BN SyncBN by itself, whatever norm_cfg says, where there are several processes.
        config.model["use_syncbn"] = False
    synced = [part for _, part in parts_of(config.model) if part.get("type") == "SyncBN"]
    for part in synced:
        part["type"] = "BN"
    if synced:
        say("SyncBN cannot run on the CPU: BN in its place")


def recorded_processes(path: Path) -> tuple[int, bool]:
    """Return by how many processes a run was trained, and whether on GPUs: what its config as run says.

    Raises:
        InputError: it cannot be read.
    """
    config = load_config(path)
    return int(config.get(PROCESSES, 1)), "sync_bn" in config
