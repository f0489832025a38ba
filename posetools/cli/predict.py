"""``posetools predict``: objects and keypoints in images and videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from posetools.cli.console import console, progress, table_of
from posetools.cli.models import (
    BboxThr,
    Bundle,
    ClusterAddress,
    Det,
    Device,
    KptThr,
    NmsThr,
    Pose,
    Run,
    Threads,
    Workers,
    check_models,
    engine_of_bundle,
    load_pipeline,
)
from posetools.cli.options import SKELETON_HELP
from posetools.errors import RequestError, counted, first_lines, must_be, printable

if TYPE_CHECKING:
    from posetools.pairs.open import PipelineOptions
    from posetools.pairs.pipeline import PosePipeline
    from posetools.prediction.predict import PredictReport, PredictRequest
    from posetools.prediction.sharded import ShardRequest
    from posetools.scale.shards import ModelEngine

_Inputs: TypeAlias = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...",
        help="Images, folders and globs, also at URLs (s3://...); video files, or the number of a camera.",
    ),
]
_output = partial(typer.Option, rich_help_panel="Output")
_drawing = partial(typer.Option, rich_help_panel="Drawing")

_OutputRoot: TypeAlias = Annotated[
    Path | None,
    _output(metavar="DIR", help="Folder for drawn images and videos.", show_default="only print a table"),
]
_SavePredictions: TypeAlias = Annotated[
    bool, _output("--save-predictions", help="Also write predictions.json and results_coco.json.")
]
_Format: TypeAlias = Annotated[
    Literal["drawn", "labelme", "jsonl", "parquet"] | None,
    _output(
        "--format",
        help="drawn: images with predictions; labelme: copies with labelme files, for correction; jsonl, parquet: "
        "only the numbers, in files of up to 256 images, with --bundle.",
        show_default="drawn; with --workers or --cluster jsonl",
    ),
]
_AnnFile: TypeAlias = Annotated[
    Path | None,
    _output(
        metavar="FILE",
        help="COCO file with the image ids to use.",
        show_default="the ids in the images' data set, else 1, 2, 3 and so on",
    ),
]
_Amp: TypeAlias = Annotated[bool, typer.Option("--amp", help="Mixed precision. Needs a GPU.")]
_FlipTest: TypeAlias = Annotated[
    bool, typer.Option("--flip-test", help="Average with the mirrored crop: slightly better, twice the time.")
]
_DetCatId: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|N",
        help="Class of the detector to use: its name, or its index from 0.",
        show_default="the skeletons' categories",
    ),
]
_Skeleton: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME|FILE", help=SKELETON_HELP, show_default="the pose estimator's")
]
_Radius: TypeAlias = Annotated[
    float | None, _drawing(min=0.5, help="Radius of keypoints in pixels.", show_default="by image size")
]
_Thickness: TypeAlias = Annotated[
    float | None, _drawing(min=0.5, help="Thickness of lines in pixels.", show_default="by image size")
]
_DrawBbox: TypeAlias = Annotated[bool, _drawing("--draw-bbox/--no-draw-bbox", help="Draw boxes and scores.")]
_DrawHeatmap: TypeAlias = Annotated[bool, _drawing("--draw-heatmap", help="Draw heatmaps.")]
_ShowKptIdx: TypeAlias = Annotated[bool, _drawing("--show-kpt-idx", help="Draw the index of each keypoint.")]
_Show: TypeAlias = Annotated[bool, _output("--show", help="Also show the results in a window; Esc or q quits.")]


def predict(
    inputs: _Inputs,
    det: Det = None,
    pose: Pose = None,
    run: Run = None,
    bundle: Bundle = None,
    output_root: _OutputRoot = None,
    save_predictions: _SavePredictions = False,
    file_format: _Format = None,
    ann_file: _AnnFile = None,
    show: _Show = False,
    bbox_thr: BboxThr = None,
    kpt_thr: KptThr = None,
    nms_thr: NmsThr = None,
    det_cat_id: _DetCatId = None,
    radius: _Radius = None,
    thickness: _Thickness = None,
    draw_bbox: _DrawBbox = True,
    draw_heatmap: _DrawHeatmap = False,
    show_kpt_idx: _ShowKptIdx = False,
    skeleton: _Skeleton = None,
    flip_test: _FlipTest = False,
    device: Device = "auto",
    amp: _Amp = False,
    workers: Workers = 1,
    cluster: ClusterAddress = None,
    threads: Threads = None,
) -> None:
    """Detect objects and their keypoints in images, videos or a camera stream.

    Exit status: 0 done; 1 some images could not be read; 2 could not run.
    """
    from posetools.imaging.drawing import Style
    from posetools.pairs.open import PipelineOptions
    from posetools.prediction.predict import PredictRequest

    options = PipelineOptions(device=device, amp=amp, flip_test=flip_test, heatmaps=draw_heatmap, skeleton=skeleton)
    chosen = int(det_cat_id) if det_cat_id and det_cat_id.isdecimal() else det_cat_id
    options = replace(options, bbox_thr=bbox_thr, nms_thr=nms_thr, kpt_thr=kpt_thr, det_cat_id=chosen, threads=threads)
    request = PredictRequest(
        output_root=output_root,
        save_predictions=save_predictions,
        labelme=file_format == "labelme",
        ann_file=ann_file,
        show=show,
        style=Style(line=thickness, radius=radius, boxes=draw_bbox, indices=show_kpt_idx),
    )
    check_models(det, pose, run, bundle)
    engine = engine_of_bundle(bundle, workers, cluster, threads)
    drawing = {"--draw-heatmap": draw_heatmap, "--show-kpt-idx": show_kpt_idx, "--show": show, "--radius": radius}
    drawn = [name for name, value in {**drawing, "--thickness": thickness}.items() if value]
    shards = _shards(file_format, bundle, options, drawn, engine)
    _predict(inputs, request, lambda: load_pipeline(det, pose, run, bundle, options), shards)


def _shards(
    file_format: str | None,
    bundle: Path | None,
    options: PipelineOptions,
    drawn: Sequence[str],
    engine: ModelEngine | None,
) -> ShardRequest | None:
    """Return how to predict in shards, or None for one process that draws."""
    from posetools.prediction.sharded import FORMS, ShardRequest
    from posetools.scale.shards import OwnProcess

    form = next((each for each in FORMS if each == (file_format or ("jsonl" if engine else "drawn"))), None)
    if form is None:
        if engine:
            rule = "jsonl or parquet with --workers or --cluster, which draw nothing and copy no image"
            raise RequestError(must_be("--format", rule, file_format), hint="leave out --format")
        return None
    if bundle is None:
        raise RequestError(
            f"--format {form} requires --bundle ZIP", hint="`posetools export --run DIR` writes a bundle"
        )
    if drawn:
        hint = f"leave out {drawn[0]}, or --format, --workers and --cluster"
        raise RequestError(f"{drawn[0]} cannot be combined with --format {form}, which draws nothing", hint=hint)
    return ShardRequest(bundle=bundle, options=options, engine=engine or OwnProcess(), form=form)


def _predict(
    inputs: Sequence[str], request: PredictRequest, load: Callable[[], PosePipeline], shards: ShardRequest | None
) -> None:
    from posetools.imaging.frames import open_sources
    from posetools.prediction.predict import check_request
    from posetools.prediction.predict import predict as predict_all
    from posetools.prediction.sharded import check_sharded, predict_sharded

    # Report wrong arguments before models are loaded, which takes seconds.
    sources = open_sources(inputs)
    check_request(request, sources)
    if shards:
        check_sharded(request, shards.form, sources)
    pipeline = load()
    with progress(rate="frames/s") as report_progress:
        if shards:
            report = predict_sharded(request, shards, sources, pipeline, report_progress)
        else:
            report = predict_all(request, sources, pipeline, report_progress)
    print_report(report)
    if report.problems:
        raise typer.Exit(1)


# More lines are only counted.
_LISTED_LINES = 20
_NAMED_FILES = 4


def print_report(report: PredictReport) -> None:
    """Print the detections, the written files and the problems."""
    out = console()
    if report.seen:
        rows = [(name, str(len(scores)), _scores(scores)) for name, scores in report.seen[:_LISTED_LINES]]
        left = len(report.seen) - _LISTED_LINES
        rows += [(f"... and {left} more", "", "")] if left > 0 else []
        out.print(table_of(rows, "image", "objects", "scores"))
    rate = report.images / report.seconds if report.seconds else 0.0
    out.print(
        f"{counted(report.objects, 'object')} in {counted(report.images, 'image')}, {report.seconds:.1f} s "
        f"({rate:.1f} images/s)"
    )
    lines = [f"  {path}" for path in report.written]
    if len(lines) > _NAMED_FILES + 1:
        folder = min((path.parent for path in report.written), key=lambda each: len(each.parts))
        lines[_NAMED_FILES:] = [f"  ... and {len(lines) - _NAMED_FILES} more in {folder}"]
    lines += [f"note: {note}" for note in report.notes]
    problems = [f"problem: {problem}" for problem in report.problems]
    for line in (*lines, *first_lines(problems, _LISTED_LINES, "... and {} more problems")):
        out.print(printable(line), markup=False)
    if report.seen:
        out.print("to save drawn images: --output-root DIR; also the numbers: --save-predictions")


def _scores(scores: Sequence[float]) -> str:
    return " ".join(f"{score:.2f}" for score in scores[:_LISTED_LINES]) + (
        " ..." if len(scores) > _LISTED_LINES else ""
    )
