"""One of the processes of ``posetools train --gpus N``: ``python -m posetools.training.spread.worker FOLDER PARENT``.

FOLDER belongs to the process PARENT that started this one (``launch``). It has the planned run, and the pipe for the
first process's messages; errors, and the output of torch and other libraries, go to files next to them. When PARENT is
gone, this process ends too.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import TYPE_CHECKING, Any

from posetools.errors import PosetoolsError, StoppedError
from posetools.training.hooks import SilentListener, TrainStatus
from posetools.training.spread.launch import CHANNEL, RUN

if TYPE_CHECKING:
    from posetools.training.train import TrainResult

# Seconds between two checks that the parent process exists.
_PAUSE = 0.5


class _Sender:
    """A listener that sends messages and progress to the parent."""

    def __init__(self, folder: Path) -> None:
        self._channel = (folder / CHANNEL).open("wb", buffering=0)

    def say(self, line: str) -> None:
        self.send(line)

    def update(self, status: TrainStatus) -> None:
        self.send(status)

    def send(self, told: str | TrainStatus | TrainResult) -> None:
        self._channel.write(pickle.dumps(told))


def main(folder: Path, parent: int) -> int:
    """Train as one of several processes; return the exit status."""
    name = f"process{os.environ['LOCAL_RANK']}"
    _write_to(folder / f"{name}.log")
    signal.signal(signal.SIGINT, _interrupt_once)
    Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        _train(folder)
    except PosetoolsError as exc:
        traceback.print_exc()
        failed = exc
    except KeyboardInterrupt:
        # The user may stop it during the imports.
        failed = StoppedError("stopped")
    else:
        return 0
    (folder / f"{name}.error").write_bytes(pickle.dumps(failed))
    return failed.exit_status


def _train(folder: Path) -> None:
    from mmengine.utils import import_modules_from_strings

    from posetools.mm.stack import prepare
    from posetools.training.spread.processes import join, leave
    from posetools.training.train import execute

    prepare("posetools train")
    planned = pickle.loads((folder / RUN).read_bytes())
    # Loading a config file does this, but this config came pickled.
    import_modules_from_strings(**(planned.config.get("custom_imports") or {"imports": None}))
    place, device = join("pytorch", planned.device)
    told = _Sender(folder) if place.first else SilentListener()
    result = execute(replace(planned, device=device), told)
    leave()
    if isinstance(told, _Sender):
        told.send(result)


def _write_to(log: Path) -> None:
    """Redirect the output of this process to a file, including that of C++ libraries such as gloo."""
    number = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(number, stream)
    os.close(number)


def _interrupt_once(signum: int, frame: FrameType | None) -> Any:  # noqa: ARG001
    # A second Ctrl-C would interrupt the message about the first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PAUSE)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
