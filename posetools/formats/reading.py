"""What one annotation file gives, or one entry of a file of many images; posetools/formats/shards.py joins them."""

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
        keypoints: K triples x, y, visibility.
        place: where it stands in the file.
    """

    box: Corners
    keypoints: Sequence[PointXYV]
    place: str


@dataclass(frozen=True, slots=True)
class FileReading:
    """What one annotation file gave.

    Attributes:
        file: the annotation file.
        image: the image, or None when it is left out.
        identity: the image's path with every link followed, when there is one, even if it is left out.
        name: the image's name in the Dataset, if no other image wants it.
        origin: what is put before the name when another image wants it too.
        size: (width, height) of the upright image.
        split: the split that the source declares, or None.
        rows: its objects.
        findings: what could not be read, and what is odd.
        ignored: label -> how many shapes were left out on purpose.
        objects: how many shapes or lines the file holds, for the message when all are left out.
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
