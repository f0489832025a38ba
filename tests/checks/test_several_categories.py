"""``validate`` on a data set of two categories with different skeletons: cars with 8 keypoints, cones with 3."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from posetools.checks.validate import validate
from posetools.core.categories import Categories, dump_categories
from posetools.core.findings import Finding
from posetools.core.skeleton import Category, Skeleton
from tests.cli.run import run
from tests.coco_sample import Document, edit
from tests.street import CAR, CONE, STREET, write_street

TRAIN, VAL = "train_coco.json", "val_coco.json"
VAN = CAR.model_copy(update={"category": Category(name="van", id=7)})
SIGN = Skeleton.model_validate({"name": "sign", "category": {"name": "sign", "id": 9}, "keypoints": []})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_street(tmp_path_factory.mktemp("street") / "set", images=4)


@pytest.fixture
def street(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "set"))


def of(document: Document, category: int) -> list[Document]:
    return [entry for entry in document["annotations"] if entry["category_id"] == category]


def found(street: Path, change: Callable[[Document], object]) -> list[Finding]:
    """Return what a change of the training labels adds to the two warnings of a small set."""
    edit(street / TRAIN, change)
    findings = validate(street).findings
    return [finding for finding in findings if finding.code != "W211"]


def test_each_category_is_counted_and_judged_by_its_own_skeleton(street: Path, tmp_path: Path) -> None:
    done = run("validate", street, "--json", tmp_path / "report.json")
    assert done.status == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["counts"] == {"W211": 2}
    assert [finding["message"].split(" must")[0] for finding in report["findings"]] == [
        "objects of 'car' with labeled keypoints",
        "objects of 'cone' with labeled keypoints",
    ]
    labels = COCO(str(street / TRAIN))
    train = report["splits"][0]
    for entry in train["categories"]:
        (number,) = labels.getCatIds([entry["name"]])
        mine = labels.loadAnns(labels.getAnnIds(catIds=[number]))
        visible = sum(value == 2 for one in mine for value in one["keypoints"][2::3])
        assert (entry["images"], entry["instances"]) == (len(labels.getImgIds(catIds=[number])), len(mine))
        assert entry["keypoints"]["visible"] == visible
        row = f"│ {entry['name']} │ {entry['images']} │ {entry['instances']} │ {visible} │"
        assert row in done.words
    assert train["keypoints"]["not_labelled"] == sum(e["keypoints"]["not_labelled"] for e in train["categories"])
    assert "geometry not checked: skeleton cone has no template" in done.words
    assert "mirrored labels of 'cone' not checked" in done.words


def test_a_mirrored_car_and_a_stray_tip_are_found_by_their_own_rules(street: Path) -> None:
    def spoil(document: Document) -> None:
        car = next(entry for entry in of(document, 1) if entry["num_keypoints"] == 8)
        car["keypoints"] = car["keypoints"][12:] + car["keypoints"][:12]
        of(document, 4)[1]["keypoints"][0] += 90

    mirrored, stray = sorted(found(street, spoil), key=lambda one: one.code, reverse=True)
    assert (mirrored.code, stray.code, stray.keypoints) == ("W215", "W202", ("tip",))
    assert mirrored.message.startswith("the names must fit a rigid car")


def test_an_object_needs_the_keypoints_of_its_own_category(street: Path) -> None:
    (finding,) = found(street, lambda d: of(d, 4)[0].update(keypoints=[0] * 24, num_keypoints=0))
    assert finding.code == "E106"
    assert finding.message == "keypoints must be 3K = 9 numbers for the 3 keypoints of skeleton cone, got 24"


def test_an_object_labeled_as_two_categories(street: Path) -> None:
    def twice(document: Document) -> None:
        cone = of(document, 4)[0]
        document["annotations"].append({**cone, "id": 999, "category_id": 1, "keypoints": [0] * 24, "num_keypoints": 0})

    (finding,) = found(street, twice)
    assert finding.code == "W205"
    assert finding.message.startswith("the object must have one category, got 'cone' in annotations[")
    assert finding.message.endswith(" and 'car' here (IoU 1.000)")
    assert finding.hint == "remove the one with the wrong category"


def test_a_rare_keypoint_and_a_lack_of_occluded_ones_name_their_category(street: Path) -> None:
    def unlabel(document: Document) -> None:
        for cone in of(document, 4):
            cone["keypoints"][5:9] = [2, 0, 0, 0]
            cone["num_keypoints"] = 2

    edit(street / VAL, unlabel)
    # In the validation split it is rare too.
    _, rare, never_hidden = sorted(found(street, unlabel), key=lambda one: (one.code, one.file), reverse=True)
    assert rare.place == "keypoint right-foot of 'cone'"
    assert rare.message.startswith("right-foot of 'cone' must be labeled in at least 5% of the objects with keypoints")
    assert never_hidden.message.startswith("visibility of 'cone' must be 1 for labeled but occluded points")


def test_categories_that_are_missing_unknown_or_in_another_order(street: Path) -> None:
    def messages(change: Callable[[Document], object]) -> set[str]:
        before = (street / TRAIN).read_text()
        findings = [one for one in found(street, change) if one.code == "E111"]
        (street / TRAIN).write_text(before)
        return {one.message for one in findings}

    turned = messages(lambda d: d["categories"].reverse())
    assert turned == {"categories must be in the order of the data set: car, cone, got ['cone', 'car']"}
    lacking = messages(lambda d: d.update(categories=d["categories"][:1], annotations=of(d, 1)))
    assert lacking == {"categories must be a list with the category 'cone' of skeleton cone, got ['car']"}
    more = messages(lambda d: d["categories"].append({"id": 6, "name": "bus"}))
    assert more == {"name must be 'car' or 'cone', the categories of the data set, got 'bus'"}
    other = messages(lambda d: (d["categories"][1].update(id=5), [one.update(category_id=5) for one in of(d, 4)]))
    assert other == {"id must be 4, the category id of skeleton cone, got 5"}


def test_categories_with_a_shared_skeleton_and_one_of_boxes_only(street: Path) -> None:
    (street / "skeleton.yaml").write_text(dump_categories(Categories((CAR, VAN, CONE, SIGN))))

    def change(document: Document) -> None:
        car, cone = document["categories"]
        document["categories"] = [car, {**car, "id": 7, "name": "van"}, cone, {"id": 9, "name": "sign"}]
        of(document, 1)[0]["category_id"] = 7
        sign = {**of(document, 4)[0], "bbox": [5, 5, 30, 40], "keypoints": [], "num_keypoints": 0}
        document["annotations"].append({**sign, "id": 999, "category_id": 9})

    edit(street / VAL, change)
    assert found(street, change) == []
    counts = validate(street).categories["train"]
    assert [(name, counts[name].instances) for name in ("van", "sign")] == [("van", 1), ("sign", 1)]
    assert counts["sign"].keypoints == (0, 0, 0)
    few = [one.message for one in validate(street).findings]
    assert [message.split(" with")[0] for message in few] == ["objects of 'car' or 'van'", "objects of 'cone'"]
    (finding,) = found(street, lambda d: d["annotations"][-1].update(keypoints=[1, 1, 2], num_keypoints=1))
    assert finding.message == "keypoints must be an empty list, as skeleton sign has no keypoints, got 3"


def test_fix_repairs_objects_of_both_categories(street: Path) -> None:
    def spoil(document: Document) -> None:
        of(document, 1)[0]["area"] = 0
        of(document, 4)[0]["num_keypoints"] = 9

    edit(street / TRAIN, spoil)
    assert "errors: 2, warnings: 2; --fix fixes 2" in run("validate", street).words
    assert run("validate", street, "--fix").status == 0
    assert dict(validate(street, skeleton=STREET).images) == {"train": 4, "val": 1}
    document = json.loads((street / TRAIN).read_text())
    width, height = of(document, 1)[0]["bbox"][2:]
    assert of(document, 1)[0]["area"] == pytest.approx(width * height)
    assert of(document, 4)[0]["num_keypoints"] == 3
