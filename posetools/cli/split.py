"""``posetools split``: splits a data set into train, val and test again, or into folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from posetools.cli.console import console, print_counts, print_next, table_of
from posetools.cli.options import Data
from posetools.errors import RequestError, counted

if TYPE_CHECKING:
    from posetools.datasets.resplit import ResplitResult
    from posetools.datasets.stratify import Stratify


Val = Annotated[
    float | None, typer.Option(help="Fraction of images for validation; 0: all for training.", show_default="0.1")
]
Test = Annotated[
    float | None,
    typer.Option(
        help="Fraction of images for a test split, test_coco.json. Splits again what an earlier --test chose; a test "
        "split that the data set was made with is kept.",
        show_default="no change",
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        metavar="K",
        help="Instead, write K folds of train and val for cross-validation, folds/1 to folds/K. Replaces earlier "
        "folds; train, val and test do not change.",
    ),
]
Seed = Annotated[int, typer.Option(help="Random seed of the split.")]
SplitBy = Annotated[
    str | None,
    typer.Option(
        metavar="image|parent|REGEX",
        help="Images to keep in the same split. image: each on its own; parent: those of a folder; REGEX: those "
        "with the same first group, or the same match, in their names.",
        show_default="the frames of a clip, if names look like frames; else image",
    ),
]
StratifyBy = Annotated[
    Literal["size", "visibility", "category"] | None,
    typer.Option(
        "--stratify",
        help="Also balance the splits by object size (small, medium, large), keypoint visibility (visible, "
        "occluded, unlabeled) or category. Groups of --split-by stay together.",
    ),
]


def split(
    data: Data,
    val: Val = None,
    test: Test = None,
    folds: Folds = None,
    seed: Seed = 0,
    split_by: SplitBy = None,
    stratify: StratifyBy = None,
) -> None:
    """Split the images of a data set again, or share them out into folds.

    Rewrites train_coco.json and val_coco.json together; with --val 0 only train_coco.json is left. Images, unknown
    keys, ids and a test split do not change, except with --test.
    """
    if folds is None:
        _splits(data, val, test, seed, split_by, stratify)
    elif val is None and test is None:
        _folds(data, folds, seed, split_by, stratify)
    else:
        given = "--val" if val is not None else "--test"
        hint = "split first, and write folds with a second command"
        raise RequestError(f"{given} cannot be combined with --folds, which leaves train, val and test", hint=hint)


def _splits(
    data: Path, val: float | None, test: float | None, seed: int, by: str | None, stratify: Stratify | None
) -> None:
    from posetools.datasets.resplit import resplit
    from posetools.datasets.split import DEFAULT_VAL

    result = resplit(
        data, val=DEFAULT_VAL if val is None else val, test=test or 0.0, seed=seed, by=by, stratify=stratify
    )
    notes = _renumbered(result.renumbered, "both files" if "test" not in result.counts else "two files")
    notes += [f"{name}: not changed" for name in result.untouched]
    notes += ["an interrupted split was finished first"] if result.finished else []
    if result.folds:
        notes.append(f"folds: removed, because train and val have other images now; `{result.folds}` renews them")
    notes += [f"warning: {each}" for each in result.plan.warnings]
    print_counts(result.counts, f"split: {result.plan.reason}", notes)
    if result.strata and len(result.counts) > 1:
        _print_strata(result)
    print_next(data, result.counts)


def _folds(data: Path, folds: int, seed: int, by: str | None, stratify: Stratify | None) -> None:
    from posetools.datasets.folds import write_folds

    result = write_folds(data, folds, seed=seed, by=by, stratify=stratify)
    notes = _renumbered(result.renumbered, "train and val")
    notes += [f"replaced {counted(result.replaced, 'earlier fold')}"] if result.replaced else []
    notes += ["an interrupted split was finished first"] if result.finished else []
    notes.append("each fold trains on the images of all others: folds/1/train_coco.json, ...")
    print_counts(result.counts, f"folds: {result.plan.reason}; {counted(result.plan.groups, 'group')}", notes)
    print_next(data, ("train", "val"))


def _renumbered(what: Sequence[str], files: str) -> list[str]:
    return [f"{' and '.join(what)} got new ids: {files} used the same ones"] if what else []


def _print_strata(result: ResplitResult) -> None:
    images = {split: each.images for split, each in result.counts.items()}
    sides = [split for split in images if split != "train"]
    rows = []
    for name, numbers in {"images": (sum(images.values()), *(images[side] for side in sides)), **result.strata}.items():
        total, *parts = numbers
        shares = [f"{100 * part / total:.1f} %" for part in parts]
        rows.append((name, str(total - sum(parts)), *map(str, parts), *shares))
    console().print(table_of(rows, "", "train", *sides, *(f"{side} fraction" for side in sides)))
