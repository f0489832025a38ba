"""One run at a time per folder, and atomic swaps of folders.

The system releases a lock file when its process ends for any reason. The file is next to the output, or in the folder
whose files are replaced, and is removed at the end.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from posetools.errors import OutputError, RequestError

LOCK = ".posetools.lock"

# From the headers of Linux (renameat2) and macOS (renamex_np).
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2


@contextmanager
def only_one(target: Path) -> Iterator[None]:
    """Lock an output, so that no other run writes it.

    Args:
        target: a folder or file, existing or not; the files of an existing folder are locked, too.

    Raises:
        RequestError: another run holds it.
        OutputError: the lock file cannot be written next to it.
    """
    target = target.absolute()
    with ExitStack() as stack:
        stack.enter_context(_held(target, target.with_name(f".{target.name}.lock")))
        # Windows cannot move a folder with an open file in it.
        if target.is_dir() and sys.platform != "win32":
            stack.enter_context(only_one_in(target))
        yield


@contextmanager
def only_one_in(folder: Path) -> Iterator[None]:
    """Lock the files of a folder, so that no other run replaces them.

    Raises:
        RequestError: another run holds them.
        OutputError: the lock file cannot be written there.
    """
    with _held(folder, folder.absolute() / LOCK):
        yield


@contextmanager
def _held(target: Path, path: Path) -> Iterator[None]:
    lock = FileLock(path, timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as exc:
        raise RequestError(
            f"{target}: another run of posetools{_holder(path)} is writing here",
            hint="wait until it has ended, or choose another folder",
        ) from exc
    except OSError as exc:
        raise OutputError(f"{target}: cannot be written: {exc.strerror or exc}") from exc
    try:
        with suppress(OSError):
            path.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        # Windows cannot delete an open file.
        with suppress(OSError):
            path.unlink(missing_ok=True)
        lock.release()
        if sys.platform == "win32":
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _holder(path: Path) -> str:
    try:
        number = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
    return f" (process {number})" if number.isdecimal() else ""


def exchange(one: Path, other: Path) -> bool:
    """Swap two files or folders atomically; return False if the system cannot."""
    names = os.fsencode(one), os.fsencode(other)
    try:
        library = ctypes.CDLL(None)
        if hasattr(library, "renameat2"):
            return bool(library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)
        return bool(library.renamex_np(*names, _RENAME_SWAP) == 0)
    except (AttributeError, OSError, TypeError):
        # The C library has neither function, or there is none (Windows).
        return False
