"""Paths of files that were unpacked from a zip: opened where they are, shown as ``export.zip/a.json``.

Text of a path (``str``, f-strings, ``quoted``) is for messages and records; ``os.fspath`` and the functions of ``os``
give the file. ``as_path`` returns an UnpackedPath for the file's own path.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    _Local: TypeAlias = Path
else:
    # Path is made for the system that runs.
    _Local = type(Path())

# Folder with unpacked files -> the zip.
_ZIPS: dict[str, str] = {}


def add_unpacked(folder: Path, zip_file: Path) -> UnpackedPath:
    """Return the path of a folder whose files are shown as those of a zip."""
    _ZIPS[str(folder)] = str(zip_file)
    return UnpackedPath(folder)


def shown_path(path: str) -> str:
    """Return the path that messages show for a file: in its zip, if it was unpacked from one."""
    end = len(path) if _ZIPS else 0
    while end > 0:
        if (zip_file := _ZIPS.get(path[:end])) is not None:
            return zip_file + path[end:]
        end = path.rfind(os.sep, 0, end)
    return path


class UnpackedPath(_Local):
    """A file or folder that was unpacked from a zip."""

    def __str__(self) -> str:
        return shown_path(super().__str__())

    def __fspath__(self) -> str:
        return super().__str__()

    def __reduce__(self) -> tuple[object, ...]:
        # Other processes show it by the same name.
        return _restored, (os.fspath(self), _ZIPS)

    # Path's own methods build paths from the text in some versions of Python.
    def iterdir(self) -> Iterator[UnpackedPath]:  # type: ignore[override]
        """Yield what is in the folder."""
        yield from (self / name for name in os.listdir(self))  # noqa: PTH208

    def glob(self, pattern: str) -> Iterator[UnpackedPath]:  # type: ignore[override]
        """Yield the files and folders that match."""
        yield from (self / name for name in glob.glob(pattern, root_dir=self, include_hidden=True))  # noqa: PTH207


def _restored(path: str, zips: Mapping[str, str]) -> UnpackedPath:
    _ZIPS.update(zips)
    return UnpackedPath(path)
