"""--keep-going leaves out images with an unreadable object: none becomes a negative, or loses a car."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from tests.build import make_dataset
from tests.cli.run import run
from tests.converting import write_source

IMAGES = [f"{name}.png" for name in "abcdef"]


def in_text(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def labelme(source: Path) -> None:
    in_text(source / "c.json", '"car"', '"lorry"')


def yolo(source: Path) -> None:
    path = source / "labels/train/c.txt"
    path.write_text(path.read_text().replace("0 0.", "0 7.", 1))


def coco(source: Path) -> None:
    path = source / "train_coco.json"
    document = json.loads(path.read_text())
    wrong = next(image["id"] for image in document["images"] if image["file_name"] == "c.png")
    next(each for each in document["annotations"] if each["image_id"] == wrong)["keypoints"] = [1, 2, 3]
    path.write_text(json.dumps(document))


def cvat(source: Path) -> None:
    text = (source / "annotations.xml").read_text(encoding="utf-8")
    head, name, tail = text.partition("c.png")
    (source / "annotations.xml").write_text(head + name + tail.replace("car-box", "lorry", 1), encoding="utf-8")


def via(source: Path) -> None:
    path = next(source.glob("*.json"))
    document = json.loads(path.read_text())
    entry = next(each for each in document["_via_img_metadata"].values() if each["filename"] == "c.png")
    entry["regions"][0]["shape_attributes"] = {"name": "rect", "x": "?", "y": 1, "width": 5, "height": 5}
    path.write_text(json.dumps(document))


CASES: dict[str, Callable[[Path], None]] = {
    "labelme": labelme,
    "yolo-pose": yolo,
    "coco": coco,
    "cvat": cvat,
    "via": via,
}


@pytest.mark.parametrize("name", CASES)
def test_images_with_an_object_that_cannot_be_read_are_left_out(tmp_path: Path, name: str) -> None:
    dataset = make_dataset(tmp_path / "images", images=IMAGES, per_image=2)
    source, out = write_source(tmp_path / "source", name, {"train": dataset}), tmp_path / "out"
    CASES[name](source)
    arguments = ("convert", source, "--out", out, "--from", name, "--skeleton", "car8")
    refused = run(*arguments)
    assert refused.status == 1 and not out.exists(), refused.out
    assert "E116" not in refused.out
    done = run(*arguments, "--keep-going")
    assert done.status == 1
    assert "left out: 1 image with unreadable objects" in done.words
    read = [COCO(out / f"{split}_coco.json") for split in ("train", "val")]
    kept = {image["file_name"] for each in read for image in each.dataset["images"]}
    assert kept == set(IMAGES) - {"c.png"}
    assert {path.name for path in (out / "images").rglob("*.png")} == kept
    assert sum(len(each.dataset["annotations"]) for each in read) == 2 * len(kept)
