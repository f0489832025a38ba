"""What comes out of a few minutes of training: `posetools train`, beside ultralytics' YOLO-pose, on the same images.

    python benchmarks/minutes.py [--minutes 18] [--images 300] [--seed 0] [--only posetools yolo26n yolo11n] [--out DIR]
    python benchmarks/minutes.py --curve [--out DIR]

The images show cars of benchmarks/renderer, which is not the product's renderer. All programs start from random weights
on two threads without a GPU, have an input side of 256 pixels, and get the same training and validation images from
`posetools convert`. posetools trains RTMDet-tiny and RTMPose-t by the recipe of `posetools config --minutes`.
ultralytics trains at its defaults, with its own limit of time, in .venv-peers (`make .venv-peers/.done`).

The scores are those of 60 other images, by pycocotools, on the boxes that each program detects itself with a score of
at least 0.01: box mAP and AP50; pose AP with all sigmas at 0.05; PCK@0.1, the part of the visible keypoints within a
tenth of the longer side of the labeled box. A car is detected if the IoU is at least 0.5; the keypoints of a missed car
are wrong. The minutes are those of training, with start-up and evaluations: `config` and `train --stage all` for
posetools.

--curve trains posetools alone, for 10, 18 and 60 minutes on 50 and 300 images. A run whose result is in --out is not
repeated, so both tables can be made in pieces. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.renderer import write_images
from posetools.core.skeleton import load_skeleton

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".venv-peers"
YOLO = {"yolo26n": "yolo26n-pose.yaml", "yolo11n": "yolo11n-pose.yaml"}
PROGRAMS = ("posetools", *YOLO)
CURVE = [(minutes, images) for minutes in (10.0, 18.0, 60.0) for images in (50, 300)]
SIDE = 256
THREADS = 2
UNSEEN = 60
# Images of the training set's seed never have these numbers.
FIRST_UNSEEN = 100_000
LEAST_SCORE = 0.01
SIGMA = 0.05
LEAST_IOU = 0.5
NEAR = 0.1


@dataclass(frozen=True)
class Result:
    """One training: who, how long it was meant to take and took, and its scores on unseen images, 0 to 1."""

    program: str
    images: int
    minutes: float
    seed: int
    took: float
    box_ap: float
    box_ap50: float
    pose_ap: float
    pck: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=18.0, help="of each training")
    parser.add_argument("--images", type=int, default=300, help="for training and validation")
    parser.add_argument("--seed", type=int, default=0, help="of the images and of the trainings")
    parser.add_argument("--only", nargs="+", choices=PROGRAMS, default=PROGRAMS)
    parser.add_argument(
        "--curve", action="store_true", help="posetools alone, for several minutes and numbers of images"
    )
    parser.add_argument("--out", type=Path, help="keep images, runs and results here for reuse")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        # For all programs, which would otherwise count the processors that they find.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    with tempfile.TemporaryDirectory() as scratch:
        out = (args.out or Path(scratch)).absolute()
        plan = CURVE if args.curve else [(args.minutes, args.images)]
        programs = PROGRAMS[:1] if args.curve else args.only
        report([result_of(out, one, minutes, images, args.seed) for minutes, images in plan for one in programs])
    part = (
        "--curve" if args.curve else f"--minutes {args.minutes:g} --images {args.images} --only {' '.join(args.only)}"
    )
    print(f"\npython benchmarks/minutes.py {part} --seed {args.seed}")


def result_of(out: Path, program: str, minutes: float, images: int, seed: int) -> Result:
    """Return the result of one training, which runs unless its result exists."""
    run = out / f"{program}_{images}_images_{minutes:g}_minutes_seed_{seed}"
    done = run / "result.json"
    if not done.is_file():
        # A part of a run would not take the minutes that are asked for.
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        labeled, unseen = rendered(out, images, seed), rendered(out, UNSEEN, seed, first=FIRST_UNSEEN)
        truth = write_truth(unseen)
        train = train_posetools if program == "posetools" else train_yolo
        took, detections = train(run, program, labeled, unseen, truth, minutes, seed)
        result = Result(program, images, minutes, seed, took / 60, *scores(truth, detections))
        done.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    result = Result(**json.loads(done.read_text(encoding="utf-8")))
    print(line(result), flush=True)
    return result


def rendered(out: Path, images: int, seed: int, first: int = 0) -> Path:
    """Return a folder of rendered images with labelme files."""
    folder = out / f"images_{first}_to_{first + images}_seed_{seed}"
    if not folder.is_dir():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        write_images(partial, images, seed, first=first)
        partial.rename(folder)
    return folder


def write_truth(folder: Path) -> Path:
    """Write the labels of a folder of labelme files as a COCO file, without the code that is measured."""
    skeleton = load_skeleton("car8")
    images: list[dict[str, Any]] = []
    cars: dict[tuple[int, int], dict[str, Any]] = {}
    for number, file in enumerate(sorted(folder.glob("*.json")), 1):
        document = json.loads(file.read_text(encoding="utf-8"))
        size = {"width": document["imageWidth"], "height": document["imageHeight"]}
        images.append({"id": number, "file_name": document["imagePath"], **size})
        for shape in document["shapes"]:
            car = cars.setdefault((number, shape["group_id"]), {"keypoints": [0.0] * 24})
            if shape["shape_type"] == "rectangle":
                (x1, y1), (x2, y2) = shape["points"]
                car |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            else:
                at = 3 * skeleton.names.index(shape["label"])
                car["keypoints"][at : at + 3] = [*shape["points"][0], 1 if shape["flags"] else 2]
    annotations = [
        {"id": i, "image_id": key[0], "category_id": 1, "iscrowd": 0, "num_keypoints": count(car), **car}
        for i, (key, car) in enumerate(cars.items(), 1)
    ]
    category = {"id": 1, "name": "car", "keypoints": list(skeleton.names), "skeleton": []}
    truth = folder.with_suffix(".truth.json")
    truth.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [category]}), encoding="utf-8"
    )
    return truth


def count(car: dict[str, Any]) -> int:
    return sum(v > 0 for v in car["keypoints"][2::3])


def train_posetools(
    run: Path, program: str, labeled: Path, unseen: Path, truth: Path, minutes: float, seed: int
) -> tuple[float, list[dict[str, Any]]]:
    """Return the seconds of training, and what the pair detects in the unseen images, as COCO results."""
    own = [sys.executable, "-m", program]
    data, configs, work = run / "data", run / "configs", run / "work"
    called(run, [*own, "convert", labeled, "--out", data, "--seed", seed])
    started = time.perf_counter()
    pair = ["--det", "tiny", "--pose", "t", "--det-input-size", SIDE, "--pretrained", "none"]
    called(run, [*own, "config", data, *pair, "--minutes", minutes, "--seed", seed, "--out", configs])
    called(run, [*own, "train", "--stage", "all", data, "--configs", configs, "--work-dir", work, "--device", "cpu"])
    took = time.perf_counter() - started
    found = run / "predicted"
    options = ["--run", work, "--bbox-thr", LEAST_SCORE, "--save-predictions", "--ann-file", truth, "--device", "cpu"]
    called(run, [*own, "predict", unseen, *options, "--output-root", found])
    return took, with_box_scores(found)


def with_box_scores(found: Path) -> list[dict[str, Any]]:
    """Return the COCO results of `posetools predict`, with the scores of the boxes alone from its other file."""
    results = json.loads((found / "results_coco.json").read_text(encoding="utf-8"))
    document = json.loads((found / "predictions.json").read_text(encoding="utf-8"))
    boxes = [one for image in document["pictures"] for one in image["instances"]]
    return [{**one, "box_score": box["score"]} for one, box in zip(results, boxes, strict=True)]


def train_yolo(
    run: Path, program: str, labeled: Path, unseen: Path, truth: Path, minutes: float, seed: int
) -> tuple[float, list[dict[str, Any]]]:
    """Return the seconds of training, and what the model detects in the unseen images, as COCO results."""
    own = [PEERS / "bin" / "python", ROOT / "benchmarks" / "minutes_yolo.py"]
    data = run / "data"
    called(
        run, [sys.executable, "-m", "posetools", "convert", labeled, "--to", "yolo-pose", "--out", data, "--seed", seed]
    )
    common = ["--side", SIDE, "--threads", THREADS, "--work", run]
    started = time.perf_counter()
    called(run, [*own, "train", YOLO[program], data / "data.yaml", *common, "--minutes", minutes, "--seed", seed])
    took = time.perf_counter() - started
    called(run, [*own, "predict", truth, unseen, *common, "--least-score", LEAST_SCORE])
    results: list[dict[str, Any]] = json.loads((run / "results_coco.json").read_text(encoding="utf-8"))
    return took, results


def called(run: Path, command: Sequence[Any]) -> None:
    words = [str(word) for word in command]
    print(" ".join(words), flush=True)
    limits = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}
    with (run / "log.txt").open("a", encoding="utf-8") as log:
        log.write(f"\n$ {' '.join(words)}\n")
        log.flush()
        done = subprocess.run(
            words, cwd=run, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **limits}, check=False
        )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: exit status {done.returncode}; see {run / 'log.txt'}")


def scores(truth: Path, detections: Sequence[dict[str, Any]]) -> tuple[float, float, float, float]:
    """Return box mAP, box AP50, pose AP and PCK@0.1 of COCO results."""
    if not detections:
        return 0.0, 0.0, 0.0, 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        labels = COCO(str(truth))
        boxes = evaluated(labels, [{**one, "score": one.get("box_score", one["score"])} for one in detections], "bbox")
        poses = evaluated(labels, detections, "keypoints")
    near = np.concatenate([near_keypoints(labels, image, detections) for image in labels.getImgIds()])
    return boxes[0], boxes[1], poses[0], float(near.mean())


def evaluated(labels: COCO, detections: Sequence[dict[str, Any]], kind: str) -> list[float]:
    evaluation = COCOeval(labels, labels.loadRes([dict(one) for one in detections]), kind)
    if kind == "keypoints":
        evaluation.params.kpt_oks_sigmas = np.full(8, SIGMA)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    stats: list[float] = evaluation.stats.tolist()
    return stats


def near_keypoints(labels: COCO, image: int, detections: Sequence[dict[str, Any]]) -> np.ndarray[Any, Any]:
    """Return for each visible keypoint of an image whether the detection of its car has it in the right place."""
    cars = labels.loadAnns(labels.getAnnIds(imgIds=[image]))
    found = sorted(
        (one for one in detections if one["image_id"] == image),
        key=lambda one: -float(one.get("box_score", one["score"])),
    )
    of_car = dict(matches(cars, found))
    right = []
    for number, car in enumerate(cars):
        points = np.reshape(car["keypoints"], (-1, 3))
        visible = points[:, 2] == 2
        if number in of_car:
            predicted = np.reshape(of_car[number]["keypoints"], (-1, 3))
            apart = np.hypot(*(predicted - points)[visible, :2].T)
            right.append(apart <= NEAR * max(car["bbox"][2:]))
        else:
            right.append(np.zeros(visible.sum(), dtype=np.bool_))
    return np.concatenate(right) if right else np.zeros(0, dtype=np.bool_)


def matches(cars: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of a car and the detection of it: the best one first takes the car that it fits best."""
    free = set(range(len(cars)))
    for one in found:
        overlaps = {number: iou(cars[number]["bbox"], one["bbox"]) for number in free}
        best = max(overlaps, key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] >= LEAST_IOU:
            free.remove(best)
            yield best, one


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the IoU of two boxes x, y, width, height."""
    sides = [max(0.0, min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    common = sides[0] * sides[1]
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def report(results: Sequence[Result]) -> None:
    print(
        "\n"
        + "".join(
            f"{name:>12}" for name in ("program", "images", "minutes", "took", "box mAP", "AP50", "pose AP", "PCK@0.1")
        )
    )
    for result in results:
        print(line(result))


def line(one: Result) -> str:
    figures = (one.box_ap, one.box_ap50, one.pose_ap, one.pck)
    head = f"{one.program:>12}{one.images:12}{one.minutes:12g}{one.took:12.1f}"
    return head + "".join(f"{figure:12.3f}" for figure in figures)


if __name__ == "__main__":
    main()
