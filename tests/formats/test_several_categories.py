"""Data sets of several categories: each format that holds them gives them back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO

from posetools.core.categories import Categories, dump_categories
from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.place import Origin
from posetools.core.skeleton import Category, load_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.formats import FORMATS
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult
from tests.build import make_image
from tests.cli.run import run

CAR = load_skeleton("car8")
VAN = CAR.model_copy(update={"category": Category(name="van", id=2)})
CONE = draft_skeleton("cone", ["tip", "left-foot", "right-foot"], "cone", category_id=4).skeleton
BALL = draft_skeleton("ball", [], "ball", category_id=7).skeleton
STREET = Categories((CAR, VAN, CONE))
PETS = Categories(
    (
        draft_skeleton("dog", ["nose", "left-ear", "right-ear"], "dog").skeleton,
        draft_skeleton("cat", ["tail", "nose"], "cat", category_id=2).skeleton,
    )
)


PARK = Categories((PETS[1], BALL))


def data_of(folder: Path, categories: Categories, seed: int = 0) -> Dataset:
    """Return images with an object of each category side by side, with some keypoints of each visibility."""
    rng = np.random.default_rng(seed)
    builder = DatasetBuilder(categories)
    for number in range(4):
        name = f"{number}.jpg"
        make_image(folder / name, (120 * len(categories), 100))
        builder.add_image(Image(name, 120 * len(categories), 100, path=folder / name))
        for place, (category, skeleton) in enumerate(categories.items()):
            left = 120.0 * place + 10
            seen = rng.integers(0, 3, skeleton.num_keypoints)
            seen[:1] = 2
            at = np.column_stack([left + rng.integers(0, 80, len(seen)), 10 + rng.integers(0, 80, len(seen)), seen])
            box = np.array([left, 10, left + 80, 90])
            origin = Origin(name, str(place))
            builder.add_instance(name, box=box, keypoints=at, origin=origin, category_id=category)
    return builder.build()


def read(name: str, source: Path, categories: Categories, options: ReadOptions | None = None) -> ReadResult:
    return FORMATS[name].read([source], categories, options or ReadOptions())


@pytest.mark.parametrize("categories", [STREET, PETS, PARK], ids=["street", "pets", "park"])
@pytest.mark.parametrize("name", ["coco", "yolo-pose", "labelme", "cvat", "label-studio", "via"])
def test_a_format_gives_categories_back(name: str, categories: Categories, tmp_path: Path) -> None:
    data = data_of(tmp_path / "images", categories)
    write = FORMATS[name].write
    assert write is not None
    write({"train": data} if FORMATS[name].keeps_splits else {"all": data}, tmp_path / "out", "copy")
    found = read(name, tmp_path / "out", categories)
    assert not found.findings
    assert found.categories == categories
    got = found.dataset
    assert [Path(image.file_name).name for image in got.images] == [image.file_name for image in data.images]
    np.testing.assert_array_equal(got.category_ids, data.category_ids)
    np.testing.assert_allclose(got.boxes, data.boxes, atol=1e-6)
    np.testing.assert_allclose(got.keypoints, data.keypoints, atol=1e-6)


def test_pycocotools_reads_each_category_with_its_keypoints(tmp_path: Path) -> None:
    data = data_of(tmp_path / "images", STREET)
    write = FORMATS["coco"].write
    assert write is not None
    write({"train": data}, tmp_path / "out", "copy")
    labels = COCO(str(tmp_path / "out" / "train_coco.json"))
    assert {one["id"]: one["keypoints"] for one in labels.loadCats(labels.getCatIds())} == {
        number: list(skeleton.names) for number, skeleton in STREET.items()
    }
    for one, instance in zip(labels.loadAnns(labels.getAnnIds()), data, strict=True):
        assert one["category_id"] == instance.category_id
        np.testing.assert_allclose(np.reshape(one["keypoints"], (-1, 3)), instance.keypoints)


def shapes_of(*shapes: tuple[str, str, Sequence[Sequence[float]], int | None]) -> dict[str, object]:
    listed: list[dict[str, object]] = [
        {"label": label, "shape_type": kind, "points": points, "group_id": group, "flags": {}}
        for label, kind, points, group in shapes
    ]
    return {"version": "5", "shapes": listed, "imagePath": "a.jpg", "imageHeight": 100, "imageWidth": 200}


def labelme(folder: Path, *shapes: tuple[str, str, Sequence[Sequence[float]], int | None]) -> Path:
    make_image(folder / "a.jpg", (200, 100))
    (folder / "a.json").write_text(json.dumps(shapes_of(*shapes)), encoding="utf-8")
    return folder


def test_a_point_in_two_boxes_belongs_to_the_one_whose_category_has_it(tmp_path: Path) -> None:
    dog, cat = ("dog", "rectangle", [[10, 10], [90, 90]], None), ("cat", "rectangle", [[20, 20], [80, 80]], None)
    source = labelme(tmp_path, dog, cat, ("left-ear", "point", [[50, 50]], None), ("tail", "point", [[40, 40]], None))
    found = read("labelme", source, PETS)
    assert not [one.code for one in found.findings if one.code.startswith("E")]
    in_dog, in_cat = found.dataset
    assert in_dog.keypoints[:, 2].tolist() == [0, 2, 0]
    assert in_cat.keypoints[:, 2].tolist() == [2, 0]


def test_a_point_of_another_category_in_a_group_is_an_error(tmp_path: Path) -> None:
    source = labelme(tmp_path, ("cat", "rectangle", [[10, 10], [90, 90]], 1), ("left-ear", "point", [[50, 50]], 1))
    (finding,) = read("labelme", source, PETS).findings
    assert finding.code == "E302"
    assert "points must be keypoints of 'cat', as shapes[0] is, got 'left-ear'" in finding.message


def test_a_box_from_keypoints_is_of_the_only_category_that_has_them(tmp_path: Path) -> None:
    source = labelme(
        tmp_path,
        ("left-ear", "point", [[20, 20]], 1),
        ("nose", "point", [[40, 40]], 1),
        ("nose", "point", [[140, 40]], 2),
    )
    found = read("labelme", source, PETS, ReadOptions(box_from="keypoints"))
    (finding,) = found.findings
    assert (finding.code, found.dataset.category_ids.tolist()) == ("E306", [1])
    assert "not those of exactly one category" in finding.hint


@pytest.mark.parametrize(("asked", "left"), [(("car",), [1]), (("car", "cone"), [1, 4])])
def test_some_categories_are_read(asked: tuple[str, ...], left: list[int], tmp_path: Path) -> None:
    data = data_of(tmp_path / "images", STREET)
    write = FORMATS["labelme"].write
    assert write is not None
    write({"all": data}, tmp_path / "out", "copy")
    found = read("labelme", tmp_path / "out", STREET, ReadOptions(categories=asked))
    assert sorted(set(found.dataset.category_ids.tolist())) == left


def test_one_category_is_mapped_to_another(tmp_path: Path) -> None:
    data = data_of(tmp_path / "images", STREET)
    write = FORMATS["coco"].write
    assert write is not None
    write({"train": data}, tmp_path / "out", "copy")
    found = read("coco", tmp_path / "out", Categories((CAR, CONE)), ReadOptions(names={"van": "car"}))
    assert not found.findings
    assert found.dataset.category_ids.tolist() == [1, 1, 4] * 4
    np.testing.assert_allclose(found.dataset.keypoints, data.keypoints)


def written(name: str, data: Dataset, folder: Path) -> Path:
    write = FORMATS[name].write
    assert write is not None
    write({"train": data} if FORMATS[name].keeps_splits else {"all": data}, folder, "copy")
    return folder


def test_lines_of_yolo_pose_have_the_keypoints_of_all_classes(tmp_path: Path) -> None:
    """Ultralytics needs the same 5 + 3K numbers in each line, and one flip_idx."""
    data = data_of(tmp_path / "images", STREET)
    out = written("yolo-pose", data, tmp_path / "out")
    told = yaml.safe_load((out / "data.yaml").read_text(encoding="utf-8"))
    assert (told["kpt_shape"], told["names"]) == ([11, 3], {0: "car", 1: "van", 2: "cone"})
    assert told["flip_idx"] == [4, 5, 6, 7, 0, 1, 2, 3, 8, 10, 9]
    assert told["kpt_names"] == {index: [*CAR.names, *CONE.names] for index in range(3)}
    lines = (out / "labels/train/0.txt").read_text(encoding="utf-8").splitlines()
    numbers = np.array([line.split() for line in lines], dtype=float)
    assert numbers.shape == (3, 5 + 3 * 11)
    assert numbers[:, 0].tolist() == [0, 1, 2]
    points = numbers[:, 5:].reshape(3, 11, 3)
    assert not points[:2, 8:].any() and not points[2, :8].any()
    np.testing.assert_allclose(points[:, :, :2] * [360, 100], data.keypoints[:3, :, :2], atol=1e-6)
    np.testing.assert_array_equal(points[:, :, 2], data.visibility[:3])


def test_a_point_of_another_class_in_a_line_is_an_error(tmp_path: Path) -> None:
    label = written("yolo-pose", data_of(tmp_path / "images", PETS), tmp_path / "out") / "labels/train/0.txt"
    dog, _ = label.read_text(encoding="utf-8").splitlines()
    label.write_text(f"{dog}\n1{dog[1:]}\n", encoding="utf-8")
    (finding,) = read("yolo-pose", tmp_path / "out", PETS).findings
    assert (finding.code, finding.place) == ("E311", "line 2")
    assert "labeled points must be keypoints of 'cat', the line's class, got [" in finding.message


def test_classes_with_keypoints_of_their_own_names(tmp_path: Path) -> None:
    """Another tool's data.yaml names the points of each class: column 0 is another keypoint in each."""
    make_image(tmp_path / "in/images/train/a.png", (100, 100))
    make_image(tmp_path / "in/images/val/b.png", (100, 100))
    line = "0.5 0.5 0.4 0.4 0.4 0.5 2 0.6 0.5 1"
    for name in ("train/a", "val/b"):
        label = tmp_path / f"in/labels/{name}.txt"
        label.parent.mkdir(parents=True)
        label.write_text(f"0 {line}\n1 {line}\n", encoding="utf-8")
    names = {"names": {0: "ant", 1: "bee"}, "kpt_names": {0: ["head", "tail"], 1: ["wing", "head"]}}
    told = {"train": "images/train", "val": "images/val", "kpt_shape": [2, 3], **names}
    (tmp_path / "in/data.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
    done = run("convert", tmp_path / "in", "--out", tmp_path / "out")
    assert done.status == 0, done.words
    labels = COCO(str(tmp_path / "out/train_coco.json"))
    assert [one["keypoints"] for one in labels.loadCats([1, 2])] == [["head", "tail"], ["wing", "head"]]
    assert [one["keypoints"] for one in labels.loadAnns([1, 2])] == [[40, 50, 2, 60, 50, 1]] * 2


def test_a_keypoint_with_two_partners_has_no_flip_idx(tmp_path: Path) -> None:
    left = draft_skeleton("crab", ["left-eye", "right-eye"], "crab").skeleton
    pirate = draft_skeleton("pirate", ["left-eye", "left-arm", "right-arm"], "pirate", category_id=2).skeleton
    pirate = pirate.model_copy(update={"flip": True})
    source = written("coco", data_of(tmp_path / "images", Categories((left, pirate))), tmp_path / "coco")
    (source / "skeleton.yaml").write_text(dump_categories(Categories((left, pirate))), encoding="utf-8")
    arguments = ("convert", source, "--to", "yolo-pose", "--val", "0.5", "--out", tmp_path / "out")
    done = run(*arguments)
    assert done.status == 2 and "got {'crab': 'right-eye', 'pirate': 'left-eye'}" in done.words
    assert "fix: --categories 'crab' takes the objects of one" in done.words
    assert not (tmp_path / "out").exists()
    done = run(*arguments, "--categories", "crab")
    assert done.status == 0, done.words
    assert yaml.safe_load((tmp_path / "out/data.yaml").read_text(encoding="utf-8"))["flip_idx"] == [1, 0]


@pytest.mark.parametrize("target", ["deeplabcut", "sleap"])
def test_a_format_of_one_category_says_the_way(target: str, tmp_path: Path) -> None:
    if target == "sleap":
        pytest.importorskip("sleap_io")
    data = data_of(tmp_path / "images", Categories((CAR, VAN)))
    source = written("coco", data, tmp_path / "coco")
    (source / "skeleton.yaml").write_text(dump_categories(data.categories), encoding="utf-8")
    for number, option in enumerate([("--categories", "car"), ("--map", "van=car")]):
        out = tmp_path / str(number)
        done = run("convert", source, "--to", target, "--out", out)
        assert done.status == 2 and "files, got ['car', 'van']" in done.words, done.words
        assert " ".join((option[0], f"'{option[1]}'")) in done.words
        assert not out.exists()
        done = run("convert", source, "--to", target, "--out", out, *option)
        assert done.status == 0, done.words
        found = read(target, out, Categories((CAR,)), ReadOptions(assume_visible=True, box_from="keypoints"))
        assert len(found.dataset) == (4, 8)[number]
