"""COCO's evaluation of boxes and keypoints, vectorized: AP, AR and their curves, in one pass.

The numbers equal those of pycocotools' and xtcocotools' COCOeval (Lin et al., "Microsoft COCO: Common Objects in
Context", ECCV 2014; https://cocodataset.org/#keypoints-eval; tests compare them on hundreds of random sets). Sums are
computed in the same order, so that comparisons with a threshold have the same result. The rules:

- Ten thresholds of IoU or OKS, 0.50 to 0.95. Precision is made monotonic and sampled at 101 recall levels; AP is its
  mean, and AR the mean of the highest recalls.
- Only the best 100 boxes of an image count, or the best 20 objects with keypoints.
- Area ranges: small below 32^2, medium up to 96^2, large above, edges belonging to both sides. An object outside the
  range is ignored, and so is a prediction that matches an ignored object, or that matches none and is itself outside.
- A crowd is ignored, and with keypoints an object without labeled points.
- In each image, from the highest score down (ties: in the order given), each prediction matches the most similar free
  object above the threshold (ties: the later object). Ignored objects are matched only if no other fits; a crowd can
  be matched any number of times.
- The IoU with a crowd is the fraction of the predicted box inside it.
- OKS is the mean over the labeled points of exp(-d^2 / (2 * area * (2 * sigma)^2)). If no point is labeled, d is the
  distance to the labeled box made three times as wide and high, over all points; such an object is ignored, but can
  match a prediction.

A prediction's area is that of its box, as ``loadRes`` computes it for results with a ``bbox``. Undefined values are NaN
in arrays and None in numbers, never -1.

All images are matched at once: first the best prediction of each, then the second. Only the few pairs that are similar
enough for the lowest threshold are kept. A prediction with a NaN coordinate matches nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import SIZE_CLASSES, Bools, Floats, Ints, SizeClass, box_area, xywh_from_xyxy

EvaluationKind: TypeAlias = Literal["bbox", "keypoints"]
AreaRange: TypeAlias = Literal["all"] | SizeClass
# Given P predicted rows and P labeled rows, how similar each pair is: (P,).
Similarity: TypeAlias = Callable[[Ints, Ints], Floats]

# The expressions of COCOeval: the last bits decide ties.
THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
RECALLS: Floats = np.linspace(0.0, 1.0, 101)
_LARGEST_AREA = 1e10
RANGES: Mapping[AreaRange, tuple[float, float]] = {
    "all": (0.0, _LARGEST_AREA),
    **{name: (low, min(high, _LARGEST_AREA)) for name, (low, high) in SIZE_CLASSES.items()},
}
RANGES_OF: Mapping[EvaluationKind, tuple[AreaRange, ...]] = {
    "bbox": tuple(RANGES),
    "keypoints": ("all", "medium", "large"),
}
MAX_DETS: Mapping[EvaluationKind, int] = {"bbox": 100, "keypoints": 20}
# Pairs are measured in blocks, to limit memory.
_PAIR_BLOCK = 1 << 17


@dataclass(frozen=True, slots=True)
class Predictions:
    """M predicted objects of a Dataset's images.

    Attributes:
        image_index: (M,) index into the Dataset's ``images``.
        boxes: (M, 4) x1, y1, x2, y2 in pixels.
        scores: (M,) higher is more confident.
        keypoints: (M, K, 2) x, y in pixels; K is 0 for boxes alone.
        keypoint_scores: (M, K) higher is more confident; None: not known.
    """

    image_index: Ints
    boxes: Floats
    scores: Floats
    keypoints: Floats
    keypoint_scores: Floats | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: Ints) -> Predictions:
        known = None if self.keypoint_scores is None else self.keypoint_scores[rows]
        return Predictions(self.image_index[rows], self.boxes[rows], self.scores[rows], self.keypoints[rows], known)

    @classmethod
    def joined(cls, parts: Sequence[Predictions]) -> Predictions:
        """Return the predictions of at least one part, one after the other; all have K keypoints and their scores."""
        names = (each.name for each in fields(cls))
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def rows_of_images(self, number: int) -> list[Ints]:
        """Return the rows of each of ``number`` images, from the highest score down (ties: in the order given)."""
        order = np.lexsort((-self.scores, self.image_index))
        edges = np.searchsorted(self.image_index[order], np.arange(number + 1))
        return [order[low:high] for low, high in itertools.pairwise(edges)]


@dataclass(frozen=True, slots=True)
class RankedMatches:
    """The D predictions that are ranked, from the highest score down, at T thresholds, in A area ranges.

    Attributes:
        image_index: (D,) the image of each.
        right: (D, A, T) whether it matches an object that counts.
        counted: (D, A, T) whether it counts, as right or as wrong.
        objects: (I, A) number of objects that count in each image.
    """

    image_index: Ints
    right: Bools
    counted: Bools
    objects: Ints


@dataclass(frozen=True, slots=True)
class Evaluation:
    """COCO's evaluation of M predictions for N objects, at T thresholds, in A area ranges.

    Attributes:
        kind: IoU of boxes or OKS of keypoints.
        thresholds: (T,) of IoU or OKS.
        ranges: A names; the first is ``all``.
        objects: number of objects that count, per area range.
        precision: (A, T, 101) at RECALLS; NaN where no object counts.
        recall: (A, T) the highest; NaN where no object counts.
        found: (T, N) the predicted row that matches each object, over all areas; -1 for none, and for crowds.
        taken: (T, M) the object's row that each prediction matches, or -1.
        counted: (T, M) whether a prediction counts, as right if it matches an object and as wrong if not.
        matches: what precision and recall are computed from.
    """

    kind: EvaluationKind
    thresholds: Floats
    ranges: tuple[AreaRange, ...]
    objects: tuple[int, ...]
    precision: Floats
    recall: Floats
    found: Ints
    taken: Ints
    counted: Bools
    matches: RankedMatches

    def ap(self, area: AreaRange = "all", threshold: float | None = None) -> float | None:
        """Return the average precision of an area range, over all thresholds or at one; None without objects.

        Raises:
            ValueError: the threshold was not evaluated.
        """
        return _mean(self.precision[self.ranges.index(area)][self.at(threshold)])

    def ar(self, area: AreaRange = "all", threshold: float | None = None) -> float | None:
        """Return the average recall of an area range, over all thresholds or at one; None without objects."""
        return _mean(self.recall[self.ranges.index(area)][self.at(threshold)])

    @property
    def curves(self) -> Floats:
        """(T, 101) precision at RECALLS, over all areas: the precision-recall curves."""
        curves: Floats = self.precision[0]
        return curves

    def at(self, threshold: float | None) -> slice | Ints:
        """Return the index of a threshold; all of them for None."""
        if threshold is None:
            return slice(None)
        rows = np.flatnonzero(np.isclose(self.thresholds, threshold, rtol=0.0, atol=1e-9))
        if not len(rows):
            raise ValueError(f"threshold must be one of {self.thresholds.round(4).tolist()}, got {threshold}")
        return rows[:1]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: AP and AR over all areas, objects by area, and the curves by threshold."""
        curves = [None if np.isnan(curve).any() else curve.round(6).tolist() for curve in self.curves]
        return {
            "kind": self.kind,
            "AP": self.ap(),
            "AR": self.ar(),
            "objects": dict(zip(self.ranges, self.objects, strict=True)),
            "recalls": RECALLS.round(2).tolist(),
            "precision": {f"{t:.2f}": curve for t, curve in zip(self.thresholds, curves, strict=True)},
        }


