"""Sources that are zip files, as labeling programs export them: unpacked for the conversion, then removed.

A source or an image root may be a zip, a folder in one (``export.zip/train``), or a folder that contains only zips.
Zips are unpacked in the system's folder for temporary files, or next to the output if that has too little space.
Messages, findings and records name the zip: readers get paths that are shown so (``UnpackedPath``).

Annotation files must be inside their source: messages and records would quote a file that a link leads to.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from posetools.errors import InputError, OutputError, RequestError, counted, must_be
from posetools.files.disk import existing_folder, is_zip_name, zip_at
from posetools.files.unpacked import UnpackedPath, add_unpacked
from posetools.files.urls import as_path, is_url
from posetools.files.walking import walk
from posetools.formats.entry import Format
from posetools.formats.sources.scratch import temporary_folder
from posetools.formats.sources.zip_members import ZipMember, check_directory, members_of, reading
from posetools.imaging.header import is_image
from posetools.progress import Progress

_COPY_CHUNK = 1 << 20


class ZipPath(NamedTuple):
    """A path in a zip file: the file, and where in it."""

    file: Path
    below: tuple[str, ...]


def in_zip(path: Path) -> ZipPath | None:
    """Return the zip file that a path is or is in; None if there is none."""
    file = zip_at(path)
    return ZipPath(file, path.parts[len(file.parts) :]) if file is not None else None


def zips_in(folder: Path) -> list[Path]:
    """Return the zip files of a folder with nothing else in it, sorted; an empty list for any other folder."""
    if is_url(folder) or not folder.is_dir():
        return []
    try:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []
    return found if all(is_zip_name(path.name) and path.is_file() for path in found) else []


@dataclass
class ZipSources:
    """Zip files that are unpacked temporarily.

    Attributes:
        near: the folder of the output, used if the system's has too little space.
        encoding: for names that are not UTF-8.
        progress: receives progress.
    """

    near: Path
    encoding: str | None
    progress: Progress
    _held: ExitStack = field(default_factory=ExitStack)
    _known: dict[str, UnpackedPath] = field(default_factory=dict)

    def paths_of(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """Return the unpacked paths; a folder of zips is replaced by its zips.

        Raises:
            InputError, RequestError, OutputError: as ``path_of``.
        """
        return tuple(self.path_of(each) for path in paths for each in zips_in(path) or [path])

    def path_of(self, path: Path) -> Path:
        """Return the path itself, or its unpacked path if it is in a zip.

        Raises:
            InputError: a zip file is refused or damaged.
            RequestError: the path is not in the zip.
            OutputError: there is not enough space.
        """
        zipped = in_zip(path)
        if zipped is None:
            return path
        folder = self._unpacked(zipped.file).joinpath(*zipped.below)
        if ".." in zipped.below or not folder.exists():
            raise RequestError(f"{path}: SRC must be an existing file or folder in {zipped.file}")
        return folder if zipped.below else _only_folder(folder)

    def remove(self) -> None:
        """Remove everything that was unpacked."""
        self._held.close()

    def _unpacked(self, file: Path) -> UnpackedPath:
        identity = os.path.realpath(file)
        if identity not in self._known:
            with reading(file), file.open("rb") as opened:
                size = check_directory(file, opened)
                with zipfile.ZipFile(opened) as archive:
                    members = members_of(file, archive, size, self.encoding)
                    self._known[identity] = self._unpack(file, archive, members)
        return self._known[identity]

    def _unpack(self, file: Path, archive: zipfile.ZipFile, members: Sequence[ZipMember]) -> UnpackedPath:
        # The folder has the zip's name: it makes images with the same name in several zips unique.
        home = self._scratch(file, sum(member.info.file_size for member in members)) / (file.stem.strip(". ") or "zip")
        made = set[Path]()
        for number, member in enumerate(members, start=1):
            target = home.joinpath(*member.parts)
            with archive.open(member.info) as source:
                _write(source, target, made)
            self.progress(f"unpacking {file.name}", number, len(members))
        _make(home, made)
        return add_unpacked(home, file)

    def _scratch(self, file: Path, needed: int) -> Path:
        """Return a new folder that only its owner can read, where there is enough space."""
        made = temporary_folder(f"{file}: cannot be unpacked", self.near, needed=needed)
        return self._held.enter_context(made)


@contextmanager
def zip_sources(out: Path, encoding: str | None, progress: Progress) -> Iterator[ZipSources]:
    """Give what unpacks zip files; everything is removed at the end.

    Args:
        out: the output folder.
        encoding: for names in the zips that are not UTF-8.
        progress: receives progress.
    """
    zips = ZipSources(existing_folder(out), encoding, progress)
    try:
        yield zips
    finally:
        zips.remove()


def check_way_of_zips(sources: Sequence[Path], images: str, *, elsewhere: bool) -> None:
    """Refuse links to unpacked files, which are removed at the end, and readers on other machines.

    Raises:
        RequestError: one of them is requested.
    """
    zips = [path for path in sources if in_zip(path) or zips_in(path)]
    if zips and images != "copy":
        rule = f"copy with a zip file ({zips[0]}), which is unpacked only for reading"
        raise RequestError(
            must_be("--images", rule, images), hint="use --images copy, or unpack it and give the folder"
        )
    if zips and elsewhere:
        raise RequestError(
            f"--cluster must be left out with a zip file ({zips[0]})", hint="unpack it where all workers can read it"
        )


def _only_folder(folder: Path) -> Path:
    """Return the single folder that contains the whole zip, if there is one."""
    inner = list(folder.iterdir())
    while len(inner) == 1 and inner[0].is_dir():
        folder = inner[0]
        inner = list(folder.iterdir())
    return folder


def _write(source: Any, target: Path, made: set[Path]) -> None:
    _make(target.parent, made)
    # `reading` translates errors of the zip; an OSError here is about the output.
    try:
        with target.open("xb") as file:
            while chunk := source.read(_COPY_CHUNK):
                file.write(chunk)
    except OSError as exc:
        raise OutputError(f"{target}: cannot be unpacked: {exc.strerror or exc}") from exc


def _make(folder: Path, made: set[Path]) -> None:
    if folder not in made:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise OutputError(f"{folder}: cannot be unpacked: {exc.strerror or exc}") from exc
        made.add(folder)


def check_inside(sources: Sequence[Path], source: Format, image_roots: Sequence[Path]) -> None:
    """Refuse annotation files that are links to outside the sources and image roots.

    Args:
        sources: files and folders given by the user.
        source: their format.
        image_roots: more folders that may be read.

    Raises:
        InputError: such a file exists.
    """
    folders = [source for source in sources if not is_url(source) and source.is_dir()]
    allowed = [os.path.realpath(folder) for folder in (*folders, *image_roots) if not is_url(folder)]
    found = [found for folder in folders for found in _led_out(folder, source.endings, allowed)]
    if found:
        (path, target), more = found[0], len(found) - 1
        rule = f"a file inside {' or '.join(str(folder) for folder in (*folders, *image_roots))}"
        also = [f"and {counted(more, 'more annotation file')}"] if more else []
        hint = f"--image-root {target.parent} allows it; use it only for a folder that you trust"
        raise InputError(path, "", must_be("the annotation file", rule, f"a link to {target}"), *also, hint=hint)


def _led_out(folder: Path, endings: tuple[str, ...], allowed: Sequence[str]) -> Iterator[tuple[Path, Path]]:
    """Yield the annotation files in a folder that are outside it, each with its target; without endings: no images."""
    for at, real, entries in walk(folder):
        away = not _is_below(real, allowed)
        for name, _, is_link in entries:
            is_annotation = name.lower().endswith(endings) if endings else not is_image(Path(name))
            if (away or is_link) and is_annotation:
                target = as_path(os.path.realpath(os.path.join(at, name)))  # noqa: PTH118
                if not _is_below(str(target), allowed):
                    yield as_path(at) / name, target


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(os.path.join(folder, "")) for folder in folders)  # noqa: PTH118
