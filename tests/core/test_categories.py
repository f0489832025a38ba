"""Categories of a data set: their columns of keypoints, and their file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from posetools.core.categories import Categories, categories_in, dump_categories, read_categories
from posetools.core.dataset import DatasetBuilder, Image, concatenate
from posetools.core.place import Origin
from posetools.core.skeleton import Category, Skeleton, load_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.errors import InputError

CAR = load_skeleton("car8")
VAN = CAR.model_copy(update={"category": Category(name="van", id=2)})
DOG = draft_skeleton("dog", ["nose", "left-ear", "right-ear"], "dog", category_id=5).skeleton
CAT = draft_skeleton("cat", ["tail", "nose"], "cat", category_id=3).skeleton


def test_a_keypoint_name_has_one_column_in_all_categories() -> None:
    pets = Categories((DOG, CAT))
    assert pets.names == ("nose", "left-ear", "right-ear", "tail")
    assert {number: columns.tolist() for number, columns in pets.columns.items()} == {5: [0, 1, 2], 3: [3, 0]}
    assert (pets.ids, dict(pets)) == ({"dog": 5, "cat": 3}, {5: DOG, 3: CAT})
    assert pets.told == "'dog' or 'cat'"


def test_categories_of_one_skeleton_are_a_group() -> None:
    assert Categories((CAR, DOG, VAN)).groups == (Categories((CAR, VAN)), Categories((DOG,)))


@pytest.mark.parametrize(
    ("skeletons", "problem"),
    [
        ((), "at least one"),
        ((CAR, CAR), "id of categories must be unique, got 1 2 times"),
        ((CAR, VAN.model_copy(update={"category": Category(name="car", id=2)})), "name of categories must be unique"),
    ],
)
def test_categories_need_different_names_and_ids(skeletons: tuple[Skeleton, ...], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Categories(skeletons)


def test_only_one_category_is_the_only_one() -> None:
    assert Categories.of(CAR).only == CAR
    with pytest.raises(ValueError, match="one category is needed, got car, dog"):
        _ = Categories((CAR, DOG)).only


@pytest.mark.parametrize("skeletons", [(CAR,), (CAR, VAN), (DOG, CAT), (CAR, DOG, VAN)])
def test_the_file_and_the_record_give_the_categories_back(tmp_path: Path, skeletons: tuple[Skeleton, ...]) -> None:
    categories = Categories(skeletons)
    file = tmp_path / "skeleton.yaml"
    file.write_text(dump_categories(categories), encoding="utf-8")
    assert read_categories(file) == categories
    assert categories_in(file, categories.as_record()) == categories


def test_a_wrong_skeleton_in_a_list_is_named_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "skeleton.yaml"
    file.write_text("skeletons:\n  - {name: a, keypoints: [x]}\n  - {name: b, keypoints: [x, x]}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"skeleton\.yaml: skeletons\[1\].*name must be unique, got 'x' 2 times"):
        read_categories(file)
    file.write_text("skeletons:\n  - {name: a, keypoints: [x]}\n  - {name: b, keypoints: [x]}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"id of categories must be unique, got 1 2 times"):
        read_categories(file)


def test_an_object_has_the_keypoints_of_its_category() -> None:
    builder = DatasetBuilder(Categories((DOG, CAT)))
    builder.add_image(Image("a.jpg", 50, 40))
    tail = [[1, 2, 2], [3, 4, 1]]
    builder.add_instance(
        "a.jpg", box=np.array([0, 0, 9, 9]), keypoints=np.array(tail), origin=Origin("a", ""), category_id=3
    )
    ear = [[0, 0, 0], [5, 6, 2], [7, 8, 2]]
    builder.add_instance(
        "a.jpg", box=np.array([9, 9, 20, 20]), keypoints=np.array(ear), origin=Origin("a", ""), category_id=5
    )
    data = builder.build()
    assert data.keypoints[:, :, 2].tolist() == [[1, 0, 0, 2], [0, 2, 2, 0]]
    assert [one.keypoints.tolist() for one in data] == [tail, ear]
    dogs, cats = data.parts()
    assert (dogs.skeleton, dogs.keypoints.tolist(), dogs.images) == (DOG, [ear], data.images)
    assert (cats.skeleton, cats.keypoints.tolist(), cats.category_ids.tolist()) == (CAT, [tail], [3])
    with pytest.raises(ValueError, match="one category is needed"):
        _ = data.skeleton
    other = data.with_images([Image("b.jpg", 50, 40)])
    assert len(concatenate([data, other]).parts()[0]) == 2


def test_a_category_without_keypoints_has_boxes_only(tmp_path: Path) -> None:
    file = tmp_path / "skeleton.yaml"
    box = Skeleton.model_validate({"name": "box", "category": {"name": "box", "id": 9}, "keypoints": []})
    both = Categories((CAR, box))
    file.write_text(dump_categories(both))
    assert read_categories(file) == both
    assert (list(both.posed), both.columns[9].tolist()) == ([CAR.name], [])


def test_ids_are_those_of_the_source_if_they_can_be() -> None:
    assert list(Categories.numbered([(7, CAR), (3, DOG)])) == [7, 3]
    assert list(Categories.numbered([(0, CAR), (3, DOG)])) == [1, 2]
    assert list(Categories.numbered([(7, CAR)])) == [1]
