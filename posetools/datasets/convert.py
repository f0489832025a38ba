"""Read a source in one format and write it, split, in another: the work behind ``posetools convert``.

The output is built next to its target and moved into place as a whole, so that a failed conversion leaves nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from posetools.checks.across import leaks
from posetools.core.categories import Categories
from posetools.core.findings import Finding, has_errors, sort_findings
from posetools.core.folder import CONVERSION, SPLITS, TEST, check_out
from posetools.core.record import SplitCounts, count, findings_sections, write_record
from posetools.core.skeleton import BUILT_IN
from posetools.datasets.own_skeleton import OwnSkeleton, own_skeleton
from posetools.datasets.split import DEFAULT_SEED, DEFAULT_VAL, check_split_request, plan_split
from posetools.errors import InputError, OutputError, RequestError, must_be, printable
from posetools.files.disk import Transfer, staged_folder
from posetools.files.urls import absolute
from posetools.files.walking import walked_once
from posetools.formats import FORMATS, check_way, told_format
from posetools.formats.entry import Format
from posetools.formats.joined import joined
from posetools.formats.losses import Loss, losses
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult
from posetools.formats.sources.code_pages import check_encoding
from posetools.formats.sources.scratch import check_images, scratch_folder
from posetools.formats.sources.seen import check_source
from posetools.formats.sources.zip_sources import ZipSources, check_inside, check_way_of_zips, in_zip, zip_sources
from posetools.formats.unknown_labels import UnknownLabel, one_table
from posetools.imaging.header import is_image, read_header, upright_bytes
from posetools.progress import Progress, silent
from posetools.scale.shards import no_collection

_WHY_NONE = "the options exclude all objects: change --ignore, --categories or --drop-crowds"

# Name of the only split in a format without splits.
_ALL = "all"
_DECLARED = "declared"


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertRequest:
    """What to convert, and how.

    Attributes:
        sources: files, folders or zip files of one format.
        out: the folder to write.
        source_format: a key of FORMATS; None to auto-detect it.
        target_format: a key of FORMATS.
        skeleton: a built-in name or the path of a skeleton file; None: the source's own (own_skeleton.py).
        val: the validation fraction; None for 0.1, or for the split that the source declares.
        test: the test fraction; 0 for none, or for the test split that the source declares.
        seed: of the split.
        split_by: ``image``, ``parent`` or a regular expression (see ``posetools.datasets.split``); None to choose.
        images: how images get into ``out``; "none" leaves them where they are.
        read: reading options.
        bake_rotation: rewrite images with an EXIF rotation upright.
        keep_going: write the readable part even if there are errors.
        overwrite: replace the data set in ``out``.
    """

    sources: tuple[Path, ...]
    out: Path
    source_format: str | None = None
    target_format: str = "coco"
    skeleton: str | Path | None = None
    val: float | None = None
    test: float = 0.0
    seed: int = DEFAULT_SEED
    split_by: str | None = None
    images: Transfer = "copy"
    read: ReadOptions = field(default_factory=ReadOptions)
    bake_rotation: bool = False
    keep_going: bool = False
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class SplitChoice:
    """How the images were split.

    Attributes:
        by: ``image``, ``parent``, ``clip``, a regular expression, ``declared``, or ``none``.
        reason: the same in words.
        val: the requested validation fraction; None when nothing was planned.
        seed: the seed; None when nothing was planned.
        groups: the number of groups; None when nothing was planned.
        warnings: what may make metrics too high.
        test: the requested test fraction; 0 for none.
    """

    by: str
    reason: str
    val: float | None = None
    seed: int | None = None
    groups: int | None = None
    warnings: tuple[str, ...] = ()
    test: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        record = {"by": self.by, "val": self.val, "seed": self.seed, "groups": self.groups, "reason": self.reason}
        return record | ({"test": self.test} if self.test else {})


@dataclass(frozen=True, slots=True)
class ConvertResult:
    """The result of a conversion.

    Attributes:
        written: whether ``out`` was written; False if there are errors without ``keep_going``, or no object.
        source_format: the format of the source.
        findings: errors and warnings; sorted.
        counts: split (``all`` in a format without splits) -> what was written; empty if nothing was.
        split: how the images were split; None if reading failed.
        files: number of annotation files read.
        ignored: label -> number of shapes left out on purpose.
        left_out: number of images left out because an object in them could not be read.
        lost: what the target format cannot store.
        skeleton: the skeletons, and where they come from.
    """

    written: bool
    source_format: str
    findings: tuple[Finding, ...]
    counts: Mapping[str, SplitCounts]
    split: SplitChoice | None
    files: int
    ignored: Mapping[str, int]
    left_out: int = 0
    lost: tuple[Loss, ...] = ()
    skeleton: OwnSkeleton | None = None


def convert(request: ConvertRequest, progress: Progress = silent) -> ConvertResult:
    """Read the sources, split them, and write them with a conversion.json.

    Raises:
        RequestError: the request is impossible: no such source, an unknown format, an ``out`` that is not empty or is
            in a source, an impossible split.
        InputError: the skeleton breaks a rule, or the target format cannot store the data.
        OutputError: ``out`` cannot be written; it is unchanged.
    """
    target = _target(request)
    if request.read.encoding is not None:
        check_encoding(request.read.encoding)
    check_split_request(val=_share(request), test=request.test, by=request.split_by)
    _check_paths(request)
    with no_collection(), walked_once(), zip_sources(request.out, request.read.encoding, progress) as zips:
        return _convert(request, target, zips, progress)


def _convert(request: ConvertRequest, target: Format, zips: ZipSources, progress: Progress) -> ConvertResult:
    # Read from the unpacked zip; messages name the zip itself.
    options = replace(request.read, image_roots=zips.paths_of(request.read.image_roots))
    local = replace(request, sources=zips.paths_of(request.sources), read=options)
    source = (
        _format(request.source_format, "--from")
        if request.source_format
        else told_format(local.sources, "in a format that can be auto-detected", "choose the format with --from NAME")
    )
    check_way(source, local.sources, options, request.images)
    check_inside(local.sources, source, options.image_roots)
    own = own_skeleton(local.sources, request.skeleton, source=source, options=options)
    request = replace(request, skeleton=own.option)
    with scratch_folder() as scratch:
        # Processes on other machines cannot see the scratch folder.
        elsewhere = options.engine is not None and options.engine.elsewhere
        local = replace(local, read=replace(options, scratch=None if elsewhere else scratch))
        read = _read(source, own.categories, local, progress)
        check_images(scratch, request.images)
        read = replace(read, findings=tuple(told_once(read, local.read)))
        return replace(_split_and_write(read, source, target, request, progress), skeleton=own)


def told_once(read: ReadResult, options: ReadOptions) -> list[Finding]:
    """Return the findings, one for each cause."""
    findings = joined(read.findings)
    if not any(isinstance(finding, UnknownLabel) for finding in findings):
        return findings
    return one_table(findings, read.categories, options.names, count(read.select(range(len(read.images)))))


def _read(source: Format, categories: Categories, request: ConvertRequest, progress: Progress) -> ReadResult:
    options = replace(request.read, progress=progress, need_images=request.images != "none")
    options = replace(options, new_split=_is_asked(request))
    sources = request.sources
    if options.engine and options.engine.elsewhere:
        sources = tuple(map(absolute, sources))
        options = replace(options, image_roots=tuple(map(absolute, options.image_roots)))
    return source.read(sources, categories, options)


def _split_and_write(
    read: ReadResult, source: Format, target: Format, request: ConvertRequest, progress: Progress
) -> ConvertResult:
    # An image with an unreadable object is left out: it must not become a negative or lose an object.
    kept = [row for row, image in enumerate(read.images) if image.file_name not in read.broken]
    findings = [*read.findings, *_no_objects(read, kept, request)]
    splits: dict[str, list[int]] = {}
    choice = None
    if read.counts[kept].sum() and (request.keep_going or not has_errors(findings)):
        splits, choice = _split(read, kept, target, request)
        findings += _sides_without_objects(read, splits, request)
        findings += _leaks(read, splits, choice, request)
    ordered = sort_findings(findings)
    _check_names(image.file_name for image in read.images)
    result = ConvertResult(
        written=choice is not None and (request.keep_going or not has_errors(ordered)),
        source_format=source.name,
        findings=ordered,
        counts={},
        split=choice,
        files=read.files,
        ignored=read.ignored,
        left_out=len(read.broken),
    )
    return _write(result, read, splits, target, request, progress) if result.written else result


def _format(name: str, option: str) -> Format:
    # Only the named format is loaded, unless the name is unknown.
    if name not in FORMATS or (option == "--to" and FORMATS[name].write is None):
        known = [key for key, each in FORMATS.items() if option == "--from" or each.write]
        raise RequestError(must_be(option, f"one of {', '.join(known)}", name))
    return FORMATS[name]


def _target(request: ConvertRequest) -> Format:
    target = _format(request.target_format, "--to")
    if not target.keeps_splits and request.test:
        hint = "convert to coco to split the images"
        raise RequestError(f"--test cannot be combined with --to {target.name}, which has no splits", hint=hint)
    if not target.keeps_splits and (request.val is not None or request.split_by is not None):
        raise RequestError(
            f"--val and --split-by cannot be combined with --to {target.name}, which has no splits, "
            f"got {request.val!r} and {request.split_by!r}",
            hint="convert to coco to split the images",
        )
    if request.images == "none" and (target.name != "coco" or request.bake_rotation):
        raise RequestError(
            f"--images none requires --to coco without --bake-rotation, got --to {target.name}"
            f"{' --bake-rotation' if request.bake_rotation else ''}",
            hint="choose another --images",
        )
    return target


def _check_paths(request: ConvertRequest) -> None:
    if not request.sources:
        raise RequestError("SRC must be at least one file or folder, got none")
    for path in request.sources:
        if not path.exists() and not in_zip(path):
            raise RequestError(f"{path}: SRC must be an existing file or folder, but does not exist")
        check_source(path)
    for path in request.read.image_roots:
        if not path.is_dir() and not in_zip(path):
            raise RequestError(f"{path}: --image-root must be an existing folder, but does not exist")
    elsewhere = request.read.engine is not None and request.read.engine.elsewhere
    check_way_of_zips((*request.sources, *request.read.image_roots), request.images, elsewhere=elsewhere)
    skeleton = [Path(request.skeleton)] if request.skeleton and str(request.skeleton) not in BUILT_IN else []
    read = (*request.sources, *request.read.image_roots, *skeleton)
    check_out(request.out, read, overwrite=request.overwrite, wrote="convert")


def _check_names(names: Iterable[str]) -> None:
    """Refuse a name that is not UTF-8: no annotation file can store it."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as exc:
            shown = name.encode("utf-8", "backslashreplace").decode()
            raise InputError(shown, "", must_be("file_name", "text in UTF-8", name), hint="rename the image") from exc


