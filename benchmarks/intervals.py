"""Whether the intervals of `posetools eval` are right: simulated data sets and models whose true quality is known.

    python benchmarks/intervals.py [--sets 500] [--only coverage clips same difference time] [--seed 0]

A simulated object has a difficulty; a model's error in its box, its keypoints and its score grows with it. Two models
of one data set share the difficulties, so their errors have a correlation of 0.5. The true value of a metric is the one
of 20,000 images. All intervals are those of posetools.evaluation, with 1,000 resamples.

coverage    the share of 95 % intervals of AP and PCK that hold the true value, in sets of 300 images with two objects
            each: 93 to 97 %
clips       the same for 5 clips of 40 frames, whose objects share half of their difficulty: at least 90 %
same        how often two models of equal quality with independent errors are called different: at most 6 %
difference  how often a true difference of 0.03 AP is found, at the number of images that the intervals of a first set
            of 300 images ask for: at least 80 %
time        the seconds of all intervals of a report on 5,000 images with 20,000 predictions: at most 60
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, Image
from posetools.core.geometry import Floats
from posetools.core.place import Origin, Origins
from posetools.core.skeleton import load_skeleton
from posetools.evaluation.bootstrap import RESAMPLES, Resamples
from posetools.evaluation.coco import Predictions
from posetools.evaluation.comparison import compare, images_needed, measures_of
from posetools.evaluation.intervals import DIFFERENCES, Interval
from posetools.evaluation.metrics import match_boxes
from posetools.evaluation.report import DetPart, PosePart, Report, Subject
from posetools.evaluation.scoring import BoxPoses, pck_of

PARTS = ("coverage", "clips", "same", "difference", "time")
SKELETON = load_skeleton("car8")
SUBJECT = Subject("simulated", "detector", "pose estimator", "simulated", "val", 0.0)
BOX_AP, POSE_AP, PCK = "box AP", "pose AP on detected boxes", "PCK@0.1 on detected boxes"
MEASURES = (BOX_AP, POSE_AP, PCK)
PER_IMAGE = 2
TRUE_IMAGES = 20_000
IMAGES = 300
CLIPS, FRAMES = 5, 40
# The difference in box AP that is to be found, and about how much worse all errors of the second model then are.
DIFFERENCE, WORSE = 0.03, 0.1


@dataclass(frozen=True, eq=False)
class Scene:
    """Labels, and the difficulty of each of their N objects: (N,), normal."""

    truth: Dataset
    difficulty: Floats


def scene(rng: np.random.Generator, images: int, frames: int = 1) -> Scene:
    """Return a simulated data set; with frames, so many images in a row share half of their difficulty."""
    count = images * PER_IMAGE
    sides = np.exp(rng.normal(np.log(90), 0.4, (count, 1))) * np.array([1.3, 1.0])
    # The objects of an image are far from each other.
    corners = rng.uniform(20, 60, (count, 2)) + np.tile(np.array([[0.0, 0.0], [700.0, 0.0]]), (images, 1))
    points = corners[:, None] + rng.uniform(0, 1, (count, SKELETON.num_keypoints, 2)) * sides[:, None]
    truth = Dataset(
        categories=Categories.of(SKELETON),
        images=tuple(Image(f"{number:06}.jpg", 1400, 700) for number in range(images)),
        boxes=np.concatenate([corners, corners + sides], axis=1),
        keypoints=np.concatenate([points, np.full((*points.shape[:2], 1), 2.0)], axis=2),
        areas=sides.prod(axis=1),
        iscrowd=np.zeros(count, dtype=np.bool_),
        category_ids=np.ones(count, dtype=np.int64),
        image_index=np.repeat(np.arange(images), PER_IMAGE),
        origins=Origins.of([Origin("")] * count),
    )
    difficulty = rng.normal(size=count)
    if frames > 1:
        shared = np.repeat(rng.normal(size=images // frames), frames * PER_IMAGE)
        difficulty = np.sqrt(0.5) * (difficulty + shared)
    return Scene(truth, difficulty)


def predict(rng: np.random.Generator, of: Scene, *, worse: float = 0.0, correlation: float = 0.5) -> Predictions:
    """Return a model's predictions.

    Args:
        rng: the random generator.
        of: the data set.
        worse: added to the logarithm of all errors.
        correlation: of the errors with the difficulty, and so with those of another model.
    """
    truth, count = of.truth, len(of.truth)
    error = np.sqrt(correlation) * of.difficulty + np.sqrt(1 - correlation) * rng.normal(size=count)
    size = np.exp(-2.9 + worse + 0.8 * error)
    sides = truth.boxes[:, 2:] - truth.boxes[:, :2]
    corners = truth.boxes + rng.normal(size=(count, 4)) * np.tile(sides, 2) * size[:, None]
    noise = rng.normal(size=truth.keypoints[:, :, :2].shape) * (np.sqrt(truth.areas) * size)[:, None, None]
    scores = 1.5 - error + rng.normal(0, 0.8, count)
    found = rng.random(count) < _sigmoid(2.6 - error)
    false = rng.poisson(0.4 * len(truth.images))
    spot = rng.uniform(100, 600, (false, 2))
    return Predictions(
        np.concatenate([truth.image_index[found], rng.integers(len(truth.images), size=false)]),
        np.concatenate([_sorted_corners(corners[found]), np.concatenate([spot, spot + 80], axis=1)]),
        _sigmoid(np.concatenate([scores[found], rng.normal(-0.5, 1.0, false)])),
        np.concatenate(
            [
                (truth.keypoints[:, :, :2] + noise)[found],
                spot[:, None] + rng.uniform(0, 80, (false, SKELETON.num_keypoints, 2)),
            ]
        ),
    )


def _sigmoid(value: Floats) -> Floats:
    return 1 / (1 + np.exp(-value))


def _sorted_corners(boxes: Floats) -> Floats:
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    return np.concatenate([low, high], axis=1)


def report_of(of: Scene, predicted: Predictions, frames: int = 1, resamples: int = RESAMPLES) -> Report:
    """Return the report of a pair with these predictions; its groups are clips of so many frames."""
    truth, drawn = of.truth, Resamples(np.arange(len(of.truth.images)) // frames, number=resamples)
    poses = BoxPoses(predicted, predicted.scores, np.arange(len(predicted)), match_boxes(truth, predicted))
    pose = PosePart(truth, poses, boxes_are_labels=False, resamples=drawn)
    return Report(SUBJECT, truth, DetPart(truth, predicted, drawn), pose, pose, remarks={})


def coverage(
    sets: int, seed: int, *, images: int = IMAGES, frames: int = 1, resamples: int = RESAMPLES
) -> dict[str, float]:
    """Return the share of intervals with the true value, by measure."""
    true = _true(seed, frames=frames)
    inside = dict.fromkeys(MEASURES, 0)
    for number in range(sets):
        rng = np.random.default_rng([seed, number])
        of = scene(rng, images, frames)
        measured = measures_of(report_of(of, predict(rng, of), frames, resamples))
        for name in MEASURES:
            found = Interval.of(*measured[name])
            inside[name] += found is not None and found.low <= true[name] <= found.high
    return {name: count / sets for name, count in inside.items()}


def called_different(sets: int, seed: int) -> dict[str, float]:
    """Return how often two models of equal quality with independent errors are called different, by measure."""
    return _settled(sets, seed, images=lambda _: IMAGES, worse=0.0, correlation=0.0)


def found_difference(sets: int, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return the true differences of two models, and how often they are found with as many images as asked for."""
    worse = WORSE
    for _ in range(4):
        better, other = _true(seed), _true(seed, worse=worse)
        worse *= DIFFERENCE / (better[BOX_AP] - other[BOX_AP])
    true = {name: better[name] - value for name, value in _true(seed, worse=worse).items()}

    def images(rng: np.random.Generator) -> int:
        of = scene(rng, IMAGES)
        two = [report_of(of, predict(rng, of, worse=each)) for each in (0.0, worse)]
        return images_needed(two)[BOX_AP][DIFFERENCES.index(DIFFERENCE)] or 0

    return true, _settled(sets, seed, images=images, worse=worse, correlation=0.5)


