"""Share out the images of train and val into folds: the work behind ``posetools split --folds``.

Fold ``i`` has the images of part ``i`` in val and all others in train, so that every image is in one fold's val. A plan
never splits a group (posetools/core/groups.py). The groups with objects are shared out first, the largest first, each
to the fold with the fewest images; then the others. With strata each fold in turn exchanges groups with what is left
(posetools/datasets/stratify.py).

The folder of the folds is written next to its place and moved there as a whole. Images, train, val and test do not
change.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posetools import __version__
from posetools.core.folder import CONVERSION, FOLDS, ann_file, fold_split, folds_of
from posetools.core.geometry import Floats
from posetools.core.groups import groups_of
from posetools.core.record import SplitCounts
from posetools.datasets.pooled import PooledSplits, read_pooled, splitting, strata_of
from posetools.datasets.split import DEFAULT_SEED, SPLIT_BY_ADVICE, check_split_request, contents_of, members_of
from posetools.datasets.stratify import Strata, Stratify, balance
from posetools.errors import RequestError, must_be
from posetools.files.disk import is_empty, staged_folder, write_json, write_text


@dataclass(frozen=True, slots=True)
class FoldPlan:
    """The images of each fold.

    Attributes:
        folds: for each fold the indices of the images in its val; every image is in one of them.
        by: how they were grouped: ``image``, ``parent``, ``clip``, or the regular expression.
        groups: number of groups.
        reason: why, in words.
    """

    folds: tuple[frozenset[int], ...]
    by: str
    groups: int
    reason: str


@dataclass(frozen=True, slots=True)
class FoldsResult:
    """The folds that were written.

    Attributes:
        plan: the plan.
        counts: name of a fold's val split, as ``folds/1/val`` -> what is in it.
        renumbered: which ids are others than in train and val, which used the same ones.
        replaced: how many earlier folds were replaced.
        finished: whether an interrupted split was completed first.
    """

    plan: FoldPlan
    counts: Mapping[str, SplitCounts]
    renumbered: tuple[str, ...]
    replaced: int
    finished: bool


def write_folds(
    data_root: str | Path,
    folds: int,
    *,
    seed: int = DEFAULT_SEED,
    by: str | None = None,
    stratify: Stratify | None = None,
) -> FoldsResult:
    """Share out the images of train and val, and write a train and a val split of each fold, or nothing.

    Args:
        data_root: the data set's folder.
        folds: how many.
        seed: another seed gives other folds.
        by: how images are grouped.
        stratify: what to distribute evenly; None for images only.

    Raises:
        RequestError: there is no train or val, the folds are impossible, folds/ has other files, or another run is
            writing the data set.
        InputError: a file cannot be read, or is not a COCO file.
        OutputError: the files cannot be written; earlier folds are unchanged.
    """
    check_split_request(val=0, by=by)
    data_root = Path(data_root)
    with splitting(data_root) as (finished, _, shared):
        before = _replaceable(data_root)
        pooled = read_pooled(data_root, shared)
        strata = strata_of(pooled, stratify) if stratify else None
        plan = plan_folds(pooled.names, folds, seed=seed, by=by, strata=strata, objects=pooled.objects)
        options = {"folds": folds, "seed": seed, "split_by": by, "stratify": stratify}
        counts = _write(pooled, plan, options)
    return FoldsResult(plan, counts, pooled.renumbered, before, finished)


def plan_folds(
    names: Sequence[str],
    folds: int,
    *,
    seed: int = DEFAULT_SEED,
    by: str | None = None,
    strata: Strata | None = None,
    objects: Sequence[int] | None = None,
) -> FoldPlan:
    """Return the images of each fold.

    The plan depends only on the set of names, ``folds``, ``seed``, ``by`` and which images contain objects. Two folds
    differ by at most the size of the largest group; with ``strata`` they may differ by a second one.

    Args:
        names: the images' file names, with forward slashes.
        folds: how many, at least 2.
        seed: another seed gives other folds, unless the groups' sizes leave no choice.
        by: how images are grouped, as in ``groups_of``.
        strata: the contents of the images, to distribute evenly; in the order of ``names``.
        objects: number of objects in each image, in the order of ``names``; None if unknown.

    Raises:
        RequestError: ``folds`` is less than 2, or more than there are groups, or groups with objects.
    """
    if folds < 2:
        raise RequestError(must_be("--folds", "2 or more", folds), hint="--folds 5 is usual")
    grouping = groups_of(names, by, objects)
    groups = members_of(grouping.keys)
    if len(groups) < folds:
        rule = f"at most the number of groups ({len(groups)}, by {grouping.how})"
        raise RequestError(must_be("--folds", rule, folds), hint=SPLIT_BY_ADVICE if grouping.how != "image" else "")
    holders = {key for key, number in zip(grouping.keys, objects or (), strict=False) if number}
    if 0 < len(holders) < folds:
        rule = f"at most the number of groups with objects ({len(holders)}, by {grouping.how})"
        raise RequestError(must_be("--folds", rule, folds), hint="each fold needs objects to evaluate on")
    if strata is None:
        sides = _share_out({key: len(members) for key, members in groups.items()}, holders, folds, seed)
    else:
        sides = _share_evenly(contents_of(groups, strata), holders, folds, seed)
    reason = grouping.reason + (f", stratified by {strata.kind}" if strata else "")
    chosen = tuple(frozenset(index for key in side for index in groups[key]) for side in sides)
    return FoldPlan(chosen, grouping.how, len(groups), reason)


def _share_out(sizes: Mapping[str, int], holders: set[str], folds: int, seed: int) -> list[set[str]]:
    """Return the keys of each fold's groups."""
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda key: (key not in holders, -sizes[key]))
    sides: list[set[str]] = [set() for _ in range(folds)]
    smallest = [(0, fold) for fold in range(folds)]
    for key in order:
        taken, fold = smallest[0]
        sides[fold].add(key)
        heapq.heapreplace(smallest, (taken + sizes[key], fold))
    return sides


