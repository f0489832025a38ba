from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.core.categories import Categories
from posetools.core.skeleton import load_skeleton
from posetools.errors import InputError, PosetoolsError, RequestError
from posetools.recipes.facts import SplitFacts, read_facts
from tests.recipes.sample import write_coco

CAR8 = load_skeleton("car8")


def test_images_objects_and_negatives_are_counted(tmp_path: Path) -> None:
    facts = read_facts(write_coco(tmp_path, train=5, val=3, empty=2), Categories.of(CAR8))
    assert facts.train == SplitFacts(images=5, negatives=2, objects=6, posed=6)
    assert facts.val == SplitFacts(images=3, negatives=0, objects=6, posed=6)


def test_crowds_and_objects_without_keypoints_are_not_for_rtmpose(tmp_path: Path) -> None:
    def mutate(document: dict[str, Any]) -> None:
        document["annotations"][0]["iscrowd"] = 1
        document["annotations"][1]["num_keypoints"] = 0

    facts = read_facts(_changed(tmp_path, mutate), Categories.of(CAR8))
    assert (facts.train.objects, facts.train.posed) == (8, 6)


def _changed(folder: Path, mutate: Callable[[dict[str, Any]], object]) -> Path:
    path = write_coco(folder) / "train_coco.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    mutate(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    return folder


def test_sizes_and_visibility_are_measured_and_crowds_left_out(tmp_path: Path) -> None:
    boxes = [[0, 0, 10, 10], [0, 0, 40, 10], [5, 5, 90, 40], [0, 0, 100, 50]]

    def mutate(document: dict[str, Any]) -> None:
        document["images"][0].update(width=200, height=100)
        document["images"][1].update(width=200, height=100)
        document["images"][2].update(width=100, height=200)
        document["images"] = document["images"][:3]
        document["annotations"] = document["annotations"][:4]
        for index, (entry, bbox) in enumerate(zip(document["annotations"], boxes, strict=True)):
            visible = [0, 0, 2] * 3 + [0, 0, 1] * 1 + [0, 0, 0] * 4
            entry.update(bbox=bbox, image_id=1 + index % 3, keypoints=visible, num_keypoints=4)
        document["annotations"][3].update(iscrowd=1)

    shapes = read_facts(_changed(tmp_path, mutate), Categories.of(CAR8)).shapes
    sides = np.sqrt([100.0, 400.0, 3600.0])
    assert (shapes.width, shapes.height, shapes.aspect) == (200, 100, 2)
    assert shapes.portrait == pytest.approx(1 / 3)
    assert shapes.side == pytest.approx(tuple(np.percentile(sides, (10, 50, 90))))
    assert shapes.relative_side == pytest.approx(np.percentile(sides / 200, 10))
    assert shapes.small == pytest.approx(2 / 3)
    assert (shapes.box_long, shapes.box_aspect) == pytest.approx((40, 2.25))
    assert shapes.points == pytest.approx((3, 1, 4))
    assert "images 200 x 100" in str(shapes)
    assert "67 % of them below 32 px" in str(shapes)
    assert "3.0 visible, 1.0 occluded, 4.0 not labeled" in str(shapes)


@pytest.mark.parametrize(
    ("mutate", "place", "problem"),
    [
        (lambda d: d["images"][2].pop("width"), "images[2] (id 3)", "width and height must be numbers"),
        (lambda d: d["images"][2].update(height=0), "images[2] (id 3)", "the sizes above 0"),
        (lambda d: d["annotations"][1].update(bbox=[0, 0, 5]), "annotations[1] (id 2)", "bbox must be numbers"),
        (lambda d: d["annotations"][1].update(bbox=None), "annotations[1] (id 2)", "bbox must be numbers"),
        (lambda d: d["annotations"][1].update(bbox=[0, 0, 5, 0]), "annotations[1] (id 2)", "the sizes above 0"),
        (lambda d: d["annotations"][1].update(image_id=77), "annotations[1].image_id", "must be the id of an image"),
        (lambda d: d["annotations"][1].update(keypoints=3), "annotations", "keypoints must be lists of numbers"),
    ],
)
def test_what_cannot_be_measured_is_named(
    tmp_path: Path, mutate: Callable[[dict[str, Any]], object], place: str, problem: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_facts(_changed(tmp_path, mutate), Categories.of(CAR8))
    assert f"train_coco.json: {place}: " in str(caught.value)
    assert problem in str(caught.value)
    assert "posetools validate" in str(caught.value)


@pytest.mark.parametrize(
    ("mutate", "error", "parts"),
    [
        (lambda d: d.pop("images"), InputError, ["images must be a list of objects", "got None", "validate"]),
        (lambda d: d.update(annotations=[1]), InputError, ["annotations must be a list of objects", "got [1]"]),
        (
            lambda d: d["categories"][0].update(name="Car"),
            InputError,
            ["categories must be one with the name 'car'", "got ['Car']", "--skeleton"],
        ),
        (
            lambda d: d["categories"][0]["keypoints"].pop(),
            InputError,
            ["categories[0].keypoints: keypoints must be the 8 names of skeleton car8", "got ['left-front", "--skel"],
        ),
        (
            lambda d: d.update(annotations=[]),
            RequestError,
            ["must have images and objects with labeled keypoints, got 4 images and 0 such objects"],
        ),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    tmp_path: Path, mutate: Callable[[dict[str, Any]], object], error: type[PosetoolsError], parts: list[str]
) -> None:
    folder = _changed(tmp_path, mutate)
    with pytest.raises(error) as caught:
        read_facts(folder, Categories.of(CAR8))
    assert str(caught.value).startswith(f"{folder / 'train_coco.json'}: ")
    for part in parts:
        assert part in str(caught.value)


def test_both_splits_have_to_be_there(tmp_path: Path) -> None:
    (write_coco(tmp_path) / "val_coco.json").unlink()
    with pytest.raises(RequestError, match=r"val_coco\.json: must exist.*\n.*posetools split"):
        read_facts(tmp_path, Categories.of(CAR8))
    with pytest.raises(RequestError, match="must be a data set folder, but does not exist"):
        read_facts(tmp_path / "nowhere", Categories.of(CAR8))
