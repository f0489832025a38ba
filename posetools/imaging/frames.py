"""What a user names on the command line as pictures: files, folders, globs, videos, cameras; and their pixels.

Decisions:

- All picture files of a run are one Source, in the order they were named in, a folder or glob in sorted order. Each
  video and each camera is a Source of its own.
- A folder gives the pictures in it and below it; videos in it are not looked for (name them, or give a glob). A glob
  gives the pictures and videos among the files that it matches. Names with a leading dot are left out of both.
- An existing file or folder is taken for what it is, whatever its name looks like: ``[1].jpg`` is a glob only, and
  ``0`` a camera only, when nothing of that name is there.
- A picture that was named twice is read once. Its name in outputs is its path below the folder or the fixed part of
  the glob that it was found in; where two pictures want the same, the folder's name is put before it.
- What is certainly wrong (a name that leads nowhere, a folder without pictures, a video that does not open) ends the
  run before it begins. What only its pixels tell is a Frame with a problem, and the run goes on.
- Images are read as cv2.imdecode reads them, hence mmcv: three channels of 8 bits, turned by EXIF as in training.
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
from posetools.files.walking import walk_files
from posetools.imaging.header import PICTURE_SUFFIXES as PICTURE_SUFFIXES
from posetools.imaging.header import Picture, header_of, is_picture, refuse_bomb, without_warnings
from posetools.imaging.video import VIDEO_SUFFIXES as VIDEO_SUFFIXES
from posetools.imaging.video import Target, is_video, opencv, probe, read_video, title

SourceKind: TypeAlias = Literal["pictures", "video", "camera"]
Item = TypeVar("Item")

# Decoding leaves Python's lock, so threads help; each holds a picture, so not many.
_DECODERS = min(4, os.cpu_count() or 1)

# A video may end this many frames, or this share of them, before the number that its header gives: that number is an
# estimate in many formats.
_FEW_FRAMES = 5
_FEW_SHARE = 0.01

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        name: a relative path with forward slashes for what is written about it, unique in a run.
        picture: (H, W, 3) blue, green, red, upright; None when it cannot be read.
        path: the picture file; None for a frame of a video or camera.
        index: 0-based position in its source.
        problem: why there is no picture: one sentence that names the file; empty when there is one.
    """

    name: str
    picture: Picture | None = field(repr=False)
    path: Path | None
    index: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Pictures to go through in order.

    Attributes:
        kind: what it is.
        name: unique in a run: a video's file name, ``camera-0``, or ``pictures``.
        total: how many frames; None when that is not known (a camera). A video's may be an estimate.
        fps: frames per second; None for pictures, and where a video or camera does not say.
    """

    kind: SourceKind
    name: str
    total: int | None
    fps: float | None
    _files: Sequence[tuple[Path, str]] = field(default=(), repr=False)
    _target: Target = field(default=0, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the frames of a source of pictures; empty for a video or camera."""
        return tuple(name for _, name in self._files)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are read: the pictures' in their order, or the video's; empty for a camera."""
        if self.kind == "pictures":
            return tuple(path for path, _ in self._files)
        return (self._target,) if isinstance(self._target, Path) else ()

    def frames(self) -> Generator[Frame, None, None]:
        """Yield the frames from the first on; pictures are decoded by several threads, a few ahead.

        A video that ends long before its header says, and a camera that ends at all, give a last Frame with a problem.
        """
        return self._pictures() if self.kind == "pictures" else self._moving()

    def _pictures(self) -> Generator[Frame, None, None]:
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
        for index, picture in enumerate(read_video(self._target), start=1):
            yield Frame(self._frame_name(index - 1), picture, None, index - 1)
        if self.total is None:
            # Files that do not say how many frames they have end where they end; a camera has no end of its own.
            problem = "gives no more pictures" if self.kind == "camera" else ""
        elif self.total - index > max(_FEW_FRAMES, _FEW_SHARE * self.total):
            problem = f"ends after {index} of the {self.total} frames that its header promises: the rest is damaged"
        else:
            problem = ""
        if problem:
            yield Frame(self._frame_name(index), None, None, index, f"{title(self._target)}: {problem}")

    def _frame_name(self, index: int) -> str:
        return f"{self.name}.frames/{index:06d}.png"


class _NamedFile(NamedTuple):
    """A file, the name of the folder that is put before its own name where others have that too, and its name."""

    path: Path
    origin: str
    name: str


def open_sources(inputs: Sequence[str]) -> list[Source]:
    """Return what was named on the command line, in that order; all picture files are one source.

    Args:
        inputs: files, folders, globs (``photos/*.jpg``, ``**/*.png``), numbers of cameras.

    Raises:
        RequestError: one of them is nothing of that, or holds no picture, or a video or camera does not open.
        MissingExtraError: OpenCV is not installed.
    """
    if not inputs:
        raise RequestError("nothing to look at: name pictures, folders, globs, videos or a camera's number")
    opencv()
    files: dict[str, _NamedFile] = {}
    order: list[Target | None] = []
    for text in inputs:
        if text.isascii() and text.isdigit() and not Path(text).exists():
            camera = int(text)
            order += [camera] if camera not in order else []
            continue
        for found in _find(text):
            real = os.path.realpath(found.path)
            if real not in files:
                files[real] = found
                # None stands for all pictures, at the place of the first.
                target = found.path if is_video(found.path) else None
                order += [target] if target is not None or None not in order else []
    names = dict(zip(files, unique_names([(found.origin, found.name) for found in files.values()]), strict=True))
    named = {found.path: names[real] for real, found in files.items()}
    pictures = [(found.path, named[found.path]) for found in files.values() if not is_video(found.path)]
    return [_source(target, pictures, named) for target in order]


def _source(target: Target | None, pictures: Sequence[tuple[Path, str]], named: dict[Path, str]) -> Source:
    if target is None:
        return Source("pictures", "pictures", len(pictures), None, _files=tuple(pictures))
    facts = probe(target)
    if isinstance(target, int):
        return Source("camera", f"camera-{target}", facts.total, facts.fps, _target=target)
    return Source("video", named[target], facts.total, facts.fps, _target=target)


def _find(text: str) -> list[_NamedFile]:
    """Return the files that one argument stands for, at least one."""
    path = Path(text)
    if path.is_dir():
        found = [file for file in walk_files(path) if is_picture(file)]
        if not found:
            rule = f"a folder with pictures ({', '.join(sorted(PICTURE_SUFFIXES))})"
            hint = "videos in a folder are found by a glob: 'folder/*.mp4'"
            raise RequestError(f"{must_be(text, rule, 'none in it')}\n  {hint}")
        return [_below(path, file) for file in found]
    # A link that leads nowhere is a file that cannot be read, like others that only reading can tell.
    refuse_zip(path, pictures=True)
    if path.is_file() or (path.is_symlink() and is_picture(path)):
        if not is_picture(path) and not is_video(path):
            known = ", ".join(sorted(PICTURE_SUFFIXES | VIDEO_SUFFIXES))
            problem = must_be(text, "a picture or a video by the ending of its name", path.suffix)
            raise RequestError(f"{problem}\n  known endings: {known}")
        return [_below(path.parent, path)]
    if glob.has_magic(text):
        return _expand(text)
    rule = "an existing picture, folder, video or glob, or the number of a camera"
    raise RequestError(must_be(text, rule, "nothing there"))


def _expand(pattern: str) -> list[_NamedFile]:
    base, rest = _fixed_part(pattern)
    # Unlike Path.glob this leaves names with a leading dot out, as a shell does.
    matched = sorted(glob.glob(str(rest), root_dir=base, recursive=True))  # noqa: PTH207
    paths = [base / match for match in matched]
    found = [path for path in paths if (is_picture(path) or is_video(path)) and not path.is_dir()]
    if not found:
        got = f"{len(matched)} other files or folders" if matched else "no file"
        raise RequestError(f"{pattern!r} must be a glob that matches pictures or videos, but matches {got}")
    return [_below(base, path) for path in found]


def _fixed_part(pattern: str) -> tuple[Path, Path]:
    """Return the folder that a glob begins with, as far as there is one of that very name, and the rest."""
    base, parts = Path(), list(Path(pattern).parts)
    while len(parts) > 1 and (base / parts[0]).is_dir():
        base /= parts.pop(0)
    return base, Path(*parts)


def _below(folder: Path, file: Path) -> _NamedFile:
    return _NamedFile(file, folder.resolve().name or "root", file.relative_to(folder).as_posix())


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures in and below a folder, sorted.

    Raises:
        RequestError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        refuse_zip(folder, pictures=True)
        raise RequestError(must_be(str(folder), "an existing folder with pictures", "nothing there"))
    found = [path for path in walk_files(folder) if is_picture(path)]
    if not found:
        raise RequestError(must_be(str(folder), "a folder with pictures", "none in it"))
    return found


def has_screen() -> bool:
    """Return whether this session can show windows."""
    return not sys.platform.startswith("linux") or bool(os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"})


def _read_frame(path: Path, name: str, index: int) -> Frame:
    try:
        return Frame(name, read_picture(path), path, index)
    except InputError as exc:
        return Frame(name, None, path, index, "; ".join(exc.lines))


def read_picture(path: Path) -> Picture:
    """Return a picture as (H, W, 3) blue, green, red, upright by EXIF.

    Raises:
        InputError: it is missing, damaged, no picture, or too large to be decoded.
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = opencv()
    if path.exists() and not path.is_file():
        raise InputError(path, "", must_be("picture", "a file", "a folder or device"))
    data = read_bytes(path)
    if not data:
        raise InputError(path, "", "picture cannot be read: the file is empty")
    # libpng would print a line of its own about a file that ends too early; every whole one has this chunk at its end.
    if data.startswith(_PNG) and b"IEND" not in data:
        raise InputError(path, "", "picture cannot be read: the file ends before the picture does")
    refuse_bomb(path, data)
    try:
        picture: Picture | None = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as exc:
        reason = exc.err or str(exc)
        if "CV_IO_MAX_IMAGE" in reason:
            reason = f"it is larger than OpenCV decodes ({reason})"
        raise InputError(path, "", f"picture cannot be read: {reason}") from exc
    if picture is None:
        with without_warnings():
            # What Pillow says of it is more.
            header_of(path, io.BytesIO(data))
        raise InputError(path, "", "picture cannot be read: the file is damaged or no picture that OpenCV decodes")
    return picture


def ahead(items: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    """Yield the items, which a thread of its own fetches up to ``depth`` ahead of who takes them.

    What the iterable raises comes at its place. When the iteration is closed early, the thread ends and the iterable
    is closed after at most one more item.

    Args:
        items: what is gone through.
        depth: how many items wait at most, 1 or more.
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
