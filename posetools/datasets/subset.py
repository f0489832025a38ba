"""A part of a data set as a data set: the work behind ``posetools subset``.

What is chosen is images: one is kept when it meets every condition that was given, and then with all its objects, so
that no labeled object of a kept image becomes background in training. ``objects`` is the exception that has to be
asked for: of the images that are kept, it drops the objects that do not meet the conditions on size and findings.

- size: at least one object of the image is in the range. A size in pixels is the longer side of the box; small,
  medium and large are COCO's classes of ``area``: below 32 x 32, below 96 x 96, and from there on.
- finding: ``validate`` finds such a code in the image or in one of its objects; without_finding is the contrary.
- names: a file with one name per line, as seen from ``images/``, or a pattern such as ``night/*``.
- limit: by lot among the images that meet everything else, each split with its share, at least one of each.

What cannot be read is an error only where an image that is kept would lose something by it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from posetools.checks.validate import validate
from posetools.core.dataset import Dataset
from posetools.core.findings import RULES, Finding, Severity, sort_findings
from posetools.core.folder import ann_file, check_out, skeleton_of
from posetools.core.geometry import SIZE_CLASSES, Bools, SizeClass
from posetools.datasets.derived import read_set, refuse_errors, write_set
from posetools.datasets.shown import Finder, LabeledImage, Mark, labeled, mark_images
from posetools.errors import RequestError, first_names, must_be, quoted
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
        min_size: objects whose box has a longer side of at least so many pixels.
        max_size: likewise, at most.
        size_class: objects of this COCO size class: a key of SIZE_CLASSES.
        limit: at most so many images.
        seed: of the lot when there are more.
        objects: drop single objects too, those that do not meet the conditions on size and findings.
        skeleton: a built-in name or a file; None for the data set's own.
        images: how the images come into ``out``.
        overwrite: replace the data set that is in ``out``.
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
    images: Transfer = "copy"
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class SubsetResult:
    """What came of it.

    Attributes:
        datasets: split -> what was written; splits of which nothing is left are not there.
        before: split -> (images, objects) that the data set has.
        findings: what is odd in what was read.
        notes: what else is worth knowing, in words.
    """

    datasets: Mapping[str, Dataset]
    before: Mapping[str, tuple[int, int]]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True)
class _KeptRows:
    """Of one split: which images are kept, and which objects fit (N,)."""

    images: list[int]
    objects: Bools


def subset(request: SubsetRequest, progress: Progress = silent) -> SubsetResult:
    """Write the part of a data set that was asked for.

    Raises:
        RequestError: the request cannot be fulfilled: an unknown split, code or name, nothing is left, an ``out`` that
            holds something.
        InputError: something in an image that is kept cannot be read.
        OutputError: ``out`` cannot be written; it is as it was.
    """
    _check(request)
    skeleton = skeleton_of(request.data, request.skeleton)
    read = read_set(request.data, skeleton)
    for split in request.splits:
        if split not in read.splits:
            raise RequestError(must_be("--split", f"one of {', '.join(read.splits)}", split))
    splits = {split: each for split, each in read.splits.items() if not request.splits or split in request.splits}
    wanted = _wanted_names(request, splits)
    marks, notes = _marks(request, splits, progress)
    chosen = {split: _choose(request, split, each, wanted, marks) for split, each in splits.items()}
    if request.limit is not None:
        chosen = _limited(chosen, request.limit, request.seed)
    if not any(each.images for each in chosen.values()):
        raise RequestError(f"{request.data}: no image meets all conditions; nothing was written")
    findings = _of_kept(request, read.findings, splits, chosen)
    datasets = {}
    for split, each in splits.items():
        if not chosen[split].images:
            notes.append(f"{split}: no image is left, hence no {ann_file(request.out, split).name}")
            continue
        part = _without_objects(each, chosen[split].objects) if request.objects else each
        datasets[split] = part.select_images(chosen[split].images)
    notes += [f"{split}: not asked for" for split in read.splits if split not in splits]
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
            if code not in RULES:
                raise RequestError(f"{must_be(option, 'a code of posetools', code)}\n  docs/findings.md lists them all")
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
        raise RequestError("--objects must come with a condition on size or findings, which objects can fail, got none")
    check_out(request.out, [request.data], overwrite=request.overwrite)


def _asks_size(request: SubsetRequest) -> bool:
    return (request.min_size, request.max_size, request.size_class) != (None, None, None)


def _wanted_names(request: SubsetRequest, splits: Mapping[str, Dataset]) -> frozenset[str] | None:
    if request.names is None:
        return None
    known = [image.file_name for each in splits.values() for image in each.images]
    if not Path(request.names).is_file():
        fitting = frozenset(name for name in known if fnmatchcase(name, request.names))
        if not fitting:
            rule = f"a file with names, or a pattern that fits an image of {request.data}"
            hint = "names are as seen from images/, folders included; * fits any letters"
            raise RequestError(f"{must_be('--names', rule, request.names)}\n  {hint}")
        return fitting
    listed = [line.strip() for line in read_text(Path(request.names)).splitlines()]
    wanted = frozenset(line for line in listed if line)
    unknown = sorted(wanted - set(known))
    if unknown or not wanted:
        shown = first_names(unknown, _LISTED_NAMES)
        problem = f"{len(unknown)} are not: {shown}" if unknown else "it is empty"
        rule = f"the names of images of {request.data}, one per line, as seen from images/"
        raise RequestError(f"{request.names}: must hold {rule}, but {problem}")
    return wanted


def _images(data: Path, splits: Mapping[str, Dataset]) -> tuple[list[LabeledImage], list[tuple[str, int]]]:
    """Return the images of all splits, and of each its split and its index there."""
    images: list[LabeledImage] = []
    keys: list[tuple[str, int]] = []
    for split, dataset in splits.items():
        images += labeled(dataset, str(ann_file(data, split)))
        keys += [(split, index) for index in range(len(dataset.images))]
    return images, keys


def _marks(
    request: SubsetRequest, splits: Mapping[str, Dataset], progress: Progress
) -> tuple[dict[str, dict[tuple[str, int], Mark]], list[str]]:
    """Return for ``with`` and ``without`` which images such findings are in, and notes on those in none."""
    if not request.findings and not request.without:
        return {"with": {}, "without": {}}, []
    found = validate(request.data, skeleton=request.skeleton, progress=progress).findings
    images, keys = _images(request.data, splits)
    files = {str(ann_file(request.data, split)) for split in splits}
    notes, marks = [], {}
    for name, codes in (("with", request.findings), ("without", request.without)):
        mine = [finding for finding in found if finding.code in codes]
        marked, elsewhere = mark_images(mine, images)
        marks[name] = {keys[index]: mark for index, mark in marked.items()}
        nowhere = sum(finding.file in files or finding.file == str(request.data) for finding in elsewhere)
        if nowhere:
            notes.append(f"{nowhere} of {len(mine)} findings of {', '.join(sorted(codes))} name no single image")
    return marks, notes


def _choose(
    request: SubsetRequest,
    split: str,
    dataset: Dataset,
    wanted: frozenset[str] | None,
    marks: Mapping[str, Mapping[tuple[str, int], Mark]],
) -> _KeptRows:
    sized = _of_size(request, dataset)
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
        # With objects to be dropped, a finding on objects costs these, and not the image that they are in.
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
    """Return ``limit`` of the images by lot, each split with its share and at least one where that is possible."""
    sizes = {split: len(each.images) for split, each in chosen.items()}
    total = sum(sizes.values())
    if limit >= total:
        return dict(chosen)
    least = 1 if limit >= sum(size > 0 for size in sizes.values()) else 0
    quota = {split: max(limit * size // total, min(least, size)) for split, size in sizes.items()}
    while sum(quota.values()) < limit:
        # limit < total: a split that lacks most of its share has images left.
        quota[max(sizes, key=lambda split: limit * sizes[split] / total - quota[split])] += 1
    while sum(quota.values()) > limit:
        quota[max(quota, key=lambda split: quota[split])] -= 1
    lot = random.Random(seed)
    return {s: replace(each, images=sorted(lot.sample(each.images, quota[s]))) for s, each in chosen.items()}


def _of_kept(
    request: SubsetRequest, findings: Sequence[Finding], splits: Mapping[str, Dataset], chosen: Mapping[str, _KeptRows]
) -> list[Finding]:
    """Return the warnings on what was read; refuse an error in an image that is kept, or that names no image."""
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
    advice = f"{listing}; --without-finding CODE leaves such images out"
    refuse_errors(concerned, request.data, advice)
    return [finding for finding in mine if finding.severity is not Severity.ERROR]


def _without_objects(dataset: Dataset, fits: Bools) -> Dataset:
    rows = np.flatnonzero(fits)
    return dataset.take(dataset.images, rows, dataset.image_index[rows])


def _write(request: SubsetRequest, result: SubsetResult) -> None:
    options = {
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
