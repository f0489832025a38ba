"""SIGTERM, which process managers send, works as Ctrl-C, so that no file is left incomplete.

A training run prints where it stopped and how to resume; the exit status is the one that process managers expect.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


class StopFlag:
    """Whether SIGTERM was received."""

    by_sigterm = False

    def status(self, otherwise: int) -> int:
        """Return the exit status of a command that ends with ``otherwise`` without SIGTERM."""
        return TERMINATED if self.by_sigterm and otherwise == INTERRUPTED else otherwise


@contextmanager
def interrupted_by_sigterm() -> Iterator[StopFlag]:
    """Handle SIGTERM as Ctrl-C while the command runs.

    With ``train --launcher`` SIGTERM still ends each process at once: a process that waits for the others in native
    code cannot run a Python signal handler.
    """
    stopped, own = StopFlag(), os.getpid()
    several = any(argument.partition("=")[0] == "--launcher" for argument in sys.argv)

    def interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if os.getpid() != own:
            # A forked process, such as a data loader's, ends without a message.
            os._exit(TERMINATED)
        stopped.by_sigterm = True
        # `timeout` and others send it twice; the second one must not interrupt the cleanup.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    if several or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield stopped
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
