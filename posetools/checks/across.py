"""What the splits of a data set owe each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from posetools.core.findings import Finding
from posetools.core.folder import SPLITS, ann_file, split_command
from posetools.core.originals import OF_TEST, copied, counted_copies
from posetools.errors import must_be
from posetools.formats.coco.table import CocoTable

_NEEDS = {"train": "train on", "val": "evaluate on"}


def check_splits(
    data_root: Path, tables: Mapping[str, CocoTable], written: frozenset[str] | None = None
) -> Iterator[Finding]:
    """Yield splits that are missing or empty.

    Args:
        data_root: the data set's folder.
        tables: split -> file, for every file that is there.
        written: the splits that it was made with; None when that is not known.
    """
    for split in SPLITS:
        if split not in tables and (written is None or split in written):
            file = ann_file(data_root, split)
            message = f"{file.name} must be there, with pictures to {_NEEDS[split]}, but is missing"
            yield Finding("E116", str(file), "", message, "`posetools split` makes both splits from one")
    for split, table in tables.items():
        for what, number in (("images", table.num_images), ("annotations", table.num_annotations)):
            if table.readable and not number:
                message = must_be(what, f"a list of one or more to {_NEEDS.get(split, 'evaluate on')}", [])
                yield Finding("E116", str(table.path), what, message, "`posetools split` makes both splits anew")


def note_without(data_root: Path, tables: Mapping[str, CocoTable], written: frozenset[str] | None) -> tuple[str, ...]:
    """Return a sentence on train or val when the data set was made without it, as with ``convert --val 0``."""
    lacking = [split for split in SPLITS if written is not None and split not in tables and split not in written]
    if not lacking:
        return ()
    files = " and ".join(ann_file(data_root, split).name for split in lacking)
    way = f"; `{split_command(data_root)}` makes both" if len(lacking) < len(SPLITS) else ""
    return (f"no {files}, as asked for when the data set was made: training needs train and val{way}",)


def check_copies(tables: Mapping[str, CocoTable]) -> Iterator[Finding]:
    """Yield splits with augmented copies of images that an earlier split has: what is evaluated was trained on."""
    for one, other, copies in copied({split: table.images.file_names for split, table in tables.items()}):
        got = f"{counted_copies(copies)} of images in {one}, the first {copies[0]}"
        message = must_be(f"images of {other}", f"of other photos than those of {one}", got)
        hint = "`posetools split` splits train and val so that copies of one photo stay together"
        hint = OF_TEST if "test" in (one, other) else hint
        yield Finding("W223", str(tables[other].path), "images", message, hint)


def check_same_categories(tables: Mapping[str, CocoTable]) -> Iterator[Finding]:
    """Yield files whose categories (ids, names, keypoints) are not those of the first."""
    readable = [t for t in tables.values() if t.readable and len(t.categories) == t.num_categories]
    for table in readable[1:]:
        first = readable[0]
        if _identity(table) != _identity(first):
            hint = "use one list of categories in all splits: ids, names and keypoints"
            wanted, got = _shown(first, table), _shown(table, first)
            message = f"categories must be those of {first.path.name} ({wanted}), got {got}"
            yield Finding("E112", str(table.path), "categories", message, hint)


def _identity(table: CocoTable) -> list[tuple[int, str, tuple[str, ...] | None]]:
    return sorted(((c.id, c.name, c.keypoints) for c in table.categories.values()), key=repr)


def _shown(table: CocoTable, other: CocoTable) -> str:
    """Return what is different: ids and names, or else the keypoints."""
    named = [[(c.id, c.name) for c in t.categories.values()] for t in (table, other)]
    if sorted(named[0]) != sorted(named[1]):
        return ", ".join(f"{number} {name}" for number, name in named[0]) or "none"
    theirs = _identity(other)
    mine = next(entry for entry in _identity(table) if entry not in theirs)
    return f"{mine[1]} with the keypoints {', '.join(mine[2] or ('none',))}"
