"""How many wrong labels `posetools review --by labels` finds, among rendered images with planted errors.

    python benchmarks/wrong_labels.py [--images 1000] [--minutes 60] [--folds 3] [--seed 0] [--out DIR]

One car in 20 gets an error, the six kinds in turn: a point moved by 15 % of the box's longer side in any direction;
left and right exchanged; front and rear exchanged; a visible point not labeled; the box shifted by 20 % of its width or
height; the car not labeled. Then it runs the commands that a user types: convert, `split --folds`, config and `train
--folds` from the starter weights, which share the minutes, on two threads without a GPU, and `review --by labels
--folds`.

For each kind: recall at the last place of its ranking where the precision is still 0.7 or more, and average precision;
with out-of-fold predictions, and with those of a pair that trained on the image (the pair of the next fold), which
saw the wrong label too. A suspect is right if image, object, kind and, for a point, its name are right. A car that is
not labeled is found by a box with an IoU of at least 0.5. The last column has the suspects with a score of at least
0.5, and how many of them are right. With --out a finished step is not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.minutes import THREADS, called
from posetools.core.dataset import Dataset, concatenate
from posetools.core.folder import fold_folder, fold_split, folds_of
from posetools.core.geometry import box_iou, clip_boxes
from posetools.core.skeleton import load_skeleton
from posetools.evaluation.diagnosis.match import partners
from posetools.evaluation.folds import joined, tasks_of
from posetools.evaluation.scoring import collect_each, read_truth
from posetools.formats.labelme.format import write as write_labelme
from posetools.labeling.review.wrong_labels import SUSPECT_BBOX_THR
from posetools.labeling.suspects.ranking import Suspect, rank_suspects
from posetools.pairs.open import PipelineOptions, open_pair
from posetools.synth.dataset import render_set

KINDS = ("moved", "left/right", "front/rear", "missing", "box", "object missing")
ONE_IN = 20
MOVED, SHIFTED = 0.15, 0.2
SIZE = (320, 240)
LEAST_PRECISION, LEAST_IOU, PROBABLE = 0.7, 0.5, 0.5


@dataclass(frozen=True)
class Error:
    """A planted error: the image, the car's number in it (-1: not labeled), its box, the kind, and the point."""

    file_name: str
    number: int
    box: Sequence[float]
    kind: str
    point: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=60.0, help="of all trainings together")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of images, errors and trainings")
    parser.add_argument("--out", type=Path, help="keep images, runs and results here for reuse")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    with tempfile.TemporaryDirectory() as scratch:
        out = (args.out or Path(scratch)).absolute()
        errors = planted(out, args.images, args.seed)
        took = trained(out, args.minutes, args.folds, args.seed)
        report(out, errors)
    print(f"\n{args.images} images, {len(errors)} errors; the trainings took {took / 60:.1f} minutes")


def planted(out: Path, images: int, seed: int) -> list[Error]:
    """Render the images and write their labels with errors as labelme files; return the errors."""
    record = out / "errors.json"
    if not record.is_file():
        clean = render_set(out / "clean", images=images, size=SIZE, seed=seed, workers=THREADS, overwrite=True)
        labels, errors = with_errors(clean, seed)
        write_labelme({"all": labels}, out / "labels", "copy")
        record.write_text(json.dumps([asdict(error) for error in errors], indent=1) + "\n", encoding="utf-8")
    return [Error(**one) for one in json.loads(record.read_text(encoding="utf-8"))]


def with_errors(clean: Dataset, seed: int) -> tuple[Dataset, list[Error]]:
    """Return the labels with errors in one object of 20, and the errors."""
    rng, names = np.random.default_rng([seed, 20]), load_skeleton("car8").names
    boxes, points, gone = clean.boxes.copy(), clean.keypoints.copy(), list[int]()
    orders = {
        "left/right": partners(clean.skeleton)["left_right"],
        "front/rear": partners(clean.skeleton)["front_rear"],
    }
    errors = list[tuple[int, str, str]]()
    for number, row in enumerate(rng.permutation(len(clean))[: round(len(clean) / ONE_IN)].tolist()):
        kind, name, sides = KINDS[number % len(KINDS)], "", boxes[row, 2:] - boxes[row, :2]
        given = np.flatnonzero(points[row, :, 2] == 2)
        if kind in ("moved", "missing"):
            point = int(rng.choice(given)) if len(given) else 0
            name, way = names[point], rng.uniform(0, 2 * np.pi)
            points[row, point, :2] += MOVED * sides.max() * np.array([np.cos(way), np.sin(way)])
            points[row, point] *= kind == "moved"
        elif kind in orders:
            points[row] = points[row, orders[kind]]
        elif kind == "box":
            shift = SHIFTED * sides * rng.permutation([0, 1]) * rng.choice([-1, 1])
            boxes[row] = clip_boxes((boxes[row] + np.tile(shift, 2))[None], SIZE)[0]
        else:
            gone.append(row)
        errors.append((row, kind, name))
    kept = np.setdiff1d(np.arange(len(clean)), gone)
    labels = replace(
        clean,
        boxes=boxes[kept],
        keypoints=points[kept],
        areas=(boxes[kept, 2:] - boxes[kept, :2]).prod(axis=1),
        iscrowd=clean.iscrowd[kept],
        category_ids=clean.category_ids[kept],
        image_index=clean.image_index[kept],
        origins=clean.origins.take(kept.tolist()),
    )
    firsts = [rows.start for rows in labels.rows_of_images()]
    return labels, [
        Error(
            clean.images[image := int(clean.image_index[row])].file_name,
            -1 if kind == "object missing" else int(np.searchsorted(kept, row)) - firsts[image],
            clean.boxes[row].tolist(),
            kind,
            name,
        )
        for row, kind, name in errors
    ]


