"""Many cases in separate processes, each with limits on time and memory; a killed process names its case."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from tests.fuzz.case import SECONDS, Outcome, decider, run_case
from tests.fuzz.mutate_tree import Damaged
from tests.fuzz.samples import sample
from tests.fuzz.tree import write_tree

_MEMORY = 1 << 30
# A case that hangs in a library, so that its own alarm cannot end it, is killed after this many seconds.
_KILLED_AFTER = 3 * SECONDS
_BLOCK = 250


@dataclass
class Tally:
    """The result of a campaign.

    Attributes:
        name: the target.
        succeeded: cases that were read, with or without findings.
        refused: cases that ended in a PosetoolsError.
        seconds: of work, summed over the workers.
        failures: number of the case -> what was wrong.
    """

    name: str
    succeeded: int = 0
    refused: int = 0
    seconds: float = 0.0
    failures: dict[int, str] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        """How many cases ran."""
        return self.succeeded + self.refused + len(self.failures)

    def add(self, number: int, outcome: Outcome) -> None:
        """Count one case."""
        if outcome.how == "failed":
            self.failures[number] = outcome.problem
        elif outcome.how == "refused":
            self.refused += 1
        else:
            self.succeeded += 1


def run_campaign(name: str, cases: int, *, seed: int, workers: int, into: Path, tell: Callable[[str], None]) -> Tally:
    """Run cases 0, 1, ... of a target; each failure is a folder below ``into``."""
    tally = Tally(name)
    waiting = [range(start, min(start + _BLOCK, cases)) for start in range(0, cases, _BLOCK)][::-1]
    running: list[_Worker] = []
    while waiting or running:
        while waiting and len(running) < workers:
            running.append(_Worker(name, waiting.pop(), seed, into))
        wait([worker.pipe for worker in running], timeout=1)
        for worker in list(running):
            if worker.collect(tally):
                continue
            running.remove(worker)
            if worker.left():
                waiting.append(worker.left())
            tell(f"{name}: {tally.cases} of {cases} cases, {len(tally.failures)} failures")
    return tally


class _Worker:
    """A process that runs a block of cases, and reports each before its start and after its end."""

    def __init__(self, name: str, numbers: range, seed: int, into: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.name, self.numbers, self.seed, self.into = name, numbers, seed, into
        self.pipe, theirs = context.Pipe(duplex=False)
        self.folder = Path(tempfile.mkdtemp(prefix="posetools-fuzz-", dir=_fast_folder()))
        arguments = (name, numbers, seed, self.folder, into, theirs)
        self.process: SpawnProcess = context.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.done = numbers.start
        self.since = time.monotonic()
        # Starting takes a while, which does not count.
        self.grace = 60

    def collect(self, tally: Tally) -> bool:
        """Collect the process' reports; return whether it is still running."""
        try:
            while self.pipe.poll():
                number, how, problem, seconds = self.pipe.recv()
                tally.add(number, Outcome(how, Damaged({}), problem))
                tally.seconds += seconds
                self.done, self.since, self.grace = number + 1, time.monotonic(), 0
        except EOFError:
            return self._ended(tally, "the process died")
        if time.monotonic() - self.since > _KILLED_AFTER + self.grace:
            return self._ended(tally, f"killed: more than {_KILLED_AFTER} seconds in one case")
        return True

    def _ended(self, tally: Tally, why: str) -> bool:
        self.process.kill()
        self.process.join()
        if self.left():
            problem = f"{why} (exit status {self.process.exitcode})"
            tally.add(self.done, Outcome("failed", Damaged({}), problem))
            keep_failure(self.name, self.seed, self.done, problem, self.folder / "src", self.into)
            self.done += 1
        shutil.rmtree(self.folder, ignore_errors=True)
        return False

    def left(self) -> range:
        """Return the numbers of the remaining cases."""
        return range(self.done, self.numbers.stop)


def _fast_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _work(name: str, numbers: range, seed: int, folder: Path, into: Path, pipe: Connection) -> None:
    sample(name)
    _limit_memory()
    for number in numbers:
        start = time.perf_counter()
        outcome = run_case(name, decider(seed, name, number), folder)
        if outcome.how == "failed":
            keep_failure(name, seed, number, outcome.problem, outcome.damaged, into)
        pipe.send((number, outcome.how, outcome.problem, time.perf_counter() - start))
    pipe.close()


def _limit_memory() -> None:
    """Limit memory to a gigabyte beyond what is already mapped, as libraries reserve memory without using it."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) if Path("/proc/self").is_dir() else 0
    limit = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def keep_failure(name: str, seed: int, number: int, problem: str, damaged: Damaged | Path, into: Path) -> Path:
    """Write a folder with the source of a failed case, what failed, and how to run it again."""
    folder = into / name / f"{seed}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    done: list[str] = []
    if isinstance(damaged, Damaged):
        write_tree(damaged.tree, folder / "src")
        done = [*damaged.done, *(f"gone when it is opened: {one}" for one in sorted(damaged.vanishing))]
    elif damaged.is_dir():
        shutil.copytree(damaged, folder / "src", symlinks=True, ignore_dangling_symlinks=True, ignore=_pipes)
    again = f"python -m tests.fuzz --format {name} --seed {seed} --case {number}"
    text = "\n".join([again, "", *done, "", problem, ""])
    (folder / "failure.txt").write_text(text, encoding="utf-8", errors="backslashreplace")
    return folder


def _pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_fifo()]
