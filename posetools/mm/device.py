"""The devices of this machine: what the user may ask for, whether it is there, and what there is for a recipe."""

from __future__ import annotations

import re
from importlib.util import find_spec

from posetools.errors import RequestError, counted
from posetools.recipes.machine import Gpu, Machine, count_cores, has_gpu

AUTO = "auto"


def check_device(asked: str) -> None:
    """Refuse what is no name of a device, which needs no torch.

    Raises:
        RequestError: it is none of ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d*)?", asked):
        raise RequestError(f"--device must be auto, cpu, cuda or cuda:N, got {asked!r}")


def resolve_device(asked: str) -> str:
    """Return ``cpu`` or ``cuda:N`` for what was asked: ``auto`` (the first GPU, if any), ``cpu``, ``cuda``, ``cuda:N``.

    Raises:
        RequestError: it is none of these, or that GPU is not there.
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
            f"--device {asked}: this environment has {gpus} that torch can use\n"
            "  --device auto takes what is there; `posetools doctor` says why a GPU is not seen"
        )
    return f"cuda:{number or 0}"


def this_machine() -> Machine:
    """Return the cores and GPUs that a training here may use; torch is imported only where there is a sign of a GPU.

    A GPU that torch cannot use is none, because training would run on the CPU. Where the ``train`` extra is not
    installed nobody can tell how large a GPU is, and the recipe assumes a small one.
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
