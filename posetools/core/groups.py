"""Group images by their names: what belongs together is never torn apart by a split, nor by a resample.

Groups are:

- ``image``: every image is its own group.
- ``parent``: the images of one folder.
- ``clip``: the frames of one clip. The clip of an image is its file name (folder included, suffix not) without its
  last run of digits: ``a/drive_0001.jpg`` and ``a/drive_0002.jpg`` are frames of ``a/drive_``.
- a regular expression, searched in the file name (folders included): its first group, or else the whole match, is the
  key, and images with the same key are one group.
- default: by clip if the names look like frames of clips, else by image. Names look like frames of clips if there are
  at least two clips, and at least 80 % of the images are in a clip of three or more with dense numbers: the range from
  lowest to highest has at most ten numbers per image. One camera's ``IMG_0001.jpg, IMG_0002.jpg, ...`` alone is one
  clip, hence by image.

Augmented copies of one original are always one group: Roboflow writes ``IMG_1.jpg`` as ``IMG_1_jpg.rf.HASH.jpg``, with
another hash for each copy. Clips are detected in the names of the originals.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from posetools.core.folder import recorded
from posetools.core.originals import original_name
from posetools.errors import RequestError, first_names

_FEWEST_FRAMES = 3
_NUMBERS_PER_FRAME = 10
_SHARE_IN_CLIPS = 0.8
# A longer run of digits is a hash or an identifier, not a frame number.
_LONGEST_NUMBER = 18
_LISTED_NAMES = 5
# What conversion.json says of images that no plan grouped.
_NOT_GROUPED = ("none", "declared")
_NUMBERED_NAME = re.compile(r"(.*?)([0-9]+)([^0-9]*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of images.

    Attributes:
        keys: the group of each image, in the order of the names; equal keys are one group.
        how: ``image``, ``parent``, ``clip``, or the regular expression.
        reason: the same in words.
    """

    keys: tuple[str, ...]
    how: str
    reason: str


def groups_of(names: Sequence[str], by: str | None = None, objects: Sequence[int] | None = None) -> Grouping:
    """Return the groups of images.

    Args:
        names: the N images' file names, with forward slashes.
        by: ``image``, ``parent``, ``clip``, a regular expression, or None to choose between clip and image.
        objects: (N,) number of objects in each image: if all are in one clip, None chooses image.

    Raises:
        RequestError: the regular expression does not match a name.
    """
    originals = [original_name(name) for name in names]
    keys, how, reason = _keys(names, originals, by)
    holding = [index for index, number in enumerate(objects or ()) if number]
    if by is None and how == "clip" and len(holding) > 1 and len({keys[index] for index in holding}) == 1:
        keys, how, reason = originals, "image", "by image, because all objects are in one clip"
    if len(set(originals)) < len(names):
        keys = _joined(keys, originals)
        reason += "; augmented copies of one original stay together"
    return Grouping(tuple(keys), how, reason)


def recorded_grouping(data_root: Path) -> str | None:
    """Return how a data set was split, as ``by`` of ``groups_of``; None if its conversion.json does not say."""
    by = recorded(data_root, "split").get("by")
    return by if isinstance(by, str) and by not in _NOT_GROUPED else None


def _joined(keys: Sequence[str], originals: Sequence[str]) -> list[str]:
    """Return keys shared by all copies of one original: groups with copies of one original are merged."""
    joined: dict[str, str] = {}

    def last(key: str) -> str:
        while joined.get(key, key) != key:
            key = joined[key]
        return key

    first: dict[str, str] = {}
    for key, original in zip(keys, originals, strict=True):
        joined[last(key)] = last(first.setdefault(original, key))
    return [last(key) for key in keys]


def _keys(names: Sequence[str], originals: Sequence[str], by: str | None) -> tuple[Sequence[str], str, str]:
    if by is None:
        clips = _clip_keys(originals)
        if clips is not None:
            return clips, "clip", "by clip, because the names look like frames of clips (--split-by image ignores it)"
        return originals, "image", "by image"
    if by == "image":
        return originals, "image", "by image, as requested"
    if by == "clip":
        return clips_of(originals)[0], "clip", "by clip, as requested"
    if by == "parent":
        return [str(PurePosixPath(name).parent) for name in names], "parent", "by parent folder, as requested"
    return _matched_keys(names, by), by, f"by the part of the name that {by!r} matches, as requested"


def _matched_keys(names: Sequence[str], expression: str) -> list[str]:
    pattern = re.compile(expression)
    found = [pattern.search(name) for name in names]
    keys = [match and (match[1] if pattern.groups else match[0]) for match in found]
    unmatched = sorted(name for name, key in zip(names, keys, strict=True) if key is None)
    if unmatched:
        listed = first_names(unmatched, _LISTED_NAMES)
        raise RequestError(
            f"--split-by must match every file name, but {expression!r} does not match {len(unmatched)} of "
            f"{len(names)}: {listed}",
            "the expression is searched in the name below images/, folders included",
        )
    return [key or "" for key in keys]


def _clip_keys(names: Sequence[str]) -> list[str] | None:
    keys, numbers = clips_of(names)
    in_clips = sum(len(frames) for frames in numbers.values() if is_clip(frames))
    if len(set(keys)) < 2 or in_clips < _SHARE_IN_CLIPS * len(names):
        return None
    return keys


def clips_of(names: Sequence[str]) -> tuple[list[str], Mapping[str, list[int]]]:
    """Return the clip of each name, and the numbers of the frames of each clip."""
    keys: list[str] = []
    same: dict[str, str] = {}
    numbers: dict[str, list[int]] = defaultdict(list)
    for name in names:
        key, number = clip_and_number(name)
        # One string per clip, not one per frame, to save memory.
        key = same.setdefault(key, key)
        keys.append(key)
        if number is not None:
            numbers[key].append(number)
    return keys, numbers


def clip_and_number(name: str) -> tuple[str, int | None]:
    """Return the clip of an image, and the number of the frame; None for a name without a number."""
    # As pathlib would do, without a Path for each of millions of names.
    parent = name.rfind("/") + 1
    dot = name.rfind(".")
    stem = name[:dot] if parent < dot < len(name) - 1 else name
    # The last number in it, usually at its end.
    before, after = stem.rstrip("0123456789"), ""
    number = stem[len(before) :]
    if not number and (match := _NUMBERED_NAME.fullmatch(stem, parent)):
        before, number, after = stem[: match.start(2)], match[2], match[3]
    root = "" if parent else "/"
    if not 0 < len(number) <= _LONGEST_NUMBER:
        return root + stem, None
    # A NUL, which no file name contains, marks where the number was: a1b and ab are different clips.
    return f"{root}{before}\0{after}", int(number)


def is_clip(frames: Sequence[int]) -> bool:
    """Return whether the numbers of frames are dense enough to be those of one clip."""
    different = len(set(frames))
    span = max(frames) - min(frames) + 1
    return different >= _FEWEST_FRAMES and span <= _NUMBERS_PER_FRAME * different
