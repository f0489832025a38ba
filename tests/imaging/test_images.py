"""The frame: OpenCV (and so mmcv), Pillow's upright image, and the header reader agree."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from posetools.errors import InputError
from posetools.imaging.header import content_hash, is_image, read_header, upright_bytes
from tests.build import make_image

STORED = (48, 32)
ORIENTATIONS = range(1, 9)


def pixels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Pillow.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_header_gives_the_upright_size(tmp_path: Path, orientation: int) -> None:
    path = make_image(tmp_path / "a.jpg", STORED, orientation=orientation)
    header = read_header(path)
    assert header.size == ((32, 48) if orientation >= 5 else (48, 32))
    assert header.stored_size == STORED and header.orientation == orientation
    assert pixels(path).shape == (header.height, header.width, 3)


@pytest.mark.train
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_opencv_sees_the_upright_frame(tmp_path: Path, orientation: int) -> None:
    import cv2

    path = make_image(tmp_path / "a.jpg", STORED, orientation=orientation)
    frame = cv2.imread(str(path))
    header = read_header(path)
    assert frame.shape == (header.height, header.width, 3)
    # Both decode with libjpeg; a level of difference is allowed for other builds of it.
    difference = np.abs(frame[:, :, ::-1].astype(int) - pixels(path).astype(int))
    assert difference.max() <= 3
    if orientation > 1:
        stored = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        assert stored.shape != frame.shape or np.abs(stored.astype(int) - frame.astype(int)).max() > 50


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_rewritten_image_is_upright_for_everybody(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = make_image(tmp_path / f"a{suffix}", STORED, orientation=orientation)
    baked = tmp_path / f"baked{suffix}"
    baked.write_bytes(upright_bytes(path))
    header = read_header(baked)
    assert header.size == read_header(path).size and header.orientation == 1
    with Pillow.open(baked) as image:
        unrotated = np.asarray(image.convert("RGB"))
    difference = np.abs(unrotated.astype(int) - pixels(path).astype(int))
    assert difference.mean() < (0.01 if suffix == ".png" else 3)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_is_upright(tmp_path: Path, orientation: int) -> None:
    header = read_header(make_image(tmp_path / "a.jpg", STORED, orientation=orientation))
    assert (header.size, header.orientation) == (STORED, 1)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "image does not exist"), (b"", "image cannot be read"), (b"\x89PNG\r\n", "image cannot be read")],
)
def test_no_image(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_header(path)
    assert str(caught.value).startswith(f"{path}: {problem}")


def test_a_truncated_image_is_neither_read_nor_rewritten(tmp_path: Path) -> None:
    path = make_image(tmp_path / "a.jpg", (320, 240), orientation=6)
    path.write_bytes(path.read_bytes()[:900])
    for read in (read_header, upright_bytes):
        with pytest.raises(InputError, match="truncated"):
            read(path)


def test_hash_is_of_the_content(tmp_path: Path) -> None:
    one, two = make_image(tmp_path / "a.png"), make_image(tmp_path / "b.png")
    other = make_image(tmp_path / "c.png", seed=1)
    assert content_hash(one) == content_hash(two) != content_hash(other)
    assert len(content_hash(one)) == 32


@pytest.mark.parametrize(("name", "expected"), [("a.jpg", True), ("a.JPEG", True), ("a.json", False), ("jpg", False)])
def test_images_are_told_by_their_names(name: str, expected: bool) -> None:
    assert is_image(Path(name)) is expected


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="image must be a file, but is a pipe"):
        read_header(tmp_path / "a.jpg")
