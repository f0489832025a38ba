"""``posetools train``: trains one stage of a pair, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from posetools.cli.options import SKELETON_HELP, TRAINER_HELP
from posetools.errors import RequestError

if TYPE_CHECKING:
    from posetools.trainers.runs import NamedTrainer
    from posetools.training.request import TrainRequest

_setting = partial(typer.Option, rich_help_panel="Training settings")
_hardware = partial(typer.Option, rich_help_panel="Hardware")
_output = partial(typer.Option, rich_help_panel="Output")

_Stage: TypeAlias = Annotated[
    Literal["det", "pose", "all"] | None,
    typer.Option(
        help="Model to train: the detector or the pose estimator. all: both in turn, then evaluate them. Not needed "
        "for a trainer with one model.",
    ),
]
_Arguments: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="DATA", help="Data set folder. After --cfg-options, more KEY=VALUE may follow."),
]
_Data: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Data set folder, as an option instead of DATA.")
]
_Config: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="MMDet or MMPose config. With --stage all, pass one of each model.",
        show_default="the one written for DATA; with --resume the one in the work folder",
    ),
]
_Category: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Train the pose estimator of this category. Needed for --stage pose if categories have different "
        "keypoints.",
    ),
]
_Configs: TypeAlias = Annotated[
    Path, typer.Option(metavar="DIR", help="Folder with the configs of `posetools config`; written if missing.")
]
_WorkDir: TypeAlias = Annotated[
    Path | None,
    _output(
        metavar="DIR",
        help="Folder for checkpoints and logs. With --stage all, its subfolders det and pose (or pose-SKELETON).",
        show_default="work_dirs/CONFIG_NAME; with --stage all or folds work_dirs/DATA_NAME",
    ),
]
_Folds: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--folds",
        help="Train a pair for each fold of `posetools split --folds`, in the subfolders fold-1, fold-2, ... of "
        "--work-dir.",
    ),
]
_Fold: TypeAlias = Annotated[
    int | None, typer.Option(min=1, metavar="I", help="Train only fold I, for example on another machine.")
]
_DryRun: TypeAlias = Annotated[
    bool,
    typer.Option("--dry-run", help="Run two iterations and an evaluation, and estimate time, memory and disk space."),
]
_Resume: TypeAlias = Annotated[
    bool, typer.Option("--resume", help="Resume from the last checkpoint in the work folder.")
]
_Gpus: TypeAlias = Annotated[
    int | None,
    _hardware(
        min=1,
        metavar="N",
        help="Train on the first N GPUs of this machine, one process each.",
        show_default="1, if there is a GPU; with --resume as before",
    ),
]
_Processes: TypeAlias = Annotated[
    int | None,
    _hardware(min=1, metavar="N", help="Train with N processes on the CPU.", show_default="1; with --resume as before"),
]
_Launcher: TypeAlias = Annotated[
    Literal["none", "pytorch", "slurm", "mpi"],
    _hardware(help="Launcher that started this process: torchrun (pytorch), srun (slurm) or mpirun (mpi)."),
]
_Device: TypeAlias = Annotated[str, _hardware(metavar="DEVICE", help="Device: auto, cpu, cuda or cuda:N.")]
_Amp: TypeAlias = Annotated[bool, _hardware("--amp", help="Mixed precision. Needs a GPU.")]
_Weights: TypeAlias = Annotated[
    str | None,
    _setting(
        "--weights",
        "--pretrained",
        metavar="URL|FILE|starter|none",
        help="Initial weights of the whole model. starter: weights in posetools for sizes tiny and t; none: random "
        "weights.",
        show_default="the config's",
    ),
]
_Epochs: TypeAlias = Annotated[
    int | None,
    _setting(min=1, help="Number of epochs. The learning rate schedule is scaled.", show_default="the config's"),
]
_Seed: TypeAlias = Annotated[int | None, _setting(min=0, help="Random seed.", show_default="the config's")]
_Skeleton: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME|FILE", help=SKELETON_HELP, show_default="the data set's")
]
_EarlyStopping: TypeAlias = Annotated[
    int | None,
    _setting(
        min=0,
        metavar="N",
        help="Stop after N evaluations without improvement; 0: never.",
        show_default="the config's, usually never",
    ),
]
_Keep: TypeAlias = Annotated[
    int | None,
    _output(
        min=2, metavar="N", help="Number of checkpoints to keep in addition to the best.", show_default="the config's"
    ),
]
_Tracker: TypeAlias = Annotated[
    list[str] | None,
    _output(metavar="tensorboard|wandb|mlflow", help="Also log to this experiment tracker. Repeatable."),
]
_Cache: TypeAlias = Annotated[
    Literal["crops", "crops-ram"] | None,
    _hardware(help="Pose, large photos: cache the decoded region of each object on disk or in memory."),
]
_CacheDir: TypeAlias = Annotated[
    Path | None,
    _hardware(metavar="DIR", help="Folder for --cache crops.", show_default="crops in the work folder"),
]
_Trainer: TypeAlias = Annotated[
    str | None, typer.Option("--trainer", metavar="NAME", help=TRAINER_HELP, show_default="openmmlab, or the run's")
]
_Options: TypeAlias = Annotated[
    list[str] | None,
    _setting(metavar="KEY=VALUE", help="Override config values, as in OpenMMLab's tools. Repeatable."),
]


def train(
    stage: _Stage = None,
    arguments: _Arguments = None,
    data: _Data = None,
    category: _Category = None,
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
    early_stopping: _EarlyStopping = None,
    keep: _Keep = None,
    tracker: _Tracker = None,
    cache: _Cache = None,
    cache_dir: _CacheDir = None,
    cfg_options: _Options = None,
    folds: _Folds = False,
    fold: _Fold = None,
    dry_run: _DryRun = False,
    gpus: _Gpus = None,
    processes: _Processes = None,
    launcher: _Launcher = "none",
    trainer: _Trainer = None,
) -> None:
    """Train the detector, the pose estimator, or both.

    Checks the data set against the config first. Ctrl-C stops a run; --resume continues it.
    """
    given = locals()
    from posetools.pairs.trained import OPENMMLAB

    request, both = _request(given), stage in ("all", None)
    named = _chosen(trainer, request)
    if named.name != OPENMMLAB:
        _run_other(named, request, stage, folds=folds, dry_run=dry_run)
    elif stage is None:
        hint = "--stage all trains the detector, then the pose estimator"
        raise RequestError("--stage must be det, pose or all", hint=hint)
    else:
        _run(named, request, both=both, folds=folds, dry_run=dry_run)


# Arguments that are fields of the request under the same name.
_FIELDS = (
    *("category", "configs", "work_dir", "resume", "device", "amp", "weights", "epochs", "seed", "skeleton"),
    *("early_stopping", "keep", "fold", "gpus", "processes", "launcher", "cache", "cache_dir"),
)


def _request(given: Mapping[str, Any]) -> TrainRequest:
    """Return the request for the arguments of a call."""
    from posetools.training.request import TrainRequest

    positional, options = split_arguments(given["arguments"] or (), given["cfg_options"] or ())
    stage, configs = given["stage"], tuple(given["config"] or ())
    one = stage in ("det", "pose")
    return TrainRequest(
        stage=stage if one else "det",
        data=given["data"] or positional,
        config=_one_config(configs) if one else None,
        pair=() if one else configs,
        trackers=tuple(given["tracker"] or ()),
        cfg_options=options,
        **{name: given[name] for name in _FIELDS},
    )


def _chosen(trainer: str | None, request: TrainRequest) -> NamedTrainer:
    """Return the trainer: the stated one, or that of the run in the work folder, or the default."""
    from posetools.pairs.trained import OPENMMLAB, trained_by
    from posetools.trainers.runs import chosen_trainer

    made = trained_by(request.work_dir) if trainer is None and request.work_dir is not None else None
    return chosen_trainer(made.trainer if made else trainer or OPENMMLAB)


def _run_other(named: NamedTrainer, request: TrainRequest, stage: str | None, *, folds: bool, dry_run: bool) -> None:
    """Train with another trainer than the default."""
    from posetools.cli.train_all import run_all
    from posetools.trainers.runs import stated_fields

    stages = named.trainer.stages
    if stage not in (None, "all", *stages):
        ways = f"--stage must be {', '.join(stages)} or all" if stages else "it has one model: leave --stage out"
        raise RequestError(f"--stage {stage}: {named.trainer.title} does not train this alone", hint=ways)
    flags = [name for name, given in (("folds", folds), ("dry_run", dry_run)) if given]
    named.check_options("train", [*stated_fields(request), *flags], named.trainer.train_options)
    run_all(named, request)


def _check_folds(request: TrainRequest, *, folds: bool, dry_run: bool) -> None:
    if not folds and request.fold is None:
        return
    option = "--folds" if folds else f"--fold {request.fold}"
    if folds and request.fold is not None:
        raise RequestError(f"--folds trains all folds, --fold {request.fold} only one", hint="leave one of them out")
    if request.pair or request.config:
        hint = "leave --config out; `posetools config DATA --folds` writes them"
        raise RequestError(f"--config cannot be combined with {option}: each fold has its own configs", hint=hint)
    if folds and dry_run:
        hint = "use --fold 1 to estimate one fold; the others take as long"
        raise RequestError("--dry-run cannot be combined with --folds", hint=hint)


def _run(named: NamedTrainer, request: TrainRequest, *, both: bool, folds: bool, dry_run: bool) -> None:
    from posetools.training.spread.processes import one_of_several

    _check_folds(request, folds=folds, dry_run=dry_run)
    if request.category is not None and (both or request.stage != "pose"):
        rule = "combined with --stage pose: the detector is trained for all categories"
        raise RequestError(f"--category {request.category}: must be {rule}")
    with one_of_several(request.launcher):
        from posetools.cli.train_all import run_all, run_folds, try_out
        from posetools.cli.train_display import run_one

        if dry_run:
            try_out(request, both=both)
        elif folds or request.fold is not None:
            run_folds(named, request, both=both)
        elif both:
            run_all(named, request)
        else:
            run_one(request)


def _one_config(configs: Sequence[Path]) -> Path | None:
    if len(configs) > 1:
        raise RequestError(
            f"--config must be given once, got {', '.join(map(str, configs))}",
            hint="leave one out, or --stage all to train a detector and a pose estimator",
        )
    return configs[0] if configs else None


def split_arguments(arguments: Sequence[str], cfg_options: Sequence[str]) -> tuple[Path | None, tuple[str, ...]]:
    """Return DATA and all config options: in ``--cfg-options a=1 b=2``, ``b=2`` is one too, as in OpenMMLab.

    Raises:
        RequestError: more than one DATA is given.
    """
    more = [text for text in arguments if cfg_options and "=" in text]
    folders = [text for text in arguments if text not in more]
    if len(folders) > 1:
        raise RequestError(f"DATA must be one folder, got {', '.join(folders)}")
    return (Path(folders[0]) if folders else None), (*cfg_options, *more)
