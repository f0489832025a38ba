"""Speed of `posetools predict`, against MMPose's top-down demo script, on the same video with the same models.

    python benchmarks/predict.py [--work FOLDER] [--frames 40] [--det-size 320] [--json FILE]

The video has 640x640 frames, each with four rendered cars. RTMDet-tiny and RTMPose-t are trained for a few minutes on
these frames, so that every frame has four detections: this measures speed, not accuracy. Both programs are started as
by a user, write a drawn video and predictions, and run on the CPU. Each runs on the whole video and on its first frame:
the difference is the time of the other frames, without start-up.

It prints total seconds, frames per second without start-up, the ratio to the demo script, and the largest difference of
keypoints from the demo script's, if both flip (``--flip-test``, as in its config).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.folder import IMAGES, ann_file
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.formats.coco.format import write_split
from posetools.imaging.frames import read_image
from posetools.imaging.video import new_video
from posetools.synth import PLAIN, render_set

TILE = 320
SCENES = 12
VAL_SCENES = 2
FPS = 25.0
RECIPE = """workers = 0
[det]
size = "tiny"
backbone = "none"
input_size = {det_size}
epochs = 150
stage2_epochs = 150
val_interval = 150
batch_size = 4
lr = 0.001
[pose]
size = "t"
backbone = "none"
input_size = "192x256"
epochs = 40
stage2_epochs = 40
val_interval = 40
batch_size = 16
lr = 0.001
"""


@dataclass(frozen=True)
class Timing:
    """One program on the video.

    Attributes:
        name: the program.
        total: seconds for all frames, including start-up.
        start: seconds for one frame.
        fps: frames per second, without start-up.
        objects: instances in its predictions.
    """

    name: str
    total: float
    start: float
    fps: float
    objects: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="keep the models and the video here for reuse")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--det-size", type=int, default=320, help="side of the detector's input")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = args.work or Path(scratch)
        timings, difference = measure(work / str(args.det_size), args.frames, args.det_size)
    report(timings, difference)
    if args.json:
        args.json.write_text(json.dumps([asdict(timing) for timing in timings], indent=1) + "\n", encoding="utf-8")


def measure(work: Path, frames: int, det_size: int) -> tuple[list[Timing], float]:
    """Return the timings, the demo script's first, and the largest difference of a coordinate from it in pixels."""
    if not (work / "cars.zip").is_file():
        prepare(work, det_size)
    videos = [make_video(work, frames), make_video(work, 1)]
    det, pose = ([next((work / "configs").glob(f"{name}*.py")), work / f"{name}.pth"] for name in ("rtmdet", "rtmpose"))
    stock = stock_command([*det, *pose])
    own = [sys.executable, "-m", "posetools", "predict", "--device", "cpu", "--save-predictions"]
    pair = ["--det", *det, "--pose", *pose]
    runs = {
        "MMPose's demo script": lambda video, out: [*stock, "--input", video, "--output-root", out],
        "posetools, --flip-test": lambda video, out: [*own, *pair, "--flip-test", video, "--output-root", out],
        "posetools": lambda video, out: [*own, *pair, video, "--output-root", out],
        "posetools, bundle": lambda video, out: [*own, "--bundle", work / "cars.zip", video, "--output-root", out],
    }
    timings, found = [], {}
    for number, (name, command) in enumerate(runs.items()):
        seconds = []
        for video in videos:
            out = work / f"out_{number}_{video.stem}"
            seconds.append(timed(command(video, out)))
            found[name, video] = keypoints_of(out)
        total, start = seconds
        objects = sum(len(one) for one in found[name, videos[0]])
        timings.append(Timing(name, total, start, (frames - 1) / (total - start), objects))
    names = list(runs)
    return timings, largest_difference(found[names[0], videos[0]], found[names[1], videos[0]])


def prepare(work: Path, det_size: int) -> None:
    """Render the scenes, train the pair on them, publish and export it."""
    data, configs, runs = work / "data", work / "configs", work / "runs"
    make_dataset(work, data)
    (work / "recipe.toml").write_text(RECIPE.format(det_size=det_size), encoding="utf-8")
    posetools("config", data, "--recipe", work / "recipe.toml", "--out", configs, "--overwrite")
    for stage, name in (("det", "rtmdet"), ("pose", "rtmpose")):
        config = next(configs.glob(f"{name}*.py"))
        posetools("train", "--stage", stage, "--config", config, "--work-dir", runs / stage, "--device", "cpu")
        # MMPose's script cannot load mmengine's own checkpoints with torch 2.6 and later, but published ones.
        last = Path((runs / stage / "last_checkpoint").read_text(encoding="utf-8").strip())
        posetools("publish", last, "--out", work / f"{name}.pth")
        next(work.glob(f"{name}-*.pth")).rename(work / f"{name}.pth")
    posetools("export", "--run", runs, "--out", work / "cars.zip", "--overwrite")


