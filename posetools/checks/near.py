"""Near duplicates: neighboring frames of a video, or one image saved, scaled or cropped again.

Every image is reduced to a perceptual hash of 144 bits (``imagehash.phash`` with 12 x 12 low frequencies), and two
images are similar when at most 20 bits differ. Measured on rendered and real street images: recompressed, halved,
brightened or cropped by 1 % they differ by 0 to 16 bits, cropped by 3 % by 18 (median), and no two different images
by fewer than 48. Mirrored images are not detected.

Findings depend on split, fold and clip. Two similar images in different splits, or in the val of different folds, are
W221: evaluation would use training data. Within a split, similar frames of one clip are expected; W220 is for two of
different clips. The clip of an image is its name without its last run of digits, as in ``posetools split``.

Each image gets one finding per code, which names the most similar earlier image and counts the others: a fixed camera
makes all pairs similar. Pairs are compared as a product of matrices of -1 and 1, which gives the number of equal bits
exactly. Identical files are left to E126 and W206.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from posetools.checks.images import ListedImage
from posetools.core.findings import Finding
from posetools.core.geometry import Bools, Ints
from posetools.errors import InputError, MissingExtraError, RequestError, must_be
from posetools.files.urls import absolute, as_path, fetched
from posetools.imaging.header import content_hash, open_decoded, without_warnings
from posetools.progress import Progress
from posetools.scale.shards import Engine, OwnProcess, cut, run_shards

_Signs: TypeAlias = npt.NDArray[np.float32]

FREQUENCIES = 12
BITS = FREQUENCIES * FREQUENCIES
MOST_DIFFERENT = 20
# JPEG decodes directly to an eighth of its size; the hash uses 48 x 48 pixels.
_DRAFT = 4 * FREQUENCIES
# Pairs compared at once: 32 MB of numbers.
_PAIRS_AT_ONCE = 1 << 23
# Decoding threads, and images of a shard: few, so that an interrupt takes effect soon.
_THREADS = min(8, os.cpu_count() or 1)
_IMAGE_BATCH = 256


def check_near(
    images: Sequence[ListedImage], folder: Path, progress: Progress, engine: Engine | None = None
) -> Iterator[Finding]:
    """Yield images that nearly equal an earlier one of another split or clip.

    Unreadable images are skipped: they have findings of their own.

    Args:
        images: what ``check_names`` returned.
        folder: the folder that the names are relative to.
        progress: receives progress.
        engine: hashes the images, shard by shard; None for this process. Pairs are compared here.

    Raises:
        MissingExtraError: imagehash is not installed.
    """
    listed, signs, contents = _hash_all(images, folder, progress, engine)
    splits = _numbers([each.split for each in listed])
    clips = _numbers([clip_of(each.name) for each in listed])
    folds = np.array([each.fold for each in listed], dtype=np.int64)
    step = max(1, _PAIRS_AT_ONCE // max(1, len(listed)))
    for start in range(0, len(listed), step):
        stop = min(len(listed), start + step)
        for row, alike, bits in _alike(signs, start, stop):
            other, across = contents[alike] != contents[row], splits[alike] != splits[row]
            # In another split first: folds are written again once the splits are right.
            across = across if (across & other).any() else folds[alike] != folds[row]
            for code, wanted in (("W221", across), ("W220", ~across & (clips[alike] != clips[row]))):
                candidates, apart = alike[other & wanted], bits[other & wanted]
                if len(candidates):
                    nearest = int(apart.argmin())
                    yield _finding(
                        code, listed[row], listed[candidates[nearest]], int(apart[nearest]), len(candidates) - 1
                    )
        progress("comparing image hashes", stop, len(listed))


def check_near_request(*, images: bool) -> None:
    """Refuse an impossible search before anything is checked.

    Args:
        images: whether image files are checked.

    Raises:
        RequestError: they are not.
        MissingExtraError: imagehash is not installed.
    """
    if not images:
        raise RequestError("--near-duplicates reads the images: it cannot be combined with --no-images")
    load_imagehash()


def clip_of(name: str) -> str:
    """Return the clip of an image name (folder included): the name without its last run of digits."""
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
    images: Sequence[ListedImage], folder: Path, progress: Progress, engine: Engine | None = None
) -> tuple[list[ListedImage], _Signs, Ints]:
    """Return the N readable images, their (N, BITS) hashes of -1 and 1, and (N,) numbers for their content."""
    listed, rows, contents = [], list[Bools](), []
    start = absolute(folder)
    paths = [os.path.join(start, each.name) for each in images]  # noqa: PTH118
    hashes = run_shards(_hashes, cut(paths, _IMAGE_BATCH), engine or OwnProcess(), progress, "hashing images")
    for each, hashed in zip(images, chain.from_iterable(hashes), strict=True):
        if hashed is not None:
            listed.append(each)
            rows.append(hashed[0])
            contents.append(hashed[1])
    signs = np.array(rows, dtype=np.float32).reshape(-1, BITS) * 2 - 1
    return listed, signs, _numbers(contents)


def _hashes(paths: Sequence[str]) -> list[tuple[Bools, str] | None]:
    """Return the hashes of each image of a shard."""
    phash = load_imagehash().phash
    # Pillow warns about large images and odd EXIF data. It releases the GIL while decoding: threads are faster.
    with ThreadPoolExecutor(_THREADS) as pool, without_warnings(), fetched(paths):
        # A thread has its own context, which knows the fetched files only if it gets a copy.
        contexts = [copy_context() for _ in paths]
        return list(pool.map(lambda path, own: own.run(_hash, as_path(path), phash), paths, contexts))


def _hash(path: Path, phash: Callable[..., Any]) -> tuple[Bools, str] | None:
    """Return an image's perceptual hash and the hash of its content; None if it cannot be read."""
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
    """Yield each row that has similar earlier rows: the row, the earlier rows, and their numbers of different bits."""
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
    if code == "W221" and listed.split == other.split:
        message = must_be("image", f"unlike all of other folds ({like})", listed.name)
        hint = (
            "keep similar images together with `posetools split --folds --split-by REGEX`: evaluation would use "
            "training data"
        )
    elif code == "W221":
        message = must_be("image", f"unlike all of other splits ({like})", listed.name)
        hint = (
            "remove it from one split, or keep similar images together with `posetools split --split-by REGEX`: "
            "evaluation would use training data"
        )
    else:
        message = must_be("image", f"unlike those of other clips ({like})", listed.name)
        hint = "keep the two in one split with `posetools split`; a second copy adds little to training"
    return listed.finding(code, message, hint, other)
