"""``posetools convert``: annotations of one format in, a split data set of another out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from posetools.cli.urls import source_path
from posetools.errors import RequestError, must_be, printable

if TYPE_CHECKING:
    from posetools.convert import ConvertRequest, ConvertResult

_SOURCE = "What the source says"
_SPLIT = "The split"
_OUTPUT = "The output"
_FORMATS = "labelme, yolo-pose, coco, cvat, label-studio, via, deeplabcut, sleap"

Sources = Annotated[
    list[Path],
    typer.Argument(
        parser=source_path,
        metavar="SRC...",
        help="Files or folders, all of one format; labelme and coco also at URLs (s3://..., gs://...; docs/scale.md).",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")]
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
    typer.Option(
        help="The share of the pictures that is for evaluation. Left out: 0.1, or the source's own train and val.",
        rich_help_panel=_SPLIT,
    ),
]
Seed = Annotated[int, typer.Option(help="Another seed, another split.", rich_help_panel=_SPLIT)]
SplitBy = Annotated[
    str | None,
    typer.Option(
        metavar="picture|parent|REGEX",
        help="What stays together: nothing, the pictures of a folder, or those whose names match a regular expression "
        "alike (its first group, or the whole match). Left out: clips, when the names look like frames of clips.",
        rich_help_panel=_SPLIT,
    ),
]
Images = Annotated[
    Literal["copy", "hardlink", "symlink", "none"],
    typer.Option(
        help="How the pictures come into the output, byte for byte; 'none' leaves them where they are.",
        rich_help_panel=_OUTPUT,
    ),
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
    typer.Option(
        parser=source_path,
        metavar="DIR",
        help="A further folder where pictures may lie; found there by file name. Can be repeated.",
        rich_help_panel=_SOURCE,
    ),
]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="OLD=NEW",
        help="A label in the source and the skeleton's name for it. Can be repeated.",
        rich_help_panel=_SOURCE,
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(metavar="LABEL", help="A label to leave out and count. Can be repeated.", rich_help_panel=_SOURCE),
]
BoxFrom = Annotated[
    Literal["annotation", "keypoints"],
    typer.Option(
        help="Where the box of an object without one comes from: nowhere (an error), or its labelled keypoints.",
        rich_help_panel=_SOURCE,
    ),
]
BoxMargin = Annotated[
    float,
    typer.Option(
        min=0.0,
        help="How far a box from keypoints reaches beyond them, as a share of its sides.",
        rich_help_panel=_SOURCE,
    ),
]
LabelPattern = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX",
        help="labelme: a regular expression on labels with the groups 'name' and, if wanted, 'instance' and "
        "'visibility'.",
        rich_help_panel=_SOURCE,
    ),
]
HiddenFlag = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A flag or word that means 'labelled but hidden', besides occluded and hidden. Can be repeated.",
        rich_help_panel=_SOURCE,
    ),
]
KptShape = Annotated[
    str | None,
    typer.Option(
        metavar="K,2|K,3", help="yolo-pose: kpt_shape, when data.yaml does not say it.", rich_help_panel=_SOURCE
    ),
]
KptOrder = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...",
        help="yolo-pose: the keypoints in the order of the columns, when it is not the skeleton's.",
        rich_help_panel=_SOURCE,
    ),
]
AssumeVisible = Annotated[
    bool,
    typer.Option(
        "--assume-visible",
        help="Take every point of a source without visibility as visible.",
        rich_help_panel=_SOURCE,
    ),
]
Attribute = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ROLE=NAME",
        help="via: the region attribute that holds the label, the object or the visibility. Can be repeated.",
        rich_help_panel=_SOURCE,
    ),
]
Mapping = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="custom: a TOML file that says which column of a table is what; --from custom is then the default.",
        rich_help_panel=_SOURCE,
    ),
]
TrustSizes = Annotated[
    bool,
    typer.Option(
        "--trust-sizes",
        help="labelme, coco: believe the pictures' sizes in the annotations and open no picture; with --images none "
        "the pictures need not be there.",
        rich_help_panel=_SOURCE,
    ),
]
BakeRotation = Annotated[
    bool,
    typer.Option(
        "--bake-rotation",
        help="Rewrite images that state an EXIF orientation as training sees them, without it.",
        rich_help_panel=_OUTPUT,
    ),
]
KeepGoing = Annotated[
    bool,
    typer.Option(
        "--keep-going", help="Write what could be read although something could not.", rich_help_panel=_OUTPUT
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace the data set that is in --out.", rich_help_panel=_OUTPUT),
]


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
    box_from: BoxFrom = "annotation",
    box_margin: BoxMargin = 0.1,
    label_pattern: LabelPattern = None,
    hidden_flag: HiddenFlag = None,
    kpt_shape: KptShape = None,
    kpt_order: KptOrder = None,
    assume_visible: AssumeVisible = False,
    attribute: Attribute = None,
    mapping: Mapping = None,
    trust_sizes: TrustSizes = False,
    bake_rotation: BakeRotation = False,
    keep_going: KeepGoing = False,
    overwrite: Overwrite = False,
) -> None:
    """Convert labelled pictures into a data set: pictures, train_coco.json, val_coco.json, conversion.json.

    An object that cannot be read is an error with its file and place: nothing is written then, unless --keep-going.
    Exit status: 0 written, 1 errors found, 2 could not run.
    """
    from dataclasses import replace

    from posetools.cli.console import progress
    from posetools.cluster import engine_of
    from posetools.convert import ConvertRequest, convert
    from posetools.formats.base import ReadOptions

    read = ReadOptions(box_from=box_from, box_margin=box_margin, label_pattern=label_pattern, workers=workers)
    read = replace(read, image_roots=tuple(image_root or ()), names=pairs(names or ()), ignore=frozenset(ignore or ()))
    read = replace(read, hidden=read.hidden | set(hidden_flag or ()), assume_visible=assume_visible)
    read = replace(read, kpt_shape=_shape(kpt_shape), kpt_order=tuple(kpt_order.split(",")) if kpt_order else None)
    read = replace(read, attributes=_roles(attribute or ()), mapping=mapping, trust_sizes=trust_sizes)
    read = replace(read, engine=engine_of(cluster, workers))
    request = ConvertRequest(sources=tuple(sources), out=out, read=read, skeleton=skeleton, images=images)
    source_format = source_format or ("custom" if mapping else None)
    request = replace(request, source_format=source_format, target_format=target_format)
    request = replace(request, val=val, seed=seed, split_by=split_by)
    request = replace(request, bake_rotation=bake_rotation, keep_going=keep_going, overwrite=overwrite)
    with progress() as report:
        result = convert(request, report)
    raise typer.Exit(_print(result, request))


def _print(result: ConvertResult, request: ConvertRequest) -> int:
    """Print what came of it; return the exit status."""
    from posetools.cli.console import console, print_findings
    from posetools.cli.counts import print_counts, print_next
    from posetools.cli.hints import in_own_words
    from posetools.findings import Severity

    if result.findings:
        print_findings(result.findings, console())
    errors = sum(finding.severity is Severity.ERROR for finding in result.findings)
    if not result.written or result.split is None:
        more = "" if request.keep_going else in_own_words("; --keep-going writes what could be read")
        print(printable(f"nothing was written: {errors} error{'s' if errors > 1 else ''}{more}"))
        return 1
    notes = [f"left out by --ignore: {label} ({times})" for label, times in result.ignored.items()]
    plural = "" if result.files == 1 else "s"
    notes.append(f"read {result.files} {result.source_format} annotation file{plural}, wrote {request.out}")
    notes += [loss.text for loss in result.lost]
    notes += [f"warning: {each}" for each in result.split.warnings]
    if errors:
        notes.append(f"{errors} error{'s' if errors > 1 else ''}: what they name is not in {request.out}")
    print_counts(result.counts, f"split: {result.split.reason}", notes)
    if request.target_format == "coco":
        print_next(request.out, result.counts)
    return 1 if errors else 0


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """Return the pairs of ``--map OLD=NEW``.

    Raises:
        RequestError: one is none, or a label is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        old, _, new = text.rpartition("=")
        if not old or not new:
            raise RequestError(must_be("--map", "OLD=NEW, a label in the source and the skeleton's name for it", text))
        if found.setdefault(old, new) != new:
            raise RequestError(must_be("--map", f"given once per label, and {old!r} is {found[old]!r} already", text))
    return found


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
