"""The segments of image files, read without decoding the pixels, and the check for truncated files.

The check is as strict as the decoder, but reads only a few bytes of most files:

- JPEG, MPO: the end marker (EOI) is searched in the last 4 KB after the start of the pixels, then in everything after
  that start. Data after it (the video of a motion photo, further images of an MPO) is ignored, and so is the end marker
  of a thumbnail, which comes before. A file without the marker is decoded: some programs omit it, and OpenCV decodes
  such a file if all pixels are there.
- PNG: the last chunk is complete. WebP: Pillow does not open a file shorter than its header says.
- BMP: all rows are there. TIFF: all strips and tiles are; a file that seems to lack one is decoded.
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
# Chunks of a PNG that may contain EXIF or XMP, which both may state an orientation.
_TELLING = frozenset({b"eXIf", b"iTXt", b"tEXt", b"zTXt"})
# Name, length and CRC of a chunk.
_CHUNK_OVERHEAD = 12
_APP1, _SOS, _EOI = 0xE1, 0xDA, 0xD9
# Markers without a segment: TEM, the restart markers, SOI; and a stuffed zero, which is not a marker.
_WITHOUT_SEGMENT = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
# "Exif\0\0" in front of the tags of an APP1 segment.
_EXIF = 6


@dataclass(frozen=True, slots=True)
class Markers:
    """Metadata from the segments of a file.

    Attributes:
        exif: the tags that OpenCV reads, starting with the byte order; empty if there are none.
        pixels: offset of the compressed pixels of a JPEG, in bytes.
        late: whether a PNG has chunks after its pixels that may contain EXIF tags.
    """

    exif: bytes = b""
    pixels: int = 0
    late: bool = False


def markers_of(kind: str, file: BinaryIO) -> Markers:
    """Return the markers of an image file; ``kind`` is Pillow's name of the format. Only JPEG and PNG have any.

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
        # OpenCV reads only the first APP1 segment, even if that is XMP.
        if marker == _APP1 and first is None:
            first = file.read(length)
        else:
            file.seek(length, os.SEEK_CUR)
    return Markers(exif=(first or b"")[_EXIF:], pixels=file.tell())


def _next_marker(file: BinaryIO) -> int:
    # Like libjpeg, skip everything that is not a marker.
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
        # libpng ignores a second one.
        if name == b"eXIf" and not exif:
            exif = file.read(size)
    return Markers(exif=exif, late=late)


_END_OF_IMAGE = b"\xff\xd9"
_TAIL_CHUNK = 1 << 16
# Zeros at the end of a file that was allocated but never filled.
_ZEROS = 16
_CORE_HEADER = 12
# BI_RGB, BI_BITFIELDS, BI_ALPHABITFIELDS: uncompressed rows of pixels.
_UNCOMPRESSED = frozenset({0, 3, 6})
_STRIPS, _TILES = (273, 279), (324, 325)
_STRIP_COMPRESSION, _JPEG, _JPEG_TABLES = 259, 7, 347


def check_end(image: Pillow.Image, file: BinaryIO, markers: Markers) -> None:
    """Check that an image file is not truncated; this may decode it.

    Args:
        image: the open, not yet decoded image.
        file: its file.
        markers: of the file.

    Raises:
        OSError: it is truncated.
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
    # An eighth of the size, in gray, is enough: every bit is still read.
    image.draft("L", (1, 1))
    try:
        image.load()
    except OSError as exc:
        raise OSError(CUT) from exc


def _ends_between(file: BinaryIO, start: int, stop: int) -> bool:
    """Return whether the end marker is there. Its two bytes never occur together in compressed pixels."""
    file.seek(start)
    last = b""
    while chunk := file.read(min(_TAIL_CHUNK, stop - start)):
        if _END_OF_IMAGE in chunk or (last == _END_OF_IMAGE[:1] and chunk[:1] == _END_OF_IMAGE[1:]):
            return True
        last, start = chunk[-1:], start + len(chunk)
    return False


def _bmp_length(file: BinaryIO) -> int:
    """Return how many bytes the file must have; 0 if it is compressed and the length unknown."""
    file.seek(0)
    head = file.read(34)

    def number(place: int, length: int, *, signed: bool = False) -> int:
        return int.from_bytes(head[place : place + length], "little", signed=signed)

    if number(14, 4) == _CORE_HEADER:
        width, height, bits, compression = number(18, 2), number(20, 2), number(24, 2), 0
    else:
        width, height, bits, compression = number(18, 4), number(22, 4, signed=True), number(28, 2), number(30, 4)
    # Rows are padded to words of 32 bits. OpenCV reads the padding of the last row too.
    row = (width * bits + 31) // 32 * 4
    return number(10, 4) + row * abs(height) if compression in _UNCOMPRESSED else 0


def _has_strips(image: Pillow.Image, length: int) -> bool:
    """Return whether all strips or tiles of a TIFF, and the tables to decode them, are in the file."""
    tags: Any = getattr(image, "tag_v2", {})
    offsets, counts = next(((tags[at], tags.get(of, ())) for at, of in (_STRIPS, _TILES) if at in tags), ((), ()))
    sound = bool(offsets) and len(offsets) == len(counts) and 0 not in counts
    # Tables may also be in the strips themselves; if they were cut off, Pillow omits the tag.
    sound &= tags.get(_STRIP_COMPRESSION) != _JPEG or _JPEG_TABLES in tags
    return sound and all(at + count <= length for at, count in zip(offsets, counts, strict=True))
