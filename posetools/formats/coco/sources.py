"""Finds COCO files and their images: which files of a folder are COCO, their splits, and image lookup."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from posetools.core.findings import Finding
from posetools.core.folder import IMAGES, SPLIT_WORDS, split_folder
from posetools.errors import InputError, RequestError, must_be
from posetools.files.disk import portable_path, read_json
from posetools.files.urls import is_url
from posetools.formats.coco.table import LISTS
from posetools.formats.sources.locate import (
    ImageFinder,
    Match,
    PathFrom,
    UnsettledImage,
    allowing,
    check_size,
    is_sane,
    name_below,
    open_image,
)

ANNOTATIONS = "annotations"
# For an image whose size is not in the file.
UNKNOWN_SIZE = (0, 0)

# labelme files have this in their first bytes, and a folder may hold many thousands of them.
_HEAD_BYTES = 4096
_LOOKED_AT = 5
# A fast check that most names pass.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image that was found.

    Attributes:
        path: the file.
        name: its name in the Dataset, unless another image has the same.
        origin: the prefix of the name if another image has the same.
        size: (width, height) of the upright image.
        notes: warnings.
    """

    path: Path
    name: str
    origin: str
    size: tuple[int, int]
    notes: tuple[Finding, ...] = ()


class ImageLookup:
    """Finds the images of one COCO file: below images/ next to it, next to it, or as in a COCO release."""

    def __init__(
        self, path: Path, root: Path, image_roots: Sequence[Path] = (), *, trust: bool = False, needed: bool = True
    ) -> None:
        """Look for the images of the COCO file ``path``.

        Args:
            path: the file.
            root: the source folder.
            image_roots: further folders that the user allowed.
            trust: use the file's image sizes, and open no image.
            needed: whether an image must exist even so.
        """
        self.path = path
        self.root = root
        self._trust = trust
        self._needed = needed
        self._folders = image_folders(path)
        self._likely = self._folders[0]
        self._finder = ImageFinder(root, image_roots)
        self._roots = (root, *image_roots)

    def find(self, file_name: str, size: tuple[int, int], place: str, *, below: str = "") -> FoundImage | Finding:
        """Return the image ``file_name`` of the given ``size`` (width, height), or a finding if there is none.

        Args:
            file_name: as written.
            size: as written.
            place: the place in the file that names it.
            below: a folder to search first.
        """
        match = self._look([f"{below}/{file_name}", file_name] if below else [file_name])
        name = safe_name(file_name)
        missing = isinstance(match, Finding) and match.code == "E121" and not isinstance(match, UnsettledImage)
        if missing and name and self._trust and not self._needed:
            return FoundImage(self.path.parent / name, name, self._origin(None), size)
        if isinstance(match, Finding):
            # A name that leaves the folder is an error in the COCO file; a link that leaves it is not.
            leaves = match.code == "E308" and not isinstance(match, UnsettledImage) and safe_name(file_name) is None
            return replace(match, place=place, code="E125" if leaves else match.code)
        found_name, origin = self._name(match), self._origin(match.folder)
        notes = tuple(replace(note, place=place) for note in match.notes)
        if self._trust:
            return FoundImage(match.path, found_name, origin, size, notes)
        located = open_image(match.path)
        if isinstance(located, Finding):
            return located
        wrong = None if size == UNKNOWN_SIZE else check_size(located, *size, file=self.path, place="image")
        if wrong:
            return replace(wrong, place=place)
        return FoundImage(match.path, found_name, origin, located.header.size, notes)

    def ahead(self, file_names: Sequence[str]) -> Iterator[str]:
        """Yield the paths at URLs where these images probably are."""
        if is_url(self._likely):
            yield from (f"{self._likely}/{name}" for name in map(safe_name, file_names) if name)

    def _look(self, names: Sequence[str]) -> Match | Finding:
        file_name = names[-1]
        places = [PathFrom(name, folder) for name in names for folder in (*self._folders, self.path.parent)]
        match = self._finder.find(places, file=self.path, place="file_name")
        if isinstance(match, Match):
            self._likely = match.folder or self._likely
            return match
        name = safe_name(file_name)
        named = [folder / name for folder in self._folders] if name else []
        links = [path for path in named if is_sane(path) and path.is_symlink()]
        if match.code != "E121" or not links:
            return match
        # Unlike Path.resolve, realpath does not fail on circular links.
        target = Path(os.path.realpath(links[0]))
        message = f"file_name must be an image inside {self.root}, got {file_name!r}, a link to {target}"
        return Finding("E308", str(self.path), "", message, allowing(target))

    def _name(self, match: Match) -> str:
        below = None if match.folder is None else match.path.relative_to(match.folder)
        if below is None or ".." in below.parts:
            return name_below(match.path, self._roots)
        return below.as_posix()

    def _origin(self, folder: Path | None) -> str:
        root = self.root.resolve()
        at = root if folder is None else folder.resolve()
        if at in (root, root / IMAGES) or not at.is_relative_to(root):
            return root.name or IMAGES
        return at.relative_to(root).as_posix()


