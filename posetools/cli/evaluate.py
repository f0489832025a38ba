"""``posetools eval``: how good a checkpoint is, as a table and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="The weights, as `posetools train` leaves them.")],
    stage: Annotated[Literal["det", "pose"], typer.Option(help="Evaluate a detector or a pose estimator.")],
    config: Annotated[
        Path | None, typer.Option(help="Its config.", show_default="the one in the checkpoint's folder")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The data set's folder.", show_default="the config's")] = None,
    split: Annotated[str, typer.Option(help="Which split of it.")] = "val",
    boxes: Annotated[
        Path | None,
        typer.Option(metavar="DETECTOR", help="pose: checkpoint of a detector whose boxes are used as well."),
    ] = None,
    boxes_config: Annotated[
        Path | None, typer.Option(help="The detector's config.", show_default="the one in its folder")
    ] = None,
    bbox_thr: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="pose: detected boxes with a lower score are not used.")
    ] = 0.05,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    skeleton: Annotated[
        str | None, typer.Option(help="A built-in name or a YAML file.", show_default="skeleton.yaml of the run")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all numbers to this file.")] = None,
) -> None:
    """Evaluate a checkpoint on a split.

    det: COCO's box metrics. pose: OKS AP and AR with the skeleton's sigmas, PCK and NME, in all and per keypoint, on
    the labelled boxes and, with --boxes, on a detector's.
    """
    from posetools.cli.console import console, progress
    from posetools.cli.evaluate_tables import print_det, print_pose
    from posetools.files import write_json
    from posetools.mm.evaluate import DetReport, EvalRequest, PoseReport, evaluate_det, evaluate_pose

    request = EvalRequest(
        checkpoint=checkpoint,
        config=config,
        data=data,
        split=split,
        device=device,
        skeleton=skeleton,
        boxes=boxes,
        boxes_config=boxes_config,
        bbox_thr=bbox_thr,
    )
    with progress() as report_progress:
        report: DetReport | PoseReport
        report = (evaluate_det if stage == "det" else evaluate_pose)(request, report_progress)
    print_det(report, console()) if isinstance(report, DetReport) else print_pose(report, console())
    if json_file is not None:
        write_json(json_file, report.as_dict())
