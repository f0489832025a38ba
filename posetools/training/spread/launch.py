"""``posetools train --gpus N``: N processes on one machine, started and watched by PyTorch's launcher.

The launcher is ``torch.distributed.run``, called through its Python interface in this process: it finds a free port,
numbers the processes, forwards signals, and ends all processes when one dies. Each process is a ``worker`` that gets
the planned and checked run; the first one sends back messages and progress. So you see one display, one error message,
and the exit status of the process that failed first; each process's own output goes to a file, shown only with
POSETOOLS_DEBUG=1.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from posetools.errors import PosetoolsError, RequestError, RunError, StoppedError, counted
from posetools.mm.configs import config_of_run
from posetools.mm.device import AUTO
from posetools.training.hooks import TrainListener, TrainStatus
from posetools.training.mishaps import how_to_go_on
from posetools.training.spread.config import recorded_processes

if TYPE_CHECKING:
    from posetools.training.request import TrainRequest
    from posetools.training.train import RunPlan, TrainResult

# Files in the folder: the planned run, and the pipe for the first process's messages.
RUN, CHANNEL = "run.pickle", "channel"
# Seconds to wait for the last messages of an ended process.
_ENDING_PATIENCE = 5.0


def to_start(request: TrainRequest) -> tuple[int, str]:
    """Return how many processes to start, and on which device type; 1: this process trains.

    A resumed run has as many as before, unless the request says otherwise.

    Raises:
        RequestError: the options contradict each other, or there are fewer GPUs.
    """
    gpus, processes = request.gpus, request.processes
    if sys.platform == "win32" and max(gpus or 1, processes or 1) > 1:
        raise RequestError(
            "--gpus and --processes above 1 require Linux or macOS", hint="omit them to train in one process"
        )
    if request.launcher != "none" or (gpus is not None and processes is not None):
        if gpus is None and processes is None:
            return 1, request.device
        raise RequestError("--gpus, --processes and --launcher cannot be combined", hint="use one of them")
    if gpus is None and processes is None and request.resume and request.work_dir is not None:
        gpus, processes = _before(request.work_dir)
    if gpus is not None:
        _check_gpus(gpus, request.device)
        return gpus, "cuda"
    if processes is not None and processes > 1:
        _check_cpu(processes, request.device)
        return processes, "cpu"
    return 1, request.device


def _before(work_dir: Path) -> tuple[int | None, int | None]:
    try:
        number, gpus = recorded_processes(config_of_run(work_dir))
    except PosetoolsError:
        # Reading the config for training reports the error.
        return None, None
    if number == 1:
        return None, None
    return (number, None) if gpus else (None, number)


def _check_gpus(number: int, device: str) -> None:
    import torch

    if number > 1 and device not in (AUTO, "cuda"):
        raise RequestError(
            f"--gpus {number} uses the first {number} GPUs, it cannot be combined with --device {device}"
        )
    there = torch.cuda.device_count()
    if number > there:
        cores = os.cpu_count() or 1
        gpus = counted(there or "no", "GPU")
        raise RequestError(
            f"--gpus {number}: torch can use {gpus} and {cores} CPU cores",
            hint=(
                f"use --processes {min(number, cores)} --device cpu to train on the CPU; "
                "run `posetools doctor` if a GPU is missing"
            ),
        )


def _check_cpu(number: int, device: str) -> None:
    import torch

    there = torch.cuda.device_count()
    if device != "cpu" and not (device == AUTO and not there):
        raise RequestError(
            f"--processes {number} is for the CPU, got --device {device} and {there or 'no'} GPU{'s'[: there != 1]}",
            hint=f"use --gpus {number} for GPUs, or --device cpu",
        )


def launch(planned: RunPlan, listener: TrainListener) -> TrainResult:
    """Run a planned run with its number of processes on this machine, and return the first one's result.

    Raises:
        PosetoolsError: the error of the process that failed first, with its exit status.
        StoppedError: the user stopped the run.
    """
    number, device = planned.processes, planned.device.partition(":")[0]
    listener.say(f"starting {number} processes")
    with tempfile.TemporaryDirectory(prefix="posetools-") as name:
        folder = Path(name)
        (folder / RUN).write_bytes(pickle.dumps(replace(planned, processes=1, device=device)))
        with _heard(folder, listener) as results, _surroundings(number, device):
            trouble = _run(number, folder)
        if trouble is not None and os.environ.get("POSETOOLS_DEBUG") == "1":
            for path in sorted(folder.glob("*.log")):
                print(f"{path.stem}:\n{path.read_text(encoding='utf-8', errors='replace')}", file=sys.stderr)
        if trouble is not None or not results:
            raise _error(trouble, planned, folder)
    return results[0]


@contextmanager
def _heard(folder: Path, listener: TrainListener) -> Iterator[list[TrainResult]]:
    """Yield a list for the first process's result; forward its messages meanwhile."""
    results: list[TrainResult] = []
    os.mkfifo(folder / CHANNEL)
    # Opening a pipe blocks until the other end is open, except with O_NONBLOCK.
    reading = os.open(folder / CHANNEL, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)

    def listen() -> None:
        with os.fdopen(reading, "rb") as channel:
            while (heard := pickle.load(channel)) is not None:
                if isinstance(heard, str):
                    listener.say(heard)
                elif isinstance(heard, TrainStatus):
                    listener.update(heard)
                else:
                    results.append(heard)

    with (folder / CHANNEL).open("wb", buffering=0) as own:
        thread = Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield results
        finally:
            with suppress(BrokenPipeError):
                own.write(pickle.dumps(None))
            thread.join(_ENDING_PATIENCE)


