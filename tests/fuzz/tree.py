"""Sources in memory, written again for each case, and a watch over files opened and changed during a case."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True)
class Link:
    """A symbolic link to ``target``."""

    target: str


@dataclass(frozen=True)
class Fifo:
    """A pipe without a writer."""


@dataclass(frozen=True)
class Folder:
    """An empty folder."""


Entry: TypeAlias = bytes | Link | Fifo | Folder
# Path below the case's folder, with forward slashes -> its content.
Tree: TypeAlias = dict[str, Entry]


def write_tree(tree: Tree, folder: Path) -> None:
    """Write the entries; one whose path is taken is left out."""
    for name, entry in tree.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(entry, bytes):
                path.write_bytes(entry)
            elif isinstance(entry, Link):
                path.symlink_to(entry.target)
            elif isinstance(entry, Fifo):
                os.mkfifo(path)
            else:
                path.mkdir()
        except (OSError, ValueError):
            # The file system does not support the name, or a file is in place of the folder: leave out the entry.
            continue


def read_tree(folder: Path) -> Tree:
    """Return the files of a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def clear(folder: Path) -> None:
    """Empty the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def listing(folder: Path) -> list[tuple[str, int, int]]:
    """Return path, size and modification time of everything below a folder."""
    found = []
    for at, folders, files in os.walk(folder):
        for name in (*folders, *files):
            stat = os.lstat(os.path.join(at, name))
            found.append((os.path.join(at, name), stat.st_size, stat.st_mtime_ns))
    return sorted(found)


@dataclass
class Watch:
    """The file activity during a case.

    Attributes:
        vanishing: base names of files that are removed the moment they are opened.
        allowed: the folder in which files may be written.
        outside: paths written elsewhere.
    """

    vanishing: frozenset[str] = frozenset()
    allowed: str = ""
    outside: list[str] = field(default_factory=list)
    _busy: bool = False

    def saw(self, event: str, arguments: tuple[object, ...]) -> None:
        """Handle one audit event of the interpreter."""
        if self._busy:
            return
        self._busy = True
        try:
            if event == "open":
                self._opened(*arguments[:3])
            elif event in _CHANGES:
                # A path relative to an open folder (as in rmtree) was checked when that was opened.
                held = any(isinstance(one, int) and one >= 0 for one in arguments[-2:]) and event != "os.mkdir"
                for path in () if held else arguments[_CHANGES[event]]:
                    self._changed(event, path)
        finally:
            self._busy = False

    def _opened(self, path: object, mode: object = None, flags: object = 0) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        text = os.fsdecode(path)
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        if writes or (isinstance(mode, str) and set(mode) & set("wax+")):
            self._changed("open", path)
        elif self.vanishing and os.path.basename(text) in self.vanishing:
            try:
                os.unlink(text)
            except (OSError, ValueError):
                return

    def _changed(self, event: str, path: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        text = os.path.abspath(os.fsdecode(path))
        if text != os.devnull and not text.startswith(self.allowed) and "__pycache__" not in text:
            self.outside.append(f"{event} {text}")


# Event -> which of its arguments are changed paths.
_CHANGES = {
    "os.mkdir": slice(1),
    "os.remove": slice(1),
    "os.rmdir": slice(1),
    "os.rename": slice(2),
    "os.link": slice(1, 2),
    "os.symlink": slice(1, 2),
}
_watches: list[Watch] = []
_hooked: list[bool] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _watches:
        _watches[-1].saw(event, arguments)


@contextmanager
def watched(watch: Watch) -> Iterator[Watch]:
    """Send the interpreter's file events to ``watch``."""
    if not _hooked:
        # A hook cannot be removed; one is enough.
        sys.addaudithook(_hook)
        _hooked.append(True)
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.pop()
