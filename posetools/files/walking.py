"""Walks folders once: all files in a folder and its subfolders, in a stable order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TypeAlias

from posetools.errors import InputError
from posetools.files.urls import as_path, is_url, walk_url

# Files checked to detect a folder's format: the first ones, then some from all over.
_FIRST_FILES, _SPREAD_FILES = 5, 32

# A file in a folder: its name, whether it is (or links to) a regular file, and whether it is a link.
DirectoryEntry: TypeAlias = tuple[str, bool, bool]

# A folder: its path, the path with links resolved, and its files, sorted by name.
FolderEntries: TypeAlias = tuple[str, str, list[DirectoryEntry]]

_NAME_OF = itemgetter(0)

_WALKED: ContextVar[dict[Path, list[FolderEntries]] | None] = ContextVar("walked", default=None)


@contextmanager
def walked_once() -> Iterator[None]:
    """Let ``walk`` list each folder only once for all formats and steps."""
    known = _WALKED.get()
    token = _WALKED.set({} if known is None else known)
    try:
        yield
    finally:
        _WALKED.reset(token)


def walk(folder: Path) -> Sequence[FolderEntries]:
    """Return every folder below one, itself first: its path, the path with links resolved, and its files.

    Files and folders are sorted by name, without hidden ones. Links to folders are followed once, except to parents of
    ``folder``.

    Raises:
        InputError: a folder cannot be read.
    """
    known = _WALKED.get()
    if known is None:
        return _walk(folder)
    if folder not in known:
        known[folder] = _walk(folder)
    return known[folder]


def _walk(folder: Path) -> list[FolderEntries]:
    if is_url(folder):
        return [(at, at, [(name, True, False) for name in names]) for at, names in walk_url(str(folder))]
    top = os.path.realpath(folder)
    seen: set[str] = set()
    found: list[FolderEntries] = []
    waiting = [os.fspath(folder)]
    while waiting:
        at = waiting.pop()
        real = os.path.realpath(at)
        # A link to a parent of the source is circular and could walk the whole disk.
        if real in seen or (real != top and top.startswith(os.path.join(real, ""))):  # noqa: PTH118
            continue
        seen.add(real)
        folders, files = _listed(at)
        waiting += [os.path.join(at, name) for name in sorted(folders, reverse=True)]  # noqa: PTH118
        files.sort(key=_NAME_OF)
        found.append((at, real, files))
    return found


def _listed(at: str) -> tuple[list[str], list[DirectoryEntry]]:
    folders, files = [], []
    try:
        with os.scandir(at) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == ".":
                    continue
                try:
                    if entry.is_file():
                        files.append((name, True, entry.is_symlink()))
                    elif entry.is_dir():
                        folders.append(name)
                    else:
                        files.append((name, False, entry.is_symlink()))
                except OSError:
                    # A circular link.
                    files.append((name, False, True))
    except (FileNotFoundError, NotADirectoryError):
        # Removed since it was listed, or never there.
        return [], []
    except OSError as exc:
        raise InputError(as_path(at), "", f"folder cannot be read: {exc.strerror or exc}") from exc
    return folders, files


def files_to_detect(folder: Path, *endings: str, widely: bool) -> Iterator[Path]:
    """Yield a few files with these extensions, to detect the format of a folder.

    Args:
        folder: the folder, with perhaps hundreds of thousands of files.
        endings: in lower case (``.json``).
        widely: files spread over the whole folder instead of the first few, which may be unrelated.

    Raises:
        InputError: a folder cannot be read.
    """
    if not widely:
        yield from islice((path for path in files_ending(folder, *endings) if path.is_file()), _FIRST_FILES)
        return
    names = list(_names_ending(folder, *endings))
    step = max(1.0, (len(names) - 1) / (_SPREAD_FILES - 1))
    for at, name in (names[round(i * step)] for i in range(min(_SPREAD_FILES, len(names)))):
        if (path := as_path(at) / name).is_file():
            yield path


def files_ending(folder: Path, *endings: str) -> Iterator[Path]:
    """Yield the files below a folder with these lowercase extensions (``.json``), in the order of ``walk``.

    Raises:
        InputError: a folder cannot be read.
    """
    yield from (as_path(at) / name for at, name in _names_ending(folder, *endings))


def _names_ending(folder: Path, *endings: str) -> Iterator[tuple[str, str]]:
    for at, _, entries in walk(folder):
        names = [entry[0] for entry in entries]
        # One test for all names of a folder: most formats have no file in it.
        if any(ending in text for text in ["\0".join(names).lower()] for ending in endings):
            yield from ((at, name) for name in names if name.lower().endswith(endings))


def walk_files(folder: Path) -> list[Path]:
    """Return every file below a folder, sorted, without hidden files; links to folders are followed once.

    Raises:
        InputError: a folder cannot be read.
    """
    return sorted(as_path(at) / entry[0] for at, _, entries in walk(folder) for entry in entries)
