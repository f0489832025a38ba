"""Data sets of several categories with skeletons of their own, for the tests of the commands on data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import posetools
from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, DatasetBuilder, Image, concatenate
from posetools.core.folder import categories_of
from posetools.core.place import Origin
from posetools.core.skeleton import Category, Skeleton, load_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.datasets.derived import read_set
from tests.build import make_image

CAR = load_skeleton("car8")
VAN = CAR.model_copy(update={"category": Category(name="van", id=2)})
CONE = draft_skeleton(
    "cone", ["tip", "left-foot", "right-foot"], "cone", category_id=4, links=[(0, 1), (0, 2), (1, 2)]
).skeleton
BOX = Skeleton.model_validate({"name": "box", "category": {"name": "box", "id": 9}, "keypoints": []})
ROAD = Categories((CAR, CONE))


def objects(
    images: Mapping[str, Sequence[str]], categories: Categories = ROAD, *, folder: Path | None = None, seed: int = 0
) -> Dataset:
    """Return images with these objects side by side; some keypoints of each visibility, the first always visible.

    Args:
        images: file name -> the categories of its objects.
        categories: of the data set.
        folder: where image files are made; None for none.
        seed: of the keypoints.
    """
    rng = np.random.default_rng(seed)
    builder = DatasetBuilder(categories)
    for number, (name, held) in enumerate(images.items()):
        path = make_image(folder / name, (400, 100), seed=100 * seed + number) if folder else None
        builder.add_image(Image(name, 400, 100, path=path))
        for place, category in enumerate(held):
            skeleton = categories[categories.ids[category]]
            left = 100.0 * place + 10
            seen = rng.integers(0, 3, skeleton.num_keypoints)
            seen[:1] = 2
            at = np.column_stack([left + rng.integers(0, 80, len(seen)), 10 + rng.integers(0, 80, len(seen)), seen])
            box, origin = np.array([left, 10, left + 80, 90]), Origin(name, f"object {place}")
            number_of = categories.ids[category]
            builder.add_instance(name, box=box, keypoints=at, origin=origin, category_id=number_of)
    return builder.build()


def data_set(
    folder: Path,
    train: Mapping[str, Sequence[str]],
    val: Mapping[str, Sequence[str]],
    categories: Categories = ROAD,
    *,
    seed: int = 0,
) -> Path:
    """Write a data set of these images and objects (file name -> categories), as ``posetools.write`` does."""
    whole = objects({**train, **val}, categories, folder=folder.parent / f"{folder.name}-images", seed=seed)
    splits = {}
    for split, names in (("train", train), ("val", val)):
        splits[split] = whole.select_images(i for i, image in enumerate(whole.images) if image.file_name in names)
    posetools.write({split: each for split, each in splits.items() if each.images}, folder)
    return folder


def written(folder: Path) -> Dataset:
    """Return all images and objects of a data set folder."""
    read = read_set(folder, categories_of(folder))
    assert not read.findings
    return concatenate(list(read.splits.values()))
