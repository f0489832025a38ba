"""A sample of the campaign that ``make faults`` runs in full."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faults.kill import Outcome, Stage
from tests.faults.scenes import SCENES

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="fork and kill -9 need POSIX")


@pytest.mark.parametrize("name", [name for name in SCENES if name != "publish"])
def test_a_killed_command_leaves_the_old_state_or_the_new_one(tmp_path: Path, name: str) -> None:
    stage, outcome = Stage(SCENES[name], tmp_path), Outcome()
    for share in (0.2, 0.6, 0.9):
        stage.kill(outcome, f"after {share} of its time", seconds=share * stage.seconds)
    # The last calls move the result into place.
    calls = _calls(stage)
    for call in (*range(max(calls - 12, 1), calls, 2), calls // 2):
        stage.kill(outcome, f"before call {call} of {calls}", call=call)
    assert outcome.failures == []
    assert outcome.kills == 3 + len(range(max(calls - 12, 1), calls, 2)) + 1


def _calls(stage: Stage) -> int:
    """Return how many file system calls a run makes."""
    low, high = 1, 4096
    while low < high:
        middle = (low + high) // 2
        if stage.kill(Outcome(), "", call=middle):
            low = middle + 1
        else:
            high = middle
    return low - 1
