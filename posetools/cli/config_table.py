"""What ``posetools config`` prints: the pair, and the table that explains its recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posetools.errors import printable, printable_lines

if TYPE_CHECKING:
    from rich.table import Table

    from posetools.recipes.emit import ChosenPair
    from posetools.recipes.recipe import Recipe

_TITLES = {"det": "RTMDet", "pose": "RTMPose", "": "both"}


def print_pair(pair: ChosenPair, *, explain: bool) -> None:
    """Print the two files, the notes, and the table when asked for."""
    from posetools.cli.console import console

    out = console()
    if explain:
        out.print(printable(f"data: {pair.facts.shapes}"), markup=False)
        for stage in _TITLES:
            out.print(_table(pair.recipe, stage))
    for path in (pair.det, pair.pose):
        print(printable(str(path)))
    for note in pair.notes:
        print(printable_lines(f"  {note}"))


def _table(recipe: Recipe, stage: str) -> Table:
    """Return the table of one stage, which fits 80 columns."""
    from rich import box
    from rich.table import Table

    from posetools.cli.console import escape

    table = Table(title=_TITLES[stage], title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, width=80)
    table.add_column("field", no_wrap=True)
    table.add_column("stock", no_wrap=True, style="dim")
    table.add_column("chosen", max_width=16, overflow="fold")
    table.add_column("reason", ratio=1)
    for row in recipe.choices:
        if row.stage == stage:
            # Above all the reader wants to see which values are their own.
            chosen, reason = escape(row.chosen), escape(row.reason)
            table.add_row(row.field, row.stock, f"[bold]{chosen}[/]", f"[cyan]{reason}[/]" if row.stated else reason)
    return table
