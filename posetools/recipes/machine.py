"""Facts of the training machine for a recipe: its cores, its GPUs and their memory.

Emitting needs no torch, whose import takes seconds. So this module checks the device files for a GPU first; only if
there is one does ``mm/device.py`` ask torch for its name and memory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from posetools.errors import counted

GIB = 2**30

# NVIDIA's driver under Linux, and under the Windows subsystem for Linux.
_DRIVERS = (Path("/dev/nvidiactl"), Path("/proc/driver/nvidia/version"), Path("/dev/dxg"))


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    Attributes:
        name: the driver's name for it.
        memory: in bytes; None: not known.
    """

    name: str
    memory: int | None = None

    def __str__(self) -> str:
        return self.name if self.memory is None else f"{self.name} with {self.memory / GIB:.0f} GiB"


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine for training.

    Attributes:
        cores: number that this process may use.
        gpus: those that it may use.
    """

    cores: int
    gpus: tuple[Gpu, ...] = ()

    @property
    def gpu(self) -> Gpu | None:
        """The GPU with the least memory, which must fit a batch."""
        return min(self.gpus, key=lambda gpu: gpu.memory or 0, default=None)

    def __str__(self) -> str:
        """Return a short text, such as ``2 cores, no GPU``."""
        cores = counted(self.cores, "core")
        if self.gpu is None:
            return f"{cores}, no GPU"
        return f"{cores}, {len(self.gpus)} x {self.gpu}" if len(self.gpus) > 1 else f"{cores}, {self.gpu}"


def count_cores() -> int:
    """Return how many cores this process may use; the quota of a container counts."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _quota() or cores))


def _quota(path: Path = Path("/sys/fs/cgroup/cpu.max")) -> int | None:
    """Return a container's limit of cores, rounded up, or None."""
    try:
        quota, period = path.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return -(-int(quota) // int(period)) if quota.isdigit() and period.isdigit() and int(period) else None


def busy_text() -> str:
    """Return a warning if the load exceeds the number of cores, or "".

    The load counts all processes of the machine, so it is compared with all of its cores.
    """
    if not hasattr(os, "getloadavg"):
        return ""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load <= cores:
        return ""
    return (
        f"this machine is busy: a load of {load:.1f} on {counted(cores, 'core')}; measured times hold only "
        "under the same load"
    )


def has_gpu(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether there seems to be a CUDA GPU, without starting anything."""
    if environment.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    return any(path.exists() for path in _DRIVERS) or which("nvidia-smi") is not None


def read_machine() -> Machine:
    """Return this machine as far as known without torch, without a GPU's name and memory."""
    return Machine(count_cores(), (Gpu("GPU of unknown size"),) if has_gpu() else ())
