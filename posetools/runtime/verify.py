"""Verify that a bundle computes the same on this machine as where it was exported.

A bundle has a few images with the output of its networks. They are run again here and compared: the same number of
objects of each category, boxes and keypoints within 0.5 px, scores within 0.001. Objects of a category are paired by
the nearest box, because the order of equal scores may differ between processors.

The limits are the same for every precision, as the same networks computed the expected output. Another order of sums
changes single precision by far less. 8-bit networks can differ more between processors: those without 8-bit dot
products may saturate large sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from posetools.core.categories import Categories
from posetools.core.geometry import Floats, Ints
from posetools.core.matching import best_free
from posetools.imaging.header import Pixels
from posetools.runtime.manifest import AnyManifest, CategoriesSample, Sample
from posetools.runtime.results import PoseResult

MOST_PIXELS = 0.5
SCORE = 1e-3

Predict: TypeAlias = Callable[[Pixels], PoseResult]


@dataclass(frozen=True, slots=True)
class SampleCheck:
    """Differences between a sample's output and the expected one; zeros without objects.

    Attributes:
        file: the sample's name in the bundle.
        expected: number of objects.
        found: number of objects.
        box_px: the largest difference of a box's coordinate, in pixels.
        keypoint_px: of a keypoint's, in pixels.
        score: of a box's score.
        keypoint_score: of a keypoint's score.
        worst: the keypoint that differs most, and its object, in words.
        same_categories: whether as many objects of each category are found as expected.
    """

    file: str
    expected: int
    found: int
    box_px: float
    keypoint_px: float
    score: float
    keypoint_score: float
    worst: str
    same_categories: bool = True

    @property
    def ok(self) -> bool:
        """Whether all differences are within the limits."""
        near = max(self.box_px, self.keypoint_px) <= MOST_PIXELS and max(self.score, self.keypoint_score) <= SCORE
        return self.expected == self.found and self.same_categories and near


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The comparison of all samples of a bundle."""

    manifest: AnyManifest
    samples: tuple[SampleCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether there are samples, and all are as expected."""
        return bool(self.samples) and all(sample.ok for sample in self.samples)


def verify(manifest: AnyManifest, samples: Iterable[tuple[Sample, Pixels]], predict: Predict) -> VerifyReport:
    """Compare the output for the samples with the expected one.

    Args:
        manifest: of the bundle.
        samples: its samples and their images.
        predict: the pipeline of the bundle.
    """
    return VerifyReport(manifest, tuple(compare(sample, predict(image)) for sample, image in samples))


def compare(sample: Sample, found: PoseResult) -> SampleCheck:
    """Return the differences between a result and the sample's expected output."""
    n, categories = len(sample.boxes), found.categories
    ids = _category_ids(sample, categories)
    boxes = np.array(sample.boxes, dtype=np.float64).reshape(n, 4)
    points, point_scores = np.full((n, categories.num_keypoints, 2), np.nan), np.zeros((n, categories.num_keypoints))
    for row, number in enumerate(ids):
        columns = categories.columns[number]
        points[row, columns] = np.reshape(sample.keypoints[row], (len(columns), 2))
        point_scores[row, columns] = sample.keypoint_scores[row]
    nearness = -np.abs(boxes[:, None] - found.boxes[None]).max(axis=2, initial=0.0)
    same = np.reshape(ids, (n, 1)) == found.category_ids
    rows, others = best_free(np.where(same, nearness, -np.inf)).T
    # Both are NaN in the columns of other categories.
    apart = np.nan_to_num(np.abs(points[rows] - found.keypoints[others])).max(axis=2, initial=0.0)
    return SampleCheck(
        file=sample.file,
        expected=n,
        found=len(found),
        box_px=_largest(boxes[rows] - found.boxes[others]),
        keypoint_px=_largest(apart),
        score=_largest(np.array(sample.scores)[rows] - found.scores[others]),
        keypoint_score=_largest(point_scores[rows] - found.keypoint_scores[others]),
        worst=_worst(apart, rows, categories.names),
        same_categories=sorted(ids) == sorted(found.category_ids.tolist()),
    )


def _category_ids(sample: Sample, categories: Categories) -> list[int]:
    if isinstance(sample, CategoriesSample):
        return [categories.ids[name] for name in sample.categories]
    return [categories.only.category.id] * len(sample.boxes)


def _largest(differences: Floats) -> float:
    return float(np.abs(differences).max(initial=0.0))


def _worst(apart: Floats, rows: Ints, names: tuple[str, ...]) -> str:
    if not apart.size:
        return ""
    row, point = np.unravel_index(apart.argmax(), apart.shape)
    return f"{names[point]} of object {rows[row]}"
