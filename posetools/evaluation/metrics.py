"""Metrics: COCO AP/AR of boxes and keypoints (OKS), PCK, NME and the error in pixels.

AP and AR follow COCO's rules to the last digit (posetools.evaluation.coco). PCK and NME are measured here:

- PCK@t: the fraction of labeled points nearer to the label than ``t`` times the longer side of the labeled box,
  max(w, h); over several keypoints, the mean of their fractions. Both as in MMPose's PCKAccuracy with
  ``norm_item='bbox'``.
- NME: the mean distance divided by sqrt(w * h) of the labeled box, over all labeled points.

An undefined metric (no object of a size class, no labeled point) is None, never -1. A point of an object that was not
detected is wrong in PCK and left out of NME and the error in pixels; ``missing`` counts such points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, TypeAlias

import numpy as np

from posetools.core.dataset import Dataset, Visibility
from posetools.core.geometry import Bools, Floats, Ints
from posetools.evaluation.bootstrap import (
    Resampled,
    ResampledEvaluation,
    ResampledSums,
    Resamples,
    mean_of_known,
    quotients,
)
from posetools.evaluation.coco import (
    AreaRange,
    Evaluation,
    Predictions,
    box_similarity,
    candidates,
    evaluate_coco,
    greedy,
    ranked,
)

PCK_THRESHOLDS = (0.05, 0.1, 0.2)

# Which points count: all labeled ones, visible ones, occluded ones.
Subset: TypeAlias = Literal["labelled", "visible", "hidden"]
SUBSETS: tuple[Subset, ...] = ("labelled", "visible", "hidden")

# MMPose's CocoMetric: keypoints with a lower score do not count in their object's score, and of two objects of an
# image with a higher OKS the one with the lower score is dropped.
KEYPOINT_SCORE_THR = 0.2
OKS_NMS_THR = 0.9

# Short name, area range and threshold of each metric.
_MEASURES: Mapping[str, tuple[str, AreaRange, float | None]] = {
    "ap": ("AP", "all", None),
    "ap50": ("AP50", "all", 0.5),
    "ap75": ("AP75", "all", 0.75),
    "ap_small": ("APs", "small", None),
    "ap_medium": ("APm", "medium", None),
    "ap_large": ("APl", "large", None),
    "ar": ("AR", "all", None),
    "ar50": ("AR50", "all", 0.5),
    "ar75": ("AR75", "all", 0.75),
    "ar_small": ("ARs", "small", None),
    "ar_medium": ("ARm", "medium", None),
    "ar_large": ("ARl", "large", None),
}


@dataclass(frozen=True, slots=True)
class _CocoScores:
    ap: float | None
    ap50: float | None
    ap75: float | None

    @classmethod
    def of(cls, evaluation: Evaluation) -> Self:
        """Return the metrics of an evaluation of boxes or keypoints."""
        values = {}
        for field in fields(cls):
            measure = evaluation.ap if field.name.startswith("ap") else evaluation.ar
            values[field.name] = measure(*_MEASURES[field.name][1:])
        return cls(**values)

    @classmethod
    def resampled(cls, resampled: ResampledEvaluation) -> dict[str, Resampled]:
        """Return the metrics in resamples of the images, by their short names."""
        values = {}
        for field in fields(cls):
            name, area, threshold = _MEASURES[field.name]
            measure = resampled.ap if field.name.startswith("ap") else resampled.ar
            values[name] = measure(area, threshold)
        return values

    @classmethod
    def mean(cls, several: Sequence[Self]) -> Self:
        """Return the mean of each metric over the categories that have it, as COCOeval; None if none has it."""
        values = {}
        for field in fields(cls):
            known = [value for scores in several if (value := getattr(scores, field.name)) is not None]
            values[field.name] = sum(known) / len(known) if known else None
        return cls(**values)

    def as_dict(self) -> dict[str, float | None]:
        """Return the metrics by their short names (``AP``, ``AP50``, ``APs``)."""
        return {_MEASURES[field.name][0]: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class BoxScores(_CocoScores):
    """COCO's box metrics, 0 to 1: IoU 0.50:0.95, at most 100 boxes per image; None without objects of that size."""

    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None


@dataclass(frozen=True, slots=True)
class OksScores(_CocoScores):
    """COCO's keypoint metrics, 0 to 1: OKS 0.50:0.95, at most 20 objects per image; None without objects."""

    ap_medium: float | None
    ap_large: float | None
    ar: float | None
    ar50: float | None
    ar75: float | None
    ar_medium: float | None
    ar_large: float | None


