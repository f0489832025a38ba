"""``posetools convert``: annotations in one format to a data set with splits in another."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from posetools.cli.console import console, folds_left_out, print_counts, print_findings, print_next, progress, say
from posetools.cli.options import Out, comma_separated, pairs, source_path
from posetools.cli.source_options import (
    FORMAT_NAMES,
    BoxFrom,
    From,
    Ignore,
    Map,
    OneObject,
    SkeletonName,
    SplitBy,
    Test,
    Val,
)
from posetools.errors import RequestError, counted, must_be

if TYPE_CHECKING:
    from posetools.datasets.convert import ConvertRequest, ConvertResult
    from posetools.formats.options import ReadOptions

_labels = partial(typer.Option, rich_help_panel="Labels and objects")
_points = partial(typer.Option, rich_help_panel="Keypoints and boxes")
_files = partial(typer.Option, rich_help_panel="Source files")
_split = partial(typer.Option, rich_help_panel="Splits")
_output = partial(typer.Option, rich_help_panel="Output")

Sources = Annotated[
    list[Path],
    typer.Argument(
        parser=source_path,
        metavar="SRC...",
        help="Files, folders or zip files in one format. labelme and coco also from URLs (s3://..., gs://...; "
        "docs/scale.md).",
    ),
]
To = Annotated[str, typer.Option("--to", metavar="FORMAT", help=f"Output format: {FORMAT_NAMES}.")]
Seed = Annotated[int, _split(help="Random seed of the split.")]
Images = Annotated[
    Literal["copy", "hardlink", "symlink", "none"],
    _output(help="How to put the image files in the output. none: leave them where they are."),
]
Workers = Annotated[int, typer.Option(min=1, help="Processes that read in parallel.")]
ClusterAddress = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="labelme, yolo-pose: read on a Dask cluster instead of --workers. ADDRESS is its scheduler, such as "
        "tcp://HOST:8786. Needs the extra `cluster`.",
    ),
]
ImageRoot = Annotated[
    list[Path] | None,
    _files(
        parser=source_path,
        metavar="DIR",
        help="Another folder or zip file with images; the longest matching end of a path wins. Repeatable.",
    ),
]
Categories = Annotated[
    str | None, _labels(metavar="A,B,...", help="Read only objects with these labels; leave out and count all others.")
]
KeypointsFrom = Annotated[
    Literal["annotation", "categories"],
    _points(
        help="categories: each keypoint is an object with its own category (coco), or a box around the keypoint; "
        "join them to objects."
    ),
]
DropCrowds = Annotated[bool, _labels("--drop-crowds", help="coco: leave out and count crowd objects (iscrowd).")]
Encoding = Annotated[
    str | None,
    _files(
        metavar="NAME",
        help="Encoding of labelme files and of names in zip files, such as gbk or cp437.",
        show_default="UTF-8",
    ),
]
BoxMargin = Annotated[
    str,
    _points(
        metavar="FRACTION|PIXELSpx",
        help="Margin of a box around keypoints: a fraction of its sides (0.1) or pixels (20px).",
    ),
]
LabelPattern = Annotated[
    str | None,
    _labels(
        metavar="REGEX",
        help="labelme: regular expression for labels with the group 'name' and optionally 'instance' and 'visibility'.",
    ),
]
HiddenFlag = Annotated[
    list[str] | None,
    _points(
        metavar="NAME",
        help="Another flag or word for 'labeled but not visible', in addition to occluded and hidden. Repeatable.",
    ),
]
KptShape = Annotated[
    str | None, _points(metavar="K,2|K,3", help="yolo-pose: kpt_shape, if data.yaml does not have it.")
]
KptOrder = Annotated[
    str | None,
    _points(metavar="A,B,...", help="Order of the keypoints in the source, if the source does not name them."),
]
AssumeVisible = Annotated[
    bool, _points("--assume-visible", help="Treat every point of a source without visibility as visible.")
]
Attribute = Annotated[
    list[str] | None,
    _labels(
        metavar="ROLE=NAME",
        help="via: region attribute for the label, object or visibility. With several, separated by commas, the first "
        "that has a value is used. Repeatable.",
    ),
]
Mapping = Annotated[
    Path | None,
    _files(
        metavar="FILE",
        help="custom: TOML file that describes the columns of a table. Implies --from custom.",
    ),
]
TrustSizes = Annotated[
    bool,
    _files(
        "--trust-sizes",
        help="labelme, coco: use the image sizes in the annotations and open no image. With --images none the images "
        "may be missing.",
    ),
]
BakeRotation = Annotated[
    bool,
    _output("--bake-rotation", help="Rewrite images with an EXIF orientation as training sees them, without the tag."),
]
KeepGoing = Annotated[bool, _output("--keep-going", help="Write everything that can be read despite errors.")]
Overwrite = Annotated[bool, _output("--overwrite", help="Replace the data set in --out.")]


def convert(
    sources: Sources,
    out: Out,
    source_format: From = None,
    target_format: To = "coco",
    skeleton: SkeletonName = None,
    val: Val = None,
    test: Test = None,
    seed: Seed = 0,
    split_by: SplitBy = None,
    images: Images = "copy",
    workers: Workers = 1,
    cluster: ClusterAddress = None,
    image_root: ImageRoot = None,
    names: Map = None,
    ignore: Ignore = None,
    categories: Categories = None,
    one_object: OneObject = False,
    box_from: BoxFrom = "annotation",
    box_margin: BoxMargin = "0.1",
    label_pattern: LabelPattern = None,
    hidden_flag: HiddenFlag = None,
    kpt_shape: KptShape = None,
    kpt_order: KptOrder = None,
    keypoints_from: KeypointsFrom = "annotation",
    drop_crowds: DropCrowds = False,
    encoding: Encoding = None,
    assume_visible: AssumeVisible = False,
    attribute: Attribute = None,
    mapping: Mapping = None,
    trust_sizes: TrustSizes = False,
    bake_rotation: BakeRotation = False,
    keep_going: KeepGoing = False,
    overwrite: Overwrite = False,
) -> None:
    """Convert labeled images to a COCO keypoint data set with train and val, or to another format.

    Writes images/, train_coco.json, val_coco.json, skeleton.yaml and conversion.json. An object that cannot be read is
    an error with file and place; nothing is written then, unless --keep-going is given.

    Exit status: 0 written; 1 errors found; 2 could not run.
    """
    from posetools.datasets.convert import ConvertRequest
    from posetools.scale.cluster import engine_of

    read = _label_options(names, ignore, categories, label_pattern, hidden_flag, attribute)
    read = replace(read, **_keypoints(kpt_shape, kpt_order, keypoints_from), one_object=one_object)
    read = replace(read, **_boxes(box_from, box_margin), assume_visible=assume_visible, drop_crowds=drop_crowds)
    read = replace(read, image_roots=tuple(image_root or ()), mapping=mapping, encoding=encoding)
    read = replace(read, trust_sizes=trust_sizes, workers=workers, engine=engine_of(cluster, workers))
    request = ConvertRequest(sources=tuple(sources), out=out, target_format=target_format, read=read, images=images)
    request = replace(request, val=val, test=test or 0.0, seed=seed, split_by=split_by, skeleton=skeleton)
    request = replace(request, source_format=source_format or ("custom" if mapping else None))
    request = replace(request, bake_rotation=bake_rotation, keep_going=keep_going, overwrite=overwrite)
    folds = folds_left_out(out, sources)
    raise typer.Exit(print_conversion(_converted(request), request, folds))


def _converted(request: ConvertRequest) -> ConvertResult:
    from posetools.datasets.convert import convert

    with progress() as report:
        return convert(request, report)


def print_conversion(
    result: ConvertResult, request: ConvertRequest, more: Sequence[str] = (), *, following: bool = True
) -> int:
    """Print the result with ``more`` notes, and with ``following`` the next command; return the exit status."""
    from posetools.core.findings import Severity

    print_findings(result.findings, console())
    errors = sum(finding.severity is Severity.ERROR for finding in result.findings)
    if not result.written or result.split is None:
        way = "" if request.keep_going else "; --keep-going writes what could be read"
        say(f"nothing was written: {counted(errors, 'error')}{way}")
        return 1
    notes = result.skeleton.summary if result.skeleton else []
    notes += [f"left out on purpose: {label} ({times})" for label, times in result.ignored.items()]
    if result.left_out:
        notes.append(f"left out: {counted(result.left_out, 'image')} with unreadable objects")
    files = counted(result.files, f"{result.source_format} annotation file")
    notes.append(f"read {files}, wrote {request.out}")
    notes += [loss.text for loss in result.lost]
    notes += [*more, *(f"warning: {each}" for each in result.split.warnings)]
    if errors:
        notes.append(f"{counted(errors, 'error')}: the images or objects named there are not in {request.out}")
    print_counts(result.counts, f"split: {result.split.reason}", notes)
    if following and request.target_format == "coco":
        print_next(request.out, result.counts)
    return 1 if errors else 0


def _label_options(
    names: Sequence[str] | None,
    ignore: Sequence[str] | None,
    categories: str | None,
    label_pattern: str | None,
    hidden_flag: Sequence[str] | None,
    attribute: Sequence[str] | None,
) -> ReadOptions:
    from posetools.formats.options import ReadOptions

    read = ReadOptions(names=pairs(names or ()), ignore=frozenset(ignore or ()), label_pattern=label_pattern)
    return replace(
        read,
        categories=comma_separated("--categories", categories),
        hidden=read.hidden | set(hidden_flag or ()),
        attributes=_roles(attribute or ()),
    )


def _keypoints(shape: str | None, order: str | None, source: str) -> dict[str, Any]:
    return {"kpt_shape": _shape(shape), "kpt_order": comma_separated("--kpt-order", order), "keypoints_from": source}


def _boxes(source: str, margin: str) -> dict[str, Any]:
    share, pixels = _margin(margin)
    return {"box_from": source, "box_margin": share, "box_margin_px": pixels}


def _margin(text: str) -> tuple[float, float]:
    """Return ``--box-margin`` as a fraction of the sides and as pixels; one of them is 0."""
    pixels = text.endswith("px")
    try:
        value = float(text.removesuffix("px"))
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise RequestError(must_be("--box-margin", "0 or more: a fraction such as 0.1, or pixels such as 20px", text))
    return (0.0, value) if pixels else (value, 0.0)


def _roles(texts: Sequence[str]) -> dict[str, str]:
    roles: dict[str, str] = {}
    for text in texts:
        role, _, name = text.partition("=")
        if not name or role in roles:
            raise RequestError(must_be("--attribute", "ROLE=NAME, such as label=part, once per role", text))
        roles[role] = name
    return roles


def _shape(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"\s*([1-9][0-9]*)\s*,\s*([23])\s*", text)
    if match is None:
        raise RequestError(must_be("--kpt-shape", "the number of keypoints and 2 or 3, such as 8,3", text))
    return int(match[1]), int(match[2])
