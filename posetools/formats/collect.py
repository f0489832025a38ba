"""What the readers of formats with one annotation file per picture share: walking, and what one file gives.

Such a reader turns every annotation file into a FileReading, in any process; posetools/formats/parts.py joins them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from posetools.errors import InputError
from posetools.findings import Finding

Corners = tuple[float, float, float, float]
PointXYV = tuple[float, float, int]


class Row(NamedTuple):
    """One object.

    Attributes:
        box: x1, y1, x2, y2 in pixels.
        keypoints: K triples x, y, visibility.
        place: where it stands: the file, and the place in it.
        number: which shape or line of the file it is, where the format has one file per picture.
    """

    box: Corners
    keypoints: Sequence[PointXYV]
    place: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class FileReading:
    """What one annotation file gave.

    Attributes:
        file: the annotation file.
        picture: the picture, or None when it is left out.
        identity: the picture's path with every link followed, when there is one, even if it is left out.
        name: the picture's name in the Dataset, if no other picture wants it.
        origin: what is put before the name when another picture wants it too.
        size: (width, height) of the upright picture.
        split: the split that the source declares, or None.
        rows: its objects.
        findings: what could not be read, and what is odd.
        ignored: label -> how many shapes were left out on purpose.
        objects: how many shapes or lines the file holds, for the message when all are left out.
    """

    file: Path
    picture: Path | None = None
    identity: str = ""
    name: str = ""
    origin: str = ""
    size: tuple[int, int] = (0, 0)
    split: str | None = None
    rows: Sequence[Row] = ()
    findings: Sequence[Finding] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    objects: int = 0


class Entry(NamedTuple):
    """A file in a folder: its name, whether it is (or leads to) an ordinary file, and whether it is a link."""

    name: str
    is_file: bool
    is_link: bool


def walk(folder: Path) -> Iterator[tuple[str, str, list[Entry]]]:
    """Yield every folder below one, itself first: its path, the same with links followed, and the files in it.

    Files and folders are sorted by name; hidden ones are left out; links to folders are followed once.

    Raises:
        InputError: a folder cannot be read.
    """
    seen: set[str] = set()
    waiting = [str(folder)]
    while waiting:
        at = waiting.pop()
        real = os.path.realpath(at)
        if real in seen:
            continue
        seen.add(real)
        folders, files = _listed(at)
        waiting += [os.path.join(at, name) for name in sorted(folders, reverse=True)]  # noqa: PTH118
        yield at, real, sorted(files)


def _listed(at: str) -> tuple[list[str], list[Entry]]:
    folders, files = [], []
    try:
        with os.scandir(at) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _holds(entry.is_dir):
                    folders.append(entry.name)
                else:
                    files.append(Entry(entry.name, _holds(entry.is_file), entry.is_symlink()))
    except (FileNotFoundError, NotADirectoryError):
        # Gone since it was listed, or never there: it holds nothing.
        return [], []
    except OSError as exc:
        raise InputError(at, "", f"folder cannot be read: {exc.strerror or exc}") from exc
    return folders, files


def _holds(question: Callable[[], bool]) -> bool:
    """Return the answer of the system, no where it has none (a link that leads in a circle)."""
    try:
        return question()
    except OSError:
        return False


_LISTED: ContextVar[dict[Path, dict[str, list[str]]] | None] = ContextVar("listed", default=None)


@contextmanager
def listed_once() -> Iterator[None]:
    """Let ``files_ending`` list each folder once, however many formats ask for its files."""
    token = _LISTED.set({})
    try:
        yield
    finally:
        _LISTED.reset(token)


def files_ending(folder: Path, *endings: str) -> Iterator[Path]:
    """Yield the files below a folder whose names end so, in lower case (``.json``), as ``walk`` finds them.

    Raises:
        InputError: a folder cannot be read.
    """
    remembered = _LISTED.get()
    by_ending = None if remembered is None else remembered.get(folder)
    if by_ending is None:
        by_ending = {}
        for at, _, entries in walk(folder):
            for entry in entries:
                ending = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
                by_ending.setdefault(ending, []).append(os.path.join(at, entry.name))  # noqa: PTH118
        if remembered is not None:
            remembered[folder] = by_ending
    return (Path(path) for ending in endings for path in by_ending.get(ending, ()))


def walk_files(folder: Path) -> list[Path]:
    """Return every file below a folder, sorted; hidden ones are left out, links to folders followed once.

    Raises:
        InputError: a folder cannot be read.
    """
    return sorted(Path(at, entry.name) for at, _, entries in walk(folder) for entry in entries)
