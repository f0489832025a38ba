"""How ``posetools train`` shows where the run is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column, Table

from posetools.cli.console import console
from posetools.mm.hooks import TrainListener, TrainStatus
from posetools.mm.train import TrainResult

# Seconds between plain lines within an epoch.
_PAUSE = 30.0
# MMDet's metric gives no numbers at all, not even 0, when no box was predicted on any picture.
_NOTHING = "no numbers, as nothing was predicted"


@contextmanager
def display() -> Iterator[TrainListener]:
    """Give a listener that fits where stderr goes."""
    if not sys.stderr.isatty():
        yield PlainDisplay()
        return
    # On a narrow terminal the numbers are cut, not wrapped: a bar of two lines would jump.
    numbers = TextColumn("{task.fields[numbers]}", table_column=Column(no_wrap=True))
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), numbers)
    with Progress(*columns, console=Console(stderr=True, highlight=False)) as bar:
        yield BarDisplay(bar)


class PlainDisplay:
    """One line per epoch, per evaluation, and per half a minute."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def say(self, line: str) -> None:
        """Print a sentence."""
        print(line, file=sys.stderr, flush=True)

    def update(self, status: TrainStatus) -> None:
        """Print where the run is, when it is time."""
        if status.phase == "scored":
            self.say(f"epoch {status.epoch}/{status.epochs} evaluated: {metrics_text(status.metrics)}")
        elif status.phase == "train" and (
            status.iteration == status.iterations or time.monotonic() - self._told >= _PAUSE
        ):
            self._told = time.monotonic()
            self.say(f"{_epoch(status)} {status.iteration}/{status.iterations}  {_numbers(status)}")


class BarDisplay:
    """One bar over all iterations, with the numbers of the last one beside it."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("starting", total=None, numbers="")

    def say(self, line: str) -> None:
        """Print a sentence above the bar."""
        self._bar.console.print(escape(line))

    def update(self, status: TrainStatus) -> None:
        """Move the bar; an evaluation's numbers stay above it."""
        if status.phase == "scored":
            self.say(f"epoch {status.epoch}/{status.epochs} evaluated: {metrics_text(status.metrics)}")
        self._bar.update(
            self._task,
            description=_epoch(status),
            completed=status.done,
            total=status.total,
            numbers=f"evaluating {status.iteration}/{status.iterations}"
            if status.phase == "val"
            else f"{status.iteration}/{status.iterations} {_numbers(status)}",
        )


def print_result(result: TrainResult, stage: str) -> None:
    """Print what a run left, and the command that evaluates it."""
    out = console()
    table = Table(show_header=False, title=f"{stage}: epoch {result.epochs}")
    table.add_row("work folder", escape(str(result.work_dir)))
    table.add_row("last checkpoint", result.last.name)
    table.add_row("best checkpoint", result.best.name if result.best else "none")
    for name, value in result.metrics.items():
        table.add_row(name, f"{value:.3f}")
    out.print(table)
    out.print(f"evaluate it: posetools eval --stage {stage} {escape(str(result.best or result.last))}")


def metrics_text(metrics: Mapping[str, float | None]) -> str:
    """Return an evaluation's numbers on one line; what could not be measured is n/a."""
    return (
        ", ".join(f"{name} {'n/a' if value is None else f'{value:.3f}'}" for name, value in metrics.items()) or _NOTHING
    )


def _epoch(status: TrainStatus) -> str:
    return f"epoch {status.epoch}/{status.epochs}"


def _numbers(status: TrainStatus) -> str:
    parts = [
        f"loss {status.loss:.4g}" if status.loss is not None else "",
        f"lr {status.lr:.2g}" if status.lr is not None else "",
        f"{status.rate:.2f} it/s" if status.rate else "",
        f"{timedelta(seconds=round(status.seconds_left))} left" if status.seconds_left else "",
    ]
    first = next(iter(status.metrics.items()), None)
    if first is not None and first[1] is not None:
        parts.append(f"{first[0].rpartition('/')[2]} {first[1]:.3f}")
    return "  ".join(part for part in parts if part)
