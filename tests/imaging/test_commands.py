"""Frames, truncated files and image formats, as seen by a user of the commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.cli.run import Done, run
from tests.imaging.decoder import decoded
from tests.imaging.mugs import label, skeleton
from tests.imaging.test_ending import WHOLE, encoded
from tests.imaging.test_orientation import KINDS

ORIENTED = {f"{orientation}-{name}": make(orientation) for name, make in KINDS.items() for orientation in range(1, 9)}


def frame_of(content: bytes) -> tuple[int, int]:
    pixels = decoded(content)
    assert pixels is not None
    return pixels.shape[1], pixels.shape[0]


def source(tmp_path: Path, images: dict[str, bytes], sizes: dict[str, tuple[int, int]] | None = None) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    for name, content in images.items():
        path = folder / f"{name.replace('.', '-')}{Path(name).suffix}"
        path.write_bytes(content)
        label(path, (sizes or {}).get(name) or frame_of(content))
    return folder


def convert(tmp_path: Path, folder: Path, *more: str) -> Done:
    mug = tmp_path / "mug.yaml"
    return run(
        "convert", folder, "--out", tmp_path / "out", "--skeleton", mug if mug.exists() else skeleton(tmp_path), *more
    )


@pytest.mark.parametrize("bake", [False, True])
def test_a_data_set_of_every_kind_lies_in_the_frame_of_training(tmp_path: Path, bake: bool) -> None:
    done = convert(tmp_path, source(tmp_path, ORIENTED), *(["--bake-rotation"] if bake else []))
    assert done.status == 0, done.words
    seen = 0
    for split in ("train", "val"):
        for image in json.loads((tmp_path / "out" / f"{split}_coco.json").read_text())["images"]:
            content = (tmp_path / "out/images" / image["file_name"]).read_bytes()
            assert frame_of(content) == (image["width"], image["height"])
            seen += 1
            if bake:
                with Pillow.open(tmp_path / "out/images" / image["file_name"]) as opened:
                    assert opened.size == (image["width"], image["height"])
                    assert opened.getexif().get(0x0112, 1) == 1
    assert seen == len(ORIENTED)
    checked = run("validate", tmp_path / "out")
    assert not any(code in checked.out for code in ("E121", "E122", "E123", "E124"))
    assert ("W326" in checked.out) is not bake


@pytest.mark.parametrize("name", ["6-a.webp", "6-a.tif"])
def test_view_shows_the_frame_of_training(tmp_path: Path, name: str) -> None:
    images = {name: ORIENTED[name], "1-a.jpg": ORIENTED["1-a.jpg"]}
    assert convert(tmp_path, source(tmp_path, images)).status == 0
    done = run("view", tmp_path / "out", "--each", "--out", tmp_path / "shown")
    assert done.status == 0, done.words
    (shown,) = (path for path in (tmp_path / "shown").rglob("*") if path.stem.startswith(name.replace(".", "-")))
    expected = decoded(ORIENTED[name])
    with Pillow.open(shown) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert expected is not None and pixels.shape[:2] == expected.shape[:2]
    # The labels are in the upper left: three corners are unchanged.
    for corner in ((0, -1), (-1, 0), (-1, -1)):
        assert np.abs(pixels[corner] - expected[corner]).max() < 12


def test_labels_of_a_frame_that_training_does_not_see_are_an_error_with_the_command(tmp_path: Path) -> None:
    name = "6-a.webp"
    folder = source(tmp_path, {name: ORIENTED[name], "1-a.jpg": ORIENTED["1-a.jpg"]}, {name: (32, 64)})
    done = convert(tmp_path, folder)
    assert done.status == 1 and "E124" in done.out
    assert (
        "that is the frame after EXIF rotation (orientation 6), which OpenCV, and so training, does not" in done.words
    )
    assert "rotate the image itself and keep its labels: python -c" in done.words
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["a.jpg", "progressive.jpg", "thumbnail.jpg", "mpo.jpg", "a.png", "a.webp", "a.bmp", "a.tif"]
)
def test_an_image_cut_in_half_is_found_by_convert_and_validate(tmp_path: Path, name: str) -> None:
    images = {f"{number}{name}": WHOLE[name] for number in range(3)}
    folder = source(tmp_path, images)
    assert convert(tmp_path, folder).status == 0
    assert "E122" not in run("validate", tmp_path / "out").out
    half = WHOLE[name][: len(WHOLE[name]) // (3 if name == "mpo.jpg" else 2)]
    for path in (next(folder.glob(f"1*{Path(name).suffix}")), next((tmp_path / "out/images").glob("1*"))):
        path.write_bytes(half)
    done = run("validate", tmp_path / "out")
    assert done.status == 1 and "E122" in done.out
    again = convert(tmp_path, folder, "--overwrite")
    assert again.status == 1 and "E122" in again.out


def test_a_gif_with_the_name_of_a_jpeg_is_found_with_the_command_that_converts_it(tmp_path: Path) -> None:
    images = {f"{number}.jpg": encoded("JPEG") for number in range(3)}
    assert convert(tmp_path, source(tmp_path, images)).status == 0
    path = next((tmp_path / "out/images").glob("1*"))
    path.write_bytes(encoded("GIF"))
    done = run("validate", tmp_path / "out")
    assert done.status == 1 and "OpenCV, and so training, cannot decode GIF images" in done.words
    assert "convert it in place (keep a copy): python -c" in done.words
