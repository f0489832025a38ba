"""Counts and charts of the report: keypoints by visibility, distributions of boxes and points, and outliers.

Sound objects only. An outlier, which a chart links to its image, is a value with hardly any other near it, for any
distribution: objects seen from two sides, or of two sizes, are two clusters, not outliers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from markupsafe import Markup

from posetools.checks.structure import SoundObjects
from posetools.checks.validate import visibility_counts
from posetools.core.geometry import Floats, Ints
from posetools.core.skeleton import Skeleton
from posetools.errors import counted
from posetools.pages.charts import SPLIT_COLORS, Dot, bar, draw_dot, heat_squares, svg, tooltip, upwards, words

# Less than this share of the values is near an outlier; with few values, none is.
_ALONE_SHARE = 0.005
# Fewer objects have no outliers.
_LEAST_OBJECTS = 20
# Most linked outliers of a chart, and of all keypoint maps together.
_PER_CHART, _PER_MAPS = 4, 8
# Distance that counts as near: in octaves, in keypoints, in shares of the box (the cells of a map are half of that).
_OCTAVES, _KEYPOINTS, _NEAR_SHARE = 0.5, 1.0, 0.125
_MAP_CELLS = 64


@dataclass(frozen=True, slots=True)
class Outlier:
    """One object in one chart.

    Attributes:
        split: its split.
        row: its row among the split's sound objects.
        x: its place in the chart, in the chart's own unit.
        y: its vertical place, in a map.
        text: what is unusual about it.
    """

    split: str
    row: int
    x: float
    y: float
    text: str


def size_outliers(objects: Mapping[str, SoundObjects]) -> tuple[Outlier, ...]:
    """Return objects with a far larger or smaller box than others; x is log2 of the square root of its area."""
    values = {split: np.log2(np.sqrt(_sides(each).prod(axis=1)).clip(min=1)) for split, each in objects.items()}
    return _outliers(_whole(objects, values), _OCTAVES, lambda x: f"box of {2**x:.0f} px")


def shape_outliers(objects: Mapping[str, SoundObjects]) -> tuple[Outlier, ...]:
    """Return objects with a far wider or higher box than others; x is log2 of width by height."""
    values = {split: np.log2(np.divide(*_sides(each).clip(min=1e-9).T)) for split, each in objects.items()}
    return _outliers(_whole(objects, values), _OCTAVES, lambda x: f"width : height = {2**x:.2f}")


def visible_outliers(objects: Mapping[str, SoundObjects]) -> tuple[Outlier, ...]:
    """Return objects with an unusual number of visible keypoints; x is that number."""
    values = {split: (each.keypoints[:, :, 2] == 2).sum(axis=1).astype(np.float64) for split, each in objects.items()}
    return _outliers(values, _KEYPOINTS, lambda x: counted(f"{x:.0f}", "visible keypoint"))


def place_outliers(objects: Mapping[str, SoundObjects], names: tuple[str, ...]) -> dict[str, tuple[Outlier, ...]]:
    """Return for each keypoint an object in which it is at an unusual place in the box; only the farthest of all.

    x and y are shares of the box's width and height. An object is used for one keypoint only.
    """
    found: list[tuple[float, str, Outlier]] = []
    for index, name in enumerate(names):
        shares = {split: _shares(each, index) for split, each in objects.items()}
        for split, row, away in _alone_in_map(shares):
            x, y = shares[split][row].tolist()
            found.append((away, name, Outlier(split, row, x, y, f"{name} far from its usual places in the box")))
    chosen: dict[str, tuple[Outlier, ...]] = dict.fromkeys(names, ())
    taken: set[tuple[str, int]] = set()
    for _, name, outlier in sorted(found, key=lambda each: -each[0]):
        if len(taken) < _PER_MAPS and not chosen[name] and (outlier.split, outlier.row) not in taken:
            chosen[name] = (outlier,)
            taken.add((outlier.split, outlier.row))
    return chosen


def _sides(objects: SoundObjects) -> Floats:
    sides: Floats = objects.boxes[:, 2:] - objects.boxes[:, :2]
    return sides.clip(min=0, max=_LARGEST_SIDE)


def _whole(objects: Mapping[str, SoundObjects], values: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the values of boxes with an area; NaN for the others, which have findings."""
    return {split: np.where((_sides(objects[split]) > 0).all(axis=1), each, np.nan) for split, each in values.items()}


