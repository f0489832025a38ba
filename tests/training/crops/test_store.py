"""Crops on disk and in memory: never stale, safe to fill at once, and refused where there is no room."""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from posetools.errors import OutputError, RequestError
from posetools.progress import silent
from posetools.training.crops.cache import CropsCache, crops_cache, layouts_of
from posetools.training.crops.store import (
    KNOWN,
    CropPixels,
    DiskCrops,
    Layout,
    MemoryCrops,
    check_room,
    files_of,
    fill_folder,
    is_there,
    show_bytes,
)
from posetools.training.crops.window import Reach
from tests.build import make_image

pytestmark = pytest.mark.train

REACH = Reach(padding=1.25, aspect=0.75, shift=0.16, scale=1.4, rotation=30)


def _read(image: str) -> CropPixels:
    import cv2

    return np.asarray(cv2.imread(image), np.uint8)


def _fill(folder: Path, images: list[Path], reach: Reach = REACH) -> dict[str, Path]:
    """Do what a run does; a function of a module, so that another process can do it too."""
    box = np.array([[40.0, 40, 80, 80]], np.float32)
    layouts = layouts_of(iter([(str(image), box) for image in images]), [reach])
    files = files_of(layouts, folder, silent)
    by_file = {file: (image, layouts[image]) for image, file in files.items()}
    missing = [file for file, (_, layout) in by_file.items() if not is_there(file, layout)]
    fill_folder(missing, by_file, _read, silent)
    for image, file in files.items():
        crop = DiskCrops(layouts, files).crop(image, box.tobytes())
        assert crop is not None
        (x, y), (h, w) = crop.origin, crop.pixels.shape[:2]
        assert np.array_equal(crop.pixels, _read(image)[y : y + h, x : x + w]), file
    return files


def test_an_image_with_other_pixels_gets_other_crops_though_size_and_time_are_the_same(tmp_path: Path) -> None:
    image = tmp_path / "a.bmp"
    make_image(image, (320, 240), seed=1)
    old = image.stat()
    before = _fill(tmp_path / "cache", [image])
    make_image(image, (320, 240), seed=2)
    os.utime(image, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert (image.stat().st_size, image.stat().st_mtime_ns) == (old.st_size, old.st_mtime_ns)
    assert _fill(tmp_path / "cache", [image]) != before


def test_what_was_hashed_is_remembered_once_it_has_settled(tmp_path: Path) -> None:
    image = make_image(tmp_path / "a.png", (320, 240), seed=1)
    cache = tmp_path / "cache"
    _fill(cache, [image])
    assert (cache / KNOWN).read_text(encoding="utf-8").strip("{}\n ") == ""
    # Only a clock that goes on makes a file settled: its change time cannot be set.
    time.sleep(max(0.0, image.stat().st_ctime + 2.1 - time.time()))
    files = _fill(cache, [image])
    assert str(image) in (cache / KNOWN).read_text(encoding="utf-8")
    assert _fill(cache, [image]) == files


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 3}', ""])
def test_a_damaged_memory_of_hashes_does_no_harm(tmp_path: Path, text: str) -> None:
    image = make_image(tmp_path / "a.png", (320, 240), seed=1)
    files = _fill(tmp_path / "cache", [image])
    (tmp_path / "cache" / KNOWN).write_text(text, encoding="utf-8")
    assert _fill(tmp_path / "cache", [image]) == files


def test_other_augmentation_gets_other_files(tmp_path: Path) -> None:
    image = make_image(tmp_path / "a.png", (640, 480))
    larger = Reach(padding=1.25, aspect=0.75, shift=0.16, scale=2.0, rotation=30)
    assert _fill(tmp_path / "cache", [image]) != _fill(tmp_path / "cache", [image], larger)


def test_a_file_that_is_too_short_is_written_again(tmp_path: Path) -> None:
    image = make_image(tmp_path / "a.png", (320, 240))
    (file,) = _fill(tmp_path / "cache", [image]).values()
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    _fill(tmp_path / "cache", [image])
    assert file.read_bytes() == whole


def test_what_a_dead_process_left_half_written_is_removed(tmp_path: Path) -> None:
    image = make_image(tmp_path / "a.png", (320, 240))
    folder = tmp_path / "cache" / "ab"
    folder.mkdir(parents=True)
    old, new = folder / ".x.crops.1234.tmp", folder / ".y.crops.1234.tmp"
    for left in (old, new):
        left.write_bytes(b"half")
    os.utime(old, (0, 0))
    _fill(tmp_path / "cache", [image])
    assert (old.exists(), new.exists()) == (False, True)


def test_several_processes_may_fill_one_folder_at_once(tmp_path: Path) -> None:
    images = [make_image(tmp_path / f"{number}.png", (320, 240), seed=number) for number in range(24)]
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_fill, [tmp_path / "cache"] * 3, [images] * 3))
    assert found[0] == found[1] == found[2]
    assert len(list((tmp_path / "cache").rglob("*.crops"))) == 24
    assert not list((tmp_path / "cache").rglob("*.tmp"))


# Refused


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    image = make_image(tmp_path / "a.png", (320, 240))
    (tmp_path / "cache").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match=r"cannot be written: .*\n  fix: choose another disk with --cache-dir"):
        _fill(tmp_path / "cache", [image])


def test_too_little_room_is_said_beforehand(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"need 1000\.0 TB more, .* are free\n  fix: choose another disk"):
        check_room(tmp_path / "not" / "yet", 10**15)
    assert check_room(tmp_path / "not" / "yet", 1) > 1
    assert not (tmp_path / "not").exists()


def test_too_little_memory_is_said_beforehand() -> None:
    huge = Layout((10**6, 10**6), (b"",), np.array([[0, 0, 10**6, 10**6]]))
    with pytest.raises(RequestError, match=r"need 3\.0 TB of memory, .* are available\n  fix: use --cache crops"):
        MemoryCrops({"a": huge})


@pytest.mark.parametrize(
    ("cache", "folder", "stage", "message"),
    [
        (None, Path("x"), "pose", "--cache-dir requires --cache crops\n  fix: add --cache crops"),
        ("crop", None, "pose", "--cache must be crops or crops-ram, got 'crop'"),
        ("crops", None, "det", "--cache requires --stage pose"),
        ("crops-ram", Path("x"), "pose", "--cache-dir requires --cache crops: crops-ram"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    cache: str | None, folder: Path | None, stage: str, message: str
) -> None:
    with pytest.raises(RequestError, match=re.escape(message)):
        crops_cache(cache, folder, stage=stage, work_dir=Path("w"))


def test_crops_lie_in_the_work_folder_or_where_the_user_says() -> None:
    assert crops_cache(None, None, stage="det", work_dir=Path("w")) is None
    assert crops_cache("crops", None, stage="pose", work_dir=Path("w")) == CropsCache("crops", Path("w/crops"))
    assert crops_cache("crops", Path("x"), stage="pose", work_dir=Path("w")) == CropsCache("crops", Path("x"))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (3_400_000_000, "3.4 GB"), (5 * 10**15, "5000.0 TB")],
)
def test_sizes_are_shown_as_people_read_them(size: int, text: str) -> None:
    assert show_bytes(size) == text
