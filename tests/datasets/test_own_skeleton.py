"""An object other than a car, from labels to configs: no command takes it for a car."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO

import posetools
from posetools.core.folder import categories_of, skeleton_of
from posetools.core.skeleton import Skeleton, dump_skeleton, load_skeleton, read_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.datasets.own_skeleton import keep_skeleton, own_skeleton
from posetools.errors import InputError, RequestError
from posetools.formats.labels import near_name
from tests.build import make_image
from tests.cli.run import run
from tests.labeling.test_annotate import program

__all__ = ["program"]

CAR8, COCO17 = load_skeleton("car8"), load_skeleton("coco17")
POINTS = ("nose", "left_ear", "right_ear", "tail", "left_paw", "right_paw")
DOG = draft_skeleton("dog", POINTS, "dog").skeleton


def label_objects(folder: Path, skeleton: Skeleton, number: int = 4) -> Path:
    """Write images with a labelme file each, one object in them, its points in the skeleton's order."""
    rng = np.random.default_rng(1)
    for index in range(number):
        make_image(folder / f"{index}.jpg", (160, 120), seed=index)
        box = shape(skeleton.category.name, "rectangle", [[20, 20], [140, 100]])
        points = [shape(name, "point", [[*rng.uniform(30, 90, 2)]]) for name in skeleton.names]
        document = {"imagePath": f"{index}.jpg", "shapes": [box, *points]}
        (folder / f"{index}.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def shape(label: str, kind: str, points: list[list[float]]) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": points, "group_id": 0}


@pytest.fixture
def dogs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return label_objects(Path("photos"), DOG)


