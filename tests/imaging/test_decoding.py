"""Images that training cannot decode are refused, with a command that converts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.errors import InputError
from posetools.imaging.header import read_header
from tests.imaging.decoder import decoded
from tests.imaging.test_ending import encoded, scene

DEEP = np.linspace(0, 1, 250 * 333, dtype=np.float32).reshape(250, 333)


def if_pillow_writes(what: str, kind: str, image: Pillow.Image | None = None, **options: str) -> dict[str, bytes]:
    """Return an image in a format that old versions of Pillow do not write; nothing if this one does not."""
    try:
        return {what: encoded(kind, image, **options)}
    except (KeyError, OSError):
        return {}


REFUSED = {
    "GIF images": encoded("GIF"),
    **if_pillow_writes("AVIF images", "AVIF"),
    "TGA images": encoded("TGA"),
    "ICO images": encoded("ICO", scene((64, 48))),
    "PCX images": encoded("PCX"),
    "TIFF images of 32 bits": encoded("TIFF", Pillow.fromarray(DEEP)),
    **if_pillow_writes("TIFF images compressed by Zstandard", "TIFF", compression="zstd"),
    **if_pillow_writes("TIFF images compressed by LZMA", "TIFF", compression="lzma"),
}
READ = {
    "TIFF of 16 bits": encoded("TIFF", Pillow.fromarray((DEEP * 65535).astype(np.uint16))),
    "TIFF of 1 bit": encoded("TIFF", scene().convert("1"), compression="group4"),
    "JPEG 2000": encoded("JPEG2000"),
    "PPM": encoded("PPM"),
    **if_pillow_writes("PGM of 16 bits", "PPM", Pillow.fromarray((DEEP * 65535).astype(np.uint16))),
    "PNG of 16 bits": encoded("PNG", Pillow.fromarray((DEEP * 65535).astype(np.uint16))),
    "CMYK": encoded("JPEG", scene().convert("CMYK")),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("name", ["a.jpg", "it's a.tif"])
def test_what_training_does_not_decode_is_converted_as_the_error_says(tmp_path: Path, name: str, what: str) -> None:
    path = tmp_path / name
    path.write_bytes(REFUSED[what])
    assert decoded(REFUSED[what]) is None
    with pytest.raises(InputError) as caught:
        read_header(path)
    assert caught.value.problem == f"image cannot be read: OpenCV, and so training, cannot decode {what}"
    said, _, command = caught.value.hint.partition(": ")
    assert said == "convert it in place (keep a copy)" and command.startswith("python -c ")
    # Run as printed, with the Python that has Pillow.
    subprocess.run(command.replace("python", f"'{sys.executable}'", 1), shell=True, check=True)
    found = decoded(path.read_bytes())
    assert found is not None and read_header(path).size == (found.shape[1], found.shape[0])
    assert np.ptp(found) > 100


@pytest.mark.parametrize("what", READ)
def test_what_training_decodes_is_read(tmp_path: Path, what: str) -> None:
    (tmp_path / "a.png").write_bytes(READ[what])
    found = decoded(READ[what])
    assert found is not None and read_header(tmp_path / "a.png").size == (found.shape[1], found.shape[0])


def test_heic_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(InputError) as caught:
        read_header(tmp_path / "a.jpg")
    assert caught.value.hint.startswith(
        "it is HEIC; convert it in place (keep a copy): pip install pillow-heif && python"
    )
