"""``posetools predict``: what a trained pair sees in pictures and videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from posetools.errors import RequestError

if TYPE_CHECKING:
    from posetools.pipeline import PipelineOptions, PosePipeline
    from posetools.predict import PredictRequest

_Inputs: TypeAlias = Annotated[
    list[str],
    typer.Argument(metavar="INPUT...", help="Pictures, folders, globs, video files, or the number of a camera."),
]
_Det: TypeAlias = Annotated[
    tuple[str, str] | None,
    typer.Option(
        metavar="CONFIG CHECKPOINT", help="A detector: file or name of an MMDet config; file or URL of its weights."
    ),
]
_Pose: TypeAlias = Annotated[
    tuple[str, str] | None,
    typer.Option(metavar="CONFIG CHECKPOINT", help="A pose estimator: likewise, an MMPose top-down model."),
]
_Run: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Or: the folder with the runs of a pair that posetools trained.")
]
_Bundle: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="ZIP", help="Or: a bundle of `posetools export`; needs no OpenMMLab.")
]
_OutputRoot: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Folder for drawn pictures and videos.", show_default="nothing is written, a table is shown"),
]
_SavePredictions: TypeAlias = Annotated[
    bool, typer.Option("--save-predictions", help="Write predictions.json and results_coco.json there as well.")
]
_Format: TypeAlias = Annotated[
    Literal["drawn", "labelme"],
    typer.Option("--format", help="Drawn pictures, or copies with labelme files beside them to correct the labels in."),
]
_AnnFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="COCO file whose image ids are used.", show_default="1, 2, ... in order")
]
_Device: TypeAlias = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
_Amp: TypeAlias = Annotated[bool, typer.Option("--amp", help="Mixed precision; needs a GPU.")]
_FlipTest: TypeAlias = Annotated[
    bool, typer.Option("--flip-test", help="Average with the mirrored crop: a little better, at twice the time.")
]
_BboxThr: TypeAlias = Annotated[
    float | None, typer.Option(min=0, max=1, help="Boxes need a higher score.", show_default="0.3, or the bundle's")
]
_NmsThr: TypeAlias = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="Boxes that overlap a surer one by more (IoU) go.", show_default="0.3, or the bundle's"
    ),
]
_KptThr: TypeAlias = Annotated[
    float | None,
    typer.Option(
        min=0, help="Keypoints with a lower score are not drawn (labelme: hidden).", show_default="0.3, or the bundle's"
    ),
]
_DetCatId: TypeAlias = Annotated[
    int | None,
    typer.Option(min=0, help="The detector's class, counted from 0.", show_default="the skeleton's category"),
]
_Skeleton: TypeAlias = Annotated[
    str | None, typer.Option(help="A built-in name or a YAML file.", show_default="the pose estimator's")
]
_Radius: TypeAlias = Annotated[
    float | None, typer.Option(min=0.5, help="Of drawn keypoints, in pixels.", show_default="fits the picture")
]
_Thickness: TypeAlias = Annotated[
    float | None, typer.Option(min=0.5, help="Of drawn lines, in pixels.", show_default="fits the picture")
]
_DrawBbox: TypeAlias = Annotated[bool, typer.Option("--draw-bbox/--no-draw-bbox", help="Draw boxes and scores.")]
_DrawHeatmap: TypeAlias = Annotated[bool, typer.Option("--draw-heatmap", help="Paint the heatmaps beneath.")]
_ShowKptIdx: TypeAlias = Annotated[bool, typer.Option("--show-kpt-idx", help="Write each keypoint's number.")]
_Show: TypeAlias = Annotated[bool, typer.Option("--show", help="Show in a window as well; Esc or q ends.")]


def predict(
    inputs: _Inputs,
    det: _Det = None,
    pose: _Pose = None,
    run: _Run = None,
    bundle: _Bundle = None,
    output_root: _OutputRoot = None,
    save_predictions: _SavePredictions = False,
    file_format: _Format = "drawn",
    ann_file: _AnnFile = None,
    show: _Show = False,
    bbox_thr: _BboxThr = None,
    kpt_thr: _KptThr = None,
    nms_thr: _NmsThr = None,
    det_cat_id: _DetCatId = None,
    radius: _Radius = None,
    thickness: _Thickness = None,
    draw_bbox: _DrawBbox = True,
    draw_heatmap: _DrawHeatmap = False,
    show_kpt_idx: _ShowKptIdx = False,
    skeleton: _Skeleton = None,
    flip_test: _FlipTest = False,
    device: _Device = "auto",
    amp: _Amp = False,
) -> None:
    """Find objects and their keypoints in pictures, videos, or what a camera sees.

    Exit status 1 when a picture could not be read; the others are done.
    """
    from posetools.drawing import Style
    from posetools.pipeline import PipelineOptions
    from posetools.predict import PredictRequest

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
    _check_models(det, pose, run, bundle)
    _predict(inputs, request, lambda: _pipeline(det, pose, run, bundle, options))


def _predict(inputs: Sequence[str], request: PredictRequest, load: Callable[[], PosePipeline]) -> None:
    from posetools.cli.console import progress
    from posetools.cli.predict_report import print_report
    from posetools.frames import open_sources
    from posetools.predict import check_request
    from posetools.predict import predict as predict_all

    # What can be known at once is said before models are loaded, which takes seconds.
    sources = open_sources(inputs)
    check_request(request, sources)
    pipeline = load()
    with progress(rate="frames/s") as report_progress:
        report = predict_all(request, sources, pipeline, report_progress)
    print_report(report)
    if report.problems:
        raise typer.Exit(1)


def _check_models(
    det: tuple[str, str] | None, pose: tuple[str, str] | None, run: Path | None, bundle: Path | None
) -> None:
    given = [name for name, value in (("--run", run), ("--bundle", bundle), ("--det and --pose", det or pose)) if value]
    if len(given) == 1 and bool(det) == bool(pose):
        return
    if not given:
        problem = "which models to use must be said"
    elif len(given) > 1:
        problem = f"one pair of models is needed, got {', '.join(given)}"
    else:
        problem = f"--det and --pose go together, got only {'--det' if det else '--pose'}"
    raise RequestError(f"{problem}\n  --run DIR, --bundle ZIP, or --det CONFIG CHECKPOINT --pose CONFIG CHECKPOINT")


def _pipeline(
    det: tuple[str, str] | None,
    pose: tuple[str, str] | None,
    run: Path | None,
    bundle: Path | None,
    options: PipelineOptions,
) -> PosePipeline:
    from posetools.pipeline import PosePipeline

    if bundle:
        return PosePipeline.from_bundle(bundle, options)
    if run:
        return PosePipeline.from_run(run, options)
    if det is None or pose is None:
        raise RequestError("--det and --pose go together")
    return PosePipeline.from_configs(det, pose, options)