def trained(out: Path, minutes: float, folds: int, seed: int) -> float:
    """Convert the labels and train a pair of each fold, all in that many minutes; return the seconds it took."""
    record = out / "trained.json"
    if not record.is_file():
        data, configs = out / "data", out / "configs"
        sizes = ["--det", "tiny", "--pose", "t", "--pretrained", "starter"]
        posetools(out, "convert", out / "labels", "--out", data, "--seed", seed, "--overwrite")
        posetools(out, "split", data, "--folds", folds, "--seed", seed)
        started = time.perf_counter()
        options = ["--folds", "--minutes", minutes, "--seed", seed, "--out", configs, "--overwrite"]
        posetools(out, "config", data, *sizes, *options)
        work = ["--work-dir", out / "work", "--device", "cpu"]
        posetools(out, "train", "--stage", "all", data, "--folds", "--configs", configs, *work)
        record.write_text(json.dumps(time.perf_counter() - started), encoding="utf-8")
    return float(json.loads(record.read_text(encoding="utf-8")))


def posetools(out: Path, *words: Any) -> None:
    called(out, [sys.executable, "-m", "posetools", *words])


def report(out: Path, errors: Sequence[Error]) -> None:
    """Print what is found with predictions of pairs that did not train on an image, and of pairs that did."""
    review = out / "review"
    options = ["--out", review, "--overwrite", "--device", "cpu"]
    posetools(out, "review", out / "data", "--by", "labels", "--run", out / "work", "--folds", *options)
    document = json.loads((review / "review.json").read_text(encoding="utf-8"))
    listed = document["suspects"]
    print(f"\n{'':16}{'errors':>7}{'':>3}{'out-of-fold':^33}{'':>3}{'in-sample':^33}")
    columns = f"{'recall':>8}{'AP':>7}{'score >= 0.5':>18}"
    print(f"{'kind':16}{'':>7}{'':>3}{columns}{'':>3}{columns}")
    in_sample = [one.as_dict() for one in seen_suspects(out)]
    for kind in KINDS:
        own = [error for error in errors if error.kind == kind]
        lines = [line(own, [one for one in found if one["kind"] == kind]) for found in (listed, in_sample)]
        print(f"{kind:16}{len(own):7}   {'   '.join(lines)}")


def seen_suspects(out: Path) -> tuple[Suspect, ...]:
    """Return the suspects by predictions of the next fold's pair, which trained on the fold's images."""
    data, options = out / "data", PipelineOptions(device="cpu")
    folds, tasks, said = folds_of(data), [], []
    for fold, other in zip(folds, (*folds[1:], folds[0]), strict=True):
        pair = open_pair(options, run=fold_folder(out / "work", other))
        (task,) = tasks_of(pair, read_truth(data, fold_split(fold, "val"), pair.categories))
        tasks.append(task.truth)
        said += collect_each([task], pair.detector, bbox_thr=SUSPECT_BBOX_THR)
    return rank_suspects([(concatenate(tasks), joined(tasks, said))])


def line(errors: Sequence[Error], suspects: Sequence[dict[str, Any]]) -> str:
    """Return recall at the least precision, average precision, and what is right of the probable ones."""
    left, right = list(errors), []
    ranked = sorted(suspects, key=lambda one: -float(one["score"]))
    for one in ranked:
        match = next((error for error in left if is_of(one, error)), None)
        right.append(match is not None)
        if match is not None:
            left.remove(match)
    hits = np.cumsum(right)
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / max(len(errors), 1)
    reached = float(recall[precision >= LEAST_PRECISION].max(initial=0.0))
    best = np.maximum.accumulate(precision[::-1])[::-1]
    average = float((best * np.diff(recall, prepend=0.0)).sum())
    probable = [ok for one, ok in zip(ranked, right, strict=True) if one["score"] >= PROBABLE]
    return f"{reached:8.2f}{average:7.2f}{f'{sum(probable)} of {len(probable)} right':>18}"


def is_of(suspect: dict[str, Any], error: Error) -> bool:
    """Return whether a suspect names an error."""
    if suspect["file_name"] != error.file_name:
        return False
    if error.kind == "object missing":
        return float(box_iou(np.array(suspect["box"]), np.array(error.box))) >= LEAST_IOU
    return suspect["object"] == error.number + 1 and (not error.point or suspect["keypoints"] == [error.point])


if __name__ == "__main__":
    main()
