"""The spread of metrics: a bootstrap over groups of images.

The images of a split are a sample; other images would give other metrics. A resample draws as many groups as there
are, with replacement (Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 1979). Frames of
a clip resemble each other, so a clip is drawn as a whole. Two pairs that are measured on the same images get the same
resamples, so the spread of their difference is that of a paired comparison.

Nothing is matched again: greedy matching is within an image, so a resample only gives each image a weight. Precision
and recall are sums of weights, and PCK and NME are quotients of sums over groups. With all weights 1 the results equal
those of posetools.evaluation.coco and posetools.evaluation.metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from posetools.core.geometry import Bools, Floats, Ints
from posetools.core.groups import groups_of
from posetools.errors import RequestError
from posetools.evaluation.coco import RECALLS, AreaRange, Evaluation, RankedMatches

RESAMPLES = 1000
# Resamples are computed in blocks of about this many numbers, which fit into the caches.
_BLOCK = 1 << 18


@dataclass(frozen=True, eq=False, slots=True)
class Resamples:
    """R random selections of groups of images, always the same for the same groups.

    Attributes:
        group: (I,) the group of each image, 0 to G - 1.
        kind: what a group is: ``image``, ``clip``, ``parent``, or the expression for names of one group.
        number: R.
    """

    group: Ints
    kind: str = "image"
    number: int = RESAMPLES

    @classmethod
    def of(cls, names: Sequence[str], by: str | None = None) -> Resamples:
        """Return the resamples of images.

        Args:
            names: the I file names.
            by: how their data set was split, as ``groups_of`` takes it.
        """
        try:
            grouping = groups_of(names, by)
        except RequestError:
            # Images were added since that do not match the expression.
            grouping = groups_of(names)
        _, group = np.unique(np.array(grouping.keys, dtype=np.str_), return_inverse=True)
        return cls(group.astype(np.int64), grouping.how)

    @property
    def groups(self) -> int:
        """G, the number of groups."""
        return int(self.group.max(initial=-1)) + 1

    def holding(self, counted: Ints) -> Ints:
        """Return how many groups have a count above 0: (A,) of the counts (I, A) of images."""
        held: Ints = (self._of_groups(np.arange(len(counted)), counted) > 0).sum(axis=0)
        return held

    def blocks(self, width: int) -> Iterator[tuple[slice, Ints]]:
        """Yield the resamples in blocks: which ones, and how often each has each group, (B, G).

        Args:
            width: how many numbers are computed for a resample, which decides how large the blocks are.
        """
        rows = int(np.clip(_BLOCK // max(width, self.groups, 1), 1, self.number))
        for low in range(0, self.number, rows):
            high = min(low + rows, self.number)
            yield slice(low, high), np.stack([self._weights(row) for row in range(low, high)])

    def sums(self, image_index: Ints, values: Floats) -> ResampledSums:
        """Return the sums of objects' values in each resample.

        Args:
            image_index: (N,) the image of each object.
            values: (N, ...).
        """
        of_groups = self._of_groups(image_index, values)
        flat = of_groups.reshape(self.groups, int(np.prod(values.shape[1:])))
        sums = np.concatenate([weights @ flat for _, weights in self.blocks(flat.shape[1])])
        return ResampledSums(sums.reshape(self.number, *values.shape[1:]), (of_groups > 0).sum(axis=0))

    def _of_groups(self, image_index: Ints, values: Floats | Ints) -> Floats:
        """Return the sums over groups: (G, ...) of (N, ...)."""
        sums = np.zeros((self.groups, *values.shape[1:]))
        np.add.at(sums, self.group[image_index], values)
        return sums

    def _weights(self, row: int) -> Ints:
        drawn = np.random.default_rng([0, row]).integers(max(self.groups, 1), size=self.groups)
        return np.bincount(drawn, minlength=self.groups)


@dataclass(frozen=True, eq=False, slots=True)
class Resampled:
    """A metric in R resamples.

    Attributes:
        values: (R,) NaN where it is undefined.
        groups: number of groups with objects that it is measured on.
    """

    values: Floats
    groups: int

    @classmethod
    def mean(cls, several: Sequence[Resampled]) -> Resampled:
        """Return the mean of a metric of several categories, in each resample over those that have it."""
        return cls(
            mean_of_known(np.stack([each.values for each in several], axis=1)), max(each.groups for each in several)
        )


@dataclass(frozen=True, eq=False, slots=True)
class ResampledSums:
    """Sums over objects in R resamples.

    Attributes:
        values: (R, ...).
        holding: (...) number of groups with a sum above 0.
    """

    values: Floats
    holding: Ints


@dataclass(frozen=True, eq=False, slots=True)
class ResampledEvaluation:
    """AP and AR of R resamples.

    Attributes:
        evaluation: of all images.
        precision: (R, A, T) the mean precision at RECALLS, NaN where no object counts.
        recall: (R, A, T) the highest.
        groups: (A,) number of groups with objects that count.
    """

    evaluation: Evaluation
    precision: Floats
    recall: Floats
    groups: Ints

    @classmethod
    def of(cls, evaluation: Evaluation, resamples: Resamples) -> ResampledEvaluation:
        """Return AP and AR of each resample of the images of an evaluation."""
        matches = evaluation.matches
        shape = (resamples.number, *matches.right.shape[1:])
        precision, recall = np.full(shape, np.nan), np.full(shape, np.nan)
        for block, weights in resamples.blocks(len(matches.image_index)):
            precision[block], recall[block] = _weighted(matches, weights[:, resamples.group])
        return cls(evaluation, precision, recall, resamples.holding(matches.objects))

    def ap(self, area: AreaRange = "all", threshold: float | None = None) -> Resampled:
        """Return the average precision of an area range, over all thresholds or at one."""
        return self._of(self.precision, area, threshold)

    def ar(self, area: AreaRange = "all", threshold: float | None = None) -> Resampled:
        """Return the average recall of an area range, over all thresholds or at one."""
        return self._of(self.recall, area, threshold)

    def _of(self, values: Floats, area: AreaRange, threshold: float | None) -> Resampled:
        at = self.evaluation.ranges.index(area)
        return Resampled(values[:, at, self.evaluation.at(threshold)].mean(axis=1), int(self.groups[at]))


def mean_of_categories(each: Sequence[Mapping[str, Resampled]]) -> dict[str, Resampled]:
    """Return the means of metrics of categories, in each resample over the categories that have objects."""
    means = {}
    for name in each[0] if each else ():
        values = np.stack([metrics[name].values for metrics in each], axis=1)
        means[name] = Resampled(mean_of_known(values), max(metrics[name].groups for metrics in each))
    return means


def quotients(numbers: Floats, totals: Floats) -> Floats:
    """Return quotients, NaN where the total is 0."""
    return np.divide(numbers, totals, out=np.full(numbers.shape, np.nan), where=totals > 0)


def mean_of_known(values: Floats) -> Floats:
    """Return the mean of each row (R, M) over what is not NaN: (R,), NaN where nothing is known."""
    known = ~np.isnan(values)
    return quotients(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1))


def _weighted(matches: RankedMatches, weights: Ints) -> tuple[Floats, Floats]:
    """Return the mean precision and the highest recall (B, A, T) with (B, I) weights of the images."""
    own = weights[:, matches.image_index]
    total = own.cumsum(axis=1)
    objects = weights @ matches.objects
    shape = (len(weights), *matches.right.shape[1:])
    precision, recall = np.full(shape, np.nan), np.full(shape, np.nan)
    for area, threshold in np.ndindex(shape[1:]):
        hits = np.flatnonzero(matches.right[:, area, threshold])
        ranked = _counted_before(own, total, matches.counted[:, area, threshold], hits)
        number = objects[:, area]
        there = number > 0
        precision[there, area, threshold], recall[there, area, threshold] = _curve_means(
            own[np.ix_(there, hits)].cumsum(axis=1), ranked[there], number[there]
        )
    return precision, recall


def _counted_before(own: Ints, total: Ints, counted: Bools, hits: Ints) -> Ints:
    """Return the weight of the predictions that count, up to and with each hit: (B, H)."""
    before: Ints = total[:, hits]
    left_out = np.flatnonzero(~counted)
    if 2 * len(left_out) > len(counted):
        kept = np.flatnonzero(counted)
        before = own[:, kept].cumsum(axis=1)[:, np.searchsorted(kept, hits)]
    elif len(left_out):
        without = np.concatenate([np.zeros_like(own[:, :1]), own[:, left_out].cumsum(axis=1)], axis=1)
        before = before - without[:, np.searchsorted(left_out, hits)]
    return before


def _curve_means(hits: Ints, ranked: Ints, objects: Ints) -> tuple[Floats, Floats]:
    """Return the mean precision at RECALLS, and the highest recall: (B,) of B curves with H hits.

    Precision only rises and recall only changes at a hit, so the other predictions are not looked at.

    Args:
        hits: (B, H) the weight of the hits so far.
        ranked: (B, H) the weight of the predictions so far.
        objects: (B,) the weight of the objects, above 0.
    """
    rows, width = hits.shape
    if not width:
        return np.zeros(rows), np.zeros(rows)
    raw = hits / (ranked + np.spacing(1))
    monotonous = np.maximum.accumulate(raw[:, ::-1], axis=1)[:, ::-1]
    needed = _least_hits(objects)
    # One search for all curves: each one's hits are shifted above those of the curve before.
    shift = np.arange(rows)[:, None] * (int(hits.max()) + int(needed.max()) + 1)
    places = np.searchsorted((hits + shift).ravel(), (needed + shift).ravel()).reshape(needed.shape)
    places = np.minimum(places - np.arange(rows)[:, None] * width, width - 1)
    precision = np.where(needed <= hits[:, -1:], np.take_along_axis(monotonous, places, axis=1), 0.0)
    return precision.mean(axis=1), hits[:, -1] / objects


def _least_hits(objects: Ints) -> Ints:
    """Return the least number of hits with a recall of at least each of RECALLS: (B, 101)."""
    number = objects[:, None]
    least: Ints = np.ceil(RECALLS * number).astype(np.int64)
    # The product is rounded; COCOeval compares the quotient.
    least -= (least > 0) & ((least - 1) / number >= RECALLS)
    least += least / number < RECALLS
    return least
