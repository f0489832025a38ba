"""``posetools skeleton``: shows a skeleton, checks a skeleton file, or writes a new one."""

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
    from posetools.core.skeleton_draft import Draft

app = typer.Typer(
    cls=HelpGroup,
    help="Show a skeleton, check a skeleton file, or write a new one.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(cls=HelpCommand)
def show(
    name: Annotated[str, typer.Argument(metavar="[NAME|FILE]", help="car8, coco17 or a skeleton file.")] = "car8",
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print YAML instead of a table.")] = False,
) -> None:
    """Show the keypoints, links and constants of a skeleton."""
    from posetools.core.categories import dump_categories, load_categories

    categories = load_categories(name)
    if as_yaml:
        print(dump_categories(categories), end="")
    else:
        for skeleton in categories.skeletons:
            _print_table(skeleton)


@app.command(cls=HelpCommand)
def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="Skeleton file.")]) -> None:
    """Check whether a skeleton file is valid.

    Exit status: 0 valid; 2 invalid, with the place and the problem.
    """
    from posetools.core.categories import read_categories

    for skeleton in read_categories(file).skeletons:
        points, category = f"{skeleton.num_keypoints} keypoints", f"category {skeleton.category.name!r}"
        parts = f"{points}, {len(skeleton.pairs)} left/right pairs, {len(skeleton.links)} links"
        print(printable(f"{file}: valid: {skeleton.name}, {category}, {parts}"))


@app.command(cls=HelpCommand)
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; it must not exist.")],
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME|FILE|DATA",
            help="Copy this skeleton, or take what annotations of any format declare, instead of --keypoints.",
        ),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            "--keypoints",
            "--names",
            metavar="A,B,...",
            help="Keypoint names. Pairs to swap are derived from left/right in them.",
            show_default="a prompt in a terminal",
        ),
    ] = None,
    category: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With --keypoints: name of the object. With --from DATA: the category to take.",
            show_default="object; with --from, the only category",
        ),
    ] = None,
) -> None:
    """Write a new skeleton file with comments."""
    from posetools.core.skeleton_draft import check_name, commented_yaml, pairs_found
    from posetools.files.disk import write_text

    if file.exists():
        raise RequestError(f"{file}: exists already", hint="choose another name")
    draft = _draft(file, check_name(file), start, names, category)
    write_text(file, commented_yaml(draft.skeleton))
    print(printable(f"wrote {file}; next: edit it, then posetools skeleton check {file}"))
    if draft.notes or start is None:
        print(pairs_found(draft))


def _draft(file: Path, name: str, start: str | None, names: str | None, category: str | None) -> Draft:
    """Return the skeleton to write: a copy, or made of data or of names."""
    from posetools.core.skeleton import BUILT_IN, load_skeleton
    from posetools.core.skeleton_draft import Draft, draft_skeleton
    from posetools.datasets.drafted import drafted, is_data

    if start is not None:
        data = start not in BUILT_IN and is_data(Path(start))
        if names is not None or (category is not None and not data):
            raise RequestError(
                "`posetools skeleton new --from` cannot be combined with --keypoints, or --category for a skeleton",
                hint="leave one of them out",
            )
        if data:
            return drafted(Path(start), name, category)
        return Draft(load_skeleton(start).model_copy(update={"name": name}), ())
    names, category = (names, category) if names is not None else _ask(file, name, category)
    points = [part.strip() for part in names.split(",")]
    return draft_skeleton(name, points, "object" if category is None else category, leave_unsure=True)


def _ask(file: Path, name: str, category: str | None) -> tuple[str, str]:
    """Return the keypoints and the category that the user types at a terminal."""
    if not sys.stdin.isatty():
        command = f"posetools skeleton new {file}"
        raise RequestError(
            "skeleton new needs keypoint names",
            hint=(
                f"{command} --category {category or name} --keypoints nose,left_ear,right_ear,...",
                f"or copy a skeleton: {command} --from coco17",
            ),
        )
    category = category or typer.prompt("Name of the object", default=name)
    keypoints: str = typer.prompt("Keypoint names, separated by commas (nose,left_ear,right_ear,...)")
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
