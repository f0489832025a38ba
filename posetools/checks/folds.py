"""Checks of folds: those of a data set share out the images and labels that its train and val have now.

Fold ``i`` has part ``i`` of the images in val and all others in train. Folds that differ are one finding, whatever is
wrong with them: they are written again, not corrected. What is wrong in their labels is found in train and val.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posetools.checks.across import check_copies
from posetools.core.findings import Finding
from posetools.core.folder import FOLDS, SPLITS, ann_file, fold_split, folds_command, folds_of
from posetools.errors import InputError
from posetools.formats.coco.table import CocoTable, read_table
from posetools.progress import Progress


@dataclass(frozen=True, slots=True)
class CheckedFolds:
    """The folds of a data set.

    Attributes:
        parts: file name -> the number of the fold that has the image in val; empty without folds, or if they differ
            from train and val.
        findings: what is wrong with them.
    """

    parts: Mapping[str, int]
    findings: tuple[Finding, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was compared, in words."""
        return (f"{max(self.parts.values())} folds share out the images of train and val",) if self.parts else ()


def check_folds(data_root: Path, tables: Mapping[str, CocoTable], progress: Progress) -> CheckedFolds:
    """Compare the folds of a data set with its train and val, and find copies of one photo in both splits of a fold.

    Args:
        data_root: the data set's folder.
        tables: split -> file, for every existing file.
        progress: receives progress.
    """
    whole = [tables[split] for split in SPLITS if split in tables]
    numbers = folds_of(data_root)
    if not numbers or not all(table.readable for table in whole):
        return CheckedFolds({})
    wanted = _labels(whole)
    parts: dict[str, int] = {}
    copies: list[Finding] = []
    for done, number in enumerate(numbers, start=1):
        names = [fold_split(number, split) for split in SPLITS]
        try:
            fold = {name: read_table(ann_file(data_root, name)) for name in names}
        except InputError as exc:
            return _different(data_root, f"fold {number} must have two COCO files, but {exc}")
        for problem in _differences(wanted, _labels(fold.values())):
            return _different(data_root, f"fold {number} must have {problem}")
        held = fold[names[-1]].images.file_names
        for name in held:
            if name in parts:
                where = f"those of folds {parts[name]} and {number}"
                return _different(data_root, f"an image must be in the val of one fold, but {name} is in {where}")
        parts |= dict.fromkeys(held, number)
        copies += check_copies(fold)
        progress("reading folds", done, len(numbers))
    for name in sorted(wanted.keys() - parts.keys()):
        return _different(data_root, f"an image must be in the val of one fold, but {name} is in none")
    return CheckedFolds(parts, tuple(copies))


def _different(data_root: Path, message: str) -> CheckedFolds:
    hint = f"`{folds_command(data_root)}` writes the folds again"
    return CheckedFolds({}, (Finding("E118", str(data_root / FOLDS), "", message, hint),))


def _differences(wanted: Mapping[str, int], got: Mapping[str, int]) -> Iterator[str]:
    """Yield what a fold must have, and does not."""
    for name in sorted(wanted.keys() - got.keys()):
        yield f"all images of train and val, but lacks {name}"
    for name in sorted(got.keys() - wanted.keys()):
        yield f"images of train and val only, got {name}"
    for name in sorted(wanted):
        if wanted[name] != got[name]:
            yield f"each image once, with its labels in train and val, but {name} differs"


def _labels(tables: Iterable[CocoTable]) -> dict[str, int]:
    """Return file name -> a hash of the image's size and objects, ids left out: these may differ."""
    hashes: dict[str, int] = {}
    for table in tables:
        objects = table.annotations
        called = {category.id: (category.name, category.keypoints) for category in table.categories.values()}
        numbers = np.column_stack([objects.bbox, objects.areas, objects.iscrowd, objects.num_keypoints])
        held = [[bytes(size)] for size in table.images.sizes]
        ids, starts = objects.category_ids.tolist(), objects.starts.tolist()
        for row, image in enumerate(table.image_rows().tolist()):
            if image >= 0:
                points = objects.keypoints[starts[row] : starts[row + 1]]
                held[image].append((called.get(ids[row]), bytes(numbers[row]), bytes(points)))
        for name, content in zip(table.images.file_names, held, strict=True):
            hashes[name] = hash((hashes.get(name), *content))
    return hashes
