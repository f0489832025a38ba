"""examples/kitti: 3-D boxes projected to the keypoints of a car, compared with projections calculated by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.plugins.site import ROOT, install, posetools

# 700 px focal length; the middle of the image is at (320, 200).
P2 = "P2: 700 0 320 0 0 700 200 0 0 0 1 0"
# type, truncated, occluded, alpha, box, height, width, length, x, y, z, turn: 1.5 m high, 2 m wide, 4 m long.
AWAY = "Car 0 0 0 280 190 360 260 1.5 2 4 0 1.6 20 -1.5707963267948966"
TO_THE_RIGHT = "Car 0 0 0 300 180 600 280 1.5 2 4 4 1.6 16 0"
BEHIND = "Car 0.5 0 0 1 100 639 399 1.5 2 4 0 0.8 1.5 -1.5707963267948966"


@pytest.fixture(scope="module")
def cars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("kitti")
    install(ROOT / "examples/kitti", home / "site")
    for name in ("label_2", "calib", "image_2"):
        (home / "training" / name).mkdir(parents=True)
    lines = {
        "000000": AWAY,
        "000001": f"{TO_THE_RIGHT}\nPedestrian 0 0 0 1 1 9 9 1.8 1 1 0 1.6 9 0\nDontCare",
        "000002": BEHIND,
    }
    for number, (name, text) in enumerate(lines.items()):
        (home / f"training/label_2/{name}.txt").write_text(f"{text}\n", encoding="utf-8")
        (home / f"training/calib/{name}.txt").write_text(f"P0: 1\n{P2}\n", encoding="utf-8")
        Image.new("RGB", (640, 400), (80 * number, 90, 120)).save(home / f"training/image_2/{name}.png")
    done = posetools(home / "site", "convert", "training", "--out", "cars", "--val", "0.34", cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "W323" in done.stdout and "{'Pedestrian': 1}" in done.stdout
    return home / "cars"


def points_of(cars: Path, name: str) -> dict[str, tuple[float, ...]]:
    for split in ("train", "val"):
        document = json.loads((cars / f"{split}_coco.json").read_bytes())
        names = document["categories"][0]["keypoints"]
        for image in document["images"]:
            if image["file_name"] == f"image_2/{name}.png":
                (one,) = (each for each in document["annotations"] if each["image_id"] == image["id"])
                values = one["keypoints"]
                return {part: tuple(values[3 * i : 3 * i + 3]) for i, part in enumerate(names)}
    raise AssertionError(name)


def test_a_car_that_drives_away_shows_its_rear(cars: Path) -> None:
    points = points_of(cars, "000000")
    # 2 m nearer than its center: at (-0.94, 1.6 - 0.345, 18).
    assert points["left-rear-bumper"] == pytest.approx((320 - 700 * 0.94 / 18, 200 + 700 * 1.255 / 18, 2))
    assert points["right-rear-bumper"] == pytest.approx((320 + 700 * 0.94 / 18, 200 + 700 * 1.255 / 18, 2))
    # At (-1, 1.6 - 0.315, 21.28): its side is not seen from straight behind.
    assert points["left-front-tire"] == pytest.approx((320 - 700 / 21.28, 200 + 700 * 1.285 / 21.28, 1))
    assert {name for name, (_, _, seen) in points.items() if seen == 2} == {"left-rear-bumper", "right-rear-bumper"}


def test_a_car_that_drives_to_the_right_shows_its_right_side(cars: Path) -> None:
    points = points_of(cars, "000001")
    # Right of the camera, so its rear is seen, too. The front right tire is at (5.28, 1.285, 15).
    assert points["right-front-tire"] == pytest.approx((320 + 700 * 5.28 / 15, 200 + 700 * 1.285 / 15, 2))
    seen = {name for name, (_, _, visibility) in points.items() if visibility == 2}
    assert seen == {
        "right-front-tire", "right-rear-tire", "right-front-bumper", "right-rear-bumper", "left-rear-bumper"
    }  # fmt: skip


def test_points_behind_the_camera_and_outside_the_image_are_not_labeled(cars: Path) -> None:
    points = points_of(cars, "000002")
    # The rear bumper is 0.5 m behind the camera; the rear tires are 0.22 m in front of it, far outside the image.
    labeled = {name for name, (_, _, visibility) in points.items() if visibility}
    assert labeled == {f"{side}-front-{part}" for side in ("left", "right") for part in ("bumper", "tire")}
    assert not any(points["left-rear-tire"])
    assert points["left-front-bumper"][:2] == pytest.approx((320 - 700 * 0.94 / 3.5, 200 + 700 * 0.455 / 3.5))


def test_the_data_set_is_valid_and_has_the_skeleton_of_cars(cars: Path) -> None:
    report = cars.parent / "report.json"
    done = posetools(cars.parent / "site", "validate", cars, "--json", report)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(report.read_bytes())
    assert (document["skeleton"], document["errors"]) == ("car8", 0)


def test_the_plug_in_is_short() -> None:
    assert len((ROOT / "examples/kitti/posetools_kitti.py").read_text(encoding="utf-8").splitlines()) <= 100
