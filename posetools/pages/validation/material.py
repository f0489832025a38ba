"""What a report needs beside the findings: the COCO files as columns, and where their pictures lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from posetools.checks.near import check_near, load_imagehash
from posetools.checks.pictures import check_names
from posetools.checks.structure import SoundObjects, sound_objects
from posetools.checks.validate import ValidationReport, load_tables, pictures_folder
from posetools.core.findings import sort_findings
from posetools.core.folder import IMAGES, ann_file, skeleton_of
from posetools.core.skeleton import Skeleton
from posetools.errors import RequestError
from posetools.formats.coco.table import CocoTable
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
    tables = load_tables(dict(zip(report.splits, files, strict=True)))
    objects = {split: sound_objects(table, known) for split, table in tables.items()}
    folder = pictures_folder(data, tables) if data.is_file() else data / IMAGES
    return Material(known, tables, objects, folder)


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
