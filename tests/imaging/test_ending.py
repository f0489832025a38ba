"""A truncated file is refused exactly if the decoder of training refuses it."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.errors import InputError
from posetools.files.urls import TAIL
from posetools.imaging.header import read_header
from tests.imaging.decoder import decoded

TRUNCATED = "image cannot be read: the file is truncated: it ends before the image does"


@cache
def scene(size: tuple[int, int] = (333, 250)) -> Pillow.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    return Pillow.fromarray(pixels).resize(size)


def encoded(kind: str, image: Pillow.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image or scene()).save(buffer, kind, **options)
    return buffer.getvalue()


def with_thumbnail() -> bytes:
    """Return a JPEG whose EXIF contains a whole JPEG: an end marker long before the end."""
    small = encoded("JPEG", scene((64, 48)))
    plain = encoded("JPEG", quality=95)
    body = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + small
    return plain[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + plain[2:]


WHOLE: dict[str, bytes] = {
    "a.jpg": encoded("JPEG"),
    "progressive.jpg": encoded("JPEG", progressive=True),
    "restarts.jpg": encoded("JPEG", restart_marker_rows=1),
    "thumbnail.jpg": with_thumbnail(),
    "mpo.jpg": encoded("MPO", save_all=True, append_images=[scene((200, 100))]),
    "a.png": encoded("PNG"),
    "palette.png": encoded("PNG", scene().convert("P")),
    "a.webp": encoded("WEBP"),
    "lossless.webp": encoded("WEBP", lossless=True),
    "exif.webp": encoded("WEBP", exif=b"Exif\0\0" + bytes(100)),
    "a.bmp": encoded("BMP"),
    "palette.bmp": encoded("BMP", scene().convert("P")),
    "a.tif": encoded("TIFF"),
    "lzw.tif": encoded("TIFF", compression="tiff_lzw"),
    "jpeg.tif": encoded("TIFF", compression="jpeg"),
    "jpeg2000.jpg": encoded("JPEG2000"),
    "ppm.png": encoded("PPM"),
}
CUTS = (1, 2, 3, 5, 12, 20, 500, 0.1, 0.5, 0.9)


def is_accepted(path: Path, content: bytes) -> bool:
    path.write_bytes(content)
    try:
        read_header(path)
    except InputError as exc:
        assert str(exc).startswith(f"{path}: image cannot be read: ")
        return False
    return True


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", WHOLE)
def test_a_cut_file_is_refused_where_training_refuses_it(tmp_path: Path, name: str, cut: float) -> None:
    content = WHOLE[name]
    rest = content[: -int(cut if cut >= 1 else cut * len(content))]
    assert is_accepted(tmp_path / name, rest) is (decoded(rest) is not None)


@pytest.mark.parametrize("behind", [b"", b"\0" * 50, b"\0" * 3 * TAIL, bytes(range(255)) * 60, b"\xff" * 9_000])
@pytest.mark.parametrize("name", WHOLE)
def test_what_follows_an_image_does_not_count(tmp_path: Path, name: str, behind: bytes) -> None:
    content = WHOLE[name] + behind
    assert decoded(content) is not None
    assert is_accepted(tmp_path / name, content)


@pytest.mark.parametrize("name", ["a.jpg", "progressive.jpg", "thumbnail.jpg"])
def test_a_jpeg_cut_in_half_is_truncated(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(WHOLE[name][: len(WHOLE[name]) // 2])
    with pytest.raises(InputError) as caught:
        read_header(path)
    assert caught.value.problem == TRUNCATED


def test_a_motion_photo_is_whole_as_long_as_its_still_is(tmp_path: Path) -> None:
    film = (
        np.random.default_rng(0).integers(0, 255, 3_000_000, dtype=np.uint8).tobytes().replace(b"\xff\xd9", b"\xff\0")
    )
    still = WHOLE["thumbnail.jpg"]
    assert is_accepted(tmp_path / "a.jpg", still + film)
    assert is_accepted(tmp_path / "a.jpg", still + film[:1_234_567])


@pytest.mark.parametrize("boundary", range(-2, 3))
def test_an_end_marker_is_found_wherever_the_file_is_read_in_pieces(tmp_path: Path, boundary: int) -> None:
    content = WHOLE["a.jpg"]
    assert is_accepted(tmp_path / "a.jpg", content + bytes(TAIL - 2 + boundary))
    start = content.index(b"\xff\xda")
    padded = (1 << 16) + boundary + start + 14 - len(content)
    filler = b"\xff\xfe" + (60_000).to_bytes(2, "big") + bytes(59_998)
    assert is_accepted(tmp_path / "a.jpg", content[:2] + filler * (padded // 60_002) + content[2:] + bytes(2 * TAIL))


def test_a_file_that_was_never_filled_is_truncated(tmp_path: Path) -> None:
    content = WHOLE["a.jpg"]
    path = tmp_path / "a.jpg"
    path.write_bytes(content[: len(content) // 2].ljust(len(content), b"\0"))
    with pytest.raises(InputError) as caught:
        read_header(path)
    assert caught.value.problem == f"{TRUNCATED}: what follows is zeros"
