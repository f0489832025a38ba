"""A finding is fixable if the repair of the whole file fixes it, though only entries with findings are tried."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from posetools.checks.validate import validate
from posetools.core.categories import Categories
from posetools.core.findings import Finding
from posetools.core.skeleton import load_skeleton
from posetools.formats.coco import repair as coco_repair
from posetools.formats.coco.repair import prepare
from posetools.formats.options import ReadOptions
from tests.cli.run import run
from tests.coco_sample import write_sample

CAR8 = load_skeleton("car8")
MISTAKES: dict[str, list[Any]] = {
    "area": [None, 1, 0.5, "x", -3, float("nan")],
    "num_keypoints": [None, 0, 99, 2**70, "2", True],
    "iscrowd": [None, 2, "0"],
    "bbox": [[-20, -20, 90, 90], [300, 200, 90, 90], [400, 400, 5, 5], [1, 2, 3], [1, 2, 0, 4], [5000, 1, 3, 3]],
    "keypoints": [[1, 2, 2], [1] * 24, [0] * 23 + ["x"], [0.0] * 23 + [float("nan")], "x"],
}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("fixable") / "cars"
    write_sample(folder)
    content: dict[str, Any] = json.loads((folder / "train_coco.json").read_text())
    return content


@pytest.mark.parametrize("number", range(60))
def test_fixable_is_what_fix_mends(tmp_path: Path, document: dict[str, Any], number: int) -> None:
    rng = random.Random(number)
    content = json.loads(json.dumps(document))
    for annotation in rng.sample(content["annotations"], rng.randint(1, 3)):
        for key in rng.sample(sorted(MISTAKES), rng.randint(1, 2)):
            value = rng.choice(MISTAKES[key])
            annotation.update({key: value})
            if value is None:
                del annotation[key]
    if rng.random() < 0.3:
        content["categories"][0]["skeleton"] = [[a - 1, b - 1] for a, b in content["categories"][0]["skeleton"]]
    if rng.random() < 0.3:
        # Still the size that a box is clipped to.
        content["images"][0]["file_name"] = 3
    if rng.random() < 0.1:
        del content["categories"]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    findings = validate(path, skeleton=CAR8, images=False).findings
    repaired = {(done.code, done.place) for done in coco_repair.repair(content)[1]}
    assert {_key(one) for one in findings if one.fixable} == {_key(one) for one in findings} & repaired


@pytest.mark.parametrize("images", [None, 2**31, "x", {}, ...])
def test_without_a_list_of_images(tmp_path: Path, document: dict[str, Any], images: object) -> None:
    content = json.loads(json.dumps(document))
    del content["images"], content["annotations"][1]["area"]
    if images is not ...:
        content["images"] = images
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    findings = validate(path, skeleton=CAR8, images=False).findings
    repaired = {(done.code, done.place) for done in coco_repair.repair(content)[1]}
    assert repaired and {_key(one) for one in findings if one.fixable} == repaired
    assert any("images" in f"{one.place} {one.message}" for one in findings)


@pytest.mark.parametrize("width", [0, 1_000_001, 2**63, 10**400], ids=["zero", "large", "larger", "no float"])
def test_no_box_is_cut_to_an_image_of_no_size(tmp_path: Path, document: dict[str, Any], width: int) -> None:
    content = json.loads(json.dumps(document))
    first = content["annotations"][0]
    first["bbox"] = [-20, -20, 90, 90]
    assert "W201" in {done.code for done in coco_repair.repair(content)[1]}
    for image in content["images"]:
        image["width"] = width
    assert "W201" not in {done.code for done in coco_repair.repair(content)[1]}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    findings = validate(path, skeleton=CAR8, images=False).findings
    assert any(one.place.startswith("images[0]") and "width" in one.message for one in findings), findings


def _key(finding: Finding) -> tuple[str, str]:
    return finding.code, finding.place


@pytest.mark.parametrize("wrong", [5, 3, -1, 1.5, 500])
@pytest.mark.parametrize("said", [8, 0, None])
def test_a_visibility_that_is_none_is_not_counted_as_labeled(tmp_path: Path, wrong: float, said: int | None) -> None:
    write_sample(tmp_path / "cars")
    path = tmp_path / "cars/train_coco.json"
    document = json.loads(path.read_text())
    entry = document["annotations"][0]
    entry["keypoints"] = [10, 10, wrong, *[20, 20, 2] * 3, *[30, 30, 1] * 2, *[0, 0, 0] * 2]
    entry["num_keypoints"] = said
    if said is None:
        del entry["num_keypoints"]
    path.write_text(json.dumps(document))
    done = run("validate", tmp_path / "cars", "--fix")
    assert done.status == 1 and "must be 0, 1 or 2" in done.words
    assert "num_keypoints set to 5" in done.words
    fixed = json.loads(path.read_text())["annotations"][0]
    assert fixed["num_keypoints"] == 5 and fixed["keypoints"] == entry["keypoints"]
    # Nothing is left to fix, and the only finding is the visibility.
    again = run("validate", tmp_path / "cars", "--fix")
    assert "num_keypoints" not in again.words and "E107" in again.out and "E105" not in again.out


def test_a_box_is_not_made_from_points_of_a_visibility_that_is_none() -> None:
    entry = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 1, 5, 20, 20, 2, 30, 40, 1, *[0, 0, 0] * 5]}
    image = {"id": 1, "file_name": "a.jpg", "width": 100, "height": 100}
    document = {"images": [image], "annotations": [entry], "categories": []}
    options = ReadOptions(box_from="keypoints", box_margin=0.0)
    prepared = prepare(document, Categories.of(CAR8), options)
    assert prepared.document["annotations"][0]["bbox"] == [20, 20, 10, 20]
