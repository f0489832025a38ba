"""Read videos and cameras with OpenCV, and write videos.

This is the only place outside posetools.mm and posetools.runtime that imports OpenCV (``opencv()``). OpenCV and FFmpeg
print errors to stderr, which would break the progress display; both are silenced, and errors are reported here in one
sentence. OPENCV_LOG_LEVEL and OPENCV_FFMPEG_LOGLEVEL are respected if set.

Video frames are upright: OpenCV is told to apply the rotation that phones store, which is not always its default.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from posetools.errors import MissingExtraError, OutputError, RequestError, must_be
from posetools.files.disk import replaced
from posetools.imaging.header import Pixels

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts", ".3gp"}
)

# Codec of a written video, by file extension.
_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}

# The largest camera number that OpenCV accepts.
_LAST_CAMERA = 2**31 - 1

# A frame count in a header above this is invalid: ten years at 60 frames per second.
_MOST_FRAMES = 60 * 60 * 60 * 24 * 3650

# The path of a video file, or the number of a camera.
Target: TypeAlias = Path | int


class VideoFacts(NamedTuple):
    """Properties that a video or camera reports.

    Attributes:
        total: number of frames, None if unknown; often an estimate.
        fps: frames per second, None if unknown.
    """

    total: int | None
    fps: float | None


def opencv() -> Any:
    """Return the module cv2, silenced.

    Raises:
        MissingExtraError: it is not installed.
        RequestError: it is installed but cannot be loaded.
    """
    try:
        return _opencv()
    except ModuleNotFoundError as exc:
        raise MissingExtraError("reading images and videos", "runtime", "opencv-python") from exc
    except ImportError as exc:
        raise RequestError(
            f"opencv-python is installed but cannot be loaded: {exc}",
            hint="install the system library it names, or opencv-python-headless instead",
        ) from exc


@cache
def _opencv() -> Any:
    # FFmpeg's level (-8 is quiet) is read once, when the first video is opened.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    import cv2

    if "OPENCV_LOG_LEVEL" not in os.environ:
        # OpenCV 5 has it in another place.
        module: Any = cv2
        set_level = getattr(module, "setLogLevel", None) or module.utils.logging.setLogLevel
        set_level(0)
    return cv2


def is_video(path: Path) -> bool:
    """Return whether the file extension is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def title(target: Target) -> str:
    """Return what messages call a video file or camera."""
    return f"camera {target}" if isinstance(target, int) else str(target)


def probe(target: Target) -> VideoFacts:
    """Return the properties of a video or camera, after reading its first image.

    Raises:
        RequestError: it cannot be opened, or delivers no image.
    """
    with _opened(target) as capture:
        facts = _facts(capture) if isinstance(target, Path) else VideoFacts(None, _facts(capture).fps)
        if not capture.read()[0]:
            raise _refused(target, "was opened, but delivers no image")
    return facts


def read_video(target: Target) -> Iterator[Pixels]:
    """Yield the images of a video until it ends or breaks, or those of a camera.

    Raises:
        RequestError: it cannot be opened.
    """
    with _opened(target) as capture:
        while True:
            there, image = capture.read()
            if not there:
                return
            yield image


def frames_at(path: Path, wanted: Collection[int]) -> Iterator[tuple[int, Pixels]]:
    """Yield some frames of a video with their indices, in order, until it ends; without seeking.

    Raises:
        RequestError: it cannot be opened.
    """
    with _opened(path) as capture:
        for index in range(max(wanted, default=-1) + 1):
            if not capture.grab():
                return
            if index in wanted:
                there, image = capture.retrieve()
                if not there:
                    return
                yield index, image


@contextmanager
def _opened(target: Target) -> Iterator[Any]:
    cv2 = opencv()
    capture = None
    if isinstance(target, Path) or target <= _LAST_CAMERA:
        with suppress(cv2.error):
            capture = cv2.VideoCapture(target if isinstance(target, int) else os.fspath(target))
    if capture is None or not capture.isOpened():
        raise _refused(target, "cannot be opened")
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    try:
        yield capture
    finally:
        capture.release()


def _refused(target: Target, problem: str) -> RequestError:
    sentence = f"{title(target)}: {problem}"
    if isinstance(target, int):
        return RequestError(sentence, hint="check that it is plugged in, and not in use by another program")
    return RequestError(sentence, "the file is damaged, or in a format that this build of OpenCV cannot decode")


def _facts(capture: Any) -> VideoFacts:
    cv2 = opencv()
    total, fps = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    return VideoFacts(
        total=int(total) if math.isfinite(total) and 0 < total <= _MOST_FRAMES else None,
        fps=float(fps) if math.isfinite(fps) and fps > 0 else None,
    )


@contextmanager
def new_video(path: Path, fps: float, size: tuple[int, int]) -> Iterator[VideoWriter]:
    """Open a video for writing: MPEG-4 (part 2) into .mp4, Motion JPEG into .avi.

    On success it replaces ``path``; on any failure ``path`` is unchanged.

    Args:
        path: the file; it ends with .mp4 or .avi.
        fps: frames per second.
        size: (width, height) of the images in pixels.

    Raises:
        RequestError: the file extension is another one, or fps is not a positive number.
        OutputError: it cannot be written, or no image was written.
    """
    if path.suffix.lower() not in _CODECS:
        raise RequestError(must_be(str(path), f"a name that ends in {' or '.join(_CODECS)}", path.suffix))
    if not (math.isfinite(fps) and fps > 0):
        raise RequestError(must_be(f"{path}: fps", "a positive number", fps))
    with replaced(path) as new:
        writer = VideoWriter(path, new, fps, size)
        try:
            yield writer
        finally:
            writer.file.release()
        _check_frames(path, new, writer.frames)


class VideoWriter:
    """A video being written by ``new_video``.

    The codecs support even sides only: the last column or row of an image with an odd side is written twice.

    Attributes:
        frames: number of images written.
        file: OpenCV's own writer.
    """

    def __init__(self, path: Path, new: Path, fps: float, size: tuple[int, int]) -> None:
        cv2 = opencv()
        self.frames = 0
        self._path, self._size = path, size
        width, height = size
        even = width + width % 2, height + height % 2
        code = cv2.VideoWriter_fourcc(*_CODECS[path.suffix.lower()])
        self.file = cv2.VideoWriter(str(new), code, fps, even)
        if not self.file.isOpened():
            reason = f"OpenCV cannot create a video of {width}x{height} at {fps:g} frames per second there"
            raise OutputError(f"{path}: cannot be written: {reason}")

    def write(self, image: Pixels) -> None:
        """Append an image: (H, W, 3) blue, green, red, of the declared size.

        Raises:
            OutputError: it has another size; OpenCV would drop it silently.
        """
        height, width = image.shape[:2]
        if (width, height) != self._size:
            rule = f"(width, height) {self._size} as the first"
            raise OutputError(f"{self._path}: {must_be(f'image {self.frames}', rule, (width, height))}")
        if width % 2 or height % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        self.file.write(image)
        self.frames += 1


def _check_frames(path: Path, new: Path, frames: int) -> None:
    """Refuse a file with missing frames: OpenCV does not report a full disk."""
    if not frames:
        raise OutputError(f"{path}: not written: there is no image for it")
    try:
        total = probe(new).total
    except RequestError:
        total = 0
    if total != frames:
        problem = f"{frames} images were written, but {total or 0} are in the file; check for a full disk"
        raise OutputError(f"{path}: cannot be written: {problem}")
