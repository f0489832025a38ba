"""How many tasks a second a Dask scheduler, and the command that writes the shards, can take: simulated workers.

    python benchmarks/scheduler.py [--workers 10 50 100 200] [--seconds 8 4 2 1 0.5] [--size 200000] [--json FILE]

The scheduler is a real one, in a process of its own. All workers are Dask's own, of one thread each, in one more
process. A task sleeps as long as a shard takes (``--seconds``) and returns as many bytes (``--size``); the engine of
`posetools predict` (posetools/scale/cluster.py) submits the tasks and writes the results as it does there.

For each number of workers and length of a task it prints the tasks per second, their share of what the workers could
do, and the CPU time of the scheduler and of the command per task. The reciprocal of the larger one is what limits a
larger cluster; the table at the end has the shortest shards for 1,000 workers that follow.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from posetools.files.disk import write_files  # noqa: E402
from posetools.scale.cluster import Cluster  # noqa: E402
from tests.clustering import scheduler_process  # noqa: E402

# Tasks for each worker in a measurement, and seconds that it lasts at least.
ROUNDS, LEAST = 4, 8.0
LARGE = 1000


@dataclass(frozen=True)
class Measured:
    """One measurement: tasks per second, their share of what the workers could do, and seconds per task.

    The seconds are CPU time of the scheduler and of the command, and the time that writing its file takes.
    """

    workers: int
    seconds: float
    rate: float
    share: float
    scheduler: float
    command: float
    writing: float


@dataclass(frozen=True)
class Sleeping:
    """A stand-in for the prediction of a shard."""

    seconds: float
    size: int

    def __call__(self, shard: list[int]) -> tuple[int, bytes]:
        time.sleep(self.seconds)
        return shard[0], bytes(self.size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 50, 100, 200])
    parser.add_argument("--seconds", type=float, nargs="+", default=[8, 4, 2, 1, 0.5])
    parser.add_argument("--size", type=int, default=200_000)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    found = []
    heads = ("workers", "task s", "tasks/s", "share", "scheduler ms", "command ms", "writing ms")
    print("".join(f"{head:>14}" for head in heads), flush=True)
    for workers in args.workers:
        for seconds in args.seconds:
            one = measure(workers, seconds, args.size)
            found.append(one)
            costs = (f"{1000 * cost:14.2f}" for cost in (one.scheduler, one.command, one.writing))
            print(f"{workers:14}{seconds:14}{one.rate:14.1f}{one.share:14.2f}", *costs, sep="", flush=True)
    busiest = max(found, key=lambda one: one.rate)
    for name, cost in (("scheduler", busiest.scheduler), ("command", busiest.command), ("writing", busiest.writing)):
        print(f"{name}: {1 / cost:.0f} tasks/s at most; {LARGE} workers need shards of {LARGE * cost:.1f} s or more")
    if args.json:
        args.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n", encoding="utf-8")


def measure(workers: int, seconds: float, size: int) -> Measured:
    writing, tasks = 0.0, max(ROUNDS * workers, round(LEAST * workers / seconds))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with scheduler_process(folder) as (address, process):
            pool = multiprocessing.get_context("spawn").Process(
                target=run_workers, args=(address, workers), daemon=True
            )
            pool.start()
            try:
                wait(address, workers)
                own, other = psutil.Process(), psutil.Process(process.pid)
                before, started = (cpu(own), cpu(other)), time.perf_counter()
                results = Cluster(address, patience=60).run(
                    Sleeping(seconds, size), [[number] for number in range(tasks)], in_order=False
                )
                for number, content in results:
                    before_it = time.perf_counter()
                    write_files({folder / f"{number:06d}.jsonl": content})
                    writing += time.perf_counter() - before_it
                took = time.perf_counter() - started
                command, of_scheduler = cpu(own) - before[0], cpu(other) - before[1]
            finally:
                pool.kill()
                pool.join()
    rate = tasks / took
    return Measured(
        workers, seconds, rate, rate * seconds / workers, of_scheduler / tasks, command / tasks, writing / tasks
    )


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def wait(address: str, workers: int) -> None:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=120)


def run_workers(address: str, number: int) -> None:
    """Run workers of one thread each until the process is killed."""
    import dask
    from distributed import Worker

    logging.getLogger("distributed").setLevel(logging.WARNING)
    # Workers measure themselves all the time, which takes more time than all else where there are so many in a process.
    quiet = {"distributed.worker.profile.enabled": False, "distributed.admin.system-monitor.interval": "1h"}
    dask.config.set({**quiet, "distributed.admin.tick.interval": "1s"})

    async def forever() -> None:
        started = [Worker(address, nthreads=1, memory_limit=0, dashboard=False) for _ in range(number)]
        await asyncio.gather(*started)
        await asyncio.Event().wait()

    asyncio.run(forever())


if __name__ == "__main__":
    main()
