"""One small valid COCO data set on disk, and its files as documents that tests break."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.place import Origin
from posetools.core.skeleton import Skeleton, load_skeleton
from posetools.formats.coco import format as coco
from tests.build import make_image

SIZE = (320, 240)
# x1, y1, x2, y2 and the visibility of the eight points; by COCO's sizes one box is large and one medium.
OBJECTS = (
    ((10.5, 20.25, 170.125, 140.0), (2, 2, 2, 2, 2, 0, 1, 1)),
    ((200.0, 50.5, 261.3, 95.7), (2, 2, 2, 2, 0, 1, 1, 0)),
)

Document = dict[str, Any]


def make_sample(folder: Path, names: tuple[str, ...], *, split: str, seed: int = 0) -> Dataset:
    """Return a Dataset of images that exist, with two objects each."""
    skeleton = load_skeleton("car8")
    rng = np.random.default_rng(seed)
    builder = DatasetBuilder(skeleton)
    for number, name in enumerate(names):
        path = make_image(folder / name, SIZE, seed=100 * seed + number)
        builder.add_image(Image(name, *SIZE, path=path, split=split))
        for corners, visibility in OBJECTS:
            box = np.array(corners)
            points = (box[:2] + rng.uniform(0.05, 0.95, (8, 2)) * (box[2:] - box[:2])).round(2)
            builder.add_instance(name, box=box, keypoints=np.column_stack([points, visibility]), origin=Origin(name))
    return builder.build()


def write_sample(folder: Path) -> dict[str, Dataset]:
    """Write the data set: train with two images (annotations 1 to 4), val with one (annotations 5 and 6)."""
    source = folder.parent / f"{folder.name}-source"
    splits = {
        "train": make_sample(source, ("a.jpg", "sub/b.png"), split="train"),
        "val": make_sample(source, ("c.jpg",), split="val", seed=1),
    }
    coco.write(splits, folder, "copy")
    return splits


def edit(path: Path, change: Callable[[Document], object]) -> Document:
    """Change a COCO file in place; NaN and infinity are written as Python's json writes them."""
    document: Document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return document


def other_skeleton(**changes: Any) -> Skeleton:
    """Return car8 with some fields changed."""
    return Skeleton.model_validate({**load_skeleton("car8").model_dump(), **changes})