@dataclass(frozen=True, slots=True)
class PointScores:
    """Distances of predicted points from their labels.

    Attributes:
        points: number of labeled points.
        missing: number of them not predicted.
        pck: one fraction per entry of PCK_THRESHOLDS, None without labeled points.
        nme: mean distance over sqrt(w * h) of the labeled box, None without predicted points.
        error_px: mean distance in pixels, None without predicted points.
    """

    points: int
    missing: int
    pck: tuple[float | None, ...]
    nme: float | None
    error_px: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Return the metrics by name: ``points``, ``missing``, ``PCK@0.05``, ..., ``NME``, ``error_px``."""
        shares = {f"PCK@{t:g}": share for t, share in zip(PCK_THRESHOLDS, self.pck, strict=True)}
        return {"points": self.points, "missing": self.missing, **shares, "NME": self.nme, "error_px": self.error_px}


@dataclass(frozen=True, slots=True)
class KeypointScores:
    """PointScores over all keypoints and of each, by name, in the skeleton's order."""

    overall: PointScores
    by_keypoint: Mapping[str, PointScores]

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"overall": {...}, "by_keypoint": {name: {...}}}``."""
        return {
            "overall": self.overall.as_dict(),
            "by_keypoint": {name: scores.as_dict() for name, scores in self.by_keypoint.items()},
        }


def box_scores(truth: Dataset, predicted: Predictions) -> BoxScores:
    """Return COCO's box metrics of predicted boxes."""
    return BoxScores.of(evaluate_coco(truth, predicted, "bbox"))


def oks_scores(truth: Dataset, predicted: Predictions, sigmas: Sequence[float]) -> OksScores:
    """Return COCO's keypoint metrics of predicted objects.

    Args:
        truth: the labels; objects without labeled points, and crowds, are ignored as in COCO.
        predicted: the predictions, with keypoints.
        sigmas: the skeleton's K constants.
    """
    return OksScores.of(evaluate_coco(truth, predicted, "keypoints", sigmas=sigmas))


@dataclass(frozen=True, eq=False, slots=True)
class PointErrors:
    """What PCK and NME of N objects' K keypoints are computed from.

    Attributes:
        counted: (N, K) the labeled points that count.
        found: (N, K) those of them that were predicted.
        near: (T, N, K) those of them within each of PCK_THRESHOLDS.
        relative: (N, K) their distance over sqrt(w * h) of the labeled box; 0 where not found.
        distance: (N, K) their distance in pixels; 0 where not found.
    """

    counted: Bools
    found: Bools
    near: Bools
    relative: Floats
    distance: Floats

    @classmethod
    def of(cls, truth: Floats, predicted: Floats, boxes: Floats, subset: Subset = "labelled") -> PointErrors:
        """Return the errors of N objects' keypoints.

        Args:
            truth: (N, K, 3) labeled x, y, visibility.
            predicted: (N, K, 2) predicted x, y; NaN for an object that was not detected.
            boxes: (N, 4) labeled boxes; distances are relative to their sizes.
            subset: the labeled points that count.
        """
        sides = boxes[:, 2:] - boxes[:, :2]
        longer, mean_side = sides.max(axis=1, initial=0.0), np.sqrt(sides[:, 0] * sides[:, 1])
        # A box without width or height cannot be a unit; validate refuses it (E108), MMPose leaves it out too.
        visibility = truth[:, :, 2]
        wanted = {"labelled": visibility > 0, "visible": visibility == Visibility.VISIBLE}
        counted = wanted.get(subset, visibility == Visibility.HIDDEN) & (mean_side > 0)[:, None]
        distance = np.linalg.norm(predicted - truth[:, :, :2], axis=2)
        # Comparing with NaN is False: a point that was not predicted is wrong.
        near = np.stack([counted & (distance < threshold * longer[:, None]) for threshold in PCK_THRESHOLDS])
        found = counted & ~np.isnan(distance)
        relative = np.divide(distance, mean_side[:, None], out=np.zeros_like(distance), where=found)
        return cls(counted, found, near, relative, np.where(found, distance, 0.0))

    def scores(self, names: Sequence[str]) -> KeypointScores:
        """Return PCK, NME and error over all keypoints and of each of the K names."""
        single = {name: self._part(slice(i, i + 1)) for i, name in enumerate(names)}
        return KeypointScores(overall=self._part(slice(None)), by_keypoint=single)

    def resampled(self, image_index: Ints, resamples: Resamples, names: Sequence[str]) -> dict[str, Any]:
        """Return PCK, NME and error in resamples of the images, in the form of ``KeypointScores.as_dict``.

        Args:
            image_index: (N,) the image of each object.
            resamples: of the images.
            names: the K keypoints' names.
        """
        columns = (self.counted, self.found, *self.near, self.relative, self.distance)
        sums = resamples.sums(image_index, np.stack(columns, axis=1))
        single = {name: self._resampled(sums, slice(i, i + 1)) for i, name in enumerate(names)}
        return {"overall": self._resampled(sums, slice(None)), "by_keypoint": single}

    @staticmethod
    def _resampled(sums: ResampledSums, part: slice) -> dict[str, Resampled]:
        counted, found, *near, relative, distance = np.moveaxis(sums.values[:, :, part], 1, 0)
        groups = sums.holding[0, part].max(initial=0)
        values = {
            f"PCK@{threshold:g}": mean_of_known(quotients(hits, counted))
            for threshold, hits in zip(PCK_THRESHOLDS, near, strict=True)
        }
        total = found.sum(axis=1)
        values |= {
            "NME": quotients(relative.sum(axis=1), total),
            "error_px": quotients(distance.sum(axis=1), total),
        }
        return {name: Resampled(each, int(groups)) for name, each in values.items()}

    def _part(self, part: slice) -> PointScores:
        counted, found = self.counted[:, part], self.found[:, part]
        # One fraction per keypoint that has labeled points.
        totals = counted.sum(axis=0)
        per_keypoint = [hits[:, part].sum(axis=0)[totals > 0] / totals[totals > 0] for hits in self.near]
        return PointScores(
            points=int(counted.sum()),
            missing=int((counted & ~found).sum()),
            pck=tuple(float(shares.mean()) if len(shares) else None for shares in per_keypoint),
            nme=_mean(self.relative[:, part][found]),
            error_px=_mean(self.distance[:, part][found]),
        )


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


