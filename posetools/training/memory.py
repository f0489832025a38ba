"""Peak memory of a piece of work, including its loader processes.

A thread samples it: the resident memory of this process, plus the unshared memory of each child process (pages that a
forked loader shares with its parent are counted once).
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import psutil

# Seconds between two samples; each takes some microseconds.
_MEMORY_PAUSE = 0.02
# Samples between two measurements of the children, which take longer.
_CHILDREN_EVERY = 10


class MemoryWatch:
    """Context manager that records the peak.

    Attributes:
        peak: bytes, 0 before the first sample.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory", daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        own, looks, children = psutil.Process(), 0, 0
        while True:
            if looks % _CHILDREN_EVERY == 0:
                children = sum(map(_held_alone, own.children()))
            self.peak = max(self.peak, own.memory_info().rss + children)
            looks += 1
            if self._ended.wait(_MEMORY_PAUSE):
                return


def _held_alone(process: psutil.Process) -> int:
    # The process may end at any time.
    with suppress(psutil.Error):
        return int(process.memory_full_info().uss)
    return 0


def memory_of_machine() -> int:
    """Return how many bytes of memory this machine or container may use."""
    found = [int(psutil.virtual_memory().total)]
    with suppress(ValueError, OSError):
        # A container's limit, or "max".
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return min(found)


def available_memory() -> int:
    """Return how many bytes are available without swapping."""
    return min(memory_of_machine(), int(psutil.virtual_memory().available))
