"""Names of image files: which ones mean the same file although they differ, and how far two paths agree from the end.

Programs write ``a.jpg`` where the disk has ``a.JPG`` or ``a.png``, escape names as in URLs (``my%20dog.jpg``), and
macOS takes umlauts apart. Such a name is looked up only after the exact one was not found.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from posetools.files.urls import is_url
from posetools.imaging.header import SUFFIXES


class Named(NamedTuple):
    """What an annotation calls an image: the folders that it names, from the last ``..`` on, and the file's name."""

    folders: tuple[str, ...]
    name: str
    absolute: bool


def named_in(text: str) -> Named:
    """Return the folders and the name in a path or URL of any system."""
    absolute = "://" in text
    if absolute:
        try:
            text = urlsplit(text).path
        except ValueError:
            # No URL after all.
            text = text.partition("://")[2]
    path = PureWindowsPath(text)
    parts = [part for part in path.parts if part != path.anchor]
    ups = [number for number, part in enumerate(parts) if part == ".."]
    parts = parts[ups[-1] + 1 :] if ups else parts
    return Named(tuple(parts[:-1]), parts[-1] if parts else "", absolute or bool(path.anchor))


def folded(name: str) -> str:
    """Return a key that is equal for names that differ in letter case, Unicode form or escapes of URLs alone."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", _unescaped(name)).casefold())


def folded_stem(name: str) -> str:
    """Return the same key without the ending of an image, if the name has one."""
    stem, _, ending = name.rpartition(".")
    return folded(stem if stem and f".{ending.lower()}" in SUFFIXES else name)


def agreement(one: Sequence[str], other: Sequence[str]) -> tuple[int, int]:
    """Return how many parts two paths have in common from the end: by ``folded``, and to the letter."""
    pairs = list(zip(reversed(one), reversed(other), strict=False))
    alike = _while_true(a == b or folded(a) == folded(b) for a, b in pairs)
    return alike, _while_true(a == b for a, b in pairs)


def _while_true(values: Iterable[bool]) -> int:
    number = 0
    for value in values:
        if not value:
            break
        number += 1
    return number


def _unescaped(name: str) -> str:
    return unquote(name, errors="surrogateescape") if "%" in name else name


@dataclass
class FolderNames:
    """What lies in folders, by ``folded`` names; each folder is listed once."""

    _known: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def paths_like(self, folder: Path, parts: Sequence[str]) -> Iterator[Path]:
        """Yield the files whose path below a folder is that of ``parts`` but for folded names, or another ending.

        Those that differ in the ending alone are yielded too; ``..`` goes up, as the caller allows it.
        """
        at = [folder]
        for part in parts[:-1]:
            at = [one / name for one in at for name in ([part] if part == ".." else self._names(one, folded(part)))]
        for one in at:
            for name in self._names(one, folded_stem(parts[-1]) if parts else ""):
                if (path := one / name).is_file():
                    yield path

    def _names(self, folder: Path, key: str) -> Sequence[str]:
        known = self._known.get(str(folder))
        if known is None:
            known = self._known[str(folder)] = {}
            for name in _listed(folder):
                for each in {folded(name), folded_stem(name)}:
                    known.setdefault(each, []).append(name)
        return known.get(key, ())


def _listed(folder: Path) -> list[str]:
    try:
        if is_url(folder):
            return sorted(path.name for path in folder.iterdir())
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208 (half the time)
    except (OSError, ValueError):
        return []