def _no_objects(read: ReadResult, kept: Sequence[int], request: ConvertRequest) -> Iterator[Finding]:
    """Yield a finding if there is no object and no other error explains it."""
    if not read.counts[kept].sum() and not has_errors(read.findings):
        left_out = sum(read.ignored.values())
        yield Finding(
            "E116",
            _listed(request.sources),
            "",
            f"objects must be at least 1, got 0 in {len(read.images)} images and {read.files} annotation "
            f"files" + (f" ({left_out} shapes left out on purpose)" if left_out else ""),
            _why_none(read.ignored, request) if left_out else "label objects first: no file contains any",
        )


def _why_none(ignored: Mapping[str, int], request: ConvertRequest) -> str:
    if request.read.ignore or request.read.categories or request.read.drop_crowds:
        return _WHY_NONE
    listed = ", ".join(f"{what} ({number})" for what, number in ignored.items())
    return f"label objects first, or submit the existing ones: all objects are left out: {listed}"


def _sides_without_objects(
    read: ReadResult, splits: Mapping[str, Sequence[int]], request: ConvertRequest
) -> Iterator[Finding]:
    one = int((read.counts > 0).sum()) < 2
    hint = "try another --seed, --val or --split-by"
    if one:
        hint = "label a second image with objects, or keep all images for training with --val 0"
    for split, rows in splits.items():
        if not read.counts[rows].sum():
            yield Finding(
                "E116",
                _listed(request.sources),
                split,
                f"objects must be at least 1 in each split, got 0 in {len(rows)} images of {split}",
                hint,
            )


