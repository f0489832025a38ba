"""What ``posetools predict`` prints when it is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from posetools.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

    from posetools.prediction.predict import PredictReport, Seen

# Beyond these, lines are counted.
_LISTED = 20
_NAMED = 4


def print_report(report: PredictReport) -> None:
    """Print what was found, what was written, and what could not be read."""
    from posetools.cli.console import console

    out = console()
    if report.seen:
        _print_seen(report.seen, out)
    rate = report.pictures / report.seconds if report.seconds else 0.0
    out.print(
        f"{_count(report.objects, 'object')} in {_count(report.pictures, 'picture')}, {report.seconds:.1f} s "
        f"({rate:.1f} pictures a second)"
    )
    for path in report.written[:_NAMED] if len(report.written) > _NAMED + 1 else report.written:
        out.print(printable(f"  {path}"), markup=False)
    if len(report.written) > _NAMED + 1:
        out.print(
            printable(f"  ... and {len(report.written) - _NAMED} more in {_folder(report.written)}"), markup=False
        )
    for note in report.notes:
        out.print(f"note: {printable(note)}", markup=False)
    for problem in report.problems[:_LISTED]:
        out.print(printable(f"problem: {problem}"), markup=False)
    if len(report.problems) > _LISTED:
        out.print(f"... and {len(report.problems) - _LISTED} more problems")
    if report.seen:
        out.print("--output-root DIR writes drawn pictures, and with --save-predictions the numbers")


def _print_seen(seen: Sequence[Seen], out: Console) -> None:
    from rich.table import Table

    from posetools.cli.console import escape

    table = Table("picture", "objects", "scores")
    for one in seen[:_LISTED]:
        scores = " ".join(f"{score:.2f}" for score in one.scores[:_LISTED])
        table.add_row(escape(one.name), str(len(one.scores)), scores + (" ..." if len(one.scores) > _LISTED else ""))
    if len(seen) > _LISTED:
        table.add_row(f"... and {len(seen) - _LISTED} more", "", "")
    out.print(table)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _folder(written: Sequence[Path]) -> Path:
    return min((path.parent for path in written), key=lambda folder: len(folder.parts))
