"""How large the pictures and the objects of a data set are, and how much of an object is seen.

Everything is computed over columns: a quarter of a million objects take a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from posetools.core.geometry import Floats
from posetools.errors import InputError, quoted

# COCO's own bound between small and medium objects: an area of 32 x 32 pixels.
SMALL_SIDE = 32.0


@dataclass(frozen=True, slots=True)
class Shapes:
    """Sizes in pixels, and counts of keypoints, of a training split; crowds are left out.

    Attributes:
        width: median width of the pictures.
        height: median height of the pictures.
        aspect: median of width / height of the pictures.
        portrait: share of the pictures that are higher than wide.
        side: sqrt(width x height) of the objects' boxes: 10th percentile, median, 90th percentile.
        relative_side: 10th percentile of that over the longer side of the object's picture.
        small: share of the objects smaller than 32 x 32 pixels.
        box_long: median of the longer side of the boxes.
        box_aspect: median of width / height of the boxes.
        points: keypoints of an object that are visible, labelled but hidden, and not labelled, on average.
    """

    width: float
    height: float
    aspect: float
    portrait: float
    side: tuple[float, float, float]
    relative_side: float
    small: float
    box_long: float
    box_aspect: float
    points: tuple[float, float, float]

    def __str__(self) -> str:
        """Return one line for people."""
        low, middle, high = self.side
        visible, hidden, missing = self.points
        return (
            f"pictures {self.width:.0f} x {self.height:.0f} (median); objects {middle:.0f} px (median of the square "
            f"root of the area; 80 % lie between {low:.0f} and {high:.0f}), {100 * self.small:.0f} % of them below "
            f"{SMALL_SIDE:.0f} px; boxes {self.box_aspect:.2f} times as wide as high; keypoints of an object: "
            f"{visible:.1f} visible, {hidden:.1f} hidden, {missing:.1f} not labelled"
        )


def shapes_of(path: Path, images: Sequence[Mapping[str, Any]], objects: Sequence[Mapping[str, Any]]) -> Shapes:
    """Return the shapes of one split.

    Args:
        path: its COCO file, for messages.
        images: its pictures.
        objects: its annotations, one of them at least without iscrowd.

    Raises:
        InputError: a size, a box or a list of keypoints is missing or wrong.
    """
    sizes = _columns(path, "images", images, lambda entry: (entry["width"], entry["height"]), 2)
    alone = [entry for entry in objects if not entry.get("iscrowd", 0)]
    extents = _columns(path, "annotations", alone, lambda entry: entry["bbox"], 4)[:, 2:]
    row_of = {entry.get("id"): row for row, entry in enumerate(images)}
    rows = [row_of.get(entry.get("image_id"), -1) for entry in alone]
    if -1 in rows:
        place = f"annotations[{objects.index(alone[rows.index(-1)])}].image_id"
        raise InputError(path, place, "must be the id of a picture", hint=_hint(path))
    aspects, side = sizes[:, 0] / sizes[:, 1], np.sqrt(extents.prod(axis=1))
    low, middle, high = (float(value) for value in np.percentile(side, (10, 50, 90)))
    return Shapes(
        width=float(np.median(sizes[:, 0])),
        height=float(np.median(sizes[:, 1])),
        aspect=float(np.median(aspects)),
        portrait=float(np.mean(aspects < 1)),
        side=(low, middle, high),
        relative_side=float(np.percentile(side / sizes[rows].max(axis=1), 10)),
        small=float(np.mean(side < SMALL_SIDE)),
        box_long=float(np.median(extents.max(axis=1))),
        box_aspect=float(np.median(extents[:, 0] / extents[:, 1])),
        points=_points(path, alone),
    )


def _columns(path: Path, what: str, entries: Sequence[Mapping[str, Any]], of: Any, width: int) -> Floats:
    """Return (N, width) numbers, of which the last two are sizes above 0."""
    try:
        table: Floats = np.array([of(entry) for entry in entries], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        table = np.empty(0)
    if table.shape == (len(entries), width) and np.isfinite(table).all() and (table[:, -2:] > 0).all():
        return table
    for index, entry in enumerate(entries):
        try:
            row = np.array(of(entry), dtype=np.float64)
            good = row.shape == (width,) and np.isfinite(row).all() and (row[-2:] > 0).all()
        except (KeyError, TypeError, ValueError):
            good = False
        if not good:
            field = "width and height" if what == "images" else "bbox"
            place = f"{what}[{index}] (id {entry.get('id')})"
            raise InputError(path, place, f"{field} must be numbers, the sizes above 0", hint=_hint(path))
    raise InputError(path, what, "must be tables of numbers", hint=_hint(path))


def _points(path: Path, objects: Sequence[Mapping[str, Any]]) -> tuple[float, float, float]:
    """Return how many points of an object are visible, hidden and not labelled, on average."""
    try:
        flags = np.fromiter(
            chain.from_iterable(entry["keypoints"][2::3] for entry in objects if entry.get("num_keypoints", 0)),
            dtype=np.int8,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as exc:
        raise InputError(path, "annotations", "keypoints must be lists of numbers", hint=_hint(path)) from exc
    posed = sum(1 for entry in objects if entry.get("num_keypoints", 0))
    visible, hidden, missing = (float(np.count_nonzero(flags == value)) / posed for value in (2, 1, 0))
    return visible, hidden, missing


def _hint(path: Path) -> str:
    return f"`posetools validate {quoted(path.parent)}` lists all problems"
