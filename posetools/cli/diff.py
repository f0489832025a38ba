"""``posetools diff``: compares two labelings of the same images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posetools.cli.console import console, escape, listed, progress, say, table_of
from posetools.cli.options import LABELING, MatchIou, SkeletonOfTwo

if TYPE_CHECKING:
    from posetools.datasets.diff import DiffResult, Moves, PointDiff

_LISTED_OBJECTS = 10

A = Annotated[Path, typer.Argument(metavar="A", help=f"The old labels: {LABELING}")]
B = Annotated[Path, typer.Argument(metavar="B", help="The new labels, in one of the same forms.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all counts and changes to FILE.")]
Threshold = Annotated[
    float, typer.Option(metavar="PX", help="Points and boxes that move by at most PX pixels count as unmoved.")
]
ExitCode = Annotated[bool, typer.Option("--exit-code", help="Exit with status 1 if the labelings differ.")]


def diff(
    a: A,
    b: B,
    json: Json = None,
    match_iou: MatchIou = 0.5,
    threshold: Threshold = 0.5,
    skeleton: SkeletonOfTwo = None,
    exit_code: ExitCode = False,
) -> None:
    """Compare two labelings of the same images: images, objects, boxes and keypoints.

    Exit status: 0 compared; 1 they differ (only with --exit-code); 2 could not run.
    """
    from posetools.datasets.diff import diff
    from posetools.files.disk import write_json

    with progress() as report:
        result = diff(a, b, skeleton=skeleton, iou=match_iou, threshold=threshold, progress=report)
    _print(result)
    if json is not None:
        write_json(json, result.as_dict())
        say(f"wrote {json}")
    raise typer.Exit(1 if exit_code and result.differs else 0)


def _print(result: DiffResult) -> None:
    out = console()
    rows = [*_by_category(result), ("all", result.overall)]
    counts = [(name, *_counts(each)) for name, each in rows]
    heads = ("", "in A", "in B", "added", "removed", "relabeled", "visibility")
    moves = [(name, *_cells(each.moved), _share(each.corrected_share)) if each else (name,) for name, each in rows]
    columns = ("", "moved", "mean", "median", "max", "of diag.", "corrected")
    tables = [table_of(counts, *heads, title="keypoints of matched objects")]
    if result.overall.moved.number or result.overall.corrected_share:
        tables.append(table_of(moves, *columns, title="moved keypoints, in pixels"))
    for table in tables:
        table.rows[-2].end_section = True
        out.print(table)
    if len(result.categories) > 1:
        of_category = ("category", "in both", "added", "removed", "became")
        out.print(table_of(_of_categories(result), *of_category, title="objects"))
    pairs = [f"{old} is {new} ({n})" for old, each in result.points.items() for new, n in each.relabelled.items()]
    names = ("unlabeled", "occluded", "visible")
    seen = [
        f"{names[i]} to {names[j]} ({number})"
        for i, row in enumerate(result.overall.visibility)
        for j, number in enumerate(row)
        if i != j and number
    ]
    lists = {
        "images added": result.images_added,
        "images removed": result.images_removed,
        "in another split": [f"{name}: {old} to {new}" for name, old, new in result.split_changed],
        "objects added": [place for _, place in result.objects_added],
        "objects removed": [place for _, place in result.objects_removed],
        "relabeled": pairs,
        "visibility": seen,
    }
    lines = [
        line for what, each in lists.items() for line in listed(f"{what}:", each, _LISTED_OBJECTS, "; --json lists all")
    ]
    for line in (*_head(result), *lines):
        out.print(escape(line))


def _by_category(result: DiffResult) -> Iterator[tuple[str, PointDiff | None]]:
    """Yield each keypoint's name and changes; if there are several categories, below the category's name."""
    for category, each in result.categories.items():
        if len(result.categories) > 1:
            yield f"{category}:", None
        yield from each.points.items()


def _counts(each: PointDiff | None) -> tuple[str, ...]:
    if each is None:
        return ()
    changed = (each.added, each.removed, sum(each.relabelled.values()), each.visibility_changed)
    return tuple(map(str, (*each.labeled, *changed)))


def _of_categories(result: DiffResult) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, each in result.categories.items():
        became = ", ".join(f"{new} ({number})" for new, number in each.changed.items())
        rows.append((name, str(each.both), str(each.added), str(each.removed), became))
    return rows


def _head(result: DiffResult) -> list[str]:
    moved = result.boxes
    how_far = f" (mean {moved.mean:.1f} px, max {moved.largest:.1f} px)" if moved.mean and moved.largest else ""
    return [
        f"images in both: {result.images}, added: {len(result.images_added)}, "
        f"removed: {len(result.images_removed)}, in another split: {len(result.split_changed)}",
        f"objects in both: {result.objects}, added: {len(result.objects_added)}, "
        f"removed: {len(result.objects_removed)}, boxes moved: {moved.number}{how_far}",
    ]


def _cells(moves: Moves) -> list[str]:
    numbers = (moves.mean, moves.median, moves.largest)
    return [str(moves.number), *("-" if n is None else f"{n:.1f}" for n in numbers), _share(moves.share)]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
