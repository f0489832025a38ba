"""The options that commands on data sets share, in the same words, and their sources at URLs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from posetools.errors import RequestError, must_be

LABELING = "a data set folder, a COCO file, or a folder or file that `posetools convert` reads."

Data = Annotated[Path, typer.Argument(metavar="DATA", help="The data set's folder, as convert writes it.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")]
Images = Annotated[
    Literal["copy", "hardlink", "symlink"], typer.Option(help="How the images come into the output, byte for byte.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the data set that is in --out.")]
SkeletonOfData = Annotated[
    str | None, typer.Option("--skeleton", help="A built-in skeleton or a YAML file.", show_default="the data's own")
]
SkeletonOfTwo = Annotated[
    str | None, typer.Option("--skeleton", help="A built-in skeleton or a YAML file.", show_default="that of A or B")
]
MatchIou = Annotated[float, typer.Option(help="Objects are the same when the IoU of their boxes is at least this.")]


def source_path(text: str) -> Path:
    """Return the path of a source, which may be a URL."""
    from posetools.files.urls import as_path

    return as_path(text)


def refuse_url(source: Path, options: Mapping[str, bool]) -> None:
    """Refuse a source at a URL with options that need a local one.

    Args:
        source: the source.
        options: those options, and whether they are given.

    Raises:
        RequestError: one is, and the source is a URL.
    """
    from posetools.files.urls import is_url

    given = [option for option, is_given in options.items() if is_given]
    if given and is_url(source):
        raise RequestError(f"{source}: must be a local path with {' and '.join(given)}")


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """Return the pairs of ``--map OLD=NEW``.

    Raises:
        RequestError: one is none, or a label is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        # An empty label is that of what has none.
        old, separator, new = text.rpartition("=")
        if not separator or not new:
            raise RequestError(must_be("--map", "OLD=NEW, a label in the source and the skeleton's name for it", text))
        if found.setdefault(old, new) != new:
            raise RequestError(must_be("--map", f"given once per label, and {old!r} is {found[old]!r} already", text))
    return found
