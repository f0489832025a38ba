"""Reading YOLO-pose: declarations, lines, and tables of ways to break a valid data set."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import posetools.formats.yolo_pose.format as yolo_pose
from posetools.core.skeleton import load_skeleton
from posetools.errors import InputError, RequestError
from posetools.formats import told_format
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult
from tests.build import make_image
from tests.cli.run import run

CAR8 = load_skeleton("car8")
SIZE = (320, 240)
POINTS = " ".join(f"0.{3 + number}5 0.5 {2 - number % 2}" for number in range(5)) + " 0.5 0.25 2" + " 0 0 0" * 2
LINE = f"0 0.5 0.5 0.25 0.5 {POINTS}"
DATA: dict[str, Any] = {
    "train": "images/train",
    "val": "images/val",
    "kpt_shape": [8, 3],
    "flip_idx": list(CAR8.flip_indices),
    "names": {0: "car"},
}


def put(folder: Path, label: str | None, name: str = "a", split: str = "train") -> Path:
    """Write an image and its label file; return the label file's path."""
    make_image(folder / "images" / split / f"{name}.jpg", SIZE)
    path = folder / "labels" / split / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    if label is not None:
        path.write_text(label, encoding="utf-8")
    return path


def declare(folder: Path, **changes: Any) -> Path:
    """Write data.yaml (JSON is YAML) with some keys changed, or removed if the value is ``...``."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {key: value for key, value in (DATA | changes).items() if value is not ...}
    path = folder / "data.yaml"
    names = content.get("names")
    text = json.dumps(content)
    if isinstance(names, dict):
        text = text.replace('{"0":', "{0:").replace(', "1":', ", 1:")
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, *lines: str, options: ReadOptions | None = None, **changes: Any) -> ReadResult:
    """Read a data set of two images; the first has these lines."""
    put(folder, "".join(f"{line}\n" for line in lines))
    put(folder, "", "b", "val")
    declare(folder, **changes)
    return yolo_pose.FORMAT.read([folder], CAR8, options or ReadOptions())


def codes(result: ReadResult) -> list[tuple[str, str]]:
    return [(finding.code, finding.place) for finding in result.findings]


def names(result: ReadResult) -> list[tuple[str, str | None]]:
    return [(image.file_name, image.split) for image in result.dataset.images]


def test_a_line_becomes_an_object_in_pixels(tmp_path: Path) -> None:
    result = read(tmp_path, LINE, "", LINE.replace("0.25", "0.125").replace("\t", " ") + "\r")
    assert result.findings == () and result.files == 2
    assert names(result) == [("a.jpg", "train"), ("b.jpg", "val")]
    first, second = result.dataset
    assert first.box.tolist() == [120, 60, 200, 180] and first.area == 9600
    assert first.keypoints[1].tolist() == [144, 120, 1]
    assert result.dataset.visibility[0].tolist() == [2, 1, 2, 1, 2, 2, 0, 0]
    assert str(first.origin).endswith("labels/train/a.txt: line 1") and second.origin.place.endswith("line 3")


@pytest.mark.parametrize(
    "splits",
    [
        {},
        {"path": "."},
        {"path": "/content/somewhere/else"},
        {"train": "./images/train/", "val": ["images/val"]},
        {"train": "images\\train"},
        {"train": "../images/train", "val": "../images/val"},
        {"train": "train.txt", "val": "lists/val.txt"},
        {"test": None},
        {"test": ""},
    ],
)
def test_splits_as_data_yaml_writes_them(tmp_path: Path, splits: dict[str, Any]) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "train.txt").write_text("./images/train/a.jpg\n\nimages/train/a.jpg\n")
    (tmp_path / "lists/val.txt").write_text("images/val/b.jpg\n")
    result = read(tmp_path, LINE, **splits)
    assert [finding for finding in result.findings if finding.code != "E121"] == []
    by_list = "train.txt" in str(splits)
    assert names(result) == [
        ("train/a.jpg" if by_list else "a.jpg", "train"),
        ("val/b.jpg" if by_list else "b.jpg", "val"),
    ]
    assert len(result.dataset) == 1


def test_path_of_data_yaml(tmp_path: Path) -> None:
    put(tmp_path / "in/sub", LINE)
    for path in ("sub", str(tmp_path / "in/sub")):
        declare(tmp_path / "in", path=path, val=...)
        result = yolo_pose.FORMAT.read([tmp_path / "in"], CAR8, ReadOptions())
        assert names(result) == [("a.jpg", "train")] and len(result.dataset) == 1
    by_file = yolo_pose.FORMAT.read([tmp_path / "in/data.yaml"], CAR8, ReadOptions())
    assert by_file.dataset == result.dataset


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (["images/a.jpg", "images/sub/b.jpg"], [("a.jpg", None), ("sub/b.jpg", None)]),
        (["images/train/a.jpg", "images/val/b.jpg", "images/c.jpg"],
         [("a.jpg", "train"), ("b.jpg", "val"), ("c.jpg", None)]),
        (["train/images/a.jpg", "valid/images/b.jpg", "test/images/c.jpg"],
         [("a.jpg", "train"), ("b.jpg", "val"), ("c.jpg", "test")]),
        (["images/train/a.jpg", "images/val/a.jpg"], [("train/a.jpg", "train"), ("val/a.jpg", "val")]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("declared", [False, True])
def test_folders_say_the_splits_when_nothing_else_does(
    tmp_path: Path, images: list[str], expected: list[tuple[str, str | None]], declared: bool
) -> None:
    for number, image in enumerate(images):
        make_image(tmp_path / image, SIZE, seed=number)
        label = tmp_path / image.replace("images", "labels").replace(".jpg", ".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(LINE)
    if declared:
        declare(tmp_path, train=..., val=...)
    options = ReadOptions(kpt_shape=None if declared else (8, 3))
    result = yolo_pose.FORMAT.read([tmp_path], CAR8, options)
    assert result.findings == () and names(result) == expected
    assert len(result.dataset) == len(images)
    assert yolo_pose.FORMAT.detect(tmp_path)


def test_the_last_images_folder_becomes_labels(tmp_path: Path) -> None:
    make_image(tmp_path / "images/cars/images/a.jpg", SIZE)
    label = tmp_path / "images/cars/labels/a.txt"
    label.parent.mkdir()
    label.write_text(LINE)
    declare(tmp_path, train="images/cars", val=...)
    result = yolo_pose.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert result.findings == () and names(result) == [("images/a.jpg", "train")] and len(result.dataset) == 1


def test_images_without_labels_are_without_objects(tmp_path: Path) -> None:
    put(tmp_path, None, "c")
    result = read(tmp_path, LINE)
    assert [image.file_name for image in result.dataset.images] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [(f.code, f.file) for f in result.findings] == [("W322", str(tmp_path / "images/train/c.jpg"))]
    assert result.files == 2


def test_labels_without_images(tmp_path: Path) -> None:
    stray = tmp_path / "labels/train/stray.txt"
    unlisted = put(tmp_path, LINE, "d", "extra")
    (unlisted.parent / "classes.txt").write_text("car\n")
    stray.parent.mkdir()
    stray.write_text(LINE)
    result = read(tmp_path, LINE)
    found = [(f.code, f.file) for f in result.findings]
    assert found == [("W323", str(tmp_path / "data.yaml")), ("W337", str(stray))]
    assert f"1 label files belong to images that no split lists, the first {unlisted}" in result.findings[0].message
    assert "the label file must belong to an image in images/" in result.findings[1].message


def test_points_without_visibility(tmp_path: Path) -> None:
    line = "0 0.5 0.5 0.25 0.5 " + " ".join(["0.5 0.5"] * 7) + " 0 0"
    with pytest.raises(
        RequestError, match=r"data\.yaml: kpt_shape must be \[8, 3\] .* got \[8, 2\]\n  fix: --assume-visi"
    ):
        read(tmp_path, line, kpt_shape=[8, 2])
    result = read(tmp_path, line, kpt_shape=[8, 2], options=ReadOptions(assume_visible=True))
    assert result.findings == () and result.dataset.visibility.tolist() == [[2] * 7 + [0]]


def test_columns_by_name(tmp_path: Path) -> None:
    order = ["right-front-tire", "lft", "mirror"]
    line = "0 0.5 0.5 0.25 0.5 0.25 0.5 1 0.75 0.5 2 0.1 0.1 2"
    changes: dict[str, Any] = {"kpt_shape": [3, 3], "flip_idx": [1, 0, 2]}
    plain = ReadOptions(names={"lft": "left-front-tire"}, ignore=frozenset({"mirror"}))
    by_option = read(tmp_path / "a", line, **changes, options=replace(plain, kpt_order=tuple(order)))
    for kpt_names in (order, [order], {0: order}):
        result = read(tmp_path / "a", line, **changes, kpt_names=kpt_names, options=plain)
        assert result.findings == () and result.dataset == by_option.dataset
    points = by_option.dataset.keypoints[0]
    assert points[CAR8.index["right-front-tire"]].tolist() == [80, 120, 1]
    assert points[CAR8.index["left-front-tire"]].tolist() == [240, 120, 2]
    assert by_option.dataset.num_labeled.tolist() == [2], "keypoints without a column are not labeled"


@pytest.mark.parametrize("by_name", [True, False])
def test_classes(tmp_path: Path, by_name: bool) -> None:
    lines = [LINE, LINE.replace("0", "1", 1), "1 2 3", "1 0.5 0.5 0.1 0.1"]
    other = "bus" if by_name else "1"
    declared: Any = {0: "car", 1: "bus"} if by_name else ...
    result = read(tmp_path, *lines, names=declared, options=ReadOptions(ignore=frozenset({other})))
    assert result.findings == () and result.ignored == {other: 3} and len(result.dataset) == 1
    both = read(tmp_path, *lines[:2], names=declared, options=ReadOptions(names={other: "car"}))
    assert both.findings == () and len(both.dataset) == 2
    refused = read(tmp_path, *lines, names=declared)
    assert codes(refused) == [("E301", f"line {number}") for number in (2, 3, 4)]
    assert f"class must be the category 'car', got '{other}'" in refused.findings[0].message
    assert f"--ignore '{other}'" in refused.findings[0].hint and "--map" in refused.findings[0].hint


def swap(column: int, value: object) -> str:
    parts = LINE.split()
    parts[column] = str(value)
    return " ".join(parts)


LINE_MISTAKES: list[tuple[str, str, list[str]]] = [
    (LINE + " 1", "E309", ["the line must be 29 numbers (5 and 8 points of 3), got 30", "correct the line"]),
    ("0 0.5 0.5 0.25 0.5" + " 0.5" * 16, "E309", ["got 21", "--kpt-shape 8,2 reads lines of 21 numbers"]),
    (swap(0, 1), "E311", ["class must be one of the 1 in names, [0], got 1", "--ignore 1", "--map 1=car"]),
    (swap(0, "car"), "E311", ["class must be a whole number, 0 or more, got 'car'"]),
    (swap(0, 0.5), "E311", ["class must be a whole number, 0 or more, got '0.5'"]),
    (swap(0, -1), "E311", ["class must be a whole number"]),
    (swap(1, 1.01), "E311", ["cx must be in [0, 1], a fraction of the image, got 1.01"]),
    (swap(2, -0.01), "E311", ["cy must be in [0, 1]", "got -0.01"]),
    (swap(3, 320), "E311", ["w must be in [0, 1]", "got 320.0", "divide x and w"]),
    (swap(4, 0), "E311", ["h must be greater than 0, got 0.0"]),
    (swap(1, "nan"), "E311", ["number 2 must be a finite number of at most 1000000, got 'nan'"]),
    (swap(5, "nan"), "E311", ["point 0 must be two numbers, or NaN NaN for a missing one, got [nan, 0.5]"]),
    (swap(5, "1e308"), "E311", ["number 6 must be a finite number"]),
    (swap(5, "0,5"), "E311", ["number 6 must be a finite number of at most 1000000, got '0,5'"]),
    (swap(7, 3), "E311", ["visibility of point 0 must be 0, 1 or 2, got 3.0"]),
    (swap(10, 0.5), "E311", ["visibility of point 1 must be 0, 1 or 2, got 0.5"]),
]


@pytest.mark.parametrize(("line", "code", "parts"), LINE_MISTAKES)
def test_mistakes_in_lines(tmp_path: Path, line: str, code: str, parts: list[str]) -> None:
    result = read(tmp_path, LINE, "", line, LINE)
    (finding,) = result.findings
    assert (finding.code, finding.file, finding.place) == (code, str(tmp_path / "labels/train/a.txt"), "line 3")
    for part in parts:
        assert part in f"{finding.message}\n{finding.hint}"
    assert len(result.dataset) == 2, "the other lines are read"


@pytest.mark.parametrize("line", [swap(1, 1.0000005), swap(0, "0.0"), swap(7, "1.000"), swap(14, -0.2), swap(14, 1.3)])
def test_what_other_tools_write_is_accepted(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, line).dataset.boxes.shape == (1, 4)


def test_coordinates_of_unlabeled_points_are_noted(tmp_path: Path) -> None:
    result = read(tmp_path, swap(7, 0), LINE, swap(10, 0))
    assert codes(result) == [("W203", "line 1, line 3")]
    assert "visibility 0 must be 0 0 0, got coordinates" in result.findings[0].message
    assert result.dataset.keypoints[0, 0].tolist() == [0, 0, 0]


Change = dict[str, Any]
DATA_MISTAKES: list[tuple[Change, dict[str, Any], type[Exception], list[str]]] = [
    ({"kpt_shape": ...}, {}, RequestError,
     ["data.yaml: kpt_shape must be declared in data.yaml or given", "--kpt-shape K,3", "--kpt-order"]),
    ({}, {"kpt_shape": (9, 3)}, RequestError, ["kpt_shape must be 8 points like skeleton car8, got 9"]),
    ({"kpt_shape": [7, 3], "flip_idx": ...}, {}, RequestError,
     ["kpt_shape must be 8 points like skeleton car8, got 7", "--kpt-order A,B,... names the 7 points"]),
    ({"kpt_shape": [8, 4]}, {}, InputError, ["data.yaml: kpt_shape[1]: ", "got 4"]),
    ({"kpt_shape": [0, 3]}, {}, InputError, ["data.yaml: kpt_shape[0]: ", "got 0"]),
    ({"flip_idx": list(range(8))}, {}, InputError,
     ["data.yaml: flip_idx must be [4, 5, 6, 7, 0, 1, 2, 3], by the names and swaps of skeleton car8, "
      "got [0, 1, 2, 3, 4, 5, 6, 7]", "--kpt-order"]),
    ({"flip_idx": [4, 5, 6, 7]}, {}, InputError, ["flip_idx must be [4, 5, 6, 7, 0, 1, 2, 3]", "got [4, 5, 6, 7]"]),
    ({"names": {0: "bus"}}, {}, InputError,
     ["data.yaml: names must be a list with the skeleton's category 'car'", "got ['bus']", "--map 'bus=car'"]),
    ({"names": [7]}, {}, InputError, ["data.yaml: names must be a list with", "got ['7']", "--map '7=car'"]),
    ({"kpt_names": {0: ["a"] * 8}}, {}, InputError,
     ["data.yaml: kpt_names: the keypoints' names must be names of skeleton car8, got 'a'", "--map a=NAME"]),
    ({"kpt_names": {0: list(CAR8.names[:7])}}, {}, InputError, ["the keypoints' names must be 8, as in kpt_shape"]),
    ({"kpt_names": {1: list(CAR8.names)}}, {}, InputError, ["kpt_names must be one list for the class 'car'"]),
    ({}, {"kpt_order": ("left-front-tire",) * 8}, RequestError, ["--kpt-order: ", "each keypoint once", "twice"]),
    ({}, {"kpt_order": CAR8.names[:3]}, RequestError, ["--kpt-order: the keypoints' names must be 8"]),
    ({"train": "images/trian"}, {}, InputError,
     ["data.yaml: train must be an existing folder or text file, got 'images/trian'", "looked for at"]),
    ({"train": ["images/train", "nowhere"]}, {}, InputError, ["data.yaml: train[1] must", "got 'nowhere'"]),
    ({"train": 5}, {}, InputError, ["data.yaml: train: input should be a valid list, got 5"]),
    ({"train": [5]}, {}, InputError, ["data.yaml: train[0]: input should be a valid string, got 5"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "options", "error", "parts"), DATA_MISTAKES)
def test_mistakes_in_data_yaml(
    tmp_path: Path, changes: Change, options: dict[str, Any], error: type[Exception], parts: list[str]
) -> None:
    with pytest.raises(error) as caught:
        read(tmp_path, LINE, options=ReadOptions(**options), **changes)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(("text", "parts"), [("a: [", ["data.yaml: line 1", "not valid YAML"]), ("5", ["data.yaml"])])
def test_data_yaml_that_is_none(tmp_path: Path, text: str, parts: list[str]) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        yolo_pose.FORMAT.read([tmp_path], CAR8, ReadOptions())
    for part in parts:
        assert part in str(caught.value)


def test_an_image_in_two_splits(tmp_path: Path) -> None:
    result = read(tmp_path, LINE, val="images/train")
    found = {finding.code: finding for finding in result.findings}
    assert set(found) == {"E126", "W323"}
    assert (found["E126"].file, found["E126"].place) == (str(tmp_path / "data.yaml"), "val")
    assert "val must list images that train does not list, got 1 of them again" in found["E126"].message
    assert "--val 0.1 splits again" in found["E126"].hint
    assert names(result) == [("a.jpg", "train")]
    again = yolo_pose.FORMAT.read([tmp_path], CAR8, ReadOptions(new_split=True))
    assert [finding.code for finding in again.findings] == ["W323", "W336"]
    assert names(again) == [("a.jpg", "train")]


def test_val_is_train_and_val_is_asked_for(tmp_path: Path) -> None:
    """Ultralytics' tiny data sets list one folder twice; an image in test is never used for training."""
    source, out = tmp_path / "set", tmp_path / "out"
    for name in "abcde":
        put(source, LINE, name)
    for name in "yz":
        put(source, LINE, name, "test")
    declare(source, val="images/train", train=["images/train", "images/test"], test="images/test")
    refused = run("convert", source, "--out", out)
    assert refused.status == 1 and "E126" in refused.out
    done = run("convert", source, "--out", out, "--val", "0.4")
    assert done.status == 0, done.out
    sides = {side: names_in(out / f"{side}_coco.json") for side in ("train", "val", "test")}
    assert sides["test"] == {"y.jpg", "z.jpg"} and len(sides["val"]) == 2
    assert sides["train"] | sides["val"] == {f"{name}.jpg" for name in "abcde"}


