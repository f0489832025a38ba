"""``posetools convert``: annotations of one format in, a split data set of another out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from posetools.cli.console import console, print_counts, print_findings, print_next, progress, say
from posetools.cli.options import Out, pairs, source_path
from posetools.errors import RequestError, counted, must_be

if TYPE_CHECKING:
    from posetools.datasets.convert import ConvertRequest, ConvertResult
    from posetools.formats.options import ReadOptions

_source = partial(typer.Option, rich_help_panel="What the source says")
_split = partial(typer.Option, rich_help_panel="The split")
_output = partial(typer.Option, rich_help_panel="The output")
_FORMATS = "labelme, yolo-pose, coco, cvat, label-studio, via, deeplabcut, sleap"

Sources = Annotated[
    list[Path],
    typer.Argument(
        parser=source_path,
        metavar="SRC...",
        help="Files, folders or zip files, all of one format; labelme and coco also at URLs (s3://..., gs://...; "
        "docs/scale.md).",
    ),
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="FORMAT", help=f"{_FORMATS} or custom; left out: told by unmistakable signs."),
]
To = Annotated[str, typer.Option("--to", metavar="FORMAT", help=f"{_FORMATS}.")]
SkeletonName = Annotated[
    str | None,
    typer.Option(
        "--skeleton",
        help="car8, coco17, or the path of a skeleton file.",
        show_default="the source's own: its skeleton.yaml, data set or labels; else car8",
    ),
]
Val = Annotated[
    float | None,
    _split(help="The share of the images that is for evaluation. Left out: 0.1, or the source's own train and val."),
]
Seed = Annotated[int, _split(help="Another seed, another split.")]
SplitBy = Annotated[
    str | None,
    _split(
        metavar="picture|parent|REGEX",
        help="What stays together: nothing, the images of a folder, or those whose names match a regular expression "
        "alike (its first group, or the whole match). Left out: clips, when the names look like frames of clips.",
    ),
]
Images = Annotated[
    Literal["copy", "hardlink", "symlink", "none"],
    _output(help="How the images come into the output, byte for byte; 'none' leaves them where they are."),
]
Workers = Annotated[int, typer.Option(min=1, help="Processes that read in parallel; the output is the same.")]
ClusterAddress = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="labelme, yolo-pose: read on the workers of a Dask cluster, tcp://HOST:8786 its scheduler, instead of "
        "--workers; needs the extra `cluster`. The output is the same.",
    ),
]
ImageRoot = Annotated[
    list[Path] | None,
    _source(
        parser=source_path,
        metavar="DIR",
        help="A further folder or zip file with images; the longest common end of the path decides. Can be repeated.",
    ),
]
Map = Annotated[
    list[str] | None,
    _source(
        "--map",
        metavar="OLD=NEW",
        help="A label in the source and the skeleton's name for it; * and ? in the label are wildcards. Can be "
        "repeated.",
    ),
]
Ignore = Annotated[
    list[str] | None,
    _source(metavar="LABEL", help="A label to leave out and count; * and ? are wildcards. Can be repeated."),
]
Categories = Annotated[
    str | None, _source(metavar="A,B,...", help="Read only objects with these labels; leave out and count all others.")
]
OneObject = Annotated[
    bool,
    _source(
        "--one-object-per-image", help="Every image shows one object: all of its points are the object's keypoints."
    ),
]
KeypointsFrom = Annotated[
    Literal["annotation", "categories"],
    _source(
        help="'categories' joins keypoints that are objects of a category each (coco), or boxes around a keypoint."
    ),
]
DropCrowds = Annotated[bool, _source("--drop-crowds", help="coco: leave out and count groups of objects (iscrowd).")]
Encoding = Annotated[
    str | None,
    _source(
        metavar="NAME",
        help="The encoding of labelme files and of names in zip files that are not UTF-8, such as gbk or cp437.",
    ),
]
BoxFrom = Annotated[
    Literal["annotation", "keypoints", "outlines"],
    _source(
        help="Where the box of an object without one comes from: nowhere (an error), or its labeled keypoints. "
        "'outlines' takes polygons with as many corners as there are keypoints as outlines of objects too."
    ),
]
BoxMargin = Annotated[
    str,
    _source(
        metavar="FRACTION|PIXELSpx",
        help="How far a box from keypoints extends beyond them: a fraction of its sides (0.1), or pixels (20px).",
    ),
]
LabelPattern = Annotated[
    str | None,
    _source(
        metavar="REGEX",
        help="labelme: a regular expression on labels with the groups 'name' and, if wanted, 'instance' and "
        "'visibility'.",
    ),
]
HiddenFlag = Annotated[
    list[str] | None,
    _source(
        metavar="NAME",
        help="A flag or word that means 'labelled but hidden', besides occluded and hidden. Can be repeated.",
    ),
]
KptShape = Annotated[
    str | None, _source(metavar="K,2|K,3", help="yolo-pose: kpt_shape, when data.yaml does not say it.")
]
KptOrder = Annotated[
    str | None,
    _source(
        metavar="A,B,...", help="The keypoints in the order in which the source has them, where it does not name them."
    ),
]
AssumeVisible = Annotated[
    bool, _source("--assume-visible", help="Take every point of a source without visibility as visible.")
]
Attribute = Annotated[
    list[str] | None,
    _source(
        metavar="ROLE=NAME",
        help="via: the region attribute that holds the label, the object or the visibility; several, separated by "
        "commas: the first that says something. Can be repeated.",
    ),
]
Mapping = Annotated[
    Path | None,
    _source(
        metavar="FILE",
        help="custom: a TOML file that says which column of a table is what; --from custom is then the default.",
    ),
]
TrustSizes = Annotated[
    bool,
    _source(
        "--trust-sizes",
        help="labelme, coco: believe the images' sizes in the annotations and open no image; with --images none "
        "the images need not be there.",
    ),
]
BakeRotation = Annotated[
    bool,
    _output("--bake-rotation", help="Rewrite images that state an EXIF orientation as training sees them, without it."),
]
KeepGoing = Annotated[bool, _output("--keep-going", help="Write what could be read although something could not.")]
Overwrite = Annotated[bool, _output("--overwrite", help="Replace the data set that is in --out.")]


def convert(
    sources: Sources,
    out: Out,
    source_format: From = None,
    target_format: To = "coco",
    skeleton: SkeletonName = None,
    val: Val = None,
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
    """Convert labeled images into a data set: images, train_coco.json, val_coco.json, conversion.json.

    An object that cannot be read is an error with its file and place: nothing is written then, unless --keep-going.
    Exit status: 0 written, 1 errors found, 2 could not run.
    """
    from posetools.datasets.convert import ConvertRequest, convert
    from posetools.scale.cluster import engine_of

    read = _labels(names, ignore, categories, label_pattern, hidden_flag, attribute)
    read = replace(read, **_keypoints(kpt_shape, kpt_order, keypoints_from), one_object=one_object)
    read = replace(read, **_boxes(box_from, box_margin), assume_visible=assume_visible, drop_crowds=drop_crowds)
    read = replace(read, image_roots=tuple(image_root or ()), mapping=mapping, encoding=encoding)
    read = replace(read, trust_sizes=trust_sizes, workers=workers, engine=engine_of(cluster, workers))
    request = ConvertRequest(sources=tuple(sources), out=out, target_format=target_format, read=read, images=images)
    request = replace(request, val=val, seed=seed, split_by=split_by, skeleton=skeleton)
    request = replace(request, source_format=source_format or ("custom" if mapping else None))
    request = replace(request, bake_rotation=bake_rotation, keep_going=keep_going, overwrite=overwrite)
    with progress() as report:
        result = convert(request, report)
    raise typer.Exit(_print(result, request))


def _print(result: ConvertResult, request: ConvertRequest) -> int:
    """Print what came of it; return the exit status."""
    from posetools.core.findings import Severity

    print_findings(result.findings, console())
    errors = sum(finding.severity is Severity.ERROR for finding in result.findings)
    if not result.written or result.split is None:
        more = "" if request.keep_going else "; --keep-going writes what could be read"
        say(f"nothing was written: {counted(errors, 'error')}{more}")
        return 1
    notes = [f"left out on purpose: {label} ({times})" for label, times in result.ignored.items()]
    if result.left_out:
        notes.append(f"left out: {counted(result.left_out, 'image')} with an object that could not be read")
    files = counted(result.files, f"{result.source_format} annotation file")
    notes.append(f"read {files}, wrote {request.out}")
    notes += [loss.text for loss in result.lost]
    notes += [f"warning: {each}" for each in result.split.warnings]
    if errors:
        notes.append(f"{counted(errors, 'error')}: what they name is not in {request.out}")
    print_counts(result.counts, f"split: {result.split.reason}", notes)
    if request.target_format == "coco":
        print_next(request.out, result.counts)
    return 1 if errors else 0


def _labels(
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
        categories=_names("--categories", categories),
        hidden=read.hidden | set(hidden_flag or ()),
        attributes=_roles(attribute or ()),
    )


def _keypoints(shape: str | None, order: str | None, source: str) -> dict[str, Any]:
    return {"kpt_shape": _shape(shape), "kpt_order": _names("--kpt-order", order), "keypoints_from": source}


def _boxes(source: str, margin: str) -> dict[str, Any]:
    share, pixels = _margin(margin)
    return {"box_from": source, "box_margin": share, "box_margin_px": pixels}


def _names(option: str, text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise RequestError(must_be(option, "names separated by commas", text))
    return names


def _margin(text: str) -> tuple[float, float]:
    """Return the share of the sides and the pixels that ``--box-margin`` states, one of them 0."""
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
