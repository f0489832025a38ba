"""A complete recipe: every value in the configs, with its source and reason.

The costs of training are estimated here: seconds per iteration on a CPU, memory on a GPU. These are rough values for
choosing a recipe; `posetools train --dry-run` and `--minutes` measure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from posetools.core.skeleton import Skeleton
from posetools.core.stages import Stage
from posetools.recipes.facts import DataFacts
from posetools.recipes.machine import Machine
from posetools.recipes.options import AUTO, COCO, DetOptions, DetSize, Freeze, PoseOptions
from posetools.recipes.stock import DET, DET_INPUT, LIKE, POSE, POSE_INPUT, STOCK_TEXT, DetStock, PoseStock

# Training speed per core, in 10^9 multiply-adds of the forward pass per second (including backward pass, optimizer and
# loading). Measured with 2 cores: RTMDet-tiny at 256 x 192 in batches of 8 takes 0.43 s per iteration, RTMPose-t at
# 128 x 128 in batches of 32 0.27 s.
CPU_SPEED: dict[Stage, float] = {"det": 9.1, "pose": 7.1}
# RTMPose is RTMDet's backbone with a small head: it uses about this fraction of the memory for the same pixels.
POSE_MEMORY = 0.6
# Fraction of a GPU's memory for a batch: drivers, caches and crowded images need the rest.
GPU_SHARE = 0.8
# The assumed memory of an unknown GPU.
UNKNOWN_GIB = 8.0

STATED = "set by you"


@dataclass(frozen=True, slots=True)
class Ruling:
    """A value with its reason.

    Attributes:
        value: the value.
        reason: a sentence without its full stop.
        formula: the expression for the value in the config, if it depends on other values there.
        unit: of the value, if its field does not name it.
    """

    value: Any
    reason: str
    formula: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One row of the table that explains a recipe.

    Attributes:
        model: ``det``, ``pose`` or ``pose-<skeleton>``; empty for all.
        field: as in the TOML.
        stock: the stock recipe's value.
        chosen: this recipe's value.
        reason: why.
        stated: whether the user set it.
    """

    model: str
    field: str
    stock: str
    chosen: str
    reason: str
    stated: bool


