"""Images that are cut short: checked to the end as their decoder does, at the cost of a few bytes of most files.

- JPEG, MPO: the end marker (EOI) is looked for in the last 4 KB, behind the start of the pixels; where it is not there,
  in everything behind that start. What follows it (the film of a motion photo, the further images of an MPO) does not
  count, nor does the end marker of a thumbnail, which stands before. A file without one is decoded: some programs leave
  the marker out, and OpenCV decodes such a file when all of its pixels are there.
- PNG: the last chunk is complete (markers.py). WebP: Pillow does not open a file that is shorter than it says.
- BMP: all rows are there. TIFF: every strip and tile is; a file that seems to lack one is decoded.
- All others are decoded.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from PIL import Image as Pillow

from posetools.files.urls import TAIL
from posetools.imaging.markers import CUT, Markers

_END = b"\xff\xd9"
_CHUNK = 1 << 16
# Zeros at the end of a file that was made as long as it is to be, and never filled.
_ZEROS = 16
_CORE_HEADER = 12
# BI_RGB, BI_BITFIELDS, BI_ALPHABITFIELDS: rows of pixels as they are.
_UNCOMPRESSED = frozenset({0, 3, 6})
_STRIPS, _TILES = (273, 279), (324, 325)
_COMPRESSION, _JPEG, _JPEG_TABLES = 259, 7, 347


def check_end(picture: Pillow.Image, file: BinaryIO, markers: Markers) -> None:
    """Check that an image's file does not end before the image does. It may be decoded for that.

    Args:
        picture: the image, open and not decoded.
        file: its file.
        markers: those of the file.

    Raises:
        OSError: it does.
    """
    if picture.format in ("PNG", "WEBP"):
        return
    length = file.seek(0, os.SEEK_END)
    if picture.format in ("JPEG", "MPO"):
        _check_jpeg(picture, file, markers.pixels, length)
    elif picture.format == "BMP" and (needed := _bmp_length(file)):
        if needed > length:
            raise OSError(CUT)
    elif picture.format != "TIFF" or not _has_strips(picture, length):
        picture.load()


def _check_jpeg(picture: Pillow.Image, file: BinaryIO, pixels: int, length: int) -> None:
    tail = max(pixels, length - TAIL)
    if _ends_between(file, tail, length) or (tail > pixels and _ends_between(file, pixels, tail + 1)):
        return
    file.seek(max(pixels, length - _ZEROS))
    if not file.read().strip(b"\0"):
        raise OSError(f"{CUT}: what follows is zeros")
    file.seek(0)
    # At an eighth of its size and in grey: every bit is still read.
    picture.draft("L", (1, 1))
    try:
        picture.load()
    except OSError as exc:
        raise OSError(CUT) from exc


def _ends_between(file: BinaryIO, start: int, stop: int) -> bool:
    """Return whether the end marker is there. Between compressed pixels its two bytes never follow each other."""
    file.seek(start)
    last = b""
    while chunk := file.read(min(_CHUNK, stop - start)):
        if _END in chunk or (last == _END[:1] and chunk[:1] == _END[1:]):
            return True
        last, start = chunk[-1:], start + len(chunk)
    return False


def _bmp_length(file: BinaryIO) -> int:
    """Return how many bytes the file must have; 0 when it is compressed, which only decoding tells."""
    file.seek(0)
    head = file.read(34)

    def number(place: int, length: int, *, signed: bool = False) -> int:
        return int.from_bytes(head[place : place + length], "little", signed=signed)

    if number(14, 4) == _CORE_HEADER:
        width, height, bits, compression = number(18, 2), number(20, 2), number(24, 2), 0
    else:
        width, height, bits, compression = number(18, 4), number(22, 4, signed=True), number(28, 2), number(30, 4)
    # A row is filled up to whole words of 32 bits. OpenCV reads those of the last row too.
    row = (width * bits + 31) // 32 * 4
    return number(10, 4) + row * abs(height) if compression in _UNCOMPRESSED else 0


def _has_strips(picture: Pillow.Image, length: int) -> bool:
    """Return whether all strips or tiles of a TIFF are in the file, and what they cannot be decoded without."""
    tags: Any = getattr(picture, "tag_v2", {})
    offsets, counts = next(((tags[at], tags.get(of, ())) for at, of in (_STRIPS, _TILES) if at in tags), ((), ()))
    sound = bool(offsets) and len(offsets) == len(counts) and 0 not in counts
    # Tables may as well be in the strips themselves; where they were cut off, Pillow leaves the tag out.
    sound &= tags.get(_COMPRESSION) != _JPEG or _JPEG_TABLES in tags
    return sound and all(at + count <= length for at, count in zip(offsets, counts, strict=True))
