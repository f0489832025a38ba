"""Create a subset of a data set: the work behind ``posetools subset``.

Images are chosen: an image that meets all conditions is kept with all its objects, so that no labeled object of a kept
image becomes background in training. ``objects`` is the opt-in exception: it drops the objects of kept images that do
not meet the conditions on size and findings.

- size: at least one object of the image is in the range. A size in pixels is the longer side of the box; small,
  medium and large are COCO's classes of ``area``: below 32 x 32, below 96 x 96, and larger.
- finding: ``validate`` reports this code on the image or one of its objects; without_finding is the opposite.
- names: a file with one name per line, relative to ``images/``, or a pattern such as ``night/*``.
- limit: a random sample of the images that meet all other conditions, each split with its share, at least one each.

An unreadable entry is an error only if it affects a kept image.

Categories and keypoints are then renamed, merged, dropped and reordered (posetools/datasets/edit.py). Conditions on
objects are for objects of the kept categories; images stay when their objects go, as images of the background.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from posetools.checks.validate import validate
from posetools.core.categories import Categories
from posetools.core.dataset import Dataset
from posetools.core.findings import Finding, Severity, rule_of, sort_findings
from posetools.core.folder import ann_file, categories_of, check_out
from posetools.core.geometry import SIZE_CLASSES, Bools, SizeClass
from posetools.datasets.derived import read_set, refuse_errors, write_set
from posetools.datasets.edit import EditedCategories, edited_categories
from posetools.datasets.shown import Finder, LabeledImage, Mark, labeled, mark_images
from posetools.errors import RequestError, counted, first_names, must_be, quoted
from posetools.files.disk import Transfer, read_text
from posetools.progress import Progress, silent

_LISTED_NAMES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsetRequest:
    """What to keep.

    Attributes:
        data: the data set folder.
        out: the folder to write.
        splits: these splits only; none for all.
        findings: only images with a finding of one of these codes.
        without: only images without a finding of any of these codes.
        names: a file with names, or a pattern; None for all.
        min_size: least longer side of an object's box, in pixels.
        max_size: largest longer side of an object's box, in pixels.
        size_class: objects of this COCO size class: a key of SIZE_CLASSES.
        limit: at most so many images.
        seed: of the random sample if there are more.
        objects: also drop objects that do not meet the conditions on size and findings.
        skeleton: a built-in name or a file; None for the data set's own.
        renamed: old -> new names of categories and keypoints, as in ``edited_categories``.
        keypoints: the keypoints to keep, in the new order, by their new names; None for all.
        categories: the categories to keep, in the new order, by their new names; None for all.
        images: how images get into ``out``.
        overwrite: replace the data set in ``out``.
    """

    data: Path
    out: Path
    splits: tuple[str, ...] = ()
    findings: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    names: str | None = None
    min_size: float | None = None
    max_size: float | None = None
    size_class: SizeClass | None = None
    limit: int | None = None
    seed: int = 0
    objects: bool = False
    skeleton: str | Path | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    keypoints: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    images: Transfer = "copy"
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class SubsetResult:
    """The result of a subset.

    Attributes:
        datasets: split -> what was written; without empty splits.
        before: split -> (images, objects) of the data set.
        findings: warnings on the data set.
        notes: further remarks.
    """

    datasets: Mapping[str, Dataset]
    before: Mapping[str, tuple[int, int]]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True)
class _KeptRows:
    """The kept images of one split, and which objects meet the conditions (N,)."""

    images: list[int]
    objects: Bools


def subset(request: SubsetRequest, progress: Progress = silent) -> SubsetResult:
    """Write the requested subset of a data set.

    Raises:
        RequestError: the request is impossible: an unknown split, code or name, nothing left, an ``out`` that is not
            empty.
        InputError: something in a kept image cannot be read.
        OutputError: ``out`` cannot be written; it is unchanged.
    """
    _check(request)
    categories = categories_of(request.data, request.skeleton)
    edit = _edit(request, categories)
    read = read_set(request.data, categories)
    for split in request.splits:
        if split not in read.splits:
            raise RequestError(must_be("--split", f"one of {', '.join(read.splits)}", split))
    splits = {split: each for split, each in read.splits.items() if not request.splits or split in request.splits}
    wanted = _wanted_names(request, splits)
    ours = list(edit.sources if edit else categories)
    marks, notes = _marks(request, splits, ours, progress)
    chosen = {split: _choose(request, split, each, wanted, marks, ours) for split, each in splits.items()}
    if request.limit is not None:
        chosen = _limited(chosen, request.limit, request.seed)
    if not any(each.images for each in chosen.values()):
        raise RequestError(f"{request.data}: no image meets all conditions; nothing was written")
    findings = _of_kept(request, read.findings, splits, chosen)
    datasets = {}
    for split, each in splits.items():
        if not chosen[split].images:
            notes.append(f"{split}: no image left, so no {ann_file(request.out, split).name}")
            continue
        part = _without_objects(each, chosen[split].objects) if request.objects else each
        datasets[split] = part.select_images(chosen[split].images)
    if edit:
        datasets = _edited(edit, datasets, notes)
    notes += [f"{split}: not requested" for split in read.splits if split not in splits]
    result = SubsetResult(
        datasets=datasets,
        before={split: (len(each.images), len(each)) for split, each in read.splits.items()},
        findings=sort_findings(findings),
        notes=tuple(notes),
    )
    _write(request, result)
    return result


def _check(request: SubsetRequest) -> None:
    for option, codes in (("--finding", request.findings), ("--without-finding", request.without)):
        for code in sorted(codes):
            if rule_of(code) is None:
                rule = "a code of an installed check" if "/" in code else "a code of posetools"
                raise RequestError(must_be(option, rule, code), hint="see docs/findings.md for all codes")
    if both := sorted(request.findings & request.without):
        raise RequestError(must_be("--without-finding", "other codes than --finding", both[0]))
    if request.size_class is not None and request.size_class not in SIZE_CLASSES:
        raise RequestError(must_be("--size", f"one of {', '.join(SIZE_CLASSES)}", request.size_class))
    low, high = request.min_size, request.max_size
    if low is not None and high is not None and low > high:
        raise RequestError(must_be("--min-size", f"at most --max-size ({high:g})", low))
    if request.limit is not None and request.limit < 1:
        raise RequestError(must_be("--limit", "1 or more", request.limit))
    if request.objects and not (_asks_size(request) or request.findings or request.without):
        raise RequestError("--objects requires a condition on size or findings, got none")
    check_out(request.out, [request.data], overwrite=request.overwrite)


def _edit(request: SubsetRequest, categories: Categories) -> EditedCategories | None:
    if not request.renamed and request.keypoints is None and request.categories is None:
        return None
    wanted = {"keypoints": request.keypoints, "chosen": request.categories}
    return edited_categories(categories, names=request.renamed, **wanted)


def _edited(edit: EditedCategories, datasets: Mapping[str, Dataset], notes: list[str]) -> dict[str, Dataset]:
    """Return the Datasets after the edit; ``notes`` gets what else changed."""
    edited = {split: edit.apply(each) for split, each in datasets.items()}
    notes += edit.notes
    before, after = (
        sum(int((each.num_labeled[np.isin(each.category_ids, ids)] > 0).sum()) for each in parts.values())
        for parts, ids in ((datasets, list(edit.sources)), (edited, list(edit.categories)))
    )
    if after < before:
        notes.append(f"{counted(before - after, 'object')} without a labeled keypoint now, kept with the box")
    return edited


def _asks_size(request: SubsetRequest) -> bool:
    return (request.min_size, request.max_size, request.size_class) != (None, None, None)


def _wanted_names(request: SubsetRequest, splits: Mapping[str, Dataset]) -> frozenset[str] | None:
    if request.names is None:
        return None
    known = [image.file_name for each in splits.values() for image in each.images]
    if not Path(request.names).is_file():
        fitting = frozenset(name for name in known if fnmatchcase(name, request.names))
        if not fitting:
            rule = f"a file with names, or a pattern that matches an image of {request.data}"
            more = "names are relative to images/, folders included; * matches any characters"
            raise RequestError(must_be("--names", rule, request.names), more)
        return fitting
    listed = [line.strip() for line in read_text(Path(request.names)).splitlines()]
    wanted = frozenset(line for line in listed if line)
    unknown = sorted(wanted - set(known))
    if unknown or not wanted:
        shown = first_names(unknown, _LISTED_NAMES)
        problem = f"{len(unknown)} are not: {shown}" if unknown else "it is empty"
        rule = f"the names of images of {request.data}, one per line, relative to images/"
        raise RequestError(f"{request.names}: must contain {rule}, but {problem}")
    return wanted


def _images(data: Path, splits: Mapping[str, Dataset]) -> tuple[list[LabeledImage], list[tuple[str, int]]]:
    """Return the images of all splits, and the split and index of each."""
    images: list[LabeledImage] = []
    keys: list[tuple[str, int]] = []
    for split, dataset in splits.items():
        images += labeled(dataset, str(ann_file(data, split)))
        keys += [(split, index) for index in range(len(dataset.images))]
    return images, keys


def _marks(
    request: SubsetRequest, splits: Mapping[str, Dataset], ours: Sequence[int], progress: Progress
) -> tuple[dict[str, dict[tuple[str, int], Mark]], list[str]]:
    """Return for ``with`` and ``without`` the images with such findings, and notes on findings on no image.

    Findings on objects of other categories than ``ours`` do not count.
    """
    if not request.findings and not request.without:
        return {"with": {}, "without": {}}, []
    found = validate(request.data, skeleton=request.skeleton, progress=progress).findings
    images, keys = _images(request.data, splits)
    files = {str(ann_file(request.data, split)) for split in splits}
    notes, marks = [], {}
    for name, codes in (("with", request.findings), ("without", request.without)):
        mine = [finding for finding in found if finding.code in codes]
        marked, elsewhere = mark_images(mine, images)
        of_ours = {index: _of_categories(mark, images[index], ours) for index, mark in marked.items()}
        marks[name] = {keys[index]: mark for index, mark in of_ours.items() if mark.found}
        nowhere = sum(finding.file in files or finding.file == str(request.data) for finding in elsewhere)
        if nowhere:
            notes.append(f"{nowhere} of {len(mine)} findings of {', '.join(sorted(codes))} are not on a single image")
    return marks, notes


def _of_categories(mark: Mark, image: LabeledImage, categories: Sequence[int]) -> Mark:
    ids = () if image.category_ids is None else image.category_ids.tolist()
    rows = {row for row, category in enumerate(ids) if category in categories}
    return Mark(tuple((found, message) for found, message in mark.found if not found or found & rows))


def _choose(
    request: SubsetRequest,
    split: str,
    dataset: Dataset,
    wanted: frozenset[str] | None,
    marks: Mapping[str, Mapping[tuple[str, int], Mark]],
    categories: Sequence[int],
) -> _KeptRows:
    ours = np.isin(dataset.category_ids, categories)
    sized = _of_size(request, dataset) & ours
    fits = sized.copy()
    images = []
    for index, (image, rows) in enumerate(zip(dataset.images, dataset.rows_of_images(), strict=True)):
        part = slice(rows.start, rows.stop)
        found, unwanted = marks["with"].get((split, index)), marks["without"].get((split, index))
        if found and found.rows:
            fits[part] &= np.isin(np.arange(len(rows)), list(found.rows))
        if unwanted and unwanted.rows:
            fits[part] &= ~np.isin(np.arange(len(rows)), list(unwanted.rows))
        named = wanted is None or image.file_name in wanted
        has_finding = not request.findings or found is not None
        # With ``objects``, a finding on objects drops these, not their image.
        clean = unwanted is None or (request.objects and all(objects for objects, _ in unwanted.found))
        right_size = not _asks_size(request) or bool((fits if request.objects else sized)[part].any())
        if named and has_finding and clean and right_size:
            images.append(index)
    return _KeptRows(images, fits)


def _of_size(request: SubsetRequest, dataset: Dataset) -> Bools:
    longer = (dataset.boxes[:, 2:] - dataset.boxes[:, :2]).max(axis=1, initial=0.0)
    low, high = SIZE_CLASSES[request.size_class] if request.size_class else (-np.inf, np.inf)
    fits: Bools = (low <= dataset.areas) & (dataset.areas < high)
    if request.min_size is not None:
        fits &= longer >= request.min_size
    if request.max_size is not None:
        fits &= longer <= request.max_size
    return fits


def _limited(chosen: Mapping[str, _KeptRows], limit: int, seed: int) -> dict[str, _KeptRows]:
    """Return ``limit`` random images, each split with its share and at least one if possible."""
    sizes = {split: len(each.images) for split, each in chosen.items()}
    total = sum(sizes.values())
    if limit >= total:
        return dict(chosen)
    least = 1 if limit >= sum(size > 0 for size in sizes.values()) else 0
    quota = {split: max(limit * size // total, min(least, size)) for split, size in sizes.items()}
    while sum(quota.values()) < limit:
        # limit < total, so the split furthest below its share has images left.
        quota[max(sizes, key=lambda split: limit * sizes[split] / total - quota[split])] += 1
    while sum(quota.values()) > limit:
        quota[max(quota, key=lambda split: quota[split])] -= 1
    lot = random.Random(seed)
    return {s: replace(each, images=sorted(lot.sample(each.images, quota[s]))) for s, each in chosen.items()}


def _of_kept(
    request: SubsetRequest, findings: Sequence[Finding], splits: Mapping[str, Dataset], chosen: Mapping[str, _KeptRows]
) -> list[Finding]:
    """Return the warnings of reading; refuse an error on a kept image, or on no image."""
    files = {str(ann_file(request.data, split)) for split in splits}
    mine = [finding for finding in findings if finding.file in files]
    errors = [finding for finding in mine if finding.severity is Severity.ERROR]
    images, keys = _images(request.data, splits)
    kept = {(split, index) for split, each in chosen.items() for index in each.images}
    finder = Finder(images)
    places = [(finding, finder.find(finding)) for finding in errors]
    concerned = [finding for finding, found in places if not found and finding.code not in request.without]
    concerned += [finding for finding, found in places if any(keys[index] in kept for index in found)]
    listing = f"`posetools validate {quoted(request.data)}` lists all errors; `posetools convert` has options for them"
    advice = f"{listing}; leave such images out with --without-finding CODE"
    refuse_errors(concerned, request.data, advice)
    return [finding for finding in mine if finding.severity is not Severity.ERROR]


def _without_objects(dataset: Dataset, fits: Bools) -> Dataset:
    rows = np.flatnonzero(fits)
    return dataset.take(dataset.images, rows, dataset.image_index[rows])


def _write(request: SubsetRequest, result: SubsetResult) -> None:
    options: dict[str, Any] = {
        "splits": list(request.splits),
        "finding": sorted(request.findings),
        "without_finding": sorted(request.without),
        "names": request.names,
        "min_size": request.min_size,
        "max_size": request.max_size,
        "size": request.size_class,
        "limit": request.limit,
        "seed": request.seed,
        "objects": request.objects,
        "skeleton": None if request.skeleton is None else Path(request.skeleton).as_posix(),
        "images": request.images,
    }
    if request.renamed:
        options["map"] = dict(request.renamed)
    options |= {
        name: list(each) for name in ("keypoints", "categories") if (each := getattr(request, name)) is not None
    }
    write_set(
        result.datasets,
        request.out,
        command="subset",
        sources=[request.data],
        options=options,
        sections={"before": {s: {"pictures": n, "instances": m} for s, (n, m) in result.before.items()}},
        findings=result.findings,
        images=request.images,
        overwrite=request.overwrite,
    )
