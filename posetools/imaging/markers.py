"""The segments of image files, walked without decoding the pixels, and whether a file ends before its image does.

That is checked to the end as the decoder does, at the cost of a few bytes of most files:

- JPEG, MPO: the end marker (EOI) is looked for in the last 4 KB, behind the start of the pixels; where it is not there,
  in everything behind that start. What follows it (the film of a motion photo, the further images of an MPO) does not
  count, nor does the end marker of a thumbnail, which stands before. A file without one is decoded: some programs leave
  the marker out, and OpenCV decodes such a file when all of its pixels are there.
- PNG: the last chunk is complete. WebP: Pillow does not open a file that is shorter than it says.
- BMP: all rows are there. TIFF: every strip and tile is; a file that seems to lack one is decoded.
- All others are decoded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import Image as Pillow

from posetools.files.urls import TAIL

CUT = "the file is truncated: it ends before the image does"

_PNG = b"\x89PNG\r\n\x1a\n"
# Chunks of a PNG that may hold EXIF tags, or XMP, which also states an orientation.
_TELLING = frozenset({b"eXIf", b"iTXt", b"tEXt", b"zTXt"})
# Name, length and CRC of a chunk.
_CHUNK_OVERHEAD = 12
_APP1, _SOS, _EOI = 0xE1, 0xDA, 0xD9
# Markers without a segment: TEM, the restart markers, SOI; and a stuffed zero, which is no marker.
_WITHOUT_SEGMENT = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
# "Exif\0\0" in front of the tags of an APP1 segment.
_EXIF = 6


@dataclass(frozen=True, slots=True)
class Markers:
    """What the segments of a file say.

    Attributes:
        exif: the tags that OpenCV reads, beginning with the byte order; empty when there are none.
        pixels: where the compressed pixels of a JPEG begin, in bytes.
        late: whether a PNG has chunks after its pixels that may hold EXIF tags.
    """

    exif: bytes = b""
    pixels: int = 0
    late: bool = False


def markers_of(kind: str, file: BinaryIO) -> Markers:
    """Return the markers of an image file of a kind that Pillow names; other kinds than JPEG and PNG have none.

    Raises:
        OSError: the file ends before its pixels (JPEG), or before its last chunk does (PNG).
    """
    walk = {"JPEG": _jpeg, "MPO": _jpeg, "PNG": _png}.get(kind)
    return walk(file) if walk else Markers()


def _jpeg(file: BinaryIO) -> Markers:
    file.seek(2)
    first: bytes | None = None
    while (marker := _next_marker(file)) != _SOS:
        if marker in _WITHOUT_SEGMENT:
            continue
        length = int.from_bytes(file.read(2), "big") - 2
        if marker == _EOI or length < 0:
            raise OSError(CUT)
        # OpenCV reads the first APP1 segment and no other, even when that holds XMP.
        if marker == _APP1 and first is None:
            first = file.read(length)
        else:
            file.seek(length, os.SEEK_CUR)
    return Markers(exif=(first or b"")[_EXIF:], pixels=file.tell())


def _next_marker(file: BinaryIO) -> int:
    # As libjpeg does, whatever is not a marker is skipped.
    byte = file.read(1)
    while byte and byte != b"\xff":
        byte = file.read(1)
    while byte == b"\xff":
        byte = file.read(1)
    if not byte:
        raise OSError(CUT)
    return byte[0]


def _png(file: BinaryIO) -> Markers:
    length, exif, pixels, late = file.seek(0, os.SEEK_END), b"", False, False
    place, name = len(_PNG), b""
    while name != b"IEND":
        file.seek(place)
        chunk = file.read(8)
        size, name = int.from_bytes(chunk[:4], "big"), chunk[4:]
        place += _CHUNK_OVERHEAD + size
        if place > length:
            raise OSError(CUT)
        pixels |= name == b"IDAT"
        late |= pixels and name in _TELLING
        # A second one is ignored by libpng.
        if name == b"eXIf" and not exif:
            exif = file.read(size)
    return Markers(exif=exif, late=late)


_END_OF_IMAGE = b"\xff\xd9"
_TAIL_CHUNK = 1 << 16
# Zeros at the end of a file that was made as long as it is to be, and never filled.
_ZEROS = 16
_CORE_HEADER = 12
# BI_RGB, BI_BITFIELDS, BI_ALPHABITFIELDS: rows of pixels as they are.
_UNCOMPRESSED = frozenset({0, 3, 6})
_STRIPS, _TILES = (273, 279), (324, 325)
_STRIP_COMPRESSION, _JPEG, _JPEG_TABLES = 259, 7, 347


def check_end(image: Pillow.Image, file: BinaryIO, markers: Markers) -> None:
    """Check that an image's file does not end before the image does. It may be decoded for that.

    Args:
        image: the image, open and not decoded.
        file: its file.
        markers: those of the file.

    Raises:
        OSError: it does.
    """
    if image.format in ("PNG", "WEBP"):
        return
    length = file.seek(0, os.SEEK_END)
    if image.format in ("JPEG", "MPO"):
        _check_jpeg(image, file, markers.pixels, length)
    elif image.format == "BMP" and (needed := _bmp_length(file)):
        if needed > length:
            raise OSError(CUT)
    elif image.format != "TIFF" or not _has_strips(image, length):
        image.load()


def _check_jpeg(image: Pillow.Image, file: BinaryIO, pixels: int, length: int) -> None:
    tail = max(pixels, length - TAIL)
    if _ends_between(file, tail, length) or (tail > pixels and _ends_between(file, pixels, tail + 1)):
        return
    file.seek(max(pixels, length - _ZEROS))
    if not file.read().strip(b"\0"):
        raise OSError(f"{CUT}: what follows is zeros")
    file.seek(0)
    # At an eighth of its size and in gray: every bit is still read.
    image.draft("L", (1, 1))
    try:
        image.load()
    except OSError as exc:
        raise OSError(CUT) from exc


def _ends_between(file: BinaryIO, start: int, stop: int) -> bool:
    """Return whether the end marker is there. Between compressed pixels its two bytes never follow each other."""
    file.seek(start)
    last = b""
    while chunk := file.read(min(_TAIL_CHUNK, stop - start)):
        if _END_OF_IMAGE in chunk or (last == _END_OF_IMAGE[:1] and chunk[:1] == _END_OF_IMAGE[1:]):
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


def _has_strips(image: Pillow.Image, length: int) -> bool:
    """Return whether all strips or tiles of a TIFF are in the file, and what they cannot be decoded without."""
    tags: Any = getattr(image, "tag_v2", {})
    offsets, counts = next(((tags[at], tags.get(of, ())) for at, of in (_STRIPS, _TILES) if at in tags), ((), ()))
    sound = bool(offsets) and len(offsets) == len(counts) and 0 not in counts
    # Tables may as well be in the strips themselves; where they were cut off, Pillow leaves the tag out.
    sound &= tags.get(_STRIP_COMPRESSION) != _JPEG or _JPEG_TABLES in tags
    return sound and all(at + count <= length for at, count in zip(offsets, counts, strict=True))
