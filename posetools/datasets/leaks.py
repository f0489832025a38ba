"""Training images that are in another split too: said by ``convert`` where it keeps splits that a source declares.

``posetools validate`` finds the same later (W223, E126); it looks into every file for that, while here only files of
one length in two splits are opened.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from posetools.checks.inspection import are_alike, digests, ends
from posetools.core.findings import Finding
from posetools.core.originals import OF_TEST, are_copies, copied, counted_copies
from posetools.errors import quoted
from posetools.files.urls import is_url


def leaks(
    names: Mapping[str, Sequence[str]], paths: Mapping[str, Sequence[str]], sources: str, out: Path | None
) -> Iterator[Finding]:
    """Yield a finding for each two splits of which the second holds copies of images of the first.

    Args:
        names: split -> its images' names.
        paths: split -> where each of them is; empty for those that are not looked at.
        sources: what is converted, for the messages.
        out: the data set's folder that is written, with its images; None for another format.
    """
    for one, other, copies in copied(names):
        number = counted_copies(copies)
        message = f"images must be of other photos than those of {one}, got {number} of them, the first {copies[0]}"
        hint = "--val 0.1 splits train and val again, and keeps copies of one photo together"
        hint = OF_TEST if "test" in (one, other) else hint
        yield Finding("W223", sources, other, message, hint)
    for (one, other), same in sorted(_same_content(paths).items()):
        # Those that their names tell of are said already.
        pairs = [pair for pair in same if not are_copies(*(Path(path).name for path in pair))]
        if not pairs:
            continue
        number = "1 image" if len(pairs) == 1 else f"{len(pairs)} images"
        first = f"{pairs[0][1]} ({pairs[0][0]} in {one})"
        message = (
            f"images must be other ones than those of {one}, got {number} with the same content, the first {first}"
        )
        hint = "leave them out of one of the two"
        if out is not None:
            command = f"posetools subset {quoted(out)} --out NEW --without-finding E126"
            hint += f": `{command}` does so once this is written"
        yield Finding("W223", sources, other, message, hint)


def _same_content(paths: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Return pairs of splits, in their order, and the files of the two that are the same byte for byte."""
    split_of = {path: split for split, of_split in paths.items() for path in of_split if path and not is_url(path)}
    groups: list[list[str]] = [list(split_of)]
    for look in (_lengths, ends, digests):
        closer: dict[tuple[int, object], list[str]] = defaultdict(list)
        for number, group in enumerate(groups):
            for path, seen in zip(group, look(group), strict=True):
                # What cannot be read any more is the writer's to tell.
                if seen:
                    closer[number, seen].append(path)
        groups = [group for group in closer.values() if len({split_of[path] for path in group}) > 1]
    order = {split: number for number, split in enumerate(paths)}
    found: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for group in groups:
        first: dict[str, str] = {}
        for path in sorted(group, key=lambda path: order[split_of[path]]):
            split = split_of[path]
            for one, earlier in first.items():
                if one != split and are_alike([(earlier, path)])[0]:
                    found[one, split].append((earlier, path))
                    break
            first.setdefault(split, path)
    return found


def _lengths(paths: Sequence[str]) -> list[int]:
    return [_length(path) for path in paths]


def _length(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 (half the time)
    except (OSError, ValueError):
        return 0
