"""Choose images for training and validation: a seeded plan over file names.

A plan never splits a group (posetools/core/groups.py says what groups are).

Objects: if two or more groups contain objects, both sides get some. If a plan leaves one side without objects, one
group with objects goes there and others move away in return; every other plan is unchanged. If all objects are in one
clip and the user did not choose grouping by clip, the split is by image.

With strata the plan is random first; then groups are exchanged until validation has its share of every stratum as
nearly as the groups allow (posetools/datasets/stratify.py).
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from posetools.core.groups import clips_of, groups_of, is_clip
from posetools.core.originals import original_name
from posetools.datasets.stratify import Strata, balance
from posetools.errors import RequestError, must_be

DEFAULT_VAL = 0.1
DEFAULT_SEED = 0

# A warning names a clip split image by image if it has at least this share of the images.
_SHARE_TORN = 0.5
_ENOUGH_GROUPS = 10
_SPLIT_BY_ADVICE = "split by image with --split-by image, or group by a part of the file name with --split-by REGEX"


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """The images for validation.

    Attributes:
        val: indices of the validation images; all others are for training.
        by: how they were grouped: ``image``, ``parent``, ``clip``, or the regular expression.
        groups: number of groups.
        reason: why, in words.
        warnings: what may make metrics too high, in words.
    """

    val: frozenset[int]
    by: str
    groups: int
    reason: str
    warnings: tuple[str, ...] = ()


def plan_split(
    names: Sequence[str],
    *,
    val: float = DEFAULT_VAL,
    seed: int = DEFAULT_SEED,
    by: str | None = None,
    strata: Strata | None = None,
    objects: Sequence[int] | None = None,
) -> SplitPlan:
    """Return which images are for validation.

    The plan depends only on the set of names, ``val``, ``seed``, ``by`` and which images contain objects, not on the
    order of the names. The number of validation images differs from ``val * len(names)`` by at most the size of the
    largest group, and neither side is empty unless ``val`` is 0.

    Args:
        names: the images' file names, with forward slashes.
        val: the validation fraction, less than 1; with 0 all images are for training.
        seed: another seed gives another choice of groups.
        by: ``image``, ``parent``, a regular expression, or None to choose between clip and image.
        strata: the contents of the images, to distribute evenly; in the order of ``names``.
        objects: number of objects in each image, in the order of ``names``; None if unknown.

    Raises:
        RequestError: ``val`` is out of range, a name does not match, or there are fewer than two groups.
    """
    check_split_request(val=val, by=by)
    if val == 0:
        return SplitPlan(frozenset(), "none", 1, "all images are for training (--val 0)")
    grouping = groups_of(names, by, objects)
    keys, how, reason = grouping.keys, grouping.how, grouping.reason
    groups: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        groups[key].append(index)
    if len(groups) < 2:
        raise _too_few(names, by)
    sizes = {key: len(members) for key, members in groups.items()}
    chosen = _choose(sizes, val, seed)
    if strata is not None:
        held = {key: np.array([len(m), *strata.counts[m].sum(axis=0)]) for key, m in groups.items()}
        chosen = balance(chosen, held, val, seed)
        reason += f", stratified by {strata.kind}"
    holders = {key for key, number in zip(keys, objects or (), strict=False) if number}
    chosen = _share_objects(chosen, sizes, holders, val, seed)
    indices = frozenset(index for key in chosen for index in groups[key])
    if how != "image":
        reason += f"; {len(chosen)} of {len(groups)} groups, {len(indices)} of {len(names)} images are for validation"
    torn = _torn_clip([original_name(name) for name in names]) if by is None and how == "image" else ()
    return SplitPlan(val=indices, by=how, groups=len(groups), reason=reason, warnings=torn)


def check_split_request(*, val: float, by: str | None) -> None:
    """Refuse invalid options before names are known.

    Args:
        val: the validation fraction; 0 for none.
        by: how images are grouped.

    Raises:
        RequestError: ``val`` is out of range, or ``by`` is not a regular expression.
    """
    if not 0 <= val < 1:
        rule = "greater than 0 and less than 1, or 0 for none"
        raise RequestError(must_be("--val", rule, val), hint="pass the fraction of images for validation, such as 0.1")
    try:
        re.compile(by or "")
    except re.error as exc:
        rule = f"image, parent, or a regular expression ({exc})"
        raise RequestError(must_be("--split-by", rule, by)) from exc


def _torn_clip(names: Sequence[str]) -> tuple[str, ...]:
    """Return a warning if most of the names are frames of one clip that is split image by image."""
    keys, numbers = clips_of(names)
    clip = max(numbers, key=lambda key: len(numbers[key]), default="")
    if not clip or not is_clip(numbers[clip]) or len(numbers[clip]) < _SHARE_TORN * len(names):
        return ()
    frames = [name for key, name in zip(keys, names, strict=True) if key == clip]
    by_number = dict(zip(numbers[clip], frames, strict=True))
    how = _together(names)
    fix = f"--split-by '{how}' keeps neighbors together" if how else "validate on images of another clip"
    return (
        f"{by_number[min(by_number)]} to {by_number[max(by_number)]} ({len(frames)} images) are numbered like frames "
        "of one clip, and are split image by image: if they are frames of a video, neighbors are in train and val, "
        f"and AP is too high; {fix}",
    )


def _together(names: Sequence[str]) -> str:
    """Return the expression for the longest runs of frames that leave enough groups; empty if there is none."""
    for digits, fewest in ((3, _ENOUGH_GROUPS), (2, _ENOUGH_GROUPS), (1, 2)):
        expression = "(.*)" + r"\d" * digits + r"\D*$"
        found = [re.search(expression, name) for name in names]
        if len({match[1] for match in found if match}) >= fewest and None not in found:
            return expression
    return ""


def _choose(sizes: Mapping[str, int], val: float, seed: int) -> set[str]:
    """Return the keys of the validation groups: tried in random order, each taken if it brings the fraction nearer."""
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    total = sum(sizes.values())
    target, taken, chosen = val * total, 0, set()
    for key in order:
        if abs(taken + sizes[key] - target) < abs(taken - target):
            chosen.add(key)
            taken += sizes[key]
    smallest = min(order, key=lambda key: sizes[key])
    if not chosen:
        return {smallest}
    if len(chosen) == len(sizes):
        chosen.remove(smallest)
    return chosen


def _share_objects(chosen: set[str], sizes: Mapping[str, int], holders: set[str], val: float, seed: int) -> set[str]:
    """Return a choice with objects on both sides, if two groups contain some."""
    if len(holders) < 2 or 0 < len(holders & chosen) < len(holders):
        return chosen
    val_lacks = not holders & chosen
    side = chosen if val_lacks else set(sizes) - chosen
    target = (val if val_lacks else 1 - val) * sum(sizes.values())
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    taken = sum(sizes[key] for key in side)
    brought = min((key for key in order if key in holders), key=lambda key: abs(taken + sizes[key] - target))
    taken += sizes[brought]
    kept = {brought}
    for key in order:
        if key in side and abs(taken - sizes[key] - target) < abs(taken - target):
            taken -= sizes[key]
        elif key in side:
            kept.add(key)
    return kept if val_lacks else set(sizes) - kept


def _too_few(names: Sequence[str], by: str | None) -> RequestError:
    if len(names) < 2:
        return RequestError(
            f"a split needs at least 2 images, one for training and one for validation, got {len(names)}"
        )
    if len({original_name(name) for name in names}) == 1 < len(set(names)):
        return RequestError(
            f"a split needs images of at least 2 photos, but all {len(names)} are copies of one",
            hint="--val 0 puts all images into train, without val_coco.json",
        )
    what = "folder" if by == "parent" else f"group by {by!r}" if by not in (None, "image") else "name"
    return RequestError(
        f"a split needs at least 2 groups, but all {len(names)} images are of one {what}", hint=_SPLIT_BY_ADVICE
    )
