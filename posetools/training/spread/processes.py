"""Several processes that train one model together: how each finds the others, and what they take turns in.

Who starts them is one of ``LAUNCHERS``: ``pytorch`` (torchrun, and ``posetools train --gpus N``, which is torchrun in
this very process: ``launch``), ``slurm`` (srun) or ``mpi`` (mpirun of Open MPI). Each leaves in the
environment which process this is; the names are those that mmengine's own launchers read. mmengine would start the
process group itself, but only on GPUs; it leaves one alone that is already there, so ``join`` makes it first: NCCL on
GPUs, gloo on the CPU.

What several processes change in a config: ``config``.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from posetools.errors import PosetoolsError, RequestError
from posetools.mm.device import AUTO
from posetools.mm.stack import RunHook

Launcher: TypeAlias = Literal["none", "pytorch", "slurm", "mpi"]

# What each launcher calls the number of this process, its number on this machine, and how many there are.
_VARIABLES: Mapping[str, tuple[str, str, str]] = {
    "pytorch": ("RANK", "LOCAL_RANK", "WORLD_SIZE"),
    "slurm": ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"),
}
_STARTED_WITH = {"pytorch": "torchrun", "slurm": "srun (`posetools slurm` writes a job file)", "mpi": "mpirun"}
# mmengine's port, where nobody names one.
_PORT = "29500"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ProcessPlace:
    """Which of the processes of a run this is.

    Attributes:
        rank: its number among all, from 0.
        local_rank: its number on this machine, from 0.
        world: how many there are on all machines.
    """

    rank: int = 0
    local_rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and tells the user where the run is."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.world > 1


ALONE = ProcessPlace()


def place_of(launcher: str, environment: Mapping[str, str] = os.environ) -> ProcessPlace:
    """Return which process this is, by what the launcher left in the environment.

    Raises:
        RequestError: there is no such launcher, or it did not start this process.
    """
    if launcher == "none":
        return ALONE
    if launcher not in _VARIABLES:
        raise RequestError(f"--launcher must be none, {', '.join(_VARIABLES)}, got {launcher!r}")
    values = []
    for name in _VARIABLES[launcher]:
        text = environment.get(name, "")
        if not text.isdigit():
            raise RequestError(
                f"--launcher {launcher}: the environment variable {name} must be a number, got {text!r}\n"
                f"  start the command with {_STARTED_WITH[launcher]}, which sets it; `posetools train --gpus N` starts "
                "the processes of one machine itself"
            )
        values.append(int(text))
    return ProcessPlace(*values)


def device_of(place: ProcessPlace, asked: str) -> str:
    """Return the device of this process: the GPU with its number on this machine, or the CPU.

    Args:
        place: which process this is.
        asked: ``auto`` (GPUs if there are any), ``cuda`` or ``cpu``.

    Raises:
        RequestError: the device is another one, or this machine has fewer GPUs than processes.
    """
    import torch

    if asked not in (AUTO, "cuda", "cpu"):
        raise RequestError(
            f"--device must be auto, cuda or cpu for several processes, got {asked!r}\n"
            "  each takes the GPU of its own number; the environment variable CUDA_VISIBLE_DEVICES says which there are"
        )
    there = torch.cuda.device_count()
    if asked == "cpu" or (asked == AUTO and not there):
        return "cpu"
    # Where the cluster shows each process one GPU of its own, that one is number 0 to all of them.
    own = "SLURM_STEP_GPUS" in os.environ or "SLURM_GPUS_PER_TASK" in os.environ
    number = 0 if there == 1 and own else place.local_rank
    if number >= there:
        raise RequestError(
            f"process {place.local_rank} of this machine needs a GPU of its own, but torch can use {there or 'none'}\n"
            "  start as many processes as there are GPUs; `posetools doctor` says why a GPU is not seen"
        )
    return f"cuda:{number}"


def join(launcher: str, asked: str) -> tuple[ProcessPlace, str]:
    """Make this process one of the group, and return which one it is and its device.

    Without a launcher nothing happens, and the device is what was asked for.

    Raises:
        RequestError: the launcher did not start this process, there is no such device, or nobody says where the first
            process is.
    """
    place = place_of(launcher)
    if launcher == "none":
        return place, asked
    import torch
    from torch import distributed

    device = device_of(place, asked)
    if device != "cpu":
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        os.environ.update(_meeting_point(launcher, place))
        distributed.init_process_group("gloo" if device == "cpu" else "nccl", rank=place.rank, world_size=place.world)
    return place, device


def here() -> ProcessPlace:
    """Return which process this is, once it has joined the others; until then it is alone."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return ALONE
    return ProcessPlace(distributed.get_rank(), int(os.environ.get("LOCAL_RANK", "0")), distributed.get_world_size())


