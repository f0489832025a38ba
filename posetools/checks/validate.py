"""Check a data set on disk: every finding on its files and pictures, and counts; and the repairs of ``--fix``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from posetools.checks.across import check_copies, check_same_categories, check_splits, note_without
from posetools.checks.fix import FixedFile, fix_files
from posetools.checks.pictures import Listed, check_names, check_pictures
from posetools.checks.plausibility import check_boxes, check_categories, check_points, check_split, check_whole
from posetools.checks.rigid.geometry import TEMPLATE_CODES, check_geometry, geometry_note
from posetools.checks.sides import check_sides
from posetools.checks.structure import SoundObjects, check_structure, sound_objects
from posetools.core.findings import Finding, Severity, count_by_code, sort_findings
from posetools.core.folder import IMAGES, ann_file, refuse_zip, skeleton_of, splits_of, splits_written
from posetools.core.journal import finish
from posetools.core.skeleton import Skeleton
from posetools.core.verdict import Verdict, data_verdict
from posetools.errors import InputError, RequestError
from posetools.files.locks import only_one_in
from posetools.files.urls import as_path, is_url
from posetools.formats.coco import repair as coco_repair
from posetools.formats.coco.sources import picture_folders, safe_name, split_in
from posetools.formats.coco.table import CocoTable, read_entries, read_table, unreadable_table
from posetools.formats.sources.locate import is_sane
from posetools.progress import Progress, silent
from posetools.scale.shards import Engine

_ENTRY = re.compile(r"(annotations|categories)\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """What validation found.

    Attributes:
        data: the folder or file that was checked.
        skeleton: the name of the skeleton that it was checked against.
        findings: everything found, sorted.
        splits: the splits that are there, by file.
        images: split -> how many pictures its file lists.
        instances: split -> how many objects its file lists.
        keypoints: split -> how many keypoints of sound objects are not labelled, hidden, visible.
        pictures: whether the pictures were looked at.
        fixed: what was mended before.
        notes: what was not checked, and why.
    """

    data: Path
    skeleton: str
    findings: tuple[Finding, ...]
    splits: tuple[str, ...]
    images: Mapping[str, int]
    instances: Mapping[str, int]
    keypoints: Mapping[str, tuple[int, int, int]]
    pictures: bool
    fixed: tuple[FixedFile, ...] = field(default=())
    notes: tuple[str, ...] = ()

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def verdict(self) -> Verdict:
        """Whether the data set can be trained on, in one sentence."""
        return data_verdict(self.findings, self.splits, pictures=self.pictures)

    def ok(self, strict: bool = False) -> bool:
        """Return whether there are no errors and, when ``strict``, no warnings either."""
        return not self.findings if strict else not self.errors

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "data": self.data.as_posix(),
            "skeleton": self.skeleton,
            "pictures_checked": self.pictures,
            "notes": list(self.notes),
            "splits": [
                {
                    "name": split,
                    "images": self.images[split],
                    "instances": self.instances[split],
                    "keypoints": dict(zip(("not_labelled", "hidden", "visible"), self.keypoints[split], strict=True)),
                }
                for split in self.splits
            ],
            "errors": self.errors,
            "warnings": len(self.findings) - self.errors,
            "counts": count_by_code(self.findings),
            "fixed": [
                {"file": fixed.path.as_posix(), "code": done.code, "place": done.place, "message": done.message}
                for fixed in self.fixed
                for done in fixed.repairs
            ],
            "findings": [finding.as_dict() for finding in self.findings],
        }


def validate(
    data: str | Path,
    *,
    skeleton: str | Path | None = None,
    pictures: bool = True,
    fix: bool = False,
    progress: Progress = silent,
    engine: Engine | None = None,
) -> ValidationReport:
    """Check a data set folder, or one COCO file.

    Args:
        data: the folder or the file.
        skeleton: a built-in name or a file; None for the data set's own.
        pictures: look at the pictures too.
        fix: mend first what has one right answer.
        progress: told how far it is.
        engine: what looks at the pictures, shard by shard; None for this process.

    Raises:
        RequestError: there is no such data set, or its skeleton is not known.
        InputError: a file needed beforehand cannot be read, or cannot be mended.
        OutputError: a mended file cannot be written.
    """
    data = as_path(data)
    if fix and is_url(data):
        raise RequestError(f"{data}: must be a local path with --fix, which writes its files again")
    refuse_zip(data)
    one_file = data.is_file()
    if fix and data.is_dir():
        with only_one_in(data):
            finish(data)
    known = _skeleton(data, skeleton)
    fixed = (fix_files([data]) if one_file else fix_folder(data)) if fix else ()
    check = validate_file if one_file else validate_folder
    return replace(check(data, known, pictures=pictures, progress=progress, engine=engine), fixed=fixed)


def fix_folder(data_root: Path) -> tuple[FixedFile, ...]:
    """Mend the COCO files of a data set folder, all of them or none.

    Raises:
        RequestError: it is no data set folder.
        InputError: a file is not JSON, or could not be written again as it is.
        OutputError: a file cannot be written; all are as they were.
    """
    return fix_files([ann_file(data_root, split) for split in splits_of(data_root)])


def validate_folder(
    data_root: Path,
    skeleton: Skeleton,
    *,
    pictures: bool = True,
    progress: Progress = silent,
    engine: Engine | None = None,
) -> ValidationReport:
    """Check a data set folder.

    Args:
        data_root: the folder with ``images/`` and ``train_coco.json``.
        skeleton: what its keypoints are.
        pictures: look at the pictures too.
        progress: told how far it is.
        engine: what looks at the pictures; None for this process.

    Raises:
        RequestError: it is no data set folder.
    """
    tables = _load({split: ann_file(data_root, split) for split in splits_of(data_root)}, progress)
    written = splits_written(data_root)
    findings = [*check_splits(data_root, tables, written), *check_same_categories(tables), *check_copies(tables)]
    look = partial(check_pictures, folder=data_root / IMAGES, progress=progress, engine=engine) if pictures else None
    report = _report(data_root, tables, findings, skeleton, look, progress)
    return replace(report, notes=(*note_without(data_root, tables, written), *report.notes))


def validate_file(
    path: Path,
    skeleton: Skeleton,
    *,
    pictures: bool = True,
    progress: Progress = silent,
    engine: Engine | None = None,
) -> ValidationReport:
    """Check one COCO file alone.

    Its pictures are those of the first folder that holds the first of them: ``images/`` beside it, its own folder, or
    where a COCO release has them.

    Args:
        path: the file.
        skeleton: what its keypoints are.
        pictures: look at the pictures too.
        progress: told how far it is.
        engine: what looks at the pictures; None for this process.
    """
    tables = _load({split_in(path.stem) or path.stem: path}, progress)
    folders = picture_folders(path)
    names = (safe_name(name) for table in tables.values() for name in table.images.file_names)
    first = next((name for name in names if name and is_sane(path.parent / name)), "")
    folder = next((folder for folder in folders if (folder / first).is_file()), folders[0])
    look = partial(check_pictures, folder=folder, progress=progress, engine=engine) if pictures else None
    return _report(path, tables, [], skeleton, look, progress)


def _skeleton(data: Path, asked: str | Path | None) -> Skeleton:
    if data.is_file() and asked is None:
        try:
            return skeleton_of(data.parent)
        except RequestError as exc:
            raise RequestError(f"{data}: which skeleton its keypoints are is not known\n  --skeleton says it") from exc
    return skeleton_of(data, asked)


def _load(files: Mapping[str, Path], progress: Progress) -> dict[str, CocoTable]:
    tables = {}
    for done, (split, path) in enumerate(files.items(), start=1):
        try:
            tables[split] = read_table(path)
        except InputError as exc:
            tables[split] = unreadable_table(path, exc)
        progress("reading COCO files", done, len(files))
    return tables


def _report(
    data: Path,
    tables: Mapping[str, CocoTable],
    findings: list[Finding],
    skeleton: Skeleton,
    look: Callable[[Sequence[Listed]], Iterator[Finding]] | None,
    progress: Progress,
) -> ValidationReport:
    objects = {split: sound_objects(table, skeleton) for split, table in tables.items()}
    for split, table in tables.items():
        of_file = [*check_structure(table, skeleton), *check_categories(table, skeleton)]
        of_file += check_boxes(objects[split])
        of_file += check_points(objects[split], skeleton)
        of_file += check_geometry(objects[split], skeleton, progress)
        if table.num_annotations:
            of_file += check_split(objects[split], skeleton, train=split == "train")
        findings += _mark_fixable(table, of_file)
    findings += check_whole(data, objects)
    mirrored, notes = _mirrored(objects, skeleton, findings)
    findings += mirrored
    listed, problems = check_names(tables)
    findings += problems
    if look:
        findings += look(listed)
    return ValidationReport(
        data=data,
        skeleton=skeleton.name,
        findings=sort_findings(findings),
        splits=tuple(tables),
        images={split: table.num_images for split, table in tables.items()},
        instances={split: table.num_annotations for split, table in tables.items()},
        keypoints={split: _visibilities(objects[split]) for split in tables},
        pictures=look is not None,
        notes=geometry_note(skeleton) + notes,
    )


def _mirrored(
    objects: Mapping[str, SoundObjects], skeleton: Skeleton, known: Sequence[Finding]
) -> tuple[list[Finding], tuple[str, ...]]:
    """Return what the set itself says of left and right, but for objects of which the template has said something."""
    found, notes = check_sides(objects, skeleton)
    told = {(one.file, one.place) for one in known if one.code in TEMPLATE_CODES}
    return [one for one in found if (one.file, one.place) not in told], () if skeleton.template else notes


def _visibilities(objects: SoundObjects) -> tuple[int, int, int]:
    counts = np.bincount(objects.keypoints[:, :, 2].astype(np.int8).ravel(), minlength=3)
    return int(counts[0]), int(counts[1]), int(counts[2])


def _mark_fixable(table: CocoTable, findings: Sequence[Finding]) -> Iterator[Finding]:
    """Yield the findings with ``fixable`` set on those that ``--fix`` mends: what it would do is asked, not guessed."""
    codes = frozenset(finding.code for finding in findings) & coco_repair.ALL
    wanted: dict[str, set[int]] = defaultdict(set)
    for finding in findings:
        if finding.code in codes and (entry := _ENTRY.match(finding.place)):
            wanted[entry[1]].add(int(entry[2]))
    mended = _mended(table, {kind: sorted(at) for kind, at in wanted.items()}, codes) if wanted else frozenset()
    for one in findings:
        fixable = (one.code, one.place) in mended
        yield Finding(one.code, one.file, one.place, one.message, one.hint, fixable=True) if fixable else one


def _mended(table: CocoTable, wanted: Mapping[str, Sequence[int]], codes: frozenset[str]) -> frozenset[tuple[str, str]]:
    """Return the (code, place) of what can be mended in some entries of a COCO file, which is read again for them."""
    # A box is cut to its picture: the sizes of all pictures are looked at, sound or not.
    pictures = range(table.num_images if "W201" in codes else 0)
    return coco_repair.repairs_at(read_entries(table.path, {"images": pictures, **wanted}), codes)
