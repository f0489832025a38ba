"""Check a data set on disk: findings on its files and images, counts, and the repairs of ``--fix``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np

from posetools.checks.across import check_copies, check_same_categories, check_splits, note_without
from posetools.checks.data import CheckedData
from posetools.checks.folds import CheckedFolds, check_folds
from posetools.checks.images import ListedImage, check_images, check_names
from posetools.checks.near import check_near, check_near_request
from posetools.checks.plugin import run_checks
from posetools.checks.rigid.geometry import TEMPLATE_CODES, geometry_note
from posetools.checks.sides import check_sides
from posetools.checks.structure import SoundObjects, of_whom, own_category_ids, sound_objects
from posetools.core.categories import Categories
from posetools.core.findings import Finding, Severity, count_by_code, sort_findings
from posetools.core.folder import IMAGES, ann_file, categories_of, refuse_zip, splits_of, splits_written
from posetools.core.geometry import Floats
from posetools.core.journal import finish, write_together
from posetools.core.skeleton import Skeleton
from posetools.core.verdict import Verdict, data_verdict
from posetools.errors import InputError, Place, RequestError
from posetools.files.disk import dump_json, read_json, sweep, write_texts
from posetools.files.locks import only_one_in
from posetools.files.urls import as_path, is_url
from posetools.formats.coco.repair import ALL, Repair, repair, repairs_at
from posetools.formats.coco.sources import image_folders, safe_name, split_in
from posetools.formats.coco.table import CocoTable, read_entries, read_table, unreadable_table
from posetools.formats.sources.locate import is_sane
from posetools.progress import Progress, silent
from posetools.scale.shards import Engine

_Look: TypeAlias = Callable[[Sequence[ListedImage]], Iterator[Finding]]
_REPAIRED = ("annotations", "categories")


class LabelCounts(NamedTuple):
    """What a split has of one category.

    Attributes:
        images: number of images with such an object.
        instances: number of objects, without invalid entries.
        keypoints: number of unlabeled, occluded and visible keypoints of sound objects.
    """

    images: int
    instances: int
    keypoints: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """The result of validation.

    Attributes:
        data: the checked folder or file.
        checked: its contents.
        skeleton: the name of the skeleton it was checked against; names with commas where there are several.
        findings: all findings, sorted.
        splits: the existing splits, by file.
        images: split -> number of images in its file.
        instances: split -> number of objects in its file.
        keypoints: split -> number of unlabeled, occluded and visible keypoints of sound objects.
        images_checked: whether image files were checked.
        fixed: file -> what was fixed in it before.
        notes: what was not checked, and why.
        categories: split -> category -> its counts, where the data set has several categories; else empty.
    """

    data: Path
    checked: CheckedData = field(repr=False, compare=False)
    skeleton: str
    findings: tuple[Finding, ...]
    splits: tuple[str, ...]
    images: Mapping[str, int]
    instances: Mapping[str, int]
    keypoints: Mapping[str, tuple[int, int, int]]
    images_checked: bool
    fixed: Mapping[Path, Sequence[Repair]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    categories: Mapping[str, Mapping[str, LabelCounts]] = field(default_factory=dict)

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def verdict(self) -> Verdict:
        """Whether the data set is ready for training, in one sentence."""
        return data_verdict(self.findings, self.splits, images=self.images_checked)

    def ok(self, strict: bool = False) -> bool:
        """Return whether there are no errors and, when ``strict``, no warnings either."""
        return not self.findings if strict else not self.errors

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "data": self.data.as_posix(),
            "skeleton": self.skeleton,
            "pictures_checked": self.images_checked,
            "notes": list(self.notes),
            "splits": [
                _counts_record(split, LabelCounts(self.images[split], self.instances[split], self.keypoints[split]))
                | self._categories_record(split)
                for split in self.splits
            ],
            "errors": self.errors,
            "warnings": len(self.findings) - self.errors,
            "counts": count_by_code(self.findings),
            "fixed": [
                {"file": path.as_posix(), "code": done.code, "place": done.place, "message": done.message}
                for path, repairs in self.fixed.items()
                for done in repairs
            ],
            "findings": [finding.as_dict() for finding in self.findings],
        }

    def _categories_record(self, split: str) -> dict[str, Any]:
        own = [_counts_record(name, counts) for name, counts in self.categories.get(split, {}).items()]
        return {"categories": own} if own else {}


def _counts_record(name: str, counts: LabelCounts) -> dict[str, Any]:
    return {
        "name": name,
        "images": counts.images,
        "instances": counts.instances,
        "keypoints": dict(zip(("not_labelled", "hidden", "visible"), counts.keypoints, strict=True)),
    }


def validate(
    data: str | Path,
    *,
    skeleton: Skeleton | Categories | str | Path | None = None,
    images: bool = True,
    near_duplicates: bool = False,
    fix: bool = False,
    progress: Progress = silent,
    engine: Engine | None = None,
) -> ValidationReport:
    """Check a data set folder, or one COCO file.

    The images of one file are in the first folder that contains the first of them: ``images/`` next to the file, its
    own folder, or where a COCO release has them.

    Args:
        data: the folder or the file.
        skeleton: a skeleton, categories, a built-in name or a file; None for the data set's own.
        images: check the image files too.
        near_duplicates: search for near duplicates too.
        fix: first fix what has one right answer.
        progress: receives progress.
        engine: checks and hashes the images, shard by shard; None for this process.

    Raises:
        RequestError: there is no such data set, its skeleton is unknown, or near duplicates are requested without the
            image check.
        MissingExtraError: imagehash, needed for near duplicates, is not installed.
        InputError: a required file cannot be read or fixed.
        OutputError: a fixed file cannot be written.
    """
    if near_duplicates:
        check_near_request(images=images)
    data = as_path(data)
    if fix and is_url(data):
        raise RequestError(f"{data}: must be a local path with --fix, which rewrites its files")
    refuse_zip(data)
    one_file = data.is_file()
    if fix and data.is_dir():
        with only_one_in(data):
            finish(data)
    known = Categories.of(skeleton) if isinstance(skeleton, Skeleton | Categories) else categories_of(data, skeleton)
    # A single file is checked as the split in its name.
    own = {split_in(data.stem) or data.stem: data}
    files = own if one_file else {split: ann_file(data, split) for split in splits_of(data)}
    fixed = _fix(list(files.values())) if fix else {}
    tables = _load(files, progress)
    folder = _images_of(data, tables) if one_file else data / IMAGES
    looks: list[_Look] = []
    if images:
        looks.append(partial(check_images, folder=folder, progress=progress, engine=engine))
    if near_duplicates:
        looks.append(partial(check_near, folder=folder, progress=progress, engine=engine))
    objects = {split: sound_objects(table, known) for split, table in tables.items()}
    report = _report(CheckedData(data, known, tables, objects, folder, progress), looks)
    return replace(report, fixed=fixed)


def _images_of(path: Path, tables: Mapping[str, CocoTable]) -> Path:
    """Return the first possible image folder of one COCO file that contains its first image."""
    folders = image_folders(path)
    names = (safe_name(name) for table in tables.values() for name in table.images.file_names)
    first = next((name for name in names if name and is_sane(path.parent / name)), "")
    return next((folder for folder in folders if (folder / first).is_file()), folders[0])


def _load(files: Mapping[str, Path], progress: Progress) -> dict[str, CocoTable]:
    tables = {}
    for done, (split, path) in enumerate(files.items(), start=1):
        try:
            tables[split] = read_table(path)
        except InputError as exc:
            tables[split] = unreadable_table(path, exc)
        progress("reading COCO files", done, len(files))
    return tables


def _report(checked: CheckedData, looks: Sequence[_Look]) -> ValidationReport:
    data, tables, objects, categories = checked.path, checked.tables, checked.objects, checked.categories
    findings: list[Finding] = []
    notes: tuple[str, ...] = ()
    folds = CheckedFolds({})
    if not data.is_file():
        written = splits_written(data)
        findings += [*check_splits(data, tables, written), *check_same_categories(tables), *check_copies(tables)]
        folds = check_folds(data, tables, checked.progress)
        findings += folds.findings
        notes = (*note_without(data, tables, written), *folds.notes)
    found = list(run_checks(checked))
    files = {str(table.path): table for table in tables.values()}
    findings += [one for one in found if one.file not in files]
    for file, table in files.items():
        findings += _mark_fixable(table, [one for one in found if one.file == file])
    mirrored, unsided = _mirrored(checked, findings)
    findings += mirrored
    listed, problems = check_names(tables, folds.parts)
    findings += problems
    for look in looks:
        findings += look(listed)
    return ValidationReport(
        data=data,
        checked=checked,
        skeleton=categories.name,
        findings=sort_findings(findings),
        splits=tuple(tables),
        images={split: table.num_images for split, table in tables.items()},
        instances={split: table.num_annotations for split, table in tables.items()},
        keypoints={split: _keypoint_counts(objects[split], categories) for split in tables},
        images_checked=bool(looks),
        notes=(*notes, *unsided),
        categories=_category_counts(checked) if len(categories) > 1 else {},
    )


def _mirrored(checked: CheckedData, known: Sequence[Finding]) -> tuple[list[Finding], tuple[str, ...]]:
    """Return the findings of the left-right check, except on objects with findings from the template, and notes."""
    told = {(one.file, one.place) for one in known if one.code in TEMPLATE_CODES}
    findings: list[Finding] = []
    notes: list[str] = []
    for group, objects in checked.parts():
        skeleton = group.skeletons[0]
        found, unsided = check_sides(objects, skeleton, of_whom(group, checked.categories))
        findings += [one for one in found if (one.file, one.place) not in told]
        notes += geometry_note(skeleton) if group.num_keypoints else ()
        notes += () if skeleton.template else unsided
    return findings, tuple(notes)


def _category_counts(checked: CheckedData) -> dict[str, dict[str, LabelCounts]]:
    counts: dict[str, dict[str, LabelCounts]] = {}
    for split, table in checked.tables.items():
        ids = own_category_ids(table, checked.categories)
        for number, skeleton in checked.categories.items():
            own = checked.objects[split].of_category(skeleton, checked.categories)
            images = len(np.unique(table.annotations.image_ids[ids == number]))
            numbers = LabelCounts(images, int((ids == number).sum()), visibility_counts(own.keypoints[:, :, 2]))
            counts.setdefault(split, {})[skeleton.category.name] = numbers
    return counts


def _keypoint_counts(objects: SoundObjects, categories: Categories) -> tuple[int, int, int]:
    """Return how many keypoints of the objects' own categories are unlabeled, occluded and visible."""
    counts = np.array([visibility_counts(part.keypoints[:, :, 2]) for part, _ in objects.parts(categories)])
    unlabeled, hidden, visible = counts.sum(axis=0).tolist()
    return unlabeled, hidden, visible


