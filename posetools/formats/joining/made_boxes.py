"""Boxes for objects that have none in the source: ``--box-from keypoints``.

A box is the extent of the object's labeled points, each side moved outwards by the margin (``--box-margin``: a fraction
of the sides, pixels, or both), clipped to the image. One point, or points on a line, give a box with a side of at most
1 px, which MMDet drops. Such a side becomes as long as the image's other objects (the median of their longer sides, as
the object's orientation is unknown); if the image has no others, LEAST_SHARE of the image's shorter side, and at least
LEAST_PIXELS. The box stays centered on its points if the image has room for that, and always contains those in the
image. The rule uses one image only, so that a shard of a source gives the same boxes as the whole source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from posetools.core.dataset import Visibility
from posetools.core.findings import Finding
from posetools.core.geometry import box_from_keypoints
from posetools.core.place import Origin
from posetools.errors import counted
from posetools.formats.options import ReadOptions
from posetools.formats.reading import Corners, PointXYV

LEAST_SHARE = 0.05
LEAST_PIXELS = 2.0
# A side of at most this length counts as none: MMDet drops the box, and COCO's area must be greater than 1.
_THIN = 1.0


class ThinBox(NamedTuple):
    """A box from keypoints with a side that is too short, to be completed when the image's other boxes are known."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True)
class BoxCompletion:
    """How boxes with a short side were completed.

    Attributes:
        count: how many boxes.
        by_others: how many of them have the size of other objects.
        shortest: the shortest new side, in pixels.
        longest: the longest new side, in pixels.
        first: the place of the first of them.
    """

    count: int
    by_others: int
    shortest: float
    longest: float
    first: Origin

    def __add__(self, other: BoxCompletion) -> BoxCompletion:
        return BoxCompletion(
            self.count + other.count,
            self.by_others + other.by_others,
            min(self.shortest, other.shortest),
            max(self.longest, other.longest),
            self.first,
        )

    @property
    def message(self) -> str:
        """The completion as a message."""
        sizes = (
            f"{self.shortest:.4g}" if self.shortest == self.longest else f"{self.shortest:.4g} to {self.longest:.4g}"
        )
        reasons = []
        if self.by_others:
            reasons.append(f"like the image's other objects ({self.by_others})")
        if self.count > self.by_others:
            reasons.append(f"{LEAST_SHARE:.0%} of the image ({self.count - self.by_others})")
        return (
            "a box from keypoints must have width and height, got one point or points on one line in "
            f"{counted(self.count, 'object')}: sides without length were set to {sizes} px, "
            f"{' or '.join(reasons)}"
        )

    @property
    def finding(self) -> Finding:
        """The finding at the first of them."""
        return Finding("W333", self.first.file, self.first.place, self.message, MARGIN_HINT)


MARGIN_HINT = "--box-margin 20px adds 20 px to each side of a box from keypoints; this is the first"


def box_round(keypoints: Sequence[PointXYV], options: ReadOptions, size: tuple[int, int]) -> Corners | None:
    """Return the box around the labeled keypoints; None if there are none, or if none of it is in the image.

    A box with a short side is a ThinBox; ``complete`` sets its size.

    Args:
        keypoints: K triples x, y, visibility.
        options: its margins.
        size: (width, height) of the image, to which the box is clipped.
    """
    values = np.array(keypoints, dtype=np.float64)
    if not (values[:, 2] > Visibility.NOT_LABELED).any():
        return None
    x1, y1, x2, y2 = box_from_keypoints(values, options.box_margin, size, pixels=options.box_margin_px).tolist()
    if x2 - x1 > _THIN and y2 - y1 > _THIN:
        return x1, y1, x2, y2
    # Clipping would move a box outside the image onto its edge.
    labeled = values[values[:, 2] > Visibility.NOT_LABELED, :2]
    inside = (labeled.max(axis=0) >= 0) & (labeled.min(axis=0) <= size)
    return ThinBox(x1, y1, x2, y2) if inside.all() else None


def complete(boxes: Sequence[Corners], size: tuple[int, int]) -> tuple[list[Corners], list[float], bool]:
    """Return the boxes of one image with every short side of a ThinBox completed.

    Args:
        boxes: of all objects of the image.
        size: (width, height) of the image.

    Returns:
        The boxes; the new lengths; whether these come from other objects.
    """
    others = np.array([box for box in boxes if not isinstance(box, ThinBox)], dtype=np.float64).reshape(-1, 4)
    length = max(LEAST_SHARE * min(size), LEAST_PIXELS)
    if len(others):
        length = float(np.median((others[:, 2:] - others[:, :2]).max(axis=1)))
    given: list[float] = []
    completed: list[Corners] = []
    for box in boxes:
        if isinstance(box, ThinBox):
            x1, x2 = _side(box.x1, box.x2, length, size[0], given)
            y1, y2 = _side(box.y1, box.y2, length, size[1], given)
            completed.append((x1, y1, x2, y2))
        else:
            completed.append(box)
    return completed, given, bool(len(others))


def _side(low: float, high: float, length: float, limit: int, given: list[float]) -> tuple[float, float]:
    if high - low > _THIN:
        return low, high
    length = min(length, limit)
    given.append(length)
    start = min(max((low + high - length) / 2, 0.0), limit - length)
    return start, min(start + length, float(limit))