def names_in(file: Path) -> set[str]:
    return {Path(image["file_name"]).name for image in json.loads(file.read_text())["images"]}


PAIRS = "0 0.5 0.5 0.25 0.5 0.5 0.5 -1 -1 0 0 0.25 -0.1 nan nan" + " 0.5 0.5" * 3


def test_missing_points_without_visibility(tmp_path: Path) -> None:
    """Ultralytics masks negative coordinates of [K, 2] (data/utils.py); (0, 0) and NaN are no coordinates either."""
    result = read(tmp_path, PAIRS, PAIRS, kpt_shape=[8, 2], options=ReadOptions(assume_visible=True))
    assert result.dataset.visibility.tolist() == [[2, 0, 0, 0, 0, 2, 2, 2]] * 2
    assert result.dataset.keypoints[0, 1].tolist() == [0, 0, 0]
    assert codes(result) == [("W324", "")]
    assert result.findings[0].message == "keypoints with negative numbers or NaN read as not labeled (6)"


def test_missing_points_with_visibility(tmp_path: Path) -> None:
    line = "0 0.5 0.5 0.25 0.5 -1 -1 2 nan nan 0 nan nan 2 -1 -1 0 -0.25 0.5 2" + " 0.5 0.5 1" * 3
    result = read(tmp_path, line)
    assert result.dataset.visibility.tolist() == [[0, 0, 0, 0, 2, 1, 1, 1]]
    assert result.dataset.keypoints[0, 4].tolist() == [-80, 120, 2], "outside the image, and labeled"
    assert [finding.message[-3:] for finding in result.findings] == ["(2)"]


