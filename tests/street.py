"""A data set of two categories with different skeletons: rendered cars, and a drawn traffic cone in each image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.geometry import Floats
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.datasets.io import write
from posetools.synth.rendering import render_random

CAR = load_skeleton("car8")
CONE = draft_skeleton(
    "cone", ["tip", "left-foot", "right-foot"], "cone", category_id=4, links=[(0, 1), (0, 2)]
).skeleton
STREET = Categories((CAR, CONE))
SIZE = (320, 240)


def make_street(folder: Path, images: int = 4, *, seed: int = 0) -> Dataset:
    """Return images of cars and one cone each, in this order; the files are in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    builder = DatasetBuilder(STREET)
    for number in range(images):
        rng = np.random.default_rng([seed, number])
        name = f"{number}.png"
        rendered = render_random(rng, SIZE, CAR)
        cone = draw_cone(rendered.image, rng)
        rendered.image.save(folder / name)
        builder.add_image(Image(name, *SIZE, path=folder / name))
        for place, label in enumerate(rendered.labels):
            origin = Origin(name, f"car {place}")
            builder.add_instance(name, box=label.box, keypoints=label.keypoints, origin=origin, category_id=1)
        box = np.concatenate([cone[:, :2].min(axis=0), cone[:, :2].max(axis=0)])
        builder.add_instance(name, box=box, keypoints=cone, origin=Origin(name, "cone"), category_id=4)
    return builder.build()


def draw_cone(image: Pillow.Image, rng: np.random.Generator) -> Floats:
    """Draw a cone at a random place; return its (3, 3) keypoints, sometimes with an occluded foot."""
    width, height = rng.integers(14, 24), rng.integers(30, 50)
    x, y = rng.integers(30, SIZE[0] - 30), rng.integers(SIZE[1] - 60, SIZE[1] - 5)
    points = np.array([[x, y - height, 2], [x - width / 2, y, 2], [x + width / 2, y, rng.integers(1, 3)]], dtype=float)
    ImageDraw.Draw(image).polygon([tuple(point[:2]) for point in points.tolist()], fill=(255, 100, 0))
    return points


def write_street(out: Path, images: int = 4) -> Path:
    """Write a data set of ``images`` images for training and one for validation; return its folder."""
    data = make_street(out.with_name("photos"), images + 1)
    write({"train": data.select_images(range(images)), "val": data.select_images([images])}, out)
    return out
