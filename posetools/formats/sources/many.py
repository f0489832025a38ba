"""Shared by readers of formats with one annotation file for many images: listing files, finding each image.

Such a reader splits a file into entries, one per image, and turns each into a FileReading for ``collect``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from posetools.core.findings import Finding
from posetools.core.folder import is_record
from posetools.errors import InputError, RequestError, must_be
from posetools.files.disk import read_bytes
from posetools.files.walking import walk_files
from posetools.formats.joined import UNLABELED, CauseFinding
from posetools.formats.reading import FileReading
from posetools.formats.sources.locate import ImageFinder, PathFrom, name_below, open_image
from posetools.imaging.header import is_image

T = TypeVar("T")


class SourceFile(NamedTuple):
    """An annotation file, its source folder, and that folder's name."""

    file: Path
    root: Path
    origin: str


def list_sources(
    sources: Sequence[Path], is_wanted: Callable[[Path], bool], what: str
) -> tuple[list[SourceFile], list[Path]]:
    """Return the annotation files of the sources, each once, and the images of those sources that are folders.

    Args:
        sources: files, or folders that are walked.
        is_wanted: whether a file in a folder belongs to the format; not called for a file given by name.
        what: the name of such files, for the message if there are none.

    Raises:
        RequestError: a source does not exist or has no such file.
    """
    files: dict[str, SourceFile] = {}
    images: list[Path] = []
    for source in sources:
        if source.is_dir():
            found = walk_files(source)
            wanted = [path for path in found if not is_record(path) and is_wanted(path)]
            if not wanted:
                raise RequestError(must_be(str(source), f"a folder with {what}", "none in it"))
            images += [path for path in found if is_image(path)]
            listed = [SourceFile(path, source, source.resolve().name) for path in wanted]
        elif source.is_file():
            listed = [SourceFile(source, source.parent, source.parent.resolve().name)]
        else:
            raise RequestError(must_be(str(source), f"an existing folder or file with {what}", "nothing there"))
        for one in listed:
            files.setdefault(os.path.realpath(one.file), one)
    return list(files.values()), images


def parsed(file: Path, parse: Callable[[bytes, str], tuple[list[T], list[Finding]]]) -> tuple[list[T], list[Finding]]:
    """Return what a parser reads from a file, or a finding that it cannot be read."""
    try:
        return parse(read_bytes(file), str(file))
    except InputError as exc:
        return [], [Finding("E310", str(file), exc.place, exc.problem, exc.hint)]


@dataclass
class Opener:
    """Finds and opens the images that annotation files name.

    Attributes:
        image_roots: the user's image roots, searched by file name.
    """

    image_roots: Sequence[Path] = ()
    _finders: dict[Path, ImageFinder] = field(default_factory=dict, init=False, repr=False)

    def open(
        self,
        source: SourceFile,
        texts: Sequence[str],
        *,
        place: str,
        objects: int,
        what: str = "shapes",
        named: Sequence[str] = (),
    ) -> FileReading:
        """Return a reading with the image and no objects, or one with a finding that says why there is no image.

        Args:
            source: the annotation file.
            texts: paths relative to the file, the most likely first; the last one is reported.
            place: the place in the file that names the image.
            objects: how many shapes are lost with the image.
            what: what is counted.
            named: what to search for in the image roots, the most likely first; default: the last of ``texts``.
        """
        if source.root not in self._finders:
            self._finders[source.root] = ImageFinder(source.root, self.image_roots)
        finder = self._finders[source.root]
        places = [PathFrom(text, source.file.parent) for text in texts]
        match = finder.find(places, file=source.file, place=place, named=named)
        if isinstance(match, Finding):
            lost = replace(match, message=f"{match.message} ({objects} {what} left out)")
            return FileReading(source.file, findings=[lost])
        found = match.path
        identity = os.path.realpath(found)
        located = open_image(found)
        if isinstance(located, Finding):
            message = f"{located.message} ({source.file} names it; {objects} {what} left out)"
            return FileReading(source.file, identity=identity, findings=[replace(located, message=message)])
        return FileReading(
            source.file,
            image=found,
            identity=identity,
            name=name_below(found, (source.root, *self.image_roots)),
            origin=source.origin,
            size=located.header.size,
            findings=match.notes,
            objects=objects,
        )


def without_entry(images: Sequence[Path], readings: Iterable[FileReading], what: str) -> list[Finding]:
    """Return a finding for each image of a source folder that no annotation file names.

    Args:
        images: the images of the source folders.
        readings: all readings.
        what: what the annotation files are called.
    """
    named = {reading.identity for reading in readings}
    unique = {os.path.realpath(path): path for path in images}
    message = f"the image must be named by {what}, got none: not labeled yet, left out"
    lone = (str(path) for real, path in unique.items() if real not in named)
    return [CauseFinding("W322", path, "", message, cause=UNLABELED) for path in lone]
