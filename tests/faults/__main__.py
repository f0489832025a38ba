"""kill -9 at many moments of every command that writes: ``python -m tests.faults --moments 200``."""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
import tempfile
from pathlib import Path

from tests.faults.kill import Outcome, Stage
from tests.faults.scenes import SCENES


def main() -> int:
    """Run the campaign; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--moments", type=int, default=200, help="how many random moments to kill each command at")
    parser.add_argument("--command", choices=[*SCENES], action="append", help="only this one; can be repeated")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other moments")
    asked = parser.parse_args()
    failed = 0
    print(f"{'command':20} {'kills':>6} {'old':>6} {'new':>6} {'finished':>9} {'failures':>9}")
    for name in asked.command or SCENES:
        if name == "publish" and importlib.util.find_spec("mmengine") is None:
            print(f"{name:20} needs the train extra: make install")
            continue
        outcome = campaign(name, asked.moments, asked.seed)
        failed += len(outcome.failures)
        numbers = f"{outcome.kills:6} {outcome.old:6} {outcome.new:6} {outcome.finished:9} {len(outcome.failures):9}"
        print(f"{name:20} {numbers}", flush=True)
        for failure in outcome.failures[:5]:
            print(f"  {failure}")
    return 1 if failed else 0


def campaign(name: str, moments: int, seed: int, every_call: bool = True) -> Outcome:
    """Kill a command at random moments, and before each of its file system calls."""
    rng, outcome = random.Random(f"{seed} {name}"), Outcome()
    with tempfile.TemporaryDirectory() as home:
        stage = Stage(SCENES[name], Path(home))
        for _ in range(moments):
            delay = rng.uniform(0, 1.2 * stage.seconds)
            stage.kill(outcome, f"after {delay * 1000:.1f} ms", seconds=delay)
        call = 0
        while every_call:
            call += 1
            if not stage.kill(outcome, f"before call {call}", call=call):
                break
    return outcome


if __name__ == "__main__":
    sys.exit(main())
