"""Picture files: what their headers say, read without decoding the pixels.

The frame is the upright one, after EXIF rotation: labelme and OpenCV (hence mmcv) both show pictures so. A test proves
it for all eight EXIF orientations.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from posetools.errors import InputError, OutputError, printable
from posetools.files import replaced

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})

_ORIENTATION_TAG = 0x0112
_SIDEWAYS = frozenset({5, 6, 7, 8})
_PNG = b"\x89PNG\r\n\x1a\n"
# Chunks of a PNG that may hold EXIF tags, or XMP, which also says an orientation.
_TELLING = frozenset({b"eXIf", b"iTXt", b"tEXt", b"zTXt"})
# What Pillow raises of a file that is no picture, or a broken one.
# Some of Pillow's readers ask for gigabytes because a few bytes say so, and may not get them.
_UNREADABLE = (
    MemoryError,
    OSError,
    ValueError,
    SyntaxError,
    RuntimeError,
    AttributeError,
    Pillow.DecompressionBombError,
)


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's header says.

    Attributes:
        width: in pixels, of the upright frame.
        height: likewise.
        orientation: the EXIF orientation, 1 (upright) to 8.
    """

    width: int
    height: int
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright frame."""
        return self.width, self.height

    @property
    def stored_size(self) -> tuple[int, int]:
        """(width, height) of the pixels as stored, before rotation."""
        return (self.height, self.width) if self.orientation in _SIDEWAYS else (self.width, self.height)


def is_picture(path: Path) -> bool:
    """Return whether the name ends as a picture's does."""
    return path.suffix.lower() in SUFFIXES


def read_header(path: Path) -> Header:
    """Return the header of a picture file.

    Raises:
        InputError: it is missing, or not a picture.
    """
    try:
        if path.is_fifo():
            # Opening it would wait until somebody writes into it.
            raise InputError(path, "", "picture must be a file, but is a pipe")
        with without_warnings(), path.open("rb") as file:
            return header_of(path, file)
    except FileNotFoundError as exc:
        raise InputError(path, "", "picture does not exist") from exc
    except OSError as exc:
        raise InputError(path, "", f"picture cannot be read: {exc}") from exc


def header_of(path: Path | str, file: BinaryIO) -> Header:
    """Return the header of an open picture file. Pillow may warn of it.

    Args:
        path: the file, for the message.
        file: its content, from its beginning.

    Raises:
        InputError: it is not a picture.
    """
    try:
        with Pillow.open(file) as picture:
            orientation = _exif(picture, file).get(_ORIENTATION_TAG, 1)
            width, height = picture.size
    except UnidentifiedImageError as exc:
        # Pillow's own words name the number of the open file.
        raise InputError(path, "", "picture cannot be read: it is of no kind of picture that Pillow knows") from exc
    except _UNREADABLE as exc:
        raise InputError(path, "", f"picture cannot be read: {exc}") from exc
    orientation = orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
    return Header(height, width, orientation) if orientation in _SIDEWAYS else Header(width, height, orientation)


def _exif(picture: Pillow.Image, file: BinaryIO) -> Pillow.Exif:
    """Return the EXIF tags; of a PNG without decoding its pixels, where Pillow looks for what comes after them."""
    if picture.format == "PNG" and not _tells_after_pixels(file):
        return Pillow.Image.getexif(picture)
    return picture.getexif()


def _tells_after_pixels(file: BinaryIO) -> bool:
    """Return whether a PNG file has chunks after its pixels that may hold EXIF tags; the file stays where it is.

    Raises:
        OSError: it ends before its last chunk.
    """
    place, found, pixels = file.tell(), False, False
    file.seek(len(_PNG))
    while (chunk := file.read(8))[4:] != b"IEND":
        if len(chunk) < 8:
            raise OSError("image file is truncated")
        pixels |= chunk[4:] == b"IDAT"
        found |= pixels and chunk[4:] in _TELLING
        file.seek(int.from_bytes(chunk[:4], "big") + 4, os.SEEK_CUR)
    file.seek(place)
    return found


class _Quiet:
    """Leaves out warnings, such as Pillow's of large pictures, while anybody in this process wants it so.

    The filters of warnings are shared by all threads: the first that comes sets them, the last that goes puts them
    back.
    """

    def __init__(self) -> None:
        self._lock, self._users, self._filters = Lock(), 0, warnings.catch_warnings()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._users:
                self._filters = warnings.catch_warnings(action="ignore")
                self._filters.__enter__()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._filters.__exit__(None, None, None)


without_warnings = _Quiet()


def refuse_bomb(path: Path, content: bytes) -> None:
    """Refuse a picture whose header declares more pixels than Pillow decodes, which takes a few bytes in the file.

    OpenCV itself decodes six times as many: three gigabytes.

    Args:
        path: the picture's file, for the message.
        content: its bytes; those that are no picture of Pillow's pass.

    Raises:
        InputError: the picture is too large.
    """
    try:
        # Called by threads that read ahead, so the filters of warnings, which threads share, are left alone.
        Pillow.open(io.BytesIO(content)).close()
    except Pillow.DecompressionBombError as exc:
        raise InputError(path, "", f"picture cannot be read: {exc}") from exc
    except (*_UNREADABLE, Warning):
        return


def content_hash(path: Path) -> str:
    """Return the hexadecimal BLAKE2b digest (16 bytes) of a file's content."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def save_picture(picture: Pillow.Image, path: Path, *, quality: int = 95, compress_level: int = 6) -> None:
    """Write a picture, atomically; the ending of the name says the format, and its folder is made.

    Args:
        picture: the picture.
        path: the file.
        quality: of JPEG and WebP, 1 to 100.
        compress_level: of PNG, 0 to 9.

    Raises:
        OutputError: it cannot be written.
    """
    options: dict[str, Any] = {}
    if path.suffix.lower() in (".jpg", ".jpeg", ".webp"):
        options = {"quality": quality}
    elif path.suffix.lower() == ".png":
        options = {"compress_level": compress_level}
    try:
        with replaced(path) as new:
            picture.save(new, **options)
    except ValueError as exc:
        raise OutputError(f"{printable(str(path))}: cannot be written: {exc}") from exc


def upright_bytes(path: Path) -> bytes:
    """Return the picture re-encoded upright in its own format, without the EXIF orientation.

    Raises:
        InputError: it cannot be decoded.
    """
    try:
        with Pillow.open(path) as picture:
            kind = picture.format or "PNG"
            upright = ImageOps.exif_transpose(picture)
            buffer = io.BytesIO()
            if kind == "JPEG":
                upright.save(buffer, format=kind, quality=95)
            else:
                upright.save(buffer, format=kind)
    except _UNREADABLE as exc:
        raise InputError(path, "", f"picture cannot be rewritten upright: {exc}") from exc
    return buffer.getvalue()
