"""The rules that choose a recipe: values with reasons, from data and machine.

Each rule is a small function of a RuleInput; it may read the choices of earlier rules (in the order of RECIPE_RULES)
and returns the value with a reason that has the numbers. The user's options take precedence: `choose` combines both.
All numbers to tune are in the block below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import ceil, floor, log2, sqrt

from posetools.core.categories import Categories
from posetools.core.stages import Stage, models_of
from posetools.errors import RequestError
from posetools.recipes.budget import FULL_BATCH, ITERATIONS, PASSES, enough_iterations, full_batches
from posetools.recipes.early import early_cost, early_size, fitting_iterations, full_epochs_ruling
from posetools.recipes.facts import DataFacts
from posetools.recipes.initial import at_random, backbone, freeze, is_trained, load_from, named_weights
from posetools.recipes.machine import GIB, Machine
from posetools.recipes.options import DETECTOR, STRIDE, RecipeOptions
from posetools.recipes.pose_rules import POSE_RULES
from posetools.recipes.recipe import (
    GPU_SHARE,
    STATED,
    UNKNOWN_GIB,
    Choice,
    Measurement,
    Recipe,
    RuleInput,
    Ruling,
    StageRecipe,
    as_text,
    choice,
    cpu_seconds,
    sample_gib,
)
from posetools.recipes.starter import STARTERS
from posetools.recipes.stock import BASE_LR, BATCH, EMA_MOMENTUM, SEED, STOCK_TEXT, WARMUP_ITERS

# Input of the detector: its longer side, and the least size of the 10th percentile of the objects in it.
DET_SIDE, DET_SIDE_MOST, DET_OBJECT = 640, 1280, 16
CPU_DET_SIDE_LEAST, CPU_DET_OBJECT = 256, 32
# Input of the pose estimator: the longer sides to choose from, and the least aspect ratio for an oblong input.
POSE_SIDES, CPU_POSE_SIDE_MOST, POSE_OBLONG = (128, 160, 192, 224, 256), 160, 1.5
# The margin that MMPose adds around a box (GetBBoxCenterScale).
BOX_PADDING = 1.25
# A sample takes about the same time in a batch of any size here, and RTMPose leaves its initial plateau after some
# hundred iterations of any size: from random weights, 12,400 cars took RTMPose-t to an AP of 0.19 (AP50 0.57) in
# batches of 8, and to 0.00 in batches of 32.
CPU_BATCH = 8
GPU_BATCHES: dict[Stage, tuple[int, int]] = {"det": (FULL_BATCH["det"], 32), "pose": (FULL_BATCH["pose"], 256)}
VAL_BATCH: dict[Stage, int] = {"det": 8, "pose": 64}
# Limits of the length (budget.py has the target): in epochs, and on a CPU in minutes.
EPOCHS_LEAST = 12
CPU_MINUTES = 60.0
# Fractions of the minutes: the rest is for the evaluation of both together. Boxes improve for longer than keypoints,
# which on detected boxes are only as good as these. But a pose estimator learns little in its first 1,000 iterations.
TRAINING_SHARE, POSE_SHARE, POSE_ITERATIONS = 0.97, 0.34, 1500
FEWEST_ITERATIONS = 300
# A run with fewer iterations is too short for mosaic, cutout and large scale changes (from random weights, 3,776 light
# ones took RTMDet-tiny to a bbox mAP of 0.84 on rendered cars).
LIGHT_BELOW = 6000
# An epoch with fewer iterations is mostly overhead; but a run should have some epochs.
EPOCH_ITERATIONS, REPEATED_EPOCHS = 50, 10
# From random weights, 1e-3 was better than the stock rule's 7e-4 for RTMDet-tiny in batches of 8, and than 2e-3; for
# RTMPose-t it gave an AP of 0.19 after 12,400 cars, 5e-4 gave 0.11, 2.5e-4 0.01, and 1e-3 in batches of 4 0.00.
LR_LEAST, LR_RANDOM, FINE_TUNE = 5e-4, 1e-3, 0.5
# The average covers a twentieth of the run.
EMA_SHARE = 20
STAGE2_MOST, INTERVAL_MOST = 20, 10
# With --minutes, evaluations with their checkpoints take this fraction of the time, and there are at least 2.
EVALUATION_SHARE, FEWEST_EVALUATIONS = 0.05, 2


def _det_input(case: RuleInput) -> Ruling:
    shapes, cpu = case.facts.shapes, case.machine.gpu is None
    long, short = sorted((shapes.width, shapes.height), reverse=True)
    most = min(_up(long), DET_SIDE if cpu else DET_SIDE_MOST)
    side = min(DET_SIDE, most)
    why = f"images are {shapes.width:.0f}x{shapes.height:.0f} (median)"
    if cpu:
        side = min(side, _up(max(CPU_DET_SIDE_LEAST, CPU_DET_OBJECT / shapes.relative_side)))
        why += f", small for the CPU; the 10 % smallest objects are {side * shapes.relative_side:.0f} px then"
    elif side * shapes.relative_side < DET_OBJECT:
        side = min(most, max(side, _up(DET_OBJECT / shapes.relative_side)))
        shown = side * shapes.relative_side
        why += f"; the 10 % smallest objects are {shapes.side[0]:.0f} px, and {shown:.0f} px at this input size"
    if 0.1 <= shapes.portrait <= 0.9:
        return Ruling((side, side), f"{why}; {100 * shapes.portrait:.0f} % of them are portrait, so a square")
    other = min(side, _up(side * short / long))
    return Ruling((side, other) if shapes.width >= shapes.height else (other, side), why)


def _pose_input(case: RuleInput) -> Ruling:
    shapes, cpu = case.facts.shapes, case.machine.gpu is None
    if cpu and is_trained(case):
        return Ruling(STARTERS["pose"].input_size, "the input of the starter weights, so that all of them fit")
    wanted = shapes.box_long * BOX_PADDING
    sides = [side for side in POSE_SIDES if not cpu or side <= CPU_POSE_SIDE_MOST]
    side = next((side for side in sides if side >= wanted), sides[-1])
    oblong = max(shapes.box_aspect, 1 / shapes.box_aspect) >= POSE_OBLONG
    other = _up(side * 3 / 4) if oblong else side
    size = (side, other) if shapes.box_aspect >= 1 else (other, side)
    why = f"boxes with margin are {wanted:.0f} px long (median)"
    why += f" and {shapes.box_aspect:.2g} times as wide as high" if oblong else ""
    return Ruling(size, why + (f"; at most {CPU_POSE_SIDE_MOST} on a CPU" if cpu and wanted > side else ""))


def _input_size(case: RuleInput) -> Ruling:
    return _det_input(case) if case.stage == "det" else _pose_input(case)


def _batch_size(case: RuleInput) -> Ruling:
    gpu, measured = case.machine.gpu, case.measured
    note = f"; {measured.batch_note}" if measured.batch_note else ""
    if measured.batch is not None:
        batch, why = measured.batch, measured.batch_note
    elif gpu is None:
        batch, why = CPU_BATCH, f"for a CPU: small batches give more iterations in the same time{note}"
    else:
        low, high = GPU_BATCHES[case.stage]
        gib = UNKNOWN_GIB if gpu.memory is None else gpu.memory / GIB
        each = sample_gib(case.said, case["input_size"])
        fits, enough = gib * GPU_SHARE / each, PASSES * case.samples / ITERATIONS
        batch = max(low, min(high, _power_of_two(min(fits, enough))))
        why = f"fits on {gpu}, at about {each:.2g} GiB per sample{note}"
        if enough < min(fits, high):
            why = f"for {case.samples} {case.sample}: a larger one gives fewer than {ITERATIONS} iterations{note}"
    if batch > case.samples:
        return Ruling(case.samples, f"there are {case.samples} {case.sample}{note}")
    return Ruling(batch, why)


def _val_batch_size(case: RuleInput) -> Ruling:
    most = VAL_BATCH[case.stage]
    return Ruling(min(most, case["batch_size"]), f"as in training, at most {most}")


def _limit(case: RuleInput) -> float | None:
    """Return the minutes for both trainings, if limited."""
    return case.minutes or (CPU_MINUTES if case.machine.gpu is None else None)


def _share(case: RuleInput) -> Ruling:
    minutes, (seconds, _) = _limit(case), _seconds(case)
    if minutes is None or seconds is None:
        return Ruling(None, "no time limit")
    if case.stage == "det":
        return Ruling(TRAINING_SHARE - case.taken, f"of {minutes:.3g} min; boxes improve for longer than keypoints")
    wanted = POSE_ITERATIONS * seconds / (60 * minutes)
    enough = wanted <= POSE_SHARE or is_trained(case)
    share, why = POSE_SHARE if enough else min(TRAINING_SHARE / 2, wanted), f"of {minutes:.3g} min"
    if case.estimators > 1:
        share = min(TRAINING_SHARE / 2, share * case.estimators) / case.estimators
        why += " for each pose estimator"
    if enough:
        return Ruling(share, f"{why}; boxes improve for longer than keypoints")
    return Ruling(share, f"{why}, for {POSE_ITERATIONS:,} iterations: it learns little in the first 1,000")


def planned_iterations(case: RuleInput) -> Ruling:
    """Return how many iterations a run should have if the user did not set its epochs."""
    batch, enough = case["batch_size"], enough_iterations(case.stage, case.samples, case["batch_size"])
    seconds, source = _seconds(case)
    most = full_batches(case.stage, batch, ITERATIONS)
    minutes, why = _limit(case), f"{most} iterations of {batch}"
    if enough < most:
        why = f"{case.samples} {case.sample}, each seen {PASSES} times"
    if minutes is None or seconds is None:
        return Ruling(enough, why)
    minutes *= case["share"]
    seen, each = case.measured, max(EPOCH_ITERATIONS, case.iterations_per_epoch())
    overhead = seen.start_up + seen.evaluation * _evaluations(case)
    left, pace, early = 60 * minutes - overhead, f"{seconds:.2g} s per iteration", case.because.get("early_size")
    fitting = max(0, floor(left / (seconds + seen.epoch_start / each)))
    if early and early.value:
        fitting = fitting_iterations(case, left, seconds, enough)
        pace += f", {early_cost(case) * seconds:.2g} s at {as_text(early.value)}"
    least = 1 if case.minutes else FEWEST_ITERATIONS
    if fitting >= enough:
        return Ruling(enough, why)
    if fitting < least:
        return Ruling(least, f"at least {least} iterations, about {least * seconds / 60:.0f} min ({source})")
    rest = f" plus {overhead:.0f} s" if overhead else ""
    return Ruling(fitting, f"{minutes:.3g} min at {pace}{rest} ({source})")


def _evaluations(case: RuleInput) -> float:
    """Return how many evaluations fit into their part of --minutes, 0 if not measured."""
    if case.minutes is None or not case.measured.evaluation:
        return 0
    seconds: float = 60 * case.minutes * case["share"]
    return max(FEWEST_EVALUATIONS, EVALUATION_SHARE * seconds / case.measured.evaluation)


def _seconds(case: RuleInput) -> tuple[float | None, str]:
    """Return the seconds per iteration, if known, and their source."""
    if case.measured.seconds is not None:
        return case.measured.seconds * case["batch_size"] / case.measured.seconds_batch, "measured"
    if case.machine.gpu is None:
        seconds = cpu_seconds(case.said, case["input_size"], case["batch_size"], case.machine.cores)
        return seconds, f"estimate for {case.machine}"
    return None, ""


def _augmentation(case: RuleInput) -> Ruling:
    if case.states("stage2_epochs"):
        return Ruling("strong", "stage2_epochs is set: the stock recipe's two stages")
    count, times = planned_iterations(case).value, _times(case)
    if case.said.epochs is not None:
        count = case.said.epochs * case.iterations_per_epoch(case.said.repeat or times)
    if count < _light_below(case):
        what = "mosaic, mixup" if case.stage == "det" else "cutout"
        return Ruling("light", f"{count} iterations are too few for {what} and large scale changes")
    if case.said.repeat is None and times > 1:
        return Ruling("light", f"an epoch has {times} passes over the data, which rules out a stage 2")
    return Ruling("strong", f"{count} iterations are enough for strong augmentation")


def _light_below(case: RuleInput) -> int:
    """Return how many iterations are too few for strong augmentation."""
    return full_batches(case.stage, case["batch_size"], LIGHT_BELOW)


def _times(case: RuleInput) -> int:
    """Return the passes over the data per epoch, which do not depend on --epochs."""
    each = case.iterations_per_epoch()
    planned: int = planned_iterations(case).value
    light = case.said.augmentation or ("light" if planned < _light_below(case) else "strong")
    if each >= EPOCH_ITERATIONS or case.states("stage2_epochs") or light == "strong":
        return 1
    return max(1, min(ceil(EPOCH_ITERATIONS / each), planned // (REPEATED_EPOCHS * each)))


def _repeat(case: RuleInput) -> Ruling:
    each = case.iterations_per_epoch()
    if each >= EPOCH_ITERATIONS:
        return Ruling(1, f"an epoch has {each} iterations")
    if case["augmentation"] == "strong":
        return Ruling(1, "the switch to stage 2 does not work in a RepeatDataset")
    why = f"one pass over {case.samples} {case.sample} is {each} of {planned_iterations(case).value} iterations"
    if case.states("epochs"):
        why = f"one pass over {case.samples} {case.sample} is {each} iterations; same as without --epochs"
    return Ruling(_times(case), why)


def _early_size(case: RuleInput) -> Ruling:
    enough = enough_iterations(case.stage, case.samples, case["batch_size"])
    return early_size(case, planned_iterations(case).value, enough)


def _epochs(case: RuleInput) -> Ruling:
    planned, each = planned_iterations(case), case.iterations_per_epoch(case["repeat"])
    epochs, why = max(1, round(planned.value / each)), planned.reason
    if epochs < EPOCHS_LEAST and case.machine.gpu is not None and case.minutes is None:
        epochs, why = EPOCHS_LEAST, f"at least {EPOCHS_LEAST}"
    stage2 = case.said.stage2_epochs
    if stage2 is not None and stage2 > epochs:
        epochs, why = stage2, "as many as stage2_epochs"
    return Ruling(epochs, f"{why}; {each} iterations each")


def _stage2_epochs(case: RuleInput) -> Ruling:
    epochs = case["epochs"]
    if case["early_size"]:
        return full_epochs_ruling(case)
    if case["augmentation"] == "light":
        return Ruling(epochs, "light augmentation in all epochs", "max_epochs")
    if case["repeat"] > 1:
        return Ruling(0, "the switch to stage 2 does not work in a RepeatDataset")
    what = "mosaic and mixup" if case.stage == "det" else "strong augmentation"
    return Ruling(min(STAGE2_MOST, epochs // 10), f"the last ones, without {what}: a tenth, at most {STAGE2_MOST}")


def _val_interval(case: RuleInput) -> Ruling:
    interval, fitting = min(INTERVAL_MOST, max(1, case["epochs"] // 10)), int(_evaluations(case))
    if fitting and ceil(case["epochs"] / fitting) > interval:
        each = case.measured.evaluation
        return Ruling(
            ceil(case["epochs"] / fitting), f"epochs: {fitting} evaluations of {each:.2g} s fit into the time"
        )
    return Ruling(interval, f"epochs: a tenth of all, at most {INTERVAL_MOST}")


def _lr(case: RuleInput) -> Ruling:
    batch, stock = case["batch_size"], BATCH[case.stage]
    least = LR_RANDOM if at_random(case) or case["backbone"] == DETECTOR else LR_LEAST
    rate = max(least, BASE_LR * sqrt(batch / stock))
    formula = f"max({least}, {BASE_LR} * (batch_size / {stock})**0.5)"
    why = f"stock is for batches of {stock}; times sqrt({batch}/{stock}), at least {least}"
    why += " from random weights" if at_random(case) else " with the detector's backbone" if least == LR_RANDOM else ""
    if case["load_from"] is not None:
        return Ruling(FINE_TUNE * rate, f"{why}; half of it, as all layers are pretrained", f"{FINE_TUNE} * {formula}")
    return Ruling(rate, why, formula)


def _warmup_iters(case: RuleInput) -> Ruling:
    count = case["epochs"] * case.iterations_per_epoch(case["repeat"])
    formula = f"min({WARMUP_ITERS}, max(2, iterations // 10))"
    return Ruling(min(WARMUP_ITERS, max(2, count // 10)), f"a tenth of {count} iterations", formula)


def _ema_momentum(case: RuleInput) -> Ruling:
    if case.said.ema is None and not case.stock.ema:
        return Ruling(None, "the stock recipe of this size has no EMA")
    count = case["epochs"] * case.iterations_per_epoch(case["repeat"])
    momentum = min(0.1, max(EMA_MOMENTUM, EMA_SHARE / count))
    formula = f"min(0.1, max({EMA_MOMENTUM}, {EMA_SHARE} / iterations))"
    return Ruling(momentum, f"the average of about {1 / momentum:.0f} iterations; there are {count}", formula)


def iterations(case: RuleInput) -> Ruling:
    """Return the total number of iterations."""
    epochs, each = case["epochs"], case.iterations_per_epoch(case["repeat"])
    times = f", {case['repeat']} times per epoch" if case["repeat"] > 1 else ""
    return Ruling(epochs * each, f"{epochs} epochs of {each}: {case.samples} {case.sample}{times}")


def workers(machine: Machine) -> Ruling:
    """Return how many processes load data, per loader."""
    if machine.gpu is None:
        return Ruling(min(4, max(1, machine.cores // 2)), f"half of {machine}: training needs cores too")
    share = machine.cores // len(machine.gpus)
    return Ruling(min(8, max(1, share)), f"{machine}: at most 8 per process")


def _power_of_two(number: float) -> int:
    """Return the largest power of two up to ``number``, at least 1."""
    return int(2 ** floor(log2(max(1.0, number))))


def _up(side: float) -> int:
    """Return the smallest multiple of the networks' stride that is at least ``side``."""
    return STRIDE * ceil(round(side, 6) / STRIDE)


