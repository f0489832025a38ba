"""Choose images for training, validation and testing: a seeded plan over file names.

A plan never splits a group (posetools/core/groups.py says what groups are). Test images are chosen first: another
validation fraction leaves them as they are, unless a side would lack objects.

Objects: if as many groups as sides contain objects, all sides get some. If a plan leaves a side without objects, one
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

from posetools.core.geometry import Floats
from posetools.core.groups import clips_of, groups_of, is_clip
from posetools.core.originals import original_name
from posetools.datasets.stratify import Strata, balance
from posetools.errors import RequestError, counted, must_be

DEFAULT_VAL = 0.1
DEFAULT_SEED = 0

# A warning names a clip split image by image if it has at least this share of the images.
_SHARE_TORN = 0.5
_ENOUGH_GROUPS = 10
SPLIT_BY_ADVICE = "split by image with --split-by image, or group by a part of the file name with --split-by REGEX"


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """The images for validation and testing.

    Attributes:
        val: indices of the validation images; all others that are not for testing are for training.
        by: how they were grouped: ``image``, ``parent``, ``clip``, or the regular expression.
        groups: number of groups.
        reason: why, in words.
        warnings: what may make metrics too high, in words.
        test: indices of the test images.
    """

    val: frozenset[int]
    by: str
    groups: int
    reason: str
    warnings: tuple[str, ...] = ()
    test: frozenset[int] = frozenset()


def plan_split(
    names: Sequence[str],
    *,
    val: float = DEFAULT_VAL,
    test: float = 0.0,
    seed: int = DEFAULT_SEED,
    by: str | None = None,
    strata: Strata | None = None,
    objects: Sequence[int] | None = None,
) -> SplitPlan:
    """Return which images are for validation, and which for testing.

    The plan depends only on the set of names, the fractions, ``seed``, ``by`` and which images contain objects, not on
    the order of the names. The number of validation images differs from ``val * len(names)`` by at most the size of
    the largest group, as does that of the test images, and no side is empty unless its fraction is 0.

    Args:
        names: the images' file names, with forward slashes.
        val: the validation fraction, less than 1; with 0 there is no validation image.
        test: the test fraction; ``val`` and ``test`` together are less than 1.
        seed: another seed gives another choice of groups.
        by: how images are grouped, as in ``groups_of``.
        strata: the contents of the images, to distribute evenly; in the order of ``names``.
        objects: number of objects in each image, in the order of ``names``; None if unknown.

    Raises:
        RequestError: a fraction is out of range, a name does not match, or there are fewer groups than sides.
    """
    check_split_request(val=val, test=test, by=by)
    if val == test == 0:
        return SplitPlan(frozenset(), "none", 1, "all images are for training (--val 0)")
    grouping = groups_of(names, by, objects)
    groups = members_of(grouping.keys)
    purposes = ["training", *(["validation"] if val else []), *(["testing"] if test else [])]
    if len(groups) < len(purposes):
        raise _too_few(names, by, len(groups), purposes)
    held = contents_of(groups, strata) if strata else None
    holders = {key for key, number in zip(grouping.keys, objects or (), strict=False) if number}
    sizes = {key: len(members) for key, members in groups.items()}
    sides = _sides(sizes, held, {"test": test, "val": val}, holders, seed)
    chosen = {side: frozenset(index for key in keys for index in groups[key]) for side, keys in sides.items()}
    reason = grouping.reason + (f", stratified by {strata.kind}" if strata else "")
    if grouping.how != "image":
        reason += "; " + ", and ".join(
            f"{len(sides[side])} of {len(groups)} groups, {len(chosen[side])} of {len(names)} images are for {purpose}"
            for side, purpose in (("val", "validation"), ("test", "testing"))
            if side in sides
        )
    torn = _torn_clip([original_name(name) for name in names]) if by is None and grouping.how == "image" else ()
    none: frozenset[int] = frozenset()
    return SplitPlan(chosen.get("val", none), grouping.how, len(groups), reason, torn, chosen.get("test", none))


def members_of(keys: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of each group's images, by the group's key."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        groups[key].append(index)
    return groups


def contents_of(groups: Mapping[str, list[int]], strata: Strata) -> dict[str, Floats]:
    """Return for each group (1 + S,) its number of images, and of each stratum."""
    return {key: np.array([len(m), *strata.counts[m].sum(axis=0)]) for key, m in groups.items()}


def check_split_request(*, val: float, test: float = 0.0, by: str | None) -> None:
    """Refuse invalid options before names are known.

    Args:
        val: the validation fraction; 0 for none.
        test: the test fraction; 0 for none.
        by: how images are grouped.

    Raises:
        RequestError: a fraction is out of range, or ``by`` is not a regular expression.
    """
    for option, share, purpose in (("--val", val, "validation"), ("--test", test, "testing")):
        if not 0 <= share < 1:
            rule = "greater than 0 and less than 1, or 0 for none"
            hint = f"pass the fraction of images for {purpose}, such as 0.1"
            raise RequestError(must_be(option, rule, share), hint=hint)
    if val + test >= 1:
        rule = f"less than {1 - val:g}, because val has {val:g} of the images and train needs some"
        raise RequestError(must_be("--test", rule, test))
    try:
        re.compile(by or "")
    except re.error as exc:
        rule = f"image, parent, or a regular expression ({exc})"
        raise RequestError(must_be("--split-by", rule, by)) from exc


def _sides(
    sizes: Mapping[str, int],
    held: Mapping[str, Floats] | None,
    shares: Mapping[str, float],
    holders: set[str],
    seed: int,
) -> dict[str, set[str]]:
    """Return the keys of the groups of each side with a share, chosen one side after the other.

    Args:
        sizes: key of a group -> its number of images.
        held: key of a group -> (1 + S,) its number of images, and of each stratum; None without strata.
        shares: side -> its fraction of the images; all other images are for training.
        holders: the keys of the groups with objects.
        seed: another seed gives another choice.
    """
    total, wanted = sum(sizes.values()), {side: share for side, share in shares.items() if share}
    rest, sides = dict(sizes), {}
    for number, (side, share) in enumerate(wanted.items(), start=1):
        left = 1 + len(wanted) - number
        chosen = _choose(rest, share * total, seed, left)
        if held:
            of_rest = share if len(rest) == len(sizes) else share * total / sum(rest.values())
            even = balance(chosen, {key: held[key] for key in rest}, of_rest, seed)
            chosen = even if len(rest) - len(even) >= left else chosen
        sides[side] = chosen
        rest = {key: size for key, size in rest.items() if key not in chosen}
    targets = {**{side: share * total for side, share in wanted.items()}, "train": (1 - sum(wanted.values())) * total}
    whole = _share_objects({**sides, "train": set(rest)}, targets, sizes, holders, seed)
    return {side: whole[side] for side in sides}


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


def _choose(sizes: Mapping[str, int], target: float, seed: int, left: int) -> set[str]:
    """Return the keys of one side's groups: tried in random order, each taken if it brings the number nearer.

    Args:
        sizes: key of a group -> its number of images.
        target: how many images the side should have.
        seed: of the order.
        left: how many groups must be left.
    """
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    taken, chosen = 0, []
    for key in order:
        if abs(taken + sizes[key] - target) < abs(taken - target):
            chosen.append(key)
            taken += sizes[key]
    if not chosen:
        return {min(order, key=lambda key: sizes[key])}
    while len(sizes) - len(chosen) < left:
        chosen.remove(min(chosen, key=lambda key: sizes[key]))
    return set(chosen)


def _share_objects(
    sides: Mapping[str, set[str]], targets: Mapping[str, float], sizes: Mapping[str, int], holders: set[str], seed: int
) -> dict[str, set[str]]:
    """Return sides that all have objects, if enough groups contain some."""
    shared = dict(sides)
    for side in sides:
        donor = max(sides, key=lambda name: len(shared[name] & holders))
        if shared[side] & holders or len(shared[donor] & holders) < 2:
            continue
        both = shared[side] | shared[donor]
        pool = {key: sizes[key] for key in both}
        shared[side] = _with_objects(shared[side], targets[side], pool, holders & both, seed)
        shared[donor] = both - shared[side]
    return shared


def _with_objects(side: set[str], target: float, sizes: Mapping[str, int], holders: set[str], seed: int) -> set[str]:
    """Return a side with one group with objects, and without others that it then has too many of."""
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
    return kept


def _too_few(names: Sequence[str], by: str | None, groups: int, purposes: Sequence[str]) -> RequestError:
    least = len(purposes)
    if len(names) < least:
        *others, last = (f"one for {purpose}" for purpose in purposes)
        parts = f"{', '.join(others)} and {last}"
        return RequestError(f"a split needs at least {least} images, {parts}, got {len(names)}")
    if len({original_name(name) for name in names}) == 1 < len(set(names)):
        return RequestError(
            f"a split needs images of at least {least} photos, but all {len(names)} are copies of one",
            hint="--val 0 puts all images into train, without val_coco.json",
        )
    what = "folder" if by == "parent" else f"group by {by!r}" if by not in (None, "image") else "name"
    got = f"are of one {what}" if groups == 1 else f"are {counted(groups, 'group')}"
    return RequestError(
        f"a split needs at least {least} groups, but all {len(names)} images {got}", hint=SPLIT_BY_ADVICE
    )
