"""``subset --map``, ``--keypoints`` and ``--categories``: names and choices, with values calculated by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

import posetools
from posetools.core.categories import Categories
from posetools.core.dataset import DatasetBuilder, Image
from posetools.core.folder import categories_of
from posetools.core.place import Origin
from posetools.core.skeleton import Skeleton
from posetools.core.skeleton_draft import draft_skeleton
from tests.build import make_image
from tests.cli.run import run
from tests.converting import contents
from tests.two_categories import BOX, CAR, CONE, ROAD, VAN, data_set, written

DOG = Skeleton.model_validate(
    {
        "name": "dog",
        "category": {"name": "dog", "id": 3},
        "keypoints": [
            {"name": "nose", "color": [9, 9, 9]},
            {"name": "left-ear", "swap": "right-ear"},
            {"name": "right-ear", "swap": "left-ear"},
            "tail",
        ],
        "links": [{"points": ["nose", "left-ear"]}, {"points": ["nose", "tail"], "color": [1, 2, 3]}],
        "sigmas": [0.01, 0.02, 0.03, 0.04],
        "joint_weights": [1.0, 2.0, 3.0, 4.0],
        "rotation": 30,
    }
)
CAT = draft_skeleton("cat", ["tail", "nose"], "cat", category_id=5).skeleton
# x, y, visibility in the order of the skeleton.
DOG_POINTS = [[10, 20, 2], [30, 21, 1], [50, 22, 2], [70, 23, 1]]
ONE_EAR = [[0, 0, 0], [0, 0, 0], [51, 32, 2], [0, 0, 0]]
CAT_POINTS = [[90, 40, 2], [95, 45, 1]]


def pets(folder: Path, *skeletons: Skeleton) -> Path:
    """Write a data set with two dogs in a.jpg, and a cat in b.jpg if it is one of the categories."""
    builder = DatasetBuilder(Categories(skeletons))
    for name in ("a.jpg", "b.jpg"):
        path = make_image(folder.parent / "pictures" / name, (200, 100))
        builder.add_image(Image(name, 200, 100, path=path, split="train" if name == "a.jpg" else "val"))
    objects = [("a.jpg", DOG, DOG_POINTS, 5), ("a.jpg", DOG, ONE_EAR, 40), ("b.jpg", CAT, CAT_POINTS, 80)]
    for image, skeleton, points, left in objects:
        if skeleton in skeletons:
            builder.add_instance(
                image,
                box=np.array([left, 10, left + 80, 90]),
                keypoints=np.array(points),
                origin=Origin(image),
                area=1000.0 + left,
                category_id=skeleton.category.id,
            )
    posetools.write(builder.build(), folder)
    return folder


def edited(data: Path, *options: str) -> tuple[Path, str]:
    """Run ``posetools subset``; return the new data set and what was printed."""
    out = data.parent / "out"
    done = run("subset", data, "--out", out, *options)
    assert (done.status, done.err) == (0, "")
    return out, done.words


def in_file(file: Path) -> list[tuple[int, list[float], float, Sequence[Sequence[float]]]]:
    """Return (category id, bbox, area, keypoints) of each object, as pycocotools has them."""
    return [
        (one["category_id"], one["bbox"], one["area"], np.reshape(one["keypoints"], (-1, 3)).tolist())
        for one in COCO(str(file)).loadAnns(COCO(str(file)).getAnnIds())
    ]


def test_keypoints_of_a_dog_are_renamed_dropped_and_reordered(tmp_path: Path) -> None:
    data = pets(tmp_path / "pets", DOG)
    before = contents(data)
    out, printed = edited(data, "--map", "nose=snout", "--map", "dog=hound", "--keypoints", "tail,left-ear,snout")
    assert contents(data) == before
    assert in_file(out / "train_coco.json") == [
        (1, [5, 10, 80, 80], 1005, [[70, 23, 1], [30, 21, 1], [10, 20, 2]]),
        # Its only labeled keypoint is gone; the object stays.
        (1, [40, 10, 80, 80], 1040, [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
    ]
    assert COCO(str(out / "train_coco.json")).cats == {
        1: {
            "id": 1,
            "name": "hound",
            "supercategory": "hound",
            "keypoints": ["tail", "left-ear", "snout"],
            "skeleton": [[3, 2], [3, 1]],
        }
    }
    (hound,) = categories_of(out).skeletons
    assert (hound.name, hound.names, hound.pairs, hound.flip) == ("hound", ("tail", "left-ear", "snout"), (), False)
    assert (hound.sigmas, hound.joint_weights, hound.rotation) == ((0.04, 0.02, 0.01), (4.0, 2.0, 1.0), 30)
    assert [link.points for link in hound.links] == [("snout", "left-ear"), ("snout", "tail")]
    assert (hound.keypoints[2].color, hound.links[1].color) == ((9, 9, 9), (1, 2, 3))
    for note in (
        "hound: keypoints dropped: right-ear",
        "left/right pairs dropped: left-ear (with right-ear); training will not mirror images (flip: false)",
        "1 object without a labeled keypoint now, kept with the box",
        "hound: category id 1, was 3",
    ):
        assert note in printed
    read = posetools.read(out)
    assert (read.skeleton, len(read)) == (hound, 2)
    assert read.keypoints[0].tolist() == [[70, 23, 1], [30, 21, 1], [10, 20, 2]]
    options = json.loads((out / "conversion.json").read_text())["options"]
    assert options["map"] == {"nose": "snout", "dog": "hound"}
    assert options["keypoints"] == ["tail", "left-ear", "snout"]


def test_a_car_keeps_its_template_and_colors_under_new_names_and_loses_the_template_with_a_keypoint(
    tmp_path: Path,
) -> None:
    data = data_set(tmp_path / "cars", {"a.jpg": ["car"]}, {"b.jpg": ["car"]}, Categories((CAR,)))
    out, printed = edited(data, "--map", "left-front-tire=left-front-wheel")
    car = categories_of(out).only
    assert car.template is not None
    assert CAR.template is not None
    assert [point.name for point in car.template.points][2] == "left-front-wheel"
    assert car.pairs[2] == ("left-front-wheel", "right-front-tire")
    assert (car.name, car.flip_indices, car.sigmas) == ("car", CAR.flip_indices, CAR.sigmas)
    assert [each.color for each in car.keypoints] == [each.color for each in CAR.keypoints]
    np.testing.assert_array_equal(posetools.read(out).keypoints, posetools.read(data).keypoints)
    assert "dropped" not in printed
    half = [name for name in CAR.names if "bumper" in name][::-1]
    out, printed = edited(data, "--keypoints", ",".join(half), "--overwrite")
    bumpers = categories_of(out).only
    assert (bumpers.template, bumpers.names, bumpers.mirrors) == (None, tuple(half), True)
    assert "car: template dropped: it needs all keypoints" in printed
    columns = [CAR.index[name] for name in half]
    np.testing.assert_array_equal(posetools.read(out).keypoints, posetools.read(data).keypoints[:, columns])


def test_a_name_in_several_skeletons_is_that_of_all_or_of_one(tmp_path: Path) -> None:
    data = pets(tmp_path / "pets", DOG, CAT)
    out, _ = edited(data, "--map", "nose=snout")
    assert [each.names for each in categories_of(out).skeletons] == [
        ("snout", "left-ear", "right-ear", "tail"),
        ("tail", "snout"),
    ]
    out, printed = edited(data, "--map", "cat.nose=muzzle", "--keypoints", "cat.muzzle,cat.tail", "--overwrite")
    assert [each.names for each in categories_of(out).skeletons] == [DOG.names, ("muzzle", "tail")]
    assert in_file(out / "val_coco.json") == [(5, [80, 10, 80, 80], 1080, [[95, 45, 1], [90, 40, 2]])]
    assert in_file(out / "train_coco.json")[0][3] == DOG_POINTS
    assert "dropped" not in printed
    # A plain name is for all categories that have it; those without any of the names keep theirs.
    out, _ = edited(data, "--keypoints", "nose,left-ear", "--overwrite")
    assert [each.names for each in categories_of(out).skeletons] == [("nose", "left-ear"), ("nose",)]
    out, _ = edited(data, "--keypoints", "left-ear", "--overwrite")
    assert [each.names for each in categories_of(out).skeletons] == [("left-ear",), CAT.names]


def test_categories_are_merged_dropped_and_reordered(tmp_path: Path) -> None:
    images = {"a.jpg": ["car", "van", "cone"], "b.jpg": ["van"], "c.jpg": ["cone"]}
    data = data_set(tmp_path / "road", images, {"d.jpg": ["cone", "car"]}, Categories((CAR, VAN, CONE)))
    out, _ = edited(data, "--map", "van=car", "--categories", "cone,car")
    before, after = written(data), written(out)
    assert list(after.categories.ids.items()) == [("cone", 4), ("car", 1)]
    assert after.categories[1] == CAR
    assert after.category_ids.tolist() == [1, 1, 4, 1, 4, 4, 1]
    for one, was in zip(after, before, strict=True):
        assert (one.image.file_name, one.box.tolist(), one.keypoints.tolist()) == (
            was.image.file_name,
            was.box.tolist(),
            was.keypoints.tolist(),
        )
    assert set(COCO(str(out / "val_coco.json")).cats) == {1, 4}
    # Images stay when their objects go: they are images of the background.
    out, printed = edited(data, "--categories", "cone", "--overwrite")
    cones = COCO(str(out / "train_coco.json"))
    assert (len(cones.imgs), len(cones.anns), list(cones.cats)) == (3, 2, [1])
    assert "train: kept 3 of 3 images, 2 of 5 objects" in printed
    assert categories_of(out).only.names == CONE.names


def test_conditions_are_on_objects_of_the_kept_categories(tmp_path: Path) -> None:
    data = data_set(tmp_path / "road", {"a.jpg": ["car", "cone"], "b.jpg": ["car"], "c.jpg": ["cone"]}, {})
    document = json.loads((data / "train_coco.json").read_text())
    document["annotations"][1] |= {"area": 900.0}
    (data / "train_coco.json").write_text(json.dumps(document))
    for category, names in (("cone", ["a.jpg"]), ("car", [])):
        done = run("subset", data, "--out", tmp_path / category, "--categories", category, "--size", "small")
        found = COCO(str(tmp_path / category / "train_coco.json")).imgs.values() if done.status == 0 else []
        assert [image["file_name"] for image in found] == names


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--map", "top=tip"], "--map must be OLD=NEW, where OLD is a category, a keypoint or CATEGORY.KEYPOINT"),
        (
            ["--map", "tip=left-foot"],
            "--map must give a name of its own to each keypoint of 'cone', but tip and left-foot become 'left-foot'",
        ),
        (["--map", "cone=car"], "keypoints must be the same where 'car' and 'cone' become one category, but it lacks"),
        (["--map", "tip= "], "where NEW is a name without spaces at its ends"),
        (["--map", "c*=car", "--map", "co*=cone"], "--map must be clear about 'cone'"),
        (
            ["--map", "tip=top", "--keypoints", "tip"],
            "--keypoints must be names in the data set, as --map renames them",
        ),
        (["--keypoints", "tip,tip"], "--keypoints must be each name once, got 'tip'"),
        (["--categories", "truck"], "--categories must be names in the data set, as --map renames them, got 'truck'"),
        (["--categories", "car", "--keypoints", "tip"], "--keypoints must be names in the data set"),
        (["--categories", "box"], "--categories must be at least one category with keypoints, got ['box']"),
    ],
)
def test_what_cannot_be_edited_is_said_and_nothing_is_written(tmp_path: Path, options: list[str], problem: str) -> None:
    data = data_set(tmp_path / "road", {"a.jpg": ["car", "cone", "box"]}, {}, Categories((*ROAD.skeletons, BOX)))
    done = run("subset", data, "--out", tmp_path / "out", *options)
    assert done.status == 2
    assert problem in done.words
    assert not (tmp_path / "out").exists()


def test_pairs_that_disagree_cannot_become_one_category(tmp_path: Path) -> None:
    plain = CONE.model_validate({"name": "post", "category": {"name": "post", "id": 6}, "keypoints": list(CONE.names)})
    points = [point.model_copy(update={"swap": None}) for point in plain.keypoints]
    post = Skeleton.model_validate({"name": "post", "category": plain.category, "keypoints": points})
    data = data_set(tmp_path / "road", {"a.jpg": ["cone", "post"]}, {}, Categories((CONE, post)))
    done = run("subset", data, "--out", tmp_path / "out", "--map", "post=cone")
    assert "swaps must be the same where 'cone' and 'post' become one category" in done.words
    assert "those of left-foot, right-foot differ" in done.words
