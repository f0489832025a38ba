"""``posetools train``: one stage of a pair, from data set and config to a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from posetools.errors import RequestError

_Stage: TypeAlias = Annotated[Literal["det", "pose"], typer.Option(help="Train the detector or the pose estimator.")]
_Arguments: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="DATA", help="The data set's folder. After --cfg-options, more KEY=VALUE may follow."),
]
_Data: TypeAlias = Annotated[Path | None, typer.Option(help="The data set's folder, as an option.")]
_Config: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="An MMDet or MMPose config.",
        show_default="the one emitted for DATA; with --resume the one in the work folder",
    ),
]
_Configs: TypeAlias = Annotated[
    Path, typer.Option(help="Folder in which the emitted pair is looked for, or a default one is written.")
]
_WorkDir: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder for checkpoints and log.", show_default="work_dirs/<name of the config>")
]
_Resume: TypeAlias = Annotated[
    bool, typer.Option("--resume", help="Go on from the last checkpoint in the work folder.")
]
_Device: TypeAlias = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
_Amp: TypeAlias = Annotated[bool, typer.Option("--amp", help="Mixed precision; needs a GPU.")]
_Weights: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URL|FILE|none",
        help="What the whole model starts from; none: random weights.",
        show_default="what the config says",
    ),
]
_Epochs: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Epochs in all; the schedule is scaled.", show_default="the config's")
]
_Seed: TypeAlias = Annotated[
    int | None, typer.Option(min=0, help="Of the random numbers.", show_default="the config's")
]
_Skeleton: TypeAlias = Annotated[
    str | None, typer.Option(help="A built-in name or a YAML file.", show_default="what conversion.json says")
]
_Options: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Change the config, as OpenMMLab's option of this name does."),
]


def train(
    stage: _Stage,
    arguments: _Arguments = None,
    data: _Data = None,
    config: _Config = None,
    configs: _Configs = Path("configs"),
    work_dir: _WorkDir = None,
    resume: _Resume = False,
    device: _Device = "auto",
    amp: _Amp = False,
    weights: _Weights = None,
    epochs: _Epochs = None,
    seed: _Seed = None,
    skeleton: _Skeleton = None,
    cfg_options: _Options = None,
) -> None:
    """Train one stage of a pair with mmengine's Runner.

    The data set is checked against the config first. Ctrl-C stops the run, --resume goes on with it.
    """
    from posetools.cli.train_display import display, print_result
    from posetools.mm.train import TrainRequest
    from posetools.mm.train import train as run

    positional, options = split_arguments(arguments or (), cfg_options or ())
    request = TrainRequest(
        stage=stage,
        data=data or positional,
        config=config,
        configs=configs,
        work_dir=work_dir,
        resume=resume,
        device=device,
        amp=amp,
        weights=weights,
        epochs=epochs,
        seed=seed,
        skeleton=skeleton,
        cfg_options=options,
    )
    with display() as listener:
        result = run(request, listener)
    print_result(result, stage)


def split_arguments(arguments: Sequence[str], cfg_options: Sequence[str]) -> tuple[Path | None, tuple[str, ...]]:
    """Return DATA and all config options: after ``--cfg-options a=1``, a further ``b=2`` is one too, as in OpenMMLab.

    Raises:
        RequestError: there is more than one DATA.
    """
    more = [text for text in arguments if cfg_options and "=" in text]
    folders = [text for text in arguments if text not in more]
    if len(folders) > 1:
        raise RequestError(f"DATA must be one folder, got {', '.join(folders)}")
    return (Path(folders[0]) if folders else None), (*cfg_options, *more)
