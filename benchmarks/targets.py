"""Print one verdict for each target, and collect them in a file for ``make bench``."""

from __future__ import annotations

import os
from pathlib import Path

GATHERED = "POSETOOLS_VERDICTS"


def verdict(what: str, rule: str, value: str, holds: bool) -> bool:
    """Print and return whether a target holds."""
    line = f"{'holds ' if holds else 'MISSED'}  {what}: {rule}: {value}"
    print(line, flush=True)
    if GATHERED in os.environ:
        with Path(os.environ[GATHERED]).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    return holds
