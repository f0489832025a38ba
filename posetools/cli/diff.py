"""``posetools diff``: what differs between two labellings of the same pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posetools.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from posetools.datasets.diff import DiffResult, Moves

_LISTED = 10

_HELP = "a data set folder, a COCO file, or a folder or file that `posetools convert` reads."
A = Annotated[Path, typer.Argument(metavar="A", help=f"What was: {_HELP}")]
B = Annotated[Path, typer.Argument(metavar="B", help="What is: likewise.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all of it, with every change, here.")]
MatchIou = Annotated[float, typer.Option(help="Objects are the same when the IoU of their boxes is at least this.")]
Threshold = Annotated[
    float, typer.Option(metavar="PX", help="A point or box that moves by no more than this has not moved.")
]
SkeletonName = Annotated[
    str | None,
    typer.Option("--skeleton", help="A built-in skeleton or a YAML file.", show_default="that of A or B"),
]
ExitCode = Annotated[bool, typer.Option("--exit-code", help="End with exit status 1 when something differs.")]


def diff(
    a: A,
    b: B,
    json: Json = None,
    match_iou: MatchIou = 0.5,
    threshold: Threshold = 0.5,
    skeleton: SkeletonName = None,
    exit_code: ExitCode = False,
) -> None:
    """Tell what differs between two labellings of the same pictures: pictures, objects, boxes, and every keypoint.

    Exit status: 0 compared, 1 something differs (with --exit-code only), 2 could not run.
    """
    from posetools.cli.console import progress
    from posetools.datasets.diff import diff
    from posetools.files.disk import write_json

    with progress() as report:
        result = diff(a, b, skeleton=skeleton, iou=match_iou, threshold=threshold, progress=report)
    _print(result)
    if json is not None:
        write_json(json, result.as_dict())
        print(printable(f"wrote {json}"))
    raise typer.Exit(1 if exit_code and result.differs else 0)


def _print(result: DiffResult) -> None:
    from rich.table import Table

    from posetools.cli.console import console, escape

    out = console()
    counts = Table(
        "", "in A", "in B", "added", "removed", "relabelled", "visibility", title="points of matched objects"
    )
    moves = Table("", "moved", "mean", "median", "max", "of diag.", "corrected", title="of these, moved: in pixels")
    rows = [*result.points.items(), ("all", result.overall)]
    for number, (name, each) in enumerate(rows, start=1):
        changed = (each.added, each.removed, sum(each.relabelled.values()), each.visibility_changed)
        last = number == len(result.points)
        counts.add_row(escape(name), *map(str, (*each.labelled, *changed)), end_section=last)
        moves.add_row(escape(name), *_cells(each.moved), _share(each.corrected_share), end_section=last)
    out.print(counts)
    if result.overall.moved.number or result.overall.corrected_share:
        out.print(moves)
    pairs = [f"{old} is {new} ({n})" for old, each in result.points.items() for new, n in each.relabelled.items()]
    names = ("not labelled", "hidden", "visible")
    seen = [
        f"{names[i]} to {names[j]} ({number})"
        for i, row in enumerate(result.overall.visibility)
        for j, number in enumerate(row)
        if i != j and number
    ]
    for line in (*_head(result), *_listed("relabelled", pairs), *_listed("visibility", seen)):
        out.print(escape(line))


def _head(result: DiffResult) -> list[str]:
    moved = result.boxes
    how_far = f" (mean {moved.mean:.1f} px, max {moved.largest:.1f} px)" if moved.mean and moved.largest else ""
    return [
        f"pictures in both: {result.pictures}, added: {len(result.pictures_added)}, "
        f"removed: {len(result.pictures_removed)}, in another split: {len(result.split_changed)}",
        f"objects in both: {result.objects}, added: {len(result.objects_added)}, "
        f"removed: {len(result.objects_removed)}, boxes moved: {moved.number}{how_far}",
        *_listed("pictures added", result.pictures_added),
        *_listed("pictures removed", result.pictures_removed),
        *_listed("in another split", [f"{name}: {old} to {new}" for name, old, new in result.split_changed]),
        *_listed("objects added", [place for _, place in result.objects_added]),
        *_listed("objects removed", [place for _, place in result.objects_removed]),
    ]


def _listed(what: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    more = [f"  ... and {len(lines) - _LISTED} more; --json lists all"] if len(lines) > _LISTED else []
    return [f"{what}:", *(f"  {line}" for line in lines[:_LISTED]), *more]


def _cells(moves: Moves) -> list[str]:
    numbers = (moves.mean, moves.median, moves.largest)
    return [str(moves.number), *("-" if n is None else f"{n:.1f}" for n in numbers), _share(moves.share)]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
