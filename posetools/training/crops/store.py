"""Storage of cached crops: on disk, one file per image, or in memory.

Pixels are stored decoded, without compression: the network must get the same input, and unpacking a lossless format
takes as long as decoding the photo. A file holds the crops of one image and is read through a memory map, so only what
a window covers is read. Its name is a hash of everything its content depends on: the bytes of the image, the
rectangles, the versions of OpenCV and of this format. So a file is never stale, other settings get other files, and
several processes may fill one folder at once.

Hashing an image means reading it; ``pictures.json`` stores the hashes. An entry is used only if size, inode and both
times of the file are unchanged.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from posetools.core.geometry import Ints
from posetools.errors import InputError, OutputError, RequestError
from posetools.files.disk import existing_folder, read_json, write_files, write_json
from posetools.imaging.header import content_hash
from posetools.progress import Progress
from posetools.recipes.machine import count_cores
from posetools.training.memory import available_memory

CROPS_FORMAT = 1
KNOWN = "pictures.json"
_CHANNELS = 3
# Seconds: a file changed more recently may change again within one tick of its clock.
_SETTLED = 2.0
# Seconds after which an unfinished file is taken to be abandoned.
_ABANDONED_FILE = 3600.0

_BYTE_UNITS = ("bytes", "kB", "MB", "GB", "TB")

CropPixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CachedCrop:
    """A part of an image.

    Attributes:
        pixels: (H, W, 3), read-only.
        origin: (x, y) of its first pixel in the image.
        size: (width, height) of the image.
    """

    pixels: CropPixels
    origin: tuple[int, int]
    size: tuple[int, int]


class Layout:
    """How the crops of one image are laid out in memory.

    Attributes:
        size: (width, height) of the image.
        rects: (M, 4) x1 y1 x2 y2, the last two exclusive, each once.
        offsets: (M + 1,) where each begins, in bytes; the last is the total length.
        rows: index of an object's crop, by its box as bytes.
    """

    __slots__ = ("offsets", "rects", "rows", "size")

    def __init__(self, size: tuple[int, int], boxes: Sequence[bytes], rects: Ints) -> None:
        """Lay out the crops ``rects`` (N, 4) of the objects whose boxes are, as bytes, ``boxes`` (N)."""
        self.size = size
        self.rects, rows = np.unique(rects, axis=0, return_inverse=True)
        areas = np.prod(self.rects[:, 2:] - self.rects[:, :2], axis=1)
        self.offsets = np.concatenate([[0], np.cumsum(areas * _CHANNELS)])
        self.rows = dict(zip(boxes, rows.ravel().tolist(), strict=True))

    @property
    def objects(self) -> int:
        """Number of objects."""
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """Total length."""
        return int(self.offsets[-1])

    def cut(self, image: str, pixels: CropPixels, out: CropPixels) -> None:
        """Write the crops of an image (H, W, 3) into ``out`` (nbytes,).

        Raises:
            InputError: the decoded size differs from the header's.
        """
        width, height = self.size
        if pixels.shape != (height, width, _CHANNELS) or pixels.dtype != np.uint8:
            problem = f"must be decoded to {width} x {height} pixels of 8 bits, as its header says, got {pixels.shape}"
            raise InputError(image, "", problem)
        for row, (x1, y1, x2, y2) in enumerate(self.rects.tolist()):
            out[self.offsets[row] : self.offsets[row + 1]] = pixels[y1:y2, x1:x2].ravel()


class CropStore(ABC):
    """Gives crops."""

    def __init__(self, layouts: Mapping[str, Layout]) -> None:
        self._layouts = layouts

    def crop(self, image: str, box: bytes) -> CachedCrop | None:
        """Return the crop of an object; None: the image must be read."""
        layout = self._layouts.get(image)
        row = layout.rows.get(box) if layout else None
        if layout is None or row is None:
            return None
        x1, y1, x2, y2 = layout.rects[row].tolist()
        pixels = self._pixels(image, int(layout.offsets[row]), (y2 - y1, x2 - x1, _CHANNELS))
        return None if pixels is None else CachedCrop(pixels, (x1, y1), layout.size)

    @abstractmethod
    def _pixels(self, image: str, offset: int, shape: tuple[int, int, int]) -> CropPixels | None:
        """Return the pixels at a byte offset of an image's crops; None when they are gone."""


class DiskCrops(CropStore):
    """Crops in files; None for a file deleted meanwhile."""

    def __init__(self, layouts: Mapping[str, Layout], files: Mapping[str, Path]) -> None:
        super().__init__(layouts)
        self._files = files

    def _pixels(self, image: str, offset: int, shape: tuple[int, int, int]) -> CropPixels | None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return np.memmap(self._files[image], np.uint8, "r", offset, shape)
        return None


