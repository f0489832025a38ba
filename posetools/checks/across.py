"""Checks across the splits of a data set."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from posetools.checks.inspection import are_alike, digests, ends
from posetools.core.findings import Finding
from posetools.core.folder import SPLITS, ann_file, split_command
from posetools.core.originals import OF_TEST, are_copies, copied, counted_copies
from posetools.errors import counted, must_be, quoted
from posetools.files.urls import as_path, is_url
from posetools.formats.coco.table import CocoTable

_NEEDS = {"train": "train on", "val": "evaluate on"}


def check_splits(
    data_root: Path, tables: Mapping[str, CocoTable], written: frozenset[str] | None = None
) -> Iterator[Finding]:
    """Yield splits that are missing or empty.

    Args:
        data_root: the data set's folder.
        tables: split -> file, for every existing file.
        written: the splits it was created with; None if unknown.
    """
    for split in SPLITS:
        if split not in tables and (written is None or split in written):
            file = ann_file(data_root, split)
            message = f"{file.name} must exist, with images to {_NEEDS[split]}, but is missing"
            yield Finding("E116", str(file), "", message, "`posetools split` makes both splits from one")
    for split, table in tables.items():
        for what, number in (("images", table.num_images), ("annotations", table.num_annotations)):
            if table.readable and not number:
                message = must_be(what, f"a list of one or more to {_NEEDS.get(split, 'evaluate on')}", [])
                yield Finding("E116", str(table.path), what, message, "`posetools split` makes both splits again")


def note_without(data_root: Path, tables: Mapping[str, CocoTable], written: frozenset[str] | None) -> tuple[str, ...]:
    """Return a note if the data set was created without train or val, as by ``convert --val 0``."""
    lacking = [split for split in SPLITS if written is not None and split not in tables and split not in written]
    if not lacking:
        return ()
    files = " and ".join(ann_file(data_root, split).name for split in lacking)
    way = f"; `{split_command(data_root)}` makes both" if len(lacking) < len(SPLITS) else ""
    return (f"no {files}, as requested when the data set was made: training needs train and val{way}",)


def check_copies(tables: Mapping[str, CocoTable]) -> Iterator[Finding]:
    """Yield splits with augmented copies of an earlier split's images: evaluation would use training data."""
    for one, other, copies in copied({split: table.images.file_names for split, table in tables.items()}):
        got = f"{counted_copies(copies)} of images in {one}, the first {copies[0]}"
        message = must_be(f"images of {other}", f"of other photos than in {one}", got)
        hint = "`posetools split` keeps copies of one photo in the same split"
        hint = OF_TEST if "test" in (one, other) else hint
        yield Finding("W223", str(tables[other].path), "images", message, hint)


def check_same_categories(tables: Mapping[str, CocoTable]) -> Iterator[Finding]:
    """Yield files whose categories (ids, names, keypoints) differ from the first file's."""
    readable = [t for t in tables.values() if t.readable and len(t.categories) == t.num_categories]
    for table in readable[1:]:
        first = readable[0]
        if _identity(table) != _identity(first):
            hint = "use the same categories in all splits: ids, names and keypoints"
            wanted, got = _shown(first, table), _shown(table, first)
            message = f"categories must be those of {first.path.name} ({wanted}), got {got}"
            yield Finding("E112", str(table.path), "categories", message, hint)


def _identity(table: CocoTable) -> list[tuple[int, str, tuple[str, ...] | None]]:
    return sorted(((c.id, c.name, c.keypoints) for c in table.categories.values()), key=repr)


def _shown(table: CocoTable, other: CocoTable) -> str:
    """Return what differs: ids and names, or else the keypoints."""
    named = [[(c.id, c.name) for c in t.categories.values()] for t in (table, other)]
    if sorted(named[0]) != sorted(named[1]):
        return ", ".join(f"{number} {name}" for number, name in named[0]) or "none"
    theirs = _identity(other)
    mine = next(entry for entry in _identity(table) if entry not in theirs)
    return f"{mine[1]} with the keypoints {', '.join(mine[2] or ('none',))}"


def leaks(
    names: Mapping[str, Sequence[str]], paths: Mapping[str, Sequence[str]], sources: str, out: Path | None
) -> Iterator[Finding]:
    """Yield a finding for each pair of splits where the second contains copies of the first's images.

    ``convert`` reports it when it keeps the splits a source declares. ``validate`` finds the same later (W223, E126),
    but reads every file; here only files of equal length in two splits are opened.

    Args:
        names: split -> its images' names.
        paths: split -> the path of each image; empty to skip an image.
        sources: what is converted, for the messages.
        out: the data set folder that is written, with its images; None for another format.
    """
    for one, other, copies in copied(names):
        number = counted_copies(copies)
        message = f"images must be of other photos than in {one}, got {number} of them, the first {copies[0]}"
        hint = "--val 0.1 splits train and val again and keeps copies of one photo together"
        hint = OF_TEST if "test" in (one, other) else hint
        yield Finding("W223", sources, other, message, hint)
    for (one, other), same in sorted(_same_content(paths).items()):
        # Copies recognized by name are reported above.
        pairs = [pair for pair in same if not are_copies(*(Path(path).name for path in pair))]
        if not pairs:
            continue
        number = counted(len(pairs), "image")
        first = "{1} ({0} in {2})".format(*map(as_path, pairs[0]), one)
        rule = f"other files than in {one}, got {number} with the same content, the first {first}"
        hint = "remove them from one of the two splits"
        if out is not None:
            command = f"posetools subset {quoted(out)} --out NEW --without-finding E126"
            hint += f": run `{command}` after this conversion"
        yield Finding("W223", sources, other, f"images must be {rule}", hint)


def _same_content(paths: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Return (split, later split) -> the pairs of files that are identical byte for byte."""
    split_of = {path: split for split, of_split in paths.items() for path in of_split if path and not is_url(path)}
    groups: list[list[str]] = [list(split_of)]
    for look in (_lengths, ends, digests):
        closer: dict[tuple[int, object], list[str]] = defaultdict(list)
        for number, group in enumerate(groups):
            for path, seen in zip(group, look(group), strict=True):
                # The writer reports files that can no longer be read.
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
