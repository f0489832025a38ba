"""Shared code of the commands that create data sets from data sets.

``merge`` and ``subset`` read whole data set folders, without opening the images. Both write a new folder with its own
conversion.json, and do not change the sources.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset
from posetools.core.findings import Finding, Severity
from posetools.core.folder import IMAGES, ann_file, refuse_zip, splits_of
from posetools.core.record import count, findings_sections, write_record
from posetools.core.skeleton import Skeleton
from posetools.errors import InputError, PosetoolsError, RequestError, counted, quoted
from posetools.files.disk import Transfer, staged_folder
from posetools.formats.coco import format as coco
from posetools.formats.options import ReadOptions


@dataclass(frozen=True, slots=True)
class SetReading:
    """The contents of a data set folder.

    Attributes:
        splits: split -> its Dataset, train and val first; every image names its split.
        findings: errors and warnings.
        ignored: label -> how many were left out on purpose.
    """

    splits: Mapping[str, Dataset]
    findings: tuple[Finding, ...]
    ignored: Mapping[str, int]


def read_set(data_root: Path, categories: Skeleton | Categories, options: ReadOptions | None = None) -> SetReading:
    """Read all splits of a data set folder; categories and keypoints are matched by name.

    Args:
        data_root: the folder.
        categories: what to read; a skeleton stands for its only category.
        options: other names, and what to ignore; None for neither.

    Raises:
        RequestError: it is not a data set folder.
        InputError: an image is listed in two splits.
    """
    splits: dict[str, Dataset] = {}
    findings: list[Finding] = []
    ignored = Counter[str]()
    seen: dict[str, str] = {}
    for split in splits_of(data_root):
        path = ann_file(data_root, split)
        read = coco.read_split(path, data_root / IMAGES, categories, options)
        for image in read.dataset.images:
            other = seen.setdefault(image.file_name, split)
            if other != split:
                problem = f"file_name must be in one split only, got {image.file_name!r}, which is also in {other}"
                hint = f"`posetools validate {quoted(data_root)}` lists all such images"
                raise InputError(path, "", problem, hint=hint)
        images = tuple(replace(image, split=split) for image in read.dataset.images)
        splits[split] = replace(read.dataset, images=images)
        findings += read.findings
        ignored.update(read.ignored)
    return SetReading(splits, tuple(findings), dict(sorted(ignored.items())))


@contextmanager
def options_of_convert(path: Path, option: str = "") -> Iterator[str]:
    """Give the advice to run ``convert``, and add it to errors: they name options that only ``convert`` has.

    Args:
        path: the source, which is read as ``convert`` reads it.
        option: what the user typed for the skeleton, after a space.
    """
    command = f"`posetools convert {quoted(path)}{option} --out NEW`"
    advice = f"{command} lists all errors and has options for them"
    try:
        yield advice
    except PosetoolsError as exc:
        exc.hints = (*exc.hints, advice)
        raise


def refuse_errors(findings: Sequence[Finding], path: Path, advice: str) -> None:
    """Refuse a source with errors.

    Raises:
        InputError: the first error, and the number of others.
    """
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        first, *rest = errors
        more = f" (and {counted(len(rest), 'more error')} in {path})" if rest else ""
        problem = f"{first.message} [{first.code}]{more}"
        raise InputError(first.file, first.place, problem, hint=(first.hint, advice))


def check_source(path: Path) -> None:
    """Refuse a path that cannot be a data set folder or a labeled source.

    Raises:
        RequestError: it does not exist, or is a zip file.
    """
    refuse_zip(path)
    if not path.exists():
        raise RequestError(f"{path}: must be a data set folder or a labeled source, but does not exist")


def write_set(
    splits: Mapping[str, Dataset],
    out: Path,
    *,
    command: str,
    sources: Sequence[Path],
    options: Mapping[str, Any],
    sections: Mapping[str, Any],
    findings: Sequence[Finding],
    images: Transfer,
    overwrite: bool,
    ignored: Mapping[str, int] | None = None,
) -> None:
    """Write a data set folder with its conversion.json and skeleton.yaml, as a whole or not at all.

    The record contains the ``command``, its ``sources`` and ``options``, the number of labels ``ignored`` on purpose by
    name, the ``findings`` on the sources, and further ``sections``.

    Raises:
        InputError: an image has a name that leaves the folder.
        OutputError: it cannot be written; ``out`` is unchanged.
    """
    categories = next(iter(splits.values())).categories
    reason = f"as in the sources ({command})"
    with staged_folder(out, overwrite=overwrite) as folder:
        coco.write(splits, folder, images)
        write_record(
            folder,
            {
                "source": {
                    "format": command,
                    "paths": [path.as_posix() for path in sources],
                    "files": sum(len(splits_of(path)) for path in sources),
                    "ignored": dict(ignored or {}),
                },
                "format": "coco",
                "splits": {split: count(dataset).as_dict() for split, dataset in splits.items()},
                "split": {"by": "declared", "val": None, "seed": None, "groups": None, "reason": reason},
                "options": dict(options),
                **sections,
                **findings_sections(findings),
            },
            categories,
        )
