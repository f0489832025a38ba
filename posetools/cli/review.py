"""``posetools review``: which images to label or to check next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from posetools.cli.console import console, progress, say, table_of
from posetools.cli.models import BboxThr, Bundle, Det, Device, Pose, Run, check_models, load_pipeline
from posetools.cli.options import Out
from posetools.errors import RequestError

if TYPE_CHECKING:
    from posetools.labeling.review.choose import ReviewResult

# Images that the table lists; review.csv has all of them.
_LISTED_ROWS = 20


Data = Annotated[Path, typer.Argument(metavar="DATA", help="A folder of images, labeled or not, or a data set folder.")]
PredictionsFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Or: a file of `posetools predict`.")]
Next = Annotated[int, typer.Option("--next", min=1, help="How many images.")]
By = Annotated[
    str | None,
    typer.Option(
        metavar="TERM,...",
        help="What counts: confidence, boxes, geometry, labels, variety.",
        show_default="all that can",
    ),
]
Variety = Annotated[float, typer.Option(min=0, help="How much it counts that an image differs from those before it.")]
Only = Annotated[
    Literal["all", "labelled", "unlabelled"],
    typer.Option(help="Choose among all images, or those with or without a person's labels."),
]
LinkHow = Annotated[
    Literal["symlink", "copy"] | None,
    typer.Option(help="How the images come into the folder.", show_default="symlink; copy from a data set"),
]
SkeletonName = Annotated[
    str | None, typer.Option(help="A built-in skeleton or a YAML file.", show_default="the data's or the models'")
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
    """Choose the images from which most is to be learned: a list with reasons, a sheet, a folder for labelme.

    Exit status: 0 done, 2 could not run.
    """
    from dataclasses import replace

    from posetools.labeling.review.choose import BY, ReviewRequest, check_review
    from posetools.labeling.review.choose import review as choose
    from posetools.pairs.open import PipelineOptions

    models = bool(det or pose or run or bundle)
    if models:
        check_models(det, pose, run, bundle)
        if predictions is not None:
            raise RequestError("--predictions are there already: no models are needed; leave one of the two out")
    terms = BY if by is None else tuple(name.strip() for name in by.split(",") if name.strip())
    request = ReviewRequest(data=data, out=out, number=next_, by=terms, variety=variety, only=only)
    request = replace(request, predictions=predictions, skeleton=skeleton, links=links, overwrite=overwrite)
    check_review(request)
    options = PipelineOptions(device=device, bbox_thr=bbox_thr)
    pipeline = load_pipeline(det, pose, run, bundle, options) if models else None
    with progress(rate="pictures/s") as tell:
        result = choose(request, pipeline, tell)
    _print(result, out)


def _print(result: ReviewResult, out: Path) -> None:
    rows = [
        (str(rank), one.candidate.image.file_name, f"{one.score:.2f}", one.why)
        for rank, one in enumerate(result.chosen[:_LISTED_ROWS], start=1)
    ]
    title = f"{len(result.chosen)} of {result.among} images"
    console().print(table_of(rows, "", "image", "score", "why", title=title))
    if len(result.chosen) > _LISTED_ROWS:
        say(f"... and {len(result.chosen) - _LISTED_ROWS} more in {out / 'review.csv'}")
    wrote = f"wrote {out}: review.json, review.csv, sheet.jpg, pictures/"
    for line in (*result.notes, wrote, f"next: posetools annotate {out / 'pictures'}"):
        say(line)