def _leaks(
    read: ReadResult, splits: Mapping[str, Sequence[int]], choice: SplitChoice, request: ConvertRequest
) -> Iterator[Finding]:
    """Yield images that declared splits share. Splits planned here share none."""
    if choice.by == _DECLARED or set(splits) - {*SPLITS, _ALL, *([TEST] if choice.test else [])}:
        images = {split: [read.images[row] for row in rows] for split, rows in splits.items()}
        names = {split: [image.file_name for image in some] for split, some in images.items()}
        paths = {split: [os.fspath(image.path or "") for image in some] for split, some in images.items()}
        whole = request.target_format == "coco" and request.images != "none"
        yield from leaks(names, paths, _listed(request.sources), request.out if whole else None)


def _listed(paths: tuple[Path, ...]) -> str:
    return ", ".join(path.as_posix() for path in paths)


def _split(
    read: ReadResult, kept: Sequence[int], target: Format, request: ConvertRequest
) -> tuple[dict[str, list[int]], SplitChoice]:
    """Return the image rows by split: declared by the source if it does so for all, else planned."""
    names, declared = [read.images[row].file_name for row in kept], [read.images[row].split for row in kept]
    if not target.keeps_splits:
        return {_ALL: list(kept)}, SplitChoice("none", f"none: {target.title} has no splits")
    if not _is_asked(request) and None not in declared and set(declared) >= set(SPLITS):
        choice = SplitChoice(_DECLARED, "as declared by the source (change it with --val or --split-by)")
        return _by_split([split or "" for split in declared], kept), choice
    others = set(declared) - {None, *SPLITS}
    apart = [split if split in others else None for split in declared]
    if None not in apart:
        apart = [None] * len(declared)
    if request.test and TEST in apart:
        rule = "left out where the source declares a test split, which must not get into training"
        raise RequestError(must_be("--test", rule, request.test), hint="leave out --test: the test split is kept")
    free = [index for index, split in enumerate(apart) if split is None]
    val = _share(request)
    if len(free) < 2 and val:
        raise RequestError(
            f"a split needs at least 2 images, one for training and one for validation, got {len(free)}",
            hint="--val 0 puts all images into train, without val_coco.json",
        )
    objects = read.counts[[kept[at] for at in free]].tolist()
    free_names, test, by = [names[at] for at in free], request.test, request.split_by
    plan = plan_split(free_names, val=val, test=test, seed=request.seed, by=by, objects=objects)
    chosen = [split or "train" for split in apart]
    for side, positions in (("val", plan.val), (TEST, plan.test)):
        for position in positions:
            chosen[free[position]] = side
    stays = sorted({split for split in apart if split})
    reason = plan.reason + (f"; {', '.join(stays)} kept as declared by the source" if stays else "")
    warnings = (*plan.warnings, *([] if _is_asked(request) else _partly_declared([declared[at] for at in free])))
    return _by_split(chosen, kept), SplitChoice(plan.by, reason, val, request.seed, plan.groups, warnings, test)


