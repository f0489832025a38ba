"""``posetools verify``: whether a bundle computes here what it did where it was made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from posetools.runtime.manifest import Manifest
    from posetools.runtime.verify import VerifyReport


def verify(
    bundle: Annotated[Path, typer.Argument(help="The zip that `posetools export` wrote.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Say what is in a bundle, and run it on its own samples to see that it finds what it found when it was made.

    Exit status: 0 when it does, 1 when it does not, 2 when the bundle cannot be opened.
    """
    from posetools.cli.console import console
    from posetools.pairs.open import PipelineOptions
    from posetools.pairs.pipeline import PosePipeline
    from posetools.runtime.archive import Archive
    from posetools.runtime.verify import verify as compare_samples

    pipeline = PosePipeline.from_bundle(bundle, PipelineOptions(device=device))
    archive = Archive.open(bundle)
    report = compare_samples(archive.manifest, archive.sample_pictures(), pipeline)
    out = console()
    _print_manifest(report.manifest, bundle, out)
    _print_samples(report, out)
    raise typer.Exit(0 if report.ok else 1)


def _print_manifest(manifest: Manifest, bundle: Path, out: Console) -> None:
    from rich.table import Table

    from posetools.cli.console import escape

    skeleton, thresholds = manifest.skeleton, manifest.thresholds
    sizes = ["x".join(map(str, network.input_size)) for network in manifest.networks]
    table = Table("bundle", escape(str(bundle)))
    table.add_row("made by", escape(manifest.made_by))
    table.add_row("precision", manifest.precision)
    table.add_row("skeleton", escape(f"{skeleton.name}: {skeleton.category.name}, {skeleton.num_keypoints} keypoints"))
    table.add_row("detector", escape(f"{sizes[0]}, finds {', '.join(manifest.det.classes)}"))
    table.add_row("pose estimator", f"{sizes[1]}, boxes times {manifest.pose.padding:g}")
    table.add_row(
        "thresholds", f"box {thresholds.bbox_thr:g}, NMS {thresholds.nms_thr:g}, keypoint {thresholds.kpt_thr:g}"
    )
    for name, value in manifest.metrics.items():
        table.add_row(escape(name), "n/a" if value is None else f"{value:.3f}")
    out.print(table)


def _print_samples(report: VerifyReport, out: Console) -> None:
    from rich.table import Table

    from posetools.cli.console import escape
    from posetools.runtime.verify import PIXELS, SCORE

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
        out.print(f"[green]ok[/]: found as expected, within {PIXELS} px and {SCORE:g} of each score.")
        return
    for one in report.samples:
        if one.keypoint_px > PIXELS:
            out.print(f"{escape(one.file)}: {escape(one.worst)} is {one.keypoint_px:.1f} px away", soft_wrap=True)
    out.print(f"[bold red]no[/]: more than {PIXELS} px or {SCORE:g} away, or another number of objects.")
    if report.manifest.precision == "int8":
        out.print("8-bit networks can differ from one processor to the next; see docs/verify.md.")
