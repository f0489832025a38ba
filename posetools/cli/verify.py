"""``posetools verify``: checks that a bundle gives the same results here as at its export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posetools.cli.console import console, escape, table_of
from posetools.cli.models import Device

if TYPE_CHECKING:
    from rich.console import Console

    from posetools.runtime.manifest import AnyManifest
    from posetools.runtime.verify import VerifyReport


def verify(
    bundle: Annotated[Path, typer.Argument(help="Zip file that `posetools export` wrote.")],
    device: Device = "auto",
) -> None:
    """Run a bundle on its own samples and compare the results with those of its export.

    Also prints what is in the bundle.

    Exit status: 0 same results; 1 different results; 2 the bundle cannot be opened.
    """
    from posetools.pairs.open import PipelineOptions
    from posetools.pairs.pipeline import PosePipeline
    from posetools.runtime.bundle import Bundle
    from posetools.runtime.verify import verify as compare_samples

    pipeline = PosePipeline.from_bundle(bundle, PipelineOptions(device=device))
    archive = Bundle.open(bundle)
    report = compare_samples(archive.manifest, archive.sample_images(), pipeline)
    print_verified(report, bundle, console())
    raise typer.Exit(0 if report.ok else 1)


def print_verified(report: VerifyReport, bundle: Path, out: Console) -> None:
    """Print what is in a bundle, and how its results differ from those of its export."""
    _print_manifest(report.manifest, bundle, out)
    _print_samples(report, out)


def _print_manifest(manifest: AnyManifest, bundle: Path, out: Console) -> None:
    from posetools.core.stages import MODEL_NAMES, models_of
    from posetools.runtime.manifest import OneStageManifest

    thresholds, groups = manifest.thresholds, manifest.categories.posed
    det, *poses = ("x".join(map(str, network.input_size)) for network in manifest.networks)
    rows = [("made by", manifest.made_by), ("precision", manifest.precision)]
    for name, group in groups.items():
        rows.append(("skeleton", f"{name}: {', '.join(group.ids)}, {group.num_keypoints} keypoints"))
    if isinstance(manifest, OneStageManifest):
        rows.append(("detector and pose estimator", f"{det}, detects {', '.join(manifest.network.classes)}"))
    else:
        rows.append(("detector", f"{det}, detects {', '.join(manifest.det.classes)}"))
        for model, size, network in zip(models_of(tuple(groups))[1:], poses, manifest.poses, strict=True):
            rows.append((MODEL_NAMES.get(model, model), f"{size}, boxes scaled by {network.padding:g}"))
    shown = f"box {thresholds.bbox_thr:g}, NMS {thresholds.nms_thr:g}, keypoint {thresholds.kpt_thr:g}"
    rows.append(("thresholds", shown))
    metrics = [(name, "n/a" if value is None else f"{value:.3f}") for name, value in manifest.metrics.items()]
    out.print(table_of([*rows, *metrics], "bundle", escape(str(bundle))))


def _print_samples(report: VerifyReport, out: Console) -> None:
    from rich.table import Table

    from posetools.runtime.verify import MOST_PIXELS, SCORE

    if not report.samples:
        out.print("[bold red]no[/]: the bundle has no samples to compare.")
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
        out.print(f"[green]ok[/]: same results, within {MOST_PIXELS} px and {SCORE:g} of each score.")
        return
    for one in report.samples:
        if one.keypoint_px > MOST_PIXELS:
            out.print(f"{escape(one.file)}: {escape(one.worst)} is off by {one.keypoint_px:.1f} px", soft_wrap=True)
        if one.found == one.expected and not one.same_categories:
            out.print(f"{escape(one.file)}: the objects of each category are not as many as expected", soft_wrap=True)
    out.print(f"[bold red]no[/]: off by more than {MOST_PIXELS} px or {SCORE:g}, or another number of objects.")
    if report.manifest.precision == "int8":
        out.print("int8 networks can give different results on different processors; see docs/verify.md.")
