"""Finding the picture that an annotation names, and checking its header against what the annotation says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from posetools.errors import InputError, must_be
from posetools.files import portable_path
from posetools.findings import Finding
from posetools.imaging.decoding import upright_command
from posetools.imaging.orientation import SIDEWAYS
from posetools.pictures import Header, is_picture, read_header
from posetools.storage import is_url, real

# Bytes; beyond them Linux answers with an error instead of "there is no such file".
LONGEST_NAME = 255
_LONGEST_PATH = 3000


@dataclass(frozen=True, slots=True)
class Located:
    """A picture that was found.

    Attributes:
        path: the file.
        header: its header (the upright frame).
    """

    path: Path
    header: Header


@dataclass
class PictureFinder:
    """Finds pictures inside the source folder, or by file name in the folders that the user allowed besides.

    Attributes:
        root: the source folder; a picture outside it is refused.
        extra_roots: further folders, searched by file name, sub-folders included.
    """

    root: Path
    extra_roots: Sequence[Path] = ()
    _real_root: str = field(default="", init=False, repr=False)
    _by_name: dict[str, list[Path]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        # Followed and listed at once, so that it is done once for all files and in all worker processes.
        self._real_root = _ended(real(self.root))
        for folder in self.extra_roots:
            for path in sorted(folder.rglob("*")):
                if is_picture(path) and (is_url(path) or path.is_file()):
                    known = self._by_name.setdefault(path.name, [])
                    if not any(path.samefile(other) for other in known):
                        known.append(path)

    def find(self, text: str, *, beside: Path, place: str) -> Path | Finding:
        """Return the picture that the file ``beside`` calls ``text``, or why there is none.

        Args:
            text: the path as written, seen from ``beside``; backslashes count as slashes.
            beside: the annotation file.
            place: the field it is written in, for the finding.
        """
        relative = portable_path(text)
        if relative is not None:
            path = beside.parent / relative
            inside = is_sane(path) and _ended(real(path)).startswith(self._real_root)
            if inside and path.is_file():
                return path
            outside = is_sane(path) and not inside
        else:
            outside = True
        named = self._by_name.get(Path(text.replace("\\", "/")).name, [])
        if len(named) == 1:
            return named[0]
        if len(named) > 1:
            listed = " and ".join(str(path) for path in named[:3])
            problem = must_be(place, "found once by its file name in the --image-root folders", text)
            return Finding("E308", str(beside), place, f"{problem}: {listed}", "give a narrower --image-root")
        if outside:
            return Finding(
                "E308",
                str(beside),
                place,
                must_be(place, f"a path inside {self.root}", text),
                "--image-root DIR allows a further folder and finds the picture there by its file name",
            )
        return Finding(
            "E121",
            str(beside),
            place,
            must_be(place, "an existing picture", text),
            f"looked for at {path}; --image-root DIR searches a further folder by file name",
        )


def _ended(path: str) -> str:
    """Return a path with a separator at its end."""
    separator = "/" if is_url(path) else os.sep
    return path.rstrip(separator) + separator


def is_sane(path: Path) -> bool:
    """Return whether the system can have a file of that name at all (no NUL, nothing too long)."""
    parts = [len(os.fsencode(part)) for part in path.parts]
    return "\0" not in str(path) and max(parts, default=0) <= LONGEST_NAME and sum(parts) <= _LONGEST_PATH


def name_below(path: Path, roots: Sequence[Path]) -> str:
    """Return a path as seen from the first of the folders that holds it, with forward slashes.

    Links to folders are followed, the file keeps the name it was found by; a file in none of them gives that alone.
    """
    folder = path.parent.resolve()
    for root in roots:
        if folder.is_relative_to(resolved := root.resolve()):
            return (folder.relative_to(resolved) / path.name).as_posix()
    return path.name


def open_picture(path: Path) -> Located | Finding:
    """Return the picture with its header, or why it cannot be read."""
    try:
        return Located(path, read_header(path))
    except InputError as exc:
        hint = exc.hint or "replace the file, or leave the picture out of the source"
        return Finding("E122", str(path), "", exc.problem, hint)


def check_size(located: Located, width: int, height: int, *, file: Path, place: str) -> Finding | None:
    """Return a finding when an annotation's width and height are not those of the image as OpenCV decodes it."""
    header = located.header
    if (width, height) == header.size:
        return None
    said = must_be(
        f"{place} (width, height)", f"{located.header.size}, the size of {located.path.name}", (width, height)
    )
    if header.ignored in SIDEWAYS and (width, height) == header.size[::-1]:
        return Finding(
            "E124",
            str(file),
            place,
            f"{said}: that is the frame after EXIF rotation (orientation {header.ignored}), "
            "which OpenCV, and so training, does not apply to this file",
            f"turn the image itself, without touching its labels: {upright_command(located.path)}",
        )
    if (width, height) == header.stored_size:
        return Finding(
            "E124",
            str(file),
            place,
            f"{said}: that is the frame before EXIF rotation (orientation {located.header.orientation})",
            "label the upright picture (labelme shows it so), or remove the EXIF orientation from the file",
        )
    return Finding("E123", str(file), place, said, "the annotation was made on another picture, or on a resized copy")
