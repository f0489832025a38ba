"""Split an existing data set again: the work behind ``posetools split``.

Unknown keys, the order of images and annotations, and ids of the COCO files are kept. Only ids used in both files are
renumbered, because they could end up in one file. Images are not moved. Splits other than train and val (a test set)
are left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from posetools.core.coco_document import HINT, CocoDocument, read_document
from posetools.core.folder import CONVERSION, SPLITS, ann_file, splits_of
from posetools.core.geometry import SIZE_CLASSES
from posetools.core.journal import finish, write_together
from posetools.core.record import SplitCounts, count_annotations
from posetools.datasets.split import DEFAULT_SEED, DEFAULT_VAL, SplitPlan, plan_split
from posetools.datasets.stratify import Strata, Stratify
from posetools.errors import InputError, RequestError, must_be, show_value
from posetools.files.disk import dump_json, read_json
from posetools.files.locks import only_one_in


@dataclass(frozen=True, slots=True)
class ResplitResult:
    """The result of a new split.

    Attributes:
        plan: the new plan.
        counts: the new contents of train and val.
        renumbered: which ids were renumbered: of ``images``, of ``annotations``, of both, or none.
        untouched: the splits that were left alone.
        strata: stratum -> how many are in train and val together, and in val; empty if not stratified.
        finished: whether an interrupted split was completed first.
    """

    plan: SplitPlan
    counts: Mapping[str, SplitCounts]
    renumbered: tuple[str, ...]
    untouched: tuple[str, ...]
    strata: Mapping[str, tuple[int, int]]
    finished: bool = False


def resplit(
    data_root: str | Path,
    *,
    val: float = DEFAULT_VAL,
    seed: int = DEFAULT_SEED,
    by: str | None = None,
    stratify: Stratify | None = None,
) -> ResplitResult:
    """Split the images of train and val again and write both files or neither; with ``val`` 0 train alone.

    Args:
        data_root: the data set's folder.
        val: the validation fraction, as in ``plan_split``.
        seed: another seed gives another split.
        by: how images are grouped.
        stratify: what to distribute evenly; None for images only.

    Raises:
        RequestError: there is no train or val, the split is impossible, or another run is writing the data set.
        InputError: a file cannot be read, or is not a COCO file.
        OutputError: the files cannot be written; they are unchanged.
    """
    data_root = Path(data_root)
    if not data_root.is_dir():
        splits_of(data_root)
    with only_one_in(data_root):
        return _resplit(data_root, val=val, seed=seed, by=by, stratify=stratify)


def _resplit(data_root: Path, *, val: float, seed: int, by: str | None, stratify: Stratify | None) -> ResplitResult:
    finished = finish(data_root)
    splits = splits_of(data_root)
    documents = {split: _read(ann_file(data_root, split)) for split in splits if split in SPLITS}
    if not documents:
        raise RequestError(f"{data_root}: must have a train_coco.json or a val_coco.json, got {', '.join(splits)}")
    first, *others = documents.values()
    for other in others:
        if first.content.get("categories") != other.content.get("categories"):
            got = show_value(other.content.get("categories"))
            problem = f"categories must be those of {first.path.name}, got {got}"
            raise InputError(other.path, "categories", problem, hint=HINT)
    images, annotations, renumbered = _merge(list(documents.values()))
    strata = _strata(data_root, stratify, images, annotations, first) if stratify else None
    held = Counter(annotation["image_id"] for annotation in annotations)
    objects = [held[image["id"]] for image in images]
    names = [image["file_name"] for image in images]
    plan = plan_split(names, val=val, seed=seed, by=by, strata=strata, objects=objects)
    _check_both_sides(data_root, plan, objects)
    side_of = {image["id"]: "val" if index in plan.val else "train" for index, image in enumerate(images)}
    texts: dict[str, str | None] = {}
    counts = {}
    for split in SPLITS:
        if split == "val" and not plan.val:
            texts[ann_file(data_root, split).name] = None
            continue
        mine = [image for image in images if side_of[image["id"]] == split]
        theirs = [annotation for annotation in annotations if side_of[annotation["image_id"]] == split]
        content = {**documents.get(split, first).content, "images": mine, "annotations": theirs}
        texts[ann_file(data_root, split).name] = _dump(data_root, content)
        counts[split] = count_annotations(len(mine), _by_category(first, theirs))
    record = data_root / CONVERSION
    if record.is_file():
        texts[CONVERSION] = dump_json(_updated_record(record, plan, counts, val=val, seed=seed, stratify=stratify))
    write_together(data_root, texts)
    untouched = tuple(split for split in splits if split not in SPLITS)
    shares = _shares(strata, plan) if strata else {}
    return ResplitResult(plan, counts, renumbered, untouched, shares, finished)


def _check_both_sides(data_root: Path, plan: SplitPlan, objects: Sequence[int]) -> None:
    """Refuse a plan that leaves a split without objects, on which training or evaluation would fail."""
    if not plan.val:
        return
    in_val = sum(objects[index] for index in plan.val)
    if sum(objects) and in_val in (0, sum(objects)):
        side = "train" if in_val else "val"
        holders = sum(map(bool, objects))
        hint = "label a second image with objects" if holders < 2 else "try another --seed, --val or --split-by"
        raise RequestError(f"{data_root}: objects must be in both splits, got none in {side}", hint=hint)


def _read(path: Path) -> CocoDocument:
    document = read_document(path)
    if not isinstance(document.content, dict):
        raise InputError(path, "", must_be("a COCO file", "an object", document.content), hint=HINT)
    images, annotations = document.objects("images"), document.objects("annotations")
    for i, image in enumerate(images):
        if not isinstance(image.get("file_name"), str):
            problem = must_be("file_name", "a text", image.get("file_name"))
            raise InputError(path, f"images[{i}]", problem, hint=HINT)
    ids = _unique_ids(path, images, "images")
    _unique_ids(path, annotations, "annotations")
    names = _keypoint_names(document)
    for i, annotation in enumerate(annotations):
        place = f"annotations[{i}] (id {annotation['id']})"
        if annotation.get("image_id") not in ids:
            problem = must_be("image_id", "the id of an image in this file", annotation.get("image_id"))
            raise InputError(path, place, problem, hint=HINT)
        _check_keypoints(path, place, annotation.get("keypoints"), 3 * len(names[_category(names, annotation)]))
    return document


def _unique_ids(path: Path, entries: Sequence[Mapping[str, Any]], key: str) -> set[int | str]:
    seen: set[int | str] = set()
    for i, entry in enumerate(entries):
        number = entry.get("id")
        if not isinstance(number, int | str):
            raise InputError(path, f"{key}[{i}]", must_be("id", "a whole number", number), hint=HINT)
        if number in seen:
            raise InputError(path, f"{key}[{i}]", must_be("id", "unique in this file", number), hint=HINT)
        seen.add(number)
    return seen


def _check_keypoints(path: Path, place: str, keypoints: object, numbers: int) -> None:
    if keypoints is None:
        return
    if not isinstance(keypoints, list) or not all(isinstance(number, int | float) for number in keypoints):
        raise InputError(path, place, must_be("keypoints", "a list of numbers", keypoints), hint=HINT)
    if numbers and len(keypoints) not in (0, numbers):
        problem = must_be("keypoints", f"{numbers} numbers, as the category says", len(keypoints))
        raise InputError(path, place, problem, hint=HINT)


def _keypoint_names(document: CocoDocument) -> dict[Any, tuple[str, ...]]:
    """Return category id -> the names of its keypoints, categories with keypoints first."""
    found = ((entry.get("id"), entry.get("keypoints")) for entry in _categories(document))
    named = {number: tuple(map(str, points)) if isinstance(points, list) else () for number, points in found}
    return dict(sorted(named.items(), key=lambda each: not each[1])) or {None: ()}


def _category_names(document: CocoDocument) -> dict[Any, str]:
    return {entry.get("id"): str(entry.get("name")) for entry in _categories(document)}


def _categories(document: CocoDocument) -> list[dict[str, Any]]:
    entries = (entry for entry in document.entries("categories") if isinstance(entry, dict))
    return [entry for entry in entries if isinstance(entry.get("id"), int | str | None)]


def _category(names: Mapping[Any, tuple[str, ...]], annotation: Mapping[str, Any]) -> Any:
    """Return the category of an annotation, an id in ``names``: the first one if it has an unknown one, or none."""
    number = annotation.get("category_id")
    return number if isinstance(number, int | str) and number in names else next(iter(names))


def _by_category(
    document: CocoDocument, annotations: Sequence[dict[str, Any]]
) -> list[tuple[str, tuple[str, ...], list[dict[str, Any]]]]:
    """Return the name, the keypoints and the annotations of each category."""
    names, called = _keypoint_names(document), _category_names(document)
    of: dict[Any, list[dict[str, Any]]] = {number: [] for number in names}
    for annotation in annotations:
        of[_category(names, annotation)].append(annotation)
    return [(called.get(number, ""), names[number], of[number]) for number in called or names]


def _merge(documents: Sequence[CocoDocument]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], tuple[str, ...]]:
    """Return all images, all annotations, and which of the two were renumbered because of ids in both files."""
    renumbered = []
    images = [(number, image) for number, document in enumerate(documents) for image in document.entries("images")]
    annotations = [
        (number, entry) for number, document in enumerate(documents) for entry in document.entries("annotations")
    ]
    new_id = {(number, image["id"]): image["id"] for number, image in images}
    if _clash(images):
        renumbered.append("images")
        new_id = {(number, image["id"]): i for i, (number, image) in enumerate(images, start=1)}
    all_images = [{**image, "id": new_id[number, image["id"]]} for number, image in images]
    moved = [{**entry, "image_id": new_id[number, entry["image_id"]]} for number, entry in annotations]
    if _clash(annotations):
        renumbered.append("annotations")
        moved = [{**entry, "id": i} for i, entry in enumerate(moved, start=1)]
    return all_images, moved, tuple(renumbered)


def _clash(entries: Sequence[tuple[int, Mapping[str, Any]]]) -> bool:
    return max(Counter(entry["id"] for _, entry in entries).values(), default=0) > 1


def _dump(data_root: Path, content: Mapping[str, Any]) -> str:
    try:
        return dump_json(content)
    except ValueError as exc:
        raise InputError(data_root, "", "numbers must be finite, got NaN or infinity", hint=HINT) from exc


def _strata(
    data_root: Path,
    stratify: Stratify,
    images: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    document: CocoDocument,
) -> Strata:
    """Return the contents of each image: objects of each size or category, or points of each visibility; or none."""
    names = _keypoint_names(document)
    categories = _category_names(document)
    if stratify == "visibility" and not any(names.values()):
        raise RequestError(f"{data_root}: --stratify visibility requires keypoints in the category, got none")
    labels, held = {
        "size": ([f"{each} objects" for each in SIZE_CLASSES], partial(_sizes, data_root)),
        "visibility": (
            ["unlabeled points", "occluded points", "visible points"],
            partial(_visibilities, data_root, names),
        ),
        "category": ([f"{name} objects" for name in categories.values()], partial(_in_category, data_root, categories)),
    }[stratify]
    row_of = {image["id"]: row for row, image in enumerate(images)}
    counts = np.zeros((len(images), len(labels) + 1))
    for entry in annotations:
        counts[row_of[entry["image_id"]], :-1] += held(entry)
    counts[:, -1] = counts[:, :-1].sum(axis=1) == 0
    return Strata(stratify, (*labels, "images without objects"), counts)


def _in_category(data_root: Path, categories: Mapping[Any, str], entry: Mapping[str, Any]) -> list[int]:
    category = entry.get("category_id")
    if category not in list(categories):
        problem = must_be("category_id", "the id of an entry in categories for --stratify category", category)
        raise InputError(data_root, f"annotation {entry['id']}", problem, hint=HINT)
    return [int(number == category) for number in categories]


def _sizes(data_root: Path, entry: Mapping[str, Any]) -> list[int]:
    area = entry.get("area")
    if not isinstance(area, int | float) or isinstance(area, bool) or not 0 < area < float("inf"):
        problem = must_be("area", "a number of square pixels for --stratify size", area)
        raise InputError(data_root, f"annotation {entry['id']}", problem, hint="`posetools validate --fix` fixes areas")
    return [int(low <= area < high) for low, high in SIZE_CLASSES.values()]


def _visibilities(data_root: Path, names: Mapping[Any, tuple[str, ...]], entry: Mapping[str, Any]) -> list[int]:
    seen = (entry.get("keypoints") or [0] * (3 * len(names[_category(names, entry)])))[2::3]
    numbers = [seen.count(value) for value in range(3)]
    if sum(numbers) != len(seen):
        problem = must_be("visibility", "0, 1 or 2 for --stratify visibility", seen)
        raise InputError(data_root, f"annotation {entry['id']}", problem, hint=HINT)
    return numbers


def _shares(strata: Strata, plan: SplitPlan) -> dict[str, tuple[int, int]]:
    total, in_val = strata.counts.sum(axis=0), strata.counts[sorted(plan.val)].sum(axis=0)
    return {label: (int(total[i]), int(in_val[i])) for i, label in enumerate(strata.labels) if total[i]}


def _updated_record(
    path: Path,
    plan: SplitPlan,
    counts: Mapping[str, SplitCounts],
    *,
    val: float,
    seed: int,
    stratify: Stratify | None,
) -> dict[str, Any]:
    record = read_json(path)
    if not isinstance(record, dict):
        raise InputError(path, "", must_be("conversion.json", "an object, as convert writes it", record))
    before = record.get("splits")
    new = {split: each.as_dict() for split, each in counts.items()}
    kept = before if isinstance(before, dict) else {}
    kept = {split: each for split, each in kept.items() if split not in SPLITS or split in new}
    split = {"by": plan.by, "val": val, "seed": seed, "groups": plan.groups, "reason": plan.reason}
    if stratify:
        split["stratify"] = stratify
    return {**record, "splits": {**kept, **new}, "split": split}
