"""The most memory that a stretch of work takes, its loader processes included.

On Linux it is sampled from /proc by a thread: what is resident of this process, plus what each process that it started
holds alone (pages that a forked loader shares with its parent are counted once). Elsewhere it is the operating system's
own high-water mark of this process, without the loaders.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

# Seconds between two looks at this process; a look takes some microseconds.
_PAUSE = 0.02
# Every how many looks the children are added up, which takes the kernel longer.
_CHILDREN_EVERY = 10

_PROC = Path("/proc")


class MemoryWatch:
    """Notes the peak while it is entered.

    Attributes:
        peak: bytes, 0 before anything was seen.
        with_loaders: whether the processes that load data are in it.
    """

    def __init__(self) -> None:
        self.peak = 0
        self.with_loaders = (_PROC / "self" / "statm").is_file()
        self._children = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory", daemon=True)

    def __enter__(self) -> MemoryWatch:
        """Begin."""
        if self.with_loaders:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; the peak stays."""
        if self.with_loaders:
            self._ended.set()
            self._thread.join()
        else:
            self.peak = _high_water_mark()

    def _look(self) -> None:
        looks = 0
        while True:
            if looks % _CHILDREN_EVERY == 0:
                self._children = sum(map(_held_alone, _children()))
            self.peak = max(self.peak, _resident() + self._children)
            looks += 1
            if self._ended.wait(_PAUSE):
                return


def memory_of_machine() -> int | None:
    """Return how many bytes of memory this machine or container may use, None where that cannot be seen."""
    found = []
    with suppress(ValueError, OSError, AttributeError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(ValueError, OSError):
        # A container's limit; the text is "max" where there is none.
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return min(found, default=None)


def _resident() -> int:
    fields = (_PROC / "self" / "statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def _children() -> list[int]:
    found: list[int] = []
    for path in (_PROC / "self" / "task").glob("*/children"):
        # A thread may end, and its folder go, between the listing and the reading.
        with suppress(OSError):
            found += map(int, path.read_text(encoding="ascii").split())
    return found


def _held_alone(process: int) -> int:
    kilobytes = 0
    # A process may end at any time.
    with suppress(OSError):
        for line in (_PROC / str(process) / "smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                kilobytes += int(line.split()[1])
    return 1024 * kilobytes


def _high_water_mark() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, kilobytes elsewhere.
    return peak if sys.platform == "darwin" else 1024 * peak
