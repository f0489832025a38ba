"""Sources that are zip files, as programs let them be downloaded: unpacked beside the work, and removed with it.

A source or an image root may be a zip, a folder in one (``export.zip/train``), or a folder that holds nothing but zips.
What is unpacked lies in the system's folder for temporary files, or beside the output where that has no room, and is
removed however the work ends. Messages, findings and records name the zip, never that folder.

Annotation files stay inside their source: what a link leads to elsewhere would be quoted in messages and records.
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
from posetools.formats.sources.scratch import temporary_folder
from posetools.formats.sources.zip_members import ZipMember, check_directory, members_of, reading
from posetools.progress import Progress

_COPY_CHUNK = 1 << 20


class ZipPath(NamedTuple):
    """A path in a zip file: the file, and where in it."""

    file: Path
    below: tuple[str, ...]


def in_zip(path: Path) -> ZipPath | None:
    """Return the zip file that a path is, or is in; None when it is or is in none."""
    file = zip_at(path)
    return ZipPath(file, path.parts[len(file.parts) :]) if file is not None else None


def zips_in(folder: Path) -> list[Path]:
    """Return the zip files of a folder that holds nothing else, sorted; none when it holds something else."""
    if is_url(folder) or not folder.is_dir():
        return []
    try:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []
    return found if all(is_zip_name(path.name) and path.is_file() for path in found) else []


@dataclass
class ZipSources:
    """Zip files that are unpacked for a while, and what they are called.

    Attributes:
        near: the folder that the output will be in, for when the system's has no room.
        encoding: of names that are not UTF-8.
        progress: told how far it is.
    """

    near: Path
    encoding: str | None
    progress: Progress
    _held: ExitStack = field(default_factory=ExitStack)
    _known: dict[str, UnpackedPath] = field(default_factory=dict)

    def paths_of(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """Return where some paths are, with the zips of a folder that holds nothing else instead of it.

        Raises:
            InputError, RequestError, OutputError: as ``path_of``.
        """
        return tuple(self.path_of(each) for path in paths for each in zips_in(path) or [path])

    def path_of(self, path: Path) -> Path:
        """Return where a path is: itself, or what is unpacked of it.

        Raises:
            InputError: a zip file is refused or damaged.
            RequestError: there is no such path in it.
            OutputError: there is no room for it.
        """
        zipped = in_zip(path)
        if zipped is None:
            return path
        folder = self._unpacked(zipped.file).joinpath(*zipped.below)
        if ".." in zipped.below or not folder.exists():
            raise RequestError(f"{path}: SRC must be an existing file or folder in {zipped.file}, but there is none")
        return folder if zipped.below else _only_folder(folder)

    def remove(self) -> None:
        """Remove all that was unpacked."""
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
        # The folder's own name is that of the zip, for images of one name in several zips are told apart by it.
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
        """Return a new folder that nobody else can read, where there is room."""
        made = temporary_folder(f"{file}: cannot be unpacked", self.near, needed=needed)
        return self._held.enter_context(made)


@contextmanager
def zip_sources(out: Path, encoding: str | None, progress: Progress) -> Iterator[ZipSources]:
    """Give what unpacks zip files; all of it is removed at the end, and errors name the zips.

    Args:
        out: the folder that will be written.
        encoding: of names in the zips that are not UTF-8.
        progress: told how far it is.
    """
    zips = ZipSources(existing_folder(out), encoding, progress)
    try:
        yield zips
    finally:
        zips.remove()


def check_way_of_zips(sources: Sequence[Path], images: str, *, elsewhere: bool) -> None:
    """Refuse what is not possible with zip files: links to what is removed at the end, and readers on other machines.

    Raises:
        RequestError: it is asked for.
    """
    zips = [path for path in sources if in_zip(path) or zips_in(path)]
    if zips and images != "copy":
        rule = f"copy with a zip file ({zips[0]}), which is unpacked for the time of reading alone"
        raise RequestError(f"{must_be('--images', rule, images)}\n  --images copy, or unpack it and give the folder")
    if zips and elsewhere:
        raise RequestError(
            f"--cluster must be left out with a zip file ({zips[0]})\n  unpack it where all workers see it"
        )


def _only_folder(folder: Path) -> Path:
    """Return the folder in a zip that holds all of it, where there is one."""
    inner = list(folder.iterdir())
    while len(inner) == 1 and inner[0].is_dir():
        folder = inner[0]
        inner = list(folder.iterdir())
    return folder


def _write(source: Any, target: Path, made: set[Path]) -> None:
    _make(target.parent, made)
    # Reading raises what `reading` translates; a full disk is the output's fault.
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


# What a reader of each format opens in a folder, besides images.
_FORMAT_ENDINGS = {
    "labelme": (".json",),
    # The label files are looked at one by one.
    "yolo-pose": (".yaml", ".yml"),
    "coco": (".json",),
    "cvat": (".xml",),
    "label-studio": (".json",),
    "via": (".json", ".csv"),
    "deeplabcut": (".csv", ".h5"),
    "sleap": (".slp",),
    "custom": (".csv", ".tsv", ".jsonl", ".ndjson"),
}


def check_inside(sources: Sequence[Path], format_name: str, image_roots: Sequence[Path]) -> None:
    """Refuse annotation files that a link in a source folder leads out of it to, and out of what the user allowed.

    Args:
        sources: files, which the user has named, and folders.
        format_name: the format that they are read as.
        image_roots: further folders that may be read.

    Raises:
        InputError: there is such a file.
    """
    folders = [source for source in sources if not is_url(source) and source.is_dir()]
    allowed = [os.path.realpath(folder) for folder in (*folders, *image_roots) if not is_url(folder)]
    found = [
        (path, target) for folder in folders for path, target in _led_out(folder, _FORMAT_ENDINGS[format_name], allowed)
    ]
    if found:
        (path, target), more = found[0], len(found) - 1
        rule = f"a file inside {' or '.join(str(folder) for folder in (*folders, *image_roots))}"
        also = f"and {counted(more, 'more annotation file')}\n  " if more else ""
        hint = f"{also}--image-root {target.parent} allows it: give it for a folder that you trust"
        raise InputError(path, "", must_be("the annotation file", rule, f"a link to {target}"), hint=hint)


def _led_out(folder: Path, endings: tuple[str, ...], allowed: Sequence[str]) -> Iterator[tuple[Path, Path]]:
    """Yield the annotation files below a folder that are elsewhere, each with where it is."""
    for at, real, entries in walk(folder):
        away = not _is_below(real, allowed)
        for name, _, is_link in entries:
            if (away or is_link) and name.lower().endswith(endings):
                target = as_path(os.path.realpath(os.path.join(at, name)))  # noqa: PTH118
                if not _is_below(str(target), allowed):
                    yield as_path(at) / name, target


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(os.path.join(folder, "")) for folder in folders)  # noqa: PTH118
