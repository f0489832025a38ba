"""``posetools config``: a data set in, an RTMDet and an RTMPose config out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar

import typer

_Value = TypeVar("_Value")
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
_Overwrite: TypeAlias = Annotated[bool, typer.Option("--overwrite", help="Replace files that differ.")]

_InputSize: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Network input in pixels: a side or WIDTHxHEIGHT, multiples of 32.",
        show_default="640 det, 256 pose",
        rich_help_panel=_BOTH,
    ),
]
_Epochs: TypeAlias = Annotated[
    int | None, typer.Option(help="Epochs in all.", show_default="200 det, 210 pose", rich_help_panel=_BOTH)
]
_Stage2: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help="The last epochs, with weaker augmentation (det: no mosaic, no mixup); as many as --epochs means weak "
        "from the start.",
        show_default="a tenth, at most 20",
        rich_help_panel=_BOTH,
    ),
]
_Batch: TypeAlias = Annotated[
    int | None, typer.Option(help="Training batch on one device.", show_default="4 det, 32 pose", rich_help_panel=_BOTH)
]
_Rate: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Learning rate at that batch.",
        show_default="the stock 0.004, for batches of 256 det and 1024 pose, times the square root of the ratio",
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
_Workers: TypeAlias = Annotated[
    int | None, typer.Option(help="Processes that load data.", show_default="4", rich_help_panel=_BOTH)
]
_Seed: TypeAlias = Annotated[int | None, typer.Option(help="Of training.", show_default="21", rich_help_panel=_BOTH)]

_DetInput: TypeAlias = Annotated[
    str | None, typer.Option(help="--input-size of RTMDet alone.", metavar="SIZE", rich_help_panel=_DET)
]
_DetEpochs: TypeAlias = Annotated[int | None, typer.Option(help="--epochs of RTMDet alone.", rich_help_panel=_DET)]
_DetBatch: TypeAlias = Annotated[int | None, typer.Option(help="--batch-size of RTMDet alone.", rich_help_panel=_DET)]
_DetRate: TypeAlias = Annotated[float | None, typer.Option(help="--lr of RTMDet alone.", rich_help_panel=_DET)]
_DetLoad: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Checkpoint of a whole RTMDet to start from.", metavar="FILE|URL", rich_help_panel=_DET),
]
_PoseInput: TypeAlias = Annotated[
    str | None, typer.Option(help="--input-size of RTMPose alone.", metavar="SIZE", rich_help_panel=_POSE)
]
_PoseEpochs: TypeAlias = Annotated[int | None, typer.Option(help="--epochs of RTMPose alone.", rich_help_panel=_POSE)]
_PoseBatch: TypeAlias = Annotated[
    int | None, typer.Option(help="--batch-size of RTMPose alone.", rich_help_panel=_POSE)
]
_PoseRate: TypeAlias = Annotated[float | None, typer.Option(help="--lr of RTMPose alone.", rich_help_panel=_POSE)]
_PoseLoad: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Checkpoint of a whole RTMPose to start from.", metavar="FILE|URL", rich_help_panel=_POSE),
]


def config(
    data: _Data,
    det: _Det = None,
    pose: _Pose = None,
    out: _Out = Path("configs"),
    skeleton: _Skeleton = None,
    recipe: _Recipe = None,
    overwrite: _Overwrite = False,
    input_size: _InputSize = None,
    epochs: _Epochs = None,
    stage2_epochs: _Stage2 = None,
    batch_size: _Batch = None,
    lr: _Rate = None,
    val_interval: _Interval = None,
    backbone: _Backbone = None,
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
) -> None:
    """Write the pair of configs that trains RTMDet and RTMPose on a data set.

    Each inherits the stock recipe of the installed mmdet or mmpose, states only what differs, with the reason, and
    runs with the stock tools. Writing them needs neither package.
    """
    from posetools.dataset_folder import skeleton_of
    from posetools.recipes.emit import emit_pair
    from posetools.recipes.options import build_options

    both = {"stage2_epochs": stage2_epochs, "val_interval": val_interval, "backbone": backbone}
    stated: dict[str, dict[str, object]] = {
        "": {"workers": workers, "seed": seed},
        "det": {**both, "size": det, "load_from": det_load_from, "lr": _own(det_lr, lr)},
        "pose": {**both, "size": pose, "load_from": pose_load_from, "lr": _own(pose_lr, lr)},
    }
    stated["det"]["input_size"] = _own(det_input_size, input_size)
    stated["pose"]["input_size"] = _own(pose_input_size, input_size)
    stated["det"]["epochs"], stated["pose"]["epochs"] = _own(det_epochs, epochs), _own(pose_epochs, epochs)
    stated["det"]["batch_size"] = _own(det_batch_size, batch_size)
    stated["pose"]["batch_size"] = _own(pose_batch_size, batch_size)
    pair = emit_pair(data, skeleton_of(data, skeleton), build_options(recipe, stated), out, overwrite=overwrite)
    for path in (pair.det, pair.pose):
        print(path)
    for note in pair.notes:
        print(f"  {note}")
    print(f"next: posetools train --stage det --data {data}")


def _own(own: _Value | None, shared: _Value | None) -> _Value | None:
    """Return what was stated for one stage, else what was stated for both."""
    return shared if own is None else own
