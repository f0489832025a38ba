"""Speed of `posetools predict` in several processes and on a Dask cluster, against one process with all threads.

    python benchmarks/scale.py BUNDLE IMAGES [--images 640] [--workers 2] [--rounds 5] [--json FILE]

BUNDLE is a bundle, and IMAGES a folder of images that it detects something in, such as the results of `posetools demo`.
Every program is started as by a user, and runs in turns with the others on all images (links to those of the folder, as
many as ``--images``) and on a sixteenth of them: the difference is the time of the other images, without start-up.

It prints images per second, the median of the rounds; the ratio to one process, the median of the ratios of each round;
whether the predictions are the same bytes; the load of the machine; and what a million images cost: core hours, and
money at ``--price`` per core and hour.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from targets import verdict  # noqa: E402

from posetools.imaging.frames import images_in  # noqa: E402
from tests.clustering import scheduler, workers  # noqa: E402

ALONE, TARGET, MILLION = "one process, all threads", 0.95, 1_000_000
SHORT = 16


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
        for number in range(args.rounds):
            for name, options in ways.items():
                seconds = [
                    timed(args.bundle, folder, work / f"{number} {name} {folder.name}", options) for folder in folders
                ]
                rates[name].append((args.images - args.images // SHORT) / (seconds[0] - seconds[1]))
            print(
                f"round {number + 1}, load {os.getloadavg()[0]:.1f}: {[round(one[-1], 1) for one in rates.values()]}",
                flush=True,
            )
        outputs = {
            path.read_bytes()
            for path in work.glob("0 */predictions.json")
            if path.parent.name.endswith(folders[0].name)
        }
    report(rates, args.price, same=len(outputs) == 1)
    if args.json:
        args.json.write_text(json.dumps(rates, indent=1) + "\n", encoding="utf-8")


def link(source: Path, folder: Path, number: int) -> Path:
    """Fill a folder with links to the images of another, each as often as needed."""
    folder.mkdir()
    found = images_in(source)
    for index in range(number):
        image = found[index % len(found)]
        (folder / f"{index:06d}{image.suffix}").symlink_to(image.absolute())
    return folder


def timed(bundle: Path, photos: Path, out: Path, options: list[object]) -> float:
    """Return the seconds of a command."""
    command = [sys.executable, "-m", "posetools", "predict", photos, "--bundle", bundle, "--output-root", out]
    command += ["--format", "jsonl", "--save-predictions", "--device", "cpu", *options]
    started = time.perf_counter()
    subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    return time.perf_counter() - started


def report(rates: dict[str, list[float]], price: float, *, same: bool) -> None:
    cores = os.cpu_count() or 1
    print(f"{'':40}{'images/s':>9}{'ratio':>7}{'core hours a million':>22}{'$ a million':>13}")
    ratios = {}
    for name, own in rates.items():
        ratios[name] = statistics.median(a / b for a, b in zip(own, rates[ALONE], strict=True))
        rate = statistics.median(own)
        hours = MILLION / rate * cores / 3600
        print(f"{name:40}{rate:9.1f}{ratios[name]:7.2f}{hours:22.1f}{hours * price:13.2f}")
    print(f"price: ${price} for a core and hour; {cores} cores; the same predictions: {same}")
    for name, ratio in ratios.items():
        if name != ALONE:
            verdict(f"predict {name}", f"at least {TARGET} of one process", f"{ratio:.2f}", ratio >= TARGET)


if __name__ == "__main__":
    main()
