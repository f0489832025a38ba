"""``posetools review``: selects the images to label or check next."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from posetools.cli.console import console, progress, say, table_of
from posetools.cli.models import BboxThr, Bundle, Det, Device, Pose, Run, check_models, load_pipeline
from posetools.cli.options import SKELETON_HELP, Out
from posetools.errors import RequestError

if TYPE_CHECKING:
    from posetools.labeling.review.choose import ReviewResult

# Number of images in the table; review.csv has all of them.
_LISTED_ROWS = 20


_choice = partial(typer.Option, rich_help_panel="Selection")

Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images, labeled or not, or a data set folder.")]
PredictionsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Predictions file of `posetools predict`, instead of models.",
        rich_help_panel="Models (choose one pair)",
    ),
]
Next = Annotated[int, _choice("--next", min=1, metavar="N", help="Number of images to select.")]
By = Annotated[
    str | None,
    _choice(
        metavar="TERM,...",
        help="Criteria: confidence, boxes, geometry, labels, variety.",
        show_default="all that apply",
    ),
]
Variety = Annotated[float, _choice(min=0, help="Weight of the difference from images selected before.")]
Only = Annotated[
    Literal["all", "labeled", "unlabeled"],
    _choice(help="Select from all images, or from those with or without labels by a person."),
]
LinkHow = Annotated[
    Literal["symlink", "copy"] | None,
    typer.Option(
        help="How to put the image files in the output.", show_default="symlink; copy for images of a data set"
    ),
]
SkeletonName = Annotated[
    str | None, typer.Option(metavar="NAME|FILE", help=SKELETON_HELP, show_default="that of the data or the models")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the folder in --out.")]


def review(
    data: Data,
    det: Det = None,
    pose: Pose = None,
    run: Run = None,
    bundle: Bundle = None,
    predictions: PredictionsFile = None,
    next_: Next = 50,
    by: By = None,
    variety: Variety = 0.5,
    only: Only = "all",
    out: Out = Path("review"),
    links: LinkHow = None,
    skeleton: SkeletonName = None,
    overwrite: Overwrite = False,
    bbox_thr: BboxThr = None,
    device: Device = "auto",
) -> None:
    """Select the images that are most worth labeling or checking next.

    Writes a list with reasons, a contact sheet, and a folder to open in labelme.

    Exit status: 0 done; 2 could not run.
    """
    from dataclasses import replace

    from posetools.labeling.review.choose import BY, ReviewRequest, check_review
    from posetools.labeling.review.choose import review as choose
    from posetools.pairs.open import PipelineOptions

    models = bool(det or pose or run or bundle)
    if models:
        check_models(det, pose, run, bundle)
        if predictions is not None:
            raise RequestError(
                "--predictions cannot be combined with models", hint="leave out --predictions or the models"
            )
    terms = BY if by is None else tuple(name.strip() for name in by.split(",") if name.strip())
    request = ReviewRequest(data=data, out=out, number=next_, by=terms, variety=variety, only=only)
    request = replace(request, predictions=predictions, skeleton=skeleton, links=links, overwrite=overwrite)
    check_review(request)
    options = PipelineOptions(device=device, bbox_thr=bbox_thr)
    pipeline = load_pipeline(det, pose, run, bundle, options) if models else None
    with progress(rate="images/s") as tell:
        result = choose(request, pipeline, tell)
    _print(result, out)


def _print(result: ReviewResult, out: Path) -> None:
    from posetools.labeling.review.links import LINKED

    rows = [
        (str(rank), one.candidate.image.file_name, f"{one.score:.2f}", one.why)
        for rank, one in enumerate(result.chosen[:_LISTED_ROWS], start=1)
    ]
    title = f"{len(result.chosen)} of {result.among} images"
    console().print(table_of(rows, "", "image", "score", "why", title=title))
    if len(result.chosen) > _LISTED_ROWS:
        say(f"... and {len(result.chosen) - _LISTED_ROWS} more in {out / 'review.csv'}")
    wrote = f"wrote {out}: review.json, review.csv, sheet.jpg, {LINKED}/"
    for line in (*result.notes, wrote, f"next: posetools annotate {out / LINKED}"):
        say(line)
