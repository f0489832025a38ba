"""Finds the original image of an augmented copy by its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from posetools.core.folder import split_folder

# NAME_EXTENSION.rf.HASH.EXTENSION, as Roboflow exports an image; programs that rename files leave EXTENSION out.
_COPY = re.compile(
    r"(.+?)(?:_(jpe?g|png|bmp|webp|tiff?|gif|heic))?\.rf\.[0-9A-Za-z_-]{16,64}\.([A-Za-z]{3,4})", re.IGNORECASE
)

_COPY_MARK = ".rf."


def original_name(name: str) -> str:
    """Return the name of the image that an augmented copy was made from; other names unchanged.

    A first folder that is called after a split is left out: exporters put copies of one image into several.
    """
    if _COPY_MARK not in name:
        return name
    folder, slash, file = name.rpartition("/")
    found = _COPY.fullmatch(file)
    if not found:
        return name
    first, _, below = folder.partition("/")
    if split_folder(first):
        folder, slash = below, "/" if below else ""
    return f"{folder}{slash}{found[1]}.{found[2] or found[3]}"


def are_copies(name: str, other: str) -> bool:
    """Return whether two images are augmented copies of the same image, or one of the other, by their names."""
    original = original_name(name)
    return original == original_name(other) and (name, other) != (original, original)


def copied(names: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield two splits and the images of the second with the same original as an image of the first, by their names.

    Names without the mark of augmented copies are ignored: they are different photos, or the same image.

    Args:
        names: split -> its images' names.
    """
    if not any(_COPY_MARK in name for of_split in names.values() for name in of_split):
        return
    originals: dict[str, dict[str, list[str]]] = {split: {} for split in names}
    for split, of_split in names.items():
        for name in of_split:
            originals[split].setdefault(original_name(name), []).append(name)
    for one, other in combinations(names, 2):
        copies = []
        for original, theirs in originals[other].items():
            known = originals[one].get(original, [])
            marked = any(original_name(each) != each for each in (*known, *theirs))
            copies += [name for name in theirs if known and marked and name not in known]
        if copies:
            yield one, other, copies


# What to do about copies in a test split, which no command splits again.
OF_TEST = "leave them out of one of the two: a score on copies of training images says too much"


def counted_copies(copies: Sequence[str]) -> str:
    """Return how many augmented copies there are, in words."""
    return "1 augmented copy" if len(copies) == 1 else f"{len(copies)} augmented copies"
