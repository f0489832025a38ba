"""How OpenCV (and mmcv with it) decodes an image: which files, and in which orientation.

| file | rotated by |
|---|---|
| JPEG, MPO | the EXIF orientation in the first APP1 segment; not by XMP, nor by EXIF that follows XMP |
| PNG | the eXIf chunk; not by XMP, nor by EXIF in a text chunk |
| TIFF | the Orientation tag |
| WebP, BMP and all others | nothing, whatever their tags say |

The table is for ``cv2.imdecode``, which ``mmcv.imfrombytes`` and so LoadImageFromFile calls. ``cv2.imread``, which
they do not call, fails on a TIFF rotated by 90 degrees. tests/imaging/test_orientation.py compares with mmcv.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from posetools.errors import InputError
from posetools.files.unpacked import UnpackedPath
from posetools.imaging.markers import Markers

SIDEWAYS = frozenset({5, 6, 7, 8})
TAG = 0x0112

_WIDTH_TAG, _HEIGHT_TAG, _XMP = 256, 257, 700
_ENTRY_BYTES = 12
_UPRIGHT_SCRIPT = 1
_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
# Metadata that may state an orientation; Pillow keeps it and writes it into some formats.
_STATING = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")


def applied_orientation(image: Pillow.Image, markers: Markers) -> int:
    """Return the orientation, 1 (as stored) to 8, that OpenCV applies to an image.

    Args:
        image: the open image.
        markers: of its file.
    """
    return known_orientation(_tags(image).get(TAG) if image.format == "TIFF" else _in_exif(markers.exif))


def known_orientation(value: object) -> int:
    """Return an orientation tag's value, or 1 (as stored) if it is invalid."""
    return value if isinstance(value, int) and value in _TURNS else _UPRIGHT_SCRIPT


def stored_size(image: Pillow.Image) -> tuple[int, int]:
    """Return (width, height) of the pixels as stored; newer versions of Pillow swap the size of a rotated TIFF."""
    tags = _tags(image)
    return int(tags.get(_WIDTH_TAG, image.width)), int(tags.get(_HEIGHT_TAG, image.height))


def as_decoded(image: Pillow.Image, orientation: int) -> Pillow.Image:
    """Return the pixels of an open image as OpenCV decodes them, without metadata on orientation.

    Args:
        image: the image, or a draft of it.
        orientation: the one that OpenCV applies.
    """
    for name in _STATING:
        image.info.pop(name, None)
    # Pillow rotates a TIFF on loading, also by XMP, which OpenCV does not read.
    _tags(image).pop(_XMP, None)
    image.load()
    turned = image.format != "TIFF" and orientation in _TURNS
    return image.transpose(_TURNS[orientation]) if turned else image.copy()


def _tags(image: Pillow.Image) -> Any:
    return getattr(image, "tag_v2", {})


def _in_exif(exif: bytes) -> int:
    """Return the orientation in EXIF tags as OpenCV reads it: the first two bytes, regardless of the tag's type."""
    if exif[:2] not in (b"II", b"MM"):
        return _UPRIGHT_SCRIPT

    def number(place: int, length: int) -> int:
        return int.from_bytes(exif[place : place + length], "little" if exif[:1] == b"I" else "big")

    first = number(4, 4)
    if number(2, 2) != 42:
        return _UPRIGHT_SCRIPT
    for entry in range(number(first, 2)):
        place = first + 2 + _ENTRY_BYTES * entry
        if place + _ENTRY_BYTES > len(exif):
            break
        if number(place, 2) == TAG:
            return number(place + 8, 2)
    return _UPRIGHT_SCRIPT


_KINDS = frozenset({"BMP", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "SUN", "TIFF", "WEBP"})
# TIFF compressions that Pillow supports and OpenCV does not.
_COMPRESSION_TAG = 259
_COMPRESSIONS = {34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 34887: "LERC", 34661: "JBIG"}
_HEIF = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_REWRITE = "from PIL import Image, ImageOps; ImageOps.exif_transpose(Image.open({0})).convert('RGB').save({0})"
# Without this Pillow would keep the old compression.
_COMPRESSED = _REWRITE.replace("save({0})", "save({0}, compression='tiff_lzw')")
_SCALED = (
    "import numpy as np; from PIL import Image; a = np.asarray(Image.open({0}), float); "
    "Image.fromarray(np.uint8(255 * (a - a.min()) / max(np.ptp(a), 1e-9))).save({0})"
)
_FROM_HEIF = "import pillow_heif; pillow_heif.register_heif_opener(); " + _REWRITE


def refuse_undecodable(path: Path | str, image: Pillow.Image) -> None:
    """Refuse an image that Pillow opens but OpenCV cannot decode.

    Raises:
        InputError: OpenCV cannot decode it; the hint is the command that converts the file.
    """
    kind, tags = image.format or "", _tags(image)
    script = _REWRITE
    if kind not in _KINDS:
        what = f"{kind} images"
    elif kind == "TIFF" and tags.get(_COMPRESSION_TAG) in _COMPRESSIONS:
        what, script = f"TIFF images compressed by {_COMPRESSIONS[tags[_COMPRESSION_TAG]]}", _COMPRESSED
    elif kind == "TIFF" and image.mode in ("F", "I") and tags.get(258, (32,))[0] > 16:
        what, script = "TIFF images of 32 bits", _SCALED
    else:
        return
    problem = f"image cannot be read: OpenCV, and so training, cannot decode {what}"
    raise InputError(path, "", problem, hint=f"convert it in place (keep a copy): {_command(path, script)}")


def conversion_hint(path: Path | str, head: bytes) -> str:
    """Return how to convert a file that Pillow cannot open: a command for HEIC, which phones write, else nothing."""
    if head[4:8] != b"ftyp" or head[8:12] not in _HEIF:
        return ""
    return f"it is HEIC; convert it in place (keep a copy): pip install pillow-heif && {_command(path, _FROM_HEIF)}"


def upright_command(path: Path | str) -> str:
    """Return the command that rewrites an image as labelme and browsers show it, without an orientation."""
    return _command(path, _REWRITE)


def _command(path: Path | str, script: str) -> str:
    text = script.format(ascii(str(path)))
    # Double quotes are easier to read, if the name has no characters special to a shell.
    command = f"python -c {shlex.quote(text)}" if set(text) & set('"$`!\\') else f'python -c "{text}"'
    return f"{command}; unpack the zip first, and give the folder" if isinstance(path, UnpackedPath) else command
