"""``posetools sigmas``: measures the OKS sigmas from images labeled twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posetools.cli.console import console, escape, progress, say, table_of
from posetools.cli.options import LABELING, MatchIou, SkeletonOfTwo

if TYPE_CHECKING:
    from posetools.datasets.sigmas import Sigma, SigmasResult

A = Annotated[Path, typer.Argument(metavar="A", help=f"Labels of one person: {LABELING}")]
B = Annotated[
    Path, typer.Argument(metavar="B", help="Labels of another person for the same images, in one of the same forms.")
]
Update = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write the sigmas to this skeleton file; the rest of it is kept."),
]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the table to FILE.")]


def sigmas(
    a: A,
    b: B,
    update: Update = None,
    json: Json = None,
    match_iou: MatchIou = 0.5,
    skeleton: SkeletonOfTwo = None,
) -> None:
    """Measure the OKS sigma of each keypoint from images that two people labeled.

    OKS and AP depend on the sigmas. A keypoint needs at least 20 objects that both people labeled.

    Exit status: 0 measured; 2 could not run.
    """
    from posetools.datasets.sigmas import sigmas, update_skeleton
    from posetools.files.disk import write_json

    with progress() as report:
        result = sigmas(a, b, skeleton=skeleton, iou=match_iou, progress=report)
    _print(result)
    if json is not None:
        write_json(json, result.as_dict())
        say(f"wrote {json}")
    if update is not None:
        kept = update_skeleton(update, result)
        say(f"wrote {update}" + (f"; unchanged: {', '.join(kept)}" if kept else ""))


def _print(result: SigmasResult) -> None:
    out = console()
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for skeleton, points in result.skeletons.items():
        several = len(result.skeletons) > 1
        rows += [(f"{skeleton}:",)] if several else []
        for name, each in points.items():
            numbers = ["-", "-", "-"]
            if each.sigma is not None:
                numbers = [f"{each.sigma:.4f}", f"{each.low:.4f} to {each.high:.4f}", f"{each.offset:.4f}"]
            rows.append((name, str(each.objects), *numbers, f"{each.current:g}"))
            notes += _notes(f"{skeleton}.{name}" if several else name, each)
    heads = ("keypoint", "objects", "sigma", "95 % interval", "offset", "current")
    out.print(table_of(rows, *heads, title="in units of sqrt(area)"))
    notes.append(
        f"objects in both: {result.objects} in {result.images} images; "
        f"in A only: {result.unmatched[0]}, in B only: {result.unmatched[1]}"
    )
    for note in notes:
        out.print(escape(note))


def _notes(name: str, each: Sigma) -> Iterator[str]:
    from posetools.datasets.sigmas import FEWEST_POINTS

    if each.sigma is None:
        yield f"{name}: not measured: needs at least {FEWEST_POINTS} objects, got {each.objects}"
    if each.relabelled:
        yield f"{name}: {each.relabelled} left out, because B has them under another keypoint name"
    if each.sigma and each.offset and each.offset > each.sigma / 2:
        yield f"{name}: mostly a constant offset; agree on the position of the point, then label again"
