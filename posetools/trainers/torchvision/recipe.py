"""The recipe: one TOML file with every value of a training, and its reason.

Values that ``posetools config`` leaves out of its options are chosen from the data set and the machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset
from posetools.core.folder import check_both
from posetools.errors import RequestError, from_validation, must_be
from posetools.evaluation.scoring import read_truth
from posetools.files.disk import read_toml, write_text
from posetools.mm.device import this_machine
from posetools.recipes.emit import check_absent
from posetools.recipes.machine import Machine
from posetools.recipes.recipe import STATED, Choice, as_text

# Sides of the network's input: its coarsest feature map has a cell for each 64 pixels.
STRIDE = 64
_LONGEST = {"cpu": 384, "gpu": 640}
_BATCH = {"cpu": 4, "gpu": 16}
# Iterations until boxes and keypoints of a small data set stop improving, from random weights and from stock ones.
_ITERATIONS = {"none": 4000, "stock": 2000}
_FEWEST_EPOCHS = 10
_MINUTES_ON_CPU = 60.0

Side = Annotated[int, Field(ge=STRIDE, le=2048, multiple_of=STRIDE)]


class Recipe(BaseModel):
    """All values of a training; docs/torchvision.md.

    Attributes:
        data: the data set's folder.
        input_size: (width, height) of the network's input in pixels; images are scaled into it and padded.
        batch_size: images per iteration.
        epochs: the most epochs.
        minutes: time limit of the run; None: none.
        lr: learning rate of AdamW after the warm-up; it decays to 0 by a cosine.
        warmup_iters: iterations until the learning rate is reached.
        pretrained: ``none``: random weights; ``stock``: torchvision's ImageNet weights of the backbone, downloaded.
        trainable_layers: stages of the backbone that train, from its end; 6 are all.
        flip: whether half of the images are mirrored.
        evaluations: how many evaluations on the val split, evenly spread.
        seed: of the weights, the order and the augmentation of images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data: Path
    input_size: tuple[Side, Side]
    batch_size: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]
    minutes: Annotated[float, Field(gt=0)] | None = None
    lr: Annotated[float, Field(gt=0)]
    warmup_iters: Annotated[int, Field(ge=0)]
    pretrained: Literal["none", "stock"]
    trainable_layers: Annotated[int, Field(ge=0, le=6)]
    flip: bool
    evaluations: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]


# The options of `posetools config` that state a value of the recipe.
OPTIONS = frozenset({"input_size", "batch_size", "epochs", "minutes", "lr", "pretrained", "seed"})


@dataclass(frozen=True, slots=True)
class _Case:
    train: Dataset
    categories: Categories
    machine: Machine
    chosen: dict[str, tuple[Any, str]]

    @property
    def device(self) -> str:
        return "gpu" if self.machine.gpu else "cpu"

    def __getitem__(self, name: str) -> Any:
        return self.chosen[name][0]


def choose(
    data: Path, categories: Categories, options: Mapping[str, object], machine: Machine | None = None
) -> tuple[Recipe, tuple[Choice, ...]]:
    """Return the recipe for a data set, and each value with its reason.

    Args:
        data: the data set's folder.
        categories: its categories.
        options: what the user stated.
        machine: to train on; None: this one.

    Raises:
        RequestError: the data set cannot be trained on, or an option has an invalid value.
        InputError: a file cannot be read.
    """
    check_both(data)
    train = read_truth(data, "train", categories)
    if not len(train):
        raise RequestError(f"{data}: must have objects in its train split, got none")
    case = _Case(train, categories, machine or this_machine(), {"data": (data, "the data set")})
    stated = {name: value for name, value in options.items() if value is not None}
    if "input_size" in stated:
        stated["input_size"] = _size(str(stated["input_size"]))
    for name, rule in _RULES.items():
        case.chosen[name] = (stated[name], STATED) if name in stated else rule(case)
    try:
        recipe = Recipe.model_validate({name: value for name, (value, _) in case.chosen.items()})
    except ValidationError as exc:
        error = from_validation("recipe", exc)
        raise RequestError(f"--{error.place.partition('[')[0].replace('_', '-')}: {error.problem}") from exc
    rows = (
        Choice("", name, "", as_text(value), reason, reason == STATED)
        for name, (value, reason) in case.chosen.items()
        if name != "data"
    )
    return recipe, tuple(rows)


def recipe_file(data: Path, folder: Path) -> Path:
    """Return the file of the recipe for a data set in a folder."""
    return folder / f"torchvision_{data.resolve().name}.toml"


