"""The options of a recipe, from the command line or a TOML file.

The TOML has a table per stage, ``[det]`` and ``[pose]``, and shared keys: the fields of the models here. docs/config.md
has an example. Every key is optional; recipes/choose.py chooses missing values by the data and the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from math import gcd
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from posetools.core.stages import Stage
from posetools.errors import InputError, RequestError, sentence_of, shortened, show_value
from posetools.files.disk import read_toml

# The networks' total stride.
STRIDE = 32

DetSize: TypeAlias = Literal["nano", "tiny", "s", "m", "l", "x"]
PoseSize: TypeAlias = Literal["t", "s", "m", "l", "x"]

STOCK = "stock"
NONE = "none"
COCO = "coco"
# The backbone of the trained detector.
DETECTOR = "detector"
STARTER = "starter"
AUTO = "auto"

Augmentation: TypeAlias = Literal["strong", "light"]
Freeze: TypeAlias = Literal["none", "backbone"]
Pretrained: TypeAlias = Literal["coco", "imagenet", "starter", "none"]

# The values of --pretrained as load_from of both models, and backbone of each; None: not set.
PRETRAINED: Mapping[Pretrained | None, tuple[str | None, str | None, str | None]] = {
    "coco": (COCO, None, None),
    "imagenet": (NONE, STOCK, STOCK),
    "starter": (STARTER, None, None),
    "none": (NONE, NONE, DETECTOR),
    None: (None, None, None),
}


def parse_input_size(value: object) -> tuple[int, int]:
    """Return (width, height) from ``256``, ``"256"``, ``"640x384"`` or ``(640, 384)``.

    Raises:
        ValueError: another form, or a side is not a multiple of 32.
    """
    sides: list[object]
    if isinstance(value, str):
        sides = [int(side) if side.strip().isdigit() else side for side in value.lower().split("x")]
    else:
        sides = list(value) if isinstance(value, list | tuple) else [value]
    numbers = [side for side in sides if isinstance(side, int) and not isinstance(side, bool)]
    if len(numbers) != len(sides) or len(numbers) not in (1, 2) or min(numbers) < STRIDE:
        raise ValueError(f"must be SIDE or WIDTHxHEIGHT in pixels, got {show_value(value)}")
    if gcd(STRIDE, *numbers) != STRIDE:
        nearest = "x".join(str(max(STRIDE, round(side / STRIDE) * STRIDE)) for side in numbers)
        raise ValueError(f"must be a multiple of {STRIDE} on both sides, got {show_value(value)}; use {nearest}")
    return numbers[0], numbers[-1]


def _parse_sigma(value: object) -> object:
    if isinstance(value, int | float):
        return (value, value)
    return tuple(value) if isinstance(value, list) else value


def _parse_batch(value: object) -> object:
    if value != AUTO and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError(f"must be a whole number of at least 1, or {AUTO}, got {show_value(value)}")
    return value


InputSizeOption = Annotated[tuple[int, int], BeforeValidator(parse_input_size)]
PositiveInt = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
BatchSize = Annotated[int | Literal["auto"], BeforeValidator(_parse_batch)]


class _Options(BaseModel):
    # Strict: in a TOML, epochs = "200" and batch_size = true are mistakes.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class StageOptions(_Options):
    """Options of either stage; None: not set.

    Attributes:
        input_size: (width, height) in pixels, multiples of 32.
        epochs: the total.
        repeat: passes over the data per epoch.
        augmentation: ``strong``, the stock recipe's two stages; ``light``: no mosaic, no mixup, no cutout, small
            scale changes, from the first epoch.
        stage2_epochs: number of last epochs with weaker augmentation; the number of ``epochs`` for all, 0 for none.
        batch_size: of training, on one device; ``auto``: the largest that fits on the GPU, measured.
        val_batch_size: of evaluation.
        lr: the learning rate at ``batch_size``.
        warmup_iters: iterations over which the learning rate rises.
        val_interval: epochs between evaluations.
        ema: whether to keep, evaluate and save an average of the weights.
        ema_momentum: weight of the newest weights in that average, per iteration.
        backbone: initial weights of the backbone: ``stock`` (the URL in the stock recipe), ``none``, a file or a URL;
            for the pose estimator also ``detector``: those of the trained detector.
        load_from: initial weights of the whole model: ``coco`` (the stock recipe's checkpoint), ``starter`` (the file
            in this package), ``none``, a file or a URL.
        freeze: ``backbone`` does not train the backbone.
    """

    input_size: InputSizeOption | None = None
    epochs: PositiveInt | None = None
    repeat: PositiveInt | None = None
    augmentation: Augmentation | None = None
    stage2_epochs: Annotated[int, Field(ge=0)] | None = None
    batch_size: BatchSize | None = None
    val_batch_size: PositiveInt | None = None
    lr: Positive | None = None
    warmup_iters: PositiveInt | None = None
    val_interval: PositiveInt | None = None
    ema: bool | None = None
    ema_momentum: Annotated[float, Field(gt=0, lt=1)] | None = None
    backbone: Annotated[str, Field(min_length=1)] | None = None
    load_from: Annotated[str, Field(min_length=1)] | None = None
    freeze: Freeze | None = None

    @field_validator("stage2_epochs")
    @classmethod
    def _check_stage2(cls, value: int | None, others: ValidationInfo) -> int | None:
        epochs = others.data.get("epochs")
        if value is not None and epochs is not None and value > epochs:
            raise ValueError(f"must be at most epochs ({epochs}), got {value}")
        if value is not None and others.data.get("augmentation") == "light" and value != epochs:
            raise ValueError(f"must be omitted with light augmentation, which applies to all epochs, got {value}")
        return value

    @field_validator("ema_momentum")
    @classmethod
    def _check_momentum(cls, value: float | None, others: ValidationInfo) -> float | None:
        if value is not None and others.data.get("ema") is False:
            raise ValueError(f"must be omitted if ema is false, got {value}")
        return value


class DetOptions(StageOptions):
    """RTMDet."""

    size: DetSize = "m"


class PoseOptions(StageOptions):
    """RTMPose.

    Attributes:
        size: the model size.
        sigma: width of the SimCC target in bins, (x, y); None: chosen.
        simcc_split_ratio: bins per input pixel; None: chosen.
        rotation: the largest rotation of an image, in degrees.
    """

    size: PoseSize = "m"
    sigma: Annotated[tuple[Positive, Positive], BeforeValidator(_parse_sigma)] | None = None
    simcc_split_ratio: Positive | None = None
    rotation: Annotated[int, Field(ge=0, le=180)] | None = None


class RecipeOptions(_Options):
    """Options of a pair.

    Attributes:
        det: the detector.
        pose: the pose estimator.
        seed: of training.
        workers: processes that load data, per loader; 0 loads in the training process.
        minutes: how long both trainings together may take.
    """

    det: DetOptions = DetOptions()
    pose: PoseOptions = PoseOptions()
    seed: Annotated[int, Field(ge=0)] | None = None
    workers: Annotated[int, Field(ge=0)] | None = None
    minutes: Positive | None = None

    def of(self, stage: Stage) -> DetOptions | PoseOptions:
        """Return the options of a stage."""
        return self.det if stage == "det" else self.pose


def load_options(path: Path) -> dict[str, Any]:
    """Return the checked content of a TOML file, for ``RecipeOptions.model_validate``.

    Raises:
        InputError: it cannot be read, is not TOML, or has wrong keys or values; all are listed.
    """
    document = read_toml(path)
    try:
        RecipeOptions.model_validate(document)
    except ValidationError as exc:
        first, *rest = ((".".join(keys), problem) for keys, problem in _problems(exc))
        more = [f"and {place}: {problem}" for place, problem in rest]
        raise InputError(path, *first, *more, hint="see docs/config.md for the keys") from exc
    return document


def build_options(recipe: Path | None, stated: Mapping[str, Mapping[str, object]]) -> RecipeOptions:
    """Return the options of a TOML file, overridden by those of the command line.

    Args:
        recipe: the TOML file, if any.
        stated: ``{"det": {...}, "pose": {...}, "": {...}}``; None: not set.

    Raises:
        InputError: the file cannot be read or breaks a rule.
        RequestError: an option breaks a rule.
    """
    document = load_options(recipe) if recipe is not None else {}
    for table, values in stated.items():
        target = document.setdefault(table, {}) if table else document
        target.update({key: value for key, value in values.items() if value is not None})
    try:
        return RecipeOptions.model_validate(document)
    except ValidationError as exc:
        problems = [f"{_option(*keys)}: {problem}" for keys, problem in _problems(exc)]
        raise RequestError(*problems) from exc


def _problems(error: ValidationError) -> list[tuple[list[str], str]]:
    """Return for each problem its tables and key, and a message."""
    found = []
    for problem in error.errors(include_url=False):
        *tables, key = [shortened(str(part)) for part in problem["loc"] if not isinstance(part, int)]
        unknown = problem["type"] == "extra_forbidden"
        message = f"is not a key of the recipe{_did_you_mean(tables, key)}" if unknown else sentence_of(problem)
        found.append(([*tables, key], message))
    return found


def _did_you_mean(tables: list[str], key: str) -> str:
    models: dict[str, type[_Options]] = {"det": DetOptions, "pose": PoseOptions}
    known = list((models[tables[0]] if tables else RecipeOptions).model_fields)
    near = get_close_matches(key, known, n=1, cutoff=0.5)
    elsewhere = [table for table, model in models.items() if not tables and key in model.model_fields]
    if elsewhere:
        return f"; did you mean {' or '.join(f'[{table}] {key}' for table in elsewhere)}?"
    return f"; did you mean {near[0]!r}?" if near else f"; the keys are {', '.join(known)}"


def _option(*keys: str) -> str:
    """Return the command-line name of a key: ``det.input_size`` is ``--input-size (det)``, ``det.size`` ``--det``."""
    *tables, key = keys
    table = ".".join(tables)
    if key == "size":
        return f"--{table}"
    return f"--{key.replace('_', '-')}" + (f" ({table})" if table else "")
