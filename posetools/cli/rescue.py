"""``posetools rescue``: replaces weight averages that an earlier version broke."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from posetools.errors import printable


def rescue(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run of both stages, or work folder of one stage.")
    ],
) -> None:
    """Replace the weight averages that posetools 0.1 broke with the trained weights.

    Only runs that posetools 0.1 trained on a CPU need it; other runs are not changed. The old files are kept in
    before_rescue/ in the work folder.
    """
    from posetools.training.rescue import KEPT
    from posetools.training.rescue import rescue as run_rescue

    found = run_rescue(run)
    if not found:
        print(printable(f"{run}: nothing to rescue: all weight averages are intact"))
        return
    for one in found:
        for path in one.rescued:
            print(printable(f"{path}: now has the trained weights"))
        if one.set_aside:
            names = ", ".join(path.name for path in one.set_aside)
            kept = f"{one.work_dir / KEPT}: has the files that were selected or measured by the broken average: {names}"
            print(printable(kept))
    if run not in (one.work_dir for one in found):
        print(printable(f"evaluate the pair: posetools eval --run {run}"))
