"""Temporary folders for images stored inside source files, and for unpacked zips.

Video frames and images embedded in an annotation file need a file each, which the writer copies into the output. The
folders are in the system's folder for temporary files (TMPDIR), or in another one with enough space. Only their owner
can read them. They are removed at the end; after a kill, the next run removes them.
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
# Seconds after which an unlocked folder counts as left by a killed run.
_ABANDONED_FOLDER = 60


@contextmanager
def temporary_folder(what: str, *more: Path, needed: int = 0) -> Iterator[Path]:
    """Give a new folder that only its owner can read, with links resolved; it is removed at the end.

    Args:
        what: what needs the folder, for messages.
        more: folders to use if the system's folder for temporary files has too little space.
        needed: the space it needs, in bytes.

    Raises:
        OutputError: there is not enough space, or no writable folder.
    """
    with ExitStack() as held:
        try:
            tried = tuple(dict.fromkeys((Path(tempfile.gettempdir()), *more)))
            for folder in tried:
                _sweep(folder)
            free = {folder: shutil.disk_usage(folder).free for folder in tried}
            room = next((folder for folder in tried if free[folder] > needed), None)
            if room is None:
                raise OutputError(f"{what}: needs {needed} bytes, but at most {max(free.values())} are free")
            made = Path(os.path.realpath(tempfile.mkdtemp(prefix=_SCRATCH_PREFIX, dir=room)))
        except OSError as exc:
            raise OutputError(f"{what}: cannot write to a temporary folder: {exc.strerror or exc}") from exc
        held.callback(shutil.rmtree, made, ignore_errors=True)
        held.enter_context(only_one_in(made))
        yield made


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder for ``ReadOptions.scratch``; it is removed at the end.

    If none can be created, give a path that does not exist: most sources need none, and ``write_scratch`` raises.
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
    """Write an image stored inside a file; return its path.

    Any process may call it. Each owner has its own folder in the scratch folder, so names of two owners cannot
    collide. Only the extension of ``name`` becomes part of the path.

    Args:
        scratch: ``ReadOptions.scratch``.
        owner: the file that contains the image.
        name: the image's name, unique in its owner, with its extension (``clip_000012.png``).
        content: the encoded image (PNG, JPEG, ...).

    Raises:
        OutputError: it cannot be written.
    """
    # The name may be hostile: only its digest and a plain extension become part of the path.
    ending = Path(name).suffix.lower()
    ending = ending if ending[1:].isalnum() and ending.isascii() and len(ending) <= 8 else ".bin"
    path = scratch / _digest(os.path.realpath(owner)) / (_digest(name) + ending)
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    except OSError as exc:
        raise OutputError(
            f"{printable(str(path))}: cannot write an image of {printable(str(owner))}: {exc.strerror or exc}",
            hint="set TMPDIR to a folder with more space",
        ) from exc
    return path


def check_images(scratch: Path, images: str) -> None:
    """Refuse to link to images or leave them in place if some are in the scratch folder.

    Raises:
        RequestError: ``images`` is "none" or "symlink" although an image has no file of its own.
    """
    if images in ("none", "symlink") and any(each.name != LOCK for each in _entries(scratch)):
        raise images_refused(images)


def _entries(folder: Path) -> Sequence[Path]:
    return list(folder.iterdir()) if folder.is_dir() else ()


def images_refused(images: str) -> RequestError:
    """Return the error for images without a file of their own that would not be written."""
    return RequestError(
        f"--images must be copy for images stored inside other files, such as video frames, got {images}",
        hint="leave --images out to write the images into the output",
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
