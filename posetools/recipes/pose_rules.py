"""The rules for what only the pose estimator has: rotation and mirroring of images, and the target of SimCC."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from posetools.recipes.recipe import RuleInput, Ruling
from posetools.recipes.stock import STOCK_BINS, codec_sigma

ROTATION, LIGHT_ROTATION = 30, 15
# The target of SimCC. Short runs have a wide one: from random weights, 10,900 cars in batches of 8 took RTMPose-t at
# 160x128 to an AP of 0.10 (AP50 0.37) with 1 bin per pixel and a width of 9 bins, to 0.00 with the stock 2 bins per
# pixel and a width of 4.5 or of 9 bins.
COARSE_BINS, COARSE_SIGMA = 1.0, 18
# If the median rotation between objects of similar shape is more than half of ROTATION, images are rotated by twice
# that. From ALL_ANGLES on all angles are used: random orientation gives 45 degrees.
ALL_ANGLES, ROTATION_STEP = 30, 5


def rotation(case: RuleInput) -> Ruling:
    """Return the largest rotation of an image, in degrees."""
    if case.skeleton.rotation is not None:
        return Ruling(case.skeleton.rotation, f"set in the skeleton {case.skeleton.name}", unit="degrees")
    usual = LIGHT_ROTATION if case["augmentation"] == "light" else ROTATION
    found = case.facts.orientation
    if found.spread is None:
        few = f"{found.objects} objects of similar shape are too few to measure their rotation"
        return Ruling(usual, few, unit="degrees")
    measured = f"objects of similar shape are rotated by {found.spread:.0f} degrees relative to each other"
    why = f"{measured} (median of {found.objects})"
    if found.spread >= ALL_ANGLES:
        return Ruling(180, f"{why}: all angles", unit="degrees")
    if found.spread > ROTATION / 2:
        angle = ROTATION_STEP * ceil(2 * found.spread / ROTATION_STEP)
        return Ruling(angle, f"{why}: twice that", unit="degrees")
    return Ruling(usual, f"{why}: they are upright", unit="degrees")


def flip(case: RuleInput) -> Ruling:
    """Return whether images are flipped."""
    skeleton = case.skeleton
    if skeleton.flip is not None:
        chosen = "on" if skeleton.flip else "off"
        return Ruling(chosen, f"the skeleton {skeleton.name} has `flip: {str(skeleton.flip).lower()}`")
    if skeleton.has_swaps:
        return Ruling("on", "the skeleton has swaps for mirrored images")
    return Ruling("off", "no left/right pairs are known, so a mirrored image would have wrong labels")


def simcc_split_ratio(case: RuleInput) -> Ruling:
    """Return the bins of SimCC per pixel of the input."""
    if _learns_coarsely(case):
        return Ruling(COARSE_BINS, "bins per pixel: stock has 2; fewer are learned sooner in a short run")
    return Ruling(STOCK_BINS, "bins per pixel, as in the stock recipes")


def sigma(case: RuleInput) -> Ruling:
    """Return the width of SimCC's target in bins, (x, y)."""
    size, bins = case["input_size"], case["simcc_split_ratio"]
    if not _learns_coarsely(case):
        return Ruling(codec_sigma(size), "sqrt(side / 8), as in the stock recipes")
    x, y = (round(side * bins / COARSE_SIGMA, 2) for side in size)
    return Ruling((x, y), f"side / {COARSE_SIGMA}: a wide target is learned sooner, which a short run needs")


def _learns_coarsely(case: RuleInput) -> bool:
    """Return whether a short run starts without a trained head."""
    return case["augmentation"] == "light" and case["load_from"] is None


# In this order: a rule may read earlier choices.
POSE_RULES: dict[str, Callable[[RuleInput], Ruling]] = {
    "rotation": rotation,
    "flip": flip,
    "simcc_split_ratio": simcc_split_ratio,
    "sigma": sigma,
}
