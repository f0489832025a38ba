"""Speed of `posetools train`, against the stock `tools/train.py` of MMDet and MMPose, with the same config.

    python benchmarks/train.py [--work FOLDER] [--stage det pose] [--repeats 3] [--epochs 6] [--json FILE]

Cars are rendered, and `posetools config` emits the smallest pair for them. Both programs are started as by a user, in
turn, and train all epochs on the CPU from random weights, with an evaluation at the end. mmengine logs the duration of
every iteration; the median is without the first epoch of each run. A ratio above 1 means that posetools is faster.

It prints seconds per iteration (the median, and the minimum, which other work on the machine changes least), the part
of that spent waiting for data, total seconds with start-up and evaluation, the ratios, and the loss of the last
iteration: not the same, because posetools seeds the augmentation of each sample.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from posetools.core.folder import IMAGES, ann_file
from posetools.core.skeleton import load_skeleton
from posetools.formats.coco.format import write_split
from posetools.synth import PLAIN, render_set

SIZE = (320, 320)
RECIPE = """workers = {workers}
[det]
size = "tiny"
backbone = "none"
input_size = {det_size}
epochs = {epochs}
stage2_epochs = {epochs}
val_interval = {epochs}
batch_size = 8
[pose]
size = "t"
backbone = "none"
input_size = {pose_size}
epochs = {epochs}
stage2_epochs = {epochs}
val_interval = {epochs}
batch_size = 32
"""
PACKAGES = {"det": "mmdet", "pose": "mmpose"}
CONFIGS = {"det": "rtmdet", "pose": "rtmpose"}


@dataclass(frozen=True)
class Run:
    """One run of one program.

    Attributes:
        stage: det or pose.
        program: stock or posetools.
        iteration: seconds, the median.
        fastest: seconds, the least.
        waiting: seconds of these for data, the median.
        total: seconds from start to end.
        last_loss: of the last iteration.
    """

    stage: str
    program: str
    iteration: float
    fastest: float
    waiting: float
    total: float
    last_loss: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="keep data and runs here; the data is reused")
    parser.add_argument("--stage", nargs="+", choices=sorted(PACKAGES), default=sorted(PACKAGES))
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="processes per loader")
    parser.add_argument("--det-size", type=int, default=256, help="side of the detector's input")
    parser.add_argument("--pose-size", type=int, default=128, help="side of the pose estimator's input")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        runs = measure((args.work or Path(scratch)).absolute(), args)
    report(runs)
    if args.json:
        args.json.write_text(json.dumps([asdict(run) for run in runs], indent=1) + "\n", encoding="utf-8")


def measure(work: Path, args: argparse.Namespace) -> list[Run]:
    """Train with the two programs in turn, several times."""
    data = make_dataset(work, args.images)
    recipe = work / "recipe.toml"
    recipe.write_text(
        RECIPE.format(epochs=args.epochs, workers=args.workers, det_size=args.det_size, pose_size=args.pose_size),
        encoding="utf-8",
    )
    called([sys.executable, "-m", "posetools", "config", data, "--recipe", recipe, "--out", work / "c", "--overwrite"])
    runs = []
    for stage in args.stage:
        config = next((work / "c").glob(f"{CONFIGS[stage]}*.py"))
        for number in range(args.repeats):
            # The second program finds the files in memory, so they take turns.
            order = ("stock", "posetools") if number % 2 == 0 else ("posetools", "stock")
            for program in order:
                runs.append(one_run(stage, program, config, work / f"{stage}_{program}_{time.time_ns()}"))
                print(f"{stage} {program}: {runs[-1].iteration:.3f} s/iteration, {runs[-1].total:.1f} s", flush=True)
    return runs


def make_dataset(work: Path, images: int) -> Path:
    data = work / f"data_{images}"
    if not data.is_dir():
        rendered = render_set(
            work / "rendered", images=images, size=SIZE, seed=1, variety=PLAIN, workers=2, overwrite=True
        )
        (data / IMAGES).mkdir(parents=True)
        for image in rendered.images:
            assert image.path is not None
            (data / IMAGES / image.file_name).write_bytes(image.path.read_bytes())
        last = images // 8
        write_split(rendered.select_images(range(last, images)), ann_file(data, "train"))
        write_split(rendered.select_images(range(last)), ann_file(data, "val"))
        assert rendered.skeleton == load_skeleton("car8")
    return data


def one_run(stage: str, program: str, config: Path, work_dir: Path) -> Run:
    own = ["-m", "posetools", "train", "--stage", stage, "--device", "cpu", "--config", config]
    command = own if program == "posetools" else [stock_script(stage), config]
    # Both log the duration of every iteration.
    options = ["default_hooks.logger.interval=1", "log_processor.window_size=1", "randomness.seed=1"]
    started = time.perf_counter()
    called([sys.executable, *command, "--work-dir", work_dir, "--cfg-options", *options])
    total = time.perf_counter() - started
    (log,) = work_dir.glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if "loss" in line]
    steady = [line for line in steps if line["epoch"] > 1]
    return Run(
        stage=stage,
        program=program,
        iteration=median(line["time"] for line in steady),
        fastest=min(line["time"] for line in steady),
        waiting=median(line["data_time"] for line in steady),
        total=total,
        last_loss=steps[-1]["loss"],
    )


def stock_script(stage: str) -> Path:
    spec = find_spec(PACKAGES[stage])
    if spec is None or spec.origin is None:
        raise SystemExit(f"{PACKAGES[stage]} is not installed: make install")
    return Path(spec.origin).parent / ".mim" / "tools" / "train.py"


def called(command: Sequence[Any]) -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout[-5000:]}{done.stderr[-5000:]}")


def report(runs: Sequence[Run]) -> None:
    columns = ("s/iteration", "ratio", "fastest", "ratio", "waiting", "total s", "ratio", "last loss")
    print("\n" + f"{'':16}" + "".join(f"{column:>12}" for column in columns))
    for stage in dict.fromkeys(run.stage for run in runs):
        of_stock = None
        for program in ("stock", "posetools"):
            own = [run for run in runs if (run.stage, run.program) == (stage, program)]
            step, total = median(run.iteration for run in own), median(run.total for run in own)
            fastest = min(run.fastest for run in own)
            first = of_stock = of_stock or (step, fastest, total)
            waiting, loss = median(run.waiting for run in own), median(run.last_loss for run in own)
            ratios = (first[0] / step, first[1] / fastest, first[2] / total)
            figures = (step, ratios[0], fastest, ratios[1], waiting, total, ratios[2], loss)
            print(f"{stage + ' ' + program:16}" + "".join(f"{figure:12.3f}" for figure in figures))


if __name__ == "__main__":
    main()