class MemoryCrops(CropStore):
    """Crops in memory that forked processes share."""

    def __init__(self, layouts: Mapping[str, Layout]) -> None:
        """Allocate memory for all crops.

        Raises:
            RequestError: there is too little memory.
        """
        import mmap

        super().__init__(layouts)
        starts = np.concatenate([[0], np.cumsum([layout.nbytes for layout in layouts.values()], dtype=np.int64)])
        self._starts = dict(zip(layouts, starts.tolist(), strict=False))
        need, free = int(starts[-1]), available_memory()
        if need > free:
            raise RequestError(
                f"--cache crops-ram: the crops need {show_bytes(need)} of memory, {show_bytes(free)} are available",
                hint="use --cache crops, which keeps them on disk",
            )
        self._buffer: CropPixels = np.frombuffer(mmap.mmap(-1, max(1, need)), np.uint8)

    def fill(self, read: Callable[[str], CropPixels], told: Progress) -> None:
        """Decode every image once, in threads."""

        def one(image: str) -> None:
            start, layout = self._starts[image], self._layouts[image]
            layout.cut(image, read(image), self._buffer[start : start + layout.nbytes])

        for_all(one, tuple(self._layouts), "crops", told)

    def _pixels(self, image: str, offset: int, shape: tuple[int, int, int]) -> CropPixels:
        start = self._starts[image] + offset
        return self._buffer[start : start + prod(shape)].reshape(shape)


def fill_folder(
    files: Sequence[Path],
    layouts: Mapping[Path, tuple[str, Layout]],
    read: Callable[[str], CropPixels],
    told: Progress,
) -> None:
    """Decode images, in threads, into the files of their crops.

    Raises:
        OutputError: a file cannot be written; finished files are kept for the next run.
    """
    _clear_abandoned({file.parent.parent for file in files})

    def one(file: Path) -> None:
        image, layout = layouts[file]
        packed = np.empty(layout.nbytes, np.uint8)
        layout.cut(image, read(image), packed)
        try:
            write_files({file: packed.tobytes()})
        except OutputError as exc:
            hint = "choose another disk with --cache-dir, or train without --cache"
            raise OutputError(exc.sentence, hint=hint) from exc

    for_all(one, files, "crops", told)


def _clear_abandoned(folders: Iterable[Path]) -> None:
    for left in (left for folder in folders for left in folder.glob("*/.*.tmp")):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_FILE:
                left.unlink()


def files_of(layouts: Mapping[str, Layout], folder: Path, told: Progress) -> dict[str, Path]:
    """Return the crop file of each image; it may not exist yet."""
    import cv2

    known = _KnownHashes(folder / KNOWN)
    for_all(known.look_at, tuple(layouts), "reading images", told)
    names = {}
    for image, layout in layouts.items():
        made_of = f"{CROPS_FORMAT} {cv2.__version__} {known.hashes[image]} {layout.size}".encode()
        name = hashlib.blake2b(made_of + layout.rects.tobytes(), digest_size=16).hexdigest()
        names[image] = folder / name[:2] / f"{name}.crops"
    known.write()
    return names


def is_there(file: Path, layout: Layout) -> bool:
    """Return whether a crop file exists with the right length."""
    with contextlib.suppress(OSError):
        return file.stat().st_size == layout.nbytes
    return False


class _KnownHashes:
    """Image hashes, stored between runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hashes: dict[str, str] = {}
        self._entries: dict[str, list[Any]] = {}
        # With a damaged file, images are hashed again.
        with contextlib.suppress(InputError):
            document = read_json(path)
            if isinstance(document, dict):
                self._entries = {key: entry for key, entry in document.items() if isinstance(entry, list)}

    def look_at(self, image: str) -> None:
        try:
            stat = Path(image).stat()
            marks = [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
            key = str(Path(image).absolute())
            entry = self._entries.get(key)
            if entry is not None and entry[:-1] == marks:
                self.hashes[image] = str(entry[-1])
                return
            self.hashes[image] = content_hash(Path(image))
        except OSError as exc:
            raise InputError(image, "", f"image cannot be read: {exc.strerror or exc}") from exc
        if time.time() - max(stat.st_mtime, stat.st_ctime) > _SETTLED:
            self._entries[key] = [*marks, self.hashes[image]]

    def write(self) -> None:
        # The file only saves time.
        with contextlib.suppress(OutputError):
            write_json(self.path, dict(sorted(self._entries.items())))


def for_all(work: Callable[[Any], None], items: Sequence[Any], what: str, told: Progress) -> None:
    """Call ``work`` for each item in threads; stop at the first error."""
    with ThreadPoolExecutor(min(count_cores(), max(1, len(items)))) as pool:
        try:
            for done, _ in enumerate(pool.map(work, items), start=1):
                told(what, done, len(items))
        finally:
            pool.shutdown(cancel_futures=True)


def check_room(folder: Path, need: int) -> int:
    """Return how many bytes are free on the disk of ``folder``.

    Raises:
        RequestError: fewer than ``need``.
    """
    free = shutil.disk_usage(existing_folder(folder / KNOWN)).free
    if need > free:
        raise RequestError(
            f"{folder}: the crops need {show_bytes(need)} more, {show_bytes(free)} are free",
            hint="choose another disk with --cache-dir, or train without --cache",
        )
    return free


def show_bytes(number: int) -> str:
    """Return a readable size: ``3.4 GB``."""
    power = min((len(str(number)) - 1) // 3, len(_BYTE_UNITS) - 1)
    return f"{number / 1000**power:.{min(power, 1)}f} {_BYTE_UNITS[power]}"
