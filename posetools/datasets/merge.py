"""Merge several data sets into one: the work behind ``posetools merge``.

Splits are kept: train goes to train, val to val. Ids are renumbered. Decisions:

- Categories and keypoints are matched by name. Without ``--skeleton`` the result has the categories of all data sets;
  those of one name must have the same keypoints, in any order. With it, names it lacks must be mapped or ignored, and
  points a data set lacks are unlabeled in it.
- Two images of the same name but different content are both prefixed with their data set's name, as in ``convert``.
- Two images with the same content (byte for byte) in two data sets are one image. In one split the first is kept, with
  the objects of both: of a category that only one of the data sets has, its objects are added; of one that both have,
  the labels must be the same. If they differ it is unclear which are right, and nothing is written. In two splits
  evaluation would use training data: nothing is written, unless the user chooses the split that keeps it.
- Duplicates within one data set are left alone: ``validate`` reports them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from posetools.core.categories import Categories, load_categories
from posetools.core.dataset import Dataset, Image, concatenate, with_objects
from posetools.core.findings import Finding, sort_findings
from posetools.core.folder import SPLITS, categories_of, check_out
from posetools.core.geometry import Floats, Ints
from posetools.core.skeleton import Skeleton
from posetools.core.skeleton_edit import edited_skeleton
from posetools.datasets.derived import SetReading, read_set, refuse_errors, write_set
from posetools.datasets.joined import difference, joined_categories
from posetools.errors import InputError, RequestError, counted, first_lines, must_be, quoted
from posetools.files.disk import Transfer
from posetools.files.names import unique_names
from posetools.formats.labels import near_name, settled
from posetools.formats.options import ReadOptions
from posetools.formats.wildcards import LabelNames, LabelSet
from posetools.imaging.header import content_hash
from posetools.progress import Progress, silent

_LISTED_NAMES = 5
# Fields that may differ in order, or are compared separately.
_BY_NAME = ("name", "category", "keypoints")
# Coordinates that differ by less are the same label, rounded.
_SAME_LABEL = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeRequest:
    """What to merge, and how.

    Attributes:
        sources: two or more data set folders.
        out: the folder to write.
        skeleton: a built-in name or a file; None for the categories of all data sets, which must then fit.
        names: a keypoint's or a category's name in a source -> the skeleton's.
        ignore: names of keypoints and categories to leave out.
        keep_in: the split that keeps an image that is in two splits; None refuses such images.
        images: how images get into ``out``.
        overwrite: replace the data set in ``out``.
    """

    sources: tuple[Path, ...]
    out: Path
    skeleton: str | Path | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    keep_in: str | None = None
    images: Transfer = "copy"
    overwrite: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class SourceImage:
    """One image of one data set: the data set's folder, the Dataset of its split, and the image's index there."""

    source: Path
    dataset: Dataset
    index: int

    def __str__(self) -> str:
        return f"{self.source} ({self.image.split}): {self.image.file_name}"

    @property
    def image(self) -> Image:
        """The image itself, with its split."""
        return self.dataset.images[self.index]

    @property
    def path(self) -> Path:
        """The image's file."""
        return self.image.path or Path(self.image.file_name)

    def rows(self, category_ids: Iterable[int]) -> Ints:
        """Return (M,) the rows of the image's objects of these categories."""
        of_set = self.dataset
        start, stop = np.searchsorted(of_set.image_index, [self.index, self.index + 1]).tolist()
        rows: Ints = start + np.flatnonzero(np.isin(of_set.category_ids[start:stop], list(category_ids)))
        return rows

    def labels(self, category_ids: Iterable[int]) -> Floats:
        """Return (M, 6 + 3K) box, iscrowd, category and keypoints of the objects of these categories, sorted."""
        of_set, rows = self.dataset, self.rows(category_ids)
        boxes, crowds, categories = of_set.boxes[rows], of_set.iscrowd[rows, None], of_set.category_ids[rows, None]
        points = of_set.keypoints[rows].reshape(len(boxes), 3 * of_set.categories.num_keypoints)
        table: Floats = np.concatenate([boxes, crowds, categories, points], axis=1)
        ordered: Floats = table[np.lexsort(table.T[::-1].round(2))]
        return ordered


