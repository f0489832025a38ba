from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from posetools.checks.validate import ValidationReport, validate
from posetools.core.findings import RULES, Finding
from posetools.core.skeleton import load_skeleton
from posetools.errors import InputError
from posetools.formats.coco import format as coco
from tests.build import make_image
from tests.coco_sample import Document, edit, write_sample

CAR8 = load_skeleton("car8")
TRAIN, VAL = "train_coco.json", "val_coco.json"
# tests/checks/test_geometry.py has them, tests/checks/test_sides.py the last.
GEOMETRY = {"W215", "W216", "W217", "W218", "W219", "W222"}
# Codes that validate never gives: E127 is of reading, a skeleton that breaks E131 or E132 cannot be loaded, and E133 is
# of configs. W220 and W221 are given when asked for (--near-duplicates): tests/checks/test_near.py has them,
# tests/datasets/test_declared_splits.py has W223, and tests/checks/test_folds.py has E118.
NOT_OURS = {"E118", "E127", "E131", "E132", "E133", "W220", "W221", "W223", *GEOMETRY}

Change = Callable[[Document], object]


def check(folder: Path, **options: Any) -> ValidationReport:
    return validate(folder, skeleton=CAR8, **options)


def beyond(report: ValidationReport) -> list[Finding]:
    """Return the findings, without the one of every data set of four objects."""
    return [finding for finding in report.findings if finding.code != "W211"]


@pytest.fixture
def cars(tmp_path: Path) -> Path:
    write_sample(tmp_path / "cars")
    return tmp_path / "cars"


def test_a_sound_set_has_only_the_warning_of_a_small_one(cars: Path) -> None:
    report = check(cars)
    (finding,) = report.findings
    assert (finding.code, finding.file, finding.place) == ("W211", str(cars / TRAIN), "annotations")
    assert "must be at least 1600" in finding.message
    assert finding.message.endswith("got 4")
    assert report.ok()
    assert not report.ok(strict=True)
    assert report.splits == ("train", "val")
    assert report.images == {"train": 2, "val": 1}
    assert report.instances == {"train": 4, "val": 2}
    assert report.keypoints == {"train": (6, 8, 18), "val": (3, 4, 9)}


class Case(NamedTuple):
    """One change of a valid data set, and the one finding it must cause."""

    change: Change
    code: str
    place: str
    parts: tuple[str, ...]
    hint: str = ""
    fixable: bool = False
    file: str = TRAIN


SECOND = "annotations[1] (id 2)"
CATEGORY = "categories[0] (id 1, car)"
IMAGE = "images[0] (id 1, a.jpg)"


def of(**values: Any) -> Change:
    """Change the second annotation."""
    return lambda d: d["annotations"][1].update(values)


def without(key: str) -> Change:
    return lambda d: d["annotations"][1].pop(key)


def image(**values: Any) -> Change:
    return lambda d: d["images"][0].update(values)


def category(**values: Any) -> Change:
    return lambda d: d["categories"][0].update(values)


def point(index: int, *values: float) -> Change:
    """Change x, y and visibility of one keypoint of the second annotation, and count again."""

    def change(document: Document) -> None:
        annotation = document["annotations"][1]
        annotation["keypoints"][3 * index : 3 * index + 3] = values
        annotation["num_keypoints"] = sum(v > 0 for v in annotation["keypoints"][2::3])

    return change


def all_points(change: Callable[[int, int], int]) -> Change:
    """Change the visibility of every keypoint, given its index and its visibility, and count again."""

    def apply(document: Document) -> None:
        for annotation in document["annotations"]:
            values = annotation["keypoints"]
            values[2::3] = [change(i, v) for i, v in enumerate(values[2::3])]
            for i, v in enumerate(values[2::3]):
                values[3 * i : 3 * i + 2] = values[3 * i : 3 * i + 2] if v else [0, 0]
            annotation["num_keypoints"] = sum(v > 0 for v in values[2::3])

    return apply


