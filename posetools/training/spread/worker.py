"""One of the processes that ``posetools train --gpus N`` starts: ``python -m posetools.training.spread.worker FOLDER``.

FOLDER holds the socket of the process that started it (``launch``). It sends its number, is sent the run
that was planned, runs it, and sends what is to be said. What torch and others print goes to a file in FOLDER. When the
process that started it is gone, this one ends too.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from dataclasses import replace
from multiprocessing.connection import Client, Connection
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import TYPE_CHECKING, Any

from posetools.errors import PosetoolsError
from posetools.training.hooks import TrainListener, TrainStatus
from posetools.training.spread.launch import SOCKET

if TYPE_CHECKING:
    from posetools.training.train import Planned, TrainResult


class _Sender:
    """A listener that passes on what it is told."""

    def __init__(self, channel: Connection) -> None:
        self._channel = channel

    def say(self, line: str) -> None:
        self._channel.send(("say", line))

    def update(self, status: TrainStatus) -> None:
        self._channel.send(("update", status))


def main(folder: Path) -> int:
    """Train as one of several processes; return the exit status."""
    rank = int(os.environ["RANK"])
    _write_to(folder / f"process{os.environ['LOCAL_RANK']}.log")
    signal.signal(signal.SIGINT, _interrupt_once)
    channel = Client(str(folder / SOCKET), family="AF_UNIX")
    channel.send(rank)
    try:
        # Unpickling the run imports what it is made of. That takes a while, in which the user may stop it already.
        planned = channel.recv()
        Thread(target=_end_with, args=(channel,), daemon=True).start()
        result = _train(planned, _Sender(channel))
    except PosetoolsError as exc:
        traceback.print_exc()
        channel.send(("error", str(exc), exc.exit_status))
        return exc.exit_status
    except KeyboardInterrupt:
        channel.send(("error", "stopped", 130))
        return 130
    if rank == 0:
        channel.send(("result", result))
    return 0


def _train(planned: Planned, told: TrainListener) -> TrainResult:
    from mmengine.utils import import_modules_from_strings

    from posetools.mm.stack import prepare
    from posetools.training.spread.processes import join, leave
    from posetools.training.train import execute

    prepare("posetools train")
    # Reading the file of a config does this; this one came as an object.
    import_modules_from_strings(**(planned.config.get("custom_imports") or {"imports": None}))
    _, device = join("pytorch", planned.device)
    result = execute(replace(planned, device=device), told)
    leave()
    return result


def _write_to(log: Path) -> None:
    """Send what this process prints to a file: also what libraries print without Python, such as gloo."""
    number = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(number, stream)
    os.close(number)


def _interrupt_once(signum: int, frame: FrameType | None) -> Any:  # noqa: ARG001
    # A second Ctrl-C would interrupt the saying of what the first one did.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with(channel: Connection) -> None:
    try:
        # Nothing more is ever sent to this process.
        channel.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
