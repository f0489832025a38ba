"""Images embedded in labelme files (``imageData``), used when the file that ``imagePath`` names is missing.

labelme shows ``imageData`` before it looks for ``imagePath``, so it is the image that was labeled. A conversion writes
it to a scratch folder, byte for byte, under the name in ``imagePath`` with the suffix of its real type.
"""

from __future__ import annotations

import binascii
import io
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from PIL import Image as Pillow

from posetools.core.findings import Finding
from posetools.errors import InputError, counted
from posetools.files.disk import digest_of, portable_path
from posetools.formats.labelme.model import Document
from posetools.formats.options import ReadOptions
from posetools.formats.sources.image_names import named_in
from posetools.formats.sources.locate import OtherImageFinding
from posetools.formats.sources.scratch import write_scratch
from posetools.imaging.header import Header, header_of, without_warnings

_IMAGE_ENDINGS = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp", "TIFF": ".tif"}
# Other suffixes of the same image type.
_SAME_ENDING = {".jpeg": ".jpg", ".tiff": ".tif"}
# The prefix of base64 in a data URL.
_DATA_URL = re.compile(r"data:[\w/+.;=-]{0,100},")
# Characters that some systems forbid in file names.
_UNUSUAL = re.compile(r'[\x00-\x1f\x7f:*?"<>|\ud800-\udfff]')
# Bytes.
_LONGEST_IMAGE_NAME = 200


class EmbeddedImage(NamedTuple):
    """The image of a labelme file.

    Attributes:
        path: the image file.
        header: its header.
        identity: unique to the image.
        beside: the path that names it: ``path``, or for an embedded image one next to the file.
        notes: findings about it.
    """

    path: Path
    header: Header
    identity: str
    beside: Path
    notes: tuple[Finding, ...]


def embedded_image(
    document: Document, missing: Finding, file: Path, root: Path, options: ReadOptions
) -> EmbeddedImage | Finding:
    """Return the image embedded in a labelme file, or a finding when there is none.

    Args:
        document: the file.
        missing: the finding on the missing image file; returned when nothing is embedded.
        file: its path.
        root: the source folder.
        options: the user's options.

    Raises:
        OutputError: the image cannot be written.
    """
    if not document.image:
        return missing
    if not options.need_images:
        hint = "run posetools convert --images copy to write these images into the output"
        return _inside(document, file, root, "which is not copied", hint)
    if options.scratch is None:
        hint = "run posetools convert without --cluster to write these images into the output"
        return _inside(document, file, root, "which is not read here", hint)
    try:
        content = binascii.a2b_base64(_DATA_URL.sub("", document.image, count=1))
        with without_warnings():
            header = header_of(file, io.BytesIO(content))
            with Pillow.open(io.BytesIO(content)) as image:
                ending = _IMAGE_ENDINGS.get(image.format or "", ".png")
    except (InputError, ValueError) as exc:
        reason = exc.problem if isinstance(exc, InputError) else f"is not base64: {exc}"
        return replace(missing, message=f"{missing.message}; imageData holds no image either: {reason}")
    name = _name(document.image_path, file, ending)
    path = write_scratch(options.scratch, file, name, content)
    identity = _identity(document.image_path, file, content)
    return EmbeddedImage(path, header, identity, file.parent / name, (_note(name, file, root),))


def _name(image: str, file: Path, ending: str) -> str:
    said = Path(named_in(image).name)
    suffix = said.suffix.lower()
    if _SAME_ENDING.get(suffix, suffix) == ending:
        ending = said.suffix
    stem = _UNUSUAL.sub("_", said.stem).encode()[:_LONGEST_IMAGE_NAME].decode(errors="ignore").strip(". ")
    return f"{stem or file.stem}{ending}"


def _identity(image: str, file: Path, content: bytes) -> str:
    """Return a key that files of the same image share: its path and content."""
    relative = portable_path(image)
    path = image if relative is None else os.path.normpath(os.path.realpath(file.parent) / relative)
    return f"{path}#{digest_of(content)}"


def _inside(document: Document, file: Path, root: Path, why: str, hint: str) -> Finding:
    shapes = len(document.shapes)
    example = f"{named_in(document.image_path).name} ({counted(shapes, 'shape')} left out)"
    return _found("E121", f"{{images}} only in imageData, {why}", example, file, root, hint)


def _note(name: str, file: Path, root: Path) -> Finding:
    hint = "--image-root DIR takes the image files from another folder instead"
    return _found(
        "W324", "{images} taken from imageData, because the file in imagePath is missing", name, file, root, hint
    )


def _found(code: str, sentence: str, example: str, file: Path, root: Path, hint: str) -> Finding:
    message = f"{sentence.format(images='the image is')}: {example}"
    return OtherImageFinding(
        code, str(file), "imageData", message, hint, source=str(root), sentence=sentence, example=example
    )
