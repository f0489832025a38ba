"""The numbers of a report: keypoints by visibility, and how boxes and points are spread. Sound objects only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from posetools.checks.structure import SoundObjects
from posetools.core.geometry import Floats, Ints
from posetools.core.skeleton import Skeleton
from posetools.pages.validation.outliers import Outlier, place_outliers, shape_outliers, size_outliers, visible_outliers

# Boxes are counted by size in half octaves, by shape in quarter octaves up to 1:6.
_SIZE_STEP = 0.5
# No picture is larger: a box whose numbers are nonsense is counted as one of this size.
_LARGEST = 2.0**16
_SHAPES = 2.0 ** np.arange(-2.5, 2.51, 0.25)
# The box in a heat map, and what is around it: so many cells wide from -EDGE to 1 + EDGE of the box.
CELLS = 24
EDGE = 0.25


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of a quantity, by split.

    Attributes:
        title: what is counted.
        labels: B texts: where each bin begins.
        ranges: B texts: each bin, for a person.
        counts: split -> B counts.
        x: name of the axis below.
        outliers: objects that are far from the others, and where they are: in bins from the left.
    """

    title: str
    labels: tuple[str, ...]
    ranges: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    x: str = ""
    outliers: tuple[tuple[float, Outlier], ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Figures:
    """What the report shows as numbers and charts.

    Attributes:
        keypoints: keypoint -> split -> how often it is not labelled, hidden, visible.
        histograms: of boxes and objects.
        places: keypoint -> (CELLS, CELLS) counts of where it lies in its box, by row and column.
        outliers: keypoint -> objects in which it is far from its usual place.
    """

    keypoints: Mapping[str, Mapping[str, tuple[int, int, int]]]
    histograms: tuple[Histogram, ...]
    places: Mapping[str, Ints]
    outliers: Mapping[str, tuple[Outlier, ...]]


def figures_of(objects: Mapping[str, SoundObjects], skeleton: Skeleton) -> Figures:
    """Return the numbers of a data set.

    Args:
        objects: split -> its sound objects.
        skeleton: what their keypoints are.
    """
    keypoints = {
        name: {split: _visibilities(each.keypoints[:, index, 2]) for split, each in objects.items()}
        for index, name in enumerate(skeleton.names)
    }
    places = _places(list(objects.values()), skeleton.num_keypoints)
    return Figures(
        keypoints=keypoints,
        histograms=(_sizes(objects), _shapes(objects), _visible(objects, skeleton.num_keypoints)),
        places=dict(zip(skeleton.names, places, strict=True)),
        outliers=place_outliers(objects, skeleton.names),
    )


def _visibilities(values: Floats) -> tuple[int, int, int]:
    unlabelled, hidden, visible = np.bincount(values.astype(np.int64), minlength=3).tolist()
    return unlabelled, hidden, visible


def _sides(objects: SoundObjects) -> Floats:
    sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
    whole: Floats = sides[(sides > 0).all(axis=1)].clip(max=_LARGEST)
    return whole


def _sizes(objects: Mapping[str, SoundObjects]) -> Histogram:
    sizes = {split: np.sqrt(_sides(each).prod(axis=1)).clip(min=1) for split, each in objects.items()}
    every = np.log2(np.concatenate([np.ones(0), *sizes.values()]))
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 0.0)
    edges = 2.0 ** (_SIZE_STEP * np.arange(np.floor(low / _SIZE_STEP), np.floor(high / _SIZE_STEP) + 2))
    found = _histogram("Box size", sizes, edges, [f"{edge:.0f}" for edge in edges])
    first = float(np.log2(edges[0]))
    outliers = tuple(((each.x - first) / _SIZE_STEP, each) for each in size_outliers(objects))
    return replace(found, x="square root of the area, in pixels", outliers=outliers)


def _shapes(objects: Mapping[str, SoundObjects]) -> Histogram:
    shapes = {}
    for split, each in objects.items():
        sides = _sides(each)
        shapes[split] = np.clip(sides[:, 0] / sides[:, 1], _SHAPES[0], np.nextafter(_SHAPES[-1], 0))
    names = [f"{edge:.1f}:1" if edge >= 1 else f"1:{1 / edge:.1f}" for edge in _SHAPES]
    first, second = np.log2(_SHAPES[:2]).tolist()
    last = len(_SHAPES) - 1.5
    outliers = tuple(
        (min(max((each.x - first) / (second - first), 0.5), last), each) for each in shape_outliers(objects)
    )
    return replace(_histogram("Box shape", shapes, _SHAPES, names), x="width : height", outliers=outliers)


def _histogram(title: str, values: Mapping[str, Floats], edges: Floats, names: Sequence[str]) -> Histogram:
    return Histogram(
        title=title,
        labels=tuple(names[:-1]),
        ranges=tuple(f"{low} to {high}" for low, high in pairwise(names)),
        counts={split: tuple(np.histogram(each, edges)[0].tolist()) for split, each in values.items()},
    )


def _visible(objects: Mapping[str, SoundObjects], k: int) -> Histogram:
    numbers = tuple(str(number) for number in range(k + 1))
    return Histogram(
        title="Visible keypoints per object",
        x="visible keypoints",
        outliers=tuple((each.x + 0.5, each) for each in visible_outliers(objects)),
        labels=numbers,
        ranges=tuple(f"{number} visible" for number in numbers),
        counts={
            split: tuple(np.bincount((each.keypoints[:, :, 2] == 2).sum(axis=1), minlength=k + 1).tolist())
            for split, each in objects.items()
        },
    )


def _places(objects: Sequence[SoundObjects], k: int) -> Ints:
    """Return (K, CELLS, CELLS) counts of where in its box each labelled point lies."""
    counts = np.zeros((k, CELLS, CELLS), dtype=np.int64)
    for each in objects:
        sides = (each.boxes[:, 2:] - each.boxes[:, :2])[:, None]
        labelled = (each.keypoints[:, :, 2] > 0) & (sides > 0).all(axis=2)
        with np.errstate(over="ignore", invalid="ignore"):
            share = (each.keypoints[:, :, :2] - each.boxes[:, None, :2]) / np.where(sides > 0, sides, 1)
        # What lies further out than the map reaches is counted nowhere: W202 finds it.
        cell = np.floor((share.clip(-1, 2) + EDGE) / (1 + 2 * EDGE) * CELLS)
        inside = labelled & ((cell >= 0) & (cell < CELLS)).all(axis=2)
        _, points = np.nonzero(inside)
        columns, rows = cell[inside].astype(np.int64).T
        np.add.at(counts, (points, rows, columns), 1)
    return counts
