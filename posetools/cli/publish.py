"""``posetools publish``: a checkpoint as a small file to share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posetools.cli.console import console, table_of
from posetools.errors import printable, printable_lines

if TYPE_CHECKING:
    from posetools.exporting.publish import PublishResult


def publish(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint, as `posetools train` writes it.")],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE.pth", help="File to write. A dash and 8 digits of its SHA-256 are added to the name."
        ),
    ],
    metrics: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="JSON file of metrics to include.", show_default="the checkpoint's in metrics.json"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Unpickle everything in the checkpoint, which can run code. Only for your own old files.",
        ),
    ] = False,
) -> None:
    """Write a checkpoint to share: weights, config, skeleton and metrics, without optimizer state.

    The file loads with torch.load(weights_only=True) and with OpenMMLab's tools.
    """
    from posetools.exporting.publish import publish as run

    _print(run(checkpoint, out, metrics=metrics, overwrite=overwrite, trust=trust), checkpoint)


def _print(done: PublishResult, checkpoint: Path) -> None:
    screen = console()
    dropped = [f"{name} ({_size(size)})" if size else name for name, size in done.dropped.items()]
    rows = {
        "checkpoint": f"{checkpoint}, {_size(done.size_before)}",
        "file": f"{done.path}, {_size(done.size)}",
        "weights": "averages of the EMAHook" if done.averaged else "as trained; the run has no averages",
        "dropped": ", ".join(dropped) or "nothing",
        "included": ", ".join(sorted(done.meta)),
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
