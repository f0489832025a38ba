"""Objects that are alone in a chart of a validation report, so that the chart can link to their images.

An outlier is a value with hardly any other near it, however the values are distributed: objects that are seen from two
sides, or of two sizes, are two crowds and no outliers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from posetools.checks.structure import SoundObjects
from posetools.core.geometry import Floats, Ints

# Near an outlier lies less than this share of the values, and nothing where there are few.
_ALONE = 0.005
# Of fewer objects none can be said to be unlike the others.
_LEAST = 20
# How many of a chart are linked, and of all maps of keypoints together.
_PER_CHART, _PER_MAPS = 4, 8
# How near is near: in octaves, in keypoints, in shares of the box (a map is counted in cells of half of that).
_OCTAVES, _KEYPOINTS, _SHARE = 0.5, 1.0, 0.125
_CELLS = 64


@dataclass(frozen=True, slots=True)
class Outlier:
    """One object in one chart.

    Attributes:
        split: where it is.
        row: its row among the split's sound objects.
        x: where it is in the chart, in the chart's own unit.
        y: likewise, in a map.
        text: what is unusual about it.
    """

    split: str
    row: int
    x: float
    y: float
    text: str


def size_outliers(objects: Mapping[str, SoundObjects]) -> tuple[Outlier, ...]:
    """Return objects whose box is far larger or smaller than others; x is log2 of the root of its area."""
    values = {split: np.log2(np.sqrt(_sides(each).prod(axis=1)).clip(min=1)) for split, each in objects.items()}
    return tuple(
        Outlier(split, row, x, 0.0, f"box of {2**x:.0f} px")
        for split, row, x in _alone(_whole(objects, values), _OCTAVES)
    )


def shape_outliers(objects: Mapping[str, SoundObjects]) -> tuple[Outlier, ...]:
    """Return objects whose box is far wider or higher than others; x is log2 of width by height."""
    values = {split: np.log2(np.divide(*_sides(each).clip(min=1e-9).T)) for split, each in objects.items()}
    return tuple(
        Outlier(split, row, x, 0.0, f"width : height = {2**x:.2f}")
        for split, row, x in _alone(_whole(objects, values), _OCTAVES)
    )


def visible_outliers(objects: Mapping[str, SoundObjects]) -> tuple[Outlier, ...]:
    """Return objects with a rare number of visible keypoints; x is how many."""
    values = {split: (each.keypoints[:, :, 2] == 2).sum(axis=1).astype(np.float64) for split, each in objects.items()}
    return tuple(
        Outlier(split, row, x, 0.0, f"{x:.0f} visible keypoint{'' if x == 1 else 's'}")
        for split, row, x in _alone(values, _KEYPOINTS)
    )


def place_outliers(objects: Mapping[str, SoundObjects], names: tuple[str, ...]) -> dict[str, tuple[Outlier, ...]]:
    """Return for each keypoint an object in which it is where it hardly ever is in the box; of all only the farthest.

    x and y are shares of the box's width and height. No object stands for two keypoints.
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
    return sides.clip(min=0, max=2.0**16)


def _whole(objects: Mapping[str, SoundObjects], values: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the values of boxes with an area; NaN for the others, which are findings."""
    return {split: np.where((_sides(objects[split]) > 0).all(axis=1), each, np.nan) for split, each in values.items()}


def _shares(objects: SoundObjects, index: int) -> Floats:
    """Return (R, 2) where in its box a keypoint is; NaN where it is not labeled or the box has no area."""
    sides, points = _sides(objects), objects.keypoints[:, index]
    known = (points[:, 2] > 0) & (sides > 0).all(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        shares = (points[:, :2] - objects.boxes[:, :2]) / np.where(sides > 0, sides, 1)
    return np.where(known[:, None] & (np.abs(shares) < 1e3), shares, np.nan)


def _alone(values: Mapping[str, Floats], near: float) -> list[tuple[str, int, float]]:
    """Return split, row and value of the outliers, the farthest from the median first."""
    every = np.sort(np.concatenate([np.zeros(0), *values.values()]))
    every = every[np.isfinite(every)]
    if len(every) < _LEAST:
        return []
    middle = float(np.median(every))
    found = []
    for split, of_split in values.items():
        others = np.searchsorted(every, of_split + near, "right") - np.searchsorted(every, of_split - near) - 1
        for row in np.flatnonzero(np.isfinite(of_split) & (others < _ALONE * len(every))).tolist():
            found.append((split, row, float(of_split[row])))
    return sorted(found, key=lambda each: (-abs(each[2] - middle), each[:2]))[:_PER_CHART]


def _alone_in_map(places: Mapping[str, Floats]) -> list[tuple[str, int, float]]:
    """Return split, row and distance from the median of the outliers among (R, 2) places, the farthest first."""
    every = np.concatenate([np.zeros((0, 2)), *places.values()])
    every = every[np.isfinite(every[:, 0])]
    if len(every) < _LEAST:
        return []
    middle = np.median(every, axis=0)
    counts = np.zeros((2 * _CELLS, 2 * _CELLS), dtype=np.int64)
    np.add.at(counts, tuple(_cells(every).T), 1)
    # All that lies in a square of 5 x 5 cells is near.
    near = np.lib.stride_tricks.sliding_window_view(np.pad(counts, 2), (5, 5)).sum(axis=(2, 3))
    found = []
    for split, of_split in places.items():
        known = np.flatnonzero(np.isfinite(of_split[:, 0]))
        others = near[tuple(_cells(of_split[known]).T)] - 1
        for row in known[others < _ALONE * len(every)].tolist():
            found.append((split, row, float(np.linalg.norm(of_split[row] - middle))))
    return sorted(found, key=lambda each: (-each[2], each[:2]))[:_PER_CHART]


def _cells(places: Floats) -> Ints:
    """Return the (P, 2) cells of places; the box is in the middle of the grid, what is far out at its edge."""
    cells: Ints = np.floor(places / (_SHARE / 2)).astype(np.int64) + _CELLS
    return cells.clip(0, 2 * _CELLS - 1)
