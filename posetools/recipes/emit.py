"""Emit and find the pair of a data set: an RTMDet and an RTMPose config that belong together."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from posetools.core.folder import skeleton_of
from posetools.core.skeleton import Skeleton
from posetools.core.stages import Stage
from posetools.errors import RequestError, counted
from posetools.files.disk import read_text, write_texts
from posetools.recipes.budget import too_few
from posetools.recipes.choose import SHARE, choose
from posetools.recipes.det import det_config
from posetools.recipes.facts import DataFacts, read_facts
from posetools.recipes.machine import Machine, read_machine
from posetools.recipes.options import COCO, NONE, STARTER, STOCK, DetOptions, PoseOptions, RecipeOptions, StageOptions
from posetools.recipes.pose import pose_config
from posetools.recipes.recipe import Measurement, Recipe, StageRecipe, cpu_seconds, flops

DEFAULT_RECIPE = RecipeOptions()
_FEW_ITERATIONS = 2000
_SCOPES = {"mmdet": "det", "mmpose": "pose"}
_BASE_LINE = re.compile(r"^_base_ = '(\w+)::", re.MULTILINE)
_DATA_ROOT = re.compile(r"^data_root = ('[^'\n]*'|\"[^\"\n]*\")", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class EmittedPair:
    """The two configs of a data set.

    Attributes:
        det: the RTMDet config.
        pose: the RTMPose config.
        notes: for the user, one sentence each.
    """

    det: Path
    pose: Path
    notes: tuple[str, ...] = ()

    def of(self, stage: Stage) -> Path:
        """Return the config of a stage."""
        return self.det if stage == "det" else self.pose


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
    skeleton: Skeleton | None = None,
    options: RecipeOptions = DEFAULT_RECIPE,
    out: str | Path = Path("configs"),
    *,
    overwrite: bool = False,
    machine: Machine | None = None,
    measured: dict[Stage, Measurement] | None = None,
) -> ChosenPair:
    """Write ``rtmdet_<size>_<skeleton>.py`` and ``rtmpose-<size>_<skeleton>.py`` into ``out``.

    Args:
        data_root: the data set's folder; a relative one stays relative in the configs.
        skeleton: the data set's skeleton; None: the one in its files.
        options: the user's options.
        out: the folder to write to.
        overwrite: replace files that differ from what would be written.
        machine: the machine for training; None: this one, without importing torch.
        measured: measurements on it.

    Raises:
        RequestError: the data set cannot be trained on or does not name its skeleton, a weight file does not exist, or
            an output file exists already.
        InputError: a COCO file cannot be read or has another skeleton.
        OutputError: a file cannot be written.
    """
    data_root, out = Path(data_root), Path(out)
    skeleton = skeleton or skeleton_of(data_root)
    for name, said in (("det", options.det), ("pose", options.pose)):
        _check_weights(name, said)
    facts, machine = read_facts(data_root, skeleton), machine or read_machine()
    recipe = choose(options, facts, machine, skeleton, measured)
    root = data_root.as_posix()
    det_path, pose_path = pair_paths(options, skeleton, out)
    texts = {
        det_path: det_config(root, recipe, options.det.size, skeleton, facts),
        pose_path: pose_config(root, recipe, options.pose, skeleton),
    }
    if not overwrite:
        _check_free(texts)
    write_texts(texts)
    known = measured or {}
    minutes, unknown = options.minutes, Measurement()
    notes = (
        _note(recipe.det, options.det, machine, known.get("det", unknown), minutes),
        _note(recipe.pose, options.pose, machine, known.get("pose", unknown), minutes),
    )
    return ChosenPair(det_path, pose_path, notes, recipe=recipe, facts=facts)


def pair_paths(options: RecipeOptions, skeleton: Skeleton, out: Path) -> tuple[Path, Path]:
    """Return the two files of a pair in ``out``."""
    return (
        out / f"rtmdet_{options.det.size}_{skeleton.name}.py",
        out / f"rtmpose-{options.pose.size}_{skeleton.name}.py",
    )


def check_absent(paths: Sequence[Path]) -> None:
    """Refuse existing files: measurements vary, so the new content would differ.

    Raises:
        RequestError: one exists.
    """
    for path in paths:
        if path.exists():
            raise RequestError(f"{path}: exists already\n  fix: use --overwrite to replace it, or another --out")


def _note(
    recipe: StageRecipe, said: DetOptions | PoseOptions, machine: Machine, measured: Measurement, limit: float | None
) -> str:
    name = recipe.stage
    warmup = min(recipe.warmup_iters, recipe.iterations)
    repeated = f", {recipe.repeat} times per epoch" if recipe.repeat > 1 else ""
    text = (
        f"{name}: {recipe.samples} {recipe.sample} in batches of {recipe.batch_size}{repeated}; {recipe.epochs} epochs "
        f"of {counted(recipe.iterations_per_epoch, 'iteration')}: {recipe.iterations} in total, {warmup} of them "
        f"warm-up; learning rate {recipe.lr:.2g}"
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
        if limit and recipe.epochs == 1 and minutes > limit * SHARE[name]:
            text += f", as one epoch takes longer than the {limit * SHARE[name]:.3g} min of this stage"
        smallest = type(said).model_validate({"size": "tiny" if name == "det" else "t"})
        less = flops(said, recipe.input_size) / flops(smallest, recipe.input_size)
        if less > 1.5:
            text += f"; --{name} {smallest.size} is about {less:.0f} times as fast"
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
    return (seconds * recipe.iterations + overhead) / 60, source


def _check_weights(name: str, stage: StageOptions) -> None:
    for field, value in (("--backbone", stage.backbone), (f"--{name}-load-from", stage.load_from)):
        words = (STOCK, NONE) if field == "--backbone" else (COCO, STARTER, NONE)
        if value is None or "://" in value or value in words:
            continue
        if not Path(value).is_file():
            choices = f"{', '.join(words)}, a URL or an existing file"
            raise RequestError(f"{field} ({name}): must be {choices}, got {value!r}")


def _check_free(texts: dict[Path, str]) -> None:
    for path, text in texts.items():
        if path.exists() and read_text(path) != text:
            raise RequestError(
                f"{path}: exists with other content (edited, or made with other options)\n"
                "  use `posetools config --overwrite` to replace it, or `posetools config --out DIR`"
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
    found: dict[str, list[Path]] = {"det": [], "pose": []}
    for path in sorted(configs.glob("*.py")):
        text = read_text(path)
        base, root = _BASE_LINE.search(text), data_root_in(text)
        if base is None or root is None or base[1] not in _SCOPES:
            continue
        if root.resolve() == data_root.resolve():
            found[_SCOPES[base[1]]].append(path)
    det, pose = found["det"], found["pose"]
    if not det and not pose:
        return None
    if len(det) == len(pose) == 1:
        return EmittedPair(det[0], pose[0])
    listed = ", ".join(str(path) for path in [*det, *pose])
    if det and pose:
        raise RequestError(f"{configs}: has several configs for {data_root}: {listed}\n  choose one with --config")
    missing = "pose" if det else "det"
    raise RequestError(
        f"{configs}: has {listed} for {data_root}, but no {missing} config\n"
        "  choose one with --config, or emit a pair with `posetools config`"
    )
