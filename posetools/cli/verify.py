"""``posetools verify``: whether a bundle computes here what it did where it was made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posetools.cli.console import console, escape, table_of
from posetools.cli.models import Device

if TYPE_CHECKING:
    from rich.console import Console

    from posetools.runtime.manifest import Manifest
    from posetools.runtime.verify import VerifyReport


def verify(
    bundle: Annotated[Path, typer.Argument(help="The zip that `posetools export` wrote.")],
    device: Device = "auto",
) -> None:
    """Say what is in a bundle, and run it on its own samples to see that it finds what it found when it was made.

    Exit status: 0 when it does, 1 when it does not, 2 when the bundle cannot be opened.
    """
    from posetools.pairs.open import PipelineOptions
    from posetools.pairs.pipeline import PosePipeline
    from posetools.runtime.bundle import Bundle
    from posetools.runtime.verify import verify as compare_samples

    pipeline = PosePipeline.from_bundle(bundle, PipelineOptions(device=device))
    archive = Bundle.open(bundle)
    report = compare_samples(archive.manifest, archive.sample_images(), pipeline)
    out = console()
    _print_manifest(report.manifest, bundle, out)
    _print_samples(report, out)
    raise typer.Exit(0 if report.ok else 1)


def _print_manifest(manifest: Manifest, bundle: Path, out: Console) -> None:
    skeleton, thresholds = manifest.skeleton, manifest.thresholds
    sizes = ["x".join(map(str, network.input_size)) for network in manifest.networks]
    rows = {
        "made by": manifest.made_by,
        "precision": manifest.precision,
        "skeleton": f"{skeleton.name}: {skeleton.category.name}, {skeleton.num_keypoints} keypoints",
        "detector": f"{sizes[0]}, finds {', '.join(manifest.det.classes)}",
        "pose estimator": f"{sizes[1]}, boxes times {manifest.pose.padding:g}",
        "thresholds": f"box {thresholds.bbox_thr:g}, NMS {thresholds.nms_thr:g}, keypoint {thresholds.kpt_thr:g}",
    }
    metrics = [(name, "n/a" if value is None else f"{value:.3f}") for name, value in manifest.metrics.items()]
    out.print(table_of([*rows.items(), *metrics], "bundle", escape(str(bundle))))


def _print_samples(report: VerifyReport, out: Console) -> None:
    from rich.table import Table

    from posetools.runtime.verify import MOST_PIXELS, SCORE

    if not report.samples:
        out.print("[bold red]no[/]: the bundle holds no samples, so nothing can be compared.")
        return
    table = Table("", "sample", "objects", "boxes", "keypoints", "scores", title="largest differences")
    for one in report.samples:
        objects = f"{one.found}" if one.found == one.expected else f"{one.found} of {one.expected}"
        scores = max(one.score, one.keypoint_score)
        mark = "[green]ok[/]" if one.ok else "[bold red]no[/]"
        table.add_row(
            mark, escape(one.file), objects, f"{one.box_px:.4f} px", f"{one.keypoint_px:.4f} px", f"{scores:.6f}"
        )
    out.print(table)
    if report.ok:
        out.print(f"[green]ok[/]: found as expected, within {MOST_PIXELS} px and {SCORE:g} of each score.")
        return
    for one in report.samples:
        if one.keypoint_px > MOST_PIXELS:
            out.print(f"{escape(one.file)}: {escape(one.worst)} is {one.keypoint_px:.1f} px away", soft_wrap=True)
    out.print(f"[bold red]no[/]: more than {MOST_PIXELS} px or {SCORE:g} away, or another number of objects.")
    if report.manifest.precision == "int8":
        out.print("8-bit networks can differ from one processor to the next; see docs/verify.md.")
