"""Half the input size in the first epochs: a short training from random weights sees more images in its time."""

from __future__ import annotations

from bisect import bisect_right

from posetools.recipes.initial import at_random
from posetools.recipes.options import STRIDE
from posetools.recipes.recipe import RuleInput, Ruling, as_text

# Smaller inputs have no room for it.
_SIDE_LEAST = 192
# The assumed time of an iteration at half the input size, relative to the full one. Less than the second number is
# measured only if the load of the machine changes in between. Above the third one it saves too little, as where the
# start of an iteration takes most of its time.
_COST, _COST_LEAST, _COST_MOST = 0.5, 0.4, 0.75
# Without it, so many epochs would fit.
_EPOCHS_LEAST = 4
# About a third of the epochs, which is half of the time, has the full size.
FULL_SHARE, _FULL_LEAST = 3, 2
# RTMDet-tiny at 256x256 in batches of 8, 270 images of benchmarks/renderer, evaluated on 30 (benchmarks/README.md).
_MEASURED = "20 such epochs and 2 at 256x256 gave a bbox mAP of 0.18, 11 epochs at 256x256, which take as long, 0.12"


def early_size(case: RuleInput, planned: int, enough: int) -> Ruling:
    """Return the detector's input size in the first epochs, None for the full one in all epochs.

    Args:
        case: with the choices up to ``repeat``.
        planned: iterations that fit into the time at the full size.
        enough: iterations without a time limit.
    """
    size, cost = case["input_size"], early_cost(case)
    limited = planned < enough and not case.states("epochs")
    whole = case["augmentation"] == "light" and case["repeat"] == 1 and at_random(case)
    long = planned >= _EPOCHS_LEAST * case.iterations_per_epoch()
    if case.stage == "pose" or not (limited and whole and long and min(size) >= _SIDE_LEAST and cost <= _COST_MOST):
        return Ruling(None, "one size for all epochs")
    half = tuple(STRIDE * -(-side // (2 * STRIDE)) for side in size)
    share = f"{cost:.2g} of the time ({'measured' if case.measured.early else 'assumed'})"
    return Ruling(
        half, f"half the input size until stage 2: an iteration takes {share}. From random weights, {_MEASURED}"
    )


def early_cost(case: RuleInput) -> float:
    """Return the time of an iteration at half the input size, relative to the full one."""
    seen = case.measured
    return max(_COST_LEAST, seen.early / seen.seconds) if seen.early and seen.seconds else _COST


def full_epochs(epochs: int) -> int:
    """Return how many of the epochs have the full input size, if the first ones have half of it."""
    return max(_FULL_LEAST, epochs // FULL_SHARE)


def full_epochs_ruling(case: RuleInput) -> Ruling:
    """Return the same with its reason."""
    why = f"the last third, at {as_text(case['input_size'])}; the others are at {as_text(case['early_size'])}"
    return Ruling(full_epochs(case["epochs"]), why, f"max({_FULL_LEAST}, max_epochs // {FULL_SHARE})")


def fitting_iterations(case: RuleInput, left: float, seconds: float, most: int) -> int:
    """Return how many iterations of both sizes, in whole epochs, fit into the time.

    Args:
        case: with the choices up to ``early_size``.
        left: seconds for training.
        seconds: of an iteration at the full size.
        most: iterations.
    """
    each = case.iterations_per_epoch()
    full, early = (each * seconds * cost + case.measured.epoch_start for cost in (1, early_cost(case)))

    def duration(epochs: int) -> float:
        late = full_epochs(epochs)
        return late * full + (epochs - late) * early

    return each * bisect_right(range(1, -(-most // each) + 1), left, key=duration)
