"""Speed of `posetools predict` in several processes and on a Dask cluster, against one process with all threads.

    python benchmarks/scale.py BUNDLE IMAGES [--images 640] [--workers 2] [--rounds 5] [--json FILE]

BUNDLE is a bundle, and IMAGES a folder of images that it detects something in, such as the results of `posetools demo`.
Every program is started as by a user, and runs in turns with the others on all images (links to those of the folder, as
many as ``--images``) and on a sixteenth of them: the difference is the time of the other images, without start-up.

It prints images per second, the median of the rounds, and the ratio to one process, the median of the ratios of each
round; the CPU time per image of all processes, which does not depend on the load of the machine, and the ratio of one
process to it; whether the predictions are the same bytes; and what a million images cost: core hours of CPU time, and
money at ``--price`` per core and hour.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from targets import verdict  # noqa: E402

from posetools.imaging.frames import images_in  # noqa: E402
from tests.clustering import scheduler, workers  # noqa: E402

ALONE, TARGET, MILLION = "one process, all threads", 0.95, 1_000_000
SHORT = 16
# Of Linux' prctl.
PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path, metavar="IMAGES")
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--price", type=float, default=0.04, help="of a core for an hour, in dollars")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    adopt_orphans()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        work = Path(scratch)
        folders = [
            link(args.folder, work / f"photos{number}", number) for number in (args.images, args.images // SHORT)
        ]
        address = stack.enter_context(scheduler(work))
        stack.enter_context(workers(address, work, args.workers, threads=1))
        ways = {
            ALONE: [],
            f"--workers {args.workers}": ["--workers", args.workers],
            f"--cluster, {args.workers} workers of one thread": ["--cluster", address],
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        costs: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(args.rounds):
            for name, options in ways.items():
                runs = [
                    timed(args.bundle, folder, work / f"{number} {name} {folder.name}", options) for folder in folders
                ]
                (seconds, cpu), images = np.subtract(*runs), args.images - args.images // SHORT
                rates[name].append(images / seconds)
                costs[name].append(cpu / images)
            told = [f"{own[-1]:.1f}" for own in rates.values()]
            print(f"round {number + 1}, load {os.getloadavg()[0]:.1f}, images/s: {', '.join(told)}", flush=True)
        outputs = {
            path.read_bytes()
            for path in work.glob("0 */predictions.json")
            if path.parent.name.endswith(folders[0].name)
        }
    report(rates, costs, args.price, same=len(outputs) == 1)
    if args.json:
        args.json.write_text(
            json.dumps({"images_per_second": rates, "cpu_seconds_per_image": costs}, indent=1) + "\n", encoding="utf-8"
        )


def link(source: Path, folder: Path, number: int) -> Path:
    """Fill a folder with links to the images of another, each as often as needed."""
    folder.mkdir()
    found = images_in(source)
    for index in range(number):
        image = found[index % len(found)]
        (folder / f"{index:06d}{image.suffix}").symlink_to(image.absolute())
    return folder


def timed(bundle: Path, photos: Path, out: Path, options: list[object]) -> tuple[float, float]:
    """Return the seconds of a command, and the CPU seconds of all processes."""
    command = [sys.executable, "-m", "posetools", "predict", photos, "--bundle", bundle, "--output-root", out]
    command += ["--format", "jsonl", "--save-predictions", "--device", "cpu", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started, before = time.perf_counter(), cpu_seconds()
    subprocess.run([str(part) for part in command], check=True, capture_output=True, env=environment)
    return time.perf_counter() - started, cpu_seconds() - before


def cpu_seconds() -> float:
    """Return the CPU time of all processes that this one started, and that they started, ended or not."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = ended.ru_utime + ended.ru_stime
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def adopt_orphans() -> None:
    """Become the parent of processes whose parent ends first, as those of a pool do, so that they are counted."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def report(rates: dict[str, list[float]], costs: dict[str, list[float]], price: float, *, same: bool) -> None:
    print(f"{'':40}{'images/s':>9}{'ratio':>7}{'CPU ms':>8}{'ratio':>7}{'core hours a million':>22}{'$ a million':>13}")
    for name, own in rates.items():
        faster = statistics.median(a / b for a, b in zip(own, rates[ALONE], strict=True))
        cost = statistics.median(costs[name])
        cheaper, hours = statistics.median(costs[ALONE]) / cost, MILLION * cost / 3600
        print(
            f"{name:40}{statistics.median(own):9.1f}{faster:7.2f}{1000 * cost:8.1f}{cheaper:7.2f}"
            f"{hours:22.1f}{hours * price:13.2f}"
        )
        if name != ALONE:
            verdict(f"predict {name}", f"at least {TARGET} of one process", f"{faster:.2f}", faster >= TARGET)
    print(f"price: ${price} for a core and hour; {os.cpu_count()} cores; the same predictions: {same}")


if __name__ == "__main__":
    main()
