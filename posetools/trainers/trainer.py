"""The protocol of a trainer, a plug-in of the group ``posetools.trainers``.

A trainer turns a data set into models that detect objects and estimate their keypoints. posetools evaluates what
``open`` returns itself: all trainers are measured by the same code, so that their runs can be compared.

A run is the folder ``work_dir``. posetools records the trainer's name and the data set in its ``trainer.json``, and the
skeletons in its ``skeleton.yaml``; the trainer writes everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from posetools.core.categories import Categories
from posetools.exporting.export import ExportOptions, ExportResult
from posetools.pairs.open import RunOpener
from posetools.progress import Progress
from posetools.recipes.recipe import Choice
from posetools.training.hooks import StepListener
from posetools.training.pair import TrainAllResult
from posetools.training.request import TrainRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeRequest:
    """What ``posetools config --trainer`` asks for.

    Attributes:
        data: the data set's folder.
        categories: its categories, each with its skeleton.
        out: the folder for the recipe's files.
        options: what the user stated, by the option's name with underscores (``epochs``, ``batch_size``); only names in
            the trainer's ``recipe_options``.
        folds: write a recipe for each fold of the data set; only if ``recipe_options`` has ``folds``.
        overwrite: whether to replace files that differ.
    """

    data: Path
    categories: Categories
    out: Path
    options: Mapping[str, object] = field(default_factory=dict)
    folds: bool = False
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class RecipeFiles:
    """A recipe that was written.

    Attributes:
        paths: its files.
        choices: the rows of ``--explain``.
        notes: sentences for the user.
        facts: what is known of the data set, in one line for ``--explain``.
    """

    paths: tuple[Path, ...]
    choices: tuple[Choice, ...] = ()
    notes: tuple[str, ...] = ()
    facts: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunExport(ExportOptions):
    """What ``posetools export --run`` asks of a trainer.

    Attributes:
        run: the run's folder.
    """

    run: Path


class Trainer(RunOpener, Protocol):
    """A trainer.

    Attributes:
        title: as in messages, such as ``torchvision's Keypoint R-CNN``.
        stages: the values of ``--stage`` other than ``all``: ``det`` and ``pose`` for a pair of models that are trained
            one after the other; none for one model.
        recipe_options: the options of ``posetools config`` that it knows, with underscores.
        train_options: the fields of TrainRequest that it knows, apart from ``data``, ``configs``, ``work_dir``,
            ``resume``, ``device`` and ``stage``.
    """

    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def stages(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def recipe_options(self) -> frozenset[str]: ...  # noqa: D102
    @property
    def train_options(self) -> frozenset[str]: ...  # noqa: D102

    def recipe(self, request: RecipeRequest, listener: StepListener) -> tuple[RecipeFiles, ...]:
        """Write the files that say how to train on a data set: one recipe, or one for each fold.

        Raises:
            RequestError: an option has an invalid value, the data set cannot be trained on, or a file exists already.
            OutputError: a file cannot be written.
        """

    def check(self, request: TrainRequest) -> None:
        """Refuse a run that would fail or waste its time. Importing heavy packages comes after the cheap checks.

        Raises:
            MissingExtraError: a package is not installed.
            RequestError: what is wrong, and what to do.
            InputError: a file cannot be read.
        """

    def train(self, request: TrainRequest, listener: StepListener) -> TrainAllResult:
        """Train a run in ``request.work_dir``, with ``request.resume`` from its last checkpoint.

        The recipe is in ``request.configs``; ``check`` passed. Ctrl-C leaves a run that can be resumed.

        Returns:
            The result of each model. Without an ``evaluation`` posetools makes it.

        Raises:
            RunError: the run ended early.
            StoppedError: the user stopped it.
        """

    def export(self, request: RunExport, progress: Progress) -> ExportResult:
        """Write the models of a run as one bundle that runs without the trainer.

        Raises:
            RequestError: the run cannot be exported, or an option is not available.
            RunError: the bundle differs from the run; nothing was written.
            OutputError: the bundle cannot be written.
        """
