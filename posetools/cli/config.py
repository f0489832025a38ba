"""``posetools config``: a data set in, an RTMDet and an RTMPose config out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from posetools.errors import printable

if TYPE_CHECKING:
    from posetools.training.hooks import TrainListener

_BOTH, _DET, _POSE = "Both models (a stage's own option wins)", "Detector (RTMDet)", "Pose (RTMPose)"

_Data: TypeAlias = Annotated[Path, typer.Argument(help="Folder of the data set, as `posetools convert` writes it.")]
_Det: TypeAlias = Annotated[
    Literal["tiny", "s", "m", "l", "x"] | None, typer.Option(help="Size of RTMDet.", show_default="m")
]
_Pose: TypeAlias = Annotated[
    Literal["t", "s", "m", "l", "x"] | None, typer.Option(help="Size of RTMPose.", show_default="m")
]
_Out: TypeAlias = Annotated[Path, typer.Option(help="Folder to write the two files to.")]
_Skeleton: TypeAlias = Annotated[
    str | None, typer.Option(help="A built-in name or a YAML file.", show_default="the one in conversion.json")
]
_Recipe: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="TOML file with these options and some more (docs/config.md); the command line wins over it."),
]
_Explain: TypeAlias = Annotated[
    bool,
    typer.Option("--explain", help="Also print what was chosen and why: field, stock value, chosen value, reason."),
]
_Overwrite: TypeAlias = Annotated[bool, typer.Option("--overwrite", help="Replace files that differ.")]

_InputSize: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Network input in pixels: a side or WIDTHxHEIGHT, multiples of 32.",
        show_default="what the pictures and boxes need",
        rich_help_panel=_BOTH,
    ),
]
_Epochs: TypeAlias = Annotated[
    int | None, typer.Option(help="Epochs in all.", show_default="by iterations, data and time", rich_help_panel=_BOTH)
]
_Stage2: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help="The last epochs, with weaker augmentation (det: no mosaic, no mixup); as many as --epochs means weak "
        "from the start.",
        show_default="a tenth, at most 20; all, in a short run",
        rich_help_panel=_BOTH,
    ),
]
_Batch: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto",
        help="Training batch on one device; auto: the largest that fits on the GPU, by a short trial.",
        show_default="by the GPU's memory; at most 8 det and 32 pose on a CPU",
        rich_help_panel=_BOTH,
    ),
]
_Rate: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Learning rate at that batch.",
        show_default="the stock 0.004, for batches of 256 det and 1024 pose, times the square root of the ratio, "
        "0.0005 at least; half of that where all layers are pretrained",
        rich_help_panel=_BOTH,
    ),
]
_Interval: TypeAlias = Annotated[
    int | None,
    typer.Option(help="Epochs between evaluations.", show_default="a tenth, at most 10", rich_help_panel=_BOTH),
]
_Backbone: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="stock|none|FILE|URL",
        help="What the backbones start from.",
        show_default="stock, downloaded when training starts",
        rich_help_panel=_BOTH,
    ),
]
_Pretrained: TypeAlias = Annotated[
    Literal["coco", "imagenet", "none"] | None,
    typer.Option(
        help="What the models start from: coco, the stock recipes' own checkpoints; imagenet, --backbone stock; none, "
        "random weights. Nothing is downloaded before training starts.",
        show_default="coco det, the stock backbone pose",
        rich_help_panel=_BOTH,
    ),
]
_Freeze: TypeAlias = Annotated[
    Literal["none", "backbone"] | None,
    typer.Option(help="backbone: its weights and BN statistics stay as they are.", rich_help_panel=_BOTH),
]
_Augmentation: TypeAlias = Annotated[
    Literal["strong", "light"] | None,
    typer.Option(
        help="strong: the stock recipe's; light: no mosaic, mixup or cut-outs, small changes of scale.",
        show_default="light below 6000 iterations",
        rich_help_panel=_BOTH,
    ),
]
_Minutes: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="How long both trainings together may take: some iterations of each are timed, then epochs chosen.",
        show_default="60 on a CPU, estimated; no limit on a GPU",
        rich_help_panel=_BOTH,
    ),
]
_Workers: TypeAlias = Annotated[
    int | None, typer.Option(help="Processes that load data.", show_default="by the cores", rich_help_panel=_BOTH)
]
_Seed: TypeAlias = Annotated[int | None, typer.Option(help="Of training.", show_default="21", rich_help_panel=_BOTH)]

_DetInput: TypeAlias = Annotated[
    str | None, typer.Option(help="--input-size of RTMDet alone.", metavar="SIZE", rich_help_panel=_DET)
]
_DetEpochs: TypeAlias = Annotated[int | None, typer.Option(help="--epochs of RTMDet alone.", rich_help_panel=_DET)]
_DetBatch: TypeAlias = Annotated[
    str | None, typer.Option(help="--batch-size of RTMDet alone.", metavar="N|auto", rich_help_panel=_DET)
]
_DetRate: TypeAlias = Annotated[float | None, typer.Option(help="--lr of RTMDet alone.", rich_help_panel=_DET)]
_DetLoad: TypeAlias = Annotated[
    str | None,
    typer.Option(help="What the whole RTMDet starts from.", metavar="coco|none|FILE|URL", rich_help_panel=_DET),
]
_PoseInput: TypeAlias = Annotated[
    str | None, typer.Option(help="--input-size of RTMPose alone.", metavar="SIZE", rich_help_panel=_POSE)
]
_PoseEpochs: TypeAlias = Annotated[int | None, typer.Option(help="--epochs of RTMPose alone.", rich_help_panel=_POSE)]
_PoseBatch: TypeAlias = Annotated[
    str | None, typer.Option(help="--batch-size of RTMPose alone.", metavar="N|auto", rich_help_panel=_POSE)
]
_PoseRate: TypeAlias = Annotated[float | None, typer.Option(help="--lr of RTMPose alone.", rich_help_panel=_POSE)]
_Rotation: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=180,
        metavar="DEGREES",
        help="Largest angle that RTMPose's training images are turned by; 180: all angles.",
        show_default="the skeleton file's; 30, 15 in a short run, more where the objects are turned more",
        rich_help_panel=_POSE,
    ),
]
_PoseLoad: TypeAlias = Annotated[
    str | None,
    typer.Option(help="What the whole RTMPose starts from.", metavar="coco|none|FILE|URL", rich_help_panel=_POSE),
]


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
    from posetools.cli.config_table import print_pair
    from posetools.cli.train_display import display
    from posetools.core.folder import skeleton_of
    from posetools.recipes.options import build_options
    from posetools.training.recipe import emit_fitting

    options = build_options(recipe, stated)
    shown: AbstractContextManager[TrainListener | None] = nullcontext() if options.minutes is None else display()
    with shown as listener:
        pair = emit_fitting(data, skeleton_of(data, skeleton), options, out, overwrite=overwrite, listener=listener)
    print_pair(pair, explain=explain)
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