def _shares(objects: SoundObjects, index: int) -> Floats:
    """Return (R, 2) places of a keypoint in its box; NaN if it is unlabeled or the box has no area."""
    sides, points = _sides(objects), objects.keypoints[:, index]
    known = (points[:, 2] > 0) & (sides > 0).all(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        shares = (points[:, :2] - objects.boxes[:, :2]) / np.where(sides > 0, sides, 1)
    return np.where(known[:, None] & (np.abs(shares) < 1e3), shares, np.nan)


def _outliers(values: Mapping[str, Floats], near: float, text: Callable[[float], str]) -> tuple[Outlier, ...]:
    """Return the outliers, the farthest from the median first."""
    every = np.sort(np.concatenate([np.zeros(0), *values.values()]))
    every = every[np.isfinite(every)]
    if len(every) < _LEAST_OBJECTS:
        return ()
    middle = float(np.median(every))
    found = []
    for split, of_split in values.items():
        others = np.searchsorted(every, of_split + near, "right") - np.searchsorted(every, of_split - near) - 1
        for row in np.flatnonzero(np.isfinite(of_split) & (others < _ALONE_SHARE * len(every))).tolist():
            found.append((split, row, float(of_split[row])))
    found.sort(key=lambda each: (-abs(each[2] - middle), each[:2]))
    return tuple(Outlier(split, row, x, 0.0, text(x)) for split, row, x in found[:_PER_CHART])


def _alone_in_map(places: Mapping[str, Floats]) -> list[tuple[str, int, float]]:
    """Return split, row and distance from the median of the outliers in (R, 2) places, the farthest first."""
    every = np.concatenate([np.zeros((0, 2)), *places.values()])
    every = every[np.isfinite(every[:, 0])]
    if len(every) < _LEAST_OBJECTS:
        return []
    middle = np.median(every, axis=0)
    counts = np.zeros((2 * _MAP_CELLS, 2 * _MAP_CELLS), dtype=np.int64)
    np.add.at(counts, tuple(_cells(every).T), 1)
    # Values in a square of 5 x 5 cells are near.
    near = np.lib.stride_tricks.sliding_window_view(np.pad(counts, 2), (5, 5)).sum(axis=(2, 3))
    found = []
    for split, of_split in places.items():
        known = np.flatnonzero(np.isfinite(of_split[:, 0]))
        others = near[tuple(_cells(of_split[known]).T)] - 1
        for row in known[others < _ALONE_SHARE * len(every)].tolist():
            found.append((split, row, float(np.linalg.norm(of_split[row] - middle))))
    return sorted(found, key=lambda each: (-each[2], each[:2]))[:_PER_CHART]


def _cells(places: Floats) -> Ints:
    """Return the (P, 2) cells of places; the box is in the center of the grid, far places are at its edge."""
    cells: Ints = np.floor(places / (_NEAR_SHARE / 2)).astype(np.int64) + _MAP_CELLS
    return cells.clip(0, 2 * _MAP_CELLS - 1)


# Bins: half octaves of size, quarter octaves of shape up to 1:6.
_SIZE_STEP = 0.5
# No image is larger: boxes are clipped to this size.
_LARGEST_SIDE = 2.0**16
_SHAPE_EDGES = 2.0 ** np.arange(-2.5, 2.51, 0.25)
# A heat map shows the box and its surroundings: so many cells from -BOX_EDGE to 1 + BOX_EDGE of the box.
BOX_GRID = 24
BOX_EDGE = 0.25


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of a quantity, by split.

    Attributes:
        title: what is counted.
        labels: B texts: the start of each bin.
        ranges: B texts: the range of each bin.
        counts: split -> B counts.
        x: label of the x axis.
        outliers: outlying objects and their places, in bins from the left.
    """

    title: str
    labels: tuple[str, ...]
    ranges: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    x: str = ""
    outliers: tuple[tuple[float, Outlier], ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Figures:
    """The numbers and charts of the report.

    Attributes:
        keypoints: keypoint -> split -> how often it is unlabeled, occluded, visible.
        histograms: of boxes and objects.
        places: keypoint -> (BOX_GRID, BOX_GRID) counts of its places in the box, by row and column.
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
        name: {split: visibility_counts(each.keypoints[:, index, 2]) for split, each in objects.items()}
        for index, name in enumerate(skeleton.names)
    }
    k = skeleton.num_keypoints
    places = _places(list(objects.values()), k)
    return Figures(
        keypoints=keypoints,
        histograms=(_sizes(objects), _shapes(objects), *([_visible(objects, k)] if k else [])),
        places=dict(zip(skeleton.names, places, strict=True)),
        outliers=place_outliers(objects, skeleton.names),
    )


