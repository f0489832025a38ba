"""``posetools view``: labels, and predictions beside them, as images."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from posetools.cli.console import progress, say
from posetools.cli.options import SkeletonOfData
from posetools.errors import RequestError, must_be

_choice = partial(typer.Option, rich_help_panel="What is shown")
_looks = partial(typer.Option, rich_help_panel="How it looks")

Data = Annotated[
    Path, typer.Argument(help="A data set folder, or a folder or file that `posetools convert` reads.", metavar="DATA")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="The file of the sheet, or the folder.", show_default="view.png; view/ with --each"
    ),
]
Split = Annotated[str | None, _choice(metavar="train|val|...", help="Only this split.", show_default="all")]
FindingCode = Annotated[
    str | None,
    _choice(
        metavar="CODE",
        help="Only images with such a finding of `posetools validate`; the objects that it names are marked.",
    ),
]
Predictions = Annotated[
    Path | None,
    _choice(
        metavar="FILE",
        help="A file of `posetools predict`: each image that it has with its labels on the left and the predictions "
        "on the right.",
    ),
]
Number = Annotated[int, _choice("--n", "-n", min=1, help="How many images, or objects, at most.")]
Seed = Annotated[
    int | None, _choice(min=0, help="Choose by lot; the same seed, the same choice.", show_default="spread evenly")
]
Objects = Annotated[bool, _choice("--objects", help="Show each object by itself, cut out: for small ones.")]
Each = Annotated[
    bool, typer.Option("--each", help="Write single images, in full resolution, into a new folder: no sheet.")
]
Names = Annotated[bool, _looks("--names", help="Write each point's name beside it.")]
Indices = Annotated[bool, _looks("--indices", help="Write each point's number, from 0, beside it.")]
Columns = Annotated[int | None, _looks(min=1, help="Images in a row of the sheet.", show_default="by their shape")]
Tile = Annotated[
    str | None,
    _looks(
        metavar="W|WxH",
        help="The size of an image in the sheet, in pixels.",
        show_default="320 to 1280 wide, by their number",
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
    """Draw the labels into the images, and show them on one sheet: discs are visible points, rings hidden ones.

    Exit status: 0 done (also when there is nothing to show, which is said), 2 could not run.
    """
    from dataclasses import replace

    from posetools.imaging.drawing import Style
    from posetools.labeling.view import ViewRequest
    from posetools.labeling.view import view as show

    request = ViewRequest(data=data, out=out, split=split, finding=finding.upper() if finding else None)
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
