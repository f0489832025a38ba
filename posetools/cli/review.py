"""``posetools review``: selects the images to label or check next."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from posetools.cli.console import console, progress, say, table_of
from posetools.cli.models import BboxThr, Bundle, Det, Device, ModelName, Pose, Run, check_models, load_pipeline
from posetools.cli.options import SKELETON_HELP, Out
from posetools.errors import RequestError

if TYPE_CHECKING:
    from posetools.labeling.review.choose import ReviewRequest, ReviewResult
    from posetools.pairs.open import PipelineOptions

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
        help="Criteria: confidence, boxes, geometry, labels, variety. labels alone, with models and a data set: rank "
        "its probably wrong labels, by kind of error.",
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
Folds = Annotated[
    bool,
    _choice(
        "--folds",
        help="With --by labels: --run has a pair of each fold (`posetools train --folds`); each image is judged by the "
        "pair that did not train on it.",
    ),
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
    folds: Folds = False,
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

    from posetools.core.folder import is_data_set
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
    if folds or (models and terms == ("labels",) and is_data_set(data)):
        _wrong_labels(request, options, models=(det, pose, run, bundle), folds=folds)
        return
    pipeline = load_pipeline(det, pose, run, bundle, options) if models else None
    with progress(rate="images/s") as tell:
        result = choose(request, pipeline, tell)
    _print(result, out)


def _wrong_labels(
    request: ReviewRequest,
    options: PipelineOptions,
    *,
    models: tuple[ModelName | None, ModelName | None, Path | None, Path | None],
    folds: bool,
) -> None:
    from posetools.labeling.review.wrong_labels import fold_parts, pair_parts, review_labels
    from posetools.labeling.suspects.ranking import counts_of
    from posetools.pairs.open import open_pair

    det, pose, run, bundle = models
    if folds and (run is None or request.by != ("labels",)):
        raise RequestError("--folds must be used with --by labels and --run", hint="use --by labels --run DIR --folds")
    given = {"--only unlabeled": request.only == "unlabeled", "--bbox-thr": options.bbox_thr is not None}
    if refused := [option for option, is_given in given.items() if is_given]:
        raise RequestError(f"{refused[0]} cannot be combined with --by labels, which checks all labels")
    with progress(rate="images/s") as tell:
        if folds and run is not None:
            parts = fold_parts(run, request.data, options, tell)
        else:
            pair = open_pair(options, run=run, bundle=bundle, det=det, pose=pose, what="posetools review")
            parts = pair_parts(pair, request.data, tell)
        result = review_labels(request, parts, tell, unseen=folds)
    rows = [(kind, str(probable), str(listed)) for kind, (probable, listed) in counts_of(result.suspects).items()]
    console().print(table_of(rows, "suspected", "probable", "listed", title="Labels that may be wrong"))
    _print(result, request.out)


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
    wrote = [f"wrote {out}: review.json, review.csv, sheet.jpg, {LINKED}/", f"next: posetools annotate {out / LINKED}"]
    for line in (*result.notes, *(wrote if result.chosen else ["nothing to check: no label is suspected"])):
        say(line)
