"""``posetools annotate``: labelme with the right labels, flags and colors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posetools.cli.console import say
from posetools.errors import RequestError, printable, quoted

if TYPE_CHECKING:
    from posetools.labeling.annotate import AnnotateResult


def annotate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of images and their labelme files.")],
    skeleton: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Skeleton: car8, coco17 or a skeleton file.",
            show_default="the folder's own skeleton.yaml, data set or labels; else car8",
        ),
    ] = None,
    then_convert: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="When labelme is closed, convert the folder to a data set in DIR."),
    ] = None,
    then_validate: Annotated[
        bool, typer.Option("--then-validate", help="Then validate that data set. Needs --then-convert.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the data set in --then-convert.")] = False,
) -> None:
    """Start labelme on a folder with the labels, flags and colors of a skeleton.

    labelme must be installed.

    Exit status: 0 done; 1 --then-convert or --then-validate has findings, or labelme failed; 2 could not run.
    """
    from posetools.core.categories import load_categories
    from posetools.datasets.own_skeleton import skeleton_to_label
    from posetools.labeling.annotate import annotate as run_labelme
    from posetools.labeling.annotate import check_convertible, check_folder, convention, find_labelme

    if then_validate and then_convert is None:
        raise RequestError("--then-validate needs --then-convert DIR", hint="add --then-convert DIR")
    if skeleton is not None:
        load_categories(skeleton)
    check_folder(folder)
    # Report what would fail afterwards before the user labels for an hour.
    if then_convert is not None:
        check_convertible(folder, then_convert, skeleton, overwrite=overwrite)
    own = skeleton_to_label(folder, skeleton)
    program = find_labelme()
    for line in (*convention(own.categories), f"skeleton: {own.categories.name}, {own.source}"):
        print(printable(line), flush=True)
    result = run_labelme(folder, own.categories, program)
    _print(result)
    status = 1 if result.problems else 0
    if then_convert is not None:
        status = max(status, _convert(folder, then_convert, skeleton, overwrite=overwrite))
        if then_validate and (then_convert / "train_coco.json").is_file():
            status = max(status, _validate(then_convert))
    if status:
        raise typer.Exit(status)


def _print(result: AnnotateResult) -> None:
    counts = f"labelme files: {result.new} new, {result.changed} changed; images without one: {result.without}"
    lines = [*result.problems, counts]
    if result.predicted:
        lines.append(f"prelabeled files not yet saved by a person: {result.predicted}")
    if result.brought_back:
        lines.append(f"files restored to their originals: {result.brought_back}")
    for line in lines:
        say(line)


# Hints of the two commands below name their options, so the command line is printed first.
def _convert(folder: Path, out: Path, skeleton: str | None, *, overwrite: bool) -> int:
    """Convert the labels; return the exit status."""
    from posetools.cli.convert import convert

    more = "" if skeleton is None else f" --skeleton {quoted(skeleton)}"
    more += " --overwrite" if overwrite else ""
    say(f"posetools convert {quoted(folder)} --from labelme --out {quoted(out)}{more}")
    return _status(partial(convert, [folder], out, source_format="labelme", skeleton=skeleton, overwrite=overwrite))


def _validate(data: Path) -> int:
    """Check the data set; return the exit status."""
    from posetools.cli.validate import validate

    say(f"posetools validate {quoted(data)}")
    return _status(partial(validate, data))


def _status(command: Callable[[], None]) -> int:
    """Run another command; return its exit status."""
    try:
        command()
    except typer.Exit as exc:
        return exc.exit_code
    return 0