def write_recipe(path: Path, recipe: Recipe, choices: tuple[Choice, ...], *, overwrite: bool) -> None:
    """Write a recipe, each value with its reason.

    Raises:
        RequestError: the file exists already.
        OutputError: it cannot be written.
    """
    if not overwrite:
        check_absent([path])
    write_text(path, recipe_text(recipe, {choice.field: choice.reason for choice in choices}))


def recipe_text(recipe: Recipe, reasons: Mapping[str, str]) -> str:
    """Return the TOML text of a recipe."""
    lines = ["# Recipe of `posetools train --trainer torchvision`. Edit any value.", ""]
    for name, value in recipe.model_dump(mode="json", exclude_none=True).items():
        lines += [f"# {reasons[name]}."] if name in reasons else []
        # The texts of JSON's strings, numbers, booleans and lists are TOML's.
        lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join([*lines, ""])


def read_recipe(path: Path) -> Recipe:
    """Return the recipe in a file.

    Raises:
        InputError: it cannot be read, or has an invalid value.
    """
    return parse_recipe(path, read_toml(path))


def parse_recipe(path: Path, document: Mapping[str, Any]) -> Recipe:
    """Return the recipe in a document.

    Raises:
        InputError: it has an invalid value.
    """
    try:
        return Recipe.model_validate(document)
    except ValidationError as exc:
        raise from_validation(path, exc) from exc


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() for side in sides):
        raise RequestError(must_be("--input-size", "one side or WIDTHxHEIGHT", text))
    return int(sides[0]), int(sides[-1])


def _input_size(case: _Case) -> tuple[Any, str]:
    width, height = np.median([image.size for image in case.train.images], axis=0)
    limit = _LONGEST[case.device]
    scale = min(1.0, limit / max(width, height))
    size = tuple(max(STRIDE, math.ceil(side * scale / STRIDE) * STRIDE) for side in (width, height))
    return size, f"the median image has {width:.0f} x {height:.0f} pixels; at most {limit} on a {case.device.upper()}"


def _batch_size(case: _Case) -> tuple[Any, str]:
    return min(_BATCH[case.device], len(case.train.images)), f"{_BATCH[case.device]} on a {case.device.upper()}"


def _epochs(case: _Case) -> tuple[Any, str]:
    wanted = _ITERATIONS[case["pretrained"]]
    each = math.ceil(len(case.train.images) / case["batch_size"])
    limited = "; the run does as many as fit into its minutes" if case["minutes"] else ""
    return max(_FEWEST_EPOCHS, math.ceil(wanted / each)), f"{wanted} iterations, {each} in an epoch{limited}"


def _minutes(case: _Case) -> tuple[Any, str]:
    if case.device == "gpu":
        return None, "no limit on a GPU"
    return _MINUTES_ON_CPU, "the limit on a CPU"


def _lr(case: _Case) -> tuple[Any, str]:
    return round(1e-3 * math.sqrt(case["batch_size"] / 4), 6), "0.001 for a batch of 4, by the square root of the batch"


def _warmup(case: _Case) -> tuple[Any, str]:
    each = math.ceil(len(case.train.images) / case["batch_size"])
    return min(100, case["epochs"] * each // 10), "100 iterations, at most a tenth of the run"


def _pretrained(_: _Case) -> tuple[Any, str]:
    return "none", "nothing is downloaded unless you ask for it"


def _trainable_layers(case: _Case) -> tuple[Any, str]:
    if case["pretrained"] == "none":
        return 6, "random weights must all be trained"
    return 5, "the first stage has edges and colors, which fit any image"


def _flip(case: _Case) -> tuple[Any, str]:
    fixed = [skeleton.name for skeleton in case.categories.skeletons if skeleton.keypoints and not skeleton.mirrors]
    if fixed:
        return False, f"the skeleton {fixed[0]} has no left/right pairs, or says `flip: false`"
    return True, "the skeletons say which keypoint is which in a mirrored image"


def _evaluations(_: _Case) -> tuple[Any, str]:
    return 10, "the best of ten checkpoints is kept"


def _seed(_: _Case) -> tuple[Any, str]:
    return 21, "any number"


# In the order in which they are chosen; rules use values before theirs.
_RULES: dict[str, Callable[[_Case], tuple[Any, str]]] = {
    "input_size": _input_size,
    "batch_size": _batch_size,
    "minutes": _minutes,
    "pretrained": _pretrained,
    "epochs": _epochs,
    "lr": _lr,
    "warmup_iters": _warmup,
    "trainable_layers": _trainable_layers,
    "flip": _flip,
    "evaluations": _evaluations,
    "seed": _seed,
}
