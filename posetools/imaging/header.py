"""Headers of image files, read without decoding the pixels.

The frame is the one that OpenCV, and so mmcv, decodes: what training and prediction see. It is rotated by EXIF in JPEG,
PNG and TIFF files only (posetools/imaging/decoding.py, compared with mmcv by a test).
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from posetools.errors import InputError, OutputError, printable
from posetools.files.disk import replaced
from posetools.imaging import decoding
from posetools.imaging.markers import Markers, check_end, markers_of

# An image: (H, W, 3), blue, green, red, as read by OpenCV.
Pixels: TypeAlias = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})

# What Pillow raises for a file that is damaged or not an image. MemoryError: some of its readers allocate gigabytes
# because of a few bytes in the file.
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
    """The header of an image.

    Attributes:
        width: in pixels, of the upright frame.
        height: in pixels, of the upright frame.
        orientation: the EXIF orientation that OpenCV applies, 1 (as stored) to 8.
        ignored: an orientation, 2 to 8, in the file that OpenCV ignores, but labelme and browsers apply; 1 if there is
            none.
    """

    width: int
    height: int
    orientation: int = 1
    ignored: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright frame."""
        return self.width, self.height

    @property
    def stored_size(self) -> tuple[int, int]:
        """(width, height) of the pixels as stored, before rotation."""
        return (self.height, self.width) if self.orientation in decoding.SIDEWAYS else (self.width, self.height)


def is_image(path: Path) -> bool:
    """Return whether the file extension is that of an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_header(path: Path) -> Header:
    """Return the header of an image file.

    Raises:
        InputError: it is missing, or not an image.
    """
    try:
        if path.is_fifo():
            # Opening it would wait for a writer.
            raise InputError(path, "", "image must be a file, but is a pipe")
        with without_warnings(), path.open("rb") as file:
            return header_of(path, file)
    except FileNotFoundError as exc:
        raise InputError(path, "", "image does not exist") from exc
    except OSError as exc:
        raise InputError(path, "", f"image cannot be read: {exc}") from exc


def header_of(path: Path | str, file: BinaryIO) -> Header:
    """Return the header of an open image file that is complete and that OpenCV can decode. Pillow may warn.

    Args:
        path: the file, for the message.
        file: its content, from its beginning.

    Raises:
        InputError: it is not an image, is truncated, or has a format that OpenCV cannot decode.
    """
    try:
        with Pillow.open(file) as image:
            decoding.refuse_undecodable(path, image)
            markers = markers_of(image.format or "", file)
            orientation = decoding.applied_orientation(image, markers)
            said = _stated(image, markers)
            width, height = decoding.stored_size(image)
            check_end(image, file, markers)
    except UnidentifiedImageError as exc:
        # Pillow's own message contains the file object.
        problem = "image cannot be read: it is not an image, or not a supported format"
        raise InputError(path, "", problem, hint=_conversion(path, file)) from exc
    except _UNREADABLE as exc:
        raise InputError(path, "", f"image cannot be read: {exc}") from exc
    ignored = 1 if said == orientation else said
    size = (height, width) if orientation in decoding.SIDEWAYS else (width, height)
    return Header(*size, orientation, ignored)


def _conversion(path: Path | str, file: BinaryIO) -> str:
    try:
        file.seek(0)
        return decoding.conversion_hint(path, file.read(12))
    except (OSError, ValueError):
        return ""


def _stated(image: Pillow.Image, markers: Markers) -> int:
    """Return the orientation in EXIF or XMP, whether OpenCV reads it or not."""
    if image.format == "PNG" and markers.late:
        # Pillow decodes the pixels to reach the chunks after them.
        return decoding.known_orientation(image.getexif().get(decoding.TAG))
    try:
        return decoding.known_orientation(Pillow.Image.getexif(image).get(decoding.TAG))
    except _UNREADABLE:
        # Invalid tags are ignored.
        return 1


def open_decoded(path: Path, mode: str, draft: tuple[int, int]) -> tuple[Pillow.Image, float]:
    """Return an image in the frame that OpenCV decodes, and its scale: 1 for full size, 0.5 for half the width.

    Args:
        path: the file.
        mode: Pillow's name of the channels: ``RGB``, ``L``.
        draft: least size; a JPEG may be decoded at a fraction of its size down to this.

    Raises:
        InputError: it cannot be read.
    """
    header = read_header(path)
    with _opened(path, "read") as image:
        image.draft(mode, draft)
        decoded = decoding.as_decoded(image, header.orientation).convert(mode)
    return decoded, decoded.width / header.width


@contextmanager
def _opened(path: Path, purpose: str) -> Iterator[Pillow.Image]:
    try:
        # If opened by name, Pillow maps some rotated TIFF files into memory with a wrong row length.
        with without_warnings(), path.open("rb") as file, Pillow.open(file) as image:
            yield image
    except _UNREADABLE as exc:
        raise InputError(path, "", f"image cannot be {purpose}: {exc}") from exc


class _QuietWarnings:
    """Suppresses warnings while any thread needs it: threads share the filters, and the last one restores them."""

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


without_warnings = _QuietWarnings()


def refuse_bomb(path: Path, content: bytes) -> None:
    """Refuse an image whose header declares more pixels than Pillow decodes: a few bytes are enough for that.

    OpenCV itself decodes six times as many: three gigabytes.

    Args:
        path: the image's file, for the message.
        content: its bytes; content that Pillow cannot open passes.

    Raises:
        InputError: the image is too large.
    """
    try:
        # Called by threads that read ahead: the warning filters, which threads share, must not change.
        Pillow.open(io.BytesIO(content)).close()
    except Pillow.DecompressionBombError as exc:
        raise InputError(path, "", f"image cannot be read: {exc}") from exc
    except (*_UNREADABLE, Warning):
        return


def content_hash(path: Path) -> str:
    """Return the hexadecimal BLAKE2b digest (16 bytes) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def save_image(image: Pillow.Image, path: Path, *, quality: int = 95, compress_level: int = 6) -> None:
    """Write an image, atomically; the file extension determines the format, and the folder is created.

    Args:
        image: the image.
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
            image.save(new, **options)
    except ValueError as exc:
        raise OutputError(f"{printable(str(path))}: cannot be written: {exc}") from exc


def upright_bytes(path: Path) -> bytes:
    """Return the image re-encoded in its own format as OpenCV decodes it, without an EXIF orientation.

    Raises:
        InputError: it cannot be decoded.
    """
    header, buffer = read_header(path), io.BytesIO()
    with _opened(path, "rewritten upright") as image:
        kind = image.format or "PNG"
        options: dict[str, Any] = {"JPEG": {"quality": 95}, "MPO": {"quality": 95}, "WEBP": {"lossless": True}}
        decoding.as_decoded(image, header.orientation).save(buffer, format=kind, **options.get(kind, {}))
    return buffer.getvalue()
