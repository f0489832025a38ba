"""What validation wants to know of many image files: pure functions of paths, which may run on other machines.

A file is read once as a rule, as far as its header and a little more; as a whole only where others are as long, and
begin and end alike. The system is told of the next files while one is looked at, so that the disk does not wait: one
thread that does so is faster than several, which wait for each other.
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

# Files that are open ahead of the one that is looked at, and bytes of each that the system is asked for.
_FILES_AHEAD = 16
_MOST_AHEAD = 1 << 22
# Bytes that tell images of one length apart: a header and the first of the pixels.
_START = 1 << 14
_READ_CHUNK = 1 << 18

# An open file, or why it cannot be opened.
_Opened: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a look at one image file said.

    Attributes:
        header: the image's, or None when it has none that can be read.
        problem: why there is none, empty when there is no file.
        hint: what to do about it, empty when that is not known.
        length: of the file, in bytes.
        start: a digest of its first bytes.
    """

    header: Header | None = None
    problem: str = ""
    hint: str = ""
    length: int = 0
    start: str = ""


def inspect(paths: Sequence[str]) -> list[Inspection]:
    """Return for each path what a look at the file says, missing and broken ones included."""
    if _are_urls(paths):
        return _inspect_urls(paths)
    with without_warnings():
        return [_inspect_file(path, opened) for path, opened in _opened(paths, _START)]


def ends(paths: Sequence[str]) -> list[str]:
    """Return a digest of each file's last bytes, for comparison only; empty where it cannot be read any more.

    At URLs, of which only beginnings are cheap, it is the same for all.
    """
    if _are_urls(paths):
        return ["unknown"] * len(paths)
    return [_read(opened, _end) for _, opened in _opened(paths, -_START)]


def digests(paths: Sequence[str]) -> list[str]:
    """Return a digest of each file's whole content, for comparison only; empty where it cannot be read any more."""
    if _are_urls(paths):
        return [xxhash.xxh3_128_hexdigest(content) if content else "" for content in contents(paths)]
    # Always the same memory: new pages for every file cost as much as the reading.
    buffer = bytearray(_READ_CHUNK)
    return [_read(opened, partial(_digest, buffer=buffer)) for _, opened in _opened(paths, _MOST_AHEAD)]


def are_alike(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Return for each pair of files whether they are the same, byte for byte."""
    if _are_urls([path for path, _ in pairs]):
        return [None not in (both := list(contents(pair))) and both[0] == both[1] for pair in pairs]
    return [_is_alike(*pair) for pair in pairs]


def _are_urls(paths: Sequence[str]) -> bool:
    # The images of a set lie in one folder.
    return bool(paths) and is_url(paths[0])


def _inspect_urls(paths: Sequence[str]) -> list[Inspection]:
    with without_warnings(), heads(paths):
        return [
            Inspection() if size is None else _inspection(path, partial(as_path(path).open, "rb"), size)
            for path, size in zip(paths, sizes(paths), strict=True)
        ]


def _opened(paths: Sequence[str], wanted: int) -> Iterator[tuple[str, _Opened]]:
    """Yield each path with its open file, while the first (or last, if negative) bytes of the next are on their way."""
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
        # Without O_NONBLOCK, which READING has, the opening of a pipe waits for somebody to write.
        descriptor = os.open(path, READING)
    except (OSError, ValueError) as exc:
        return exc
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        return FileNotFoundError(path)
    if hasattr(os, "posix_fadvise"):
        start = max(0, found.st_size + wanted) if wanted < 0 else 0
        # Some file systems know of no such thing.
        with suppress(OSError):
            os.posix_fadvise(descriptor, start, abs(wanted), os.POSIX_FADV_WILLNEED)
            # Who looks at the beginning looks for the end of the image too.
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
        # A name that is too long, or has a NUL in it, is none.
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
