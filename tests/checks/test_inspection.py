"""Inspection of image files: broken, missing and odd ones are reported, without a traceback or a hang."""

from __future__ import annotations

import os
import pickle
import struct
import threading
import warnings
import zlib
from pathlib import Path

import pytest
from PIL import Image as Pillow

from posetools.checks.images import check_images, check_names
from posetools.checks.inspection import Inspection, are_alike, digests, ends, inspect
from posetools.core.findings import Finding
from posetools.formats.coco.table import table_from
from posetools.imaging.header import Header, read_header, without_warnings
from posetools.progress import silent
from tests.build import make_image

SIZE = (48, 32)
ORIENTATION = 0x0112


def look(path: Path) -> Inspection:
    (found,) = inspect([str(path)])
    return found


def check(folder: Path, *names: str) -> list[Finding]:
    images = [{"id": i, "file_name": n, "width": SIZE[0], "height": SIZE[1]} for i, n in enumerate(names, start=1)]
    listed, problems = check_names(
        {"train": table_from({"images": images, "annotations": [], "categories": []}, Path("train_coco.json"))}
    )
    return [*problems, *check_images(listed, folder, silent)]


def twin_of(path: Path, name: str, change: int) -> None:
    """Write a file of the same length that differs in one byte from the end."""
    content = bytearray(path.read_bytes())
    content[-change] ^= 1
    path.with_name(name).write_bytes(content)


def test_an_image_has_header_length_and_a_digest_of_its_start(tmp_path: Path) -> None:
    path = make_image(tmp_path / "a.jpg", SIZE, orientation=6)
    found = look(path)
    assert found.header == Header(32, 48, 6) == read_header(path)
    assert (found.problem, found.length, len(found.start)) == ("", path.stat().st_size, 32)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif", ".ppm", ".jp2"])
def test_images_of_every_format_have_their_header(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Pillow.new("RGB", (64, 64), (9, 80, 200)).save(path)
    assert look(path).header == Header(64, 64)


def test_what_is_no_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    make_image(tmp_path / "a.jpg", SIZE)
    names = ["none.jpg", "folder.jpg", "lost.jpg", "loop.jpg", "a.jpg/b.jpg", "x" * 300, "nul\0.jpg"]
    assert [look(tmp_path / name) for name in names] == [Inspection()] * len(names)
    findings = check(tmp_path, *names[:5], "a.jpg")
    assert [(finding.code, finding.place.split(" ")[0]) for finding in findings] == [
        ("E121", f"images[{i}]") for i in range(5)
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_a_pipe_is_missing_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    assert look(tmp_path / "a.jpg") == Inspection()
    assert digests([str(tmp_path / "a.jpg")]) == [""]
    assert [finding.code for finding in check(tmp_path, "a.jpg")] == ["E121"]


def test_broken_images_are_one_finding_each(tmp_path: Path) -> None:
    make_image(tmp_path / "cut.png", SIZE)
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-20])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "bomb.png").write_bytes(png(60_000, 60_000))
    names = ["cut.png", "empty.jpg", "text.jpg", "bomb.png"]
    findings = check(tmp_path, *names)
    assert [finding.code for finding in findings] == ["E122"] * 4
    parts = ("truncated", "not a supported format", "not a supported format", "decompression bomb")
    for name, part, finding in zip(names, parts, findings, strict=True):
        assert f"file_name must be an image that can be read, got '{name}' (image cannot be read: " in finding.message
        assert part in finding.message


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_cannot_be_read(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", SIZE).chmod(0)
    (finding,) = check(tmp_path, "a.jpg")
    assert finding.code == "E122" and "Permission denied" in finding.message


def png(width: int, height: int, *after: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file with chunks after its pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    pixels = zlib.compress(b"\0" * (width + 1) * height) if width < 1000 else b""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", pixels),
        *after,
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_a_png_that_tells_its_orientation_after_its_pixels(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[ORIENTATION] = 6
    (tmp_path / "a.png").write_bytes(png(*SIZE, (b"eXIf", exif.tobytes()[6:])))
    assert look(tmp_path / "a.png").header == Header(32, 48, 6)


def test_the_pixels_of_a_png_are_not_decoded(tmp_path: Path) -> None:
    content = png(*SIZE)
    at = content.index(b"IDAT") + 4
    (tmp_path / "a.png").write_bytes(content[:at] + b"\xff\xff" + content[at + 2 :])
    assert look(tmp_path / "a.png").header == Header(*SIZE)


def test_twins_are_found_wherever_others_differ(tmp_path: Path) -> None:
    first = make_image(tmp_path / "a.jpg", SIZE)
    # Long enough that the beginning alone does not distinguish them.
    first.write_bytes(first.read_bytes() + b"x" * 50_000)
    (tmp_path / "same.jpg").write_bytes(first.read_bytes())
    twin_of(first, "end.jpg", change=1)
    twin_of(first, "middle.jpg", change=40_000)
    (tmp_path / "longer.jpg").write_bytes(first.read_bytes() + b"x")
    (finding,) = check(tmp_path, "a.jpg", "end.jpg", "middle.jpg", "longer.jpg", "same.jpg")
    assert (finding.code, finding.place) == ("W206", "images[4] (id 5, same.jpg)")
    assert finding.message == "content must be in one entry only (images[0] (id 1, a.jpg) has it), got 'same.jpg'"
    paths = [str(tmp_path / name) for name in ("a.jpg", "same.jpg", "end.jpg", "gone.jpg")]
    for look in (ends, digests):
        one, same, other, gone = look(paths)
        assert one == same != other and gone == ""
    assert are_alike([(paths[0], path) for path in paths]) == [True, True, False, False]


def test_many_images_are_looked_at_in_their_order_and_can_be_sent(tmp_path: Path) -> None:
    sizes = [(20 + i, 30) for i in range(40)]
    paths = [str(make_image(tmp_path / f"{i}.png", size)) for i, size in enumerate(sizes)]
    found = pickle.loads(pickle.dumps(inspect))(paths)
    assert [one.header.size for one in found] == sizes
    assert pickle.loads(pickle.dumps(found)) == found


def test_warnings_are_left_out_by_all_threads_and_come_back(tmp_path: Path) -> None:
    # Enough pixels for a warning of Pillow, not for an error.
    (tmp_path / "a.png").write_bytes(png(10_000, 10_000))
    before = list(warnings.filters)
    threads = [threading.Thread(target=inspect, args=([str(tmp_path / "a.png")] * 20,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    with without_warnings():
        assert read_header(tmp_path / "a.png").size == (10_000, 10_000)
    for thread in threads:
        thread.join()
    assert warnings.filters == before