def match_boxes(truth: Dataset, predicted: Predictions, threshold: float = 0.5) -> Ints:
    """Return for each of N labeled objects the index of the matched predicted one, or -1: (N,).

    Greedy, as in COCO: in each image, from the highest score down, each predicted box matches the free labeled box
    that it overlaps most, if their IoU is at least ``threshold``. Crowds are not matched.
    """
    order, ranks = ranked(predicted.image_index, predicted.scores)
    pairs = candidates(truth, predicted.image_index[order], order, box_similarity(truth, predicted.boxes), threshold)
    pairs = pairs[~truth.iscrowd[pairs.row]]
    none = np.zeros(len(truth), dtype=np.bool_)
    taken = greedy(pairs, ranks, none[:, None], none, np.array([threshold]))[:, 0, 0]
    matched = np.full(len(truth), -1, dtype=np.int64)
    matched[taken[taken >= 0]] = order[taken >= 0]
    return matched


def object_scores(boxes: Floats, keypoints: Floats) -> Floats:
    """Return the (M,) scores of objects: the box score times the mean of the keypoint scores above 0.2.

    MMPose's CocoMetric with score_mode='bbox_keypoint'.

    Args:
        boxes: (M,) the boxes' scores; 1 for labeled boxes.
        keypoints: (M, K) the keypoints' scores.
    """
    counted = keypoints > KEYPOINT_SCORE_THR
    total = np.where(counted, keypoints, 0.0).sum(axis=1)
    mean: Floats = boxes * total / np.maximum(counted.sum(axis=1), 1)
    return mean


def oks_nms(keypoints: Floats, scores: Floats, areas: Floats, sigmas: Sequence[float]) -> Ints:
    """Return the indices of the objects of one image that are kept, from the highest score down.

    An object is dropped if its OKS with a better one is above 0.9; the OKS of two predictions uses the mean of their
    areas. MMPose's CocoMetric with nms_mode='oks_nms'.

    Args:
        keypoints: (M, K, 2) x, y in pixels.
        scores: (M,).
        areas: (M,) in square pixels.
        sigmas: the skeleton's K constants.
    """
    variances = (2 * np.array(sigmas, dtype=np.float64)) ** 2
    # Of equal scores the later one comes first, as in MMPose: AP depends on the order.
    left = np.argsort(scores, kind="stable")[::-1]
    kept: list[int] = []
    while len(left):
        best, left = int(left[0]), left[1:]
        kept.append(best)
        squared = ((keypoints[left] - keypoints[best]) ** 2).sum(axis=2)
        mean_area = (areas[left] + areas[best]) / 2 + np.spacing(1)
        oks = np.exp(-squared / variances / mean_area[:, None] / 2).mean(axis=1)
        left = left[oks <= OKS_NMS_THR]
    return np.array(kept, dtype=np.int64)