def _settled(
    sets: int, seed: int, *, images: Callable[[np.random.Generator], int], worse: float, correlation: float
) -> dict[str, float]:
    settled = dict.fromkeys(MEASURES, 0)
    for number in range(sets):
        rng = np.random.default_rng([seed, number])
        of = scene(rng, images(rng))
        two = [report_of(of, predict(rng, of, worse=each, correlation=correlation)) for each in (0.0, worse)]
        found = compare(*two)
        for name in MEASURES:
            interval = found[name].interval
            settled[name] += interval is not None and interval.settled
    return {name: count / sets for name, count in settled.items()}


def _true(seed: int, *, frames: int = 1, worse: float = 0.0) -> dict[str, float]:
    # The same objects for every model, so that their difference is exact.
    rng = np.random.default_rng([seed, TRUE_IMAGES])
    of = scene(rng, TRUE_IMAGES, frames)
    report = report_of(of, predict(rng, of, worse=worse))
    values = {
        BOX_AP: report.det.scores.ap,
        POSE_AP: report.detected.scores.oks.ap,
        PCK: pck_of(report.detected.scores),
    }
    return {name: value or 0.0 for name, value in values.items()}


def seconds(images: int = 5000, predictions: int = 20_000) -> float:
    """Return the seconds of all intervals of a report, per keypoint and size too."""
    rng = np.random.default_rng(0)
    of = scene(rng, images)
    predicted = predict(rng, of)
    report = report_of(of, predicted[rng.integers(len(predicted), size=predictions)])
    # The metrics themselves are not part of the time.
    _ = report.det.metrics, report.detected.metrics
    start = time.perf_counter()
    _ = report.det.intervals, report.detected.intervals
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=500, help="simulated data sets of each part")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{args.sets} sets{'':28}" + "".join(f"{name.split(' on')[0]:>10}" for name in MEASURES), flush=True)

    def row(name: str, values: dict[str, float]) -> None:
        print(f"{name:36}" + "".join(f"{values[measure]:10.3f}" for measure in MEASURES), flush=True)

    if "coverage" in args.only:
        row(f"coverage, {IMAGES} images", coverage(args.sets, args.seed))
    if "clips" in args.only:
        found = coverage(args.sets, args.seed, images=CLIPS * FRAMES, frames=FRAMES)
        row(f"coverage, {CLIPS} clips of {FRAMES} frames", found)
    if "same" in args.only:
        row("equal models called different", called_different(args.sets, args.seed))
    if "difference" in args.only:
        true, found = found_difference(args.sets, args.seed)
        row("true difference", true)
        row("found, with the images asked for", found)
    if "time" in args.only:
        print(f"all intervals, 5,000 images, 20,000 predictions: {seconds():.1f} s", flush=True)


if __name__ == "__main__":
    main()
