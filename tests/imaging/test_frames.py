"""Images, folders, globs and videos on the command line become frames."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.errors import InputError, MissingExtraError, RequestError
from posetools.imaging.frames import ahead, open_sources, read_image
from tests.build import make_image
from tests.imaging.test_video import make_video


def make_png(width: int, height: int) -> bytes:
    """Return a PNG with a larger size in its header than its few bytes can contain."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0")), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def names(*inputs: str) -> list[str]:
    """Return the names of all frames of the single source of the inputs."""
    (source,) = open_sources(inputs)
    frames = list(source.frames())
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert source.total == len(frames) and source.names == tuple(frame.name for frame in frames)
    assert all(frame.image is not None and frame.path is not None and not frame.problem for frame in frames)
    return [frame.name for frame in frames]


def folder_of_images(folder: Path) -> Path:
    for name in ("b.jpg", "a.png", "sub/c.JPG", "sub/deep er/ü.jpg", ".hidden.jpg", ".git/d.jpg"):
        make_image(folder / name, (32, 24))
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_a_folder_is_walked_in_sorted_order_without_dot_files(tmp_path: Path) -> None:
    folder_of_images(tmp_path / "in")
    assert names(str(tmp_path / "in")) == ["a.png", "b.jpg", "sub/c.JPG", "sub/deep er/ü.jpg"]


