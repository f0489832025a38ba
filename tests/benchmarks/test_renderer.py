"""The second renderer: its labelme files are sound, and its labels fit its pixels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.minutes import scores, write_truth
from benchmarks.renderer import Rendered, render, write_images
from benchmarks.renderer.render import SIZE
from benchmarks.renderer.scene import sample_scene
from benchmarks.renderer.view import SCALE, view
from posetools.core.folder import ann_file
from posetools.core.skeleton import load_skeleton

# None of these cars is as dark as its tires.
SEED = 3
IMAGES = 4
TIRES = [number for number, name in enumerate(load_skeleton("car8").names) if name.endswith("tire")]


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cars") / "labelme"
    write_images(folder, IMAGES, SEED)
    return folder


@pytest.fixture(scope="module")
def rendered() -> list[Rendered]:
    return [render(SEED, number) for number in range(IMAGES)]


def posetools(*words: str | Path) -> str:
    command = [sys.executable, "-m", "posetools", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_labels_survive_convert_and_validate(labeled: Path, rendered: list[Rendered], tmp_path: Path) -> None:
    posetools("convert", labeled, "--val", "0.25", "--out", tmp_path / "data")
    assert "errors: 0" in posetools("validate", tmp_path / "data")
    found: dict[str, list[tuple[list[float], list[float]]]] = {}
    for split in ("train", "val"):
        document = json.loads(ann_file(tmp_path / "data", split).read_text(encoding="utf-8"))
        names = {image["id"]: image["file_name"] for image in document["images"]}
        for one in document["annotations"]:
            found.setdefault(names[one["image_id"]], []).append((one["bbox"], one["keypoints"]))
    for number, image in enumerate(rendered):
        cars = found[f"scene_{number:06d}.jpg"]
        x, y, width, height = np.array([box for box, _ in cars]).T
        np.testing.assert_allclose(np.stack([x, y, x + width, y + height], axis=1), image.boxes, atol=1e-6)
        np.testing.assert_allclose([np.reshape(points, (8, 3)) for _, points in cars], image.keypoints, atol=1e-6)


def test_boxes_bound_the_visible_points_and_tires_are_dark(rendered: list[Rendered]) -> None:
    tires = 0
    for image in rendered:
        gray = cv2.cvtColor(image.image, cv2.COLOR_RGB2GRAY).astype(np.float64)
        height, width = gray.shape
        for box, points in zip(image.boxes, image.keypoints, strict=True):
            x1, y1, x2, y2 = box
            assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
            visible = points[points[:, 2] == 2]
            assert (visible[:, :2] >= box[:2] - 0.01).all() and (visible[:, :2] <= box[2:] + 0.01).all()
            car = gray[int(y1) : int(y2), int(x1) : int(x2)]
            reach = 0.07 * max(x2 - x1, y2 - y1)
            for x, y, visibility in points[TIRES]:
                if visibility == 2:
                    rows = slice(int(max(y - reach, 0)), int(y + reach) + 1)
                    around = gray[rows, int(max(x - reach, 0)) : int(x + reach) + 1]
                    assert np.percentile(around, 10) < 0.85 * np.median(car)
                    tires += 1
    assert tires >= IMAGES


def test_a_box_is_as_large_as_the_drawn_pixels() -> None:
    for number in range(3):
        scene = sample_scene(np.random.default_rng(number), SIZE)
        for one in scene.cars:
            shape = one.faces()
            alone = view(scene.camera, shape, np.zeros(len(shape.corners), dtype=np.int64))
            rows, columns = np.nonzero(alone.seen >= 0)
            drawn = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / SCALE
            box = alone.box(0, SIZE)
            # A sub-pixel counts as drawn if a face touches it.
            assert box is not None and np.abs(box - drawn).max() < 1.5 / SCALE


def test_an_image_depends_on_seed_and_number_alone(rendered: list[Rendered]) -> None:
    again, other = render(SEED, 1), render(SEED + 1, 1)
    np.testing.assert_array_equal(again.image, rendered[1].image)
    np.testing.assert_array_equal(again.keypoints, rendered[1].keypoints)
    assert not np.array_equal(other.image, rendered[1].image)


def test_labels_as_predictions_score_1_and_a_missed_car_counts(labeled: Path, tmp_path: Path) -> None:
    truth = write_truth(labeled)
    posetools("convert", labeled, "--val", "0", "--out", tmp_path / "data")
    cars = json.loads(truth.read_text(encoding="utf-8"))["annotations"]
    converted = json.loads(ann_file(tmp_path / "data", "train").read_text(encoding="utf-8"))["annotations"]
    for own, other in zip(cars, converted, strict=True):
        assert own["image_id"] == other["image_id"]
        assert own["num_keypoints"] == other["num_keypoints"]
        np.testing.assert_allclose(own["keypoints"] + own["bbox"], other["keypoints"] + other["bbox"], atol=1e-6)
    perfect = [
        {**{key: car[key] for key in ("image_id", "category_id", "bbox", "keypoints")}, "score": 0.9} for car in cars
    ]
    assert scores(truth, perfect) == pytest.approx((1.0, 1.0, 1.0, 1.0))
    visible = [sum(v == 2 for v in car["keypoints"][2::3]) for car in cars]
    assert scores(truth, perfect[1:])[3] == pytest.approx(sum(visible[1:]) / sum(visible))