class TrustedImages:
    """The images of a posetools data set: in one folder, with sizes from the file; none is opened."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self.folder = folder

    def ahead(self, file_names: Sequence[str]) -> Iterator[str]:
        """Yield nothing: no image is opened."""
        del file_names
        yield from ()

    def find(self, file_name: str, size: tuple[int, int], place: str) -> FoundImage | Finding:
        """Return the image, or a finding if its name leaves the folder."""
        name = safe_name(file_name)
        if name is None:
            message = must_be("file_name", f"a path that stays in {self.folder}", file_name)
            return Finding("E125", str(self.path), place, message, "write the path relative to images/")
        return FoundImage(self.folder / name, name, self.folder.parent.name, size)


def safe_name(file_name: str) -> str | None:
    """Return a file name with forward slashes that cannot leave its folder; None if it could."""
    if _PLAIN_NAME.fullmatch(file_name):
        return file_name
    relative = portable_path(file_name)
    if relative is None or ".." in relative.parts or not relative.parts or "\0" in file_name:
        return None
    return relative.as_posix()


def image_folders(path: Path) -> tuple[Path, ...]:
    """Return the folders that file names in the COCO file ``path`` may be relative to, in search order."""
    beside = path.parent
    folders = [beside / IMAGES, beside]
    if beside.name == ANNOTATIONS:
        root = beside.parent
        names = dict.fromkeys(name for name in (re.split(r"[_\-. ]", path.stem)[-1], split_in(path.stem)) if name)
        folders += [root / IMAGES, root]
        folders += [folder / name for folder in (root / IMAGES, root) for name in names]
        folders += _only_folder(root)
    return tuple(folders)


def _only_folder(root: Path) -> list[Path]:
    """Return the only folder next to ``annotations/``, whatever its name (AP-10K: ``data/``)."""
    if is_url(root) or not root.is_dir():
        return []
    found = [root / entry.name for entry in os.scandir(root) if entry.is_dir() and entry.name != ANNOTATIONS]
    return found if len(found) == 1 else []


def split_in(stem: str) -> str | None:
    """Return the split in a file's name: exactly one of its words is train, val or test."""
    words = [SPLIT_WORDS[word] for word in re.findall(r"[a-z]+", stem.lower()) if word in SPLIT_WORDS]
    return words[0] if len(words) == 1 else None


def split_of(path: Path) -> str | None:
    """Return the split of a COCO file: by its name, else by its folder's name."""
    return split_in(path.stem) or split_folder(path.parent.name)


def root_of(path: Path) -> Path:
    """Return the folder that contains all images of a COCO file: its own, or the one above ``annotations/``."""
    return path.parent.parent if path.parent.name == ANNOTATIONS else path.parent


def is_coco(path: Path) -> bool | None:
    """Return whether a .json file has COCO's three lists; None if it is not readable as JSON."""
    try:
        with path.open("rb") as file:
            if b'"shapes"' in file.read(_HEAD_BYTES):
                return False
        document = read_json(path)
    except (OSError, InputError):
        return None
    if not isinstance(document, dict):
        return False
    found = [name for name in LISTS if isinstance(document.get(name), list)]
    return len(found) == len(LISTS) or (found == ["images", "annotations"] and _has_keypoints(document))


def _has_keypoints(document: Mapping[str, Any]) -> bool:
    """Return whether a document without categories has keypoints; COCO's captions have none."""
    first = next(iter(document["annotations"]), None)
    return document.get("categories") is None and isinstance(first, dict) and isinstance(first.get("keypoints"), list)


def detect(path: Path) -> bool:
    """Return whether a path is a COCO file, or a folder with COCO files in one of the usual locations."""
    if path.is_dir():
        # At a URL each check costs a round trip.
        most = _LOOKED_AT if is_url(path) else None
        return any(is_coco(file) for group in _groups(path) for file in group[:most])
    return path.suffix.lower() == ".json" and path.is_file() and bool(is_coco(path))


def files_of(source: Path) -> tuple[Path, ...]:
    """Return the COCO files of a source: itself, or those in the folder's first location that has any.

    The locations are ``*_coco.json``, ``annotations/*.json``, ``*.json``, and ``*.json`` in ``train/``, ``valid/``,
    ``test/`` and the like. A file that is not JSON counts, so that it is reported; JSON without COCO's lists does not.

    Raises:
        RequestError: there is none.
    """
    if source.is_file():
        return (source,)
    for number, group in enumerate(_groups(source)):
        files = tuple(file for file in group if number == 0 or is_coco(file) is not False)
        if files:
            return files
    raise RequestError(
        f"{source}: must be a COCO file or a folder with some (*_coco.json, annotations/*.json, *.json, train/*.json), "
        + ("but holds none" if source.is_dir() else "but there is no such file or folder")
    )


def _groups(folder: Path) -> Iterator[list[Path]]:
    """Yield the .json files of each location, searching later ones only on demand."""
    for pattern in ("*_coco.json", f"{ANNOTATIONS}/*.json", "*.json"):
        yield sorted(path for path in folder.glob(pattern) if is_url(path) or path.is_file())
    if not is_url(folder) and folder.is_dir():
        # Only names are read: there may be hundreds of thousands of other files.
        splits = [folder / name for name in os.listdir(folder) if split_folder(name)]  # noqa: PTH208 (half the time)
        yield sorted(path for split in splits for path in split.glob("*.json") if path.is_file())


def without_twins(files: Sequence[Path]) -> tuple[tuple[Path, ...], list[Finding]]:
    """Return the files without those of a COCO release whose objects another file has with keypoints, and notes."""
    names = {(path.parent, path.name) for path in files}
    kept: list[Path] = []
    notes: list[Finding] = []
    for path in files:
        twin = path.name.replace("instances_", "person_keypoints_", 1)
        if not path.name.startswith("instances_") or (path.parent, twin) not in names:
            kept.append(path)
            continue
        message = f"left out: {twin} has the same objects with keypoints"
        notes.append(Finding("W323", str(path), "", message, "give the file as SRC to read it"))
    return tuple(kept), notes