def _share_evenly(held: Mapping[str, Floats], holders: set[str], folds: int, seed: int) -> list[set[str]]:
    """Return the keys of each fold's groups, with strata as near to their share as exchanges allow.

    Args:
        held: key of a group -> (1 + S,) its number of images, and of each stratum.
        holders: the keys of the groups with objects.
        folds: how many.
        seed: of the order in which groups are tried.
    """
    sides, rest = [], dict(held)
    for left in range(folds, 1, -1):
        chosen = _share_out({key: int(counts[0]) for key, counts in rest.items()}, holders & rest.keys(), left, seed)[0]
        even = balance(chosen, rest, 1 / left, seed)
        enough = bool(even & holders) and len((holders & rest.keys()) - even) >= left - 1
        if len(rest) - len(even) >= left - 1 and (enough or not holders):
            chosen = even
        sides.append(chosen)
        rest = {key: counts for key, counts in rest.items() if key not in chosen}
    return [*sides, set(rest)]


def _replaceable(data_root: Path) -> int:
    """Return how many folds there are; refuse a folder that ``split --folds`` did not write."""
    folder = data_root / FOLDS
    if folder.is_dir() and not is_empty(folder) and not (folder / CONVERSION).is_file():
        problem = f"must be new, or what `posetools split --folds` wrote, but {CONVERSION} is missing"
        raise RequestError(f"{folder}: {problem}", hint="move it elsewhere")
    return len(folds_of(data_root))


def _write(pooled: PooledSplits, plan: FoldPlan, options: Mapping[str, Any]) -> dict[str, SplitCounts]:
    """Write the folder of the folds as a whole; return what is in the val of each."""
    counts = {}
    everything = frozenset(range(len(pooled.images)))
    with staged_folder(pooled.data_root / FOLDS, overwrite=True) as folder:
        for number, val in enumerate(plan.folds, start=1):
            write_text(ann_file(folder / str(number), "train"), pooled.part(everything - val, "train")[0])
            text, counts[fold_split(number, "val")] = pooled.part(val, "val")
            write_text(ann_file(folder / str(number), "val"), text)
        split = {"by": plan.by, "groups": plan.groups, "reason": plan.reason}
        write_json(folder / CONVERSION, {"posetools": __version__, "options": options, "split": split})
    return counts
