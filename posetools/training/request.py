"""What a user may say about a run, and what is wrong with it as far as that can be known without torch.

torch takes seconds to be imported. Everything here is looked at again, and in full, once the config is loaded; these
checks read no config and no weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posetools.core.folder import check_both, skeleton_of
from posetools.core.stages import Stage
from posetools.errors import RequestError
from posetools.mm.configs import check_options
from posetools.mm.device import AUTO, check_device
from posetools.mm.run_folder import checkpoint_to_resume
from posetools.pairs.find import check_file
from posetools.recipes.emit import find_pair
from posetools.training.spread.processes import Launcher
from posetools.training.trackers import check_trackers

WORK_DIRS = Path("work_dirs")
NO_WEIGHTS = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainRequest:
    """What a user may say about a run.

    Attributes:
        stage: which of the two models.
        data: the data set's folder, from which the config is found or emitted; None: the config says.
        config: the config; None: the one emitted for ``data``, or with ``resume`` the one in the work folder.
        configs: the folder in which an emitted pair is looked for, and into which a default one is emitted.
        work_dir: None: ``work_dirs/<name of the config>``.
        resume: go on from the last checkpoint in the work folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        gpus: how many GPUs of this machine to train on, with a process each; None: one, if there is any.
        processes: how many processes to train with on the CPU; None: one.
        launcher: what started this process as one of several.
        amp: mixed precision.
        weights: a file or URL that the whole model starts from, or ``none``; None: as the config says.
        epochs: how many in all; None: as the config says.
        seed: None: as the config says.
        skeleton: a built-in name or a file; None: the data set's.
        early_stopping: after how many evaluations without a better metric the run ends; 0: never; None: as the config
            says.
        keep: how many checkpoints are kept besides the best one, 2 at least; None: as the config says.
        trackers: where else the curves go: ``tensorboard``, ``wandb``, ``mlflow``.
        cache: for poses, ``crops`` or ``crops-ram``: load what is round each object, decoded once; None: the images.
        cache_dir: where ``crops`` lie; None: in the work folder.
        cfg_options: ``key=value`` texts that are merged into the config, last of all.
    """

    stage: Stage
    data: Path | None = None
    config: Path | None = None
    configs: Path = Path("configs")
    work_dir: Path | None = None
    resume: bool = False
    device: str = AUTO
    gpus: int | None = None
    processes: int | None = None
    launcher: Launcher = "none"
    amp: bool = False
    weights: str | None = None
    epochs: int | None = None
    seed: int | None = None
    skeleton: str | None = None
    early_stopping: int | None = None
    keep: int | None = None
    trackers: tuple[str, ...] = ()
    cache: str | None = None
    cache_dir: Path | None = None
    cfg_options: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The data set's folder.

        Raises:
            RequestError: none was named.
        """
        if self.data is None:
            raise RequestError("--data DIR or --config FILE must say what to train on\n  posetools train --help")
        return self.data

    def found_config(self) -> Path | None:
        """Return the stage's config that was emitted for the data set, None when there is none.

        Raises:
            RequestError: no data set was named; there are several configs, or only one of a pair.
        """
        pair = find_pair(self.folder, self.configs)
        return pair.of(self.stage) if pair else None


def check_training(request: TrainRequest) -> None:
    """Refuse a run whose files, folders or values are not there.

    Raises:
        RequestError: an option means nothing, or a folder cannot be trained in.
        InputError: a file is not there.
    """
    check_device(request.device)
    check_options(request.cfg_options)
    check_trackers(request.trackers)
    weights = request.weights
    if weights is not None and weights != NO_WEIGHTS and "://" not in weights:
        check_file(Path(weights), "file of weights", hint=f"--weights {NO_WEIGHTS} starts from random weights")
    path = request.config
    if path is not None:
        check_file(path, "config")
    elif not (request.resume and request.work_dir is not None):
        skeleton_of(request.folder, request.skeleton)
        path = request.found_config()
        if path is None:
            # A pair is emitted for the data, whose files it names.
            check_both(request.folder)
    if request.work_dir is not None or path is not None:
        check_work_dir(request.work_dir or WORK_DIRS / Path(str(path)).stem, resume=request.resume)


def check_work_dir(work_dir: Path, *, resume: bool) -> None:
    """Refuse a work folder with nothing to resume from, or with checkpoints that a new run would mix with its own.

    Raises:
        RequestError: it is one.
    """
    if resume:
        checkpoint_to_resume(work_dir)
    elif any(work_dir.glob("*.pth")):
        raise RequestError(
            f"{work_dir}: holds checkpoints of an earlier run\n  --resume goes on with it; or choose another --work-dir"
        )
