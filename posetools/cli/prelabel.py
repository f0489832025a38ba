"""``posetools prelabel``: a model's predictions as labelme files, to be corrected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posetools.cli.models import BboxThr, Bundle, Det, Device, Pose, Run, check_models, load_pipeline
from posetools.errors import printable

if TYPE_CHECKING:
    from posetools.labeling.prelabel import PrelabelReport


def prelabel(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The pictures; labelme files lie beside them.")],
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
    nms_thr: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Boxes that overlap a surer one by more (IoU) go.", show_default="0.3, or the bundle's"
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Write what a trained pair finds beside the pictures, as labelme files; a file that a person saved stays.

    Exit status: 0 done, 1 a picture could not be read or its file not be written over (the others are done), 2 could
    not run.
    """
    from posetools.cli.console import progress
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
    for problem in report.problems:
        print(printable(problem))
    kinds = [f"{report.new} new", f"{report.renewed} renewed"]
    kinds += [f"{report.replaced} of a person replaced"] if report.replaced else []
    files = f"{report.written} labelme file{'' if report.written == 1 else 's'}"
    objects = f"{report.objects} object{'' if report.objects == 1 else 's'}"
    print(
        printable(
            f"wrote {files} with {objects} ({', '.join(kinds)}); {report.kept} that a person saved stay as they are"
        )
    )
    if report.skeleton is not None:
        print(printable(f"wrote {report.skeleton}: the keypoints, for annotate and convert"))
    if report.written:
        print(printable(f"next: posetools annotate {folder}"))
