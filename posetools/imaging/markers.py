"""The segments of JPEG and PNG files, walked without decoding the pixels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

CUT = "the file is truncated: it ends before the image does"

_PNG = b"\x89PNG\r\n\x1a\n"
# Chunks of a PNG that may hold EXIF tags, or XMP, which also states an orientation.
_TELLING = frozenset({b"eXIf", b"iTXt", b"tEXt", b"zTXt"})
# Name, length and CRC of a chunk.
_AROUND = 12
_APP1, _SOS, _EOI = 0xE1, 0xDA, 0xD9
# Markers without a segment: TEM, the restart markers, SOI; and a stuffed zero, which is no marker.
_ALONE = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
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
        if marker in _ALONE:
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
        place += _AROUND + size
        if place > length:
            raise OSError(CUT)
        pixels |= name == b"IDAT"
        late |= pixels and name in _TELLING
        # A second one is ignored by libpng.
        if name == b"eXIf" and not exif:
            exif = file.read(size)
    return Markers(exif=exif, late=late)