def make_dataset(work: Path, data: Path) -> None:
    """Compose frames of four images with one car each, and write them as a data set."""
    rendered = render_set(
        work / "rendered",
        images=8 * (SCENES + VAL_SCENES),
        size=(TILE, TILE),
        seed=1,
        variety=PLAIN,
        workers=2,
        overwrite=True,
    )
    single = [rows for rows in rendered.rows_of_images() if len(rows) == 1]
    if len(single) < 4 * (SCENES + VAL_SCENES):
        raise SystemExit(f"only {len(single)} of the rendered images show one car")
    builder = DatasetBuilder(load_skeleton("car8"))
    (data / IMAGES).mkdir(parents=True, exist_ok=True)
    for scene in range(SCENES + VAL_SCENES):
        add_scene(builder, rendered, [rows[0] for rows in single[4 * scene : 4 * scene + 4]], data, scene)
    dataset = builder.build()
    write_split(dataset.select_images(range(SCENES)), ann_file(data, "train"))
    write_split(dataset.select_images(range(SCENES, SCENES + VAL_SCENES)), ann_file(data, "val"))


def add_scene(builder: DatasetBuilder, rendered: Dataset, cars: Sequence[int], data: Path, scene: int) -> None:
    import cv2

    name = f"scene_{scene:02d}.png"
    frame = np.zeros((2 * TILE, 2 * TILE, 3), dtype=np.uint8)
    path = data / IMAGES / name
    builder.add_image(Image(name, 2 * TILE, 2 * TILE, path=path))
    for i, row in enumerate(cars):
        car = rendered[row]
        offset = np.array([i % 2 * TILE, i // 2 * TILE], dtype=np.float64)
        x, y = offset.astype(int)
        assert car.image.path is not None
        frame[y : y + TILE, x : x + TILE] = read_image(car.image.path)
        points = car.keypoints.copy()
        points[points[:, 2] > 0, :2] += offset
        builder.add_instance(
            name, box=car.box + np.tile(offset, 2), keypoints=points, origin=Origin(f"{name}: car {i}")
        )
    cv2.imwrite(str(path), frame)


def make_video(work: Path, frames: int) -> Path:
    path = work / f"cars_{frames}.mp4"
    scenes = [read_image(image) for image in sorted((work / "data" / IMAGES).glob("*.png"))[:SCENES]]
    with new_video(path, FPS, (2 * TILE, 2 * TILE)) as video:
        for number in range(frames):
            video.write(scenes[number // 4 % len(scenes)])
    return path


def stock_command(models: Sequence[Path]) -> list[Any]:
    spec = find_spec("mmpose")
    if spec is None or spec.origin is None:
        raise SystemExit("mmpose is not installed: make install")
    script = Path(spec.origin).parent / ".mim" / "demo" / "topdown_demo_with_mmdet.py"
    return [sys.executable, script, *models, "--device", "cpu", "--draw-bbox", "--save-predictions"]


def keypoints_of(out: Path) -> list[np.ndarray[Any, Any]]:
    """Return (N, K, 2) keypoints per frame, of the demo script's file or of posetools' COCO results."""
    stock = next(out.glob("results_cars_*.json"), None)
    if stock is not None:
        frames = json.loads(stock.read_text(encoding="utf-8"))["instance_info"]
        return [np.array([one["keypoints"] for one in frame["instances"]]) for frame in frames]
    by_frame: dict[int, list[Any]] = {}
    for one in json.loads((out / "results_coco.json").read_text(encoding="utf-8")):
        by_frame.setdefault(one["image_id"], []).append(np.array(one["keypoints"]).reshape(-1, 3)[:, :2])
    return [np.array(by_frame[number]) for number in sorted(by_frame)]


def largest_difference(expected: Sequence[np.ndarray[Any, Any]], found: Sequence[np.ndarray[Any, Any]]) -> float:
    if [len(one) for one in expected] != [len(one) for one in found]:
        return float("nan")
    return max(float(np.abs(a - b).max()) for a, b in zip(expected, found, strict=True) if len(a))


def report(timings: Sequence[Timing], difference: float) -> None:
    stock = timings[0]
    print(f"{'':26}{'seconds':>9}{'ratio':>7}{'start':>7}{'frames/s':>10}{'ratio':>7}{'objects':>9}")
    for one in timings:
        print(
            f"{one.name:26}{one.total:9.1f}{stock.total / one.total:7.2f}{one.start:7.1f}"
            f"{one.fps:10.1f}{one.fps / stock.fps:7.2f}{one.objects:9}"
        )
    print(f"largest difference of a keypoint's coordinate, both with the flip test: {difference:.4f} px")


def timed(command: Sequence[Any]) -> float:
    started = time.perf_counter()
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started


def posetools(*words: str | Path) -> None:
    print("posetools", *words, flush=True)
    timed([sys.executable, "-m", "posetools", *words])


if __name__ == "__main__":
    main()