def _whole_sides(objects: SoundObjects) -> Floats:
    sides = _sides(objects)
    whole: Floats = sides[(sides > 0).all(axis=1)]
    return whole


def _sizes(objects: Mapping[str, SoundObjects]) -> Histogram:
    sizes = {split: np.sqrt(_whole_sides(each).prod(axis=1)).clip(min=1) for split, each in objects.items()}
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
        sides = _whole_sides(each)
        shapes[split] = np.clip(sides[:, 0] / sides[:, 1], _SHAPE_EDGES[0], np.nextafter(_SHAPE_EDGES[-1], 0))
    names = [f"{edge:.1f}:1" if edge >= 1 else f"1:{1 / edge:.1f}" for edge in _SHAPE_EDGES]
    first, second = np.log2(_SHAPE_EDGES[:2]).tolist()
    last = len(_SHAPE_EDGES) - 1.5
    outliers = tuple(
        (min(max((each.x - first) / (second - first), 0.5), last), each) for each in shape_outliers(objects)
    )
    return replace(_histogram("Box shape", shapes, _SHAPE_EDGES, names), x="width : height", outliers=outliers)


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
    """Return (K, BOX_GRID, BOX_GRID) counts of the places of labeled points in their boxes."""
    counts = np.zeros((k, BOX_GRID, BOX_GRID), dtype=np.int64)
    for each in objects:
        sides = (each.boxes[:, 2:] - each.boxes[:, :2])[:, None]
        labeled = (each.keypoints[:, :, 2] > 0) & (sides > 0).all(axis=2)
        with np.errstate(over="ignore", invalid="ignore"):
            share = (each.keypoints[:, :, :2] - each.boxes[:, None, :2]) / np.where(sides > 0, sides, 1)
        # Points beyond the map are not counted: W202 reports them.
        cell = np.floor((share.clip(-1, 2) + BOX_EDGE) / (1 + 2 * BOX_EDGE) * BOX_GRID)
        inside = labeled & ((cell >= 0) & (cell < BOX_GRID)).all(axis=2)
        _, points = np.nonzero(inside)
        columns, rows = cell[inside].astype(np.int64).T
        np.add.at(counts, (points, rows, columns), 1)
    return counts


# Ids in the page, by split and row.
FindingLinks: TypeAlias = Mapping[tuple[str, int], str]

_LEFT_MARGIN, _WIDTH, _HEIGHT, _FOOT = 44.0, 316.0, 120.0, 30.0
_LABELS = 9
_DOT = 4.0


def visibility_bar(counts: Sequence[int]) -> Markup:
    """Return a bar of the counts of unlabeled, occluded and visible points."""
    unlabeled, hidden, visible = counts
    total = max(1, sum(counts))
    text = f"{visible} visible, {hidden} occluded, {unlabeled} unlabeled"
    parts, left = [tooltip(text)], 0.0
    for kind, count in (("visible", visible), ("hidden", hidden), ("unlabeled", unlabeled)):
        width = 100 * count / total
        if count:
            parts.append(Markup('<rect class="{}" x="{:.2f}" width="{:.2f}" height="10"/>').format(kind, left, width))
        left += width
    return bar(text, parts)


