"""The recipe: one TOML file with every value of a training, and its reason.

Values that ``posetools config`` leaves out of its options are chosen from the data set and the machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset
from posetools.core.folder import check_both
from posetools.errors import RequestError, counted, from_validation, must_be
from posetools.evaluation.scoring import read_truth
from posetools.files.disk import read_toml, write_text
from posetools.mm.device import this_machine
from posetools.recipes.emit import check_absent
from posetools.recipes.machine import Machine
from posetools.recipes.recipe import STATED, Choice, as_text

# Sides of the network's input: its coarsest feature map has a cell for each 64 pixels.
COARSEST = 64
_LONGEST_SIDE = {"CPU": 384, "GPU": 640}
_BATCH = {"CPU": 4, "GPU": 16}
# Iterations until boxes and keypoints of a small data set stop improving, from random weights and from stock ones.
_ITERATIONS = {"none": 4000, "stock": 2000}
_FEWEST_EPOCHS = 10
_MINUTES_ON_CPU = 60.0
_BASE_LR, _WARM_UP = 1e-3, 100

InputMultiple = Annotated[int, Field(ge=COARSEST, le=2048, multiple_of=COARSEST)]


class TrainingRecipe(BaseModel):
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
    input_size: tuple[InputMultiple, InputMultiple]
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
RECIPE_OPTIONS = frozenset({"input_size", "batch_size", "epochs", "minutes", "lr", "pretrained", "seed"})


def choose(
    data: Path, categories: Categories, options: Mapping[str, object], machine: Machine | None = None
) -> tuple[TrainingRecipe, tuple[Choice, ...]]:
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
    stated = {name: value for name, value in options.items() if value is not None}
    if "input_size" in stated:
        stated["input_size"] = _size(str(stated["input_size"]))
    batch = stated.get("batch_size", 1)
    if not str(batch).isdigit() or int(str(batch)) < 1:
        raise RequestError(must_be("--batch-size", "a whole number above 0", batch))
    chosen = _chosen(train, categories, machine or this_machine(), stated)
    try:
        recipe = TrainingRecipe.model_validate({"data": data, **{name: value for name, (value, _) in chosen.items()}})
    except ValidationError as exc:
        name, problem = str(exc.errors()[0]["loc"][0]), from_validation("recipe", exc).problem
        raise RequestError(f"--{name.replace('_', '-')}: {problem}") from exc
    rows = (Choice("", name, "", as_text(value), why, why == STATED) for name, (value, why) in chosen.items())
    return recipe, tuple(rows)


def _chosen(
    train: Dataset, categories: Categories, machine: Machine, stated: Mapping[str, object]
) -> dict[str, tuple[Any, str]]:
    """Return each value with its reason."""
    found: dict[str, tuple[Any, str]] = {}
    on, images = "GPU" if machine.gpu else "CPU", len(train.images)

    def pick(name: str, value: Any, reason: str) -> Any:
        found[name] = (stated[name], STATED) if name in stated else (value, reason)
        return found[name][0]

    sides, limit = np.median([image.size for image in train.images], axis=0), _LONGEST_SIDE[on]
    scale = min(1.0, limit / sides.max())
    fitted = tuple(max(COARSEST, math.ceil(side * scale / COARSEST) * COARSEST) for side in sides)
    shown = "the median image has {:.0f} x {:.0f} pixels".format(*sides)
    pick("input_size", fitted, f"{shown}; the longer side is at most {limit} on a {on}")
    batch = int(pick("batch_size", min(_BATCH[on], images), f"{_BATCH[on]} on a {on}, at most all images"))
    pretrained = pick("pretrained", "none", "nothing is downloaded unless you ask for it")
    each, wanted = math.ceil(images / batch), _ITERATIONS["stock" if pretrained == "stock" else "none"]
    limit_of = (None, "no limit on a GPU") if machine.gpu else (_MINUTES_ON_CPU, "the limit on a CPU")
    minutes = pick("minutes", *limit_of)
    fit = "; the run does as many as fit into its minutes" if minutes else ""
    epochs = pick("epochs", max(_FEWEST_EPOCHS, math.ceil(wanted / each)), f"{wanted} iterations, {each} each{fit}")
    pick("lr", round(_BASE_LR * math.sqrt(batch / 4), 6), f"{_BASE_LR:g} for a batch of 4, by its square root")
    pick("warmup_iters", min(_WARM_UP, epochs * each // 10), f"{_WARM_UP}, at most a tenth of the run")
    layers = (6, "random weights must all be trained")
    if pretrained == "stock":
        layers = (5, "edges and colors of the first stage fit any image")
    pick("trainable_layers", *layers)
    posed = [skeleton for skeleton in categories.skeletons if skeleton.keypoints]
    fixed = [skeleton.name for skeleton in posed if not skeleton.mirrors]
    why = f"the skeleton {fixed[0]} does not mirror" if fixed else "the skeleton has the keypoints of a mirrored image"
    pick("flip", not fixed, why)
    pick("evaluations", 10, "the best of ten checkpoints is kept")
    pick("seed", 21, "any number")
    return found


def facts_of(data: Path, categories: Categories) -> str:
    """Return what the recipe was chosen from, in one line."""
    train = read_truth(data, "train", categories)
    return f"{counted(len(train.images), 'image')} to train on, with {counted(len(train), 'object')}"


def recipe_file(data: Path, folder: Path) -> Path:
    """Return the file of the recipe for a data set in a folder."""
    return folder / f"torchvision_{data.resolve().name}.toml"


def write_recipe(path: Path, recipe: TrainingRecipe, choices: tuple[Choice, ...], *, overwrite: bool) -> None:
    """Write a recipe, each value with its reason.

    Raises:
        RequestError: the file exists already.
        OutputError: it cannot be written.
    """
    if not overwrite:
        check_absent([path])
    write_text(path, recipe_text(recipe, {choice.field: choice.reason for choice in choices}))


def recipe_text(recipe: TrainingRecipe, reasons: Mapping[str, str]) -> str:
    """Return the TOML text of a recipe."""
    lines = ["# Recipe of `posetools train --trainer torchvision`. Edit any value.", ""]
    for name, value in recipe.model_dump(mode="json", exclude_none=True).items():
        lines += [f"# {reasons[name]}."] if name in reasons else []
        # The texts of JSON's strings, numbers, booleans and lists are TOML's.
        lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join([*lines, ""])


def read_recipe(path: Path) -> TrainingRecipe:
    """Return the recipe in a file.

    Raises:
        InputError: it cannot be read, or has an invalid value.
    """
    return parse_recipe(path, read_toml(path))


def parse_recipe(path: Path, document: Mapping[str, Any]) -> TrainingRecipe:
    """Return the recipe in a document.

    Raises:
        InputError: it has an invalid value.
    """
    try:
        return TrainingRecipe.model_validate(document)
    except ValidationError as exc:
        raise from_validation(path, exc) from exc


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() for side in sides):
        raise RequestError(must_be("--input-size", "one side or WIDTHxHEIGHT", text))
    return int(sides[0]), int(sides[-1])
