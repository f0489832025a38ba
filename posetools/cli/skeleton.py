"""``posetools skeleton``: look at a skeleton, check one's own file, write one to start from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posetools.cli.console import console, escape, table_of
from posetools.cli.help import HelpCommand, HelpGroup
from posetools.errors import RequestError, printable

if TYPE_CHECKING:
    from posetools.core.skeleton import Skeleton

app = typer.Typer(
    cls=HelpGroup,
    help="Show a skeleton, check a skeleton file, or write one to start from.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(cls=HelpCommand)
def show(
    name: Annotated[str, typer.Argument(metavar="[NAME|FILE]", help="car8, coco17, or a skeleton file.")] = "car8",
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print the file instead of the table.")] = False,
) -> None:
    """Show the keypoints, links and constants of a skeleton."""
    from posetools.core.skeleton import dump_skeleton, load_skeleton

    skeleton = load_skeleton(name)
    if as_yaml:
        print(dump_skeleton(skeleton), end="")
    else:
        _print_table(skeleton)


@app.command(cls=HelpCommand)
def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="A skeleton file.")]) -> None:
    """Tell whether a skeleton file is valid: exit status 0, or 2 with what is wrong and where."""
    from posetools.core.skeleton import read_skeleton

    skeleton = read_skeleton(file)
    pairs = sum(point.swap is not None for point in skeleton.keypoints) // 2
    category = f"category {skeleton.category.name!r}"
    points = f"{skeleton.num_keypoints} keypoints, {pairs} left/right pairs, {len(skeleton.links)} links"
    print(printable(f"{file}: valid: {skeleton.name}, {category}, {points}"))


@app.command(cls=HelpCommand)
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not exist.")],
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="NAME|FILE", help="Or: the skeleton to copy, with all that is in it."),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            "--keypoints",
            "--names",
            metavar="A,B,...",
            help="Names of the keypoints; swaps follow from left/right in them.",
            show_default="asked for in a terminal",
        ),
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="With --keypoints: what the object is called.", show_default="object")
    ] = None,
) -> None:
    """Write a commented skeleton file to start from."""
    from posetools.core.skeleton import load_skeleton
    from posetools.core.skeleton_draft import check_name, commented_yaml, draft_skeleton, pairs_found
    from posetools.files.disk import write_text

    if start is not None and (names is not None or category is not None):
        raise RequestError("--from copies a skeleton with its names\n  fix: leave --keypoints and --category out")
    if file.exists():
        raise RequestError(f"{file}: exists already, and is left as it is; choose another name")
    name = check_name(file)
    if start is not None:
        skeleton = load_skeleton(start).model_copy(update={"name": name})
    else:
        names, category = (names, category) if names is not None else _ask(file, name, category)
        skeleton = draft_skeleton(
            name, [part.strip() for part in names.split(",")], "object" if category is None else category
        )
    write_text(file, commented_yaml(skeleton))
    print(printable(f"wrote {file}; next: edit it, then posetools skeleton check {file}"))
    if start is None:
        print(*map(printable, pairs_found(skeleton)), sep="\n")


def _ask(file: Path, name: str, category: str | None) -> tuple[str, str]:
    """Return the keypoints and the category that somebody at a terminal types."""
    if not sys.stdin.isatty():
        command = f"posetools skeleton new {file}"
        raise RequestError(
            "skeleton new needs the names of the keypoints\n"
            f"  fix: {command} --category {category or name} --keypoints nose,left_ear,right_ear,...\n"
            f"  or copy a skeleton: {command} --from coco17"
        )
    category = category or typer.prompt("What the object is called", default=name)
    keypoints: str = typer.prompt("Its keypoints, with commas between them (nose,left_ear,right_ear,...)")
    return keypoints, category


def _print_table(skeleton: Skeleton) -> None:
    category = skeleton.category
    title = f"{skeleton.name}: category {category.name!r} (id {category.id}), {skeleton.num_keypoints} keypoints"
    each = enumerate(zip(skeleton.keypoints, skeleton.sigmas, skeleton.joint_weights, strict=True))
    points = [
        (str(i), point.name, point.swap or "-", f"{sigma:g}", f"{weight:g}", _rgb(point.color))
        for i, (point, sigma, weight) in each
    ]
    links = [(str(i), " - ".join(link.points), _rgb(link.color)) for i, link in enumerate(skeleton.links)]
    out = console()
    heads = ("", "keypoint", "swap", "sigma", "weight", "color (RGB)")
    out.print(table_of(points, *heads, title=escape(title)))
    if links:
        out.print(table_of(links, "", "link", "color (RGB)"))


def _rgb(color: Sequence[int]) -> str:
    return ", ".join(map(str, color))