def visibility_counts(values: Floats) -> tuple[int, int, int]:
    """Return how many visibilities, in an array of any shape, are 0, 1 and 2."""
    counts = np.bincount(values.astype(np.int8).ravel(), minlength=3)
    return int(counts[0]), int(counts[1]), int(counts[2])


def _mark_fixable(table: CocoTable, findings: Sequence[Finding]) -> Iterator[Finding]:
    """Yield the findings with ``fixable`` set on those that ``--fix`` fixes, determined by running the repair."""
    codes = frozenset(finding.code for finding in findings) & ALL
    wanted: dict[str, set[int]] = defaultdict(set)
    for finding in findings:
        if finding.code in codes and isinstance(finding.place, Place) and finding.place.kind in _REPAIRED:
            wanted[finding.place.kind].add(finding.place.position)
    # Boxes are clipped to their image: this needs the sizes of all images, sound or not.
    images = range(table.num_images if "W201" in codes else 0)
    entries = read_entries(table.path, {"images": images, **{kind: sorted(at) for kind, at in wanted.items()}})
    fixed = repairs_at(entries, codes) if wanted else frozenset()
    for one in findings:
        fixable = (one.code, one.place) in fixed
        yield replace(one, fixable=True) if fixable else one


def _fix(paths: Sequence[Path]) -> dict[Path, tuple[Repair, ...]]:
    """Fix COCO files of one folder, all of them or none; return the changes of each changed file."""
    fixed: dict[Path, tuple[Repair, ...]] = {}
    texts: dict[str, str] = {}
    folder = paths[0].parent
    with only_one_in(folder):
        for path in paths:
            sweep(path)
            document, repairs = repair(read_json(path))
            if repairs:
                # Only now: a file without repairs may hold what cannot be written.
                _refuse_loss(path)
                fixed[path] = repairs
                texts[path.name] = dump_json(document)
        if len(texts) > 1:
            write_together(folder, texts)
        elif texts:
            write_texts({folder / name: text for name, text in texts.items()})
    return fixed


def _refuse_loss(path: Path) -> None:
    """Refuse a file that would lose something when rewritten."""

    def refuse(constant: str) -> NoReturn:
        raise _refusal(path, f"numbers must be finite, got {constant}")

    def keep_all(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        document = dict(pairs)
        if len(document) != len(pairs):
            keys = [key for key, _ in pairs]
            raise _refusal(path, f"keys must be unique, got {next(k for k in keys if keys.count(k) > 1)!r} twice")
        return document

    read_json(path, parse_constant=refuse, object_pairs_hook=keep_all)


def _refusal(path: Path, problem: str) -> InputError:
    return InputError(path, "", problem, hint="correct it by hand first: `posetools validate --fix` would lose it")