def copy_of_first(document: Document) -> None:
    first = document["annotations"][0]
    document["annotations"].append({**first, "id": 99, "bbox": [11, 20.25, 159, 119.75]})


NAN, INF = float("nan"), float("inf")
NAMES = list(CAR8.names)
CASES: dict[str, Case] = {
    # The models.
    "file": Case(
        lambda d: d.pop("annotations"), "E101", "", ("annotations must be a list, but is missing",), "an object"
    ),
    "bbox missing": Case(without("bbox"), "E101", SECOND, ("bbox must be 4 numbers", "but is missing"), "--box-from"),
    "keypoints missing": Case(without("keypoints"), "E101", SECOND, ("keypoints must be a list of numbers", "missing")),
    "id missing": Case(
        without("id"), "E101", "annotations[1]", ("id must be an integer of at least 0, but is missing",)
    ),
    "list": Case(lambda d: d.update(images=3), "E102", "images", ("images must be a list, got 3",)),
    "entry": Case(lambda d: d["annotations"].__setitem__(1, "x"), "E102", "annotations[1]", ("an object, got 'x'",)),
    "info": Case(lambda d: d.update(info=[]), "E102", "info", ("info must be an object, got []",)),
    "text id": Case(
        of(id="b"), "E102", "annotations[1]", ("id must be an integer", "got 'b'"), "number the entries 1, 2"
    ),
    "bool": Case(of(area=True), "E102", SECOND, ("area must be a number greater than 1", "got True")),
    "text": Case(of(num_keypoints="6"), "E102", SECOND, ("num_keypoints must be the number of", "got '6'")),
    "numbers": Case(of(bbox=[1, 2, 3]), "E102", SECOND, ("bbox must be 4 numbers", "got [1, 2, 3]")),
    "huge": Case(of(bbox=[2e6, 2, 3, 4]), "E102", SECOND, ("bbox[0] must be at most 1000000", "got 2000000.0")),
    "nan": Case(
        of(keypoints=[1, NAN, 2, *[0] * 21]), "E103", SECOND, ("keypoints[1] must be a finite number, got nan",)
    ),
    "infinity": Case(of(area=INF), "E103", SECOND, ("area must be a finite number, got inf",), "JSON has no NaN"),
    "area 1": Case(of(area=1.0), "E104", SECOND, ("area must be a number greater than 1", "got 1.0"), "AP is 0", True),
    "area 0": Case(
        of(area=0), "E104", SECOND, ("area must be a number greater than 1", "got 0"), "AP(M) = AP(L) = -1", True
    ),
    "no area": Case(without("area"), "E104", SECOND, ("area must be a", "but is missing"), "KeyError: 'area'", True),
    "flat area": Case(of(area=1, bbox=[1, 2, 2, 0.5]), "E104", SECOND, ("got 1",), "AP is 0", False),
    "no count": Case(without("num_keypoints"), "E105", SECOND, ("num_keypoints must be", "missing"), "--fix", True),
    "count": Case(of(num_keypoints=8), "E105", SECOND, ("num_keypoints must be 6, the number", "got 8"), "--fix", True),
    "negative count": Case(of(num_keypoints=-1), "E105", SECOND, ("got -1",), "--fix", True),
    "width 0": Case(of(bbox=[1, 2, 0, 4]), "E108", SECOND, ("bbox[2] must be greater than 0, got 0",), "silently drop"),
    "height < 0": Case(of(bbox=[1, 2, 3, -4]), "E108", SECOND, ("bbox[3] must be greater than 0, got -4",)),
    "no iscrowd": Case(without("iscrowd"), "E115", SECOND, ("iscrowd must be 0 or 1, but is missing",), "--fix", True),
    "iscrowd 2": Case(of(iscrowd=2), "E115", SECOND, ("iscrowd must be 0 or 1, got 2",)),
    "empty name": Case(
        image(file_name=""), "E125", "images[0] (id 1)", ("file_name must be a path inside images/", "''")
    ),
    "width": Case(image(width=0), "E123", IMAGE, ("width must be an integer of at least 1 (pixels), got 0",)),
    # Within the file, and against the skeleton.
    "length": Case(of(keypoints=[1, 2, 2] * 7), "E106", SECOND, ("keypoints must be 3K = 24 numbers", "got 21")),
    "visibility": Case(point(2, 210, 60, 3), "E107", SECOND, ("keypoints[8] (visibility of left-front-tire)", "got 3")),
    "annotation id": Case(of(id=1), "E109", "annotations[1] (id 1)", ("id must be unique in annotations", "got 1")),
    "image id": Case(
        lambda d: d["images"].append({**d["images"][0], "file_name": "x.jpg"}),
        "E109",
        "images[2] (id 1, x.jpg)",
        ("id must be unique in images (images[0] (id 1, a.jpg) has it), got 1",),
    ),
    "category id twice": Case(
        lambda d: d["categories"].append({"id": 1, "name": "car"}),
        "E109",
        CATEGORY.replace("0", "1", 1),
        ("unique in cat",),
    ),
    "unknown image": Case(of(image_id=77), "E110", SECOND, ("image_id must be the id of an entry in images, got 77",)),
    "unknown category": Case(
        of(category_id=0), "E111", SECOND, ("category_id must be the id of", "(1), got 0"), "from 1"
    ),
    "0-based": Case(category(id=0), "E111", "categories[0] (id 0, car)", ("id must be 1, the category id of", "got 0")),
    "name": Case(category(name="Car"), "E111", "categories[0] (id 1, Car)", ("name must be 'car'", "got 'Car'")),
    "no category": Case(
        lambda d: d["categories"].clear(), "E111", "categories", ("the category 'car' of skeleton", "got []")
    ),
    "two names": Case(
        lambda d: d["categories"].append({"id": 2, "name": "car"}),
        "E111",
        "categories[1] (id 2, car)",
        ("name must be unique in categories", "got 'car'"),
    ),
    "order": Case(
        category(keypoints=[NAMES[1], NAMES[0], *NAMES[2:]]),
        "E113",
        CATEGORY,
        ("keypoints[0] must be 'left-front-bumper'", "got 'left-rear-bumper'"),
        "--skeleton",
    ),
    "names": Case(category(keypoints=NAMES[:7]), "E113", CATEGORY, ("keypoints must be the 8 names", "got ['left")),
    "no names": Case(category(keypoints=None), "E113", CATEGORY, ("keypoints must be the 8 names", "got None")),
    "0-based edges": Case(
        category(skeleton=[[0, 1], [2, 3], [4, 5], [6, 7]]), "E114", CATEGORY, ("got [[0, 1], [2, 3]",), "1-based", True
    ),
    "other edges": Case(category(skeleton=[[1, 2]]), "E114", CATEGORY, ("skeleton must be the links", "got [[1, 2]]")),
    "no edges": Case(lambda d: d["categories"][0].pop("skeleton"), "E114", CATEGORY, ("got None",)),
    "triple": Case(category(skeleton=[[1, 2, 3]]), "E114", CATEGORY, ("skeleton[0] must be a pair of", "[1, 2, 3]")),
    "id 0": Case(
        of(id=0), "E117", "annotations[1] (id 0)", ("id must be an integer of at least 1, got 0",), "no match"
    ),
    # The splits.
    "categories": Case(
        category(id=2), "E112", "categories", ("those of train_coco.json (2 car), got 1 car",), "", False, VAL
    ),
    "no objects": Case(
        lambda d: d["annotations"].clear(), "E116", "annotations", ("to evaluate on, got []",), "", False, VAL
    ),
    "no images": Case(
        lambda d: d["images"].clear(), "E116", "images", ("images must be a list", "got []"), "", False, VAL
    ),
    # The images.
    "missing": Case(
        image(file_name="x.jpg"), "E121", "images[0] (id 1, x.jpg)", ("an existing image in", "got 'x.jpg'")
    ),
    "size": Case(image(width=321), "E123", IMAGE, ("must be (320, 240), the size of a.jpg, got (321, 240)",)),
    "leaves": Case(
        image(file_name="../a.jpg"), "E125", "images[0] (id 1, ../a.jpg)", ("stays in images/, got '../a.jpg'",)
    ),
    "absolute": Case(
        image(file_name="C:\\a.jpg"), "E125", "images[0] (id 1, C:\\a.jpg)", ("stays in images/, got 'C:",)
    ),
    "same entry": Case(
        lambda d: d["images"].append({**d["images"][0], "id": 9}),
        "W206",
        "images[2] (id 9, a.jpg)",
        ("file must be in one entry only (images[0] (id 1, a.jpg) has it), got 'a.jpg'",),
    ),
    # Plausibility.
    "outside": Case(
        of(bbox=[290, 200, 60, 30]),
        "W201",
        SECOND,
        ("inside the image of 320 x 240, got [290.0, 200.0",),
        "--fix",
        True,
    ),
    "past the corner": Case(of(bbox=[400, 300, 60, 30]), "W201", SECOND, ("got [400.0, 300.0, 60.0, 30.0]",)),
    "wholly outside": Case(of(bbox=[400, 200, 60, 30]), "W201", SECOND, ("got [400.0, 200.0, 60.0, 30.0]",), "", False),
    "far point": Case(point(2, 5, 5, 1), "W202", SECOND, ("left-front-tire must be in the box", "got (5.0, 5.0)")),
    "coordinates": Case(point(1, 9, 9, 0), "W203", SECOND, ("left-rear-bumper must be 0, 0 where", "got (9.0, 9.0)")),
    "origin": Case(point(1, 0, 0, 2), "W204", SECOND, ("left-rear-bumper must be a place in the", "got (0.0, 0.0)")),
    "duplicate": Case(
        copy_of_first, "W205", "annotations[4] (id 99)", ("object than annotations[0] (id 1)", "(IoU) of 0.99")
    ),
    "never": Case(
        all_points(lambda i, v: v * (i != 3)),
        "W209",
        "keypoint left-rear-tire",
        ("left-rear-tire must be labeled in at least 5% of the objects with keypoints, got 0 of 4",),
    ),
    "unused": Case(
        lambda d: d["annotations"].__delitem__(slice(0, 2)), "W210", "images", ("got 1 of 2 without: a.jpg",), "RTMDet"
    ),
    "as categories": Case(
        lambda d: d["categories"].extend({"id": i + 2, "name": n} for i, n in enumerate(NAMES)),
        "W213",
        "categories",
        ("categories must be objects ('car'), not keypoints, got ['left-front-bumper'",),
        "posetools convert LABELME_FOLDER",
    ),
    "thin": Case(
        of(bbox=[230, 50, 0.5, 60]), "W214", SECOND, ("at least 1 pixel wide and high, got [230.0, 50.0, 0.5",)
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_one_change_leads_to_one_finding(cars: Path, name: str) -> None:
    case = CASES[name]
    changed = VAL if case.code == "E116" else TRAIN
    edit(cars / changed, case.change)
    found = [f for f in check(cars).findings if f.code == case.code and f.place == case.place]
    assert len(found) == 1, check(cars).findings
    assert found[0].file == str(cars / case.file)
    for part in case.parts:
        assert part in found[0].message
    assert case.hint in found[0].hint
    assert found[0].fixable is case.fixable


def remove_val(cars: Path) -> None:
    (cars / VAL).unlink()


def truncate(cars: Path) -> None:
    (cars / TRAIN).write_text('{"images": [')


def garble(cars: Path) -> None:
    (cars / "images/a.jpg").write_bytes(b"no image")


def rotate(cars: Path) -> None:
    make_image(cars / "images/a.jpg", (320, 240), orientation=6)


def same_content(cars: Path) -> None:
    shutil.copy(cars / "images/a.jpg", cars / "images/sub/b.png")


def leak(cars: Path) -> None:
    shutil.copy(cars / "images/a.jpg", cars / "images/c.jpg")


def same_name(cars: Path) -> None:
    edit(cars / VAL, image(file_name="a.jpg"))


def no_hidden(cars: Path) -> None:
    for name in (TRAIN, VAL):
        edit(cars / name, all_points(lambda _, v: 2 if v else 0))


def one_size(cars: Path) -> None:
    for name in (TRAIN, VAL):
        edit(cars / name, lambda d: [annotation.update(area=5000) for annotation in d["annotations"]])


FOLDER_CASES: dict[str, tuple[Callable[[Path], None], str, str, str, str]] = {
    "val missing": (remove_val, "E116", VAL, "", "val_coco.json must exist, with images to evaluate on"),
    "truncated": (truncate, "E310", TRAIN, "line 1, column 13", "is not valid JSON"),
    "garbled": (
        garble,
        "E122",
        TRAIN,
        IMAGE,
        "file_name must be an image that can be read, got 'a.jpg' (image cannot",
    ),
    "rotated": (rotate, "E124", TRAIN, IMAGE, "that is the frame before EXIF rotation (orientation 6)"),
    "same content": (
        same_content,
        "W206",
        TRAIN,
        "images[1] (id 2, sub/b.png)",
        "content must be in one entry only",
    ),
    "leak": (
        leak,
        "E126",
        VAL,
        "images[0] (id 3, c.jpg)",
        "one split only (train_coco.json: images[0] (id 1, a.jpg) has",
    ),
    "same name": (
        same_name,
        "E126",
        VAL,
        "images[0] (id 3, a.jpg)",
        "file must be in one split only (train_coco.json:",
    ),
    "no hidden": (
        no_hidden,
        "W208",
        "",
        "",
        "visibility must be 1 for labeled but occluded points, got only",
    ),
    "one size": (
        one_size,
        "W212",
        "",
        "",
        "more than one of COCO's size classes (32^2 and 96^2 apart), got only medium",
    ),
}


@pytest.mark.parametrize("name", FOLDER_CASES)
def test_one_change_of_the_folder_leads_to_one_finding(cars: Path, name: str) -> None:
    change, code, file, place, part = FOLDER_CASES[name]
    change(cars)
    found = [f for f in check(cars).findings if f.code == code]
    assert len(found) == 1, found
    assert (found[0].file, found[0].place) == (str(cars / file) if file else str(cars), place)
    assert part in found[0].message


def test_every_code_of_validate_has_a_case() -> None:
    tried = {case.code for case in CASES.values()} | {code for _, code, *_ in FOLDER_CASES.values()} | {"W211"}
    assert {code for code in RULES if code[1] in "12"} - NOT_OURS <= tried


def test_names_are_checked_without_looking_at_the_images(cars: Path) -> None:
    shutil.rmtree(cars / "images")
    assert beyond(check(cars, images=False)) == []
    same_name(cars)
    assert [f.code for f in beyond(check(cars, images=False))] == ["E126"]
    assert [f.code for f in beyond(check(cars))] == ["E121", "E121", "E126"]


def test_images_that_are_links_are_taken_as_they_are(tmp_path: Path) -> None:
    splits = write_sample(tmp_path / "cars")
    coco.write(splits, tmp_path / "links", "symlink")
    assert beyond(check(tmp_path / "links")) == []


def test_a_broken_object_does_not_hide_what_else_is_wrong(cars: Path) -> None:
    def spoil(document: Document) -> None:
        document["annotations"][0]["bbox"] = None
        document["annotations"][2]["keypoints"] = [1]
        document["images"][1]["height"] = "240"
        point(2, 5, 5, 1)(document)

    edit(cars / TRAIN, spoil)
    found = {(f.code, f.place) for f in beyond(check(cars))}
    expected = {
        ("E102", "annotations[0] (id 1)"),
        ("W202", "annotations[1] (id 2)"),
        ("E106", "annotations[2] (id 3)"),
        ("E102", "images[1] (id 2, sub/b.png)"),
    }
    # With few objects left some keypoints are rare, and the only images with objects left are of one size class.
    assert expected <= found
    assert {code for code, _ in found - expected} <= {"W209", "W212"}


def test_a_broken_entry_leads_to_no_second_finding(cars: Path) -> None:
    edit(cars / TRAIN, category(keypoints=3))
    assert [f.code for f in beyond(check(cars))] == ["E102"]
    edit(cars / TRAIN, lambda d: [annotation.update(bbox=[]) for annotation in d["annotations"][:2]])
    assert {f.code for f in beyond(check(cars))} <= {"E102", "W209"}


def test_images_of_a_wrong_size_are_compared_too(cars: Path) -> None:
    leak(cars)
    edit(cars / VAL, image(width=300))
    assert [f.code for f in beyond(check(cars))] == ["E123", "E126"]


def test_one_coco_file_is_checked_alone(cars: Path, tmp_path: Path) -> None:
    assert validate(cars / VAL).findings == ()
    release = tmp_path / "release"
    (release / "annotations").mkdir(parents=True)
    shutil.copy(cars / VAL, release / "annotations/cars_val2017.json")
    shutil.copytree(cars / "images", release / "val2017")
    report = validate(release / "annotations/cars_val2017.json", skeleton=CAR8)
    assert (report.splits, report.findings) == (("val",), ())
    assert validate(release / "annotations/cars_val2017.json").findings == ()


def test_the_report_as_json(cars: Path) -> None:
    edit(cars / TRAIN, of(area=1.0))
    report = validate(cars)
    document = json.loads(json.dumps(report.as_dict()))
    assert document["splits"][0] == {
        "name": "train",
        "images": 2,
        "instances": 4,
        "keypoints": {"not_labelled": 4, "hidden": 6, "visible": 14},
    }
    assert (document["errors"], document["warnings"]) == (1, 1)
    assert document["counts"] == {"E104": 1, "W211": 1}
    assert document["findings"][1]["place"] == SECOND


# --fix.


def spoil_all(document: Document) -> None:
    annotations = document["annotations"]
    annotations[0].update(area=1.0, bbox=[-20, 20.25, 180, 119.75], note="keep me")
    del annotations[1]["iscrowd"], annotations[1]["area"]
    annotations[2]["num_keypoints"] = 0
    document["categories"][0]["skeleton"] = [[0, 1], [2, 3], [4, 5], [6, 7]]
    document["info"]["year"] = 2020


def test_fix_mends_the_set_and_says_what_it_changed(cars: Path) -> None:
    broken = edit(cars / TRAIN, spoil_all)
    val = _written(cars / VAL)
    report = validate(cars, fix=True)
    assert beyond(report) == []
    ((path, repairs),) = report.fixed.items()
    assert path == cars / TRAIN
    assert [(done.code, done.place, done.message) for done in repairs] == [
        (
            "W201",
            "annotations[0] (id 1)",
            "bbox set to [0, 20.25, 160, 119.75], was [-20, 20.25, 180, 119.75]",
        ),
        ("E104", "annotations[0] (id 1)", "area set to 19160, was 1.0"),
        ("E115", SECOND, "iscrowd set to 0, was missing"),
        ("E104", SECOND, "area set to 2770.76, was missing"),
        ("E105", "annotations[2] (id 3)", "num_keypoints set to 7, was 0"),
        ("E114", CATEGORY, "skeleton: 1 added to every index of the 0-based edges"),
    ]
    repaired = json.loads((cars / TRAIN).read_text())
    assert list(repaired) == list(broken)
    assert (repaired["annotations"][0]["note"], repaired["info"]["year"]) == ("keep me", 2020)
    assert repaired["annotations"][3] == broken["annotations"][3]
    assert _written(cars / VAL) == val
    assert not [path for path in cars.iterdir() if path.name.startswith(".")]


def test_fix_does_not_rewrite_what_needs_nothing_and_is_done_after_one_run(cars: Path) -> None:
    edit(cars / TRAIN, spoil_all)
    validate(cars, fix=True)
    before = _written(cars / TRAIN)
    assert validate(cars, fix=True).fixed == {}
    assert _written(cars / TRAIN) == before


def _written(path: Path) -> tuple[int, int]:
    """Return the file's identity and modification time, without the access time."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def test_fix_leaves_alone_what_has_more_than_one_answer(cars: Path) -> None:
    def spoil(document: Document) -> None:
        document["annotations"][0].update(area=1, bbox=[1, 2, 3, 0])
        document["annotations"][1].update(iscrowd=5, bbox=[900, 2, 30, 10], image_id="a")
        document["annotations"][2].update(keypoints=[1, 2], num_keypoints=4)
        document["annotations"][3] = None
        document["categories"][0]["skeleton"] = [[0, 8]]

    edit(cars / TRAIN, spoil)
    before = (cars / TRAIN).read_bytes()
    report = validate(cars, fix=True)
    assert report.fixed == {}
    assert (cars / TRAIN).read_bytes() == before
    assert not any(finding.fixable for finding in report.findings)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ('"iscrowd":0,"num_keypoints":6', '"num_keypoints":6,"note":NaN', "numbers must be finite, got NaN"),
        (
            '"iscrowd":0,"num_keypoints":6',
            '"num_keypoints":6,"n":1,"n":2',
            "keys must be unique, got 'n' twice",
        ),
    ],
)
def test_fix_refuses_to_lose_what_it_could_not_write_again(cars: Path, old: str, new: str, part: str) -> None:
    text = (cars / TRAIN).read_text().replace(old, new, 1)
    (cars / TRAIN).write_text(text)
    edit(cars / VAL, of(area=0))
    val = (cars / VAL).read_text()
    with pytest.raises(InputError) as caught:
        validate(cars, skeleton="car8", fix=True)
    assert part in str(caught.value)
    assert caught.value.path == cars / TRAIN
    assert ((cars / TRAIN).read_text(), (cars / VAL).read_text()) == (text, val)


def average_precision(path: Path, results: list[dict[str, Any]]) -> tuple[float, float, float]:
    """Return AP, AP(M) and AP(L) of pycocotools."""
    truth = COCO(path)
    evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
    evaluation.params.kpt_oks_sigmas = np.array(CAR8.sigmas)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    stats: Mapping[int, float] = evaluation.stats
    return float(stats[0]), float(stats[3]), float(stats[4])


def test_good_predictions_have_no_ap_with_an_area_of_1_and_an_ap_of_1_after_fix(
    cars: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoil(document: Document) -> None:
        for annotation in document["annotations"]:
            annotation["area"] = 1.0

    document = edit(cars / TRAIN, spoil)
    # Every point is right to a pixel.
    results = [
        {
            "image_id": annotation["image_id"],
            "category_id": 1,
            "keypoints": [v + (i % 3 < 2) for i, v in enumerate(annotation["keypoints"])],
            "score": 0.9,
        }
        for annotation in document["annotations"]
    ]
    before = average_precision(cars / TRAIN, results)
    assert [f.code for f in check(cars).findings].count("E104") == 4
    assert validate(cars, fix=True).ok()
    after = average_precision(cars / TRAIN, results)
    capsys.readouterr()
    assert before == (0.0, -1.0, -1.0)
    assert after == pytest.approx((1.0, 1.0, 1.0))
