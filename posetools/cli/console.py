"""Output of the commands: tables, lists, findings, counts, and progress as a bar or as plain lines."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posetools.errors import first_lines, hint_lines, printable, quoted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn
    from rich.table import Table

    from posetools.core.findings import Finding
    from posetools.core.record import SplitCounts
    from posetools.progress import Progress as Report

# More findings of one code are only counted; --json and conversion.json have all of them.
LISTED_PER_CODE = 20
# A table of labels has one more line that counts those it leaves out.
_DETAILS = LISTED_PER_CODE + 1


def console() -> Console:
    """Return a console on stdout. Without a terminal it does not wrap lines."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def escape(text: str) -> str:
    """Return a text that may contain names of files and labels so that rich prints it unchanged, on one line."""
    from rich.markup import escape

    return escape(printable(text))


def say(text: str) -> None:
    """Print a line that may contain names of files and labels."""
    print(printable(text))


def table_of(
    rows: Iterable[Sequence[str]], *columns: str, right: bool = False, frame: bool = True, **style: Any
) -> Table:
    """Return a table of texts, without markup.

    Args:
        rows: the cells of each row.
        columns: the column headings; none for a table without headings.
        right: whether to right-align all columns but the first.
        frame: whether to draw lines around the table and between its columns.
        style: further arguments of rich's Table.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    looks: dict[str, Any] = {} if frame else {"box": SIMPLE_HEAD, "padding": (0, 0, 0, 1), "show_edge": False}
    table = Table(*columns, show_header=bool(columns), **looks, **style)
    for column in table.columns[1:] if right else ():
        column.justify = "right"
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def listed(what: str, lines: Sequence[str], most: int, rest: str) -> list[str]:
    """Return a heading and at most ``most`` lines; ``rest`` says where the others are. Without lines: nothing."""
    return [what, *first_lines([f"  {line}" for line in lines], most, f"  ... and {{}} more{rest}")] if lines else []


def _rate(unit: str) -> ProgressColumn:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.1f} {unit}" if speed else "")

    return Rate()


@contextmanager
def progress(rate: str = "") -> Iterator[Report]:
    """Yield a progress function: a bar on a terminal, elsewhere a line per tenth of the work.

    Args:
        rate: unit of the speed that the bar shows (``frames/s``); empty: no speed.
    """
    if not sys.stderr.isatty():
        yield _plain_lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [_rate(rate)] if rate else []
    columns.append(TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            # A camera has no total.
            known = total or None
            if what not in tasks:
                tasks[what] = bar.add_task(escape(what), total=known)
            bar.update(tasks[what], completed=done, total=known)

        yield report


def _plain_lines() -> Report:
    told: dict[str, int] = {}

    def report(what: str, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 10
        if told.get(what, -1) < tenth and (total >= 100 or done == total):
            told[what] = tenth
            print(printable(f"{what}: {done}/{total}"), file=sys.stderr, flush=True)

    return report


def print_findings(findings: Sequence[Finding], out: Console) -> None:
    """Print the findings by code, then a table of counts. Without findings: nothing."""
    from posetools.core.findings import Severity, count_by_code, severity_of, title_of

    if not findings:
        return
    counts = count_by_code(findings)
    for code in counts:
        of_code = [finding for finding in findings if finding.code == code]
        color = "red" if severity_of(code) is Severity.ERROR else "yellow"
        out.print(f"[bold {color}]{code} {escape(title_of(code))}[/] ({len(of_code)})")
        for finding in of_code[:LISTED_PER_CODE]:
            out.print(f"  {escape(finding.where)}: {escape(finding.message)}")
            for line in first_lines(finding.details, _DETAILS):
                out.print(f"    {escape(line)}")
            for line in hint_lines(finding.hint):
                out.print(f"    [dim]{escape(line)}[/]")
        if len(of_code) > LISTED_PER_CODE:
            out.print(f"  ... and {len(of_code) - LISTED_PER_CODE} more")
    rows = [(code, title_of(code), str(severity_of(code)), str(number)) for code, number in counts.items()]
    out.print(table_of(rows, "code", "rule", "severity", "count", title="findings"))


def print_next(out: Path, splits: Collection[str]) -> None:
    """Print the command that validates the output and, if val or train is missing, the one that splits it."""
    from posetools.core.folder import SPLITS, split_command

    print(printable(f"next: posetools validate {quoted(out)}"))
    if len(set(SPLITS) & set(splits)) == 1:
        print(printable(f"      {split_command(out)}  (training needs train and val)"))


def folds_left_out(out: Path, sources: Iterable[Path]) -> list[str]:
    """Return a note if a data set that will be replaced, or a source, has folds: the new data set has none."""
    from posetools.core.folder import folds_command, folds_of
    from posetools.files.urls import is_url

    having = next((path for path in (out, *sources) if not is_url(path) and folds_of(path)), None)
    return [f"folds of {having}: not kept; `{folds_command(out, having)}` writes new ones"] if having else []


def print_counts(counts: Mapping[str, SplitCounts], how: str, notes: Sequence[str]) -> None:
    """Print images, objects, and per keypoint visible / occluded / unlabeled, a column per split."""
    out = console()
    each = list(counts.values())
    rows = [("images", *(str(one.images) for one in each)), ("objects", *(str(one.instances) for one in each))]
    categories = dict.fromkeys(name for one in each for name in one.categories)
    rows += [(f"  {name}", *(str(one.categories.get(name, 0)) for one in each)) for name in categories]
    totals = len(rows)
    for name in each[0].keypoints:
        points = [one.keypoints[name] for one in each]
        rows.append((name, *(f"{visible} / {hidden} / {missing}" for missing, hidden, visible in points)))
    table = table_of(rows, "", *counts, right=True, title="per keypoint: visible / occluded / unlabeled")
    table.rows[totals - 1].end_section = True
    out.print(table)
    for line in (how, *notes):
        out.print(escape(line))
