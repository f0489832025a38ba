"""Predict for an evaluation in several processes: images in shards, their predictions joined here.

A shard is a whole number of batches, so the predictions are those of one process. Labels are sent with the images, and
matched here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from posetools.core.dataset import Dataset
from posetools.evaluation.scoring import BATCH_IMAGES, CollectedPoses, Gathered, Task, predict_each
from posetools.files.urls import absolute
from posetools.pairs.open import OpenPair, PipelineOptions, open_pair
from posetools.progress import Progress, silent
from posetools.runtime.results import AnyDetector, AnyEstimator
from posetools.scale.opened import SentBundle
from posetools.scale.shards import ModelEngine, shard_size


@dataclass(frozen=True, eq=False, slots=True)
class _Shard:
    """Images of a split: the index of the first, and the labels of each task on them."""

    first: int
    truths: tuple[Dataset, ...]

    def __repr__(self) -> str:
        images = self.truths[0].images
        return f"{images[0].file_name} to {images[-1].file_name}"


@dataclass(frozen=True, slots=True)
class _Collecting:
    """Predicts on the images of a shard.

    Attributes:
        bundle: the models.
        tasks: the detector's class of each task, and the number of its pose estimator, if it has one.
        bbox_thr: detected boxes with a lower score get no keypoints.
    """

    bundle: SentBundle
    tasks: tuple[tuple[int, int | None], ...]
    bbox_thr: float

    def __call__(self, shard: _Shard) -> tuple[int, list[tuple[CollectedPoses, ...]], Counter[int]]:
        pair = self.bundle.opened(_open)
        tasks = [
            Task(truth, label, None if number is None else pair.estimators[number])
            for truth, (label, number) in zip(shard.truths, self.tasks, strict=True)
        ]
        gathered = [Gathered(task, self.bbox_thr) for task in tasks]
        labels = predict_each(gathered, pair.detector, silent)
        return shard.first, [each.parts for each in gathered], labels


def _open(path: Path, options: PipelineOptions) -> OpenPair[AnyDetector, AnyEstimator]:
    return open_pair(options, bundle=path)


@dataclass(frozen=True, eq=False, slots=True)
class Spread:
    """Several processes that predict with a bundle.

    Attributes:
        bundle: its file.
        options: how to open it.
        pair: the same models, opened here.
        engine: runs the processes.
    """

    bundle: Path
    options: PipelineOptions
    pair: OpenPair[AnyDetector, AnyEstimator]
    engine: ModelEngine

    def predict(self, gathered: Sequence[Gathered], bbox_thr: float, progress: Progress) -> Counter[int]:
        """Predict on all images, as in one process; the batches are the same."""
        tasks = [each.task for each in gathered]
        estimators = [None if one.estimator is None else self.pair.estimators.index(one.estimator) for one in tasks]
        bundle, sent = SentBundle.of(self.bundle, self.options, self.engine)
        named = tuple(zip([one.label for one in tasks], estimators, strict=True))
        total, labels = len(tasks[0].truth.images), Counter[int]()
        step = shard_size(total, BATCH_IMAGES)
        shards = [
            _Shard(i, tuple(_part(one.truth, range(i, min(i + step, total))) for one in tasks))
            for i in range(0, total, step)
        ]
        for first, parts, of_shard in self.engine.run(_Collecting(bundle, named, bbox_thr), shards, sent=sent):
            labels.update(of_shard)
            for each, own in zip(gathered, parts, strict=True):
                for all_poses, poses in zip(each.parts, own, strict=True):
                    all_poses.extend(poses, first)
            progress("evaluating", min(first + step, total), total)
        return labels


def _part(truth: Dataset, images: range) -> Dataset:
    """Return some images with their labels; their paths are valid in other processes."""
    part = truth.select_images(images)
    return part.with_images([replace(one, path=one.path and absolute(one.path)) for one in part.images])
