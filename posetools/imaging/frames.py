"""Images given on the command line: files, folders, globs, videos, cameras; and their pixels.

Decisions:

- All image files of a run are one Source, in the given order, a folder or glob in sorted order. Each video and each
  camera is a Source of its own.
- A folder stands for the images in and below it, not for videos (name them, or use a glob). A glob stands for the
  images and videos it matches. Both skip names with a leading dot.
- A file, folder or glob may be at a URL (``s3://bucket/photos``); videos are local files.
- An existing file or folder takes precedence: ``[1].jpg`` is a glob, and ``0`` a camera, only if no file has that name.
- An image given twice is read once. Its name in outputs is its path below the folder or the fixed part of the glob;
  if two images have the same name, the folder's name is prefixed.
- Errors that are known in advance (a path that does not exist, a folder without images, a video that does not open)
  stop the run before it starts. Errors in the pixels give a Frame with a problem, and the run continues.
- Images are decoded by cv2.imdecode, as in mmcv: three channels of 8 bits, rotated by EXIF as in training.
"""

from __future__ import annotations

import glob
import io
import os
import sys
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np

from posetools.core.folder import refuse_zip
from posetools.errors import InputError, RequestError, must_be
from posetools.files.disk import read_bytes
from posetools.files.names import unique_names
from posetools.files.urls import as_path, fetched, glob_url, is_url, real
from posetools.files.walking import walk_files
from posetools.imaging.header import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from posetools.imaging.header import Pixels, header_of, is_image, refuse_bomb, without_warnings
from posetools.imaging.video import VIDEO_SUFFIXES as VIDEO_SUFFIXES
from posetools.imaging.video import Target, is_video, opencv, probe, read_video, title

SourceKind: TypeAlias = Literal["images", "video", "camera"]
Item = TypeVar("Item")

# Decoding releases the GIL, so threads help; each holds an image, so only a few.
_DECODERS = min(4, os.cpu_count() or 1)

