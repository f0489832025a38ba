"""``posetools train``: one stage of a pair, or both, from data set and config to checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from posetools.cli.models import Device
from posetools.errors import RequestError

if TYPE_CHECKING:
    from posetools.training.request import TrainRequest

_Stage: TypeAlias = Annotated[
    Literal["det", "pose", "all"],
    typer.Option(help="Train the detector or the pose estimator; all: one after the other, then evaluate both."),
]
_Arguments: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="DATA", help="The data set's folder. After --cfg-options, more KEY=VALUE may follow."),
]
_Data: TypeAlias = Annotated[Path | None, typer.Option(help="The data set's folder, as an option.")]
_Config: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        help="An MMDet or MMPose config; with --stage all one of each.",
        show_default="the one emitted for DATA; with --resume the one in the work folder",
    ),
]
_Configs: TypeAlias = Annotated[
    Path, typer.Option(help="Folder in which the emitted pair is looked for, or a default one is written.")
]
_WorkDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Folder for checkpoints and log; with --stage all the parent of both, det and pose.",
        show_default="work_dirs/<name of the config>; all: of DATA",
    ),
]
_DryRun: TypeAlias = Annotated[
    bool,
    typer.Option("--dry-run", help="Only try it: two iterations, an evaluation; tell time, memory and disk of all."),
]
_Resume: TypeAlias = Annotated[
    bool, typer.Option("--resume", help="Go on from the last checkpoint in the work folder.")
]
_Gpus: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Train on the first N GPUs of this machine, with a process each.",
        show_default="one, if there is any; with --resume as many as before",
    ),
]
_Processes: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="Train with N processes on the CPU.", show_default="one; with --resume as many as before"),
]
_Launcher: TypeAlias = Annotated[
    Literal["none", "pytorch", "slurm", "mpi"],
    typer.Option(help="What has started this command as one of several processes: torchrun, srun or mpirun."),
]
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
_EarlyStopping: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=0, help="End after N evaluations without a better metric; 0: never.", show_default="the config's: never"
    ),
]
_Keep: TypeAlias = Annotated[
    int | None, typer.Option(min=2, help="Checkpoints to keep besides the best one.", show_default="the config's")
]
_Tracker: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="tensorboard|wandb|mlflow", help="Send the curves to a tracker as well."),
]
_Cache: TypeAlias = Annotated[
    Literal["crops", "crops-ram"] | None,
    typer.Option(help="For poses on large photos: keep what is round each object decoded, on disk or in memory."),
]
_CacheDir: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder for --cache crops.", show_default="crops in the work folder")
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
    device: Device = "auto",
    amp: _Amp = False,
    weights: _Weights = None,
    epochs: _Epochs = None,
    seed: _Seed = None,
    skeleton: _Skeleton = None,
    early_stopping: _EarlyStopping = None,
    keep: _Keep = None,
    tracker: _Tracker = None,
    cache: _Cache = None,
    cache_dir: _CacheDir = None,
    cfg_options: _Options = None,
    dry_run: _DryRun = False,
    gpus: _Gpus = None,
    processes: _Processes = None,
    launcher: _Launcher = "none",
) -> None:
    """Train one stage of a pair, or both, with mmengine's Runner.

    The data set is checked against the config first. Ctrl-C stops the run, --resume goes on with it.
    """
    from posetools.training.request import TrainRequest

    positional, options = split_arguments(arguments or (), cfg_options or ())
    request = TrainRequest(
        stage="det" if stage == "all" else stage,
        data=data or positional,
        config=None if stage == "all" else _one_config(config or ()),
        configs=configs,
        work_dir=work_dir,
        resume=resume,
        device=device,
        amp=amp,
        weights=weights,
        epochs=epochs,
        seed=seed,
        skeleton=skeleton,
        early_stopping=early_stopping,
        keep=keep,
        cache=cache,
        cache_dir=cache_dir,
        trackers=tuple(tracker or ()),
        cfg_options=options,
    )
    request = replace(request, gpus=gpus, processes=processes, launcher=launcher)
    _run(request, config or (), both=stage == "all", dry_run=dry_run)


def _run(request: TrainRequest, configs: Sequence[Path], *, both: bool, dry_run: bool) -> None:
    from posetools.training.spread.processes import one_of_several

    with one_of_several(request.launcher):
        from posetools.cli.train_all import run_all, try_out
        from posetools.cli.train_display import run_one

        if dry_run:
            try_out(request, configs, both=both)
        elif both:
            run_all(request, configs)
        else:
            run_one(request)


def _one_config(configs: Sequence[Path]) -> Path | None:
    if len(configs) > 1:
        raise RequestError(
            f"--config must be given once, got {', '.join(map(str, configs))}\n"
            "  --stage all trains a detector and a pose estimator, one after the other"
        )
    return configs[0] if configs else None


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
