"""``posetools config``: a data set in, an RTMDet and an RTMPose config out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from posetools.cli.console import console, escape
from posetools.errors import printable, printable_lines

if TYPE_CHECKING:
    from rich.table import Table

    from posetools.recipes.emit import ChosenPair
    from posetools.recipes.recipe import Recipe
    from posetools.training.hooks import TrainListener

_both = partial(typer.Option, rich_help_panel="Both models (a stage's own option wins)")
_det = partial(typer.Option, rich_help_panel="Detector (RTMDet)")
_pose = partial(typer.Option, rich_help_panel="Pose (RTMPose)")

_Data = Annotated[Path, typer.Argument(help="Folder of the data set, as `posetools convert` writes it.")]
_Det = Annotated[Literal["tiny", "s", "m", "l", "x"] | None, typer.Option(help="Size of RTMDet.", show_default="m")]
_Pose = Annotated[Literal["t", "s", "m", "l", "x"] | None, typer.Option(help="Size of RTMPose.", show_default="m")]
_Out = Annotated[Path, typer.Option(help="Folder to write the two files to.")]
_Skeleton = Annotated[
    str | None, typer.Option(help="A built-in name or a YAML file.", show_default="the one in conversion.json")
]
_Recipe = Annotated[
    Path | None,
    typer.Option(help="TOML file with these options and some more (docs/config.md); the command line wins over it."),
]
_Explain = Annotated[
    bool,
    typer.Option("--explain", help="Also print what was chosen and why: field, stock value, chosen value, reason."),
]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that differ.")]

_InputSize = Annotated[
    str | None,
    _both(
        metavar="SIZE",
        help="Network input in pixels: a side or WIDTHxHEIGHT, multiples of 32.",
        show_default="what the images and boxes need",
    ),
]
_Epochs = Annotated[int | None, _both(help="Epochs in all.", show_default="by iterations, data and time")]
_Stage2 = Annotated[
    int | None,
    _both(
        help="The last epochs, with weaker augmentation (det: no mosaic, no mixup); as many as --epochs means weak "
        "from the start.",
        show_default="a tenth, at most 20; all, in a short run",
    ),
]
_Batch = Annotated[
    str | None,
    _both(
        metavar="N|auto",
        help="Training batch on one device; auto: the largest that fits on the GPU, by a short trial.",
        show_default="by the GPU's memory; at most 8 det and 32 pose on a CPU",
    ),
]
_Rate = Annotated[
    float | None,
    _both(
        help="Learning rate at that batch.",
        show_default="the stock 0.004, for batches of 256 det and 1024 pose, times the square root of the ratio, "
        "0.0005 at least; half of that where all layers are pretrained",
    ),
]
_Interval = Annotated[int | None, _both(help="Epochs between evaluations.", show_default="a tenth, at most 10")]
_Backbone = Annotated[
    str | None,
    _both(
        metavar="stock|none|FILE|URL",
        help="What the backbones start from.",
        show_default="stock, downloaded when training starts",
    ),
]
_Pretrained = Annotated[
    Literal["coco", "imagenet", "none"] | None,
    _both(
        help="What the models start from: coco, the stock recipes' own checkpoints; imagenet, --backbone stock; none, "
        "random weights. Nothing is downloaded before training starts.",
        show_default="coco det, the stock backbone pose",
    ),
]
_Freeze = Annotated[
    Literal["none", "backbone"] | None, _both(help="backbone: its weights and BN statistics stay as they are.")
]
_Augmentation = Annotated[
    Literal["strong", "light"] | None,
    _both(
        help="strong: the stock recipe's; light: no mosaic, mixup or cut-outs, small changes of scale.",
        show_default="light below 6000 iterations",
    ),
]
_Minutes = Annotated[
    float | None,
    _both(
        help="How long both trainings together may take: some iterations of each are timed, then epochs chosen.",
        show_default="60 on a CPU, estimated; no limit on a GPU",
    ),
]
_Workers = Annotated[int | None, _both(help="Processes that load data.", show_default="by the cores")]
_Seed = Annotated[int | None, _both(help="Of training.", show_default="21")]

_DetInput = Annotated[str | None, _det(help="--input-size of RTMDet alone.", metavar="SIZE")]
_DetEpochs = Annotated[int | None, _det(help="--epochs of RTMDet alone.")]
_DetBatch = Annotated[str | None, _det(help="--batch-size of RTMDet alone.", metavar="N|auto")]
_DetRate = Annotated[float | None, _det(help="--lr of RTMDet alone.")]
_DetLoad = Annotated[str | None, _det(help="What the whole RTMDet starts from.", metavar="coco|none|FILE|URL")]
_PoseInput = Annotated[str | None, _pose(help="--input-size of RTMPose alone.", metavar="SIZE")]
_PoseEpochs = Annotated[int | None, _pose(help="--epochs of RTMPose alone.")]
_PoseBatch = Annotated[str | None, _pose(help="--batch-size of RTMPose alone.", metavar="N|auto")]
_PoseRate = Annotated[float | None, _pose(help="--lr of RTMPose alone.")]
_Rotation = Annotated[
    int | None,
    _pose(
        min=0,
        max=180,
        metavar="DEGREES",
        help="Largest angle that RTMPose's training images are turned by; 180: all angles.",
        show_default="the skeleton file's; 30, 15 in a short run, more where the objects are turned more",
    ),
]
_PoseLoad = Annotated[str | None, _pose(help="What the whole RTMPose starts from.", metavar="coco|none|FILE|URL")]


def config(
    data: _Data,
    det: _Det = None,
    pose: _Pose = None,
    out: _Out = Path("configs"),
    skeleton: _Skeleton = None,
    recipe: _Recipe = None,
    explain: _Explain = False,
    overwrite: _Overwrite = False,
    minutes: _Minutes = None,
    input_size: _InputSize = None,
    epochs: _Epochs = None,
    stage2_epochs: _Stage2 = None,
    augmentation: _Augmentation = None,
    batch_size: _Batch = None,
    lr: _Rate = None,
    val_interval: _Interval = None,
    pretrained: _Pretrained = None,
    backbone: _Backbone = None,
    freeze: _Freeze = None,
    workers: _Workers = None,
    seed: _Seed = None,
    det_input_size: _DetInput = None,
    det_epochs: _DetEpochs = None,
    det_batch_size: _DetBatch = None,
    det_lr: _DetRate = None,
    det_load_from: _DetLoad = None,
    pose_input_size: _PoseInput = None,
    pose_epochs: _PoseEpochs = None,
    pose_batch_size: _PoseBatch = None,
    pose_lr: _PoseRate = None,
    pose_load_from: _PoseLoad = None,
    rotation: _Rotation = None,
) -> None:
    """Write the pair of configs that trains RTMDet and RTMPose on a data set.

    What is not stated is chosen to fit the data and this machine. Each config inherits the stock recipe of the
    installed mmdet or mmpose, states only what differs, with the reason, and runs with the stock tools. Writing them
    needs neither package.
    """
    stated = _stated(locals())
    from posetools.cli.train_display import display
    from posetools.core.folder import skeleton_of
    from posetools.recipes.options import build_options
    from posetools.training.recipe import emit_fitting

    options = build_options(recipe, stated)
    shown: AbstractContextManager[TrainListener | None] = nullcontext() if options.minutes is None else display()
    with shown as listener:
        pair = emit_fitting(data, skeleton_of(data, skeleton), options, out, overwrite=overwrite, listener=listener)
    _print(pair, explain=explain)
    elsewhere = "" if out == Path("configs") else f" --configs {out}"
    print(printable(f"next: posetools train --stage all {data}{elsewhere}"))


# What --pretrained stands for, as (load_from, backbone).
_PRETRAINED = {"coco": ("coco", None), "imagenet": ("none", "stock"), "none": ("none", "none"), None: (None, None)}


def _stated(given: Mapping[str, Any]) -> dict[str, dict[str, object]]:
    """Return what the command line states, by the TOML's tables; None is what it does not."""
    from posetools.core.stages import STAGES

    load_from, backbone = _PRETRAINED[given["pretrained"]]
    stated: dict[str, dict[str, object]] = {"": {name: given[name] for name in ("minutes", "workers", "seed")}}
    for stage in STAGES:
        both = ("stage2_epochs", "val_interval", "augmentation", "freeze")
        table: dict[str, object] = {name: given[name] for name in both}
        for name in ("input_size", "epochs", "lr", "batch_size"):
            table[name] = _own(given[f"{stage}_{name}"], given[name])
        batch = table["batch_size"]
        table["batch_size"] = int(batch) if isinstance(batch, str) and batch.isdigit() else batch
        table["size"] = given[stage]
        table["backbone"] = _own(given["backbone"], backbone)
        table["load_from"] = _own(given[f"{stage}_load_from"], load_from)
        stated[stage] = table
    stated["pose"]["rotation"] = given["rotation"]
    return stated