# A video may end this many frames, or this share of them, before the number in its header, which is an estimate in many
# formats.
_FEW_FRAMES = 5
_FEW_SHARE = 0.01

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image of a source.

    Attributes:
        name: a relative path with forward slashes for outputs, unique in a run.
        image: (H, W, 3) blue, green, red, upright; None if it cannot be read.
        path: the image file; None for a frame of a video or camera.
        index: 0-based position in its source.
        problem: why there is no image: one sentence that names the file; empty if there is one.
    """

    name: str
    image: Pixels | None = field(repr=False)
    path: Path | None
    index: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A sequence of images.

    Attributes:
        kind: images, video or camera.
        name: unique in a run: a video's file name, ``camera-0``, or ``images``.
        total: number of frames; None if unknown (a camera). May be an estimate for a video.
        fps: frames per second; None for images, and if a video or camera does not report it.
    """

    kind: SourceKind
    name: str
    total: int | None
    fps: float | None
    _files: Sequence[tuple[Path, str]] = field(default=(), repr=False)
    _target: Target = field(default=0, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the frames of a source of images; empty for a video or camera."""
        return tuple(name for _, name in self._files)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The image files in their order, or the video file; empty for a camera."""
        if self.kind == "images":
            return tuple(path for path, _ in self._files)
        return (self._target,) if isinstance(self._target, Path) else ()

    def frames(self) -> Generator[Frame, None, None]:
        """Yield all frames; images are decoded by several threads, a few ahead.

        A video that ends long before its header says, and a camera that stops, yield a last Frame with a problem.
        """
        return self._images() if self.kind == "images" else self._moving()

    def _images(self) -> Generator[Frame, None, None]:
        opencv()
        work = ((path, name, index) for index, (path, name) in enumerate(self._files))
        waiting: deque[Future[Frame]] = deque()
        with ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode") as pool:
            try:
                for one in work:
                    waiting.append(pool.submit(_read_frame, *one))
                    if len(waiting) > _DECODERS:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _moving(self) -> Generator[Frame, None, None]:
        index = 0
        for index, image in enumerate(read_video(self._target), start=1):
            yield Frame(self._frame_name(index - 1), image, None, index - 1)
        if self.total is None:
            # A file without a frame count may end anywhere; a camera should not end.
            problem = "delivers no more images" if self.kind == "camera" else ""
        elif self.total - index > max(_FEW_FRAMES, _FEW_SHARE * self.total):
            problem = f"ends after {index} of the {self.total} frames in its header: the rest is damaged"
        else:
            problem = ""
        if problem:
            yield Frame(self._frame_name(index), None, None, index, f"{title(self._target)}: {problem}")

    def _frame_name(self, index: int) -> str:
        return f"{self.name}.frames/{index:06d}.png"


class _NamedFile(NamedTuple):
    """A file, the folder name that is prefixed if its own name is not unique, and its name."""

    path: Path
    origin: str
    name: str


def open_sources(inputs: Sequence[str]) -> list[Source]:
    """Return the sources given on the command line, in order; all image files are one source.

    Args:
        inputs: files, folders, globs (``photos/*.jpg``, ``**/*.png``), numbers of cameras.

    Raises:
        RequestError: an input is none of these, or contains no image, or a video or camera does not open.
        MissingExtraError: OpenCV is not installed.
    """
    if not inputs:
        raise RequestError("no input: pass images, folders, globs, videos or a camera's number")
    opencv()
    files: dict[str, _NamedFile] = {}
    order: list[Target | None] = []
    for text in inputs:
        if text.isascii() and text.isdigit() and not Path(text).exists():
            camera = int(text)
            order += [camera] if camera not in order else []
            continue
        for found in _find(text):
            file = real(found.path)
            if file not in files:
                files[file] = found
                # None represents all images, at the place of the first.
                target = found.path if is_video(found.path) else None
                order += [target] if target is not None or None not in order else []
    names = dict(zip(files, unique_names([(found.origin, found.name) for found in files.values()]), strict=True))
    named = {found.path: names[file] for file, found in files.items()}
    images = [(found.path, named[found.path]) for found in files.values() if not is_video(found.path)]
    return [_source(target, images, named) for target in order]


def _source(target: Target | None, images: Sequence[tuple[Path, str]], named: dict[Path, str]) -> Source:
    if target is None:
        return Source("images", "images", len(images), None, _files=tuple(images))
    facts = probe(target)
    if isinstance(target, int):
        return Source("camera", f"camera-{target}", facts.total, facts.fps, _target=target)
    return Source("video", named[target], facts.total, facts.fps, _target=target)


def _find(text: str) -> list[_NamedFile]:
    """Return the files of one argument, at least one."""
    path = as_path(text)
    if path.is_dir():
        found = [file for file in walk_files(path) if is_image(file)]
        if not found:
            rule = f"a folder with images ({', '.join(sorted(IMAGE_SUFFIXES))})"
            hint = "pass videos in a folder as a glob: 'folder/*.mp4'"
            raise RequestError(must_be(text, rule, "none in it"), hint=hint)
        return [_below(path, file) for file in found]
    # A broken link is reported when it is read, like other unreadable files.
    refuse_zip(path, images=True)
    if path.is_file() or (path.is_symlink() and is_image(path)):
        if not is_image(path) and not is_video(path):
            known = ", ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
            problem = must_be(text, "an image or a video by its file extension", path.suffix)
            raise RequestError(problem, f"known extensions: {known}")
        if is_url(path) and is_video(path):
            raise RequestError(f"{text}: a video must be a local file", hint="copy it here and give the file")
        return [_below(path.parent, path)]
    if glob.has_magic(text):
        # file:// is a local path.
        return _expand(str(path) if "://" in text else text)
    rule = "an existing image, folder, video or glob, or the number of a camera"
    raise RequestError(must_be(text, rule, "nothing there"))


def _expand(pattern: str) -> list[_NamedFile]:
    if is_url(pattern):
        base, paths = glob_url(pattern)
    else:
        base, rest = _fixed_part(pattern)
        # Unlike Path.glob this skips names with a leading dot, as a shell does.
        paths = [base / match for match in sorted(glob.glob(str(rest), root_dir=base, recursive=True))]  # noqa: PTH207
    kinds = (is_image,) if is_url(pattern) else (is_image, is_video)
    found = [path for path in paths if any(kind(path) for kind in kinds) and (is_url(path) or not path.is_dir())]
    if not found:
        got = f"{len(paths)} other files or folders" if paths else "no file"
        raise RequestError(f"{pattern!r} must be a glob that matches images or videos, but matches {got}")
    return [_below(base, path) for path in found]


def _fixed_part(pattern: str) -> tuple[Path, Path]:
    """Return the existing folder that a glob starts with, and the rest."""
    base, parts = Path(), list(Path(pattern).parts)
    while len(parts) > 1 and (base / parts[0]).is_dir():
        base /= parts.pop(0)
    return base, Path(*parts)


def _below(folder: Path, file: Path) -> _NamedFile:
    return _NamedFile(file, folder.resolve().name or "root", file.relative_to(folder).as_posix())


def images_in(folder: Path) -> list[Path]:
    """Return the images in and below a folder, sorted.

    Raises:
        RequestError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        refuse_zip(folder, images=True)
        raise RequestError(must_be(str(folder), "an existing folder with images", "nothing there"))
    found = [path for path in walk_files(folder) if is_image(path)]
    if not found:
        raise RequestError(must_be(str(folder), "a folder with images", "none in it"))
    return found


def has_screen() -> bool:
    """Return whether this session can show windows."""
    return not sys.platform.startswith("linux") or bool(os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"})


def _read_frame(path: Path, name: str, index: int) -> Frame:
    try:
        with fetched([str(path)]):
            return Frame(name, read_image(path), path, index)
    except InputError as exc:
        return Frame(name, None, path, index, exc.in_one_line)


def read_image(path: Path) -> Pixels:
    """Return an image as (H, W, 3) blue, green, red, upright by EXIF.

    Raises:
        InputError: it is missing, damaged, not an image, or too large to decode.
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = opencv()
    if path.exists() and not path.is_file():
        raise InputError(path, "", must_be("image", "a file", "a folder or device"))
    data = read_bytes(path)
    if not data:
        raise InputError(path, "", "image cannot be read: the file is empty")
    # libpng would print its own message on a truncated file; every complete file ends with this chunk.
    if data.startswith(_PNG) and b"IEND" not in data:
        raise InputError(path, "", "image cannot be read: the file ends before the image does")
    refuse_bomb(path, data)
    try:
        image: Pixels | None = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as exc:
        reason = exc.err or str(exc)
        if "CV_IO_MAX_IMAGE" in reason:
            reason = f"it is larger than OpenCV decodes ({reason})"
        raise InputError(path, "", f"image cannot be read: {reason}") from exc
    if image is None:
        with without_warnings():
            # Pillow's message says more.
            header_of(path, io.BytesIO(data))
        raise InputError(path, "", "image cannot be read: the file is damaged or not an image that OpenCV can decode")
    return image


def ahead(items: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    """Yield the items, fetched by a separate thread up to ``depth`` ahead of the consumer.

    An exception of the iterable is raised at its place. If the iteration is closed early, the thread ends and the
    iterable is closed after at most one more item.

    Args:
        items: the items.
        depth: most waiting items, 1 or more.
    """
    end = object()
    iterator = iter(items)
    waiting: deque[Future[Item | object]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        waiting.extend(pool.submit(next, iterator, end) for _ in range(max(depth, 1)))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, iterator, end))
            yield cast(Item, item)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
