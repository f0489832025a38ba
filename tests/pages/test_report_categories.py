"""The page of ``validate --report`` for two categories with different skeletons."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from posetools.checks.validate import validate
from posetools.pages.validation.crops import Cropper
from tests.cli.run import run
from tests.coco_sample import Document, edit
from tests.pages.test_report import Page, check_links
from tests.street import CAR, CONE, write_street

TRAIN = "train_coco.json"


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set with enough objects for outliers; a cone has a stray tip, and one has a box only."""
    folder = write_street(tmp_path_factory.mktemp("street") / "set", images=21)

    def spoil(document: Document) -> None:
        cones = [entry for entry in document["annotations"] if entry["category_id"] == 4]
        cones[1]["keypoints"][1] -= 70
        cones[2]["keypoints"] = 3
        cones[3]["bbox"][3] = 3

    edit(folder / TRAIN, spoil)
    return folder


def test_the_page_has_tables_charts_and_outliers_of_each_skeleton(street: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    assert run("validate", street, "--report", target).status == 1
    page = Page(target)
    check_links(page)
    assert "Skeletons car8, cone" in page.text
    for names in ("car", "cone"):
        assert page.of("div", **{"aria-label": f"keypoints of {names}"})
        for title in ("Boxes", "Places of each keypoint in its box"):
            assert f"{names} : {title}" in page.text
    labels = json.loads((street / TRAIN).read_text())["annotations"]
    for number, name in ((1, "car"), (4, "cone")):
        valid = [entry for entry in labels if entry["keypoints"] != 3]
        objects = sum(entry["category_id"] == number for entry in valid)
        assert f"train : {name} " in page.text
        assert f" {objects} " in page.text.split(f"train : {name} ")[1][:15]
    maps = page.of("svg", **{"class": "heat"})
    assert len(maps) == len(CAR.names) + len(CONE.names)
    assert "cone : Outliers of these charts" in page.text


def test_a_crop_of_a_cone_is_the_one_of_a_set_of_cones_alone(street: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copytree(street, tmp_path / "cones"))

    def only_cones(document: Document) -> None:
        document["annotations"] = [entry for entry in document["annotations"] if entry["category_id"] == 4]
        document["categories"] = [{**document["categories"][1], "id": 1}]

    for name in (TRAIN, "val_coco.json"):
        edit(alone / name, only_cones)
    crops = []
    for folder, skeleton in ((street, None), (alone, CONE)):
        report = validate(folder, skeleton=skeleton)
        cropper = Cropper(report.checked)
        stray, broken = (
            next(each for each in report.findings if each.code == code and each.place.startswith("annotations"))
            for code in ("W202", "E102")
        )
        crops.append([crop.uri for each in (stray, broken) for crop in cropper.crops(each)])
    assert len(crops[0]) == 2
    assert crops[0] == crops[1]
