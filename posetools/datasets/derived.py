"""Data sets made of data sets: what ``merge`` and ``subset`` share.

Both read whole data set folders, as for training: the pictures are not opened. Both write a new folder with a
conversion.json of its own, and leave what they read as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from posetools import __version__
from posetools.core.dataset import Dataset
from posetools.core.findings import Finding, Severity
from posetools.core.folder import CONVERSION, IMAGES, ann_file, splits_of
from posetools.core.record import count, findings_sections
from posetools.core.skeleton import Skeleton
from posetools.errors import InputError, quoted
from posetools.files.disk import Transfer, staged_folder, write_json
from posetools.formats.base import ReadOptions
from posetools.formats.coco import format as coco
from posetools.formats.coco.read import read_file, shards_of
from posetools.formats.coco.sources import TrustedPictures
from posetools.formats.result import join


@dataclass(frozen=True, slots=True)
class SetReading:
    """What a data set folder holds.

    Attributes:
        splits: split -> its Dataset, train and val first; every picture says its split.
        findings: what could not be read, and what is odd.
        ignored: label -> how many were left out on purpose.
    """

    splits: Mapping[str, Dataset]
    findings: tuple[Finding, ...]
    ignored: Mapping[str, int]


def read_set(data_root: Path, skeleton: Skeleton, options: ReadOptions | None = None) -> SetReading:
    """Read all splits of a data set folder; its keypoints go onto the skeleton's by name.

    Raises:
        RequestError: it is no data set folder.
        InputError: a picture is listed in two splits.
    """
    splits: dict[str, Dataset] = {}
    findings: list[Finding] = []
    ignored = Counter[str]()
    seen: dict[str, str] = {}
    for split in splits_of(data_root):
        path = ann_file(data_root, split)
        lookup = TrustedPictures(path, data_root / IMAGES)
        read = join(shards_of([read_file(path, skeleton, options or ReadOptions(), lookup)], skeleton), skeleton)
        for image in read.dataset.images:
            other = seen.setdefault(image.file_name, split)
            if other != split:
                problem = f"file_name must be in one split only, got {image.file_name!r}, which {other} has too"
                raise InputError(
                    path,
                    "",
                    problem,
                    hint=f"`posetools validate {quoted(data_root)}` lists all such pictures",
                )
        images = tuple(replace(image, split=split) for image in read.dataset.images)
        splits[split] = replace(read.dataset, images=images)
        findings += read.findings
        ignored.update(read.ignored)
    return SetReading(splits, tuple(findings), dict(sorted(ignored.items())))


def refuse_errors(findings: Sequence[Finding], path: Path, advice: str) -> None:
    """Refuse a source in which something could not be read.

    Raises:
        InputError: the first error, and how many there are.
    """
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        first, *rest = errors
        more = f" (and {len(rest)} more error{'s' if len(rest) > 1 else ''} in {path})" if rest else ""
        hint = "\n  ".join(text for text in (first.hint, advice) if text)
        raise InputError(first.file, first.place, f"{first.message} [{first.code}]{more}", hint=hint)


@dataclass(frozen=True, kw_only=True, slots=True)
class SetOrigin:
    """What conversion.json tells of where a data set comes from.

    Attributes:
        command: ``merge`` or ``subset``.
        sources: the data set folders that were read.
        options: what the user said.
        ignored: label -> how many were left out on purpose.
        findings: what is odd in the sources.
        more: further sections.
    """

    command: str
    sources: Sequence[Path]
    options: Mapping[str, Any]
    ignored: Mapping[str, int]
    findings: Sequence[Finding]
    more: Mapping[str, Any]


def write_set(
    splits: Mapping[str, Dataset], out: Path, origin: SetOrigin, *, images: Transfer, overwrite: bool
) -> None:
    """Write a data set folder with its conversion.json, as a whole or not at all.

    Raises:
        InputError: a picture has a name that leaves the folder.
        OutputError: it cannot be written; ``out`` is as it was.
    """
    skeleton = next(iter(splits.values())).skeleton
    reason = f"as in what was read ({origin.command})"
    with staged_folder(out, overwrite=overwrite) as folder:
        coco.write(splits, folder, images)
        write_json(
            folder / CONVERSION,
            {
                "posetools": __version__,
                "source": {
                    "format": origin.command,
                    "paths": [path.as_posix() for path in origin.sources],
                    "files": sum(len(splits_of(path)) for path in origin.sources),
                    "ignored": dict(origin.ignored),
                },
                "format": "coco",
                "splits": {split: count(dataset).as_dict() for split, dataset in splits.items()},
                "split": {"by": "declared", "val": None, "seed": None, "groups": None, "reason": reason},
                "options": dict(origin.options),
                **origin.more,
                **findings_sections(origin.findings),
                "skeleton": skeleton.model_dump(mode="json"),
            },
        )