@dataclass(frozen=True, slots=True)
class Double:
    """What becomes of an image whose content is in another data set too.

    Attributes:
        kept: the image that is kept.
        added: the ids of the categories whose objects the kept image gets from this one.
    """

    kept: SourceImage
    added: frozenset[int]


@dataclass(frozen=True, slots=True)
class MergeResult:
    """The result of a merge.

    Attributes:
        datasets: split -> what was written.
        findings: warnings on the sources; sorted.
        renamed: (data set, old name, new name) of renamed images.
        doubles: (data set and name left out, data set and name kept) of images with the same content.
        ignored: label -> how many were left out on purpose.
        notes: further remarks.
    """

    datasets: Mapping[str, Dataset]
    findings: tuple[Finding, ...]
    renamed: tuple[tuple[str, str, str], ...]
    doubles: tuple[tuple[str, str], ...]
    ignored: Mapping[str, int]
    notes: tuple[str, ...]


def merge(request: MergeRequest, progress: Progress = silent) -> MergeResult:
    """Merge several data sets into one.

    Raises:
        RequestError: the request is impossible: fewer than two data sets, different skeletons, images in two splits or
            with different labels, an ``out`` that is not empty.
        InputError: something in a data set cannot be read.
        OutputError: ``out`` cannot be written; it is unchanged.
    """
    _check(request)
    categories, notes = _categories(request)
    options = settled(categories, ReadOptions(names=request.names, ignore=request.ignore))
    sets: dict[Path, SetReading] = {}
    for done, path in enumerate(request.sources, start=1):
        sets[path] = read_set(path, categories, options)
        advice = f"`posetools validate {quoted(path)}` lists all errors"
        refuse_errors(sets[path].findings, path, advice)
        progress("reading data sets", done, len(request.sources))
    images = [
        SourceImage(source, dataset, index)
        for source, each in sets.items()
        for dataset in each.splits.values()
        for index in range(len(dataset.images))
    ]
    owned = {path: _owned(path, request, categories) for path in request.sources}
    doubles = _doubles(request, images, owned, progress)
    kept = [entry for entry in images if entry not in doubles]
    new_names = unique_names([(entry.source.resolve().name, entry.image.file_name) for entry in kept])
    names = dict(zip(kept, new_names, strict=True))
    result = MergeResult(
        datasets=_joined(list(sets.values()), names, doubles),
        findings=sort_findings(finding for each in sets.values() for finding in each.findings),
        renamed=tuple(
            (str(e.source), e.image.file_name, name) for e, name in names.items() if name != e.image.file_name
        ),
        doubles=tuple((str(entry), str(double.kept)) for entry, double in doubles.items()),
        ignored=dict(sorted(sum((Counter(each.ignored) for each in sets.values()), Counter[str]()).items())),
        notes=notes,
    )
    progress("writing", 0, 1)
    _write(request, result)
    progress("writing", 1, 1)
    return result


def _check(request: MergeRequest) -> None:
    if len(request.sources) < 2:
        raise RequestError(f"merge needs at least 2 data sets, got {len(request.sources)}")
    seen: dict[Path, Path] = {}
    for path in request.sources:
        other = seen.setdefault(path.resolve(), path)
        if other is not path:
            raise RequestError(f"{path}: each data set must be given once, but {other} is the same folder")
    if request.keep_in not in (None, *SPLITS):
        raise RequestError(must_be("--keep-in", f"one of {', '.join(SPLITS)}", request.keep_in))
    check_out(request.out, request.sources, overwrite=request.overwrite)