def evaluate_coco(
    truth: Dataset,
    predicted: Predictions,
    kind: EvaluationKind,
    *,
    sigmas: Sequence[float] = (),
    thresholds: Sequence[float] | None = None,
    max_dets: int | None = None,
) -> Evaluation:
    """Evaluate predictions by COCO's rules.

    Args:
        truth: the labels, of categories that share a skeleton.
        predicted: the predictions; with keypoints if ``kind`` is "keypoints".
        kind: IoU of boxes, or OKS of keypoints.
        sigmas: the skeleton's K constants; for keypoints.
        thresholds: of IoU or OKS; None: COCO's ten.
        max_dets: number of best predictions of an image that count; None: COCO's number.

    Raises:
        ValueError: there is not one sigma per keypoint.
    """
    if kind == "keypoints" and len(sigmas) != truth.skeleton.num_keypoints:
        raise ValueError(f"sigmas must be {truth.skeleton.num_keypoints} numbers, got {len(sigmas)}")
    limits = np.array([RANGES[name] for name in RANGES_OF[kind]]).T
    steps = THRESHOLDS if thresholds is None else np.array(thresholds, dtype=np.float64)
    reach = np.minimum(steps, 1 - 1e-10)
    ignored = truth.iscrowd | (truth.num_labeled == 0) if kind == "keypoints" else truth.iscrowd
    outside = ignored[:, None] | _outside(truth.areas, limits)

    order, ranks = ranked(predicted.image_index, predicted.scores, MAX_DETS[kind] if max_dets is None else max_dets)
    if kind == "bbox":
        similarity = box_similarity(truth, predicted.boxes)
    else:
        similarity = oks_similarity(truth, predicted.keypoints, sigmas)
    pairs = candidates(truth, predicted.image_index[order], order, similarity, float(reach.min(initial=1.0)))
    taken = greedy(pairs, ranks, outside, truth.iscrowd, reach)

    beyond = _outside(box_area(predicted.boxes[order]), limits)
    counted = ~np.where(taken >= 0, _of_taken(outside, taken), beyond[:, :, None])
    best_first = np.argsort(-predicted.scores[order], kind="stable")
    matches = RankedMatches(
        image_index=predicted.image_index[order][best_first],
        right=(taken[best_first] >= 0) & counted[best_first],
        counted=counted[best_first],
        objects=_per_image(truth, ~outside),
    )
    objects = matches.objects.sum(axis=0)
    curves = [_curves(matches.right[:, a], matches.counted[:, a], int(objects[a])) for a in range(len(limits.T))]
    found, took, counts = _by_row(taken[:, 0], counted[:, 0], order, truth, len(predicted))
    return Evaluation(
        kind=kind,
        thresholds=steps,
        ranges=RANGES_OF[kind],
        objects=tuple(int(number) for number in objects),
        precision=np.stack([precision for precision, _ in curves]),
        recall=np.stack([recall for _, recall in curves]),
        found=found,
        taken=took,
        counted=counts,
        matches=matches,
    )


