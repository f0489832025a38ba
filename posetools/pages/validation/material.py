"""What a report needs beside the findings: the COCO files as columns, and where their pictures lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from posetools.checks.near import check_near, load_imagehash
from posetools.checks.pictures import check_names
from posetools.checks.structure import SoundObjects, sound_objects
from posetools.checks.validate import ValidationReport
from posetools.core.findings import sort_findings
from posetools.core.folder import IMAGES, ann_file, skeleton_of
from posetools.core.skeleton import Skeleton
from posetools.errors import InputError, RequestError
from posetools.formats.coco.sources import picture_folders, safe_name
from posetools.formats.coco.table import CocoTable, read_table, unreadable_table
from posetools.progress import Progress, silent


@dataclass(frozen=True, eq=False, slots=True)
class Material:
    """A data set as it was checked.

    Attributes:
        skeleton: what the keypoints are.
        tables: split -> its COCO file.
        objects: split -> the objects of it that are sound enough to be counted.
        folder: the folder that the pictures' names are seen from.
    """

    skeleton: Skeleton
    tables: Mapping[str, CocoTable]
    objects: Mapping[str, SoundObjects]
    folder: Path


def read_material(report: ValidationReport, skeleton: str | Path | None = None) -> Material:
    """Return what was checked, read again.

    Args:
        report: what validation found.
        skeleton: a built-in name or a file, as validation was told; None for the data set's own.

    Raises:
        RequestError: there is no such data set any more.
        InputError: the skeleton cannot be read.
    """
    data = report.data
    known = skeleton_of(data.parent if data.is_file() else data, skeleton)
    files = [data] if data.is_file() else [ann_file(data, split) for split in report.splits]
    tables = {}
    for split, path in zip(report.splits, files, strict=True):
        try:
            tables[split] = read_table(path)
        except InputError as exc:
            tables[split] = unreadable_table(path, exc)
    objects = {split: sound_objects(table, known) for split, table in tables.items()}
    return Material(known, tables, objects, _folder(data, tables))


def _folder(data: Path, tables: Mapping[str, CocoTable]) -> Path:
    if not data.is_file():
        return data / IMAGES
    folders = picture_folders(data)
    names = (safe_name(name) for table in tables.values() for name in table.images.file_names)
    first = next((name for name in names if name), "")
    return next((folder for folder in folders if (folder / first).is_file()), folders[0])


def check_near_request(*, pictures: bool) -> None:
    """Refuse a search for near duplicates that cannot be, before anything is checked.

    Raises:
        RequestError: the pictures are not to be looked at.
        MissingExtraError: imagehash is not installed.
    """
    if not pictures:
        raise RequestError("--near-duplicates looks at the pictures: it cannot be had with --no-pictures")
    load_imagehash()


def add_near_duplicates(report: ValidationReport, material: Material, progress: Progress = silent) -> ValidationReport:
    """Return the report with the pictures that look like others.

    Args:
        report: what validation found.
        material: the data set.
        progress: told how far it is.

    Raises:
        MissingExtraError: imagehash is not installed.
    """
    listed, _ = check_names(material.tables)
    near = check_near(listed, material.folder, progress)
    return replace(report, findings=sort_findings([*report.findings, *near]))
