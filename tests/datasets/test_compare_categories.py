"""``diff`` and ``sigmas`` of data sets with several categories, each with its own keypoints."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import posetools
from posetools.core.categories import Categories, dump_categories, read_categories
from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.folder import categories_of
from posetools.core.place import Origin
from posetools.core.skeleton import dump_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from tests.cli.run import run
from tests.two_categories import CAR, CONE, ROAD, VAN, objects

STREET = Categories((CAR, VAN, CONE))


def pair_of(tmp_path: Path, a: Dataset, b: Dataset) -> tuple[Path, Path]:
    for name, data in (("a", a), ("b", b)):
        posetools.write(data, tmp_path / name, images="none")
    return tmp_path / "a", tmp_path / "b"


def compared(a: Path, b: Path) -> tuple[dict[str, Any], str]:
    done = run("diff", a, b, "--json", a.parent / "diff.json")
    assert done.status == 0, done.err
    document: dict[str, Any] = json.loads((a.parent / "diff.json").read_text())
    return document, done.words


def changed(data: Dataset, ids: Sequence[int] | None = None, move: tuple[int, int] | None = None) -> Dataset:
    """Return the data with other categories, and with the keypoint (row, column) 5 px to the right."""
    keypoints = data.keypoints.copy()
    if move:
        keypoints[move][:] += (5.0, 0.0, 0.0)
    return replace(data, keypoints=keypoints, category_ids=np.array(data.category_ids if ids is None else ids))


def test_changes_are_reported_for_the_keypoints_of_each_category(tmp_path: Path) -> None:
    data = objects({"1.jpg": ["car", "cone", "van"], "2.jpg": ["cone"]}, STREET)
    tip = STREET.index["tip"]
    # The first object, a car, becomes a van; the cone's tip moves; the second image's cone is gone.
    again = changed(data, [2, 4, 2, 4], (1, tip))
    again = again.take(again.images, np.arange(3), again.image_index[:3])
    document, printed = compared(*pair_of(tmp_path, data, again))
    assert document["categories"] == {
        "car": {"both": 1, "added": 0, "removed": 0, "changed": {"van": 1}},
        "van": {"both": 1, "added": 0, "removed": 0, "changed": {}},
        "cone": {"both": 1, "added": 0, "removed": 1, "changed": {}},
    }
    assert [each["change"] for each in document["changes"]] == ["category", "moved"]
    category, moved = document["changes"]
    assert (category["file"], category["from"], category["to"]) == ("1.jpg", "car", "van")
    assert (moved["keypoint"], moved["pixels"]) == ("tip", 5.0)
    assert set(document["keypoints"]) == {
        f"{one.category.name}.{name}" for one in STREET.skeletons for name in one.names
    }
    assert document["keypoints"]["cone.tip"]["moved"]["mean"] == 5.0
    # Both categories have a car's keypoints: these are compared, and none moved.
    labeled = int((data.keypoints[0, STREET.columns[1], 2] > 0).sum())
    assert sum(document["keypoints"][f"car.{name}"]["labelled"]["b"] for name in CAR.names) == labeled
    assert document["overall"]["moved"]["number"] == 1
    assert "│ car │ 1 │ 0 │ 0 │ van (1) │ │ van │ 1 │ 0 │ 0 │ │ │ cone │ 1 │ 0 │ 1 │ │" in printed


def test_keypoints_of_an_object_with_another_skeleton_are_not_compared(tmp_path: Path) -> None:
    data = objects({"1.jpg": ["car", "cone"]})
    document, _ = compared(*pair_of(tmp_path, data, objects({"1.jpg": ["cone", "cone"]})))
    assert document["categories"]["car"]["changed"] == {"cone": 1}
    assert all(each["labelled"]["a"] == 0 for name, each in document["keypoints"].items() if name.startswith("car."))


def test_an_object_of_the_same_category_is_preferred_to_a_nearer_one(tmp_path: Path) -> None:
    def two(*boxes: tuple[int, float]) -> Dataset:
        builder = DatasetBuilder(ROAD)
        builder.add_image(Image("1.jpg", 400, 100))
        for category, left in boxes:
            points = np.zeros((len(ROAD[category].names), 3))
            box = np.array([left, 10, left + 80, 90])
            builder.add_instance("1.jpg", box=box, keypoints=points, origin=Origin(""), category_id=category)
        return builder.build()

    document, _ = compared(*pair_of(tmp_path, two((1, 10.0), (4, 14.0)), two((4, 10.0), (1, 14.0))))
    assert [each["change"] for each in document["changes"]] == ["box moved", "box moved"]


def test_a_category_in_one_labeling_only_is_added_or_removed(tmp_path: Path) -> None:
    both, cars = objects({"1.jpg": ["car", "cone"]}), objects({"1.jpg": ["car"]}, Categories((CAR,)))
    document, _ = compared(*pair_of(tmp_path, cars, both))
    assert document["categories"]["cone"] == {"both": 0, "added": 1, "removed": 0, "changed": {}}
    other = draft_skeleton("cone", ["tip", "base"], "cone", category_id=4).skeleton
    posetools.write(objects({"1.jpg": ["cone"]}, Categories((CAR, other))), tmp_path / "c", images="none")
    done = run("diff", tmp_path / "b", tmp_path / "c")
    assert done.status == 2
    assert f"{tmp_path / 'c'}: keypoints of 'cone' must be those of {tmp_path / 'b'}" in done.words
    assert "these are in one only: base, left-foot, right-foot" in done.words


def labeled_twice(number: int = 60, seed: int = 3) -> tuple[Dataset, Dataset]:
    """Return cars, vans and cones labeled twice: a car's points spread by 4 px, a cone's by 8 px, in 100 x 100 px."""
    rng = np.random.default_rng(seed)
    a, b = DatasetBuilder(STREET), DatasetBuilder(STREET)
    for place in range(number):
        for builder in (a, b):
            builder.add_image(Image(f"{place:03}.jpg", 400, 120))
        for column, (category, skeleton) in enumerate(STREET.items()):
            left = 120.0 * column
            at = np.column_stack(
                [*rng.uniform(10, 90, (2, skeleton.num_keypoints)), np.full(skeleton.num_keypoints, 2)]
            )
            at[:, 0] += left
            moved = at.copy()
            # Keypoints that are near each other would look relabeled.
            moved[:, :2] += rng.normal(0, (8 if category == 4 else 4) / math.sqrt(2), (len(at), 2))
            for builder, points in ((a, at), (b, moved)):
                builder.add_instance(
                    f"{place:03}.jpg",
                    box=np.array([left, 10, left + 100, 110]),
                    keypoints=points,
                    origin=Origin(""),
                    category_id=category,
                )
    return a.build(), b.build()


def test_sigmas_of_each_skeleton_are_measured_and_written(tmp_path: Path) -> None:
    a, b = pair_of(tmp_path, *labeled_twice())
    before = categories_of(a)
    done = run("sigmas", a, b, "--json", tmp_path / "s.json", "--update", a / "skeleton.yaml")
    assert done.status == 0, done.err
    found = json.loads((tmp_path / "s.json").read_text())
    assert found["skeleton"] == "car8, cone"
    # Cars and vans share a skeleton, so its points are of both.
    assert (
        found["keypoints"]["car8.left-front-tire"]["objects"] + found["keypoints"]["car8.left-front-tire"]["relabelled"]
        == 120
    )
    after = categories_of(a)
    assert list(after) == list(before)
    assert after[1].sigmas == after[2].sigmas
    assert after[1].sigmas == pytest.approx([0.04] * 8, rel=0.25)
    assert after[4].sigmas == pytest.approx([0.08] * 3, rel=0.25)
    for number, skeleton in after.items():
        assert skeleton.model_copy(update={"sigmas": before[number].sigmas}) == before[number]


def test_sigmas_go_to_the_skeletons_that_a_file_has(tmp_path: Path) -> None:
    a, b = pair_of(tmp_path, *labeled_twice())
    alone = tmp_path / "cone.yaml"
    alone.write_text("# mine\n" + dump_skeleton(CONE))
    assert run("sigmas", a, b, "--update", alone).status == 0
    assert alone.read_text().startswith("# mine\n")
    assert read_categories(alone).only.sigmas == pytest.approx([0.08] * 3, rel=0.25)
    dog = draft_skeleton("dog", ["nose", "tail"], "dog", category_id=7).skeleton
    more = tmp_path / "more.yaml"
    more.write_text(dump_categories(Categories((dog, CONE))))
    done = run("sigmas", a, b, "--update", more)
    assert "unchanged: dog.nose, dog.tail" in done.words
    assert [one.sigmas for one in read_categories(more).skeletons] == [dog.sigmas, read_categories(alone).only.sigmas]
    more.write_text(dump_skeleton(dog))
    done = run("sigmas", a, b, "--update", more)
    assert done.status == 2
    assert "must be the measured ones, but these differ: left-foot" in done.words
