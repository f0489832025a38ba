"""Which way up OpenCV decodes an image, and with it mmcv: the frame that training and prediction see.

| file | turned by |
|---|---|
| JPEG, MPO | the EXIF orientation in the first APP1 segment; not by XMP, nor by EXIF that follows XMP |
| PNG | the eXIf chunk; not by XMP, nor by EXIF in a text chunk |
| TIFF | the Orientation tag |
| WebP, BMP and all others | nothing, whatever their tags say |

The table is that of ``cv2.imdecode``, which ``mmcv.imfrombytes`` and so LoadImageFromFile calls. ``cv2.imread``, which
they do not call, fails at a TIFF that lies on its side. tests/imaging/test_orientation.py compares it with mmcv.
"""

from __future__ import annotations

from typing import Any

from PIL import Image as Pillow

from posetools.imaging.markers import Markers

SIDEWAYS = frozenset({5, 6, 7, 8})
TAG = 0x0112

_WIDTH, _HEIGHT, _XMP = 256, 257, 700
_ENTRY = 12
_UPRIGHT = 1
_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
# What Pillow keeps of a file that may state an orientation, and writes into some of the files that it makes.
_STATING = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")


def applied_orientation(picture: Pillow.Image, markers: Markers) -> int:
    """Return the orientation, 1 (as stored) to 8, by which OpenCV turns an image.

    Args:
        picture: the image, open.
        markers: those of its file.
    """
    return known_orientation(tags_of(picture).get(TAG) if picture.format == "TIFF" else _in_exif(markers.exif))


def known_orientation(value: object) -> int:
    """Return an orientation tag's value, 1 (as stored) when it is none of those that there are."""
    return value if isinstance(value, int) and value in _TURNS else _UPRIGHT


def stored_size(picture: Pillow.Image) -> tuple[int, int]:
    """Return (width, height) of the pixels as stored; newer versions of Pillow turn the size of a TIFF."""
    tags = tags_of(picture)
    return int(tags.get(_WIDTH, picture.width)), int(tags.get(_HEIGHT, picture.height))


def as_decoded(picture: Pillow.Image, orientation: int) -> Pillow.Image:
    """Return the pixels of an open image as OpenCV gives them, without anything that states an orientation.

    Args:
        picture: the image; a draft of it will do.
        orientation: by which OpenCV turns it.
    """
    for name in _STATING:
        picture.info.pop(name, None)
    # Pillow turns a TIFF itself as it loads it, also by XMP, which OpenCV does not read.
    tags_of(picture).pop(_XMP, None)
    picture.load()
    turned = picture.format != "TIFF" and orientation in _TURNS
    return picture.transpose(_TURNS[orientation]) if turned else picture.copy()


def tags_of(picture: Pillow.Image) -> Any:
    """Return the tags of a TIFF, to be changed in place; empty for other formats."""
    return getattr(picture, "tag_v2", {})


def _in_exif(exif: bytes) -> int:
    """Return the orientation in EXIF tags as OpenCV reads it: the first two bytes, whatever type the tag is of."""
    if exif[:2] not in (b"II", b"MM"):
        return _UPRIGHT

    def number(place: int, length: int) -> int:
        return int.from_bytes(exif[place : place + length], "little" if exif[:1] == b"I" else "big")

    first = number(4, 4)
    if number(2, 2) != 42:
        return _UPRIGHT
    for entry in range(number(first, 2)):
        place = first + 2 + _ENTRY * entry
        if place + _ENTRY > len(exif):
            break
        if number(place, 2) == TAG:
            return number(place + 8, 2)
    return _UPRIGHT