def right_or_wrong(
    truth: Dataset, predicted: Predictions, kind: EvaluationKind, threshold: float
) -> tuple[Floats, Bools, int]:
    """Return the scores of the predictions that count, whether each is right, and the number of objects.

    Args:
        truth: the labels.
        predicted: all of them count, not only the best of each image.
        kind: IoU of boxes, or OKS of keypoints with the skeleton's sigmas.
        threshold: the least IoU or OKS of a right prediction.
    """
    found = evaluate_coco(
        truth, predicted, kind, sigmas=truth.skeleton.sigmas, thresholds=[threshold], max_dets=max(len(predicted), 1)
    )
    counted = found.counted[0]
    return predicted.scores[counted], found.taken[0][counted] >= 0, found.objects[0]


def _outside(areas: Floats, limits: Floats) -> Bools:
    outside: Bools = (areas[:, None] < limits[0]) | (areas[:, None] > limits[1])
    return outside


def _per_image(truth: Dataset, counted: Bools) -> Ints:
    """Return how many objects of each image count: (I, A) of (N, A)."""
    numbers = np.zeros((len(truth.images), counted.shape[1]), dtype=np.int64)
    np.add.at(numbers, truth.image_index, counted)
    return numbers


def _of_taken(ignored: Bools, taken: Ints) -> Bools:
    """Return whether the matched object is ignored: (D, A, T); any value where none was matched."""
    if not len(ignored):
        return np.zeros(taken.shape, dtype=np.bool_)
    of_taken: Bools = ignored[taken, np.arange(taken.shape[1])[:, None]]
    return of_taken


