"""Hints of the YOLO-pose reader about scores in place of visibility, followed."""

from __future__ import annotations

from tests.following.case import Case
from tests.following.sources import yolo, yolo_line


def _scored() -> list[str]:
    line = yolo_line().split()
    for at in range(7, len(line), 3):
        line[at] = f"0.9{at}"
    return yolo(" ".join(line) + "\n")


CASES = [Case("scores for visibility", _scored, ("--assume-visible",))]