@contextmanager
def one_of_several(launcher: str) -> Iterator[None]:
    """Let all processes but the first one be silent, and say which one an error is of; leave the group at the end.

    Raises:
        RequestError: the launcher did not start this process.
    """
    place = place_of(launcher)
    if launcher == "none":
        yield
        return
    with ExitStack() as stack:
        if not place.first:
            nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        try:
            yield
        except PosetoolsError as exc:
            if not place.first:
                exc.args = (f"process {place.rank} of {place.world}: {exc}",)
            raise
    leave()


def leave() -> None:
    """End the group: every process has done its part. Without a group nothing happens.

    It is not for a process that fails: the others would be waited for.
    """
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        # gloo aborts a process that still waits for the others' last word when their connections are closed.
        distributed.barrier()
        distributed.destroy_process_group()


def _meeting_point(launcher: str, place: ProcessPlace) -> dict[str, str]:
    """Return the variables by which torch finds the first process, and mmengine this one's number."""
    known = os.environ.get("MASTER_ADDR")
    return {
        "RANK": str(place.rank),
        "LOCAL_RANK": str(place.local_rank),
        "WORLD_SIZE": str(place.world),
        "MASTER_ADDR": known or _first_machine(launcher, place),
        "MASTER_PORT": os.environ.get("MASTER_PORT", _PORT),
    }


def _first_machine(launcher: str, place: ProcessPlace) -> str:
    if launcher == "slurm":
        return _first_of_slurm(os.environ.get("SLURM_JOB_NODELIST") or os.environ.get("SLURM_NODELIST") or "")
    if launcher == "mpi" and os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") == str(place.world):
        return "127.0.0.1"
    raise RequestError(
        f"--launcher {launcher}: the environment variable MASTER_ADDR must name the machine of process 0\n"
        "  set it in the job: `mpirun -x MASTER_ADDR=node1 ...`"
    )


def _first_of_slurm(nodes: str) -> str:
    command = ["scontrol", "show", "hostnames", nodes]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise RequestError(
            f"--launcher slurm: `{' '.join(command)}` does not say which machine is the first: {exc}\n"
            "  set the environment variable MASTER_ADDR in the job"
        ) from exc
    return done.stdout.split()[0]


def by_first(work: Callable[[], T]) -> T:
    """Return what ``work`` gives in the first process, where alone it is run, in all of them.

    Raises:
        PosetoolsError: it failed, in the first process.
        SystemExit: it failed there, in all others: the first one says why.
    """
    place = here()
    if not place.several:
        return work()
    from torch import distributed

    outcome: list[Any] = [None, None]
    if place.first:
        try:
            outcome[0] = work()
        except PosetoolsError as exc:
            distributed.broadcast_object_list([None, exc.exit_status])
            raise
    distributed.broadcast_object_list(outcome)
    value, failed = outcome
    if failed is not None:
        raise SystemExit(failed)
    return value  # type: ignore[no-any-return]


def in_turn(work: Callable[[], T]) -> T:
    """Return what ``work`` gives in this process, run after it was in the first one: it may write files there.

    Raises:
        PosetoolsError: it failed in this process.
        SystemExit: it failed in the first one.
    """
    own: list[T] = []
    # What it gives may be too much to be sent.
    by_first(lambda: own.append(work()))
    return own[0] if own else work()


class SameBuffersHook(RunHook):
    """Gives the model the same buffers in all processes before it is saved or evaluated.

    Each process has its own running means and variances of batch normalization, of the images that it has seen; what
    is saved and what each evaluates its part of the split with has to be one model. Their mean is taken, also in the
    averaged model (EMA), where mmengine's own hook for this does not look.
    """

    # Before EMAHook swaps the two models, and before CheckpointHook saves them.
    priority = "HIGH"

    def after_train_epoch(self, runner: Any) -> None:
        """Take the mean."""
        from mmengine.dist import all_reduce

        averaged = (getattr(hook, "ema_model", None) for hook in runner.hooks)
        for model in (runner.model, *(model for model in averaged if model is not None)):
            for buffer in model.buffers():
                # Counts are the same everywhere.
                if buffer.is_floating_point():
                    all_reduce(buffer, op="mean")

    before_val_epoch = after_train_epoch
