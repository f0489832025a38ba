"""Merging data sets with different categories: all of them are in the result, each object with its own keypoints."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from posetools.core.categories import Categories
from posetools.core.folder import categories_of
from posetools.core.skeleton import Category, Skeleton
from tests.cli.run import run
from tests.two_categories import CAR, CONE, ROAD, VAN, data_set, written

# A cone with the car's id, and feet in another order.
OTHER_CONE = Skeleton.model_validate(
    {"name": "cone", "category": {"name": "cone", "id": 1}, "keypoints": ["right-foot", "tip", "left-foot"]}
)


def merged(out: Path, *arguments: str | Path) -> str:
    done = run("merge", *arguments, "--out", out)
    assert done.status == 0, done.err
    return done.words


def check_objects(out: Path, *sources: Path) -> None:
    """Every object of the sources is in the result with its category's name, its box and its keypoints by name."""
    result = written(out)
    found = {
        (one.image.file_name, *one.box.tolist()): (result.categories[one.category_id], one.keypoints) for one in result
    }
    assert len(found) == len(result)
    for data in map(written, sources):
        for one in data:
            skeleton, keypoints = found.pop((one.image.file_name, *one.box.tolist()))
            own = data.categories[one.category_id]
            assert skeleton.category.name == own.category.name
            np.testing.assert_array_equal(keypoints, one.keypoints[[own.index[name] for name in skeleton.names]])
    assert not found


def objects(data: Path) -> list[tuple[str, str, list[float], list[float]]]:
    """Return image, category, box and keypoints of every object, sorted."""
    every = written(data)
    return sorted(
        (one.image.file_name, every.categories[one.category_id].category.name, one.box.tolist(), [*one.keypoints.flat])
        for one in every
    )


def test_cars_and_cones_are_both_in_the_result_with_their_ids(tmp_path: Path) -> None:
    cars = data_set(tmp_path / "cars", {"1.jpg": ["car"]}, {"2.jpg": ["car", "van"]}, Categories((CAR, VAN)))
    cones = data_set(tmp_path / "cones", {"3.jpg": ["cone", "cone"]}, {"4.jpg": ["cone"]}, Categories((CONE,)), seed=1)
    printed = merged(tmp_path / "out", cars, cones)
    assert "categories of the data sets together: car, van, cone" in printed
    assert f"{cones} has no labels of car or van: such objects in its images count as background" in printed
    assert "category id" not in printed
    assert categories_of(tmp_path / "out") == Categories((CAR, VAN, CONE))
    for split, number in (("train", 3), ("val", 3)):
        labels = COCO(str(tmp_path / "out" / f"{split}_coco.json"))
        assert {one["id"]: one["name"] for one in labels.cats.values()} == {1: "car", 2: "van", 4: "cone"}
        assert len(labels.anns) == number
    check_objects(tmp_path / "out", cars, cones)


def test_ids_that_clash_are_numbered_again_and_order_may_differ(tmp_path: Path) -> None:
    cars = data_set(tmp_path / "cars", {"1.jpg": ["car"]}, {}, Categories((CAR,)))
    cones = data_set(tmp_path / "cones", {"3.jpg": ["cone"]}, {}, Categories((OTHER_CONE,)), seed=1)
    both = data_set(tmp_path / "both", {"5.jpg": ["cone", "car"]}, {}, ROAD, seed=2)
    printed = merged(tmp_path / "out", cars, cones, both)
    assert "cone: category id 2, was 1" in printed
    assert categories_of(tmp_path / "out").ids == {"car": 1, "cone": 2}
    check_objects(tmp_path / "out", cars, cones, both)


def test_one_name_with_other_keypoints_is_refused_with_the_way(tmp_path: Path) -> None:
    points = {"name": "pylon", "category": {"name": "cone", "id": 1}, "keypoints": ["top", "left-foot", "right-foot"]}
    road = data_set(tmp_path / "road", {"1.jpg": ["car", "cone"]}, {}, ROAD)
    other = data_set(
        tmp_path / "other", {"2.jpg": ["cone"]}, {}, Categories((Skeleton.model_validate(points),)), seed=1
    )
    done = run("merge", road, other, "--out", tmp_path / "out")
    assert done.status == 2
    assert f"{other}: keypoints of 'cone' must be those of {road}, but it lacks tip and also has top" in done.words
    assert "`posetools subset DATA --map OLD=NEW` makes another category of one" in done.words
    assert not (tmp_path / "out").exists()
    # Both ways of the message work.
    merged(tmp_path / "out", road, other, "--map", "top=tip")
    assert categories_of(tmp_path / "out") == ROAD
    np.testing.assert_array_equal(written(tmp_path / "out").keypoints[2, ROAD.columns[4]], written(other).keypoints[0])
    assert run("subset", other, "--out", tmp_path / "pylons", "--map", "cone=pylon").status == 0
    merged(tmp_path / "three", road, tmp_path / "pylons")
    assert list(categories_of(tmp_path / "three").ids) == ["car", "cone", "pylon"]