@contextmanager
def _surroundings(number: int, device: str) -> Iterator[None]:
    """Set environment variables for the processes, silence the launcher, and restore signal handlers afterwards."""
    variables = {} if device != "cpu" else {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // number))}
    before = dict(os.environ)
    os.environ.update({name: value for name, value in variables.items() if name not in before})
    handlers = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    # The launcher logs paragraphs to stderr when a process dies; our one message has what matters.
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        for which, handler in handlers.items():
            signal.signal(which, handler)
        os.environ.clear()
        os.environ.update(before)


def _run(number: int, folder: Path) -> Exception | signal.Signals | None:
    """Run the processes to their end, and return the error or signal that ended them."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=number,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
        local_addr="localhost",
    )
    try:
        worker = ("-m", "posetools.training.spread.worker", str(folder), str(os.getpid()))
        elastic_launch(config, sys.executable)("-P", *worker)
    except SignalException as exc:
        return signal.Signals(exc.sigval)
    except KeyboardInterrupt:
        # The launcher does not handle signals yet.
        return signal.SIGINT
    except (ChildFailedError, RendezvousError) as exc:
        failed: Exception = exc
        return failed
    return None


def _error(trouble: Exception | signal.Signals | None, planned: RunPlan, folder: Path) -> PosetoolsError:
    """Return the error of the process that failed first."""
    number, (kept, way) = planned.processes, how_to_go_on(planned.stage, planned.work_dir)
    errors: dict[Path, PosetoolsError] = {path: pickle.loads(path.read_bytes()) for path in folder.glob("*.error")}
    if isinstance(trouble, signal.Signals):
        stopped = [error for _, error in sorted(errors.items()) if isinstance(error, StoppedError)]
        if trouble is signal.SIGINT and stopped:
            return stopped[0]
        by_signal = StoppedError(f"stopped by {trouble.name}", kept, way=way)
        by_signal.exit_status = 128 + trouble
        return by_signal
    failures = dict(getattr(trouble, "failures", {}))
    killed = {
        rank: signal.Signals(-failure.exitcode)
        for rank, failure in failures.items()
        if failure.exitcode < 0 and -failure.exitcode != signal.SIGTERM
    }
    # A killed process breaks the others' connections, so their errors are only consequences.
    for rank, by in killed.items():
        why = "; the machine's memory may have been full" if by == signal.SIGKILL else ""
        return RunError(f"training failed: process {rank} of {number} was killed by {by.name}{why}", kept, way=way)
    if errors:
        return errors[min(errors, key=lambda path: path.stat().st_mtime_ns)]
    for rank, failure in failures.items():
        last = _last_line(folder / f"process{rank}.log")
        return RunError(f"training failed: process {rank} of {number} ended with status {failure.exitcode}: {last}")
    return RunError(f"training failed: cannot start the processes: {trouble}")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.is_file() else []
    # torch prefixes each line with the rank.
    return re.sub(r"^\[rank\d+\]: ", "", lines[-1].strip()) if lines else "no output"
