"""Compare runs that were measured on the same images: differences with intervals, and what would settle them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from posetools.evaluation.bootstrap import Resampled
from posetools.evaluation.intervals import DIFFERENCES, Interval
from posetools.evaluation.report import Report

# Larger numbers of images are not named.
_MOST_IMAGES = 1_000_000


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better the second of two runs is, by one measure.

    Attributes:
        measure: such as ``box AP``.
        first: the first run's value; None if it is undefined.
        second: the second run's.
        interval: of the second minus the first; None if one is undefined, or both agree on all images.
        images: number of images.
    """

    measure: str
    first: float | None
    second: float | None
    interval: Interval | None
    images: int

    @property
    def needed(self) -> int | None:
        """About how many images would settle the difference, two digits; None if too many."""
        if self.interval is None or not self.interval.value:
            return None
        return rounded(self.interval.images_for(abs(self.interval.value), self.images))

    def sentence(self, first: str, second: str) -> str:
        """Return which of two runs with these names is better, or that the images cannot tell."""
        found = self.interval
        if found is None or not found.settled:
            by = f" ({self.measure}: {_shown(found)})" if found else f" ({self.measure} is the same)"
            needed = f"; about {self.needed:,} would" if self.needed else ""
            return f"{self.images:,} images cannot tell {first} and {second} apart{by}{needed}"
        better, sign = (second, 1) if found.value > 0 else (first, -1)
        low, high = sorted((sign * found.low, sign * found.high))
        return f"{better} is better by {abs(found.value):.3f} [{low:.3f}, {high:.3f}] ({self.measure})"


def _shown(found: Interval) -> str:
    return f"{abs(found.value):.3f} ± {found.half:.3f}"


def rounded(number: int) -> int | None:
    """Return a number of images with two digits; None above a million."""
    digits = 10 ** max(len(str(number)) - 2, 0)
    return -(-number // digits) * digits if number <= _MOST_IMAGES else None


def compare(first: Report, second: Report) -> dict[str, Difference]:
    """Return the differences of the second run from the first, by measure; the main measure is the last one."""
    before, after = measures_of(first), measures_of(second)
    images = len(first.truth.images)
    return {
        name: Difference(
            name, before[name][0], after[name][0], Interval.of_difference(before[name], after[name]), images
        )
        for name in before
    }


def images_needed(reports: Sequence[Report]) -> dict[str, tuple[int | None, ...]]:
    """Return how many images would settle each of DIFFERENCES, by measure: None if more than a million.

    Args:
        reports: of several, the spread is the largest of their differences; of one, see posetools.evaluation.intervals.
    """
    images, found = len(reports[0].truth.images), dict[str, list[Interval]]()
    if len(reports) == 1:
        each = [{name: Interval.of(*both) for name, both in measures_of(reports[0]).items()}]
    else:
        each = [{name: one.interval for name, one in compare(*two).items()} for two in combinations(reports, 2)]
    for intervals in each:
        for name, one in intervals.items():
            found.setdefault(name, []).extend([one] if one else [])
    return {
        name: tuple(rounded(max(one.images_for(step, images) for one in known)) for step in DIFFERENCES)
        for name, known in found.items()
        if known
    }


def measures_of(report: Report) -> dict[str, tuple[float | None, Resampled]]:
    """Return the measures that runs are compared by, with their values in resamples; the main one is the last."""
    measures = {}
    if report.subject.detector:
        measures["box AP"] = report.det.metrics["bbox"]["AP"], report.det.resampled["bbox"]["AP"]
    for boxes, part in report.sides.items():
        values, resampled = (each["points"]["labelled"]["overall"] for each in (part.metrics, part.resampled))
        measures[f"PCK@0.1 on {boxes}"] = values["PCK@0.1"], resampled["PCK@0.1"]
        measures[f"pose AP on {boxes}"] = part.metrics["OKS"]["AP"], part.resampled["OKS"]["AP"]
    return measures
