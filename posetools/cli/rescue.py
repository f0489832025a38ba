"""``posetools rescue``: the weights as trained, where an earlier version broke their average."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from posetools.errors import printable


def rescue(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a run of both stages, or the work folder of one.")
    ],
) -> None:
    """Put the weights as trained in the place of an average that posetools 0.1 broke.

    Only runs that posetools 0.1 trained on a CPU need it; all others are left as they are, and it says so. The old
    files are kept in before_rescue/ of the work folder.
    """
    from posetools.training.rescue import KEPT
    from posetools.training.rescue import rescue as run_rescue

    found = run_rescue(run)
    if not found:
        print(printable(f"{run}: nothing to rescue: every average follows the weights it is of"))
        return
    for one in found:
        for path in one.rescued:
            print(printable(f"{path}: holds the weights as trained now"))
        if one.set_aside:
            names = ", ".join(path.name for path in one.set_aside)
            kept = f"{one.work_dir / KEPT}: keeps what the stale average had been chosen or measured by: {names}"
            print(printable(kept))
    if run not in (one.work_dir for one in found):
        print(printable(f"measure the pair: posetools eval --run {run}"))
