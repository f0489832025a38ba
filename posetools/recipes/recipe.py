"""A complete recipe: every value that the configs state, where it comes from, and why it is so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from posetools.core.skeleton import Skeleton
from posetools.core.stages import Stage
from posetools.recipes.costs import Measured
from posetools.recipes.facts import DataFacts
from posetools.recipes.machine import Machine
from posetools.recipes.options import AUTO, COCO, DetOptions, PoseOptions, StageOptions
from posetools.recipes.stock import DET, POSE, STOCK_TEXT

Freeze: TypeAlias = Literal["none", "backbone"]

STATED = "as stated"


@dataclass(frozen=True, slots=True)
class Because:
    """A value with its reason.

    Attributes:
        value: the value.
        reason: a sentence without its full stop.
        formula: the expression that gives the value in the config, where it follows from other numbers there.
    """

    value: Any
    reason: str
    formula: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of the table that explains a recipe.

    Attributes:
        stage: ``det``, ``pose``, or empty for what both share.
        field: as in the TOML.
        stock: what the stock recipe says.
        chosen: what this one says.
        reason: why.
        stated: whether the user said so.
    """

    stage: Stage | Literal[""]
    field: str
    stock: str
    chosen: str
    reason: str
    stated: bool


@dataclass(frozen=True, slots=True)
class StageRecipe:
    """All values of one stage; what they mean is with StageOptions.

    Attributes:
        load_from: a file or a URL, or None.
        ema_momentum: None where no average is kept.
        because: each value with its reason, by the field's name.
        stated: names of the fields that the user stated.
    """

    input_size: tuple[int, int]
    backbone: str
    load_from: str | None
    freeze: Freeze
    batch_size: int
    val_batch_size: int
    augmentation: str
    repeat: int
    epochs: int
    stage2_epochs: int
    val_interval: int
    lr: float
    warmup_iters: int
    ema_momentum: float | None
    because: dict[str, Because]
    stated: frozenset[str]

    @property
    def light(self) -> bool:
        """Whether augmentation is light in all epochs."""
        return self.augmentation == "light"


@dataclass(frozen=True, slots=True)
class Recipe:
    """The recipe of a pair.

    Attributes:
        det: the detector's.
        pose: the pose estimator's.
        workers: processes that load data.
        seed: of training.
        choices: the table that explains it all.
    """

    det: StageRecipe
    pose: StageRecipe
    workers: int
    seed: int
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """What the rules of one stage look at.

    Attributes:
        said: what the user said about the stage.
        minutes: that both trainings together may take, when the user said.
        facts: of the data set.
        machine: that will train.
        skeleton: of the data set.
        measured: what was measured on it.
        because: what has been chosen so far, by the field's name.
    """

    said: DetOptions | PoseOptions
    minutes: float | None
    facts: DataFacts
    machine: Machine
    skeleton: Skeleton
    measured: Measured
    because: dict[str, Because] = field(default_factory=dict)

    @property
    def stage(self) -> Stage:
        """Which stage it is."""
        return "det" if isinstance(self.said, DetOptions) else "pose"

    @property
    def samples(self) -> int:
        """How many samples the training split has: pictures, or objects with keypoints."""
        return self.facts.train.pictures if self.stage == "det" else self.facts.train.posed

    @property
    def sample(self) -> str:
        """What one is called."""
        return "pictures" if self.stage == "det" else "objects"

    def __getitem__(self, name: str) -> Any:
        """Return what was chosen for a field."""
        return self.because[name].value

    def states(self, name: str) -> bool:
        """Return whether the user stated a field. ``auto`` states nothing."""
        return getattr(self.said, name, None) not in (None, AUTO)

    def iterations_per_epoch(self, repeat: int = 1) -> int:
        """Return how often the weights change in an epoch, in one process."""
        batch: int = self["batch_size"]
        return -(-self.samples * repeat // batch)


def choice(case: Case, name: str) -> Choice:
    """Return the line of the table for one field."""
    found = case.because[name]
    stock = STOCK_TEXT[case.stage].get(name, "")
    if name == "backbone" and isinstance(case.said, DetOptions) and not DET[case.said.size].pretrained:
        stock = "random"
    stated = case.states(name) or (name == "ema_momentum" and case.said.ema is not None)
    return Choice(case.stage, name, stock, as_text(found.value), found.reason, stated)


def as_text(value: object) -> str:
    """Return a value as a person would write it."""
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


def stated_values(options: StageOptions) -> frozenset[str]:
    """Return the names of the fields that the user stated."""
    return frozenset(name for name in type(options).model_fields if getattr(options, name) not in (None, AUTO))
