"""``posetools export``: writes a trained pair as one file that runs without OpenMMLab."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posetools.cli.console import console, escape, progress, say, table_of
from posetools.cli.models import Det, ModelName, Pose, Run, check_models
from posetools.errors import PosetoolsError, RequestError, counted, printable_lines

if TYPE_CHECKING:
    from rich.console import Console

    from posetools.core.categories import Categories
    from posetools.exporting.export import ExportResult, PrecisionCosts
    from posetools.exporting.parity import AnyParity
    from posetools.pairs.find import Pair
    from posetools.runtime.manifest import Precision

_check = partial(typer.Option, rich_help_panel="Comparison with the PyTorch models")
_bundle = partial(typer.Option, rich_help_panel="Defaults stored in the bundle")

_Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="ZIP", help="Bundle to write.", show_default="name of the --run folder, with .zip"),
]
_To = Annotated[str, typer.Option("--to", metavar="NAME", help="What to write: bundle, or an exporter of a plug-in.")]
_Bundle = Annotated[
    Path | None, typer.Option("--bundle", metavar="ZIP", help="With --to: an existing bundle, instead of a pair.")
]
_Data = Annotated[
    Path | None,
    _check(
        metavar="DIR",
        help="Labeled data set to compare and evaluate on.",
        show_default="the config's data set, if it exists, to compare only",
    ),
]
_Split = Annotated[str, _check(metavar="NAME", help="Split of the data set.")]
_Images = Annotated[
    list[str] | None,
    _check(metavar="PATH", help="Images, a folder or a glob to compare on and take samples from. Repeatable."),
]
_Samples = Annotated[
    int, _check(min=0, max=64, help="Number of images to store in the bundle with their results, for `verify`.")
]
_BboxThr = Annotated[float, _bundle(min=0, max=1, help="Minimum score of a box.")]
_NmsThr = Annotated[float, _bundle(min=0, max=1, help="NMS: drop boxes with a larger IoU with a better one.")]
_KptThr = Annotated[float, _bundle(min=0, help="Minimum score of a drawn keypoint.")]
_Half = Annotated[bool, typer.Option("--half", help="float16: half the size. The loss of accuracy is measured.")]
_Int8 = Annotated[
    bool,
    typer.Option("--int8", help="int8: a third of the size. Needs labeled data. The loss of accuracy is measured."),
]
_FlipTest = Annotated[
    bool,
    typer.Option("--flip-test", help="Build in averaging with the mirrored crop: slightly better, twice the time."),
]
_Device = Annotated[str, _check(metavar="DEVICE", help="Device of the PyTorch models: auto, cpu, cuda or cuda:N.")]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]


def export(
    det: Det = None,
    pose: Pose = None,
    run: Run = None,
    bundle: _Bundle = None,
    out: _Out = None,
    to: _To = "bundle",
    data: _Data = None,
    split: _Split = "val",
    images: _Images = None,
    samples: _Samples = 4,
    bbox_thr: _BboxThr = 0.3,
    nms_thr: _NmsThr = 0.3,
    kpt_thr: _KptThr = 0.3,
    half: _Half = False,
    int8: _Int8 = False,
    flip_test: _FlipTest = False,
    device: _Device = "cpu",
    overwrite: _Overwrite = False,
) -> None:
    """Export a trained pair as one file, a bundle, that runs on ONNX without OpenMMLab.

    A bundle is a zip with two ONNX files, the skeleton, thresholds, and samples with expected results. Export compares
    the ONNX files with the PyTorch models on images first, and writes nothing if they differ.
    """
    from posetools.exporting.exporter import bundle_for, export_bundle, exporter_of

    precision = _precision(half=half, int8=int8)
    check_models(det, pose, run, bundle, bundles=to != "bundle")
    exporter = exporter_of(to)
    out = out or _default_out(run, exporter.suffix)
    asked = dict[str, Any](
        data=data,
        split=split,
        images=tuple(images or ()),
        samples=samples,
        bbox_thr=bbox_thr,
        nms_thr=nms_thr,
        kpt_thr=kpt_thr,
        precision=precision,
        flip_test=flip_test,
        device=device,
        overwrite=overwrite,
    )
    if bundle is None:
        with bundle_for(to, out, overwrite=overwrite) as path:
            print_export(_exported(det, pose, run, {**asked, "out": path}), console(), named=to == "bundle")
    elif to == "bundle":
        raise RequestError("--bundle requires --to with another exporter, got bundle")
    else:
        export_bundle(bundle, to, out, overwrite=overwrite)
    if to != "bundle":
        say(f"{out}: {exporter.title}")


def _exported(
    det: ModelName | None, pose: ModelName | None, run: Path | None, asked: Mapping[str, Any]
) -> ExportResult:
    from posetools.exporting.export import ExportRequest
    from posetools.exporting.export import export as run_export
    from posetools.pairs.trained import trainer_of
    from posetools.trainers.trainer import RunExport, Trainer

    with progress() as report_progress:
        if det and pose:
            return run_export(ExportRequest(pair=_pair(det, pose), **asked), report_progress)
        plugin = trainer_of(Path(run or ""))
        trainer: Trainer = plugin.load()
        with plugin.guarded("failed", PosetoolsError):
            return trainer.export(RunExport(run=Path(run or ""), **asked), report_progress)


def _default_out(run: Path | None, suffix: str = ".zip") -> Path:
    if run is None:
        raise RequestError("--out must be given without --run", hint="--out NAME.zip")
    return Path(f"{run.resolve().name}{suffix}")


def _precision(*, half: bool, int8: bool) -> Precision:
    if half and int8:
        raise RequestError("--half and --int8 cannot be combined", hint="leave one of them out")
    return "float16" if half else "int8" if int8 else "float32"


def _pair(det: ModelName, pose: ModelName) -> Pair:
    from posetools.mm.stack import require_train
    from posetools.pairs.find import named_pair

    require_train("posetools export")
    return named_pair(det, pose, "posetools export")


def print_export(result: ExportResult, out: Console, *, named: bool = True) -> None:
    """Print the size of a bundle and how it was compared, and the commands that use it.

    Args:
        result: the export.
        out: where to print.
        named: whether the user gets the bundle itself.
    """
    estimated = ", ".join(
        f"{name}, {group.num_keypoints} keypoints of {escape(', '.join(group.ids))}"
        for name, group in result.manifest.categories.posed.items()
    )
    out.print(
        f"[bold]{escape(str(result.out) if named else 'bundle')}[/]: {estimated}, {result.manifest.precision}, "
        f"{_megabytes(result.out.stat().st_size)}"
    )
    _print_parity(result.parity, result.material, out)
    _print_measured(result.measured, result.manifest.categories, out)
    with_objects = sum(len(sample.boxes) > 0 for sample in result.manifest.samples)
    out.print(f"samples: {len(result.manifest.samples)}, {with_objects} of them with objects")
    if not with_objects:
        out.print(
            "[yellow]no sample has an object:[/] `posetools verify` has little to compare; choose --images with objects"
        )
    for doubt in result.doubts:
        out.print(printable_lines(f"warning: {doubt}"), style="yellow", markup=False)
    name = escape(str(result.out))
    if named:
        out.print(f"check it anywhere: posetools verify {name}\nuse it: posetools predict --bundle {name} IMAGES")


def _print_parity(parity: AnyParity, material: str, out: Console) -> None:
    rows = []
    for row in parity.rows:
        unit = row.unit and f" {row.unit}"
        numbers = (f"{row.largest:.2g}{unit}", f"{row.limit:g}{unit}", str(row.compared), str(row.left_out or ""))
        rows.append((row.what, *numbers))
    title = f"ONNX (float32) and PyTorch on {counted(parity.images, 'image')}: {material}"
    heads = ("largest difference of", "value", "limit", "compared", "tied")
    out.print(table_of(rows, *heads, right=True, title=title))
    if any(row.left_out for row in parity.rows):
        out.print("tied: left out, because rounding decides between two equal results.")
    if parity.turned:
        out.print(
            f"boxes of {parity.turned} images were not compared: MMDet swaps the sides of its input for images of the "
            "other orientation; a bundle has one input and scales them into it"
        )


_BOX_AP = "bbox/AP"
_SHOWN_METRICS = {
    _BOX_AP: "box AP",
    "labelled_boxes/OKS/AP": "OKS AP, labeled boxes",
    "labelled_boxes/PCK@0.1": "PCK@0.1, labeled boxes",
    "detected_boxes/OKS/AP": "OKS AP, detected boxes",
    "detected_boxes/PCK@0.1": "PCK@0.1, detected boxes",
}


def _print_measured(measured: tuple[PrecisionCosts, ...], categories: Categories, out: Console) -> None:
    both = ("detector", counted(len(categories.posed), "pose estimator").removeprefix("1 "))
    rows = [
        (f"{name}, size", *(_megabytes(one.sizes[i]) for one in measured))
        for i, name in enumerate(both if len(measured[0].sizes) == 2 else ("network",))
    ]
    rows.append(("time per image here", *(f"{one.milliseconds:.1f} ms" for one in measured)))
    # With several categories each has its own metrics, after its name.
    shown = (
        _SHOWN_METRICS
        if len(categories) == 1
        else {
            f"{category}/{key}": f"{escape(category)}: {name}"
            for category, number in categories.ids.items()
            for key, name in _SHOWN_METRICS.items()
            if key == _BOX_AP or categories[number].num_keypoints
        }
    )
    for key, name in shown.items() if any(one.metrics for one in measured) else ():
        values = [one.metrics.get(key) for one in measured]
        change = "" if None in values or len(values) < 2 else f"{values[1] - values[0]:+.3f}"  # type: ignore[operator]
        rows.append((name, *("n/a" if value is None else f"{value:.3f}" for value in values), change))
    heads = (*(one.precision for one in measured), *(["change"] if len(measured) > 1 else []))
    out.print(table_of(rows, "", *heads, right=True))
    if len(measured) > 1 and not measured[1].metrics:
        out.print("[yellow]the loss of accuracy was not measured:[/] pass labeled images with --data DIR")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
