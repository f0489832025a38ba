"""95 % confidence intervals of metrics and of differences, and how many images would settle a difference.

An interval is the metric plus and minus its spread in resamples (posetools.evaluation.bootstrap) times the quantile of
Student's t with one degree of freedom less than there are groups; the spread is multiplied by sqrt(G / (G - 1)). With
few groups a bootstrap alone is too narrow by just these two factors (Hesterberg, "What Teachers Should Know About the
Bootstrap", American Statistician 2015). Below FEW_GROUPS an interval is rough, and a remark says so.

A difference is settled if its interval does not contain 0. The number of images that settles a difference d follows
from the spread s of the difference on I images, which falls with the root of their number: I * ((z + p) * s / d)^2,
with the normal quantiles z of the interval and p of the chance to find the difference. The spread is itself an
estimate, so p belongs to a chance of 85 %, to leave at least 80 %. For a single run the spread is that of the
difference to a run of equal quality whose errors have a correlation of 0.5 with its own: it equals that of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi, sqrt, tan
from statistics import NormalDist
from typing import Any, Self

import numpy as np

from posetools.evaluation.bootstrap import Resampled

LEVEL = 0.95
FEW_GROUPS = 10
# Differences for which the number of images is listed.
DIFFERENCES = (0.01, 0.02, 0.03, 0.05)
_CHANCE = 0.85


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a metric or a difference.

    Attributes:
        value: the metric.
        half: half of the interval's width.
        spread: the standard deviation of the metric.
    """

    value: float
    half: float
    spread: float

    @classmethod
    def of(cls, value: float | None, resampled: Resampled) -> Self | None:
        """Return the interval of a metric; None if it is undefined, or has no spread to estimate.

        Args:
            value: the metric on all images.
            resampled: the metric in resamples of the images.
        """
        known = resampled.values[~np.isnan(resampled.values)]
        if value is None or resampled.groups < 2 or len(known) < 2:
            return None
        spread = float(known.std(ddof=1)) * sqrt(resampled.groups / (resampled.groups - 1))
        if not spread:
            return None
        return cls(value, student_quantile((1 + LEVEL) / 2, resampled.groups - 1) * spread, spread)

    @classmethod
    def of_difference(
        cls, first: tuple[float | None, Resampled], second: tuple[float | None, Resampled]
    ) -> Self | None:
        """Return the interval of the second metric minus the first, measured on the same images."""
        (before, of_before), (after, of_after) = first, second
        if before is None or after is None:
            return None
        groups = min(of_before.groups, of_after.groups)
        return cls.of(after - before, Resampled(of_after.values - of_before.values, groups))

    @property
    def low(self) -> float:
        """The lower end."""
        return self.value - self.half

    @property
    def high(self) -> float:
        """The upper end."""
        return self.value + self.half

    @property
    def settled(self) -> bool:
        """Whether a difference is not 0: its interval does not contain it."""
        return abs(self.value) > self.half

    def images_for(self, difference: float, images: int) -> int:
        """Return how many images settle a difference, from the spread on ``images``."""
        normal = NormalDist()
        reach = normal.inv_cdf((1 + LEVEL) / 2) + normal.inv_cdf(_CHANCE)
        return int(np.ceil(images * (reach * self.spread / difference) ** 2))


def student_quantile(probability: float, freedom: int) -> float:
    """Return a quantile of Student's t.

    Args:
        probability: above 0.5.
        freedom: degrees of freedom, at least 1; from 3 on Abramowitz and Stegun's expansion 26.7.5, which is right to
            0.2 % at 0.975.
    """
    if freedom == 1:
        return tan(pi * (probability - 0.5))
    if freedom == 2:
        return (2 * probability - 1) / sqrt(2 * probability * (1 - probability))
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))


def intervals(values: Mapping[str, Any], resampled: Mapping[str, Any]) -> dict[str, Any]:
    """Return the intervals of the metrics that are in both arguments, in the nested form of these."""
    return {
        name: intervals(values[name], each) if isinstance(each, Mapping) else Interval.of(values[name], each)
        for name, each in resampled.items()
        if name in values
    }


def as_limits(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON form of nested intervals: ``[low, high]``, or None."""
    return {
        name: as_limits(each) if isinstance(each, Mapping) else [each.low, each.high] if each else None
        for name, each in found.items()
    }
