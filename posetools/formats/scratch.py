"""A folder for images that a source holds inside its files, for as long as a conversion runs.

Frames of a video, images embedded in an annotation file: the data set that is read needs a file for each, and the
writer copies that file into the output. The folder is in the system's folder for temporary files (TMPDIR).
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posetools.errors import OutputError, RequestError, printable


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder for ``ReadOptions.scratch``: made when something is written, removed at the end whatever ends it.

    Raises:
        OutputError: there is no folder for temporary files.
    """
    try:
        folder = Path(tempfile.gettempdir()) / f"posetools-{secrets.token_hex(8)}"
    except OSError as exc:
        raise OutputError(f"there is no folder for temporary files: {exc.strerror or exc}") from exc
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_scratch(scratch: Path, owner: Path, name: str, content: bytes) -> Path:
    """Write an image that a file holds inside itself; return where it is.

    Any process may call it. Each owner has a folder of its own in the scratch folder, so that names of two owners
    never meet; ``name`` says how the file ends, and nothing else of it decides where the file goes.

    Args:
        scratch: ``ReadOptions.scratch``.
        owner: the file that holds the image.
        name: the image's name, unique in its owner, with its ending (``clip_000012.png``).
        content: the encoded image (PNG, JPEG, ...).

    Raises:
        OutputError: it cannot be written.
    """
    # The name may come from a file of a stranger: only its digest and a plain ending become part of a path.
    ending = Path(name).suffix.lower()
    ending = ending if ending[1:].isalnum() and ending.isascii() and len(ending) <= 8 else ".bin"
    path = scratch / _digest(os.path.realpath(owner)) / (_digest(name) + ending)
    try:
        # Nobody else may look into it.
        scratch.mkdir(mode=0o700, exist_ok=True)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    except OSError as exc:
        raise OutputError(
            f"{printable(str(path))}: an image of {printable(str(owner))} cannot be written: {exc.strerror or exc}\n"
            "  fix: set TMPDIR to a folder with more space"
        ) from exc
    return path


def check_images(scratch: Path, images: str) -> None:
    """Refuse to leave images where they are, or to link to them, when some are in the scratch folder.

    Raises:
        RequestError: ``images`` is "none" or "symlink" although an image has no file of its own.
    """
    if images in ("none", "symlink") and scratch.exists():
        raise images_refused(images)


def images_refused(images: str) -> RequestError:
    """Return the error for images that have no file of their own and are not to be written."""
    return RequestError(
        f"--images must be copy for images that are inside other files, such as frames of a video, got {images}\n"
        "  fix: leave --images out; the images are then written into the output"
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
