"""``posetools plot``: the learning curves of runs as a figure and a small table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posetools.cli.console import console, table_of
from posetools.errors import printable

if TYPE_CHECKING:
    from rich.table import Table

    from posetools.mm.run_log import RunLog


def plot(
    work_dirs: Annotated[
        list[Path], typer.Argument(metavar="WORK_DIR...", help="Work folders of runs, or folders that contain some.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Figure to write, as .png and .svg. Existing files are replaced.")
    ] = Path("curves.png"),
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="TAG,TAG",
            help="Values to plot, by their names in the log.",
            show_default="losses, metrics, learning rate",
        ),
    ] = None,
    smooth: Annotated[
        int, typer.Option(min=1, metavar="N", help="Smooth training values: mean over N logged points.")
    ] = 1,
) -> None:
    """Plot the learning curves of runs: losses, metrics and learning rate."""
    from posetools.mm.run_log import find_runs, read_run
    from posetools.training.curves import draw_curves, run_names

    found = dict.fromkeys(run for folder in work_dirs for run in find_runs(folder))
    runs = [read_run(folder) for folder in found]
    tags = tuple(dict.fromkeys(tag.strip() for tag in (metrics or "").split(",") if tag.strip()))
    files = draw_curves(runs, out, metrics=tags, smooth=smooth)
    screen = console()
    names = run_names([run.work_dir for run in runs])
    screen.print(_table(runs, names))
    for line in (*_notes(runs, names), *(f"wrote {path}" for path in files)):
        screen.print(printable(line), markup=False)


def _table(runs: Sequence[RunLog], names: Sequence[str]) -> Table:
    rows = []
    for run, name in zip(runs, names, strict=True):
        seconds = run.seconds_per_iteration
        epochs = "n/a" if run.epochs is None else str(run.epochs)
        head = (name, epochs, "n/a" if seconds is None else f"{seconds:.3g}")
        for row in _metric_rows(run):
            rows.append((*head, *row))
            head = ("", "", "")
    heads = ("run", "epochs", "s/iteration", "metric", "last", "best", "at epoch")
    table = table_of(rows, *heads, right=True, frame=False)
    for column in table.columns:
        column.no_wrap = True
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    table.columns[3].justify = "left"
    return table


def _metric_rows(run: RunLog) -> list[tuple[str, str, str, str]]:
    """Return name, last value, best value and its time, for the loss and each metric without its variants."""
    from posetools.mm.run_log import best_of
    from posetools.training.curves import family_of

    rows = []
    loss = {"loss": run.training["loss"]} if "loss" in run.training else {}
    for tag, curve in (loss | dict(run.metrics)).items():
        if family_of(tag) != tag and family_of(tag) in run.metrics:
            continue
        best = best_of(tag, curve)
        last = "n/a" if curve.last is None else _number(curve.last)
        at = ("n/a", "") if best is None else (_number(best[1]), run.at(best[0]))
        rows.append((tag, last, *at))
    return rows or [("nothing logged", "", "", "")]


def _number(value: float) -> str:
    return f"{value:.3f}" if 0.1 <= abs(value) < 1000 or value == 0 else f"{value:.3g}"


def _notes(runs: Sequence[RunLog], names: Sequence[str]) -> Iterator[str]:
    """Yield a line for each problem of a run, and for what the figure does not show."""
    for run, name in zip(runs, names, strict=True):
        if run.best is not None:
            yield f"{name}: best checkpoint {run.work_dir / run.best.checkpoint}"
        if run.resumed:
            yield f"{name}: resumed after {', '.join(run.when(at) for at in run.resumed)}"
        if run.replaced:
            yield f"{name}: {run.replaced} log lines are left out, because a later start trained those iterations again"
        if run.broken:
            yield f"{name}: the last line of a log is incomplete and is left out"
        loss = run.training.get("loss")
        if loss is not None and loss.gaps:
            yield f"{name}: the loss is not finite at {loss.gaps} of {len(loss)} logged points; these are gaps"