# In this order: a rule may read earlier choices.
RECIPE_RULES: dict[str, Callable[[RuleInput], Ruling]] = {
    "input_size": _input_size,
    "load_from": load_from,
    "backbone": backbone,
    "freeze": freeze,
    "batch_size": _batch_size,
    "val_batch_size": _val_batch_size,
    "share": _share,
    "augmentation": _augmentation,
    "repeat": _repeat,
    "early_size": _early_size,
    "epochs": _epochs,
    "stage2_epochs": _stage2_epochs,
    "val_interval": _val_interval,
    "lr": _lr,
    "warmup_iters": _warmup_iters,
    "ema_momentum": _ema_momentum,
}


def choose(
    options: RecipeOptions,
    facts: DataFacts,
    machine: Machine,
    categories: Categories,
    measured: Mapping[str, Measurement] | None = None,
) -> Recipe:
    """Return the whole recipe: the user's options, and values that fit the data and the machine.

    Args:
        options: the user's.
        facts: of the data set.
        machine: for training.
        categories: of the data set; each skeleton with keypoints gets a pose estimator.
        measured: name of a model -> measurements on the machine.

    Raises:
        RequestError: the options contradict each other.
    """
    known = measured or {}
    det, *poses = (
        RuleInput(
            options.det if model == "det" else options.pose,
            options.minutes,
            facts if name is None else facts.of(name),
            machine,
            categories.skeletons[0] if name is None else categories.posed[name].skeletons[0],
            known.get(model, Measurement()),
            model,
            len(categories.posed),
            options.det.size,
        )
        for model, name in zip(models_of(tuple(categories.posed)), (None, *categories.posed), strict=True)
    )
    # The detector gets the time that the pose estimators leave.
    estimators = {case.model: _stage(case) for case in poses}
    det = replace(det, taken=sum(one.share or 0.0 for one in estimators.values()))
    models = {"det": _stage(det), **estimators}
    loaders = Ruling(options.workers, STATED) if options.workers is not None else workers(machine)
    seed = Ruling(options.seed, STATED) if options.seed is not None else Ruling(SEED, "makes runs reproducible")
    shared = [
        Choice("", name, STOCK_TEXT[""][name], as_text(found.value), found.reason, found.reason == STATED)
        for name, found in (("workers", loaders), ("seed", seed))
    ]
    table = [row for case in (det, *poses) for row in (_size(case), *_rows(case))]
    return Recipe(models, loaders.value, seed.value, (*table, *shared))


