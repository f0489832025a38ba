"""Reading and writing videos; OpenCV itself writes and reads the test files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from posetools.errors import OutputError, RequestError
from posetools.imaging.frames import open_sources
from posetools.imaging.header import Pixels
from posetools.imaging.video import new_video, probe, read_video

SIZE = (64, 48)


def gray(level: int, size: tuple[int, int] = SIZE) -> Pixels:
    return np.full((size[1], size[0], 3), level, dtype=np.uint8)


def make_video(path: Path, frames: int = 30, *, fps: float = 12.5, size: tuple[int, int] = SIZE) -> Path:
    """Write a video whose images get brighter by 8 each."""
    with new_video(path, fps, size) as writer:
        for number in range(frames):
            writer.write(gray(8 * number % 256, size))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_video_comes_back_with_its_rate_and_its_number_of_frames(tmp_path: Path, suffix: str) -> None:
    path = make_video(tmp_path / "out" / f"v{suffix}", 30, fps=29.97)
    (source,) = open_sources([str(path)])
    assert (source.kind, source.name, source.total, source.fps) == ("video", path.name, 30, 29.97)
    frames = list(source.frames())
    assert [frame.index for frame in frames] == list(range(30)) and frames[3].path is None
    for number, frame in enumerate(frames):
        assert frame.image is not None and frame.image.shape == (48, 64, 3) and not frame.problem
        assert abs(float(frame.image.mean()) - 8 * number % 256) < 4
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
@pytest.mark.parametrize("size", [(63, 47), (1, 1)])
def test_odd_sides_are_written_one_pixel_larger(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    path = make_video(tmp_path / f"v{suffix}", 3, size=size)
    assert [image.shape for image in read_video(path)] == [(size[1] + 1, size[0] + 1, 3)] * 3


def box_at(data: bytes | bytearray, kind: bytes) -> tuple[int, int]:
    """Return where the content of an MP4 box begins and ends."""
    at = data.index(kind)
    return at + 4, at - 4 + struct.unpack(">I", data[at - 4 : at])[0]


def test_a_video_is_upright(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", 3)
    data = bytearray(path.read_bytes())
    begin, _ = box_at(data, b"tkhd")
    turned = (0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    data[begin + 40 : begin + 76] = struct.pack(">9i", *turned)
    path.write_bytes(data)
    assert {image.shape for image in read_video(path)} == {(64, 48, 3)}


def test_a_video_that_breaks_off_says_so(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", 200)
    data = bytearray(path.read_bytes())
    begin, end = box_at(data, b"mdat")
    middle = (begin + end) // 2
    data[middle:end] = bytes(end - middle)
    path.write_bytes(data)
    (source,) = open_sources([str(path)])
    *good, last = source.frames()
    assert 5 < len(good) < 190 and all(frame.image is not None for frame in good)
    assert last.image is None and last.index == len(good)
    assert last.problem.startswith(f"{path}: ends after {len(good)} of the 200 frames in its header")


def test_a_video_that_fails_while_it_is_written_leaves_what_was_there(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", 4)
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), new_video(path, 25, SIZE) as writer:
        writer.write(gray(9))
        raise KeyboardInterrupt
    rule = r"image 1 must be \(width, height\) \(64, 48\) as the first, got \(48, 64\)"
    with pytest.raises(OutputError, match=rule), new_video(path, 25, SIZE) as writer:
        writer.write(gray(9))
        writer.write(gray(9, (48, 64)))
    with pytest.raises(OutputError, match="there is no image for it"), new_video(path, 25, SIZE):
        pass
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_video_that_is_not_what_was_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with (
        pytest.raises(OutputError, match="2 images were written, but 0 are in the file"),
        new_video(path, 25, SIZE) as w,
    ):
        w.write(gray(1))
        w.write(gray(2))
        # What a full disk leaves: no index at the end of the file.
        w.file.release()
        [new] = tmp_path.iterdir()
        new.write_bytes(new.read_bytes()[:500])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "fps", "error", "problem"),
    [
        ("v.gif", 25, RequestError, "v.gif must be a name that ends in .mp4 or .avi, got '.gif'"),
        ("v.mp4", 0, RequestError, "fps must be a positive number, got 0"),
        ("v.mp4", float("nan"), RequestError, "fps must be a positive number, got nan"),
        ("file/v.mp4", 25, OutputError, "file/v.mp4: cannot be written: "),
    ],
)
def test_videos_that_cannot_be_written(
    tmp_path: Path, name: str, fps: float, error: type[Exception], problem: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(error) as caught, new_video(tmp_path / name, fps, SIZE):
        pass
    assert problem in str(caught.value)


def test_an_image_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"")
    with pytest.raises(RequestError, match=r"v\.mp4: cannot be opened"):
        probe(path)
