"""``posetools demo``: the whole road on rendered cars."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for everything that is made. An earlier demo in it is replaced.")
    ] = Path("demo"),
    minutes: Annotated[float, typer.Option(help="How long both models together train.")] = 6.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the pictures, the split and the training.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Every station in two iterations: a test, nothing to look at.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier demo although other files lie in its folder.")
    ] = False,
) -> None:
    """Show the whole road: render labelled cars, convert, validate, config, train, eval, draw. Nothing is downloaded.

    Each step prints the command that does the same. It takes about 7 minutes on two cores.
    """
    from posetools.cli.demo_display import print_result
    from posetools.cli.steps import Steps
    from posetools.recipes.machine import busy_text
    from posetools.workflow.demo import QUICK, DemoRequest, Settings
    from posetools.workflow.demo import demo as run

    settings = QUICK if quick else Settings()
    request = DemoRequest(out=out, minutes=minutes, seed=seed, settings=settings, overwrite=overwrite)
    steps = Steps()
    if busy_text():
        steps.say(busy_text())
    print_result(run(request, steps))
