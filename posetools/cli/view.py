"""``posetools view``: labels, and predictions beside them, as pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from posetools.errors import RequestError, must_be, printable

_CHOICE = "What is shown"
_LOOKS = "How it looks"

Data = Annotated[
    Path, typer.Argument(help="A data set folder, or a folder or file that `posetools convert` reads.", metavar="DATA")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="The file of the sheet, or the folder.", show_default="view.png; view/ with --each"
    ),
]
Split = Annotated[
    str | None,
    typer.Option(metavar="train|val|...", help="Only this split.", show_default="all", rich_help_panel=_CHOICE),
]
FindingCode = Annotated[
    str | None,
    typer.Option(
        metavar="CODE",
        help="Only pictures with such a finding of `posetools validate`; the objects that it names are marked.",
        rich_help_panel=_CHOICE,
    ),
]
Predictions = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file of `posetools predict`: each picture that it has with its labels on the left and the predictions "
        "on the right.",
        rich_help_panel=_CHOICE,
    ),
]
Number = Annotated[
    int, typer.Option("--n", "-n", min=1, help="How many pictures, or objects, at most.", rich_help_panel=_CHOICE)
]
Seed = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Choose by lot; the same seed, the same choice.",
        show_default="spread evenly",
        rich_help_panel=_CHOICE,
    ),
]
Objects = Annotated[
    bool,
    typer.Option("--objects", help="Show each object by itself, cut out: for small ones.", rich_help_panel=_CHOICE),
]
Each = Annotated[
    bool, typer.Option("--each", help="Write single pictures, in full resolution, into a new folder: no sheet.")
]
Names = Annotated[bool, typer.Option("--names", help="Write each point's name beside it.", rich_help_panel=_LOOKS)]
Indices = Annotated[
    bool, typer.Option("--indices", help="Write each point's number, from 0, beside it.", rich_help_panel=_LOOKS)
]
SkeletonName = Annotated[
    str | None, typer.Option("--skeleton", help="A built-in skeleton or a YAML file.", show_default="the data's own")
]
Columns = Annotated[
    int | None,
    typer.Option(min=1, help="Pictures in a row of the sheet.", show_default="by their shape", rich_help_panel=_LOOKS),
]
Tile = Annotated[
    str | None,
    typer.Option(
        metavar="W|WxH",
        help="The size of a picture in the sheet, in pixels.",
        show_default="320 to 1280 wide, by their number",
        rich_help_panel=_LOOKS,
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
    skeleton: SkeletonName = None,
    columns: Columns = None,
    tile: Tile = None,
) -> None:
    """Draw the labels into the pictures, and show them on one sheet: discs are visible points, rings hidden ones.

    Exit status: 0 done (also when there is nothing to show, which is said), 2 could not run.
    """
    from dataclasses import replace

    from posetools.cli.console import progress
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
        print(printable(note))
    if result.out:
        print(printable(f"wrote {result.out}: {result.shown} of {result.among} {'objects' if objects else 'pictures'}"))


def _size(text: str | None) -> tuple[int, int | None] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{1,3})(?:x([1-9][0-9]{1,3}))?", text)
    if match is None:
        raise RequestError(must_be("--tile", "a width, or WIDTHxHEIGHT, of 10 to 9999 pixels, such as 480x360", text))
    return int(match[1]), int(match[2]) if match[2] else None
