"""Options shared by the commands on data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from posetools.errors import RequestError, must_be

LABELING = "a data set folder, a COCO file, or a file or folder that `posetools convert` reads."
SKELETON_HELP = "Skeleton: a built-in name or a YAML file."

Data = Annotated[Path, typer.Argument(metavar="DATA", help="Data set folder, as `posetools convert` writes it.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Output folder.")]
Images = Annotated[
    Literal["copy", "hardlink", "symlink"], typer.Option(help="How to put the image files in the output.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the data set in --out.")]
SkeletonOfData = Annotated[
    str | None, typer.Option("--skeleton", metavar="NAME|FILE", help=SKELETON_HELP, show_default="the data set's")
]
SkeletonOfTwo = Annotated[
    str | None, typer.Option("--skeleton", metavar="NAME|FILE", help=SKELETON_HELP, show_default="that of A or B")
]
MatchIou = Annotated[
    float, typer.Option(metavar="IOU", help="Objects match when the IoU of their boxes is at least IOU.")
]
TRAINER_HELP = "openmmlab (RTMDet and RTMPose), torchvision (Keypoint R-CNN, one model), or the trainer of a plug-in."
Trainer = Annotated[str, typer.Option("--trainer", metavar="NAME", help=TRAINER_HELP)]

# The values are those of ``Pretrained`` in posetools/recipes/options.py, which loads pydantic.
Pretrained = Annotated[
    Literal["coco", "imagenet", "starter", "none"] | None,
    typer.Option(
        rich_help_panel="Pretrained weights",
        help="Initial weights of both models. coco: the checkpoints of the stock recipes; imagenet: --backbone stock; "
        "starter: weights in posetools for sizes tiny and t, trained on rendered cars, no download; none: random "
        "weights, and the trained detector's backbone for pose. Downloads happen when training starts.",
        show_default="coco for the detector, the stock backbone for pose; starter with --minutes if these fit and "
        "the others cannot be downloaded",
    ),
]


def source_path(text: str) -> Path:
    """Return a source as a path; it may be a URL."""
    from posetools.files.urls import as_path

    return as_path(text)


def refuse_url(source: Path, options: Mapping[str, bool]) -> None:
    """Refuse a URL with options that need a local path.

    Args:
        source: the source.
        options: the options that need a local path, and whether each is given.

    Raises:
        RequestError: the source is a URL and one of the options is given.
    """
    from posetools.files.urls import is_url

    given = [option for option, is_given in options.items() if is_given]
    if given and is_url(source):
        raise RequestError(f"{source}: must be a local path with {' and '.join(given)}")


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """Return the pairs of ``--map OLD=NEW``.

    Raises:
        RequestError: a text has no ``=``, or a label is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        # An empty OLD stands for objects without a label.
        old, separator, new = text.rpartition("=")
        if not separator or not new:
            raise RequestError(must_be("--map", "OLD=NEW, a label in the source and its name in the skeleton", text))
        if found.setdefault(old, new) != new:
            raise RequestError(must_be("--map", f"given once per label, but {old!r} already is {found[old]!r}", text))
    return found


def comma_separated(option: str, text: str | None) -> tuple[str, ...] | None:
    """Return the names that an option lists; None if it is not given.

    Raises:
        RequestError: a name is empty.
    """
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise RequestError(must_be(option, "names separated by commas", text))
    return names


def code_of(text: str) -> str:
    """Return a finding code as it is written, from what the user typed: ``w215``, ``rivets/w1``."""
    check, slash, code = text.rpartition("/")
    return check + slash + code.upper()