def _own(own: object, shared: object) -> object:
    """Return what was stated for one stage, else what was stated for both."""
    return shared if own is None else own


_TITLES = {"det": "RTMDet", "pose": "RTMPose", "": "both"}


def _print(pair: ChosenPair, *, explain: bool) -> None:
    out = console()
    if explain:
        out.print(printable(f"data: {pair.facts.shapes}"), markup=False)
        for stage in _TITLES:
            out.print(_table(pair.recipe, stage))
    for path in (pair.det, pair.pose):
        print(printable(str(path)))
    for note in pair.notes:
        print(printable_lines(f"  {note}"))


def _table(recipe: Recipe, stage: str) -> Table:
    """Return the table of one stage, which fits 80 columns."""
    from rich import box
    from rich.table import Table

    table = Table(title=_TITLES[stage], title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, width=80)
    table.add_column("field", no_wrap=True)
    table.add_column("stock", no_wrap=True, style="dim")
    table.add_column("chosen", max_width=16, overflow="fold")
    table.add_column("reason", ratio=1)
    for row in recipe.choices:
        if row.stage == stage:
            # Above all the reader wants to see which values are their own.
            chosen, reason = escape(row.chosen), escape(row.reason)
            table.add_row(row.field, row.stock, f"[bold]{chosen}[/]", f"[cyan]{reason}[/]" if row.stated else reason)
    return table
