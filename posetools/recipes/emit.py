"""Emit and find the pair of a data set: an RTMDet and an RTMPose config that belong together."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from posetools.core.categories import Categories
from posetools.core.folder import categories_of, fold_folder
from posetools.core.skeleton import Skeleton
from posetools.core.stages import models_of
from posetools.errors import RequestError, counted
from posetools.files.disk import read_text, write_texts
from posetools.recipes.annotations import Annotations
from posetools.recipes.budget import too_few
from posetools.recipes.choose import choose
from posetools.recipes.det import det_config
from posetools.recipes.facts import DataFacts, read_facts
from posetools.recipes.machine import Machine, read_machine
from posetools.recipes.options import (
    COCO,
    DETECTOR,
    NONE,
    STARTER,
    STOCK,
    DetOptions,
    PoseOptions,
    RecipeOptions,
    StageOptions,
)
from posetools.recipes.pose import pose_config
from posetools.recipes.recipe import Measurement, Recipe, StageRecipe, cpu_seconds, flops

DEFAULT_RECIPE = RecipeOptions()
_FEW_ITERATIONS = 2000
# Skeletons in the name of a detector's config.
_NAMED = 3
_SCOPES = {"mmdet": "det", "mmpose": "pose"}
_BASE_LINE = re.compile(r"^_base_ = '(\w+)::", re.MULTILINE)
_SKELETON = re.compile(r"^skeleton = '([^'\n]*)'", re.MULTILINE)
_DATA_ROOT = re.compile(r"^data_root = ('[^'\n]*'|\"[^\"\n]*\")", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class EmittedPair:
    """The configs of a data set.

    Attributes:
        configs: name of a model (posetools/core/stages.py) -> its config; the detector is the first.
        notes: for the user, one sentence each.
    """

    configs: Mapping[str, Path]
    notes: tuple[str, ...] = ()

    @property
    def det(self) -> Path:
        """The RTMDet config."""
        return self.configs["det"]

    @property
    def pose(self) -> Path:
        """The RTMPose config of the only pose estimator."""
        return self.configs["pose"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenPair(EmittedPair):
    """A newly emitted pair.

    Attributes:
        recipe: every value with its reason.
        facts: the facts of the data set.
    """

    recipe: Recipe
    facts: DataFacts


def emit_pair(
    data_root: str | Path,
    categories: Categories | Skeleton | None = None,
    options: RecipeOptions = DEFAULT_RECIPE,
    out: str | Path = Path("configs"),
    *,
    overwrite: bool = False,
    machine: Machine | None = None,
    measured: Mapping[str, Measurement] | None = None,
    fold: int | None = None,
) -> ChosenPair:
    """Write ``rtmdet_<size>_<skeleton>.py`` and ``rtmpose-<size>_<skeleton>.py`` into ``out``.

    Where the categories have different skeletons, each skeleton gets an RTMPose config. Where there are several
    categories, each RTMPose config has annotation files of its own, in a folder with its name next to it.

    Args:
        data_root: the data set's folder; a relative one stays relative in the configs.
        categories: the data set's categories, or its skeleton; None: those in its files.
        options: the user's options.
        out: the folder to write to.
        overwrite: replace files that differ from what would be written.
        machine: the machine for training; None: this one, without importing torch.
        measured: name of a model -> measurements on the machine.
        fold: write to ``out/fold-<number>``, for the train and val splits of this fold; None: of the data set.

    Raises:
        RequestError: the data set cannot be trained on or does not name its skeleton, a weight file does not exist, or
            an output file exists already.
        InputError: a COCO file cannot be read or has another skeleton.
        OutputError: a file cannot be written.
    """
    data_root, out = Path(data_root), Path(out)
    categories = Categories.of(categories or categories_of(data_root))
    for name, said in (("det", options.det), ("pose", options.pose)):
        _check_weights(name, said)
    facts, machine = read_facts(data_root, categories, fold), machine or read_machine()
    recipe = choose(options, facts, machine, categories, measured)
    root, paths = data_root.as_posix(), pair_paths(options, categories, fold_folder(out, fold))
    texts = {paths["det"]: det_config(root, recipe, options.det.size, categories, facts, fold)}
    for (model, path), (name, own) in zip(list(paths.items())[1:], categories.posed.items(), strict=True):
        annotations = Annotations(name, own, path.with_suffix(""), fold) if len(categories) > 1 else None
        texts[path] = pose_config(root, recipe, model, options.pose, own.skeletons[0], annotations, fold)
        texts |= annotations.texts(data_root) if annotations else {}
    if not overwrite:
        _check_free(texts)
    write_texts(texts)
    known = measured or {}
    notes = tuple(
        _note(model, one, options.of(one.stage), machine, known.get(model, Measurement()), options.minutes)
        for model, one in recipe.models.items()
    )
    return ChosenPair(paths, notes, recipe=recipe, facts=facts)


def pair_paths(options: RecipeOptions, categories: Categories, out: Path) -> dict[str, Path]:
    """Return the configs of a pair in ``out``, by the name of the model."""
    names = tuple(categories.posed)
    det, *poses = models_of(names)
    whole = "-".join(names[:_NAMED]) + (f"-and-{len(names) - _NAMED}-more" if len(names) > _NAMED else "")
    return {
        det: out / f"rtmdet_{options.det.size}_{whole}.py",
        **{model: out / f"rtmpose-{options.pose.size}_{name}.py" for model, name in zip(poses, names, strict=True)},
    }


def check_absent(paths: Iterable[Path]) -> None:
    """Refuse existing files: measurements vary, so the new content would differ.

    Raises:
        RequestError: one exists.
    """
    for path in paths:
        if path.exists():
            raise RequestError(f"{path}: exists already", hint="use --overwrite to replace it, or another --out")


def _note(
    model: str,
    recipe: StageRecipe,
    said: DetOptions | PoseOptions,
    machine: Machine,
    measured: Measurement,
    limit: float | None,
) -> str:
    warmup = min(recipe.warmup_iters, recipe.iterations)
    repeated = f", {recipe.repeat} times per epoch" if recipe.repeat > 1 else ""
    each = counted(recipe.iterations_per_epoch, "iteration")
    text = (
        f"{model}: {recipe.samples} {recipe.sample} in batches of {recipe.batch_size}{repeated}; "
        f"{recipe.epochs} epochs of {each}: {recipe.iterations} in total, {warmup} of them warm-up; "
        f"learning rate {recipe.lr:.2g}"
    )
    if measured.batch_note:
        text += f"\n    batch: {measured.batch_note}"
    if too_few(recipe.iterations):
        text += f"\n    {too_few(recipe.iterations)}"
    elif recipe.iterations < _FEW_ITERATIONS:
        text += f"\n    fewer than {_FEW_ITERATIONS} iterations are few: use more epochs or a smaller batch"
    if machine.gpu is None:
        minutes, source = _minutes(said, recipe, machine, measured)
        text += f"\n    about {minutes:.{0 if minutes >= 10 else 1}f} min on {machine} ({source})"
        if limit and recipe.share and recipe.epochs == 1 and minutes > limit * recipe.share:
            text += f", as one epoch takes longer than the {limit * recipe.share:.3g} min of this stage"
        smallest = type(said).model_validate({"size": "tiny" if recipe.stage == "det" else "t"})
        less = flops(said, recipe.input_size) / flops(smallest, recipe.input_size)
        if less > 1.5:
            text += f"; --{recipe.stage} {smallest.size} is about {less:.0f} times as fast"
    return text


def _minutes(
    said: DetOptions | PoseOptions, recipe: StageRecipe, machine: Machine, measured: Measurement
) -> tuple[float, str]:
    source = "measured"
    if measured.seconds is not None:
        seconds = measured.seconds * recipe.batch_size / measured.seconds_batch
    else:
        seconds, source = cpu_seconds(said, recipe.input_size, recipe.batch_size, machine.cores), "an estimate"
    evaluations = -(-recipe.epochs // recipe.val_interval)
    overhead = measured.start_up + measured.epoch_start * recipe.epochs + measured.evaluation * evaluations
    return (seconds * recipe.full_iterations + overhead) / 60, source


def _check_weights(name: str, stage: StageOptions) -> None:
    for field, value in (("--backbone", stage.backbone), (f"--{name}-load-from", stage.load_from)):
        words = [COCO, STARTER, NONE]
        if field == "--backbone":
            words = [STOCK, NONE, DETECTOR] if name == "pose" else [STOCK, NONE]
        if value is None or "://" in value or value in words:
            continue
        if not Path(value).is_file():
            choices = f"{', '.join(words)}, a URL or an existing file"
            raise RequestError(f"{field} ({name}): must be {choices}, got {value!r}")


def _check_free(texts: dict[Path, str]) -> None:
    for path, text in texts.items():
        if path.exists() and read_text(path) != text:
            raise RequestError(
                f"{path}: exists with other content (edited, or made with other options)",
                hint="use `posetools config --overwrite` to replace it, or `posetools config --out DIR`",
            )


def data_root_in(text: str) -> Path | None:
    """Return the ``data_root`` in the text of a config, or None."""
    found = _DATA_ROOT.search(text)
    return Path(ast.literal_eval(found[1])) if found else None


def find_pair(data_root: Path, configs: Path) -> EmittedPair | None:
    """Return the pair in ``configs`` whose ``data_root`` is this data set, or None.

    Raises:
        RequestError: there are several, or only one half.
    """
    det: list[Path] = []
    poses: dict[str, list[Path]] = {}
    for path in sorted(configs.glob("*.py")):
        text = read_text(path)
        base, root, own = _BASE_LINE.search(text), data_root_in(text), _SKELETON.search(text)
        if base is None or root is None or base[1] not in _SCOPES or root.resolve() != data_root.resolve():
            continue
        same = det if _SCOPES[base[1]] == "det" else poses.setdefault(own[1] if own else "", [])
        same.append(path)
    paths = [*det, *itertools.chain(*poses.values())]
    if not paths:
        return None
    if len(det) == 1 and poses and len(paths) == 1 + len(poses) and (len(poses) == 1 or "" not in poses):
        return EmittedPair(dict(zip(models_of(tuple(poses)), paths, strict=True)))
    listed = ", ".join(map(str, paths))
    if det and poses:
        raise RequestError(f"{configs}: has several configs for {data_root}: {listed}", hint="choose one with --config")
    missing = "pose" if det else "det"
    raise RequestError(
        f"{configs}: has {listed} for {data_root}, but no {missing} config",
        hint="choose one with --config, or emit a pair with `posetools config`",
    )