def _partly_declared(declared: Sequence[str | None]) -> Iterator[str]:
    """Yield a warning that a split declared for only some images is not kept."""
    number = len(declared) - declared.count(None)
    if 0 < number < len(declared):
        yield f"the source declares train or val for only {number} of {len(declared)} images: all were split again"


def _is_asked(request: ConvertRequest) -> bool:
    """Return whether the user requested another split than the source's."""
    return request.val is not None or request.split_by is not None or request.test > 0


def _share(request: ConvertRequest) -> float:
    return DEFAULT_VAL if request.val is None else request.val


def _by_split(chosen: Sequence[str], kept: Sequence[int]) -> dict[str, list[int]]:
    ordered = sorted(set(chosen), key=lambda name: (name not in SPLITS, name))
    return {split: [row for row, own in zip(kept, chosen, strict=True) if own == split] for split in ordered}


def _write(
    result: ConvertResult,
    read: ReadResult,
    splits: Mapping[str, Sequence[int]],
    target: Format,
    request: ConvertRequest,
    progress: Progress,
) -> ConvertResult:
    """Write the data set; return the result with its counts."""
    if target.write is None:
        raise RequestError(f"--to must be a format that posetools writes, got {target.name!r}")
    parts = {split: read.select(rows) for split, rows in splits.items()}
    result = replace(result, counts={split: count(part) for split, part in parts.items()}, lost=losses(target, parts))
    with staged_folder(request.out, overwrite=request.overwrite) as folder:
        progress("writing", 0, 1)
        target.write(parts, folder, request.images)
        progress("writing", 1, 1)
        if request.bake_rotation:
            _bake_rotation(folder, progress)
        record = folder / CONVERSION
        if record.exists():
            raise RequestError(
                f"{CONVERSION} is reserved for convert, but is the {target.title} file of an image",
                hint="rename that image",
            )
        write_record(folder, _document(result, target, request), read.categories)
    return result


