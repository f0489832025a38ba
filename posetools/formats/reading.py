"""The content of one annotation file, or of one entry in a file of many images; shards.py joins them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from posetools.core.findings import Finding

Corners = tuple[float, float, float, float]
PointXYV = tuple[float, float, int]


class Row(NamedTuple):
    """One object.

    Attributes:
        box: x1, y1, x2, y2 in pixels.
        keypoints: x, y, visibility of each of the K columns of keypoints.
        place: its place in the file.
        category_id: the id of its category.
    """

    box: Corners
    keypoints: Sequence[PointXYV]
    place: str
    category_id: int


@dataclass(frozen=True, slots=True)
class FileReading:
    """The content of one annotation file.

    Attributes:
        file: the annotation file.
        image: the image, or None if it is left out.
        identity: the image's path with symlinks resolved, if known, even if the image is left out.
        name: the image's name in the Dataset, unless another image has the same.
        origin: the prefix of the name if another image has the same.
        size: (width, height) of the upright image.
        split: the split that the source declares, or None.
        rows: the objects.
        findings: errors and warnings.
        ignored: label -> how many shapes were left out on purpose.
        objects: how many shapes or lines the file holds, for the message if all are left out.
    """

    file: Path
    image: Path | None = None
    identity: str = ""
    name: str = ""
    origin: str = ""
    size: tuple[int, int] = (0, 0)
    split: str | None = None
    rows: Sequence[Row] = ()
    findings: Sequence[Finding] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    objects: int = 0
