"""Inspect many image files for validation: pure functions of paths, which may run on other machines.

A file is usually read once, only its header and a little more; a whole file is read only if another has the same
length, beginning and end. The next files are announced to the system while one is inspected, so that the disk stays
busy: one thread that does so is faster than several that wait for each other.
"""

from __future__ import annotations

import filecmp
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import xxhash

from posetools.errors import InputError
from posetools.files.disk import READING
from posetools.files.urls import TAIL, as_path, contents, heads, is_url, sizes
from posetools.imaging.header import Header, header_of, without_warnings

# Files opened ahead of the current one, and bytes of each that are requested from the system.
_FILES_AHEAD = 16
_MOST_AHEAD = 1 << 22
# Bytes that tell images of one length apart: a header and the first of the pixels.
_START = 1 << 14
_READ_CHUNK = 1 << 18

# An open file, or why it cannot be opened.
_Opened: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of inspecting one image file.

    Attributes:
        header: the image's header; None if it cannot be read.
        problem: why it cannot be read; empty if there is no file.
        hint: how to fix it; empty if unknown.
        length: of the file, in bytes.
        start: a digest of its first bytes.
    """

    header: Header | None = None
    problem: str = ""
    hint: str = ""
    length: int = 0
    start: str = ""


def inspect(paths: Sequence[str]) -> list[Inspection]:
    """Return the inspection of each path, missing and broken files included."""
    if _are_urls(paths):
        return _inspect_urls(paths)
    with without_warnings():
        return [_inspect_file(path, opened) for path, opened in _opened(paths, _START)]


def ends(paths: Sequence[str]) -> list[str]:
    """Return a digest of each file's last bytes, for comparison only; empty if it can no longer be read.

    URLs all get the same digest: only their beginnings are cheap to read.
    """
    if _are_urls(paths):
        return ["unknown"] * len(paths)
    return [_read(opened, _end) for _, opened in _opened(paths, -_START)]


def digests(paths: Sequence[str]) -> list[str]:
    """Return a digest of each file's whole content, for comparison only; empty if it can no longer be read."""
    if _are_urls(paths):
        return [xxhash.xxh3_128_hexdigest(content) if content else "" for content in contents(paths)]
    # One buffer for all files: new memory pages cost as much as reading.
    buffer = bytearray(_READ_CHUNK)
    return [_read(opened, partial(_digest, buffer=buffer)) for _, opened in _opened(paths, _MOST_AHEAD)]


def are_alike(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Return for each pair of files whether they are identical."""
    if _are_urls([path for path, _ in pairs]):
        return [None not in (both := list(contents(pair))) and both[0] == both[1] for pair in pairs]
    return [_is_alike(*pair) for pair in pairs]


def _are_urls(paths: Sequence[str]) -> bool:
    # All images of a data set are in one folder.
    return bool(paths) and is_url(paths[0])


def _inspect_urls(paths: Sequence[str]) -> list[Inspection]:
    with without_warnings(), heads(paths):
        return [
            Inspection() if size is None else _inspection(path, partial(as_path(path).open, "rb"), size)
            for path, size in zip(paths, sizes(paths), strict=True)
        ]


def _opened(paths: Sequence[str], wanted: int) -> Iterator[tuple[str, _Opened]]:
    """Yield each path with its open file, while the first (last if negative) bytes of the next ones are prefetched."""
    waiting: deque[tuple[str, _Opened]] = deque()
    try:
        for path in paths:
            waiting.append((path, _open(path, wanted)))
            if len(waiting) > _FILES_AHEAD:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        for _, opened in waiting:
            if not isinstance(opened, Exception):
                opened.close()


def _open(path: str, wanted: int) -> _Opened:
    try:
        # READING has O_NONBLOCK: without it, opening a pipe waits for a writer.
        descriptor = os.open(path, READING)
    except (OSError, ValueError) as exc:
        return exc
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        return FileNotFoundError(path)
    if hasattr(os, "posix_fadvise"):
        start = max(0, found.st_size + wanted) if wanted < 0 else 0
        # Some file systems do not support this.
        with suppress(OSError):
            os.posix_fadvise(descriptor, start, abs(wanted), os.POSIX_FADV_WILLNEED)
            # The header check also reads the end of the image.
            if wanted == _START:
                os.posix_fadvise(descriptor, max(0, found.st_size - TAIL), TAIL, os.POSIX_FADV_WILLNEED)
    return os.fdopen(descriptor, "rb", buffering=_START)


def _inspection(path: str, opening: Callable[[], Any], length: int | None = None) -> Inspection:
    try:
        with opening() as file:
            start = xxhash.xxh3_128_hexdigest(file.read(_START))
            file.seek(0)
            length = os.fstat(file.fileno()).st_size if length is None else length
            return Inspection(header_of(path, file), length=length, start=start)
    except InputError as exc:
        return Inspection(problem=exc.problem, hint=exc.hint)
    except OSError as exc:
        return Inspection(problem=f"image cannot be read: {exc}")


def _inspect_file(path: str, opened: _Opened) -> Inspection:
    if isinstance(opened, Exception):
        return Inspection(problem=f"image cannot be read: {opened}" if _is_file(path) else "")
    return _inspection(path, lambda: opened)


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        # The name is too long or contains a NUL.
        return False


def _read(opened: _Opened, digest: Callable[[Any], str]) -> str:
    if isinstance(opened, Exception):
        return ""
    try:
        with opened as file:
            return digest(file.raw)
    except OSError:
        return ""


def _end(file: Any) -> str:
    file.seek(max(0, os.fstat(file.fileno()).st_size - _START))
    return xxhash.xxh3_128_hexdigest(file.read(_START))


def _digest(file: Any, buffer: bytearray) -> str:
    digest, view = xxhash.xxh3_128(), memoryview(buffer)
    while count := file.readinto(buffer):
        digest.update(view[:count])
    return digest.hexdigest()


def _is_alike(path: str, other: str) -> bool:
    try:
        return filecmp.cmp(path, other, shallow=False)
    except OSError:
        return False
