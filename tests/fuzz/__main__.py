"""``python -m tests.fuzz``: run campaigns, and print the results."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fuzz.campaign import Tally, run_campaign
from tests.fuzz.case import decider, run_case
from tests.fuzz.samples import FOLDER
from tests.fuzz.targets import TARGETS


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 1 if a case failed."""
    asked = _parser().parse_args(arguments)
    console = Console()
    if asked.sample:
        os.environ[FOLDER] = str(Path(asked.sample).resolve())
    if asked.case is not None:
        return _one(asked.format[0], asked.seed, asked.case, console)
    into = Path(asked.failures or tempfile.mkdtemp(prefix="posetools-fuzz-failures-"))
    table = Table("format", "cases", "succeeded", "refused", "failures", "seconds", "cases a second")
    failed = False
    for name in asked.format or TARGETS:
        needs = TARGETS[name].needs
        if needs and importlib.util.find_spec(needs) is None:
            table.add_row(name, "0", "", "", f"not run: {needs} is not installed", "", "")
            continue
        tally = run_campaign(
            name, asked.cases, seed=asked.seed, workers=asked.workers, into=into, tell=lambda text: _tell(text)
        )
        _add_row(table, tally)
        failed = failed or bool(tally.failures)
    console.print(table)
    if failed:
        console.print(f"failures, each with its source and how to run it again: {into}", soft_wrap=True)
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--format", action="append", choices=list(TARGETS), help="one of them (may be repeated)")
    parser.add_argument("--sample", metavar="DIR", help="damage this source instead of the format's sample")
    parser.add_argument("--cases", type=int, default=10_000, help="how many of each (default 10000)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other cases (default 0)")
    parser.add_argument("--workers", type=int, default=2, help="how many processes at a time (default 2)")
    parser.add_argument("--failures", metavar="DIR", help="where failures are written (default: a temporary folder)")
    parser.add_argument("--case", type=int, help="run one case, in this process, and print how it ends")
    return parser


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _one(name: str, seed: int, number: int, console: Console) -> int:
    with tempfile.TemporaryDirectory() as folder:
        outcome = run_case(name, decider(seed, name, number), Path(folder))
    lines = [*outcome.damaged.done, f"gone when opened: {sorted(outcome.damaged.vanishing)}", *outcome.said]
    for line in [*lines, outcome.how, outcome.problem]:
        console.print(line.encode("utf-8", "backslashreplace").decode(), markup=False, highlight=False)
    return int(outcome.how == "failed")


def _add_row(table: Table, tally: Tally) -> None:
    rate = tally.cases / tally.seconds if tally.seconds else 0.0
    counts = (tally.cases, tally.succeeded, tally.refused, len(tally.failures))
    table.add_row(tally.name, *map(str, counts), f"{tally.seconds:.0f}", f"{rate:.0f}")


if __name__ == "__main__":
    sys.exit(main())
