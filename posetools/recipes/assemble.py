"""Putting a recipe together: what the user stated wins, the rules of choose.py give the rest."""

from __future__ import annotations

from posetools.core.skeleton import Skeleton
from posetools.core.stages import Stage
from posetools.errors import RequestError
from posetools.recipes.choose import RULES, coco_weights, flip, iterations, rotation, workers
from posetools.recipes.costs import Measured
from posetools.recipes.facts import DataFacts
from posetools.recipes.machine import Machine
from posetools.recipes.options import COCO, NONE, STOCK, DetOptions, PoseOptions, RecipeOptions
from posetools.recipes.recipe import (
    STATED,
    Because,
    Case,
    Choice,
    Recipe,
    StageRecipe,
    as_text,
    choice,
    stated_values,
)
from posetools.recipes.stock import DET, SEED, STOCK_TEXT


def choose(
    options: RecipeOptions,
    facts: DataFacts,
    machine: Machine,
    skeleton: Skeleton,
    measured: dict[Stage, Measured] | None = None,
) -> Recipe:
    """Return the whole recipe: what the user stated, and for the rest what fits the data and the machine.

    Raises:
        RequestError: what was stated does not go together.
    """
    known = measured or {}
    said: dict[Stage, DetOptions | PoseOptions] = {"det": options.det, "pose": options.pose}
    cases = [
        Case(each, options.minutes, facts, machine, skeleton, known.get(stage, Measured()))
        for stage, each in said.items()
    ]
    det, pose = (_stage(case) for case in cases)
    loaders = Because(options.workers, STATED) if options.workers is not None else workers(machine)
    seed = Because(options.seed, STATED) if options.seed is not None else Because(SEED, "so that a run can be repeated")
    shared = [
        Choice("", name, STOCK_TEXT[""][name], as_text(found.value), found.reason, found.reason == STATED)
        for name, found in (("workers", loaders), ("seed", seed))
    ]
    table = [row for case in cases for row in (_size(case), *(choice(case, name) for name in case.because))]
    return Recipe(det, pose, loaders.value, seed.value, (*table, *shared))


def _size(case: Case) -> Choice:
    stated = "size" in case.said.model_fields_set
    reason = STATED if stated else f"the default; --{case.stage} chooses another"
    return Choice(case.stage, "size", "", case.said.size, reason, stated)


def _stage(case: Case) -> StageRecipe:
    for name, rule in RULES.items():
        case.because[name] = _stated(case, name) or rule(case)
    _check(case)
    case.because["iterations"] = iterations(case)
    if case.stage == "pose":
        case.because["rotation"] = _stated(case, "rotation") or rotation(case)
        case.because["flip"] = flip(case)
    values = {name: case[name] for name in RULES}
    return StageRecipe(**values, because=case.because, stated=stated_values(case.said))


def _stated(case: Case, name: str) -> Because | None:
    """Return what the user stated for a field, with words turned into what they stand for."""
    value = getattr(case.said, name, None)
    if name == "ema_momentum" and case.said.ema is False:
        return Because(None, STATED)
    if not case.states(name):
        return None
    if name == "load_from" and value == COCO:
        return Because(coco_weights(case), f"{STATED}: the stock recipe's own weights, of COCO")
    return Because(None if name == "load_from" and value == NONE else value, STATED)


def _check(case: Case) -> None:
    """Refuse what cannot work together."""
    if case["repeat"] > 1 and 0 < case["stage2_epochs"] < case["epochs"]:
        raise RequestError(
            f"{case.stage}.repeat: must be 1 where augmentation changes on the way, got {case['repeat']}: "
            "the switch to stage 2 does not reach into a RepeatDataset\n"
            '  more epochs do the same; or augmentation = "light"'
        )
    if case["freeze"] == "backbone" and case["load_from"] is None and not _has_backbone_weights(case):
        raise RequestError(
            f"--freeze ({case.stage}): backbone needs weights that are worth keeping, but this one starts at random\n"
            f"  --pretrained coco, --backbone FILE or --{case.stage}-load-from FILE gives it some"
        )


def _has_backbone_weights(case: Case) -> bool:
    stock = not isinstance(case.said, DetOptions) or DET[case.said.size].pretrained
    return case["backbone"] != NONE and (case["backbone"] != STOCK or stock)
