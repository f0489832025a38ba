"""``posetools predict``: what a trained pair sees in images and videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from posetools.cli.console import console, progress, table_of
from posetools.cli.models import BboxThr, Bundle, Det, Device, KptThr, NmsThr, Pose, Run, check_models, load_pipeline
from posetools.errors import counted, first_lines, printable

if TYPE_CHECKING:
    from posetools.pairs.pipeline import PosePipeline
    from posetools.prediction.predict import PredictReport, PredictRequest

_Inputs: TypeAlias = Annotated[
    list[str],
    typer.Argument(metavar="INPUT...", help="Images, folders, globs, video files, or the number of a camera."),
]
_OutputRoot: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Folder for drawn images and videos.", show_default="nothing is written, a table is shown"),
]
_SavePredictions: TypeAlias = Annotated[
    bool, typer.Option("--save-predictions", help="Write predictions.json and results_coco.json there as well.")
]
_Format: TypeAlias = Annotated[
    Literal["drawn", "labelme"],
    typer.Option("--format", help="Drawn images, or copies with labelme files beside them to correct the labels in."),
]
_AnnFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="COCO file whose image ids are used.", show_default="those of the images' data set, else 1, 2, ..."
    ),
]
_Amp: TypeAlias = Annotated[bool, typer.Option("--amp", help="Mixed precision; needs a GPU.")]
_FlipTest: TypeAlias = Annotated[
    bool, typer.Option("--flip-test", help="Average with the mirrored crop: a little better, at twice the time.")
]
_DetCatId: TypeAlias = Annotated[
    int | None,
    typer.Option(min=0, help="The detector's class, counted from 0.", show_default="the skeleton's category"),
]
_Skeleton: TypeAlias = Annotated[
    str | None, typer.Option(help="A built-in name or a YAML file.", show_default="the pose estimator's")
]
_Radius: TypeAlias = Annotated[
    float | None, typer.Option(min=0.5, help="Of drawn keypoints, in pixels.", show_default="fits the image")
]
_Thickness: TypeAlias = Annotated[
    float | None, typer.Option(min=0.5, help="Of drawn lines, in pixels.", show_default="fits the image")
]
_DrawBbox: TypeAlias = Annotated[bool, typer.Option("--draw-bbox/--no-draw-bbox", help="Draw boxes and scores.")]
_DrawHeatmap: TypeAlias = Annotated[bool, typer.Option("--draw-heatmap", help="Paint the heatmaps beneath.")]
_ShowKptIdx: TypeAlias = Annotated[bool, typer.Option("--show-kpt-idx", help="Write each keypoint's number.")]
_Show: TypeAlias = Annotated[bool, typer.Option("--show", help="Show in a window as well; Esc or q ends.")]


def predict(
    inputs: _Inputs,
    det: Det = None,
    pose: Pose = None,
    run: Run = None,
    bundle: Bundle = None,
    output_root: _OutputRoot = None,
    save_predictions: _SavePredictions = False,
    file_format: _Format = "drawn",
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
) -> None:
    """Find objects and their keypoints in images, videos, or what a camera sees.

    Exit status 1 when an image could not be read; the others are done.
    """
    from posetools.imaging.drawing import Style
    from posetools.pairs.open import PipelineOptions
    from posetools.prediction.predict import PredictRequest

    options = PipelineOptions(device=device, amp=amp, flip_test=flip_test, heatmaps=draw_heatmap, skeleton=skeleton)
    options = replace(options, bbox_thr=bbox_thr, nms_thr=nms_thr, kpt_thr=kpt_thr, det_cat_id=det_cat_id)
    request = PredictRequest(
        output_root=output_root,
        save_predictions=save_predictions,
        labelme=file_format == "labelme",
        ann_file=ann_file,
        show=show,
        style=Style(line=thickness, radius=radius, boxes=draw_bbox, indices=show_kpt_idx),
    )
    check_models(det, pose, run, bundle)
    _predict(inputs, request, lambda: load_pipeline(det, pose, run, bundle, options))


def _predict(inputs: Sequence[str], request: PredictRequest, load: Callable[[], PosePipeline]) -> None:
    from posetools.imaging.frames import open_sources
    from posetools.prediction.predict import check_request
    from posetools.prediction.predict import predict as predict_all

    # What can be known at once is said before models are loaded, which takes seconds.
    sources = open_sources(inputs)
    check_request(request, sources)
    pipeline = load()
    with progress(rate="frames/s") as report_progress:
        report = predict_all(request, sources, pipeline, report_progress)
    print_report(report)
    if report.problems:
        raise typer.Exit(1)


# Beyond these, lines are counted.
_LISTED_LINES = 20
_NAMED_FILES = 4


def print_report(report: PredictReport) -> None:
    """Print what was found, what was written, and what could not be read."""
    out = console()
    if report.seen:
        rows = [(name, str(len(scores)), _scores(scores)) for name, scores in report.seen[:_LISTED_LINES]]
        left = len(report.seen) - _LISTED_LINES
        rows += [(f"... and {left} more", "", "")] if left > 0 else []
        out.print(table_of(rows, "image", "objects", "scores"))
    rate = report.images / report.seconds if report.seconds else 0.0
    out.print(
        f"{counted(report.objects, 'object')} in {counted(report.images, 'image')}, {report.seconds:.1f} s "
        f"({rate:.1f} images a second)"
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
        out.print("--output-root DIR writes drawn images, and with --save-predictions the numbers")


def _scores(scores: Sequence[float]) -> str:
    return " ".join(f"{score:.2f}" for score in scores[:_LISTED_LINES]) + (
        " ..." if len(scores) > _LISTED_LINES else ""
    )
