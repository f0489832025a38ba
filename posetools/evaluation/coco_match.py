"""Which prediction finds which labelled object, by COCO's rules: IoU of boxes, OKS of keypoints, greedy matching.

The rules are those of pycocotools' COCOeval (Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014;
https://cocodataset.org/#keypoints-eval), and the sums are taken in its order, so that a comparison with a threshold
falls on the same side:

- In each picture, from the highest score down (ties: in the order given), each prediction takes of the objects that are
  still free and similar enough the most similar one (ties: the later object). Objects that are to be ignored are only
  taken where no other will do; a crowd can be taken again and again.
- The IoU with a crowd is the share of the predicted box that lies in it.
- OKS is the mean over the labelled points of exp(-d^2 / (2 * area * (2 * sigma)^2)). Where no point is labelled, d is
  the distance to the labelled box made three times as wide and high, over all points; such an object is ignored, but
  can take a prediction.

All pictures are worked on at once: first the highest predictions of all, then the second ones. Of all pairs only those
that are similar enough for the lowest threshold are looked at again, which are few. A prediction with a coordinate that
is not a number finds nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Bools, Floats, Ints, xywh_from_xyxy

# Given P predicted rows and P labelled rows, how similar each pair is: (P,).
Similarity: TypeAlias = Callable[[Ints, Ints], Floats]

# Pairs are measured in blocks, so that a large set needs no more memory than a small one.
_BLOCK = 1 << 17


@dataclass(frozen=True, slots=True)
class Candidates:
    """The P pairs of a prediction and an object of one picture that are similar enough, by prediction.

    Within a prediction the pairs ascend by similarity and then by object, so that the last one is the best.

    Attributes:
        place: (P,) index into the ranked predictions.
        row: (P,) row of the Dataset.
        value: (P,) IoU or OKS.
    """

    place: Ints
    row: Ints
    value: Floats

    def __getitem__(self, kept: Bools) -> Candidates:
        return Candidates(self.place[kept], self.row[kept], self.value[kept])


def box_similarity(truth: Dataset, boxes: Floats) -> Similarity:
    """Return what measures the IoU of predicted (M, 4) boxes and labelled ones."""
    own, labelled = _xywh_columns(boxes), _xywh_columns(truth.boxes)

    def iou(rows: Ints, objects: Ints) -> Floats:
        a, b = [column[rows] for column in own], [column[objects] for column in labelled]
        sides = [np.minimum(a[i] + a[i + 2], b[i] + b[i + 2]) - np.maximum(a[i], b[i]) for i in (0, 1)]
        overlap = np.where((sides[0] > 0) & (sides[1] > 0), sides[0] * sides[1], 0.0)
        area = a[2] * a[3]
        union = np.where(truth.iscrowd[objects], area, area + b[2] * b[3] - overlap)
        return np.divide(overlap, union, out=np.zeros_like(overlap), where=overlap > 0)

    return iou


def _xywh_columns(boxes: Floats) -> list[Floats]:
    return [np.ascontiguousarray(column) for column in xywh_from_xyxy(boxes).T]


def oks_similarity(truth: Dataset, keypoints: Floats, sigmas: Sequence[float], areas: Floats) -> Similarity:
    """Return what measures the OKS of predicted (M, K, 2) keypoints and labelled ones.

    Args:
        truth: the labels.
        keypoints: the predictions.
        sigmas: K constants, the skeleton's.
        areas: (N,) the labelled objects' areas in square pixels.
    """
    doubled = 2 * (2 * np.array(sigmas, dtype=np.float64)) ** 2
    labelled = truth.keypoints[:, :, 2] > 0
    without = ~labelled.any(axis=1)
    counts = np.where(without, truth.keypoints.shape[1], labelled.sum(axis=1))
    sides = truth.boxes[:, 2:] - truth.boxes[:, :2]
    low, high = (truth.boxes[:, :2] - sides)[:, None], (truth.boxes[:, 2:] + sides)[:, None]
    spread = areas + np.spacing(1)

    def oks(rows: Ints, objects: Ints) -> Floats:
        points = keypoints[rows]
        delta = points - truth.keypoints[objects, :, :2]
        lone = np.flatnonzero(without[objects])
        if len(lone):
            far, of = points[lone], objects[lone]
            delta[lone] = np.maximum(0.0, low[of] - far) + np.maximum(0.0, far - high[of])
        squared = delta[..., 0] ** 2 + delta[..., 1] ** 2
        counted = labelled[objects] | without[objects][:, None]
        similar = np.exp(-squared / doubled / spread[objects][:, None])
        total: Floats = np.where(counted, similar, 0.0).sum(axis=1) / counts[objects]
        return total

    return oks


def oks_of(truth: Dataset, rows: Ints, points: Floats, sigmas: Sequence[float]) -> Floats:
    """Return the (P,) OKS of P predicted objects with the labelled ones in ``rows``.

    Args:
        truth: the labels.
        rows: (P,) rows of ``truth``.
        points: (P, K, 2) predicted x, y in pixels; NaN gives NaN.
        sigmas: K constants, the skeleton's.
    """
    return oks_similarity(truth, points, sigmas, truth.areas)(np.arange(len(rows)), rows)


def ranked(images: Ints, scores: Floats, limit: int | None = None) -> tuple[Ints, Ints]:
    """Return the rows of predictions, by picture and from the best down, and the place of each in its picture.

    Args:
        images: (M,) the pictures of the predictions.
        scores: (M,) the higher, the surer.
        limit: how many of each picture are kept; None: all.
    """
    order = np.lexsort((-scores, images))
    own = images[order]
    ranks = np.arange(len(order)) - np.searchsorted(own, own, side="left")
    kept = ranks < (len(order) if limit is None else limit)
    return order[kept], ranks[kept]


def candidates(truth: Dataset, images: Ints, order: Ints, similarity: Similarity, least: float) -> Candidates:
    """Return the pairs of one picture whose similarity is at least ``least``.

    Args:
        truth: the labels.
        images: (D,) the pictures of the ranked predictions.
        order: (D,) their rows in the predictions, which ``similarity`` is asked with.
        similarity: of rows and objects.
        least: 0 to 1.
    """
    edges = np.searchsorted(truth.image_index, np.arange(len(truth.images) + 1))
    start, count = edges[images], np.diff(edges)[images]
    found = [
        _similar_pairs(slice(low, high), start, count, order, similarity, least) for low, high in _blocks(count)
    ] or [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))]
    place = np.concatenate([part[0] for part in found])
    row = np.concatenate([part[1] for part in found])
    value = np.concatenate([part[2] for part in found])
    sort = np.lexsort((row, value, place))
    return Candidates(place[sort], row[sort], value[sort])


def _blocks(count: Ints) -> Iterator[tuple[int, int]]:
    """Give ranges of predictions with about _BLOCK pairs each."""
    total = np.cumsum(count)
    low = 0
    while low < len(count):
        done = total[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(total, done + _BLOCK, side="right")))
        yield low, high
        low = high


def _similar_pairs(
    part: slice, start: Ints, count: Ints, order: Ints, similarity: Similarity, least: float
) -> tuple[Ints, Ints, Floats]:
    number = count[part]
    place = np.repeat(np.arange(part.start, part.stop), number)
    offset = np.arange(len(place)) - np.repeat(np.cumsum(number) - number, number)
    row = start[place] + offset
    value = similarity(order[place], row)
    kept = value >= least
    return place[kept], row[kept], value[kept]


def greedy(pairs: Candidates, ranks: Ints, ignored: Bools, crowd: Bools, thresholds: Floats) -> Ints:
    """Return the object that each prediction takes, or -1, for each area range and threshold: (D, A, T).

    Args:
        pairs: of the D ranked predictions.
        ranks: (D,) the place of each prediction in its picture, from 0.
        ignored: (N, A) the objects that are ignored in each area range.
        crowd: (N,) the objects that can be taken again.
        thresholds: (T,) of similarity.
    """
    shape = (ignored.shape[1], len(thresholds))
    taken: Ints = np.full((len(ranks), *shape), -1, dtype=np.int64)
    used = np.zeros((len(ignored), *shape), dtype=np.bool_)
    who, first, number = np.unique(pairs.place, return_index=True, return_counts=True)
    by_rank = np.argsort(ranks[who], kind="stable")
    edges = np.flatnonzero(np.diff(ranks[who[by_rank]], prepend=-1, append=np.iinfo(np.int64).max))
    for low, high in itertools.pairwise(edges):
        group = by_rank[low:high]
        width = np.arange(number[group].max())
        table = np.minimum(first[group][:, None] + width, len(pairs.place) - 1)
        row = pairs.row[table]
        fits = (width < number[group][:, None])[..., None] & (pairs.value[table][..., None] >= thresholds)
        fits = fits[:, :, None, :] & ~(used[row] & ~crowd[row][..., None, None])
        # Of two candidates the one that is not ignored is preferred, then the later one in the sorted list.
        worth = width[None, :, None] + len(width) * ~ignored[row]
        worth = np.where(fits, worth[..., None], -1)
        best = worth.argmax(axis=1)
        chosen = np.where(worth.max(axis=1) >= 0, row[np.arange(len(group))[:, None, None], best], -1)
        taken[who[group]] = chosen
        _, area, threshold = np.nonzero(chosen >= 0)
        used[chosen[chosen >= 0], area, threshold] = True
    return taken