def _size(case: RuleInput) -> Choice:
    stated = "size" in case.said.model_fields_set
    reason = STATED if stated else f"the default; change it with --{case.stage}"
    return Choice(case.model, "size", "", case.said.size, reason, stated)


def _rows(case: RuleInput) -> list[Choice]:
    # Only some runs have two sizes.
    return [choice(case, name) for name, found in case.because.items() if name != "early_size" or found.value]


def _stage(case: RuleInput) -> StageRecipe:
    for name, rule in RECIPE_RULES.items():
        case.because[name] = _stated(case, name) or rule(case)
    _check(case)
    case.because["iterations"] = iterations(case)
    for name, rule in POSE_RULES.items() if case.stage == "pose" else ():
        case.because[name] = _stated(case, name) or rule(case)
    values = {name: case[name] for name in RECIPE_RULES}
    stated = frozenset(filter(case.states, type(case.said).model_fields))
    minutes = case.minutes and values["share"] and case.minutes * values["share"]
    values["early_cost"] = early_cost(case)
    return StageRecipe(
        case.stage, case.samples, case.sample, **values, minutes=minutes, because=case.because, stated=stated
    )


def _stated(case: RuleInput, name: str) -> Ruling | None:
    """Return the user's value for a field, with names resolved."""
    value = getattr(case.said, name, None)
    if name == "ema_momentum" and case.said.ema is False:
        return Ruling(None, STATED)
    if not case.states(name):
        return None
    named = named_weights(case, name) if name in ("load_from", "backbone") else None
    return named or Ruling(value, STATED)


def _check(case: RuleInput) -> None:
    if case["repeat"] > 1 and 0 < case["stage2_epochs"] < case["epochs"]:
        raise RequestError(
            f"{case.stage}.repeat: must be 1 if augmentation changes during the run, got {case['repeat']}: "
            "the switch to stage 2 does not work in a RepeatDataset",
            hint='use more epochs instead, or set augmentation = "light"',
        )
    if case["freeze"] == "backbone" and at_random(case):
        raise RequestError(
            f"--freeze ({case.stage}): backbone requires pretrained weights, but this one has random weights",
            hint=f"add --pretrained coco, --backbone FILE or --{case.stage}-load-from FILE",
        )
