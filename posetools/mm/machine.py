"""What is in this machine, for the recipe. torch is imported only where there is a sign of a GPU."""

from __future__ import annotations

from importlib.util import find_spec

from posetools.recipes.machine import Gpu, Machine, count_cores, has_gpu


def this_machine() -> Machine:
    """Return the cores and GPUs that a training here may use.

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