def _categories(request: MergeRequest) -> tuple[Categories, tuple[str, ...]]:
    """Return the categories of the result, and notes on harmless differences."""
    if request.skeleton is not None:
        return load_categories(request.skeleton), ()
    found = [(path, each) for path in request.sources for each in _mapped(path, request)]
    if not found:
        raise RequestError(must_be("--ignore", "such that a category is left", sorted(request.ignore)))
    result, notes = joined_categories(each for _, each in found)
    several = len(result) > 1
    first: dict[str, tuple[Path, Skeleton]] = {}
    for path, other in found:
        owner, skeleton = first.setdefault(other.category.name, (path, other))
        if other is skeleton:
            continue
        _check_same_points(owner, skeleton, path, other, several=several)
        fields = [field for field in Skeleton.model_fields if field not in _BY_NAME]
        fields = [field for field in fields if getattr(skeleton, field) != getattr(other, field)]
        if other.names == skeleton.names and fields:
            about = f"{skeleton.category.name}: " if several else ""
            notes.append(f"{about}{' and '.join(fields)}: taken from {owner}; {path} has others")
    if several and len(found) < len(first) * len(request.sources):
        notes.append(f"categories of the data sets together: {', '.join(first)}")
        for path in request.sources:
            own = {each.category.name for source, each in found if source == path}
            lacks = " or ".join(name for name in first if name not in own)
            notes += (
                [f"{path} has no labels of {lacks}: such objects in its images count as background"] if lacks else []
            )
        notes += _alike(first)
    return result, tuple(notes)


def _owned(path: Path, request: MergeRequest, categories: Categories) -> frozenset[int]:
    """Return the ids, in the result, of the categories that a data set has."""
    names = LabelNames(request.names)
    own = (names.get(name) or name for name in categories_of(path).ids)
    return frozenset(categories.ids[name] for name in own if name in categories.ids)


def _mapped(path: Path, request: MergeRequest) -> list[Skeleton]:
    """Return the skeletons of a data set's categories under their new names, without the ignored categories."""
    names, ignored = LabelNames(request.names), LabelSet(request.ignore)
    found = []
    for skeleton in categories_of(path).skeletons:
        category = names.get(skeleton.category.name) or skeleton.category.name
        if category in ignored:
            continue
        # Two keypoints with one new name are an error of reading, which says where.
        new = {names.get(name) or name: name for name in reversed(skeleton.names)}
        kept = {name: new_name for new_name, name in reversed(new.items())}
        found.append(edited_skeleton(skeleton, kept, category).skeleton)
    return found


def _alike(names: Iterable[str]) -> list[str]:
    """Return a warning for each name that may be a misspelling of one before it."""
    warnings, known = [], list[str]()
    for name in names:
        if near := near_name(name, known):
            way = f"--map {quoted(f'{name}={near}')} makes them one"
            warnings.append(f"warning: {near!r} and {name!r} are two categories; {way}")
        known.append(name)
    return warnings


def _check_same_points(first: Path, skeleton: Skeleton, path: Path, other: Skeleton, *, several: bool) -> None:
    hint = "choose the result's skeleton with --skeleton NAME|FILE; map the names with --map OLD=NEW or --ignore NAME"
    named = f" of {skeleton.category.name!r}" if several else ""
    hints = (hint, "`posetools subset DATA --map OLD=NEW` makes another category of one") if several else hint
    points, swaps = difference(skeleton, other)
    if points:
        raise RequestError(f"{path}: keypoints{named} must be those of {first}, but {points}", hint=hints)
    if swaps:
        raise RequestError(
            f"{path}: swaps{named} must be those of {first} ({skeleton.name}), but they differ", hint=hints
        )


def _doubles(
    request: MergeRequest, images: Sequence[SourceImage], owned: Mapping[Path, frozenset[int]], progress: Progress
) -> dict[SourceImage, Double]:
    """Return the images to leave out, and what becomes of each."""
    doubles: dict[SourceImage, Double] = {}
    leaks, conflicts = [], []
    for group in _same_content(images, progress):
        first = group[0]
        across = [entry for entry in group if entry.image.split != first.image.split]
        if across:
            keeper = next((entry for entry in group if entry.image.split == request.keep_in), None)
            if keeper is None:
                leaks.append(f"{first} and {across[0]}")
                continue
            first = keeper
        # Which of the images with this content has the labels of a category.
        holders = dict.fromkeys(owned[first.source], first)
        for entry in group:
            # Duplicates within one data set stay, unless they are in two splits.
            if entry.dataset is first.dataset:
                continue
            new = owned[entry.source] - holders.keys()
            for category in owned[entry.source] & holders.keys():
                if not _same_labels(holders[category], entry, category):
                    conflicts.append(f"{holders[category]} and {entry}")
                    break
            holders |= dict.fromkeys(new, entry)
            doubles[entry] = Double(first, new)
    keep = "choose the one to keep with --keep-in train or --keep-in val"
    _refuse(leaks, "an image must be in one split, but {} in two data sets are not", keep)
    rule = "the labels of one image must be the same, but those of {} differ"
    _refuse(conflicts, rule, "compare them with `posetools diff`")
    return doubles


