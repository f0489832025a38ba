"""Finding the image that an annotation names, and checking its header against what the annotation says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from posetools.core.findings import Finding
from posetools.errors import InputError, first_names, must_be, quoted
from posetools.files.disk import portable_path
from posetools.files.urls import real
from posetools.formats.joined import CauseFinding, JoinableFinding
from posetools.formats.sources.image_names import (
    FolderNames,
    ImageName,
    RootImage,
    RootImages,
    agreement,
    ended,
    folded,
    named_in,
    path_parts,
)
from posetools.imaging.decoding import SIDEWAYS, upright_command
from posetools.imaging.header import Header, read_header

# In bytes; with a longer name, Linux raises an error instead of reporting a missing file.
LONGEST_NAME = 255
_LONGEST_ADDRESS = 3000
# Files listed in a message.
_LISTED_FILES = 3
_SAME_IMAGES_HINT = "check that these are the images that were labeled"


@dataclass(frozen=True, slots=True)
class Location:
    """An image that was found.

    Attributes:
        path: the file.
        header: its header, for the upright image.
    """

    path: Path
    header: Header


class PathFrom(NamedTuple):
    """A path as written, and the folder that it is relative to."""

    text: str
    folder: Path


class Match(NamedTuple):
    """An image that was found.

    Attributes:
        path: the file.
        folder: the folder that its name is relative to; None for one in an --image-root.
        exact: whether the name is exactly as written.
        notes: warnings about it.
    """

    path: Path
    folder: Path | None
    exact: bool = True
    notes: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class UnsettledImage(CauseFinding):
    """A finding on an image with several candidates; it names them all."""


@dataclass(frozen=True, slots=True)
class OtherImageFinding(JoinableFinding):
    """A finding on an image found under a different name; one per source and kind.

    Attributes:
        source: the source folder.
        sentence: the shared sentence, with ``{images}`` as its subject.
        example: ``a.JPG for a.jpg``.
    """

    source: str = ""
    sentence: str = ""
    example: str = ""

    @property
    def kind(self) -> tuple[str, ...]:
        """Code, source and sentence."""
        return self.code, self.source, self.sentence

    @classmethod
    def of_all(cls, same: Sequence[Self]) -> Finding:
        """Return how many images were found this way, and the first of them."""
        first, number = same[0], len(same)
        examples = list(dict.fromkeys(each.example for each in same))
        listed = first_names(examples, _LISTED_FILES)
        images = "1 image is" if number == 1 else f"{number} images are"
        return Finding(first.code, first.source, "", f"{first.sentence.format(images=images)}: {listed}", first.hint)


@dataclass
class ImageFinder:
    """Finds images in the source folder, or by the end of their path in the user's image roots.

    The exact name comes first, in the source and then in the image roots. A name that differs only in letter case,
    escapes or extension is accepted if exactly one file matches.

    Attributes:
        root: the source folder; an image outside it is refused.
        extra_roots: the image roots, with their subfolders.
    """

    root: Path
    extra_roots: Sequence[Path] = ()
    _real_root: str = field(default="", init=False, repr=False)
    _images: RootImages = field(default_factory=lambda: RootImages(()), init=False, repr=False)
    _names: FolderNames = field(default_factory=FolderNames, init=False, repr=False)

    def __post_init__(self) -> None:
        # Resolved and listed here, so that worker processes do not do it again.
        self._real_root = ended(real(self.root))
        self._images = RootImages(self.extra_roots)

    def find(self, places: Sequence[PathFrom], *, file: Path, place: str, named: Sequence[str] = ()) -> Match | Finding:
        """Return the image that an annotation file names, or a finding that says why it is missing.

        Args:
            places: where it may be, the most likely first; backslashes count as slashes. The last one is reported.
            file: the annotation file.
            place: the field with the name, for the finding.
            named: what to search for in the image roots, the most likely first; default: the last of ``places``.
        """
        named = named or (places[-1].text,)
        for seen in places:
            path = self._inside(seen) or self._linked(seen)
            if path is not None and path.is_file():
                as_named = seen.text == named[0]
                notes = () if as_named else self._of_another_folder(path, named_in(named[0]), file, place)
                return Match(path, None if portable_path(seen.text) is None else seen.folder, notes=notes)
        wanted = [named_in(text) for text in named]
        found = self._in_roots(wanted, file, place, exactly=True) or self._almost(places, file, place)
        return found or self._in_roots(wanted, file, place, exactly=False) or self._missing(places[-1], file, place)

    def _inside(self, seen: PathFrom) -> Path | None:
        """Return the path of an image if it is in the source; an absolute path may be valid on this machine."""
        relative = portable_path(seen.text)
        path = Path(seen.text) if relative is None else seen.folder / relative
        sane = (relative is not None or path.is_absolute()) and is_sane(path)
        return path if sane and self._holds(path) else None

    def _linked(self, seen: PathFrom) -> Path | None:
        """Return a link in the source whose target is in an image root, perhaps under another name."""
        path = self._leading_out(seen) if self.extra_roots else None
        target = None if path is None else real(path)
        return path if target and any(target.startswith(ended(real(root))) for root in self.extra_roots) else None

    def _leading_out(self, seen: PathFrom) -> Path | None:
        """Return the file with the written name if it is a link, or in a linked folder, to outside the source."""
        relative = portable_path(seen.text)
        if relative is None or ".." in relative.parts:
            return None
        path = seen.folder / relative
        return path if is_sane(path) and os.path.lexists(path) and not self._holds(path) else None

    def _holds(self, path: Path) -> bool:
        return ended(real(path)).startswith(self._real_root)

    def _almost(self, places: Sequence[PathFrom], file: Path, place: str) -> Match | Finding | None:
        """Return the one image in the source whose name is almost the same."""
        found: dict[str, tuple[Path, Path]] = {}
        for seen in places:
            relative = portable_path(seen.text)
            inside = self._inside(seen)
            if relative is None or inside is None or not self._holds(inside.parent):
                continue
            for path in self._names.paths_like(seen.folder, relative.parts):
                if self._holds(path):
                    found.setdefault(real(path), (path, seen.folder))
        name = named_in(places[-1].text).name
        same = [each for each in found.values() if folded(each[0].name) == folded(name)]
        fitting = same or list(found.values())
        if not fitting:
            return None
        text = places[-1].text
        if len(fitting) > 1:
            return _several([path for path, _ in fitting], text, file, place, _rename(name))
        path, folder = fitting[0]
        return Match(path, folder, exact=False, notes=(self._renamed(path, text, file, place),))

    def _in_roots(
        self, wanted: Sequence[ImageName], file: Path, place: str, *, exactly: bool
    ) -> Match | Finding | None:
        for named in wanted:
            images = self._images.like(named, exactly=exactly)
            if not images:
                continue
            where = self._where(named, file)
            best = self._images.best(images, named, where)
            text = "/".join((*named.folders, named.name))
            if len(best) > 1:
                names = {image.path.name for image in best}
                way = _narrower(best) if len(names) == 1 else _rename(named.name)
                return _several([image.path for image in best], text, file, place, way)
            image = best[0]
            below = file.parent != self.root
            verdict = self._images.judge(image, named, where, in_subfolder=below)
            if verdict == "another folder":
                message = f"{must_be(place, 'an image in the folder that it names', text)}, but found only {image.path}"
                hint = f"--image-root {quoted(image.path.parent)} takes the images in that folder"
                cause = "images must be in the folders named in the annotations"
                return UnsettledImage("E121", str(file), place, message, hint, cause=cause, way=hint)
            alike, equal = agreement((*named.folders, named.name), image.parts)
            notes = [self._renamed(image.path, text, file, place)] if equal < alike or not exactly else []
            if verdict == "by name":
                notes.append(self._by_name(image.path, text, file, place))
            return Match(image.path, None, exactly, tuple(notes))
        return None

    def _where(self, named: ImageName, file: Path) -> tuple[str, ...]:
        """Return the absolute path of the named file, relative to the annotation file."""
        folder = real(file.parent)
        return (*path_parts(folder), *named.folders, named.name)

    def _of_another_folder(self, path: Path, named: ImageName, file: Path, place: str) -> tuple[Finding, ...]:
        """Return a warning for an image in the source with the right name in a different folder."""
        if not named.folders or folded(path.name) != folded(named.name):
            return ()
        if folded(path.parent.name) == folded(named.folders[-1]) or path.parent.name in ("", ".."):
            return ()
        if agreement(named.folders, path_parts(real(path.parent)))[0]:
            return ()
        return (self._by_name(path, "/".join((*named.folders, named.name)), file, place),)

    def _renamed(self, path: Path, text: str, file: Path, place: str) -> Finding:
        name = named_in(text).name
        ending = path.suffix != Path(name).suffix
        what = "with another extension" if ending else "under another spelling"
        found, said = (path.name, name) if path.name != name else (str(path), text)
        return self._found_as("W324", f"{{images}} found {what}", f"{found} for {said}", file, place)

    def _by_name(self, path: Path, text: str, file: Path, place: str) -> Finding:
        sentence = "{images} found by file name, in a folder of another name"
        return self._found_as("W332", sentence, f"{path} for {text}", file, place)

    def _found_as(self, code: str, sentence: str, example: str, file: Path, place: str) -> Finding:
        message = f"{sentence.format(images='the image is')}: {example}"
        return OtherImageFinding(
            code,
            str(file),
            place,
            message,
            _SAME_IMAGES_HINT,
            source=str(self.root),
            sentence=sentence,
            example=example,
        )

    def _missing(self, seen: PathFrom, file: Path, place: str) -> Finding:
        relative = portable_path(seen.text)
        path = None if relative is None else seen.folder / relative
        if path is None or (is_sane(path) and not self._holds(path)):
            problem = must_be(place, f"a path inside {self.root}", seen.text)
            link = self._leading_out(seen)
            if link is not None:
                # Path.resolve fails on circular links; realpath does not.
                target = Path(os.path.realpath(link))
                return Finding("E308", str(file), place, f"{problem}, a link to {target}", allowing(target))
            beside = self._inside(PathFrom(named_in(seen.text).name, seen.folder))
            hint = "--image-root DIR also searches DIR, by the end of the path"
            if beside is not None and beside.is_file():
                hint = f"--image-root {quoted(seen.folder)} takes {beside}"
            return Finding("E308", str(file), place, problem, hint)
        problem = must_be(place, "an existing image", seen.text)
        hint = f"--image-root DIR also searches DIR, by the end of the path; not found at {path}"
        cause = "images must be where the annotations say, or in an --image-root"
        return CauseFinding("E121", str(file), place, problem, hint, cause=cause)


def allowing(target: Path) -> str:
    """Return the hint for a link from the source to ``target`` outside it."""
    if not target.exists():
        return "the link is broken: put the image in its place"
    return f"--image-root {quoted(target.parent)} allows it"


def _several(paths: Sequence[Path], text: str, file: Path, place: str, hint: str) -> Finding:
    listed = " and ".join(str(path) for path in paths[:_LISTED_FILES])
    more = f" and {len(paths) - _LISTED_FILES} more" if len(paths) > _LISTED_FILES else ""
    problem = must_be(place, "a name that matches exactly one file", text)
    message, cause = f"{problem}, which matches {len(paths)}: {listed}{more}", "image names must match one file each"
    return UnsettledImage("E121", str(file), place, message, hint, cause=cause, way=hint)


def _narrower(images: Sequence[RootImage]) -> str:
    """Return what to type if images in several folders match."""
    folders = list(dict.fromkeys(image.path.parent for image in images))
    innermost = [one for one in folders if not any(one in other.parents for other in folders)]
    typed = [f"--image-root {quoted(folder)}" for folder in innermost[:_LISTED_FILES]]
    return f"give only the right folder: {' or '.join(typed)}"


def _rename(name: str) -> str:
    return f"rename the right image to {name!r}, or correct the name in the annotations"


def is_sane(path: Path) -> bool:
    """Return whether the system allows a file with that name (no NUL, not too long)."""
    parts = [len(os.fsencode(part)) for part in path.parts]
    return "\0" not in str(path) and max(parts, default=0) <= LONGEST_NAME and sum(parts) <= _LONGEST_ADDRESS


def name_below(path: Path, roots: Sequence[Path]) -> str:
    """Return a path relative to the first of the folders that contains it, with forward slashes.

    Links to folders are resolved; the file keeps its own name. A file outside all folders gives its name alone.
    """
    folder = path.parent.resolve()
    for root in roots:
        if folder.is_relative_to(resolved := root.resolve()):
            return (folder.relative_to(resolved) / path.name).as_posix()
    return path.name


def open_image(path: Path) -> Location | Finding:
    """Return the image with its header, or a finding that says why it cannot be read."""
    try:
        return Location(path, read_header(path))
    except InputError as exc:
        hint = exc.hint or "replace the file, or leave the image out of the source"
        return Finding("E122", str(path), "", exc.problem, hint)


def check_size(located: Location, width: int, height: int, *, file: Path, place: str) -> Finding | None:
    """Return a finding if the annotation's width and height differ from the image as OpenCV decodes it."""
    header = located.header
    if (width, height) == header.size:
        return None
    said = must_be(f"{place} (width, height)", f"{header.size}, the size of {located.path.name}", (width, height))
    code, hint = "E123", "the annotation belongs to another image or a resized copy"
    if header.ignored in SIDEWAYS and (width, height) == header.size[::-1]:
        said += f": that is the frame after EXIF rotation (orientation {header.ignored}), "
        said += "which OpenCV, and so training, does not apply to this file"
        code, hint = "E124", f"rotate the image itself and keep its labels: {upright_command(located.path)}"
    elif (width, height) == header.stored_size:
        said += f": that is the frame before EXIF rotation (orientation {header.orientation})"
        code = "E124"
        hint = "label the upright image (as labelme shows it), or remove the EXIF orientation from the file"
    return Finding(code, str(file), place, said, hint)
