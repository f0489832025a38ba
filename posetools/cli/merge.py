"""``posetools merge``: several data sets as one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from posetools.cli.console import console, listed, print_counts, print_findings, print_next, progress
from posetools.cli.options import Images, Out, Overwrite, pairs

if TYPE_CHECKING:
    from posetools.datasets.merge import MergeResult

_LISTED_IMAGES = 10

Data = Annotated[list[Path], typer.Argument(metavar="DATA DATA...", help="Data set folders, as convert writes them.")]
SkeletonName = Annotated[
    str | None,
    typer.Option(
        "--skeleton",
        help="car8, coco17, or the path of a skeleton file: what the result has, when the data sets differ.",
        show_default="the first data set's, which all must share",
    ),
]
Map = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="OLD=NEW", help="A name in a data set and the skeleton's name for it."),
]
Ignore = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="A keypoint or category to leave out and count.")
]
KeepIn = Annotated[
    Literal["train", "val"] | None,
    typer.Option(help="Where an image stays that is in train of one data set and in val of another."),
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
    """Make one data set of several: train with train, val with val; `posetools split` splits it anew.

    Images that two data sets share are kept once; with other labels, or in another split, nothing is written.
    Exit status: 0 written, 2 could not run.
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
    with progress() as report:
        result = merge(request, report)
    _print(result, out)


def _print(result: MergeResult, out: Path) -> None:
    from posetools.core.record import count

    print_findings(result.findings, console())
    notes = [f"left out on purpose: {label} ({times})" for label, times in result.ignored.items()]
    notes += result.notes
    renamed = [f"{source}: {old} is {new}" for source, old, new in result.renamed]
    doubles = [f"{gone} = {kept}" for gone, kept in result.doubles]
    for what, lines in (("renamed", renamed), ("in two data sets, kept once", doubles)):
        notes += listed(f"{what}: {len(lines)}", lines, _LISTED_IMAGES, "; conversion.json lists all")
    notes.append(f"wrote {out}")
    counts = {split: count(dataset) for split, dataset in result.datasets.items()}
    print_counts(counts, "split: as in the data sets (`posetools split` makes another)", notes)
    print_next(out, counts)
