"""Finding the picture that an annotation names, and checking its header against what the annotation says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from posetools.errors import InputError, must_be
from posetools.files import is_inside, portable_path
from posetools.findings import Finding
from posetools.pictures import Header, is_picture, read_header


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
    _by_name: dict[str, list[Path]] | None = field(default=None, repr=False)

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
            if path.is_file() and is_inside(path, self.root):
                return path
            outside = not is_inside(path, self.root)
        else:
            outside = True
        named = self._named(Path(text.replace("\\", "/")).name)
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

    def _named(self, name: str) -> list[Path]:
        if self._by_name is None:
            self._by_name = {}
            for folder in self.extra_roots:
                for path in sorted(folder.rglob("*")):
                    if is_picture(path) and path.is_file():
                        self._by_name.setdefault(path.name, []).append(path)
        return self._by_name.get(name, [])


def open_picture(path: Path) -> Located | Finding:
    """Return the picture with its header, or why it cannot be read."""
    try:
        return Located(path, read_header(path))
    except InputError as exc:
        return Finding("E122", str(path), "", exc.problem, "replace the file, or leave the picture out of the source")


def check_size(located: Located, width: int, height: int, *, file: Path, place: str) -> Finding | None:
    """Return a finding when an annotation's width and height are not those of the upright picture."""
    if (width, height) == located.header.size:
        return None
    said = must_be(
        f"{place} (width, height)", f"{located.header.size}, the size of {located.path.name}", (width, height)
    )
    if (width, height) == located.header.stored_size:
        return Finding(
            "E124",
            str(file),
            place,
            f"{said}: that is the frame before EXIF rotation (orientation {located.header.orientation})",
            "label the upright picture (labelme shows it so), or remove the EXIF orientation from the file",
        )
    return Finding("E123", str(file), place, said, "the annotation was made on another picture, or on a resized copy")
