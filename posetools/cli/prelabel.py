"""``posetools prelabel``: a model's predictions as labelme files to correct."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posetools.cli.console import progress, say
from posetools.cli.models import (
    BboxThr,
    Bundle,
    ClusterAddress,
    Det,
    Device,
    NmsThr,
    Pose,
    Run,
    Threads,
    Workers,
    check_models,
    engine_of_bundle,
    load_pipeline,
)
from posetools.cli.options import source_path
from posetools.errors import counted

if TYPE_CHECKING:
    from posetools.labeling.prelabel import PrelabelReport


def prelabel(
    folder: Annotated[
        Path,
        typer.Argument(parser=source_path, metavar="FOLDER", help="Folder of images; labelme files go next to them."),
    ],
    det: Det = None,
    pose: Pose = None,
    run: Run = None,
    bundle: Bundle = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Also replace files that a person saved. Their shapes are lost."),
    ] = False,
    bbox_thr: BboxThr = None,
    kpt_thr: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Keypoints with a lower score get the flag occluded.",
            show_default="0.3, or the bundle's",
            rich_help_panel="Thresholds",
        ),
    ] = None,
    nms_thr: NmsThr = None,
    device: Device = "auto",
    workers: Workers = 1,
    cluster: ClusterAddress = None,
    threads: Threads = None,
) -> None:
    """Write the predictions of a trained pair as labelme files next to the images.

    Files that a person saved are kept.

    Exit status: 0 done; 1 some images could not be read or their files not be replaced; 2 could not run.
    """
    from posetools.labeling.prelabel import PrelabelReport, plan_prelabels
    from posetools.labeling.prelabel import prelabel as write_all
    from posetools.pairs.open import PipelineOptions
    from posetools.prediction.sharded import ShardRequest

    check_models(det, pose, run, bundle)
    engine = engine_of_bundle(bundle, workers, cluster, threads)
    plan = plan_prelabels(folder, replace=replace)
    report = PrelabelReport(kept=plan.kept, problems=list(plan.problems))
    if plan.tasks:
        options = PipelineOptions(device=device, bbox_thr=bbox_thr, nms_thr=nms_thr, kpt_thr=kpt_thr, threads=threads)
        pipeline = load_pipeline(det, pose, run, bundle, options)
        shards = ShardRequest(bundle=bundle, options=options, engine=engine) if bundle and engine else None
        with progress(rate="images/s") as tell:
            report = write_all(plan, pipeline, tell, shards=shards)
    _print(report, folder)
    if report.problems:
        raise typer.Exit(1)


def _print(report: PrelabelReport, folder: Path) -> None:
    kinds = [f"{report.new} new", f"{report.renewed} updated"]
    kinds += [f"{report.replaced} saved by a person replaced"] if report.replaced else []
    wrote = f"{counted(report.written, 'labelme file')} with {counted(report.objects, 'object')} ({', '.join(kinds)})"
    lines = [*report.problems, f"wrote {wrote}; kept {report.kept} saved by a person"]
    lines += [f"wrote {report.skeleton}: the skeleton, for annotate and convert"] if report.skeleton else []
    lines += [f"next: posetools annotate {folder}"] if report.written else []
    for line in lines:
        say(line)
