"""Split an existing data set again: the work behind ``posetools split``.

Unknown keys, the order of images and annotations, and ids of the COCO files are kept. Only ids used in two files are
renumbered, because they could end up in one file. Images are not moved. Splits other than train and val are left alone:
a test set that the data set was made with never gets into training. Only a test split that ``--test`` made is split
again with ``--test``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posetools.core.folder import CONVERSION, FOLDS, SPLITS, TEST, ann_file, folds_command, recorded
from posetools.core.journal import write_together
from posetools.core.record import SplitCounts
from posetools.datasets.pooled import PooledSplits, read_pooled, splitting, strata_of
from posetools.datasets.split import DEFAULT_SEED, DEFAULT_VAL, SplitPlan, plan_split
from posetools.datasets.stratify import Strata, Stratify
from posetools.errors import InputError, RequestError, must_be
from posetools.files.disk import dump_json, read_json, remove_folder


@dataclass(frozen=True, slots=True)
class ResplitResult:
    """The result of a new split.

    Attributes:
        plan: the new plan.
        counts: the new contents of train, val and test, without a test split that was left alone.
        renumbered: which ids were renumbered: of ``images``, of ``annotations``, of both, or none.
        untouched: the splits that were left alone.
        strata: stratum -> how many are in all splits together, in val and, with a test fraction, in test; empty if not
            stratified.
        finished: whether an interrupted split was completed first.
        folds: the command that writes folds again, if they were removed because train and val have other images now.
    """

    plan: SplitPlan
    counts: Mapping[str, SplitCounts]
    renumbered: tuple[str, ...]
    untouched: tuple[str, ...]
    strata: Mapping[str, tuple[int, ...]]
    finished: bool = False
    folds: str = ""


def resplit(
    data_root: str | Path,
    *,
    val: float = DEFAULT_VAL,
    test: float = 0.0,
    seed: int = DEFAULT_SEED,
    by: str | None = None,
    stratify: Stratify | None = None,
) -> ResplitResult:
    """Split the images of train and val again and write all files or none; with ``val`` 0 without val.

    Args:
        data_root: the data set's folder.
        val: the validation fraction, as in ``plan_split``.
        test: the test fraction; 0 leaves an existing test split alone.
        seed: another seed gives another split.
        by: how images are grouped.
        stratify: what to distribute evenly; None for images only.

    Raises:
        RequestError: there is no train or val, the split is impossible, the data set was made with a test split, or
            another run is writing the data set.
        InputError: a file cannot be read, or is not a COCO file.
        OutputError: the files cannot be written; they are unchanged.
    """
    data_root = Path(data_root)
    with splitting(data_root) as (finished, splits, shared):
        pooled = read_pooled(data_root, [*shared, *_test_again(data_root, splits, test=test)])
        strata = strata_of(pooled, stratify) if stratify else None
        names, objects = pooled.names, pooled.objects
        plan = plan_split(names, val=val, test=test, seed=seed, by=by, strata=strata, objects=objects)
        _check_all_sides(data_root, plan, objects)
        counts = _write(pooled, plan, {"val": val, "test": test, "seed": seed, "stratify": stratify})
        folds = _without_folds(pooled, plan)
    untouched = tuple(split for split in splits if split not in (*SPLITS, *counts))
    shares = _shares(strata, plan) if strata else {}
    return ResplitResult(plan, counts, pooled.renumbered, untouched, shares, finished, folds)


def _test_again(data_root: Path, splits: Sequence[str], *, test: float) -> list[str]:
    """Return the test split if it is split again, too."""
    if not test or TEST not in splits:
        return []
    if not _made_test(data_root):
        problem = "--test cannot be used: the data set was made with this test split, which must not get into training"
        raise RequestError(f"{ann_file(data_root, TEST)}: {problem}", hint="leave out --test to keep the test split")
    return [TEST]


def _made_test(data_root: Path) -> float | None:
    """Return the fraction of the test split that ``--test`` made; None for one that the data set was made with."""
    test = recorded(data_root, "split").get("test")
    return test if isinstance(test, float) else None


def _check_all_sides(data_root: Path, plan: SplitPlan, objects: Sequence[int]) -> None:
    """Refuse a plan that leaves a split without objects, on which training or evaluation would fail."""
    sides = _sides(plan, len(objects))
    lacking = [side for side, chosen in sides.items() if not any(objects[index] for index in chosen)]
    if sum(objects) and lacking:
        few = sum(map(bool, objects)) < len(sides)
        more = "a second image" if len(sides) == 2 else "more images"
        hint = f"label {more} with objects" if few else "try another --seed, --val or --split-by"
        rule = "in both splits" if len(sides) == 2 else "in all splits"
        raise RequestError(f"{data_root}: objects must be {rule}, got none in {lacking[0]}", hint=hint)


def _sides(plan: SplitPlan, images: int) -> dict[str, frozenset[int]]:
    """Return the images of each split, without empty ones."""
    train = frozenset(range(images)) - plan.val - plan.test
    return {
        side: each for side, each in (("train", train), ("val", plan.val), (TEST, plan.test)) if each or side == "train"
    }


def _write(pooled: PooledSplits, plan: SplitPlan, options: Mapping[str, Any]) -> dict[str, SplitCounts]:
    """Write the files of all splits, and the record; return what is in each split."""
    root, counts = pooled.data_root, {}
    texts: dict[str, str | None] = {ann_file(root, split).name: None for split in SPLITS}
    for split, chosen in _sides(plan, len(pooled.images)).items():
        texts[ann_file(root, split).name], counts[split] = pooled.part(chosen, split)
    if (root / CONVERSION).is_file():
        texts[CONVERSION] = dump_json(_updated_record(root, plan, counts, options))
    write_together(root, texts)
    return counts


def _without_folds(pooled: PooledSplits, plan: SplitPlan) -> str:
    """Remove the folds if images moved from train and val to test, or back; return the command that renews them."""
    root = pooled.data_root
    before = sum(len(pooled.documents[split].entries("images")) for split in SPLITS if split in pooled.documents)
    moved = plan.test != frozenset(range(before, len(pooled.images)))
    if not moved or not (root / FOLDS / CONVERSION).is_file():
        return ""
    command = folds_command(root)
    remove_folder(root / FOLDS)
    return command


def _shares(strata: Strata, plan: SplitPlan) -> dict[str, tuple[int, ...]]:
    parts = [strata.counts, strata.counts[sorted(plan.val)], *([strata.counts[sorted(plan.test)]] if plan.test else [])]
    sums = [part.sum(axis=0) for part in parts]
    return {label: tuple(int(each[i]) for each in sums) for i, label in enumerate(strata.labels) if sums[0][i]}


def _updated_record(
    root: Path, plan: SplitPlan, counts: Mapping[str, SplitCounts], options: Mapping[str, Any]
) -> dict[str, Any]:
    path = root / CONVERSION
    record = read_json(path)
    if not isinstance(record, dict):
        raise InputError(path, "", must_be("conversion.json", "an object, as convert writes it", record))
    before = record.get("splits")
    new = {split: each.as_dict() for split, each in counts.items()}
    kept = before if isinstance(before, dict) else {}
    kept = {split: each for split, each in kept.items() if split not in SPLITS or split in new}
    split = {"by": plan.by, "val": options["val"], "seed": options["seed"]}
    split |= {"groups": plan.groups, "reason": plan.reason}
    if test := options["test"] or (TEST in kept and _made_test(root)):
        split["test"] = test
    if options["stratify"]:
        split["stratify"] = options["stratify"]
    return {**record, "splits": {**kept, **new}, "split": split}
