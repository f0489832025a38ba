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
from posetools.exporting.export import PrecisionCosts
from posetools.pairs.open import OpenPair, PipelineOptions
from posetools.progress import Progress
from posetools.recipes.recipe import Choice
from posetools.runtime.manifest import Thresholds
from posetools.runtime.results import AnyDetector, AnyEstimator
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
        overwrite: whether to replace files that differ.
    """

    data: Path
    categories: Categories
    out: Path
    options: Mapping[str, object] = field(default_factory=dict)
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class RecipeFiles:
    """A recipe that was written.

    Attributes:
        paths: its files.
        choices: the rows of ``--explain``.
        notes: sentences for the user.
    """

    paths: tuple[Path, ...]
    choices: tuple[Choice, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RunExport:
    """What ``posetools export --run`` asks of a trainer.

    Attributes:
        run: the run's folder.
        out: the bundle to write.
        data: a labeled data set to measure the bundle on, or None.
        split: of the data set.
        images: files, folders or patterns to compare on and take samples from; none: the data set's.
        samples: number of images in the bundle with their expected output.
        thresholds: the bundle's defaults for prediction.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        overwrite: whether to replace ``out``.
    """

    run: Path
    out: Path
    data: Path | None = None
    split: str = "val"
    images: tuple[str, ...] = ()
    samples: int = 4
    thresholds: Thresholds
    device: str = "cpu"
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class ExportedRun:
    """A run that was exported.

    Attributes:
        out: the bundle.
        measured: its size, time and metrics, one entry for each precision.
        notes: sentences for the user, such as how the bundle was compared with the run.
    """

    out: Path
    measured: tuple[PrecisionCosts, ...]
    notes: tuple[str, ...] = ()


class Trainer(Protocol):
    """A trainer.

    Attributes:
        title: as in messages, such as ``torchvision's Keypoint R-CNN``.
        stages: the values of ``--stage`` besides ``all``: ``det`` and ``pose`` for a pair of models that are trained
            one after the other; none for one model.
        recipe_options: the options of ``posetools config`` that it knows, with underscores.
        train_options: the fields of TrainRequest that it knows, besides ``data``, ``configs``, ``work_dir``,
            ``resume``, ``device`` and ``stage``.
    """

    title: str
    stages: tuple[str, ...]
    recipe_options: frozenset[str]
    train_options: frozenset[str]

    def recipe(self, request: RecipeRequest) -> RecipeFiles:
        """Write the files that say how to train on a data set.

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
            The result of each model, without an evaluation.

        Raises:
            RunError: the run ended early.
            StoppedError: the user stopped it.
        """

    def open(self, run: Path, options: PipelineOptions, *, fast: bool = False) -> OpenPair[AnyDetector, AnyEstimator]:
        """Open the best models of a run. A trainer with one model returns it as both detector and pose estimator.

        Args:
            run: the run's folder.
            options: the user's options.
            fast: for prediction: boxes below the threshold may be left out.

        Raises:
            MissingExtraError: a package is not installed.
            RequestError: the run has no checkpoint, or an option is not available.
            InputError: a file cannot be read.
        """

    def export(self, request: RunExport, progress: Progress) -> ExportedRun:
        """Write the models of a run as one bundle that runs without the trainer.

        Raises:
            RequestError: the run cannot be exported.
            RunError: the bundle differs from the run; nothing was written.
            OutputError: the bundle cannot be written.
        """
