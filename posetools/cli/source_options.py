"""The options of ``convert`` that say what the labels mean, shared with ``fit``."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import typer

FORMAT_NAMES = "labelme, yolo-pose, coco, cvat, label-studio, via, deeplabcut, sleap"

_labels = partial(typer.Option, rich_help_panel="Labels and objects")
_points = partial(typer.Option, rich_help_panel="Keypoints and boxes")
_split = partial(typer.Option, rich_help_panel="Splits")

From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="FORMAT", help=f"Source format: {FORMAT_NAMES} or custom.", show_default="auto-detected"
    ),
]
SkeletonName = Annotated[
    str | None,
    typer.Option(
        "--skeleton",
        metavar="NAME|FILE",
        help="Skeleton: car8, coco17 or a skeleton file.",
        show_default="the source's own skeleton.yaml, data set or labels; else car8",
    ),
]
Val = Annotated[
    float | None,
    _split(help="Fraction of images for validation.", show_default="the source's own train and val, else 0.1"),
]
Test = Annotated[
    float | None,
    _split(help="Fraction of images for a test split.", show_default="the source's own test split, else none"),
]
SplitBy = Annotated[
    str | None,
    _split(
        metavar="image|parent|REGEX",
        help="Images to keep in the same split. image: each on its own; parent: those of a folder; REGEX: those with "
        "the same first group, or the same match, in their names.",
        show_default="the frames of a clip, if names look like frames; else image",
    ),
]
Map = Annotated[
    list[str] | None,
    _labels(
        "--map",
        metavar="OLD=NEW",
        help="Rename label OLD to NEW, a name in the skeleton. OLD may have the wildcards * and ?. Repeatable.",
    ),
]
Ignore = Annotated[
    list[str] | None,
    _labels(metavar="LABEL", help="Leave out and count this label; may have the wildcards * and ?. Repeatable."),
]
OneObject = Annotated[
    bool,
    _labels(
        "--one-object-per-image", help="Every image shows one object; all points in it are the object's keypoints."
    ),
]
BoxFrom = Annotated[
    Literal["annotation", "keypoints", "outlines"],
    _points(
        help="Box of an object that has none. annotation: an error; keypoints: around its labeled keypoints; "
        "outlines: also take polygons with as many corners as keypoints as object outlines."
    ),
]
