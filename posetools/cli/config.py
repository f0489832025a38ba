"""``posetools config``: writes the RTMDet and the RTMPose config for a data set."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from posetools.cli.console import console, escape
from posetools.cli.options import Pretrained, Trainer
from posetools.errors import PosetoolsError, printable, printable_lines

if TYPE_CHECKING:
    from rich.table import Table

    from posetools.trainers.trainer import RecipeFiles

_both = partial(typer.Option, rich_help_panel="Both models")
_start = partial(typer.Option, rich_help_panel="Pretrained weights")
_det = partial(typer.Option, rich_help_panel="Detector only (RTMDet)")
_pose = partial(typer.Option, rich_help_panel="Pose estimator only (RTMPose)")

_Data = Annotated[Path, typer.Argument(help="Data set folder, as `posetools convert` writes it.")]
_Det = Annotated[
    Literal["nano", "tiny", "s", "m", "l", "x"] | None,
    typer.Option(help="RTMDet size. nano: for fast prediction on a CPU; learns slowly.", show_default="m"),
]
_Pose = Annotated[Literal["t", "s", "m", "l", "x"] | None, typer.Option(help="RTMPose size.", show_default="m")]
_Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder for the two config files.")]
_Skeleton = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="Skeleton: a built-in name or a YAML file.", show_default="the data set's"),
]
_Recipe = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="TOML file with these and more options (docs/config.md). The command line overrides it."
    ),
]
_Explain = Annotated[
    bool,
    typer.Option("--explain", help="Also print each choice: field, stock value, chosen value, reason."),
]
_Folds = Annotated[
    bool,
    typer.Option(
        "--folds",
        help="Write a pair for each fold of `posetools split --folds`, into the folders fold-1, fold-2, ... The pairs "
        "share --minutes.",
    ),
]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that differ.")]

_InputSize = Annotated[
    str | None,
    _both(
        metavar="SIZE",
        help="Network input in pixels: one side or WIDTHxHEIGHT, multiples of 32.",
        show_default="chosen from the images and boxes",
    ),
]
_Epochs = Annotated[int | None, _both(help="Number of epochs.", show_default="chosen from iterations, data and time")]
_Stage2 = Annotated[
    int | None,
    _both(
        help="Number of last epochs with weaker augmentation (detector: no mosaic, no mixup). Equal to --epochs: weak "
        "from the start.",
        show_default="a tenth, at most 20; all in a short run, or a third if it begins at half the input size",
    ),
]
_Batch = Annotated[
    str | None,
    _both(
        metavar="N|auto",
        help="Batch size on one device. auto: a short trial finds the largest that fits on the GPU.",
        show_default="by GPU memory; on a CPU at most 8 (detector) and 32 (pose)",
    ),
]
_Rate = Annotated[
    float | None,
    _both(
        help="Learning rate at that batch size.",
        show_default="0.004 at the stock batch size (256 detector, 1024 pose), scaled by the square root of the batch "
        "size, at least 0.0005; half of that when all layers are pretrained",
    ),
]
_Interval = Annotated[
    int | None, _both(help="Epochs between evaluations.", show_default="a tenth of the epochs, at most 10")
]
_Backbone = Annotated[
    str | None,
    _start(
        metavar="stock|none|FILE|URL",
        help="Initial weights of the backbones.",
        show_default="stock, downloaded when training starts",
    ),
]
_Freeze = Annotated[
    Literal["none", "backbone"] | None,
    _start(help="backbone: keep the backbone's weights and BN statistics fixed.", show_default="none"),
]
_Augmentation = Annotated[
    Literal["strong", "light"] | None,
    _both(
        help="strong: the stock recipe's; light: no mosaic, mixup or cutout, small changes of scale.",
        show_default="light below 6000 iterations, else strong",
    ),
]
_Minutes = Annotated[
    float | None,
    _both(
        help="Time limit for training both models. Times some iterations of each, then chooses the epochs.",
        show_default="60 on a CPU, estimated; no limit on a GPU",
    ),
]
_Workers = Annotated[int | None, _both(help="Data loading processes.", show_default="by CPU cores")]
_Seed = Annotated[int | None, _both(help="Random seed of training.", show_default="21")]

_DetInput = Annotated[str | None, _det(help="Network input.", metavar="SIZE")]
_DetEpochs = Annotated[int | None, _det(help="Number of epochs.")]
_DetBatch = Annotated[str | None, _det(help="Batch size.", metavar="N|auto")]
_DetRate = Annotated[float | None, _det(help="Learning rate.")]
_DetLoad = Annotated[
    str | None,
    _det(
        help="Initial weights of the whole model.", metavar="coco|starter|none|FILE|URL", show_default="by --pretrained"
    ),
]
_PoseInput = Annotated[str | None, _pose(help="Network input.", metavar="SIZE")]
_PoseEpochs = Annotated[int | None, _pose(help="Number of epochs.")]
_PoseBatch = Annotated[str | None, _pose(help="Batch size.", metavar="N|auto")]
_PoseRate = Annotated[float | None, _pose(help="Learning rate.")]
_Rotation = Annotated[
    int | None,
    _pose(
        min=0,
        max=180,
        metavar="DEGREES",
        help="Largest random rotation of training images; 180: all angles.",
        show_default="the skeleton file's, else 30, 15 in a short run; more if the labeled objects are rotated more",
    ),
]
_PoseLoad = Annotated[
    str | None,
    _pose(
        help="Initial weights of the whole model.", metavar="coco|starter|none|FILE|URL", show_default="by --pretrained"
    ),
]

# Options that are no part of the recipe.
_ELSEWHERE = ("data", "out", "skeleton", "explain", "folds", "overwrite", "trainer")


def config(
    data: _Data,
    det: _Det = None,
    pose: _Pose = None,
    out: _Out = Path("configs"),
    skeleton: _Skeleton = None,
    recipe: _Recipe = None,
    explain: _Explain = False,
    folds: _Folds = False,
    overwrite: _Overwrite = False,
    minutes: _Minutes = None,
    input_size: _InputSize = None,
    epochs: _Epochs = None,
    stage2_epochs: _Stage2 = None,
    augmentation: _Augmentation = None,
    batch_size: _Batch = None,
    lr: _Rate = None,
    val_interval: _Interval = None,
    pretrained: Pretrained = None,
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
    trainer: Trainer = "openmmlab",
) -> None:
    """Write the RTMDet and RTMPose configs that fit a data set and this machine.

    Options that you leave out are chosen from the data and this machine. Each config inherits the stock recipe of
    mmdet or mmpose, lists only the changes, with reasons, and runs with the stock tools. Neither package is needed to
    write them.
    """
    _write(locals())


def _write(given: Mapping[str, Any]) -> None:
    """Write the recipe of a trainer for the options of a call, and print it."""
    from posetools.cli.steps import Steps
    from posetools.core.folder import categories_of
    from posetools.pairs.trained import OPENMMLAB
    from posetools.trainers.runs import chosen_trainer
    from posetools.trainers.trainer import RecipeRequest

    data, out, folds = given["data"], given["out"], given["folds"]
    named = chosen_trainer(given["trainer"])
    stated = {name: value for name, value in given.items() if name not in _ELSEWHERE and value is not None}
    named.check_options("config", [*stated, *(["folds"] if folds else [])], named.trainer.recipe_options)
    request = RecipeRequest(
        data=data,
        categories=categories_of(data, given["skeleton"]),
        out=out,
        options=stated,
        folds=folds,
        overwrite=given["overwrite"],
    )
    with named.plugin.guarded("failed", PosetoolsError):
        recipes = named.trainer.recipe(request, Steps())
    for files in recipes:
        print_recipe(files, explain=given["explain"])
    elsewhere = ("" if out == Path("configs") else f" --configs {out}") + (" --folds" if folds else "")
    stage = " --stage all" if named.trainer.stages else ""
    whose = "" if named.name == OPENMMLAB else f" --trainer {named.name}"
    print(printable(f"next: posetools train{stage} {data}{elsewhere}{whose}"))


_TITLES = {"det": "RTMDet", "pose": "RTMPose"}


def print_recipe(files: RecipeFiles, *, explain: bool = False) -> None:
    """Print the files and notes of a recipe; with ``explain`` also each choice."""
    out = console()
    if explain:
        out.print(printable(f"data: {files.facts}"), markup=False)
        for model in (*dict.fromkeys(row.model for row in files.choices if row.model), ""):
            out.print(_table(files, model))
    for path in files.paths:
        print(printable(str(path)))
    for note in files.notes:
        print(printable_lines(f"  {note}"))


def _table(files: RecipeFiles, model: str) -> Table:
    """Return the table of one model, or of all together, at most 80 columns wide."""
    from rich import box
    from rich.table import Table

    stage, _, skeleton = model.partition("-")
    both = "both" if any(row.model for row in files.choices) else ""
    title = f"{_TITLES.get(stage, stage)} {skeleton}".rstrip() if model else both
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, width=80)
    table.add_column("field", no_wrap=True)
    table.add_column("stock", no_wrap=True, style="dim")
    table.add_column("chosen", max_width=16, overflow="fold")
    table.add_column("reason", ratio=1)
    for row in files.choices:
        if row.model == model:
            # Highlight the values that the user chose.
            chosen, reason = escape(row.chosen), escape(row.reason)
            table.add_row(row.field, row.stock, f"[bold]{chosen}[/]", f"[cyan]{reason}[/]" if row.stated else reason)
    return table