def _curves(right: Bools, counted: Bools, objects: int) -> tuple[Floats, Floats]:
    """Return the precision (T, 101) at RECALLS and the highest recall (T,) of (D, T) ranked predictions."""
    steps = right.shape[1]
    if not objects:
        return np.full((steps, len(RECALLS)), np.nan), np.full(steps, np.nan)
    precision = np.zeros((steps, len(RECALLS)))
    if not len(right):
        return precision, np.zeros(steps)
    hits = np.cumsum(right.T, axis=1).astype(np.float64)
    misses = np.cumsum((~right & counted).T, axis=1).astype(np.float64)
    recall = hits / objects
    raw = hits / (misses + hits + np.spacing(1))
    monotonous = np.maximum.accumulate(raw[:, ::-1], axis=1)[:, ::-1]
    for step in range(steps):
        places = np.searchsorted(recall[step], RECALLS, side="left")
        reached = places < len(right)
        precision[step, reached] = monotonous[step, places[reached]]
    return precision, recall[:, -1].copy()


def _by_row(taken: Ints, counted: Bools, order: Ints, truth: Dataset, number: int) -> tuple[Ints, Ints, Bools]:
    """Return ``found``, ``taken`` and ``counted`` of an Evaluation from (D, T) arrays of the ranked predictions."""
    steps = taken.shape[1]
    found = np.full((steps, len(truth)), -1, dtype=np.int64)
    took = np.full((steps, number), -1, dtype=np.int64)
    counts = np.zeros((steps, number), dtype=np.bool_)
    took[:, order], counts[:, order] = taken.T, counted.T
    place, step = np.nonzero(taken >= 0)
    found[step, taken[place, step]] = order[place]
    found[:, truth.iscrowd] = -1
    return found, took, counts


def _mean(values: Floats) -> float | None:
    return None if np.isnan(values).any() else float(values.mean())


@dataclass(frozen=True, slots=True)
class CandidatePairs:
    """The P pairs of a prediction and an object of one image that are similar enough, by prediction.

    Within a prediction the pairs ascend by similarity and then by object, so that the last one is the best.

    Attributes:
        place: (P,) index into the ranked predictions.
        row: (P,) row of the Dataset.
        value: (P,) IoU or OKS.
    """

    place: Ints
    row: Ints
    value: Floats

    def __getitem__(self, kept: Bools) -> CandidatePairs:
        return CandidatePairs(self.place[kept], self.row[kept], self.value[kept])


def box_similarity(truth: Dataset, boxes: Floats) -> Similarity:
    """Return a function for the IoU of predicted (M, 4) boxes and labeled ones."""
    own, labeled = _xywh_columns(boxes), _xywh_columns(truth.boxes)

    def iou(rows: Ints, objects: Ints) -> Floats:
        a, b = [column[rows] for column in own], [column[objects] for column in labeled]
        sides = [np.minimum(a[i] + a[i + 2], b[i] + b[i + 2]) - np.maximum(a[i], b[i]) for i in (0, 1)]
        overlap = np.where((sides[0] > 0) & (sides[1] > 0), sides[0] * sides[1], 0.0)
        area = a[2] * a[3]
        union = np.where(truth.iscrowd[objects], area, area + b[2] * b[3] - overlap)
        return np.divide(overlap, union, out=np.zeros_like(overlap), where=overlap > 0)

    return iou


def _xywh_columns(boxes: Floats) -> list[Floats]:
    return [np.ascontiguousarray(column) for column in xywh_from_xyxy(boxes).T]