def test_a_box_alone_is_an_object_without_labeled_keypoints(tmp_path: Path) -> None:
    result = read(tmp_path, LINE, "0 0.5 0.5 0.25 0.5")
    assert result.dataset.visibility.tolist()[1] == [0] * 8 and result.dataset.boxes[1].tolist() == [120, 60, 200, 180]
    assert [finding.code for finding in result.findings] == ["W324"]


IDENTITY: dict[str, Any] = {"flip_idx": list(range(8))}


def test_a_flip_idx_that_says_nothing(tmp_path: Path) -> None:
    """Roboflow writes the identity: the message names the option, which works as typed."""
    with pytest.raises(InputError) as caught:
        read(tmp_path, LINE, **IDENTITY)
    words = caught.value.hint.split()
    order = words[words.index("--kpt-order") + 1]
    for given, changes in ((tuple(order.split(",")), {}), (None, {"kpt_names": {0: list(CAR8.names)}})):
        result = read(tmp_path, LINE, options=ReadOptions(kpt_order=given), **IDENTITY, **changes)
        assert codes(result) == [("W336", "flip_idx")]
        assert result.dataset.keypoints[0, 1].tolist() == [144, 120, 1]


def test_a_flip_idx_that_contradicts_the_names_is_refused(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {"flip_idx": [1, 0, 3, 2, 5, 4, 7, 6], "kpt_names": {0: list(CAR8.names)}}
    with pytest.raises(InputError, match="--kpt-order left-front-bumper,"):
        read(tmp_path, LINE, **wrong)
    assert codes(read(tmp_path, LINE, options=ReadOptions(kpt_order=CAR8.names), **wrong)) == [("W336", "flip_idx")]


def test_the_shape_that_the_user_states_holds(tmp_path: Path) -> None:
    line = "0 0.5 0.5 0.25 0.5" + " 0.5 0.5" * 8
    result = read(tmp_path, line, options=ReadOptions(kpt_shape=(8, 2), assume_visible=True))
    assert codes(result) == [("W336", "kpt_shape")] and result.dataset.visibility.tolist() == [[2] * 8]


def test_values_of_one_meaning(tmp_path: Path) -> None:
    result = read(tmp_path, LINE, kpt_shape=[8.0, "3"], names="car", flip_idx=[float(i) for i in CAR8.flip_indices])
    (finding,) = result.findings
    assert finding.code == "W324" and "kpt_shape [8.0, '3'] as [8, 3]" in finding.message
    assert len(result.dataset) == 1


def test_a_split_that_is_missing(tmp_path: Path) -> None:
    result = read(tmp_path, LINE, test="../test/images")
    assert codes(result) == [("W336", "test")] and "left out" in result.findings[0].message
    assert names(result) == [("a.jpg", "train"), ("b.jpg", "val")]


@pytest.mark.parametrize("text", ["/home/ann/cars/images/train", r"C:\sets\cars\images\train"])
def test_a_path_of_another_machine(tmp_path: Path, text: str) -> None:
    result = read(tmp_path, LINE, train=text)
    assert codes(result) == [("W336", "train")]
    assert f"{tmp_path / 'images/train'} is read instead" in result.findings[0].hint
    assert names(result) == [("a.jpg", "train"), ("b.jpg", "val")]


def test_a_path_never_leads_out(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="must be an existing folder"):
        read(tmp_path / "set", LINE, train="/elsewhere/../../train")


def test_the_yaml_may_have_any_name(tmp_path: Path) -> None:
    put(tmp_path, LINE)
    put(tmp_path, "", "b", "val")
    declare(tmp_path, val=..., validation="images/val").rename(tmp_path / "tiger.yml")
    (tmp_path / "notes.yaml").write_text("a: 1")
    assert told_format([tmp_path], "told").name == "yolo-pose"
    assert names(yolo_pose.FORMAT.read([tmp_path], CAR8, ReadOptions())) == [("a.jpg", "train"), ("b.jpg", "val")]
    declare(tmp_path).rename(tmp_path / "other.yaml")
    with pytest.raises(RequestError, match=r"one YAML file that declares kpt_shape, got 'other.yaml, tiger.yml'"):
        yolo_pose.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert len(yolo_pose.FORMAT.read([tmp_path / "tiger.yml"], CAR8, ReadOptions()).dataset.images) == 2


def test_two_images_with_one_label_file(tmp_path: Path) -> None:
    make_image(tmp_path / "images/train/a.png", SIZE)
    result = read(tmp_path, LINE)
    label = str(tmp_path / "labels/train/a.txt")
    assert [(finding.code, finding.file) for finding in result.findings] == [("E313", label)]
    assert "must belong to one image, got a.jpg and a.png" in result.findings[0].message
    assert names(result) == [("b.jpg", "val")]


@pytest.mark.parametrize(
    ("line", "code", "part"),
    [
        ("images/train/c.jpg", "E121", "line 2 must be an existing image, got 'images/train/c.jpg'"),
        ("../c.jpg", "E308", "line 2 must be a path inside"),
        ("/data/c.jpg", "E308", "line 2 must be a path inside"),
    ],
)
def test_images_that_a_list_names_in_vain(tmp_path: Path, line: str, code: str, part: str) -> None:
    put(tmp_path, LINE)
    (tmp_path / "list.txt").write_text(f"images/train/a.jpg\n{line}\n")
    declare(tmp_path, train="list.txt", val=...)
    result = yolo_pose.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert [(f.code, f.file, f.place) for f in result.findings] == [(code, str(tmp_path / "list.txt"), "line 2")]
    assert part in result.findings[0].message and len(result.dataset) == 1


def test_images_outside_the_source(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", LINE)
    declare(tmp_path / "in", path=str(tmp_path / "elsewhere"), val=...)
    result = yolo_pose.FORMAT.read([tmp_path / "in"], CAR8, ReadOptions())
    (finding,) = result.findings
    assert (finding.code, finding.file, finding.place) == ("E308", str(tmp_path / "in/data.yaml"), "train")
    assert f"train must be inside {tmp_path}/in, got {tmp_path}/elsewhere/images/train" in finding.message
    assert finding.hint == f"--image-root {tmp_path}/elsewhere allows a further folder"
    allowed = yolo_pose.FORMAT.read([tmp_path / "in"], CAR8, ReadOptions(image_roots=(tmp_path / "elsewhere",)))
    assert allowed.findings == () and len(allowed.dataset) == 1


def test_unreadable_files(tmp_path: Path) -> None:
    put(tmp_path, LINE, "c")
    (tmp_path / "images/train/c.jpg").write_bytes(b"no image")
    put(tmp_path, None, "d").write_bytes(b"0 \xff")
    result = read(tmp_path, LINE)
    assert [(f.code, Path(f.file).name, f.place) for f in result.findings] == [
        ("E122", "c.jpg", ""),
        ("E310", "d.txt", "byte 2"),
    ]
    assert "left out with" in result.findings[0].message and len(result.dataset) == 1


@pytest.mark.parametrize(
    ("make", "part"),
    [(lambda p: p / "nowhere", "must be an existing folder or data.yaml"), (lambda p: p, "must hold images in")],
)
def test_sources_that_hold_nothing(tmp_path: Path, make: Callable[[Path], Path], part: str) -> None:
    with pytest.raises(RequestError) as caught:
        yolo_pose.FORMAT.read([make(tmp_path)], CAR8, ReadOptions(kpt_shape=(8, 3)))
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"), [("- " * 5000, "nested too deeply"), ("a: 2001-02-30", "is not valid YAML")]
)
def test_yaml_that_its_library_stumbles_over(tmp_path: Path, text: str, problem: str) -> None:
    put(tmp_path, LINE)
    (tmp_path / "data.yaml").write_text(text)
    assert not yolo_pose.FORMAT.detect(tmp_path / "data.yaml")
    with pytest.raises(InputError, match=problem) as caught:
        yolo_pose.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert caught.value.path == tmp_path / "data.yaml"