@dataclass(frozen=True, slots=True)
class StageRecipe:
    """All values of one stage; StageOptions documents them.

    Attributes:
        stage: which of the two models.
        samples: number of training samples.
        sample: their name (``images``, ``objects``).
        load_from: a file or a URL, or None.
        share: of the minutes for both trainings; None without a time limit.
        minutes: the user's limit for this stage, if any.
        early_size: the input size before stage 2, None for ``input_size``.
        early_cost: the time of an iteration at ``early_size``, relative to ``input_size``.
        ema_momentum: None without EMA.
        because: each value with its reason, by the field's name.
        stated: names of the fields that the user set.
    """

    stage: Stage
    samples: int
    sample: str
    input_size: tuple[int, int]
    backbone: str
    load_from: str | None
    freeze: Freeze
    batch_size: int
    val_batch_size: int
    share: float | None
    minutes: float | None
    augmentation: str
    repeat: int
    early_size: tuple[int, int] | None
    early_cost: float
    epochs: int
    stage2_epochs: int
    val_interval: int
    lr: float
    warmup_iters: int
    ema_momentum: float | None
    because: dict[str, Ruling]
    stated: frozenset[str]

    @property
    def light(self) -> bool:
        """Whether augmentation is light in all epochs."""
        return self.augmentation == "light"

    @property
    def switches(self) -> bool:
        """Whether training changes from strong to weak augmentation, or from half the input size to all of it."""
        return 0 < self.stage2_epochs < self.epochs

    @property
    def first_pipeline(self) -> str:
        """The name of the first training pipeline."""
        return "train_pipeline_stage2" if self.stage2_epochs == self.epochs else "train_pipeline"

    @property
    def iterations_per_epoch(self) -> int:
        """Iterations per epoch, in one process."""
        return -(-self.samples * self.repeat // self.batch_size)

    @property
    def iterations(self) -> int:
        """Total iterations, in one process."""
        return self.epochs * self.iterations_per_epoch

    @property
    def full_iterations(self) -> float:
        """How many iterations at the full input size take as long as all."""
        early = self.epochs - self.stage2_epochs if self.early_size else 0
        return (self.epochs - early * (1 - self.early_cost)) * self.iterations_per_epoch


@dataclass(frozen=True, slots=True)
class Recipe:
    """The recipe of a pair.

    Attributes:
        models: name of a model (posetools/core/stages.py) -> its recipe; the detector is the first.
        workers: processes that load data.
        seed: of training.
        choices: the table that explains it.
    """

    models: Mapping[str, StageRecipe]
    workers: int
    seed: int
    choices: tuple[Choice, ...]

    @property
    def det(self) -> StageRecipe:
        """The detector's recipe."""
        return self.models["det"]

    @property
    def pose(self) -> StageRecipe:
        """The recipe of the only pose estimator."""
        return self.models["pose"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """Measurements on this machine before the recipe is chosen.

    Attributes:
        batch: the largest batch that fits.
        batch_note: how that was measured, or why not.
        seconds: seconds per iteration, at ``seconds_batch``.
        early: the same at half the input size, if measured.
        seconds_batch: the batch size when timed.
        start_up: seconds before the first iteration.
        epoch_start: overhead of each epoch, in seconds.
        evaluation: seconds of an evaluation with its checkpoint.
    """

    batch: int | None = None
    batch_note: str = ""
    seconds: float | None = None
    early: float | None = None
    seconds_batch: int = 1
    start_up: float = 0.0
    epoch_start: float = 0.0
    evaluation: float = 0.0


@dataclass(frozen=True, slots=True)
class RuleInput:
    """The input of the rules of one stage.

    Attributes:
        said: the user's options for the stage.
        minutes: the user's limit for both trainings together, if any.
        facts: of the data set.
        machine: for training.
        skeleton: of the data set.
        measured: measurements on the machine.
        model: the name of the model.
        estimators: how many pose estimators share the minutes with the detector.
        detector: size of the detector.
        taken: the share of the minutes that the pose estimators have.
        because: the choices so far, by field name.
    """

    said: DetOptions | PoseOptions
    minutes: float | None
    facts: DataFacts
    machine: Machine
    skeleton: Skeleton
    measured: Measurement
    model: str
    estimators: int = 1
    detector: DetSize = "m"
    taken: float = 0.0
    because: dict[str, Ruling] = field(default_factory=dict)

    @property
    def stage(self) -> Stage:
        """The stage."""
        return "det" if isinstance(self.said, DetOptions) else "pose"

    @property
    def stock(self) -> DetStock | PoseStock:
        """The stock recipe of its model."""
        return DET[self.said.size] if isinstance(self.said, DetOptions) else POSE[self.said.size]

    @property
    def samples(self) -> int:
        """Number of training samples: images, or objects with keypoints."""
        return self.facts.train.images if self.stage == "det" else self.facts.train.posed

    @property
    def sample(self) -> str:
        """The name of the samples."""
        return "images" if self.stage == "det" else "objects"

    def __getitem__(self, name: str) -> Any:
        """Return the chosen value of a field."""
        return self.because[name].value

    def states(self, name: str) -> bool:
        """Return whether the user set a field; ``auto`` does not count."""
        return getattr(self.said, name, None) not in (None, AUTO)

    def iterations_per_epoch(self, repeat: int = 1) -> int:
        """Return the iterations per epoch, in one process."""
        batch: int = self["batch_size"]
        return -(-self.samples * repeat // batch)


def choice(case: RuleInput, name: str) -> Choice:
    """Return the table row for one field."""
    found = case.because[name]
    stock = STOCK_TEXT[case.stage].get(name, "")
    if name == "backbone" and not case.stock.pretrained:
        stock = "random"
    if name == "input_size" and isinstance(case.stock, DetStock):
        stock = as_text(case.stock.input_size)
    stated = case.states(name) or (name == "ema_momentum" and case.said.ema is not None)
    reason = f"{found.unit}: {found.reason}" if found.unit else found.reason
    return Choice(case.model, name, stock, as_text(found.value), reason, stated)


def as_text(value: object) -> str:
    """Return a value as readable text."""
    if value is None:
        return "off"
    if isinstance(value, tuple):
        return "x".join(str(side) for side in value)
    if isinstance(value, float):
        return f"{value:.2g}"
    text = str(value)
    if text in {stock.coco for stock in DET.values()} | {stock.coco for stock in POSE.values()}:
        return COCO
    return text.rpartition("/")[2] if "://" in text else text


def flops(options: DetOptions | PoseOptions, size: tuple[int, int]) -> float:
    """Return the multiply-adds of one sample, in 10^9."""
    if isinstance(options, DetOptions):
        return DET[options.size].flops * _pixels(size) / _pixels(DET_INPUT)
    return POSE[options.size].flops * _pixels(size) / _pixels(POSE_INPUT)


def cpu_seconds(options: DetOptions | PoseOptions, size: tuple[int, int], batch: int, cores: int) -> float:
    """Return the estimated seconds per iteration on the CPU."""
    stage: Stage = "det" if isinstance(options, DetOptions) else "pose"
    return flops(options, size) * batch / (CPU_SPEED[stage] * cores)


def sample_gib(options: DetOptions | PoseOptions, size: tuple[int, int]) -> float:
    """Return the estimated GPU memory per sample in training."""
    det = options.size if isinstance(options, DetOptions) else LIKE[options.size]
    share = 1.0 if isinstance(options, DetOptions) else POSE_MEMORY
    return share * DET[det].memory / 32 * _pixels(size) / _pixels(DET_INPUT)


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]
