"""Names of image files: which different names mean the same file, and how far two paths agree from the end.

Programs write ``a.jpg`` where the disk has ``a.JPG`` or ``a.png``, escape names as in URLs (``my%20dog.jpg``), and
macOS decomposes umlauts. Such a name is looked up only if the exact name does not exist.

Images in an ``--image-root``: the one whose path matches the annotation best.

Frames are named ``0000.jpg`` in every folder, so a file name alone says little. The longest common end of both paths
decides; a tie is an error. A folder named in the annotation is never ignored silently: see ``RootImages.judge``.
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
    """The image name in an annotation: its folders after the last ``..``, and the file name."""

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
            # Not a valid URL.
            text = text.partition("://")[2]
    path = PureWindowsPath(text)
    parts = [part for part in path.parts if part != path.anchor]
    ups = [number for number, part in enumerate(parts) if part == ".."]
    parts = parts[ups[-1] + 1 :] if ups else parts
    return ImageName(tuple(parts[:-1]), parts[-1] if parts else "", absolute or bool(path.anchor))


def folded(name: str) -> str:
    """Return a key that is equal for names that differ only in letter case, Unicode form or URL escapes."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", _unescaped(name)).casefold())


def folded_stem(name: str) -> str:
    """Return the same key without an image extension."""
    stem, _, ending = name.rpartition(".")
    return folded(stem if stem and f".{ending.lower()}" in IMAGE_SUFFIXES else name)


def agreement(one: Sequence[str], other: Sequence[str]) -> tuple[int, int]:
    """Return how many parts two paths have in common from the end: by ``folded``, and exactly."""
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
    """Files in folders by ``folded`` names; each folder is listed once."""

    _known: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def paths_like(self, folder: Path, parts: Sequence[str]) -> Iterator[Path]:
        """Yield the files in a folder whose path equals ``parts`` by ``folded`` names, with any extension.

        ``..`` goes up; callers check that it is allowed.
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


# Whether an image is the named one: yes; yes, with a warning about its folder; or no.
RootVerdict: TypeAlias = Literal["agrees", "by name", "another folder"]


# Image folders of the formats themselves: a different folder above them does not count.
_EVERYBODYS = frozenset({"images", "labeled-data"})


class RootImage(NamedTuple):
    """An image in an --image-root.

    Attributes:
        path: the file, starting with the root as given.
        parts: its absolute path.
        below: how many folders are between it and its innermost root.
        seen: its path relative to each of its roots.
    """

    path: Path
    parts: tuple[str, ...]
    below: int
    seen: tuple[tuple[str, ...], ...]


@dataclass
class RootImages:
    """All images of some folders, by name.

    Attributes:
        roots: the folders, with their subfolders.
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
                    # A link to outside the root.
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
        """Return the images with that name, or a name that counts as equal (see the module)."""
        if exactly:
            return [self._image(path) for path in self._by_name.get(named.name, ())]
        if not named.name:
            return []
        paths = [path for name in self._by_stem.get(folded_stem(named.name), ()) for path in self._by_name[name]]
        same = [path for path in paths if folded(path.name) == folded(named.name)]
        return [self._image(path) for path in same or paths]

    def best(self, images: Sequence[RootImage], named: ImageName, where: Sequence[str]) -> list[RootImage]:
        """Return the images that match the annotation best; several if they match equally.

        Args:
            images: the images of that name.
            named: the name in the annotation.
            where: the absolute path of the named file, relative to the annotation file.
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
        """Return whether an image is the named one.

        It is if every folder in the annotation agrees; for an absolute path, which is from another machine, the
        folders below the root. An image directly in a root may be in a folder with another name; a warning says so.

        Args:
            image: the image.
            named: the name in the annotation.
            where: as for ``best``.
            in_subfolder: whether the annotation file is in a subfolder of its source.
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
