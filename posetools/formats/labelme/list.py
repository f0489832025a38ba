"""The labelme files of a source, and the images next to them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import TypeAlias

from posetools.core.folder import CONVERSION, is_record
from posetools.errors import RequestError, must_be
from posetools.files.urls import as_path, real
from posetools.files.walking import DirectoryEntry, walk
from posetools.imaging.header import IMAGE_SUFFIXES


@dataclass(frozen=True, slots=True)
class LabelmeFolder:
    """A folder with labelme files.

    Attributes:
        start: its path, with a separator at the end.
        shown: the same, as messages show it.
        real: the same, with links resolved.
        prefix: the start of its images' names in the Dataset; None when it is outside the source.
        root: the source folder.
        origin: the source folder's name.
    """

    start: str
    shown: str
    real: str
    prefix: str | None
    root: Path
    origin: str


# An annotation file: its name and its folder. A bare tuple, because millions may be sent to other processes.
LabelmeSource: TypeAlias = tuple[str, LabelmeFolder]


@dataclass(slots=True)
class Listing:
    """The files of some sources, each once, even if several links lead to it.

    Attributes:
        images: the images next to the annotation files listed so far.
    """

    images: list[str] = field(default_factory=list)
    _listed: list[tuple[LabelmeFolder, list[str]]] = field(default_factory=list)
    # Folder, with links resolved -> the names listed in it.
    _seen: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def files(self, sources: Sequence[Path]) -> Iterator[LabelmeSource]:
        """Yield the annotation files of some sources, folder by folder.

        Raises:
            RequestError: a source is missing or has no .json file.
            InputError: a folder cannot be read.
        """
        for source in sources:
            for folder, names in self._folders(source):
                self._listed.append((folder, names))
                yield from zip(names, repeat(folder))

    def stems(self) -> set[str]:
        """Return the paths of the annotation files that have been listed, without their endings."""
        return {folder.start + name[: name.rfind(".")] for folder, names in self._listed for name in names}

    def _folders(self, source: Path) -> Iterator[tuple[LabelmeFolder, list[str]]]:
        if not source.is_dir():
            if not source.is_file():
                raise RequestError(must_be(str(source), "an existing folder or .json file", "nothing there"))
            root = root_of(source)
            yield self._new(_folder(os.fspath(root), real(root), root), [(source.name, True, source.is_symlink())])
            return
        number = 0
        for at, real_at, entries in walk(source):
            folder = _folder(at, real_at, source)
            found = []
            for entry in entries:
                name = entry[0]
                ending = name[name.rfind(".") :].lower()
                if ending == ".json":
                    if name != CONVERSION or not entry[1] or not is_record(as_path(at) / name):
                        found.append(entry)
                elif ending in IMAGE_SUFFIXES:
                    self.images.append(folder.start + name)
            number += len(found)
            yield self._new(folder, found)
        if not number:
            raise RequestError(must_be(str(source), "a folder with labelme's .json files", "none in it"))

    def _new(self, folder: LabelmeFolder, entries: Sequence[DirectoryEntry]) -> tuple[LabelmeFolder, list[str]]:
        """Return the folder with the names of files not listed before, by this or another path."""
        names = []
        here = self._seen[folder.real]
        for name, _, is_link in entries:
            seen, own = (here, name) if not is_link else self._behind(folder.start + name)
            if own not in seen:
                seen.add(own)
                names.append(name)
        return folder, names

    def _behind(self, link: str) -> tuple[set[str], str]:
        path = as_path(real(link))
        return self._seen[_with_end(path.parent)], path.name


def root_of(source: Path) -> Path:
    """Return the folder that a source's images must be in: the source, or the file's folder."""
    return source if source.is_dir() else source.parent


def _folder(at: str, real_folder: str, root: Path) -> LabelmeFolder:
    real_root, real_at = as_path(real(root)), as_path(real_folder)
    below = real_at.relative_to(real_root).as_posix() if real_at.is_relative_to(real_root) else None
    prefix = None if below is None else "" if below == "." else f"{below}/"
    path = as_path(at)
    return LabelmeFolder(_with_end(path), str(path / "_")[:-1], _with_end(real_at), prefix, root, real_root.name)


def _with_end(path: Path) -> str:
    """Return the path with a trailing separator, also for the root directory."""
    return os.fspath(path / "_")[:-1]