def oks_similarity(truth: Dataset, keypoints: Floats, sigmas: Sequence[float]) -> Similarity:
    """Return a function for the OKS of predicted (M, K, 2) keypoints and labeled ones; K sigmas."""
    doubled = 2 * (2 * np.array(sigmas, dtype=np.float64)) ** 2
    labeled = truth.keypoints[:, :, 2] > 0
    without = ~labeled.any(axis=1)
    counts = np.where(without, truth.keypoints.shape[1], labeled.sum(axis=1))
    sides = truth.boxes[:, 2:] - truth.boxes[:, :2]
    low, high = (truth.boxes[:, :2] - sides)[:, None], (truth.boxes[:, 2:] + sides)[:, None]
    spread = truth.areas + np.spacing(1)

    def oks(rows: Ints, objects: Ints) -> Floats:
        points = keypoints[rows]
        delta = points - truth.keypoints[objects, :, :2]
        lone = np.flatnonzero(without[objects])
        if len(lone):
            far, of = points[lone], objects[lone]
            delta[lone] = np.maximum(0.0, low[of] - far) + np.maximum(0.0, far - high[of])
        squared = delta[..., 0] ** 2 + delta[..., 1] ** 2
        counted = labeled[objects] | without[objects][:, None]
        similar = np.exp(-squared / doubled / spread[objects][:, None])
        total: Floats = np.where(counted, similar, 0.0).sum(axis=1) / counts[objects]
        return total

    return oks


def oks_of(truth: Dataset, rows: Ints, points: Floats, sigmas: Sequence[float]) -> Floats:
    """Return the (P,) OKS of P predicted objects with the labeled ones in ``rows``.

    Args:
        truth: the labels.
        rows: (P,) rows of ``truth``.
        points: (P, K, 2) predicted x, y in pixels; NaN gives NaN.
        sigmas: the skeleton's K constants.
    """
    return oks_similarity(truth, points, sigmas)(np.arange(len(rows)), rows)


def ranked(images: Ints, scores: Floats, limit: int | None = None) -> tuple[Ints, Ints]:
    """Return the rows of predictions, by image and from the best down, and the rank of each in its image.

    Args:
        images: (M,) the images of the predictions.
        scores: (M,) higher is more confident.
        limit: number kept per image; None: all.
    """
    order = np.lexsort((-scores, images))
    own = images[order]
    ranks = np.arange(len(order)) - np.searchsorted(own, own, side="left")
    kept = ranks < (len(order) if limit is None else limit)
    return order[kept], ranks[kept]


def candidates(truth: Dataset, images: Ints, order: Ints, similarity: Similarity, least: float) -> CandidatePairs:
    """Return the pairs of one image whose similarity is at least ``least``.

    Args:
        truth: the labels.
        images: (D,) the images of the ranked predictions.
        order: (D,) their rows in the predictions, passed to ``similarity``.
        similarity: of rows and objects.
        least: 0 to 1.
    """
    edges = np.searchsorted(truth.image_index, np.arange(len(truth.images) + 1))
    start, count = edges[images], np.diff(edges)[images]
    found = [
        _similar_pairs(slice(low, high), start, count, order, similarity, least) for low, high in _blocks(count)
    ] or [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))]
    place, row, value = map(np.concatenate, zip(*found, strict=True))
    sort = np.lexsort((row, value, place))
    return CandidatePairs(place[sort], row[sort], value[sort])


def _blocks(count: Ints) -> Iterator[tuple[int, int]]:
    """Yield ranges of predictions with about _PAIR_BLOCK pairs each."""
    total = np.cumsum(count)
    low = 0
    while low < len(count):
        done = total[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(total, done + _PAIR_BLOCK, side="right")))
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


def greedy(pairs: CandidatePairs, ranks: Ints, ignored: Bools, crowd: Bools, thresholds: Floats) -> Ints:
    """Return the object that each prediction matches, or -1, for each area range and threshold: (D, A, T).

    Args:
        pairs: of the D ranked predictions.
        ranks: (D,) the rank of each prediction in its image, from 0.
        ignored: (N, A) the objects ignored in each area range.
        crowd: (N,) the objects that can be matched again.
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
        # Candidates that are not ignored come first, then the later one in the sorted list.
        worth = width[None, :, None] + len(width) * ~ignored[row]
        worth = np.where(fits, worth[..., None], -1)
        best = worth.argmax(axis=1)
        chosen = np.where(worth.max(axis=1) >= 0, row[np.arange(len(group))[:, None, None], best], -1)
        taken[who[group]] = chosen
        _, area, threshold = np.nonzero(chosen >= 0)
        used[chosen[chosen >= 0], area, threshold] = True
    return taken
