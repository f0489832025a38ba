"""``posetools publish``: a checkpoint as a small file to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posetools.cli.console import console, table_of
from posetools.errors import printable, printable_lines

if TYPE_CHECKING:
    from posetools.exporting.publish import PublishResult


def publish(
    checkpoint: Annotated[Path, typer.Argument(help="The checkpoint, as `posetools train` leaves it.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE.pth", help="The new file; a dash and 8 digits of its SHA-256 are put in.")
    ],
    metrics: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON to put in.", show_default="its entry in metrics.json beside it"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over a file of the same name.")] = False,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="For your own old files, which hold more than weights: run what is in the checkpoint while loading "
            "it. Never with a file from somewhere else.",
        ),
    ] = False,
) -> None:
    """Make a checkpoint fit to hand on: the weights to predict with, config, skeleton and metrics, nothing else.

    The optimizer's state and the log are left out. The file loads with torch's weights_only and with OpenMMLab's tools.
    """
    from posetools.exporting.publish import publish as run

    _print(run(checkpoint, out, metrics=metrics, overwrite=overwrite, trust=trust), checkpoint)


def _print(done: PublishResult, checkpoint: Path) -> None:
    screen = console()
    dropped = [f"{name} ({_size(size)})" if size else name for name, size in done.dropped.items()]
    rows = {
        "checkpoint": f"{checkpoint}, {_size(done.size_before)}",
        "file": f"{done.path}, {_size(done.size)}",
        "weights": "averages of the EMAHook" if done.averaged else "as trained; the run kept no averages",
        "dropped": ", ".join(dropped) or "nothing",
        "with them": ", ".join(sorted(done.meta)),
    }
    screen.print(table_of(rows.items(), title="published"))
    screen.print(f"SHA-256 {done.sha256}")
    for note in done.notes:
        screen.print(printable_lines(note), markup=False)
    stage = done.stage or "det|pose"
    screen.print(
        printable(f"evaluate it: posetools eval --stage {stage} {done.path} --config {done.config or 'CONFIG'}"),
        markup=False,
    )


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