def test_globs_are_expanded_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of_images(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    assert names("in/*.jpg") == ["b.jpg"]
    assert names("in/*") == ["a.png", "b.jpg"]
    assert names("in/**/*.[jJ]*") == ["b.jpg", "sub/c.JPG", "sub/deep er/ü.jpg"]
    assert names(f"{tmp_path}/in/s*/*.JPG") == ["sub/c.JPG"]
    assert names("in/sub/../*.png") == ["a.png"]


def test_a_name_that_looks_like_a_glob_or_a_camera_is_a_file_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("car [1].jpg", "car 1.jpg", "0/x.jpg", "set[1]/y.jpg", "set1/z.jpg"):
        make_image(tmp_path / name, (32, 24))
    assert names("car [1].jpg") == ["car [1].jpg"]
    assert names("car [12].jpg") == ["car 1.jpg"]
    assert names("set[1]/*.jpg") == ["y.jpg"]
    assert names("0") == ["x.jpg"]


def test_images_of_one_name_get_distinct_names(tmp_path: Path) -> None:
    for folder in ("x/cars", "y/cars", "z"):
        make_image(tmp_path / folder / "a.jpg", (32, 24))
    make_image(tmp_path / "z/own.jpg", (32, 24))
    inputs = [str(tmp_path / "x/cars"), str(tmp_path / "y/cars/*.jpg"), str(tmp_path / "z/a.jpg"), str(tmp_path / "z")]
    assert names(*inputs) == ["cars/a.jpg", "cars-2/a.jpg", "z/a.jpg", "own.jpg"]


@pytest.mark.skipif(sys.platform == "win32", reason="makes links and pipes")
def test_what_is_named_twice_is_read_once(tmp_path: Path) -> None:
    make_image(tmp_path / "sub/a.jpg", (32, 24))
    (tmp_path / "link.jpg").symlink_to(tmp_path / "sub/a.jpg")
    make_video(tmp_path / "v.mp4", 2)
    video = str(tmp_path / "v.mp4")
    sources = open_sources([str(tmp_path / "sub/a.jpg"), video, str(tmp_path), video, str(tmp_path / "*.mp4")])
    assert [(source.kind, source.name, source.total) for source in sources] == [
        ("images", "images", 1),
        ("video", "v.mp4", 2),
    ]
    assert [source.paths for source in sources] == [(tmp_path / "sub/a.jpg",), (tmp_path / "v.mp4",)]


def test_sources_keep_the_order_they_were_named_in(tmp_path: Path) -> None:
    videos = [make_video(tmp_path / name / "v.mp4", 2) for name in ("one", "two")]
    make_image(tmp_path / "a.jpg")
    sources = open_sources([str(videos[0]), str(tmp_path / "a.jpg"), str(videos[1])])
    assert [source.name for source in sources] == ["one/v.mp4", "images", "two/v.mp4"]
    all_names = [frame.name for source in sources for frame in source.frames()]
    assert len(set(all_names)) == 5 and all_names[0] == "one/v.mp4.frames/000000.png"


@pytest.mark.parametrize(
    ("make", "text", "problem"),
    [
        (
            lambda _: None,
            "nowhere.jpg",
            "nowhere.jpg must be an existing image, folder, video or glob, or the number",
        ),
        (lambda p: (p / "empty").mkdir(), "empty", "empty must be a folder with images (.bmp, .jpeg"),
        (lambda _: None, "no*.jpg", "'no*.jpg' must be a glob that matches images or videos, but matches no file"),
        (lambda p: (p / "a.txt").touch(), "*.txt", "but matches 1 other files or folders"),
        (lambda p: (p / "a.txt").touch(), "a.txt", "a.txt must be an image or a video by its file extension, got"),
        (lambda p: (p / "v.mp4").write_bytes(b"x" * 999), "v.mp4", "v.mp4: cannot be opened\n  the file is damaged"),
        (lambda p: (p / "v.mov").touch(), "v.mov", "v.mov: cannot be opened"),
        (lambda _: None, "97", "camera 97: cannot be opened\n  fix: check that it is plugged in"),
        (lambda _: None, "9" * 30, "cannot be opened"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object], text: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make_image(tmp_path / "good.jpg")
    make(tmp_path)
    with pytest.raises(RequestError) as caught:
        open_sources(["good.jpg", text])
    assert problem in str(caught.value)


def test_no_input_at_all() -> None:
    with pytest.raises(RequestError, match="no input: pass images"):
        open_sources([])


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty.jpg": (lambda _: b"", "the file is empty"),
    "cut.jpg": (lambda data: data[:900], "the file is truncated"),
    "text.jpg": (lambda _: b"hello world" * 99, "not a supported format"),
    "cut.png": (lambda data: data[: len(data) // 2], "the file ends before the image does"),
    "gif.jpg": (lambda _: make_gif(), "cannot decode GIF images; convert it in place (keep a copy): python -c "),
    "wide.png": (lambda _: make_png(50_000, 50_000), "exceeds limit of 178956970 pixels"),
}


def make_gif() -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (16, 8)).save(buffer, "GIF")
    return buffer.getvalue()


def make_broken(folder: Path) -> None:
    for name, (spoil, _) in BROKEN.items():
        path = make_image(folder / name)
        path.write_bytes(spoil(path.read_bytes()))


@pytest.mark.skipif(sys.platform == "win32", reason="makes links and pipes")
def test_images_that_cannot_be_read_are_frames_with_a_problem(tmp_path: Path) -> None:
    make_broken(tmp_path)
    make_image(tmp_path / "good.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "pipe.jpg").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "pipe.jpg")
    (source,) = open_sources([str(tmp_path)])
    problems = {frame.name: frame.problem for frame in source.frames() if frame.image is None}
    assert set(problems) == {*BROKEN, "gone.jpg", "pipe.jpg"} and source.total == len(problems) + 1
    for name, problem in problems.items():
        assert problem.startswith(f"{tmp_path / name}: image") or name == "gone.jpg"
        assert BROKEN.get(name, (None, ""))[1] in problem and "\n" not in problem
    assert problems["gone.jpg"] == f"{tmp_path / 'gone.jpg'}: cannot be read: No such file or directory"


def test_the_terminal_stays_clean(tmp_path: Path) -> None:
    make_broken(tmp_path)
    video = make_video(tmp_path / "v.mp4")
    video.write_bytes(video.read_bytes()[:900])
    code = (
        "import sys\n"
        "from posetools.imaging.frames import open_sources\n"
        "from posetools.errors import RequestError\n"
        "frames = list(open_sources([sys.argv[1]])[0].frames())\n"
        "assert all(frame.image is None for frame in frames)\n"
        "try:\n    open_sources([sys.argv[1] + '/v.mp4'])\nexcept RequestError:\n    print(len(frames))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{len(BROKEN)}\n", "")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_images_are_what_opencv_reads(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = make_image(tmp_path / f"a{suffix}", (48, 32), orientation=orientation)
    image = read_image(path)
    assert image.shape == ((48, 32, 3) if orientation >= 5 else (32, 48, 3)) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, cv2.imread(str(path)))


def test_missing_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.jpg: cannot be read: No such file"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("raised", "expected", "problem"),
    [
        ("ModuleNotFoundError", MissingExtraError, "needs the 'runtime' extra (opencv-python is not installed)"),
        ("ImportError", RequestError, "opencv-python is installed but cannot be loaded: libGL.so.1"),
    ],
)
def test_without_opencv(tmp_path: Path, raised: str, expected: type[Exception], problem: str) -> None:
    make_image(tmp_path / "a.jpg")
    (tmp_path / "cv2.py").write_text(f"raise {raised}('libGL.so.1')")
    code = (
        "import sys\nfrom posetools import errors\nfrom posetools.imaging.frames import open_sources\n"
        f"try:\n    open_sources([sys.argv[1]])\nexcept errors.{expected.__name__} as exc:\n    print(exc)"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code, str(tmp_path / "a.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert problem in done.stdout


def test_closing_early_stops_the_decoding(tmp_path: Path) -> None:
    for number in range(30):
        make_image(tmp_path / f"{number:02}.jpg", (32, 24))
    before = threading.active_count()
    (source,) = open_sources([str(tmp_path)])
    frames = source.frames()
    assert next(frames).name == "00.jpg"
    frames.close()
    assert threading.active_count() == before


def test_ahead_gives_every_item_in_order_a_few_ahead() -> None:
    made: list[int] = []

    def count() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    taken = []
    for number in ahead(count(), 3):
        time.sleep(0.002)
        taken.append(number)
        assert len(made) <= number + 5
    assert taken == list(range(20))


def test_ahead_works_while_its_user_does() -> None:
    second = threading.Event()

    def two() -> Iterator[int]:
        yield 1
        second.set()
        yield 2

    items = ahead(two(), 1)
    assert next(items) == 1
    assert second.wait(5)
    assert list(items) == [2]


def test_ahead_gives_errors_at_their_place() -> None:
    def fail() -> Iterator[int]:
        yield from (1, 2)
        raise InputError("a.jpg", "", "is broken")

    taken = []
    with pytest.raises(InputError, match=r"a\.jpg: is broken"):
        for number in ahead(fail(), 5):
            taken.append(number)
    assert taken == [1, 2]


def test_closing_ahead_stops_its_thread_and_closes_the_source() -> None:
    closed = threading.Event()

    def forever() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    before = threading.active_count()
    items = ahead(forever(), 4)
    next(items)
    items.close()
    assert closed.is_set() and threading.active_count() == before


def test_a_broken_file_does_not_stop_ahead(tmp_path: Path) -> None:
    make_broken(tmp_path)
    make_image(tmp_path / "z.jpg")
    (source,) = open_sources([str(tmp_path)])
    read = [frame.name for frame in ahead(source.frames(), 2) if frame.image is not None]
    assert read == ["z.jpg"]
