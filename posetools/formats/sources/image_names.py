"""Names of image files: which ones mean the same file although they differ, and how far two paths agree from the end.

Programs write ``a.jpg`` where the disk has ``a.JPG`` or ``a.png``, escape names as in URLs (``my%20dog.jpg``), and
macOS takes umlauts apart. Such a name is looked up only after the exact one was not found.

Images in the folders that ``--image-root`` names: the one whose path agrees most with what is written.

Frames are called ``0000.jpg`` in every folder, so a file name alone says little. The longest common end of both paths
decides; where two agree equally, neither is taken. A folder that the annotation names is never passed over silently:
see ``RootImages.judge``.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import unquote, urlsplit

from posetools.files.urls import as_path, is_url, real
from posetools.files.walking import walk
from posetools.imaging.header import IMAGE_SUFFIXES, is_image


class ImageName(NamedTuple):
    """What an annotation calls an image: the folders that it names, from the last ``..`` on, and the file's name."""

    folders: tuple[str, ...]
    name: str
    absolute: bool


def named_in(text: str) -> ImageName:
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
    return ImageName(tuple(parts[:-1]), parts[-1] if parts else "", absolute or bool(path.anchor))


def folded(name: str) -> str:
    """Return a key that is equal for names that differ in letter case, Unicode form or escapes of URLs alone."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", _unescaped(name)).casefold())


def folded_stem(name: str) -> str:
    """Return the same key without the ending of an image, if the name has one."""
    stem, _, ending = name.rpartition(".")
    return folded(stem if stem and f".{ending.lower()}" in IMAGE_SUFFIXES else name)


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


# Whether an image is the one that is named: yes, yes though its folder is another one (which is said), or no.
RootVerdict: TypeAlias = Literal["agrees", "by name", "another folder"]


# Folders that formats themselves have their images in: another one above them says nothing.
_EVERYBODYS = frozenset({"images", "labeled-data"})


class RootImage(NamedTuple):
    """An image in an --image-root.

    Attributes:
        path: the file, seen from the root as it was given.
        parts: its absolute path.
        below: how many folders are between it and the innermost root that it is in.
        seen: its path from each root that it is in.
    """

    path: Path
    parts: tuple[str, ...]
    below: int
    seen: tuple[tuple[str, ...], ...]


@dataclass
class RootImages:
    """All images of some folders, by name.

    Attributes:
        roots: the folders, sub-folders included.
    """

    roots: Sequence[Path]
    _tops: list[tuple[str, ...]] = field(default_factory=list, init=False, repr=False)
    _folders: dict[str, tuple[str, ...]] = field(default_factory=dict, init=False, repr=False)
    _by_name: dict[str, list[Path]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        identities: set[str] = set()
        for root in self.roots:
            top = ended(real(root))
            self._tops.append(path_parts(real(root)))
            for at, folder, files in walk(root):
                if not ended(folder).startswith(top):
                    # A link out of what the user named.
                    continue
                for name, is_file, is_link in files:
                    path = as_path(at) / name
                    if not is_file or not is_image(path):
                        continue
                    identity = real(path) if is_link else f"{folder}/{name}"
                    if identity not in identities:
                        identities.add(identity)
                        self._by_name.setdefault(name, []).append(path)

    def like(self, named: ImageName, *, exactly: bool) -> list[RootImage]:
        """Return the images of that name, or of one that differs as ``image_names`` says."""
        if exactly:
            return [self._image(path) for path in self._by_name.get(named.name, ())]
        if not named.name:
            return []
        paths = [path for name in self._by_stem.get(folded_stem(named.name), ()) for path in self._by_name[name]]
        same = [path for path in paths if folded(path.name) == folded(named.name)]
        return [self._image(path) for path in same or paths]

    def best(self, images: Sequence[RootImage], named: ImageName, where: Sequence[str]) -> list[RootImage]:
        """Return the images that agree most with what is written; more than one when nothing tells them apart.

        Args:
            images: the images of that name.
            named: what is written.
            where: the absolute path of the file that would be meant, as seen from the annotation file.
        """
        said = (*named.folders, named.name) if named.absolute else where
        scores = [agreement(said[:-1], image.parts[:-1]) for image in images]
        most = max(scores, default=(0, 0))
        equal = [image for image, score in zip(images, scores, strict=True) if score == most]
        if len(equal) > 1 and not named.absolute:
            exact = [image for image in equal if (*named.folders, named.name) in image.seen]
            return exact if len(exact) == 1 else equal
        return equal

    def judge(self, image: RootImage, named: ImageName, where: Sequence[str], *, in_subfolder: bool) -> RootVerdict:
        """Return whether an image is the one that is named.

        It is when every folder that the annotation names agrees, or of an absolute path, which is another machine's,
        the folders below the root. An image right in a root may be in a folder of another name, which is said.

        Args:
            image: the image.
            named: what is written.
            where: as for ``best``.
            in_subfolder: whether the annotation file itself is in a sub-folder of its source.
        """
        alike, _ = agreement(named.folders, image.parts[:-1])
        if not named.folders:
            apart = in_subfolder and image.below and not agreement(where[:-1], image.parts[:-1])[0]
            return "by name" if apart else "agrees"
        if alike == len(named.folders) or (named.absolute and 0 < alike >= image.below):
            return "agrees"
        above = named.folders[: len(named.folders) - alike]
        if alike >= image.below and all(folder.lower() in _EVERYBODYS for folder in above):
            return "agrees"
        if alike >= image.below or (named.absolute and alike):
            return "by name"
        return "another folder"

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self._by_name:
            found.setdefault(folded_stem(name), []).append(name)
        return found

    def _image(self, path: Path) -> RootImage:
        folder = str(path.parent)
        if folder not in self._folders:
            self._folders[folder] = path_parts(real(path.parent))
        parts = (*self._folders[folder], path.name)
        seen = tuple(parts[len(top) :] for top in self._tops if parts[: len(top)] == top)
        return RootImage(path, parts, min(map(len, seen)) - 1, seen)


def path_parts(path: str) -> tuple[str, ...]:
    """Return the parts of a path, or of a URL."""
    return tuple(path.split("/")) if is_url(path) else Path(path).parts


def ended(path: str) -> str:
    """Return a path with a separator at its end."""
    separator = "/" if is_url(path) else os.sep
    return path.rstrip(separator) + separator
