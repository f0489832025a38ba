"""A Dask cluster of separate processes on this machine, for tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep

import posetools

ROOT = Path(posetools.__file__).parent.parent
_SECONDS = 60
# A nanny may be starting a new worker after one was killed.
_LAST_SECONDS = 5
# How long a scheduler tries to reach a worker that was lost while it fetched a result; Dask's default is 30 seconds.
_QUICK = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"}
# Nannies restart a lost worker; no dashboard, no files in the home folder.
_WORKER = ("-m", "dask", "worker", "--nworkers", "1", "--no-dashboard", "--memory-limit", "0")


@contextmanager
def scheduler(folder: Path) -> Iterator[str]:
    """Start a scheduler and give its address."""
    with scheduler_process(folder) as (address, _):
        yield address


@contextmanager
def scheduler_process(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a scheduler and give its address and its process."""
    told = folder / "scheduler.json"
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told))
    with _running("-m", "dask", "scheduler", *options, folder=folder, name="scheduler") as process:
        deadline = monotonic() + _SECONDS
        while not told.exists() or not told.read_text().endswith("}"):
            assert process.poll() is None, (folder / "scheduler.log").read_text()
            assert monotonic() < deadline
            sleep(0.05)
        yield json.loads(told.read_text())["address"], process


@contextmanager
def workers(
    address: str, folder: Path, number: int, environment: Mapping[str, str] | None = None, *, threads: int = 2
) -> Iterator[None]:
    """Start this many workers of some threads, each with a nanny, and wait for them."""
    from distributed import Client

    with ExitStack() as stack:
        for index in range(number):
            options = (address, "--nthreads", str(threads), "--host", "127.0.0.1", "--local-directory", str(folder))
            stack.enter_context(
                _running(*_WORKER, *options, folder=folder, name=f"worker{index}", environment=environment)
            )
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(number, timeout=_SECONDS)
        yield


@contextmanager
def _running(
    *arguments: str, folder: Path, name: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    given = environment if environment is not None else {"PYTHONPATH": str(ROOT)}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=log, stderr=log, cwd=folder, env={**os.environ, **_QUICK, **given}
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_LAST_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