def _bake_rotation(folder: Path, progress: Progress) -> None:
    """Replace images with an EXIF orientation (or the links to them) by upright files without one."""
    paths = sorted(path for path in folder.rglob("*") if is_image(path))
    for number, path in enumerate(paths, start=1):
        header = read_header(path)
        if (header.orientation, header.ignored) != (1, 1):
            content = upright_bytes(path)
            try:
                # Delete first: writing through a hard link would change the original.
                path.unlink()
                path.write_bytes(content)
            except OSError as exc:
                raise OutputError(f"{printable(str(path))}: cannot be written: {exc.strerror or exc}") from exc
        progress("rotating images", number, len(paths))


def _document(result: ConvertResult, target: Format, request: ConvertRequest) -> dict[str, Any]:
    return {
        "source": {
            "format": result.source_format,
            "paths": [path.as_posix() for path in request.sources],
            "files": result.files,
            "ignored": result.ignored,
        },
        "format": target.name,
        "splits": {split: counts.as_dict() for split, counts in result.counts.items()},
        "split": result.split.as_dict() if result.split else None,
        "lost": {part: number for loss in result.lost for part, number in loss.counts.items()},
        "options": _options(request),
        **findings_sections(result.findings),
    }


def _options(request: ConvertRequest) -> dict[str, Any]:
    """Return the options that determine the output: not workers, progress and location."""
    read = request.read
    return {
        "skeleton": Path(request.skeleton).as_posix() if request.skeleton else None,
        "images": request.images,
        "bake_rotation": request.bake_rotation,
        "keep_going": request.keep_going,
        "image_roots": [path.as_posix() for path in read.image_roots],
        "map": dict(sorted(read.names.items())),
        "ignore": sorted(read.ignore),
        "categories": read.categories,
        "one_object_per_image": read.one_object,
        "box_from": read.box_from,
        "box_margin": read.box_margin,
        "box_margin_px": read.box_margin_px,
        "label_pattern": read.label_pattern,
        "hidden_flags": sorted(read.hidden),
        "kpt_shape": read.kpt_shape,
        "kpt_order": read.kpt_order,
        "keypoints_from": read.keypoints_from,
        "drop_crowds": read.drop_crowds,
        "encoding": read.encoding,
        "assume_visible": read.assume_visible,
        "trust_sizes": read.trust_sizes,
        "attributes": dict(sorted(read.attributes.items())),
        "mapping": read.mapping.as_posix() if read.mapping else None,
    }
