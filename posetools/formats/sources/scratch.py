"""Folders for what is needed only while a conversion runs: images that a source holds inside its files, unpacked zips.

Frames of a video, images embedded in an annotation file: the data set that is read needs a file for each, and the
writer copies that file into the output. Such folders are in the system's folder for temporary files (TMPDIR), or in
another one that has room, can be read by their owner alone, and are removed at the end whatever ends it: by the next
run, after a kill.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from posetools.errors import OutputError, RequestError, printable
from posetools.files.locks import LOCK, only_one_in

_SCRATCH_PREFIX = ".posetools-"
# Seconds after which a folder that nobody holds is what a killed run left.
_ABANDONED_FOLDER = 60


@contextmanager
def temporary_folder(what: str, *more: Path, needed: int = 0) -> Iterator[Path]:
    """Give a new folder that nobody else can read, with every link followed; it is removed at the end.

    Args:
        what: what cannot be done without, for messages.
        more: folders to make it in where the system's folder for temporary files has no room.
        needed: the room that it needs, in bytes.

    Raises:
        OutputError: there is no room, or no folder that can be written.
    """
    with ExitStack() as held:
        try:
            tried = tuple(dict.fromkeys((Path(tempfile.gettempdir()), *more)))
            for folder in tried:
                _sweep(folder)
            free = {folder: shutil.disk_usage(folder).free for folder in tried}
            room = next((folder for folder in tried if free[folder] > needed), None)
            if room is None:
                raise OutputError(f"{what}: it needs {needed} bytes, and at most {max(free.values())} are free")
            made = Path(os.path.realpath(tempfile.mkdtemp(prefix=_SCRATCH_PREFIX, dir=room)))
        except OSError as exc:
            raise OutputError(f"{what}: no folder for temporary files can be written: {exc.strerror or exc}") from exc
        held.callback(shutil.rmtree, made, ignore_errors=True)
        held.enter_context(only_one_in(made))
        yield made


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder for ``ReadOptions.scratch``, removed at the end.

    Where none can be made a path is given at which nothing is: most sources need none, and ``write_scratch`` says so.
    """
    with ExitStack() as held:
        try:
            folder = held.enter_context(temporary_folder("images inside a source"))
        except OutputError:
            folder = Path(os.devnull) / "scratch"
        yield folder


def _sweep(folder: Path) -> None:
    """Remove what killed runs left in a folder."""
    with suppress(OSError):
        for path in list(folder.glob(f"{_SCRATCH_PREFIX}*")):
            with suppress(OSError, RequestError, OutputError):
                if path.is_symlink() or time.time() - path.stat().st_mtime < _ABANDONED_FOLDER:
                    continue
                with only_one_in(path):
                    pass
                shutil.rmtree(path, ignore_errors=True)


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
    if images in ("none", "symlink") and any(each.name != LOCK for each in _entries(scratch)):
        raise images_refused(images)


def _entries(folder: Path) -> Sequence[Path]:
    return list(folder.iterdir()) if folder.is_dir() else ()


def images_refused(images: str) -> RequestError:
    """Return the error for images that have no file of their own and are not to be written."""
    return RequestError(
        f"--images must be copy for images that are inside other files, such as frames of a video, got {images}\n"
        "  fix: leave --images out; the images are then written into the output"
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
