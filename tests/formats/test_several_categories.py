"""Data sets of several categories: each format that holds them gives them back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.place import Origin
from posetools.core.skeleton import Category, load_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.formats import FORMATS
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult
from tests.build import make_image

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
