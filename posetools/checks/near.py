"""Images that are nearly the same: neighboring frames of a video, the same image saved, scaled or cut again.

Every image is reduced to a perceptual hash of 144 bits (``imagehash.phash`` with 12 x 12 low frequencies), and two
images are alike when at most 20 bits differ. Measured on rendered and real street images: recompressed, halved,
brightened or cut by 1 % they differ by 0 to 16 bits, cut by 3 % by 18 in the middle, and no two different images by
fewer than 48. A mirrored image is not found.

What counts as a finding goes by split and clip. Across splits any two that are alike are W221: the evaluation is of
what was trained on. Within a split the frames of one clip are alike as a matter of course; W220 is two of different
clips. The clip of an image is its name without its last run of digits, as ``posetools split`` has it.

Each image gets one finding of a code, which names the nearest of the images before it and says how many more there
are: a fixed camera makes all pairs alike. Pairs are compared as a product of matrices of -1 and 1, which gives the
number of equal bits exactly; bytes that are the same are left to E126 and W206.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from posetools.checks.images import ListedImage
from posetools.core.findings import Finding
from posetools.core.geometry import Bools, Ints
from posetools.errors import InputError, MissingExtraError, RequestError, must_be
from posetools.imaging.header import content_hash, open_decoded
from posetools.progress import Progress

_Signs: TypeAlias = npt.NDArray[np.float32]

FREQUENCIES = 12
BITS = FREQUENCIES * FREQUENCIES
MOST_DIFFERENT = 20
# JPEG decodes to an eighth of its size at once; the hash itself looks at 48 x 48 pixels.
_DRAFT = 4 * FREQUENCIES
# How many pairs are compared at once: 32 MB of numbers.
_PAIRS_AT_ONCE = 1 << 23
# Images are decoded in so many threads, and handed to them in batches, so that a stop is not far away.
_THREADS = min(8, os.cpu_count() or 1)
_IMAGE_BATCH = 256


def check_near(images: Sequence[ListedImage], folder: Path, progress: Progress) -> Iterator[Finding]:
    """Yield images that are nearly the same as one before them, of another split or of another clip.

    Images that cannot be read are left out: they are findings of their own.

    Args:
        images: what ``check_names`` returned.
        folder: the folder that the names are seen from.
        progress: told how far it is.

    Raises:
        MissingExtraError: imagehash is not installed.
    """
    listed, signs, contents = _hash_all(images, folder, progress)
    splits = _numbers([each.split for each in listed])
    clips = _numbers([clip_of(each.name) for each in listed])
    step = max(1, _PAIRS_AT_ONCE // max(1, len(listed)))
    for start in range(0, len(listed), step):
        stop = min(len(listed), start + step)
        for row, alike, bits in _alike(signs, start, stop):
            other, across = contents[alike] != contents[row], splits[alike] != splits[row]
            for code, wanted in (("W221", across), ("W220", ~across & (clips[alike] != clips[row]))):
                candidates, apart = alike[other & wanted], bits[other & wanted]
                if len(candidates):
                    nearest = int(apart.argmin())
                    yield _finding(
                        code, listed[row], listed[candidates[nearest]], int(apart[nearest]), len(candidates) - 1
                    )
        progress("comparing images by looks", stop, len(listed))


def check_near_request(*, images: bool) -> None:
    """Refuse a search that cannot be, before anything is checked.

    Args:
        images: whether the images are to be looked at.

    Raises:
        RequestError: they are not.
        MissingExtraError: imagehash is not installed.
    """
    if not images:
        raise RequestError("--near-duplicates looks at the images: it cannot be had with --no-images")
    load_imagehash()


def clip_of(name: str) -> str:
    """Return the clip that an image's name (folder included) tells: the name without its last run of digits."""
    path = PurePosixPath(name)
    return f"{path.parent}/" + re.sub(r"[0-9]+(?=[^0-9]*$)", "\0", path.stem)


def load_imagehash() -> Any:
    """Return the module ``imagehash``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import imagehash
    except ModuleNotFoundError as exc:
        raise MissingExtraError("--near-duplicates", "leaks", exc.name or "imagehash") from exc
    return imagehash


def _hash_all(
    images: Sequence[ListedImage], folder: Path, progress: Progress
) -> tuple[list[ListedImage], _Signs, Ints]:
    """Return the N images that can be read, their (N, BITS) hashes of -1 and 1, (N,) numbers for their content."""
    listed, rows, contents, phash = [], [], [], load_imagehash().phash
    # Pillow warns of large images, and of odd EXIF data. It decodes without Python's lock: threads are faster.
    with ThreadPoolExecutor(_THREADS) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for start in range(0, len(images), _IMAGE_BATCH):
            batch = images[start : start + _IMAGE_BATCH]
            hashes = pool.map(lambda each: _hash(folder / each.name, phash), batch)
            for each, hashed in zip(batch, hashes, strict=True):
                if hashed is not None:
                    listed.append(each)
                    rows.append(hashed[0])
                    contents.append(hashed[1])
            progress("looking at images", start + len(batch), len(images))
    signs = np.array(rows, dtype=np.float32).reshape(-1, BITS) * 2 - 1
    return listed, signs, _numbers(contents)


def _hash(path: Path, phash: Callable[..., Any]) -> tuple[Bools, str] | None:
    """Return what an image looks like and the hash of its content; None when it cannot be read."""
    try:
        upright, _ = open_decoded(path, "L", (_DRAFT, _DRAFT))
        return phash(upright, hash_size=FREQUENCIES).hash.ravel(), content_hash(path)
    except (InputError, OSError):
        return None


def _numbers(texts: Sequence[str]) -> Ints:
    """Return (N,) numbers that are equal where the texts are."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(text, len(known)) for text in texts], dtype=np.int64)


def _alike(signs: _Signs, start: int, stop: int) -> Iterator[tuple[int, Ints, Ints]]:
    """Yield each row with an earlier one that is alike: the row, those earlier ones, how many bits each differs by."""
    equal = signs[start:stop] @ signs[:stop].T
    rows, others = np.nonzero(equal >= BITS - 2 * MOST_DIFFERENT)
    bits = ((BITS - equal[rows, others]) / 2).astype(np.int64)
    earlier = others < rows + start
    rows, others, bits = rows[earlier], others[earlier], bits[earlier]
    edges = np.searchsorted(rows, np.arange(stop - start + 1))
    for row in np.flatnonzero(np.diff(edges)):
        part = slice(int(edges[row]), int(edges[row + 1]))
        yield int(row) + start, others[part], bits[part]


def _finding(code: str, listed: ListedImage, other: ListedImage, bits: int, more: int) -> Finding:
    others = f" and {more} more are" if more else " is"
    like = f"{other.where}{others} nearly the same; {bits} of {BITS} bits differ"
    if code == "W221":
        message = must_be("image", f"unlike all of other splits ({like})", listed.name)
        hint = (
            "the evaluation would be of what was trained on: take it out of one split, or keep together what looks "
            "alike with `posetools split --split-by REGEX`"
        )
    else:
        message = must_be("image", f"unlike those of other clips ({like})", listed.name)
        hint = "labeling and training on it again brings little; `posetools split` must keep the two in one split"
    return listed.finding(code, message, hint, other)
