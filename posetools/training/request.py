"""The options of a run, and their checks that need no torch.

Importing torch takes seconds. These checks read no config and no weights; the full checks follow once the config is
loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posetools.core.categories import Categories
from posetools.core.folder import categories_of, check_both, fold_folder
from posetools.core.stages import Stage, models_of
from posetools.errors import RequestError, must_be, quoted
from posetools.mm.configs import check_options
from posetools.mm.device import AUTO, check_device
from posetools.mm.run_folder import checkpoint_to_resume
from posetools.pairs.find import check_file
from posetools.recipes.emit import find_pair
from posetools.recipes.options import STARTER
from posetools.training.spread.processes import Launcher
from posetools.training.trackers import check_trackers

WORK_DIRS = Path("work_dirs")
NO_WEIGHTS = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainRequest:
    """The options of a run.

    Attributes:
        stage: which kind of model.
        category: the category whose pose estimator to train; None: the only pose estimator.
        data: the data set's folder, for which the config is found or emitted; None: as the config says.
        config: the config; None: the one emitted for ``data``, or with ``resume`` the one in the work folder.
        pair: the configs of all models, in any order, where all are trained together; none: as for ``config``.
        configs: the folder of emitted pairs; a default pair is written here.
        work_dir: None: ``work_dirs/<name of the config>``.
        resume: resume from the last checkpoint in the work folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        gpus: how many GPUs of this machine to train on, one process each; None: one, if available.
        processes: how many processes to train with on the CPU; None: one.
        launcher: what started this process as one of several.
        amp: mixed precision.
        weights: a file or URL that the whole model starts from, ``starter`` (the file in posetools) or ``none``; None:
            as the config says.
        epochs: the total; None: as the config says.
        seed: None: as the config says.
        skeleton: a built-in name or a file; None: the data set's.
        early_stopping: number of evaluations without a better metric that end the run; 0: never; None: as the config
            says.
        keep: how many checkpoints to keep, not counting the best one, at least 2; None: as the config says.
        trackers: ``tensorboard``, ``wandb``, ``mlflow``.
        cache: for poses, ``crops`` or ``crops-ram``: decode the area around each object once; None: read images.
        cache_dir: the folder for ``crops``; None: in the work folder.
        cfg_options: ``key=value`` texts that are merged into the config, last of all.
        fold: the fold to train on, whose configs are in ``<configs>/fold-<number>``; None: as the config says.
    """

    stage: Stage
    category: str | None = None
    data: Path | None = None
    config: Path | None = None
    pair: tuple[Path, ...] = ()
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
    fold: int | None = None

    @property
    def folder(self) -> Path:
        """The data set's folder.

        Raises:
            RequestError: none was given.
        """
        if self.data is None:
            raise RequestError("--data DIR or --config FILE must say what to train on", hint="posetools train --help")
        return self.data

    def found_config(self) -> Path | None:
        """Return the model's config emitted for the data set, or None.

        Raises:
            RequestError: no data set was given; there are several configs, or only one of a pair; ``category`` must
                say which pose estimator; or there is a pair of the data set, but none of its fold.
        """
        pair = find_pair(self.folder, fold_folder(self.configs, self.fold))
        if pair is None and self.fold is not None and find_pair(self.folder, self.configs) is not None:
            raise RequestError(
                f"{self.configs}: has a pair of configs for {self.folder}, but none for its fold {self.fold}",
                hint=(
                    f"`posetools config {quoted(self.folder)} --folds` with the options of that pair writes them; or "
                    "use another --configs DIR to train default pairs"
                ),
            )
        return pair.configs.get(self.model) if pair else None

    @property
    def categories(self) -> Categories:
        """The data set's categories, each with its skeleton.

        Raises:
            RequestError, InputError: as ``categories_of``.
        """
        return categories_of(self.folder, self.skeleton)

    @property
    def model(self) -> str:
        """The name of the model.

        Raises:
            RequestError: no data set was given, or ``category`` is missing, unknown, or not needed.
        """
        if self.stage == "det":
            return "det"
        return pose_model(self.folder, self.categories, self.category)


def pose_model(data: Path, categories: Categories, category: str | None) -> str:
    """Return the name of the pose estimator of a category.

    Args:
        data: the data set, for messages.
        categories: its categories.
        category: the name of one; None: the data set has only one pose estimator.

    Raises:
        RequestError: the category is missing or unknown, or has no keypoints.
    """
    posed = [name for group in categories.posed.values() for name in group.ids]
    if category is not None and category not in posed:
        raise RequestError(must_be("--category", f"a category with keypoints in {data}: {', '.join(posed)}", category))
    models = dict(zip(models_of(tuple(categories.posed))[1:], categories.posed.values(), strict=True))
    if category is None and len(models) > 1:
        rule = f"given: {data} has a pose estimator for each of {', '.join(posed)}"
        raise RequestError(f"--category must be {rule}", hint="--stage all trains all models")
    return next(model for model, group in models.items() if category is None or category in group.ids)


def check_training(request: TrainRequest) -> None:
    """Check the files, folders and values of a run.

    Raises:
        RequestError: an option is invalid, or a folder cannot be trained in.
        InputError: a file does not exist.
    """
    check_device(request.device)
    check_options(request.cfg_options)
    check_trackers(request.trackers)
    weights = request.weights
    if weights is not None and weights not in (NO_WEIGHTS, STARTER) and "://" not in weights:
        check_file(
            Path(weights),
            "file of weights",
            hint=f"use --weights {STARTER} for those of posetools, {NO_WEIGHTS} for random ones; coco and imagenet are "
            "options of `posetools config --pretrained`",
        )
    path = request.config
    if path is not None:
        check_file(path, "config")
    elif not (request.resume and request.work_dir is not None):
        categories_of(request.folder, request.skeleton)
        path = request.found_config()
        if path is None:
            # A pair is emitted, which names both files.
            check_both(request.folder, request.fold)
    if request.work_dir is not None or path is not None:
        check_work_dir(request.work_dir or WORK_DIRS / Path(str(path)).stem, resume=request.resume)


def check_work_dir(work_dir: Path, *, resume: bool) -> None:
    """Refuse a work folder with nothing to resume, or with checkpoints that a new run would mix with its own.

    Raises:
        RequestError: it cannot be used.
    """
    if resume:
        checkpoint_to_resume(work_dir)
    elif any(work_dir.glob("*.pth")):
        raise RequestError(
            f"{work_dir}: has checkpoints of an earlier run", hint="continue it with --resume, or change --work-dir"
        )
