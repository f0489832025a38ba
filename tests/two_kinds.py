"""A rendered data set of two categories, each with a skeleton of its own: cars, and the toy animals of road_object.py.

A third of the images shows a car and an animal, each in a half of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.place import Origin
from posetools.core.skeleton import Category, load_skeleton, parse_skeleton
from posetools.synth.dataset import render_set
from tests.road_object import SIZE, SKELETON_YAML, write_object_set

CAR = load_skeleton("car8")
CRITTER = parse_skeleton("critter.yaml", SKELETON_YAML).model_copy(update={"category": Category(name="critter", id=2)})
KINDS = Categories((CAR, CRITTER))


def two_kinds(folder: Path, images: int, seed: int) -> Dataset:
    """Render images into a folder, and return them with the objects of both categories."""
    parts = {"car": folder / "car", "critter": folder / "critter"}
    render_set(parts["car"], images=images, size=SIZE, seed=seed)
    write_object_set(parts["critter"], images, seed)
    builder = DatasetBuilder(KINDS)
    listed = {name: sorted(part.glob("*.json")) for name, part in parts.items()}
    for number in range(images):
        name = f"{number:04d}.png"
        shown = [["car"], ["critter"], ["car", "critter"]][number % 3]
        canvas = Pillow.new("RGB", SIZE, (110, 112, 105))
        builder.add_image(Image(name, *SIZE, path=folder / name))
        for kind in shown:
            scale, shift = (1.0, (0, 0)) if len(shown) == 1 else (0.5, (0, 0) if kind == "car" else (128, 96))
            file = listed[kind][number]
            with Pillow.open(file.parent / json.loads(file.read_text())["imagePath"]) as image:
                own = image.convert("RGB")
            canvas.paste(own.resize((int(SIZE[0] * scale), int(SIZE[1] * scale))), shift)
            for place, (box, keypoints) in enumerate(_objects(file, KINDS[KINDS.ids[kind]].names)):
                box = box * scale + np.tile(shift, 2)
                keypoints[:, :2] = np.where(keypoints[:, 2:] > 0, keypoints[:, :2] * scale + shift, 0.0)
                builder.add_instance(
                    name,
                    box=box,
                    keypoints=keypoints,
                    origin=Origin(name, f"{kind} {place}"),
                    category_id=KINDS.ids[kind],
                )
        canvas.save(folder / name)
    return builder.build()


def _objects(file: Path, names: tuple[str, ...]) -> Iterator[tuple[Any, Any]]:
    """Yield the box and the keypoints of each object in a labelme file."""
    shapes = json.loads(file.read_text())["shapes"]
    for rectangle in (shape for shape in shapes if shape["shape_type"] == "rectangle"):
        keypoints = np.zeros((len(names), 3))
        for shape in shapes:
            if shape["shape_type"] == "point" and shape["group_id"] == rectangle["group_id"]:
                hidden = (shape.get("flags") or {}).get("occluded") or (shape.get("flags") or {}).get("hidden")
                keypoints[names.index(shape["label"])] = (*shape["points"][0], 1 if hidden else 2)
        yield np.array(rectangle["points"], dtype=float).reshape(4), keypoints
