"""Read and write a Dataset in any format: ``posetools.read`` and ``posetools.write``."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from posetools.core.dataset import Dataset
from posetools.core.findings import Finding, Severity, has_errors, sort_findings
from posetools.core.folder import check_out, refuse_zip
from posetools.core.record import count, findings_sections, write_record
from posetools.datasets.convert import told_once
from posetools.datasets.own_skeleton import own_skeleton
from posetools.errors import PosetoolsError, PosetoolsWarning, RequestError, counted, hint_lines, must_be
from posetools.files.disk import Transfer, staged_folder
from posetools.files.urls import as_path
from posetools.files.walking import walked_once
from posetools.formats import FORMATS, check_way, told_format
from posetools.formats.entry import Format
from posetools.formats.losses import losses
from posetools.formats.options import ReadOptions
from posetools.formats.sources.seen import check_source
from posetools.formats.sources.zip_sources import check_inside

# Errors that a message lists.
_LISTED_ERRORS = 10
DEFAULT_READ = ReadOptions()


class ReadError(PosetoolsError):
    """Something in the sources could not be read.

    Attributes:
        findings: the errors and warnings; sorted.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        errors = [finding for finding in findings if finding.severity is Severity.ERROR]
        lines = [
            line for each in errors[:_LISTED_ERRORS] for line in (_text(each), *each.details, *hint_lines(each.hint))
        ]
        more = [f"and {len(errors) - _LISTED_ERRORS} more"] if len(errors) > _LISTED_ERRORS else []
        super().__init__(f"{counted(len(errors), 'error')} in the sources", *lines, *more)


def read(
    sources: str | Path | Sequence[str | Path],
    *,
    format: str | None = None,
    skeleton: str | Path | None = None,
    options: ReadOptions = DEFAULT_READ,
) -> Dataset:
    """Read annotations of one format, with the sizes of their images, as ``posetools convert`` reads them.

    Each warning on the sources is a ``PosetoolsWarning``.

    Args:
        sources: a file or folder, or several; also a data set folder, or a URL.
        format: ``labelme``, ``coco``, ``yolo-pose``, ...; None: auto-detected.
        skeleton: a built-in name or a skeleton file; None: the source's own, as in ``convert``.
        options: how labels, boxes and visibilities are read.

    Returns:
        One Dataset; its images have their paths, and the split that the source declares.

    Raises:
        RequestError: a source does not exist or is a zip file, or its format is unknown.
        InputError: the skeleton breaks a rule.
        ReadError: something could not be read.
    """
    paths = [as_path(each) for each in ([sources] if isinstance(sources, str | Path) else sources)]
    for path in paths:
        refuse_zip(path)
        check_source(path)
        if not path.exists():
            raise RequestError(f"{path}: must be an existing file or folder, but does not exist")
    with walked_once():
        told = "in a format that can be auto-detected", "pass format=NAME"
        source = told_format(paths, *told) if format is None else _format(format)
        check_way(source, paths, options, "none")
        check_inside(paths, source, options.image_roots)
        known = own_skeleton(paths, skeleton, source=source, options=options)
        result = source.read(paths, known.categories, options)
    findings = told_once(result, options)
    if has_errors(findings):
        raise ReadError(sort_findings(findings))
    _warn([*known.warnings, *map(_text, sort_findings(findings))])
    return result.dataset


def write(
    data: Dataset | Mapping[str, Dataset],
    out: str | Path,
    *,
    format: str = "coco",
    images: Transfer = "copy",
    overwrite: bool = False,
) -> None:
    """Write a data set folder, as a whole or not at all, with its conversion.json and skeleton.yaml.

    Each thing the format cannot store is a ``PosetoolsWarning``.

    Args:
        data: split -> its Dataset; or one Dataset, whose images go to the split they declare, else to ``train``.
        out: the folder.
        format: ``coco``, which training needs, ``labelme``, ``yolo-pose``, ...
        images: how images get into ``out``; ``none`` leaves them where they are.
        overwrite: replace the data set in ``out``.

    Raises:
        RequestError: ``format`` cannot be written, ``out`` is not empty, or there is nothing to write.
        InputError: the format cannot store something, or an image has a name that leaves the folder.
        OutputError: it cannot be written; ``out`` is unchanged.
    """
    folder, target = as_path(out), _format(format)
    if target.write is None:
        raise RequestError(must_be("format", "one that posetools can write", format))
    splits = data if isinstance(data, Mapping) else _by_split(data)
    categories = [dataset.categories for dataset in splits.values()]
    if any(each != categories[0] for each in categories) or not categories:
        raise RequestError("data must be at least one image, and all of the same categories")
    check_out(folder, (), overwrite=overwrite, wrote="posetools", option="out")
    with staged_folder(folder, overwrite=overwrite) as staged:
        target.write(splits, staged, images)
        record = {
            "format": format,
            "splits": {split: count(dataset).as_dict() for split, dataset in splits.items()},
            **findings_sections(()),
        }
        write_record(staged, record, categories[0])
    _warn(loss.text for loss in losses(target, splits))


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise RequestError(must_be("format", f"one of {', '.join(FORMATS)}", name))
    return FORMATS[name]


def _warn(texts: Iterable[str]) -> None:
    for text in texts:
        warnings.warn(PosetoolsWarning(text), stacklevel=3)


def _text(finding: Finding) -> str:
    return f"{finding.code} {finding.where}: {finding.message}"


def _by_split(data: Dataset) -> dict[str, Dataset]:
    splits = [image.split or "train" for image in data.images]
    return {name: data.select_images(i for i, own in enumerate(splits) if own == name) for name in sorted(set(splits))}
