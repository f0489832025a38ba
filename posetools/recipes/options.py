"""What a user may say about a recipe, from the command line or from a small TOML. What is not said is chosen.

The TOML has a table per stage, ``[det]`` and ``[pose]``, and keys that both share: the fields of the models here.
docs/config.md shows one. Every key may be left out; recipes/choose.py then chooses a value that fits the data and the
machine.
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

from posetools.errors import InputError, RequestError, printable, sentence_of, shortened, show_value
from posetools.files.disk import read_toml

# What the networks' three strides of down-sampling divide the image by.
STRIDE = 32

DetSize: TypeAlias = Literal["tiny", "s", "m", "l", "x"]
PoseSize: TypeAlias = Literal["t", "s", "m", "l", "x"]

STOCK = "stock"
NONE = "none"
COCO = "coco"
AUTO = "auto"

Augmentation: TypeAlias = Literal["strong", "light"]
Freeze: TypeAlias = Literal["none", "backbone"]


def parse_input_size(value: object) -> tuple[int, int]:
    """Return (width, height) from ``256``, ``"256"``, ``"640x384"`` or ``(640, 384)``.

    Raises:
        ValueError: it is none of these, or a side is not a multiple of 32.
    """
    sides: list[object]
    if isinstance(value, str):
        sides = [int(side) if side.strip().isdigit() else side for side in value.lower().split("x")]
    else:
        sides = list(value) if isinstance(value, list | tuple) else [value]
    numbers = [side for side in sides if isinstance(side, int) and not isinstance(side, bool)]
    if len(numbers) != len(sides) or len(numbers) not in (1, 2) or min(numbers) < STRIDE:
        raise ValueError(f"must be a side or WIDTHxHEIGHT in pixels, got {show_value(value)}")
    if gcd(STRIDE, *numbers) != STRIDE:
        nearest = "x".join(str(max(STRIDE, round(side / STRIDE) * STRIDE)) for side in numbers)
        raise ValueError(f"must be a multiple of {STRIDE} on both sides, got {show_value(value)}; {nearest} is near")
    return numbers[0], numbers[-1]


def _parse_sigma(value: object) -> object:
    if isinstance(value, int | float):
        return (value, value)
    return tuple(value) if isinstance(value, list) else value


def _parse_batch(value: object) -> object:
    if value != AUTO and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError(f"must be a whole number from 1 on, or {AUTO}, got {show_value(value)}")
    return value


InputSizeOption = Annotated[tuple[int, int], BeforeValidator(parse_input_size)]
PositiveInt = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
BatchSize = Annotated[int | Literal["auto"], BeforeValidator(_parse_batch)]


class _Options(BaseModel):
    # Strict: in a TOML, epochs = "200" and batch_size = true are slips, not numbers.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class StageOptions(_Options):
    """What can be said about either stage; None is what was not said.

    Attributes:
        input_size: (width, height) in pixels, multiples of 32.
        epochs: how many in all.
        repeat: how often an epoch goes through the data.
        augmentation: ``strong``, the stock recipe's two stages; ``light``: no mosaic, no mixup, no cutout, small
            changes of scale, from the first epoch on.
        stage2_epochs: how many of the epochs, the last, run with weaker augmentation. As many as ``epochs`` means that
            the strong augmentation is never used, 0 that it always is.
        batch_size: of training, on one device; ``auto``: what fits on the GPU, measured.
        val_batch_size: of evaluation.
        lr: the learning rate at ``batch_size``.
        warmup_iters: iterations over which the learning rate rises.
        val_interval: epochs between evaluations.
        ema: whether an average of the weights is kept, evaluated and saved.
        ema_momentum: the share of the newest weights in that average, per iteration.
        backbone: what the backbone starts from: ``stock`` (the URL in the stock recipe), ``none``, a file or a URL.
        load_from: what the whole model starts from: ``coco`` (the stock recipe's own checkpoint), ``none``, a file or a
            URL.
        freeze: ``backbone`` keeps its weights as they are.
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
            raise ValueError(f"must be left out with light augmentation, which holds in all epochs, got {value}")
        return value

    @field_validator("ema_momentum")
    @classmethod
    def _check_momentum(cls, value: float | None, others: ValidationInfo) -> float | None:
        if value is not None and others.data.get("ema") is False:
            raise ValueError(f"must be left out where ema is false, got {value}")
        return value


class DetOptions(StageOptions):
    """RTMDet."""

    size: DetSize = "m"


class PoseOptions(StageOptions):
    """RTMPose.

    Attributes:
        size: the model's.
        sigma: width of the SimCC target in pixels of the input, (x, y); None: the stock rule at ``input_size``.
        simcc_split_ratio: bins per pixel of the input.
        rotation: the largest angle that an image is turned by, in degrees.
    """

    size: PoseSize = "m"
    sigma: Annotated[tuple[Positive, Positive], BeforeValidator(_parse_sigma)] | None = None
    simcc_split_ratio: Positive = 2.0
    rotation: Annotated[int, Field(ge=0, le=180)] | None = None


class RecipeOptions(_Options):
    """All that can be said about a pair.

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


def load_options(path: Path) -> dict[str, Any]:
    """Return what the TOML file at ``path`` states, checked; ``RecipeOptions.model_validate`` takes it.

    Raises:
        InputError: it cannot be read, is no TOML, or a key or value is wrong; all of them are listed.
    """
    document = read_toml(path)
    try:
        RecipeOptions.model_validate(document)
    except ValidationError as exc:
        first, *rest = ((".".join(keys), problem) for keys, problem in _problems(exc))
        more = [printable(f"and {place}: {problem}") for place, problem in rest]
        raise InputError(path, *first, hint="\n  ".join([*more, "docs/config.md lists the keys"])) from exc
    return document


def build_options(recipe: Path | None, stated: Mapping[str, Mapping[str, object]]) -> RecipeOptions:
    """Return the options of a TOML file with what the command line states put over it.

    Args:
        recipe: the TOML file, if any.
        stated: ``{"det": {...}, "pose": {...}, "": {...}}``; a value of None is one that was not stated.

    Raises:
        InputError: the file cannot be read or breaks a rule.
        RequestError: something stated breaks a rule.
    """
    document = load_options(recipe) if recipe is not None else {}
    for table, values in stated.items():
        target = document.setdefault(table, {}) if table else document
        target.update({key: value for key, value in values.items() if value is not None})
    try:
        return RecipeOptions.model_validate(document)
    except ValidationError as exc:
        problems = [f"{_option(*keys)}: {problem}" for keys, problem in _problems(exc)]
        raise RequestError("\n  ".join(problems)) from exc


def _problems(error: ValidationError) -> list[tuple[list[str], str]]:
    """Return for each problem the key, after the tables that it is in, and a sentence."""
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
    """Return the command line's name of a key: ``det.input_size`` is ``--input-size (det)``, ``det.size`` ``--det``."""
    *tables, key = keys
    table = ".".join(tables)
    if key == "size":
        return f"--{table}"
    return f"--{key.replace('_', '-')}" + (f" ({table})" if table else "")
