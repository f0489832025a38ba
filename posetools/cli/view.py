"""``posetools view``: draws labels, and predictions next to them."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from posetools.cli.console import progress, say
from posetools.cli.options import SkeletonOfData, code_of
from posetools.errors import RequestError, must_be

_choice = partial(typer.Option, rich_help_panel="Selection")
_looks = partial(typer.Option, rich_help_panel="Appearance")

Data = Annotated[
    Path, typer.Argument(help="Data set folder, or a file or folder that `posetools convert` reads.", metavar="DATA")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="PATH",
        help="Sheet to write; with --each the folder.",
        show_default="view.png; with --each view/",
    ),
]
Split = Annotated[str | None, _choice(metavar="NAME", help="Only this split, such as train.", show_default="all")]
FindingCode = Annotated[
    str | None,
    _choice(
        metavar="CODE",
        help="Only images with this finding of `posetools validate`; the objects it names are marked.",
    ),
]
Predictions = Annotated[
    Path | None,
    _choice(
        metavar="FILE",
        help="Predictions file of `posetools predict`: show its images with labels on the left and predictions on the "
        "right.",
    ),
]
Number = Annotated[int, _choice("--n", "-n", min=1, metavar="N", help="Maximum number of images or objects.")]
Seed = Annotated[
    int | None, _choice(min=0, help="Select randomly, with this seed.", show_default="evenly spaced images")
]
Objects = Annotated[bool, _choice("--objects", help="Show a crop of each object, useful for small objects.")]
Each = Annotated[
    bool, typer.Option("--each", help="Write single images at full resolution to a new folder, instead of a sheet.")
]
Names = Annotated[bool, _looks("--names", help="Draw the name of each keypoint.")]
Indices = Annotated[bool, _looks("--indices", help="Draw the index of each keypoint, from 0.")]
Columns = Annotated[int | None, _looks(min=1, metavar="N", help="Images per row.", show_default="by their shape")]
Tile = Annotated[
    str | None,
    _looks(
        metavar="W|WxH",
        help="Size of an image in the sheet, in pixels.",
        show_default="320 to 1280 wide, by number of images",
    ),
]


def view(
    data: Data,
    out: Out = None,
    split: Split = None,
    finding: FindingCode = None,
    predictions: Predictions = None,
    n: Number = 25,
    seed: Seed = None,
    objects: Objects = False,
    each: Each = False,
    names: Names = False,
    indices: Indices = False,
    skeleton: SkeletonOfData = None,
    columns: Columns = None,
    tile: Tile = None,
) -> None:
    """Draw labels on the images and put them on one sheet.

    Filled circles are visible keypoints, rings are occluded ones.

    Exit status: 0 done, also if no image matches; 2 could not run.
    """
    from dataclasses import replace

    from posetools.imaging.drawing import Style
    from posetools.labeling.view import ViewRequest
    from posetools.labeling.view import view as show

    request = ViewRequest(data=data, out=out, split=split, finding=code_of(finding) if finding else None)
    request = replace(request, predictions=predictions, number=n, seed=seed, objects=objects, each=each)
    request = replace(request, skeleton=skeleton, columns=columns, tile=_size(tile))
    request = replace(request, style=Style(names=names, indices=indices))
    with progress() as report:
        result = show(request, report)
    for note in result.notes:
        say(note)
    if result.out:
        say(f"wrote {result.out}: {result.shown} of {result.among} {'objects' if objects else 'images'}")


def _size(text: str | None) -> tuple[int, int | None] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{1,3})(?:x([1-9][0-9]{1,3}))?", text)
    if match is None:
        raise RequestError(must_be("--tile", "a width, or WIDTHxHEIGHT, of 10 to 9999 pixels, such as 480x360", text))
    return int(match[1]), int(match[2]) if match[2] else None
