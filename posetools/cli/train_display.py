"""Progress of ``posetools train``: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

from posetools.cli.console import console, escape, table_of
from posetools.core.stages import Stage
from posetools.errors import printable_lines
from posetools.recipes.budget import BOX_AP50, OKS_AP50, verdict
from posetools.training.hooks import TrainListener, TrainStatus
from posetools.training.request import TrainRequest
from posetools.training.train import TrainResult, train

# Seconds between plain lines within an epoch.
_LINE_PAUSE = 30.0
_GAP = "  "
# Without any predicted box MMDet's metric returns no values at all, not even 0.
_NOTHING_PREDICTED = "no metrics, because nothing was predicted"
# The measure that judges the last evaluation of a run, and its name in OpenMMLab's metrics.
_JUDGED_METRICS = {"det": (BOX_AP50, "coco/bbox_mAP_50"), "pose": (OKS_AP50, "coco/AP .5")}


@contextmanager
def display() -> Iterator[TrainListener]:
    """Yield a listener that shows progress on stderr."""
    if not sys.stderr.isatty():
        yield PlainDisplay()
        return
    with TrainBar(Console(stderr=True, highlight=False)) as bar:
        yield BarDisplay(bar)


class TrainBar(Progress):
    """A bar over all iterations, and below it the values that fit on one line."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self.numbers: Sequence[str] = ()
        # No line may wrap, even on a narrow terminal: a display whose height changes flickers.
        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
            TextColumn("{task.fields[place]}", table_column=Column(no_wrap=True)),
        )
        super().__init__(*columns, console=out, expand=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the two lines."""
        yield self.make_tasks_table(self.tasks)
        yield Text(fitting(self.numbers, self._out.width), no_wrap=True, overflow="ellipsis")


def fitting(parts: Sequence[str], width: int) -> str:
    """Return as many of the first parts as fit on a line of this width, at least one."""
    while len(parts) > 1 and len(_GAP.join(parts)) > width:
        parts = parts[:-1]
    return _GAP.join(parts)


class PlainDisplay:
    """One line per epoch, per evaluation, and per 30 seconds."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def say(self, line: str) -> None:
        """Print a sentence."""
        print(printable_lines(line), file=sys.stderr, flush=True)

    def update(self, status: TrainStatus) -> None:
        """Print a line when one is due."""
        if status.phase == "scored":
            self.say(f"epoch {status.epoch}/{status.epochs} evaluated: {metrics_text(status.metrics)}")
        elif status.phase == "train" and (
            status.iteration == status.iterations or time.monotonic() - self._told >= _LINE_PAUSE
        ):
            self._told = time.monotonic()
            numbers = _GAP.join(part for part in (_left(status), *_numbers(status)) if part)
            self.say(f"{_epoch(status)} {status.iteration}/{status.iterations}  {numbers}")


class BarDisplay:
    """One bar over all iterations, with the latest values below it."""

    def __init__(self, bar: TrainBar) -> None:
        self._bar = bar
        self._task = bar.add_task("starting", total=None, place="")

    def say(self, line: str) -> None:
        """Print a sentence above the bar."""
        self._bar.console.print(printable_lines(line), markup=False)

    def update(self, status: TrainStatus) -> None:
        """Move the bar; metrics of an evaluation stay above it."""
        if status.phase == "scored":
            self.say(f"epoch {status.epoch}/{status.epochs} evaluated: {metrics_text(status.metrics)}")
        place = f"{status.iteration}/{status.iterations}"
        evaluating = [f"evaluating {place}"] if status.phase == "val" else []
        self._bar.numbers = [*evaluating, *_numbers(status)]
        self._bar.update(
            self._task,
            description=_epoch(status),
            completed=status.done,
            total=status.total,
            place=_GAP.join(part for part in ("" if evaluating else place, _left(status)) if part),
        )


def run_one(request: TrainRequest) -> None:
    """Train one stage, and print the results."""
    with display() as listener:
        result = train(request, listener)
    print_result(result, request.stage)


def print_result(result: TrainResult, stage: Stage) -> None:
    """Print the results of a run, and the command that evaluates it."""
    out = console()
    rows = {"iterations": str(result.iterations)} if result.iterations else {}
    rows |= {"work folder": f"{result.work_dir}", "last checkpoint": result.last.name}
    rows |= {"best checkpoint": result.best.name if result.best else "none"}
    rows |= {name: f"{value:.3f}" for name, value in result.metrics.items()}
    out.print(table_of(rows.items(), title=f"{stage}: epoch {result.epochs}"))
    if result.enough and result.trained:
        measure, name = _JUDGED_METRICS[stage]
        out.print(verdict(measure, result.metrics.get(name), result.iterations, result.enough), soft_wrap=True)
    out.print(f"evaluate it: posetools eval --stage {stage} {escape(str(result.best or result.last))}")


def metrics_text(metrics: Mapping[str, float | None]) -> str:
    """Return the metrics of an evaluation on one line; n/a: not measurable."""
    return (
        ", ".join(f"{name} {'n/a' if value is None else f'{value:.3f}'}" for name, value in metrics.items())
        or _NOTHING_PREDICTED
    )


def _epoch(status: TrainStatus) -> str:
    return f"epoch {status.epoch}/{status.epochs}"


def _left(status: TrainStatus) -> str:
    return f"{timedelta(seconds=round(status.seconds_left))} left" if status.seconds_left else ""


def _numbers(status: TrainStatus) -> list[str]:
    """Return the values, the most important first."""
    best = status.best
    name = best.name if best else next(iter(status.metrics), None)
    value = status.metrics.get(name) if name else None
    parts = [
        f"loss {status.loss:.4g}" if status.loss is not None else "",
        f"{name.rpartition('/')[2]} {value:.3f}" if name and value is not None else "",
        f"best {best.value:.3f} (epoch {best.epoch})" if best else "",
        f"{status.rate:.2f} it/s" if status.rate else "",
        f"lr {status.lr:.2g}" if status.lr is not None else "",
    ]
    return [part for part in parts if part]