def histogram(chart: Histogram, links: FindingLinks) -> Markup:
    """Return bars for the splits side by side, as shares of each split, with outliers as links."""
    splits = list(chart.counts)
    shares = [np.array(chart.counts[split]) / max(1, sum(chart.counts[split])) for split in splits]
    tallest = max([0.0, *(float(each.max(initial=0)) for each in shares)]) or 1.0
    step = _WIDTH / max(1, len(chart.labels))
    width = 0.84 * step / max(1, len(splits))
    parts = [*_axes(chart, tallest)]
    for number, split in enumerate(splits):
        for at, (count, share) in enumerate(zip(chart.counts[split], shares[number].tolist(), strict=True)):
            if count:
                high = max(1.0, _HEIGHT * share / tallest)
                x = _LEFT_MARGIN + at * step + 0.08 * step + number * width
                text = f"{split}: {count} of {sum(chart.counts[split])} ({share:.1%}), {chart.ranges[at]}"
                parts.append(
                    Markup('<rect class="s{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">{}</rect>').format(
                        number % SPLIT_COLORS, x, _HEIGHT - high, width, high, tooltip(text)
                    )
                )
    parts += _dots(chart, step, links)
    return svg("histogram", (_LEFT_MARGIN + _WIDTH, _HEIGHT + _FOOT), chart.title, parts, links=bool(chart.outliers))


def _axes(chart: Histogram, tallest: float) -> Iterator[Markup]:
    """Yield both labeled axes: shares of a split up to the tallest bar, and the bins."""
    for share in (0.0, 0.5, 1.0):
        y = _HEIGHT * (1 - share)
        yield Markup('<line x1="{:g}" y1="{:.1f}" x2="{:g}" y2="{:.1f}"/>').format(
            _LEFT_MARGIN, y, _LEFT_MARGIN + _WIDTH, y
        )
        yield words(_LEFT_MARGIN - 4, max(8.0, y + 3.5), "end", f"{tallest * share:.{0 if tallest > 0.1 else 1}%}")
    yield upwards(_HEIGHT / 2, "share of objects")
    step = _WIDTH / max(1, len(chart.labels))
    # Labels of ranges are at the left edge of the bars, labels of numbers below their center.
    shift = 0.5 if chart.ranges and " to " not in chart.ranges[0] else 0.0
    for at in range(0, len(chart.labels), -(-len(chart.labels) // _LABELS)):
        anchor = "middle" if at or shift else "start"
        yield words(_LEFT_MARGIN + (at + shift) * step, _HEIGHT + 12, anchor, chart.labels[at])
    yield words(_LEFT_MARGIN + _WIDTH / 2, _HEIGHT + 26, "middle", chart.x)


def _dots(chart: Histogram, step: float, links: FindingLinks) -> Iterator[Markup]:
    """Yield the outliers, stacked if they are at the same place."""
    places: dict[int, int] = {}
    for bins, outlier in chart.outliers:
        x = min(_LEFT_MARGIN + _WIDTH - _DOT, max(_LEFT_MARGIN + _DOT, _LEFT_MARGIN + bins * step))
        level = places[round(x / (2 * _DOT))] = places.get(round(x / (2 * _DOT)), -1) + 1
        yield draw_dot(_dot(outlier, links), x, _HEIGHT - 3 * _DOT - 2.5 * _DOT * level, _DOT)


def _dot(outlier: Outlier, links: FindingLinks) -> Dot:
    text = f"{outlier.split}: {outlier.text}; click to see its image"
    link = links[outlier.split, outlier.row]
    return Dot(outlier.x, outlier.y, text, link, label=f"outlier: {outlier.text}")


def heat_map(counts: Ints, name: str, outliers: Sequence[Outlier], links: FindingLinks) -> Markup:
    """Return a map of a keypoint's places in its box: (BOX_GRID, BOX_GRID) counts as squares, darker for more."""
    inner = BOX_GRID * BOX_EDGE / (1 + 2 * BOX_EDGE)
    box = Markup('<rect class="box" x="{0:g}" y="{0:g}" width="{1:g}" height="{1:g}"/>').format(
        inner, BOX_GRID - 2 * inner
    )
    dots = [draw_dot(_dot(each, links), _in_map(each.x), _in_map(each.y), 1.0) for each in outliers]
    label = f"{name} in its box: {int(counts.sum())} points"
    return svg("heat", (BOX_GRID, BOX_GRID), label, [heat_squares(counts), box, *dots], links=bool(dots))


def _in_map(share: float) -> float:
    """Return the place in a heat map of a share of the box, clipped to the edge."""
    return min(BOX_GRID - 1.0, max(1.0, (share + BOX_EDGE) / (1 + 2 * BOX_EDGE) * BOX_GRID))