def test_a_category_becomes_another_ones_or_is_left_out(tmp_path: Path) -> None:
    cars = data_set(tmp_path / "cars", {"1.jpg": ["car"]}, {}, Categories((CAR,)))
    vans = data_set(tmp_path / "vans", {"2.jpg": ["van", "cone"]}, {}, Categories((VAN, CONE)), seed=1)
    printed = merged(tmp_path / "out", cars, vans, "--map", "van=car", "--ignore", "cone")
    assert "left out on purpose: cone (1)" in printed
    assert categories_of(tmp_path / "out") == Categories((CAR,))
    assert written(tmp_path / "out").category_ids.tolist() == [1, 1]
    done = run("merge", cars, vans, "--out", tmp_path / "none", "--ignore", "*")
    assert (done.status, "--ignore must be such that a category is left, got ['*']" in done.words) == (2, True)


def test_a_name_that_is_spelt_like_another_is_a_warning(tmp_path: Path) -> None:
    upper = CONE.model_copy(update={"category": Category(name="Cone", id=5)})
    cones = data_set(tmp_path / "a", {"1.jpg": ["cone"]}, {}, Categories((CONE,)))
    others = data_set(tmp_path / "b", {"2.jpg": ["Cone"]}, {}, Categories((upper,)), seed=1)
    printed = merged(tmp_path / "out", cones, others)
    assert "warning: 'cone' and 'Cone' are two categories; --map Cone=cone makes them one" in printed


def test_one_image_with_objects_of_other_categories_is_a_conflict(tmp_path: Path) -> None:
    data = [data_set(tmp_path / name, {"1.jpg": [name]}, {}) for name in ("car", "cone")]
    done = run("merge", *data, "--out", tmp_path / "out")
    assert "the labels of one image must be the same, but those of 1 image differ" in done.words


def test_one_image_labeled_by_two_people_for_different_categories_has_the_objects_of_both(tmp_path: Path) -> None:
    cars = data_set(tmp_path / "cars", {"1.jpg": ["car"], "2.jpg": ["car"]}, {"3.jpg": ["car"]}, Categories((CAR,)))
    cones = data_set(tmp_path / "cones", {"1.jpg": ["cone", "cone"]}, {"3.jpg": ["cone"]}, Categories((CONE,)), seed=1)
    for name in ("1.jpg", "3.jpg"):
        shutil.copy(cars / "images" / name, cones / "images" / name)
    merged(tmp_path / "out", cars, cones)
    expected = {
        "train": {"1.jpg": ["car", "cone", "cone"], "2.jpg": ["car"]},
        "val": {"3.jpg": ["car", "cone"]},
    }
    for split, names in expected.items():
        labels = COCO(str(tmp_path / "out" / f"{split}_coco.json"))
        found = {
            image["file_name"]: sorted(labels.cats[one["category_id"]]["name"] for one in labels.imgToAnns[image["id"]])
            for image in labels.dataset["images"]
        }
        assert found == names
    assert objects(tmp_path / "out") == sorted(objects(cars) + objects(cones))


def test_a_third_data_set_must_agree_with_the_one_that_labeled_its_category(tmp_path: Path) -> None:
    cars, cones, others = (
        data_set(tmp_path / name, {"1.jpg": [kind]}, {}, Categories((skeleton,)), seed=seed)
        for name, kind, skeleton, seed in (("a", "car", CAR, 0), ("b", "cone", CONE, 1), ("c", "cone", CONE, 2))
    )
    for data in (cones, others):
        shutil.copy(cars / "images" / "1.jpg", data / "images" / "1.jpg")
    done = run("merge", cars, cones, others, "--out", tmp_path / "out")
    assert "the labels of one image must be the same, but those of 1 image differ" in done.words
    assert f"{cones} (train): 1.jpg and {others} (train): 1.jpg" in done.words
    assert not (tmp_path / "out").exists()
