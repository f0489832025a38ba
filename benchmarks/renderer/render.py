"""One image with its labels, and a folder of them as labelme files."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.renderer.backdrop import paint_backdrop
from benchmarks.renderer.faces import Floats, joined
from benchmarks.renderer.scene import Scene, sample_scene
from benchmarks.renderer.view import SCALE, View, view
from posetools.core.skeleton import load_skeleton
from posetools.formats.labelme.write import LabelmeObject, labelme_document, labelme_text

SIZE = (640, 480)
# A car of which less is seen is not labeled by a person: such a scene is not used.
_LEAST_SEEN = 0.3


class Rendered(NamedTuple):
    """An image (H, W, 3) in RGB, and per car a box (4,) x1, y1, x2, y2 and keypoints (8, 3) x, y, visibility."""

    image: npt.NDArray[np.uint8]
    boxes: list[Floats]
    keypoints: list[Floats]


def render(seed: int, number: int, size: tuple[int, int] = SIZE) -> Rendered:
    """Return image ``number`` of a seed: always the same."""
    rng = np.random.default_rng([seed, number, 2])
    names = load_skeleton("car8").names
    while True:
        scene = sample_scene(rng, size)
        parts = [*(one.faces() for one in scene.cars), *scene.things]
        owners = np.repeat([*range(len(scene.cars)), *[-1] * len(scene.things)], [len(part.corners) for part in parts])
        everything = joined(parts)
        seen = view(scene.camera, everything, owners)
        boxes = [seen.box(car, size) for car in range(len(scene.cars))]
        tight = [box for box in boxes if box is not None]
        if len(tight) < len(boxes) or min(map(seen.share_seen, range(len(boxes)))) < _LEAST_SEEN:
            continue
        keypoints = []
        for one in scene.cars:
            points = one.car.keypoints()
            pixels, depth = scene.camera.project(one.points(np.stack([points[name] for name in names])))
            keypoints.append(seen.label(pixels, depth, size))
        colors = scene.light.on(everything, scene.camera.position)[seen.index]
        return Rendered(_drawn(rng, scene, seen, colors), tight, keypoints)


def _drawn(rng: np.random.Generator, scene: Scene, seen: View, colors: Floats) -> npt.NDArray[np.uint8]:
    back = paint_backdrop(scene.camera, scene.light, scene.ground, scene.wall, scene.distance, scene.shadows())
    # The last row is for sub-pixels that no face covers.
    palette = np.zeros((len(colors) + 1, 4), dtype=np.float32)
    palette[:-1, :3], palette[:-1, 3] = scene.light.developed(colors), 1
    front = cv2.resize(palette[seen.seen], None, fx=1 / SCALE, fy=1 / SCALE, interpolation=cv2.INTER_AREA)
    image = front[..., :3] + (1 - front[..., 3:]) * scene.light.developed(back)
    if rng.random() < 0.4:
        image = cv2.GaussianBlur(image, None, float(rng.uniform(0.4, 1.0)))
    image *= rng.uniform(0.9, 1.1, 3).astype(np.float32)
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(1, 8))
    drawn: npt.NDArray[np.uint8] = np.clip(image, 0, 255).astype(np.uint8)
    return drawn


def write_images(folder: Path, images: int, seed: int, *, first: int = 0, size: tuple[int, int] = SIZE) -> None:
    """Write images ``first``, ``first`` + 1, ... of a seed, with a labelme file next to each."""
    folder.mkdir(parents=True, exist_ok=True)
    skeleton = load_skeleton("car8")
    for number in range(first, first + images):
        rendered = render(seed, number, size)
        name = f"scene_{number:06d}.jpg"
        cv2.imwrite(str(folder / name), rendered.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80 + number % 16])
        cars = [
            LabelmeObject(skeleton, box.tolist(), keypoints.tolist())
            for box, keypoints in zip(rendered.boxes, rendered.keypoints, strict=True)
        ]
        text = labelme_text(labelme_document(name, size, cars))
        (folder / name).with_suffix(".json").write_text(text, encoding="utf-8")