COMMANDS = [
    ["convert", "photos", "--out", "data/dogs"],
    ["annotate", "photos"],
    ["review", "photos", "--out", "review"],
    ["view", "photos", "--out", "sheet.jpg"],
    ["diff", "photos", "photos"],
    ["sigmas", "photos", "photos"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.usefixtures("program", "dogs")
def test_labels_of_a_dog_are_read_as_a_dogs_without_a_skeleton_file(command: list[str]) -> None:
    done = run(*command)
    # Sigmas need more objects than there are.
    assert done.status == 0 or (command[0] == "sigmas" and "at least 20 objects" in done.words), done.err
    assert "tire" not in done.out + done.err and "bumper" not in done.out + done.err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.usefixtures("program")
def test_boxes_alone_of_a_dog_are_not_read_as_a_cars_and_it_is_said_what_to_type(
    command: list[str], dogs: Path
) -> None:
    for file in dogs.glob("*.json"):
        document = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps({**document, "shapes": document["shapes"][:1]}), encoding="utf-8")
    done = run(*command)
    assert (done.status, done.out) == (2, "")
    # Commands that read as convert does point to its options.
    more = (
        []
        if command[0] == "convert"
        else ["       `posetools convert photos --out NEW` lists all errors and has options for them"]
    )
    assert done.err.splitlines() == [
        "error: photos: labels must have keypoints to make a skeleton of, or be names of a built-in one "
        "(car8, coco17), got only 'dog'",
        "  fix: posetools skeleton new dog.yaml --category dog --keypoints A,B,...",
        "       then add: --skeleton dog.yaml",
        *(more if command[0] in ("view", "diff", "sigmas") else []),
    ]


def test_the_skeleton_of_labels_is_the_data_sets_from_then_on(dogs: Path) -> None:
    done = run("convert", dogs, "--out", "set")
    assert done.status == 0, done.err
    assert "skeleton dog: category 'dog', 6 keypoints, from photos" in done.words
    assert "left/right pairs: left_ear - right_ear, left_paw - right_paw" in done.words
    assert read_skeleton(Path("set/skeleton.yaml")) == DOG
    record = json.loads(Path("set/conversion.json").read_text(encoding="utf-8"))
    assert (record["options"]["skeleton"], Skeleton.model_validate(record["skeleton"])) == (None, DOG)
    # An edited file is the skeleton of all later commands, and of data sets made from this one.
    wide = DOG.model_copy(update={"sigmas": (0.2,) * 6})
    Path("set/skeleton.yaml").write_text(dump_skeleton(wide), encoding="utf-8")
    assert run("validate", "set").status == 0
    assert run("subset", "set", "--out", "part", "--limit", "2").status == 0
    assert run("convert", "set", "--out", "again").status == 0
    assert run("split", "again", "--val", "0.5").status == 0
    for folder in ("part", "again"):
        assert read_skeleton(Path(folder) / "skeleton.yaml") == skeleton_of(Path(folder)) == wide


def test_a_data_set_of_another_program_has_the_skeleton_of_its_categories(dogs: Path) -> None:
    for name in ("a", "b"):
        assert run("convert", dogs, "--out", name, "--seed", "1").status == 0
        for record in ("conversion.json", "skeleton.yaml"):
            (Path(name) / record).unlink()
        for file in Path(name).glob("*_coco.json"):
            document = json.loads(file.read_text(encoding="utf-8"))
            document["categories"][0] |= {"supercategory": "animal", "skeleton": [[1, 2], [1, 3]]}
            file.write_text(json.dumps(document), encoding="utf-8")
    skeleton = skeleton_of(Path("a"))
    assert (skeleton.names, skeleton.pairs) == (POINTS, (("left_ear", "right_ear"), ("left_paw", "right_paw")))
    assert (skeleton.category.name, skeleton.edges) == ("dog", ((0, 1), (0, 2)))
    for command in (
        ["validate", "a"],
        ["split", "a", "--val", "0.25"],
        ["subset", "a", "--out", "part", "--limit", "2"],
        ["diff", "a", "b"],
        ["view", "a", "--out", "sheet.jpg"],
        ["config", "a"],
        ["review", "a", "--out", "review"],
        ["convert", "a", "--out", "again"],
    ):
        done = run(*command)
        assert done.status == 0, (command, done.words)
    for folder in ("part", "again"):
        made = read_skeleton(Path(folder) / "skeleton.yaml")
        assert (made.names, made.pairs, made.edges) == (skeleton.names, skeleton.pairs, skeleton.edges)


def test_all_categories_with_keypoints_are_taken_or_those_that_an_option_names(dogs: Path) -> None:
    for number, file in enumerate(sorted(dogs.glob("*.json"))):
        if number % 2:
            file.write_text(file.read_text(encoding="utf-8").replace('"dog"', '"cat"'), encoding="utf-8")
    done = run("convert", dogs, "--out", "set")
    assert done.status == 0
    assert "skeleton dog: categories 'dog', 'cat', 6 keypoints" in done.words
    assert list(categories_of(Path("set")).ids) == ["dog", "cat"]
    assert {one["name"] for one in COCO(str(Path("set") / "train_coco.json")).cats.values()} == {"dog", "cat"}
    for source, out in (("set", "one-of-set"), (dogs, "one")):
        assert run("convert", source, "--out", out, "--categories", "cat", "--val", "0").status == 0
        assert skeleton_of(Path(out)).category.model_dump() == {"name": "cat", "id": 1}
    assert run("convert", dogs, "--out", "both", "--map", "cat=dog").status == 0
    assert skeleton_of(Path("both")).category.name == "dog"
    with pytest.raises(RequestError, match="set must be one category, which this command needs, got"):
        skeleton_of(Path("set"))
    with pytest.raises(RequestError, match="fix: `posetools convert SRC --categories NAME"):
        assert own_skeleton([Path("set")]).skeleton


def label_categories(folder: Path, skeletons: Sequence[Skeleton], number: int = 4) -> Path:
    """Write images with a labelme file each: an object of each skeleton side by side, in groups."""
    rng = np.random.default_rng(1)
    for index in range(number):
        make_image(folder / f"{index}.jpg", (160 * len(skeletons), 120), seed=index)
        shapes = []
        for group, skeleton in enumerate(skeletons):
            left = 160.0 * group
            at = (rng.uniform(30, 90, (skeleton.num_keypoints, 2)).round(1) + np.array([left, 0])).tolist()
            own = [shape(skeleton.category.name, "rectangle", [[left, 20], [left + 140, 100]])]
            own += [shape(name, "point", [xy]) for name, xy in zip(skeleton.names, at, strict=True)]
            shapes += [{**one, "group_id": group} for one in own]
        document = {"imagePath": f"{index}.jpg", "shapes": shapes}
        (folder / f"{index}.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


CONE = draft_skeleton("cone", ["tip", "left-foot", "right-foot"], "cone").skeleton
ONE_SIDE = draft_skeleton("car", ["left-front-tire", "left-rear-tire", "left-front-bumper"], "car").skeleton
CAT = draft_skeleton("cat", [*reversed(POINTS)], "cat").skeleton


def written(folder: Path) -> dict[int, tuple[str, list[str], int]]:
    """Return category id -> its name, its keypoints and the number of its objects, as pycocotools reads train."""
    coco = COCO(str(folder / "train_coco.json"))
    return {
        one["id"]: (one["name"], one["keypoints"], len(coco.getAnnIds(catIds=[one["id"]])))
        for one in coco.loadCats(coco.getCatIds())
    }


def test_each_category_has_its_own_skeleton_and_a_car_of_which_one_side_is_labeled_has_car8(tmp_path: Path) -> None:
    source, out = label_categories(tmp_path / "street", [CONE, ONE_SIDE]), tmp_path / "set"
    done = run("convert", source, "--out", out, "--val", "0.25")
    assert done.status == 0, done.err
    assert "skeleton cone: category 'cone', 3 keypoints" in done.words
    assert "left/right pairs: left-foot - right-foot" in done.words
    assert "skeleton car8: category 'car', 8 keypoints" in done.words
    assert "note: cone: sigmas are 0.05, a default" in done.words
    assert written(out) == {1: ("cone", list(CONE.names), 3), 2: ("car", list(CAR8.names), 3)}
    assert list(categories_of(out).posed) == ["cone", "car8"]
    # The data set has these categories from then on, in this order.
    again = tmp_path / "again"
    assert run("convert", out, "--out", again).status == 0
    assert written(again) == written(out)
    assert (again / "skeleton.yaml").read_bytes() == (out / "skeleton.yaml").read_bytes()
    assert posetools.read(again) == posetools.read(out)
    # A category of it, with the id that a single one has.
    assert run("convert", out, "--out", tmp_path / "cones", "--categories", "cone").status == 0
    assert written(tmp_path / "cones") == {1: ("cone", list(CONE.names), 3)}
    shown = run("skeleton", "show", out / "skeleton.yaml", "--yaml")
    assert shown.out == (out / "skeleton.yaml").read_text(encoding="utf-8")
    checked = run("skeleton", "check", out / "skeleton.yaml")
    assert [line.split("valid: ")[1].split(",")[0] for line in checked.out.splitlines()] == ["cone", "car8"]


def test_categories_with_the_same_keypoints_in_another_order_share_a_skeleton(tmp_path: Path) -> None:
    source, out = label_categories(tmp_path / "pets", [DOG, CAT]), tmp_path / "set"
    done = run("convert", source, "--out", out)
    assert done.status == 0, done.err
    assert "skeleton dog: categories 'dog', 'cat', 6 keypoints" in done.words
    assert list(categories_of(out).posed) == ["dog"]
    assert written(out) == {1: ("dog", list(POINTS), 3), 2: ("cat", list(POINTS), 3)}
    # The points are where they were labeled: the first of a cat is its right paw.
    first = json.loads((source / "0.json").read_text(encoding="utf-8"))["shapes"][8]
    (cat,) = (one for one in posetools.read(source) if one.category_id == 2 and one.image.file_name == "0.jpg")
    assert first["label"] == "right_paw" and cat.keypoints[5, :2].tolist() == first["points"][0]


@pytest.mark.parametrize("of_set", [False, True], ids=["labels", "data set"])
@pytest.mark.parametrize(
    ("maps", "names"),
    [(["*=animal"], ["animal"]), (["cat=dog"], ["dog"]), (["cat=kitten"], ["dog", "kitten"])],
    ids=lambda value: ",".join(value),
)
def test_categories_that_share_a_skeleton_are_renamed_and_joined(
    maps: list[str], names: list[str], of_set: bool, tmp_path: Path
) -> None:
    source = label_categories(tmp_path / "pets", [DOG, CAT])
    if of_set:
        assert run("convert", source, "--out", tmp_path / "set").status == 0
        source = tmp_path / "set"
    done = run("convert", source, "--out", tmp_path / "out", *(part for each in maps for part in ("--map", each)))
    assert done.status == 0, done.err
    found = written(tmp_path / "out")
    assert [name for name, *_ in found.values()] == names
    assert all(points == list(POINTS) for _, points, _ in found.values())
    assert sum(number for *_, number in found.values()) == 6


def test_a_category_without_keypoints_is_read_only_if_it_is_named(tmp_path: Path) -> None:
    barrier = Skeleton.model_validate({"name": "barrier", "keypoints": []})
    source = label_categories(tmp_path / "street", [CONE, barrier])
    done = run("convert", source, "--out", tmp_path / "no")
    assert done.status == 1 and "--ignore 'barrier'" in done.words
    done = run("convert", source, "--out", tmp_path / "set", "--categories", "cone,barrier")
    assert done.status == 0, done.err
    assert "boxes only: category 'barrier'" in done.words
    assert written(tmp_path / "set") == {1: ("cone", list(CONE.names), 3), 2: ("barrier", [], 3)}
    assert run("validate", tmp_path / "set").status == 0


def test_categories_with_different_keypoints_are_not_joined(tmp_path: Path) -> None:
    assert run("convert", label_categories(tmp_path / "a", [DOG, CONE]), "--out", tmp_path / "set").status == 0
    done = run("convert", tmp_path / "set", "--out", tmp_path / "out", "--map", "cone=dog")
    assert done.status == 2 and not (tmp_path / "out").exists()
    assert "--map must be for categories with the same keypoints as 'dog', got 'cone=dog'" in done.err


def test_a_label_that_may_be_a_mistake_is_refused_with_both_names_but_can_be_corrected_in_labelme(
    dogs: Path, program: Path
) -> None:
    first = dogs / "0.json"
    first.write_text(first.read_text(encoding="utf-8").replace('"left_paw"', '"left_paws"'), encoding="utf-8")
    done = run("convert", dogs, "--out", "set")
    assert (done.status, done.out) == (2, "")
    assert "'left_paws'" in done.err and "'left_paw'" in done.err
    assert "--map 'left_paws=left_paw'" in done.words and "--ignore" in done.words, done.err
    done = run("annotate", dogs)
    assert done.status == 0, done.err
    _, text = json.loads((program / "called.json").read_text())
    assert yaml.safe_load(text)["labels"] == [
        "dog",
        "nose",
        "left_ear",
        "right_ear",
        "tail",
        "left_paws",
        "right_paw",
        "left_paw",
    ]
    assert run("convert", dogs, "--out", "set", "--map", "left_paws=left_paw").status == 0
    assert set(skeleton_of(Path("set")).names) == set(POINTS)


def test_from_labelme_files_to_configs_and_back_to_labelme(program: Path, dogs: Path) -> None:
    Path("dog.yaml").write_text(dump_skeleton(DOG), encoding="utf-8")
    assert run("convert", dogs, "--out", "data/dogs", "--skeleton", "dog.yaml", "--val", "0.25").status == 0
    done = run("config", "data/dogs", "--explain")
    assert done.status == 0, done.err
    assert "rotation 80, 60 15" in done.words and "too few to measure their rotation" in done.words
    assert "car" not in Path("configs/rtmpose-m_dog.py").read_text(encoding="utf-8").lower().replace("card", "")
    # In a data set the record names the keypoints.
    for folder in ("data/dogs", "data/dogs/images"):
        done = run("annotate", folder)
        assert done.status == 0, done.err
        assert "each dog: draw a rectangle" in done.out and "skeleton: dog, from the data set data/dogs" in done.out
        _, text = json.loads((program / "called.json").read_text())
        assert yaml.safe_load(text)["labels"] == ["dog", *POINTS]
    assert run("view", "data/dogs", "--out", "sheet.jpg").status == 0
    # From a data set to a review and to labelme, without naming the skeleton again.
    done = run("review", "data/dogs", "--out", "review")
    assert "next: posetools annotate review/pictures" in done.out
    done = run("annotate", "review/pictures", "--then-convert", "again")
    assert done.status == 0, done.out + done.err
    assert "skeleton: dog, from review/skeleton.yaml" in done.out
    recorded = json.loads(Path("again/conversion.json").read_text(encoding="utf-8"))
    assert Skeleton.model_validate(recorded["skeleton"]) == DOG
    assert recorded["options"]["skeleton"] == "review/skeleton.yaml"


@pytest.mark.usefixtures("program")
def test_a_skeleton_beside_the_images_is_theirs(dogs: Path) -> None:
    (dogs / "skeleton.yaml").write_text(dump_skeleton(DOG), encoding="utf-8")
    assert run("annotate", dogs).status == 0
    done = run("convert", dogs, "--out", "data/dogs")
    assert done.status == 0, done.err
    assert json.loads(Path("data/dogs/conversion.json").read_text())["options"]["skeleton"] == "photos/skeleton.yaml"
    assert own_skeleton([dogs], "coco17").skeleton == COCO17
    (dogs / "skeleton.yaml").write_text("name: 3\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"photos/skeleton\.yaml"):
        own_skeleton([dogs])


@pytest.mark.parametrize("skeleton", [CAR8, COCO17], ids=lambda one: one.name)
def test_labels_of_a_built_in_skeleton_are_its(tmp_path: Path, skeleton: Skeleton) -> None:
    label_objects(tmp_path, skeleton)
    own = own_skeleton([tmp_path])
    assert (own.skeleton, own.option) == (skeleton, skeleton.name)
    out = tmp_path.parent / f"{tmp_path.name}-set"
    assert run("convert", tmp_path, "--out", out).status == 0
    assert json.loads((out / "conversion.json").read_text())["options"]["skeleton"] == skeleton.name


def test_slips_and_other_objects_do_not_make_another_skeleton(tmp_path: Path) -> None:
    label_objects(tmp_path, CAR8, 1)
    document = json.loads((tmp_path / "0.json").read_text())
    document["shapes"][1]["label"] = "left-front-bumber"
    document["shapes"].append(shape("truck", "rectangle", [[1, 1], [9, 9]]))
    (tmp_path / "0.json").write_text(json.dumps(document))
    assert own_skeleton([tmp_path]).skeleton == CAR8
    done = run("convert", tmp_path, "--out", tmp_path.parent / "out")
    assert done.status == 1
    assert "--map 'left-front-bumber=left-front-bumper' maps it to the likely name" in done.words
    assert "--skeleton FILE for another object" in done.words


def test_names_that_are_mapped_or_ignored_count_as_what_they_stand_for(dogs: Path) -> None:
    Path("out").mkdir()
    names = dict(zip(POINTS, CAR8.names, strict=False)) | {"dog": "car"}
    maps = [part for old, new in names.items() for part in ("--map", f"{old}={new}")]
    assert run("convert", dogs, "--out", "out/a", *maps).status == 0
    ignored = [part for name in POINTS for part in ("--ignore", name)]
    assert run("convert", dogs, "--out", "out/b", *ignored, "--map", "dog=car").status == 0


@pytest.mark.usefixtures("program")
def test_where_nothing_is_labeled_the_default_holds_and_is_said(tmp_path: Path) -> None:
    make_image(tmp_path / "photos/a.jpg", (96, 80))
    done = run("annotate", tmp_path / "photos")
    assert done.status == 0
    assert "skeleton: car8, the default, as there are no labels yet" in done.out


def test_a_data_set_around_that_the_labels_are_not_of_does_not_count(dogs: Path) -> None:
    assert run("convert", label_objects(Path("street"), CAR8), "--out", "set").status == 0
    dogs.rename("set/photos")
    assert own_skeleton([Path("set/photos")]).skeleton == DOG
    label_objects(Path("set/more"), COCO17)
    assert own_skeleton([Path("set/more")]).skeleton == COCO17


def test_what_the_labels_are_called_is_shown_without_its_control_characters(tmp_path: Path) -> None:
    label_objects(tmp_path, draft_skeleton("x", ["a\x1b[2Jb", "nose,tail"], "; rm").skeleton)
    out = tmp_path.parent / f"{tmp_path.name}-set"
    done = run("convert", tmp_path, "--out", out)
    assert done.status == 0, done.err
    assert "\x1b" not in done.out + done.err
    assert read_skeleton(out / "skeleton.yaml").names == ("a\x1b[2Jb", "nose,tail")


def test_models_leave_their_skeleton_in_a_folder_once(tmp_path: Path) -> None:
    assert keep_skeleton(tmp_path, CAR8) is None
    assert keep_skeleton(tmp_path, DOG) == tmp_path / "skeleton.yaml"
    assert read_skeleton(tmp_path / "skeleton.yaml") == DOG
    assert keep_skeleton(tmp_path, DOG.model_copy(update={"sigmas": (0.1,) * 6})) is None
    assert read_skeleton(tmp_path / "skeleton.yaml") == DOG
    with pytest.raises(RequestError, match=r"skeleton\.yaml: keypoints must be those of the models") as caught:
        keep_skeleton(tmp_path, COCO17)
    assert "fix: choose models of this skeleton" in str(caught.value)


@pytest.mark.parametrize(
    ("label", "near"),
    [
        ("left-front-tyre", "left-front-tire"),
        ("LeftFrontTire", "left-front-tire"),
        ("left front tire", "left-front-tire"),
        ("front-left-tire", "left-front-tire"),
        ("right_rear_tires", "right-rear-tire"),
        ("cars", "car"),
        ("left_ear", None),
        ("left-rear-leg", None),
        ("left-front-paw", None),
        ("left-front-wheel", None),
        ("cat", None),
        ("nose", None),
        ("", None),
    ],
)
def test_only_a_slip_of_a_name_is_taken_for_it(label: str, near: str | None) -> None:
    assert near_name(label, ("car", *CAR8.names)) == near


@pytest.mark.parametrize("target", ["cvat", "label-studio", "via", "deeplabcut", "yolo-pose", "labelme"])
def test_dogs_are_read_as_dogs_in_any_format(dogs: Path, target: str) -> None:
    done = run("convert", dogs, "--out", "there", "--to", target)
    assert done.status == 0, done.err
    Path("there/conversion.json").unlink()
    more = ["--box-from", "keypoints", "--assume-visible"] if target == "deeplabcut" else []
    done = run("convert", "there", "--out", "out", *more)
    assert done.status == 0, done.words
    assert set(skeleton_of(Path("out")).names) == set(POINTS)
    assert "tire" not in done.words, done.words


def test_predictions_of_another_object_say_which_skeleton_to_write(dogs: Path) -> None:
    for file in dogs.glob("*.json"):
        file.unlink()
    thresholds = {"bbox_thr": 0.3, "nms_thr": 0.3, "kpt_thr": 0.3}
    document = {"posetools": "0.1.0", "skeleton": "dog", "category": "dog", "keypoint_names": POINTS, "pictures": []}
    Path("predictions.json").write_text(json.dumps({**document, "thresholds": thresholds}))
    done = run("review", dogs, "--predictions", "predictions.json")
    assert done.status == 2
    hint = f"choose it with --skeleton FILE; `posetools skeleton new FILE --keypoints {','.join(POINTS)}` writes one"
    assert hint in done.words
