"""Builders shared by the tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.place import Origin
from posetools.core.skeleton import Skeleton, load_skeleton


def make_image(path: Path, size: tuple[int, int] = (320, 240), *, seed: int = 0, orientation: int = 1) -> Path:
    """Write a small image of noise; ``size`` is the stored (width, height), before any EXIF rotation."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    image = Pillow.fromarray(pixels).resize(size)
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif)
    return path


def without_split(images: Iterable[Image]) -> tuple[Image, ...]:
    """Return the images without the split from their source."""
    return tuple(replace(image, split=None) for image in images)


def make_dataset(
    folder: Path | None = None,
    *,
    skeleton: Skeleton | None = None,
    images: Sequence[str] = ("a.jpg", "b.jpg"),
    per_image: int = 2,
    size: tuple[int, int] = (320, 240),
    seed: int = 0,
) -> Dataset:
    """Return a Dataset with random boxes and keypoints of all three visibilities inside them.

    With ``folder`` the image files are created. Coordinates have at most three decimals.
    """
    skeleton = skeleton or load_skeleton("car8")
    rng = np.random.default_rng(seed)
    builder = DatasetBuilder(skeleton)
    for number, name in enumerate(images):
        path = make_image(folder / name, size, seed=seed + number) if folder else None
        builder.add_image(Image(name, *size, path=path))
        for place in range(per_image):
            corner = rng.uniform(0, np.array(size) * 0.5).round(3)
            sides = rng.uniform(20, np.array(size) * 0.5).round(3)
            box = np.concatenate([corner, corner + sides]).round(3)
            points = (corner + rng.uniform(0.05, 0.95, (skeleton.num_keypoints, 2)) * sides).round(3)
            visibility = rng.integers(0, 3, skeleton.num_keypoints)
            keypoints = np.concatenate([points, visibility[:, None]], axis=1)
            builder.add_instance(name, box=box, keypoints=keypoints, origin=Origin(f"{name}: object {place}"))
    return builder.build()