def _same_labels(first: SourceImage, second: SourceImage, category: int) -> bool:
    one, other = first.labels([category]), second.labels([category])
    return one.shape == other.shape and np.allclose(one, other, rtol=0.0, atol=_SAME_LABEL)


def _refuse(pairs: Sequence[str], rule: str, advice: str) -> None:
    if pairs:
        listed = first_lines(pairs, _LISTED_NAMES)
        raise RequestError(f"{rule.format(counted(len(pairs), 'image'))}:", *listed, hint=advice)


def _same_content(images: Sequence[SourceImage], progress: Progress) -> Iterable[list[SourceImage]]:
    by_size: dict[int, list[SourceImage]] = {}
    for entry in images:
        by_size.setdefault(_size(entry.path), []).append(entry)
    # Files of different sizes differ: only files of equal size are read.
    candidates = [group for group in by_size.values() if len({entry.source for entry in group}) > 1]
    total, done = sum(map(len, candidates)), 0
    for group in candidates:
        by_hash: dict[str, list[SourceImage]] = {}
        for entry in group:
            by_hash.setdefault(content_hash(entry.path), []).append(entry)
            done += 1
            progress("comparing images", done, total)
        yield from (same for same in by_hash.values() if len({entry.source for entry in same}) > 1)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as exc:
        raise InputError(path, "", f"image cannot be read: {exc.strerror or exc}") from exc


def _joined(
    sets: Sequence[SetReading], names: Mapping[SourceImage, str], doubles: Mapping[SourceImage, Double]
) -> dict[str, Dataset]:
    """Return split -> one Dataset of the kept images, with their new names and the objects added to them."""
    splits = dict.fromkeys(split for each in sets for split in each.splits)
    kept: dict[int, list[SourceImage]] = {}
    for entry in names:
        kept.setdefault(id(entry.dataset), []).append(entry)
    joined, added = {}, dict[str, list[Dataset]]()
    for split in sorted(splits, key=lambda name: (name not in SPLITS, name)):
        parts = []
        for dataset in (each.splits[split] for each in sets if split in each.splits):
            mine = kept.get(id(dataset), [])
            images = [replace(entry.image, file_name=names[entry]) for entry in mine]
            parts.append(dataset.select_images(entry.index for entry in mine).with_images(images))
        joined[split] = concatenate(parts)
    for entry, double in doubles.items():
        if double.added:
            image = replace(double.kept.image, file_name=names[double.kept])
            rows = entry.rows(double.added)
            more = entry.dataset.take([image], rows, np.zeros(len(rows), dtype=np.int64))
            added.setdefault(str(double.kept.image.split), []).append(more)
    return {split: with_objects(whole, added.get(split, [])) for split, whole in joined.items()}


def _write(request: MergeRequest, result: MergeResult) -> None:
    options = {
        "skeleton": None if request.skeleton is None else Path(request.skeleton).as_posix(),
        "map": dict(sorted(request.names.items())),
        "ignore": sorted(request.ignore),
        "keep_in": request.keep_in,
        "images": request.images,
    }
    sections = {
        "renamed": [{"source": source, "from": old, "to": new} for source, old, new in result.renamed],
        "left_out": [{"picture": gone, "same_as": kept} for gone, kept in result.doubles],
    }
    write_set(
        result.datasets,
        request.out,
        command="merge",
        sources=request.sources,
        options=options,
        ignored=result.ignored,
        findings=result.findings,
        sections=sections,
        images=request.images,
        overwrite=request.overwrite,
    )
