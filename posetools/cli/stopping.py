"""SIGTERM, by which process managers stop a command: as Ctrl-C, so that nothing is left half done.

A run says where it stopped and how to resume; the exit status is the one that process managers expect.
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
    """Whether SIGTERM has come."""

    by_sigterm = False

    def status(self, otherwise: int) -> int:
        """Return the exit status of a command that ends with ``otherwise`` when Ctrl-C stopped it."""
        return TERMINATED if self.by_sigterm and otherwise == INTERRUPTED else otherwise


@contextmanager
def interrupted_by_sigterm() -> Iterator[StopFlag]:
    """Let SIGTERM do what Ctrl-C does while the command runs.

    One of several processes of ``train --launcher`` dies of it at once, as before: it may be waiting for the others,
    where Python does not hear of a signal.
    """
    stopped, own = StopFlag(), os.getpid()
    several = any(argument.partition("=")[0] == "--launcher" for argument in sys.argv)

    def interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if os.getpid() != own:
            # A process that was forked from this one, such as a loader's, ends without a word.
            os._exit(TERMINATED)
        stopped.by_sigterm = True
        # `timeout` and others send it twice, and what it ends must not be interrupted in turn.
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
