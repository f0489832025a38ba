"""Bytes laid down one after the other, by one process or by several at once, to be read again in any order.

Few bytes stay in memory. Many, and those of several processes, go to a file without a name, which ends with the last
process that has it open; so nothing is left behind, however the processes end. What the processes of a pool lay down
themselves does not pass through the pipe to the one that asked for it, which would cost both more than the writing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import IO, Any

import numpy as np

from posetools.core.geometry import Ints
from posetools.errors import OutputError

# Bytes that are kept in memory; beyond, they are laid down in a file.
_IN_MEMORY = 32 << 20
# How many times the bytes that are wanted are read rather than each piece of them.
_SPARSE = 2
# Processes write to one file at places of their own, which not every platform has a call for.
CAN_SHARE = hasattr(os, "pwrite")


class Spool:
    """Bytes, in memory while they are few, then in a nameless file.

    Attributes:
        folder: where the file is; None keeps all in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        """Begin with no bytes."""
        self.folder = folder
        self._file: IO[bytes] | None = None
        self._share: Share | None = None
        self._end = 0

    def share(self, context: SpawnContext) -> Share | None:
        """Return what lets processes of this context add bytes; None where they cannot, and must send them."""
        if self._share is None and self._file is None and self.folder is not None and CAN_SHARE:
            try:
                self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115
            except OSError as exc:
                raise _refusal(self.folder, exc) from exc
            self._share = Share(self.folder, self._file.fileno(), context.Value("q", 0))
        return self._share

    def add(self, content: bytes | bytearray) -> int:
        """Append bytes; return where they begin.

        Raises:
            OutputError: they cannot be laid down.
        """
        if self._share is not None:
            return self._share.add(content)
        try:
            if self._file is None:
                limit, folder = (_IN_MEMORY, str(self.folder)) if self.folder else (0, None)
                self._file = tempfile.SpooledTemporaryFile(max_size=limit, dir=folder)  # noqa: SIM115
            self._file.write(content)
            self._file.flush()
        except OSError as exc:
            raise _refusal(self.folder, exc) from exc
        self._end += len(content)
        return self._end - len(content)

    def take(self, starts: Ints, lengths: Ints) -> bytes:
        """Return the bytes from ``starts[i]`` to ``starts[i] + lengths[i]``, all i one after the other."""
        if self._file is None or not len(starts):
            return b""
        ends = starts + lengths
        first, last = int(starts.min()), int(ends.max())
        if last - first > _SPARSE * lengths.sum():
            return b"".join([self._read(*piece) for piece in _pieces(starts, ends)])
        # One reading of all, with what lies between, takes less time than many.
        block = memoryview(self._read(first, last))
        return b"".join([block[start - first : end - first] for start, end in _pieces(starts, ends)])

    def close(self) -> None:
        """Forget the bytes."""
        if self._file is not None:
            self._file.close()

    def _read(self, start: int, end: int) -> bytes:
        if self._file is None:
            return b""
        self._file.seek(start)
        return self._file.read(end - start)


@dataclass
class Share:
    """A Spool's file, for several processes; can be sent to one that is being started.

    Attributes:
        folder: where the file is.
        file: its descriptor.
        end: where the next bytes go, with a lock.
    """

    folder: Path
    file: int
    end: Any

    def __getstate__(self) -> tuple[Path, Any, Any]:
        """Return what is sent, with the descriptor as the new process will have it."""
        return self.folder, reduction.DupFd(self.file), self.end

    def __setstate__(self, state: tuple[Path, Any, Any]) -> None:
        """Take what was sent."""
        self.folder, sent, self.end = state
        self.file = sent.detach()

    def add(self, content: bytes | bytearray) -> int:
        """Append bytes; return where they begin.

        Raises:
            OutputError: they cannot be laid down.
        """
        with self.end.get_lock():
            start: int = self.end.value
            self.end.value += len(content)
        try:
            done, view = 0, memoryview(content)
            while done < len(view):
                done += os.pwrite(self.file, view[done:], start + done)
        except OSError as exc:
            raise _refusal(self.folder, exc) from exc
        return start


_share: Share | None = None


def adopt(share: Share | None) -> None:
    """Let ``lay_down`` of this process add to a Spool of another one."""
    global _share
    _share = share


def lay_down(content: bytes | bytearray) -> int | None:
    """Add bytes to the Spool of the process that this one works for, if it has one; return where they begin.

    Raises:
        OutputError: they cannot be laid down.
    """
    return None if _share is None else _share.add(content)


def _pieces(starts: Ints, ends: Ints) -> Iterator[tuple[int, int]]:
    """Yield where pieces begin and end, those that follow each other as one."""
    breaks = (starts[1:] != ends[:-1]).nonzero()[0] + 1
    firsts, afters = np.concatenate([[0], breaks]), np.concatenate([breaks, [len(starts)]])
    return zip(starts[firsts].tolist(), ends[afters - 1].tolist(), strict=True)


def _refusal(folder: Path | None, exc: OSError) -> OutputError:
    return OutputError(f"{folder}: objects cannot be laid down here: {exc.strerror or exc}")
