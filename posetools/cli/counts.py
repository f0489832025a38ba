"""The table of counts that ``convert`` and ``split`` end with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posetools.core.record import SplitCounts


def print_next(out: Path, splits: Collection[str]) -> None:
    """Print the command that checks what was written, and the one that makes it fit for training."""
    from posetools.core.folder import SPLITS, split_command
    from posetools.errors import printable, quoted

    print(printable(f"next: posetools validate {quoted(out)}"))
    if len(set(SPLITS) & set(splits)) == 1:
        print(printable(f"      {split_command(out)}  (training needs train and val)"))


def print_counts(counts: Mapping[str, SplitCounts], how: str, notes: Sequence[str]) -> None:
    """Print pictures, objects, and per keypoint visible / hidden / not labelled, a column per split."""
    from rich.table import Table

    from posetools.cli.console import console, escape
    from posetools.cli.hints import in_own_words

    out = console()
    table = Table(title="per keypoint: visible / hidden / not labelled")
    table.add_column("")
    for split in counts:
        table.add_column(split, justify="right")
    table.add_row("pictures", *(str(each.pictures) for each in counts.values()))
    table.add_row("instances", *(str(each.instances) for each in counts.values()), end_section=True)
    for name in next(iter(counts.values())).keypoints:
        cells = []
        for each in counts.values():
            missing, hidden, visible = each.keypoints[name]
            cells.append(f"{visible} / {hidden} / {missing}")
        table.add_row(escape(name), *cells)
    out.print(table)
    for line in (how, *notes):
        out.print(escape(in_own_words(line)))
