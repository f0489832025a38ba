"""The devices of this machine: check and resolve ``--device``, and count cores and GPUs for a recipe."""

from __future__ import annotations

import re
from importlib.util import find_spec

from posetools.errors import RequestError, counted
from posetools.recipes.machine import Gpu, Machine, count_cores, has_gpu

AUTO = "auto"


def check_device(asked: str) -> None:
    """Refuse a name that is not a device; needs no torch.

    Raises:
        RequestError: it is none of ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d*)?", asked):
        raise RequestError(f"--device must be auto, cpu, cuda or cuda:N, got {asked!r}")


def resolve_device(asked: str) -> str:
    """Return ``cpu`` or ``cuda:N`` for ``auto`` (the first GPU, if any), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        RequestError: it is none of these, or that GPU does not exist.
    """
    check_device(asked)
    import torch

    if asked == AUTO:
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if asked == "cpu":
        return asked
    number = asked.partition(":")[2]
    there = torch.cuda.device_count()
    if int(number or 0) >= there:
        gpus = counted(there or "no", "GPU")
        raise RequestError(
            f"--device {asked}: this environment has {gpus} that torch can use",
            hint="pass --device auto, or run `posetools doctor` to see why a GPU is missing",
        )
    return f"cuda:{number or 0}"


def this_machine() -> Machine:
    """Return the cores and GPUs that training can use here; imports torch only if there is a sign of a GPU.

    A GPU that torch cannot use does not count, because training would run on the CPU. Without the ``train`` extra the
    memory of a GPU is unknown, and the recipe assumes a small one.
    """
    cores = count_cores()
    if not has_gpu():
        return Machine(cores)
    if find_spec("torch") is None:
        return Machine(cores, (Gpu("GPU of unknown size"),))
    import torch

    if not torch.cuda.is_available():
        return Machine(cores)
    found = (torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count()))
    return Machine(cores, tuple(Gpu(each.name, each.total_memory) for each in found))
