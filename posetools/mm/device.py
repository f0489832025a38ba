"""The device a command runs on: what the user may ask for, and whether it is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from posetools.errors import RequestError

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
        gpus = f"{there or 'no'} GPU{'' if there == 1 else 's'}"
        raise RequestError(
            f"--device {asked}: this environment has {gpus} that torch can use\n"
            "  --device auto takes what is there; `posetools doctor` says why a GPU is not seen"
        )
    return f"cuda:{number or 0}"


@contextmanager
def runner_device(device: str) -> Iterator[None]:
    """Make mmengine's Runner use this device: by itself it takes the first GPU whenever there is one."""
    from mmengine.device import utils

    before = utils.DEVICE
    if device.startswith("cuda"):
        import torch

        torch.cuda.set_device(device)
    utils.DEVICE = device.partition(":")[0]
    try:
        yield
    finally:
        utils.DEVICE = before
