"""``posetools merge``: merges several data sets into one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from posetools.cli.console import console, folds_left_out, listed, print_counts, print_findings, print_next, progress
from posetools.cli.options import Images, Out, Overwrite, pairs

if TYPE_CHECKING:
    from posetools.datasets.merge import MergeResult

_LISTED_IMAGES = 10

Data = Annotated[
    list[Path], typer.Argument(metavar="DATA DATA...", help="Data set folders, as `posetools convert` writes them.")
]
SkeletonName = Annotated[
    str | None,
    typer.Option(
        "--skeleton",
        metavar="NAME|FILE",
        help="Skeleton of the result, if the data sets differ: car8, coco17 or a skeleton file.",
        show_default="the categories of all data sets, each with its own",
    ),
]
Map = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="OLD=NEW", help="Rename OLD to NEW, a name in the skeleton. Repeatable."),
]
Ignore = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Keypoint or category to leave out and count. Repeatable.")
]
KeepIn = Annotated[
    Literal["train", "val"] | None,
    typer.Option(help="Split of an image that is in train of one data set and in val of another."),
]


def merge(
    data: Data,
    out: Out,
    skeleton: SkeletonName = None,
    names: Map = None,
    ignore: Ignore = None,
    keep_in: KeepIn = None,
    images: Images = "copy",
    overwrite: Overwrite = False,
) -> None:
    """Merge several data sets into one.

    train is merged with train, val with val; `posetools split` splits the result again. The result has the categories
    of all data sets. Images in two data sets are kept once, with the objects of both; if their labels of one category
    or their splits differ, nothing is written.

    Exit status: 0 written; 2 could not run.
    """
    from posetools.datasets.merge import MergeRequest, merge

    request = MergeRequest(
        sources=tuple(data),
        out=out,
        skeleton=skeleton,
        names=pairs(names or ()),
        ignore=frozenset(ignore or ()),
        keep_in=keep_in,
        images=images,
        overwrite=overwrite,
    )
    folds = folds_left_out(out, data)
    with progress() as report:
        result = merge(request, report)
    _print(result, out, folds)


def _print(result: MergeResult, out: Path, folds: Sequence[str]) -> None:
    from posetools.core.record import count

    print_findings(result.findings, console())
    notes = [f"left out on purpose: {label} ({times})" for label, times in result.ignored.items()]
    notes += result.notes
    renamed = [f"{source}: {old} is {new}" for source, old, new in result.renamed]
    doubles = [f"{gone} = {kept}" for gone, kept in result.doubles]
    for what, lines in (("renamed", renamed), ("in two data sets, kept once", doubles)):
        notes += listed(f"{what}: {len(lines)}", lines, _LISTED_IMAGES, "; conversion.json lists all")
    notes += [*folds, f"wrote {out}"]
    counts = {split: count(dataset) for split, dataset in result.datasets.items()}
    print_counts(counts, "split: as in the data sets (change it with `posetools split`)", notes)
    print_next(out, counts)
