"""``posetools prelabel``: a model's predictions as labelme files, to be corrected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posetools.cli.console import progress, say
from posetools.cli.models import BboxThr, Bundle, Det, Device, NmsThr, Pose, Run, check_models, load_pipeline
from posetools.errors import counted

if TYPE_CHECKING:
    from posetools.labeling.prelabel import PrelabelReport


def prelabel(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The images; labelme files lie beside them.")],
    det: Det = None,
    pose: Pose = None,
    run: Run = None,
    bundle: Bundle = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Also write over files that a person saved: their shapes are lost."),
    ] = False,
    bbox_thr: BboxThr = None,
    kpt_thr: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Keypoints with a lower score get the flag occluded.",
            show_default="0.3, or the bundle's",
        ),
    ] = None,
    nms_thr: NmsThr = None,
    device: Device = "auto",
) -> None:
    """Write what a trained pair finds beside the images, as labelme files; a file that a person saved stays.

    Exit status: 0 done, 1 an image could not be read or its file not be written over (the others are done), 2 could
    not run.
    """
    from posetools.labeling.prelabel import PrelabelReport, plan_prelabels
    from posetools.labeling.prelabel import prelabel as write_all
    from posetools.pairs.open import PipelineOptions

    check_models(det, pose, run, bundle)
    plan = plan_prelabels(folder, replace=replace)
    report = PrelabelReport(kept=plan.kept, problems=list(plan.problems))
    if plan.tasks:
        options = PipelineOptions(device=device, bbox_thr=bbox_thr, nms_thr=nms_thr, kpt_thr=kpt_thr)
        pipeline = load_pipeline(det, pose, run, bundle, options)
        with progress(rate="pictures/s") as tell:
            report = write_all(plan, pipeline, tell)
    _print(report, folder)
    if report.problems:
        raise typer.Exit(1)


def _print(report: PrelabelReport, folder: Path) -> None:
    kinds = [f"{report.new} new", f"{report.renewed} renewed"]
    kinds += [f"{report.replaced} of a person replaced"] if report.replaced else []
    wrote = f"{counted(report.written, 'labelme file')} with {counted(report.objects, 'object')} ({', '.join(kinds)})"
    lines = [*report.problems, f"wrote {wrote}; {report.kept} that a person saved stay as they are"]
    lines += [f"wrote {report.skeleton}: the keypoints, for annotate and convert"] if report.skeleton else []
    lines += [f"next: posetools annotate {folder}"] if report.written else []
    for line in lines:
        say(line)
