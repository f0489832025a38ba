"""Measure models on an export's images: time per image, and the metrics that a bundle stores."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset
from posetools.core.skeleton import Skeleton
from posetools.evaluation.metrics import box_scores
from posetools.evaluation.scoring import PairPredictions, Task, collect_each, pose_scores
from posetools.exporting.material import ExportMaterial
from posetools.progress import Progress
from posetools.runtime.results import BBOX_THR, AnyDetector, AnyEstimator

# Number of images to compare on, and to time.
COMPARED = 8

# The skeleton of a category, its index in the detector's classes, and its pose estimator; None: boxes only.
OfCategory: TypeAlias = tuple[Skeleton, int, AnyEstimator | None]


def by_category(
    categories: Categories, detector: AnyDetector, estimators: Sequence[AnyEstimator]
) -> Iterator[OfCategory]:
    """Yield what measures each category; ``estimators`` are those of ``categories.posed``, in its order."""
    groups = zip(categories.posed.values(), estimators, strict=True)
    own = {number: estimator for group, estimator in groups for number in group}
    for number, skeleton in categories.items():
        yield skeleton, detector.classes.index(skeleton.category.name), own.get(number)


def milliseconds(detector: AnyDetector, models: Sequence[OfCategory], material: ExportMaterial) -> float:
    """Return the median time per image, from pixels to keypoints, for boxes above the default threshold."""
    times = []
    first = material.shots[0].read()
    images = [first, *(shot.read() for shot in material.spread(COMPARED))]
    for image in images:
        start = time.perf_counter()
        found = detector([image])[0]
        for _, label, estimator in models:
            if estimator is not None:
                estimator.estimate([image], [found.select(label=label, min_score=BBOX_THR).boxes])
        times.append(time.perf_counter() - start)
    # The first run of a network allocates its memory.
    return 1000 * statistics.median(times[1:])


def stored_scores(
    detector: AnyDetector, models: Sequence[OfCategory], truth: Dataset, progress: Progress
) -> dict[str, float | None]:
    """Return the metrics of ``posetools eval`` that a bundle stores, by their paths in its JSON.

    With several categories each has its own, after its name: ``cone/bbox/AP``.
    """
    parts = [truth.of_categories(Categories((skeleton,))) for skeleton, _, _ in models]
    tasks = [Task(part, label, estimator) for part, (_, label, estimator) in zip(parts, models, strict=True)]
    found = collect_each(tasks, detector, progress=progress)
    numbers: dict[str, float | None] = {}
    for task, said in zip(tasks, found, strict=True):
        prefix = f"{task.truth.skeleton.category.name}/" if len(tasks) > 1 else ""
        numbers |= {f"{prefix}{name}": value for name, value in _scores_of(task, said).items()}
    return numbers


def _scores_of(task: Task, said: PairPredictions) -> dict[str, float | None]:
    truth = task.truth
    boxes = box_scores(truth, said.boxes).as_dict()
    numbers: dict[str, float | None] = {f"bbox/{name}": value for name, value in _all_sizes(boxes).items()}
    if task.estimator is None:
        return numbers
    for side, poses in (("labelled_boxes", said.on_labels), ("detected_boxes", said.on_boxes)):
        scores = pose_scores(truth, poses)
        numbers |= {f"{side}/OKS/{name}": value for name, value in _all_sizes(scores.oks.as_dict()).items()}
        overall = scores.points["labelled"].overall.as_dict()
        numbers |= {f"{side}/{name}": overall[name] for name in overall if name.startswith(("PCK", "NME"))}
    return numbers


def _all_sizes(numbers: Mapping[str, float | None]) -> dict[str, float | None]:
    """Drop the metrics of small, medium and large objects."""
    return {name: value for name, value in numbers.items() if not name.endswith(("s", "m", "l"))}
