"""Which images OpenCV decodes, and with it mmcv: training stops at all others."""

from __future__ import annotations

import shlex
from pathlib import Path

from PIL import Image as Pillow

from posetools.errors import InputError
from posetools.imaging.orientation import tags_of

_KINDS = frozenset({"BMP", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "SUN", "TIFF", "WEBP"})
# TIFF compressions that OpenCV's libtiff lacks and Pillow's has.
_COMPRESSION = 259
_COMPRESSIONS = {34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 34887: "LERC", 34661: "JBIG"}
_HEIF = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_UPRIGHT = "from PIL import Image, ImageOps; ImageOps.exif_transpose(Image.open({0})).convert('RGB').save({0})"
# Pillow would compress it as it was.
_COMPRESSED = _UPRIGHT.replace("save({0})", "save({0}, compression='tiff_lzw')")
_SCALED = (
    "import numpy as np; from PIL import Image; a = np.asarray(Image.open({0}), float); "
    "Image.fromarray(np.uint8(255 * (a - a.min()) / max(np.ptp(a), 1e-9))).save({0})"
)
_FROM_HEIF = "import pillow_heif; pillow_heif.register_heif_opener(); " + _UPRIGHT


def refuse_undecodable(path: Path | str, picture: Pillow.Image) -> None:
    """Refuse an image that Pillow opens and OpenCV does not decode.

    Raises:
        InputError: it is one; the hint is the command that converts the file.
    """
    kind, tags = picture.format or "", tags_of(picture)
    script = _UPRIGHT
    if kind not in _KINDS:
        what = f"{kind} images"
    elif kind == "TIFF" and tags.get(_COMPRESSION) in _COMPRESSIONS:
        what, script = f"TIFF images compressed by {_COMPRESSIONS[tags[_COMPRESSION]]}", _COMPRESSED
    elif kind == "TIFF" and picture.mode in ("F", "I") and tags.get(258, (32,))[0] > 16:
        what, script = "TIFF images of 32 bits", _SCALED
    else:
        return
    problem = f"picture cannot be read: OpenCV, and so training, does not decode {what}"
    raise InputError(path, "", problem, hint=f"convert it in place (keep a copy): {_command(path, script)}")


def conversion_hint(path: Path | str, head: bytes) -> str:
    """Return how to convert a file that Pillow does not open: a command for HEIC, which phones write, else nothing."""
    if head[4:8] != b"ftyp" or head[8:12] not in _HEIF:
        return ""
    return f"it is HEIC; convert it in place (keep a copy): pip install pillow-heif && {_command(path, _FROM_HEIF)}"


def upright_command(path: Path | str) -> str:
    """Return the command that writes an image again as labelme and browsers show it, without an orientation."""
    return _command(path, _UPRIGHT)


def _command(path: Path | str, script: str) -> str:
    text = script.format(ascii(str(path)))
    # In double quotes it is the easier to read, where the name holds nothing that a shell would look at.
    return f"python -c {shlex.quote(text)}" if set(text) & set('"$`!\\') else f'python -c "{text}"'
