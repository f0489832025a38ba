"""Several processes that train one model: how they find and wait for each other.

The launcher is ``pytorch`` (torchrun, or ``posetools train --gpus N``, which runs torchrun in this process:
``launch``), ``slurm`` (srun) or ``mpi`` (mpirun of Open MPI). Each sets environment variables with the rank; mmengine's
launchers read the same ones. mmengine creates the process group only on GPUs, but keeps an existing one, so ``join``
creates it first: NCCL on GPUs, gloo on the CPU.

The config changes for several processes are in ``config``.
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

# Each launcher's variables for the rank, the local rank, and the number of processes.
_VARIABLES: Mapping[str, tuple[str, str, str]] = {
    "pytorch": ("RANK", "LOCAL_RANK", "WORLD_SIZE"),
    "slurm": ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"),
}
_STARTED_WITH = {"pytorch": "torchrun", "slurm": "srun (`posetools slurm` writes a job file)", "mpi": "mpirun"}
# mmengine's default port.
_PORT = "29500"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ProcessPlace:
    """This process's place among the processes of a run.

    Attributes:
        rank: its number among all, from 0.
        local_rank: its number on this machine, from 0.
        world: the number of processes on all machines.
    """

    rank: int = 0
    local_rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports progress."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are several processes."""
        return self.world > 1


ALONE = ProcessPlace()


def place_of(launcher: str, environment: Mapping[str, str] = os.environ) -> ProcessPlace:
    """Return this process's place, from the launcher's environment variables.

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
                f"--launcher {launcher}: the environment variable {name} must be a number, got {text!r}",
                hint=(
                    f"start the command with {_STARTED_WITH[launcher]}, which sets it, or use "
                    "`posetools train --gpus N` on one machine"
                ),
            )
        values.append(int(text))
    return ProcessPlace(*values)


def device_of(place: ProcessPlace, asked: str) -> str:
    """Return the device of this process: the GPU of its local rank, or the CPU.

    Args:
        place: which process this is.
        asked: ``auto`` (GPUs if there are any), ``cuda`` or ``cpu``.

    Raises:
        RequestError: another device is requested, or this machine has fewer GPUs than processes.
    """
    import torch

    if asked not in (AUTO, "cuda", "cpu"):
        raise RequestError(
            f"--device must be auto, cuda or cpu for several processes, got {asked!r}",
            hint="choose GPUs with the variable CUDA_VISIBLE_DEVICES: each process uses the GPU of its local rank",
        )
    there = torch.cuda.device_count()
    if asked == "cpu" or (asked == AUTO and not there):
        return "cpu"
    # If the cluster gives each process one visible GPU, it is number 0 in each.
    own = "SLURM_STEP_GPUS" in os.environ or "SLURM_GPUS_PER_TASK" in os.environ
    number = 0 if there == 1 and own else place.local_rank
    if number >= there:
        raise RequestError(
            f"process {place.local_rank} of this machine requires its own GPU, but torch can use {there or 'none'}",
            hint="start one process per GPU, or run `posetools doctor` to see why a GPU is missing",
        )
    return f"cuda:{number}"


def join(launcher: str, asked: str) -> tuple[ProcessPlace, str]:
    """Join the process group, and return this process's place and device.

    Without a launcher nothing happens, and the device is the requested one.

    Raises:
        RequestError: the launcher did not start this process, there is no such device, or the address of the first
            process is unknown.
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
    """Return this process's place in the group; ALONE before it has joined."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return ALONE
    return ProcessPlace(distributed.get_rank(), int(os.environ.get("LOCAL_RANK", "0")), distributed.get_world_size())


@contextmanager
def one_of_several(launcher: str) -> Iterator[None]:
    """Silence all processes but the first, name the process in errors, and leave the group at the end.

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
                exc.sentence = f"process {place.rank} of {place.world}: {exc.sentence}"
            raise
    leave()


def leave() -> None:
    """End the group after every process is done. Without a group nothing happens.

    Do not call it in a process that fails: it waits for the others.
    """
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        # Otherwise gloo aborts a process that still waits for the others when their connections close.
        distributed.barrier()
        distributed.destroy_process_group()


def _meeting_point(launcher: str, place: ProcessPlace) -> dict[str, str]:
    """Return the variables for torch (address of the first process) and mmengine (ranks)."""
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
        f"--launcher {launcher}: the environment variable MASTER_ADDR must be the machine of process 0",
        hint="set it in the job: `mpirun -x MASTER_ADDR=node1 ...`",
    )


def _first_of_slurm(nodes: str) -> str:
    command = ["scontrol", "show", "hostnames", nodes]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise RequestError(
            f"--launcher slurm: cannot find the first machine with `{' '.join(command)}`: {exc}",
            hint="set the environment variable MASTER_ADDR in the job",
        ) from exc
    return done.stdout.split()[0]


def by_first(work: Callable[[], T]) -> T:
    """Run ``work`` in the first process only, and return its result in all.

    Raises:
        PosetoolsError: it failed (in the first process).
        SystemExit: it failed (in the others; the first one reports the error).
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
    """Run ``work`` in the first process, then in the others, and return its result: the first may write files.

    Raises:
        PosetoolsError: it failed in this process.
        SystemExit: it failed in the first process.
    """
    own: list[T] = []
    # The result may be too large to send.
    by_first(lambda: own.append(work()))
    return own[0] if own else work()


class SameBuffersHook(RunHook):
    """Averages the model's buffers over all processes before it is saved or evaluated.

    Each process has its own running means and variances of batch normalization, but all must save and evaluate the
    same model. Unlike mmengine's hook, this also averages the buffers of the EMA model.
    """

    # Before EMAHook swaps the two models, and before CheckpointHook saves them.
    priority = "HIGH"

    def after_train_epoch(self, runner: Any) -> None:
        """Average the buffers."""
        from mmengine.dist import all_reduce

        averaged = (getattr(hook, "ema_model", None) for hook in runner.hooks)
        for model in (runner.model, *(model for model in averaged if model is not None)):
            for buffer in model.buffers():
                # Counts are the same everywhere.
                if buffer.is_floating_point():
                    all_reduce(buffer, op="mean")

    before_val_epoch = after_train_epoch
