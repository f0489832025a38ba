"""An object other than a car, from labels to configs: no command takes it for a car."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

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


FIX = f"posetools skeleton new dog.yaml --category dog --keypoints {','.join(POINTS)}"


@pytest.mark.parametrize(
    "command",
    [
        ["convert", "photos", "--out", "data/dogs"],
        ["annotate", "photos"],
        ["review", "photos", "--out", "review"],
        ["view", "photos", "--out", "sheet.jpg"],
        ["diff", "photos", "photos"],
        ["sigmas", "photos", "photos"],
    ],
    ids=lambda command: command[0],
)
@pytest.mark.usefixtures("program", "dogs")
def test_labels_of_a_dog_are_not_read_as_a_cars_and_it_is_said_what_to_type(command: list[str]) -> None:
    done = run(*command)
    assert (done.status, done.out) == (2, "")
    first, fix, then = done.err.splitlines()
    assert first == (
        "error: photos: labels must be names of a built-in skeleton (car8, coco17) without --skeleton, "
        "got 'dog, left_ear, left_paw, nose, right_ear, right_paw, tail'"
    )
    assert (fix, then) == (f"  fix: {FIX}", "       then add: --skeleton dog.yaml")
    assert run(*shlex.split(fix.partition("posetools ")[2])).status == 0
    assert read_skeleton(Path("dog.yaml")) == DOG
    done = run(*command, "--skeleton", "dog.yaml")
    # Sigmas need more objects than there are.
    assert done.status == 0 or command[0] == "sigmas", done.err
    assert "tire" not in done.out + done.err and "bumper" not in done.out + done.err


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
    with pytest.raises(RequestError, match="set/photos: labels must be names of a built-in skeleton"):
        own_skeleton([Path("set/photos")])
    label_objects(Path("set/more"), COCO17)
    assert own_skeleton([Path("set/more")]).skeleton == COCO17


def test_what_the_labels_are_called_is_shown_without_its_control_characters(tmp_path: Path) -> None:
    label_objects(tmp_path, draft_skeleton("x", ["a\x1b[2Jb", "nose,tail"], "; rm").skeleton)
    with pytest.raises(RequestError) as caught:
        own_skeleton([tmp_path])
    text = str(caught.value)
    assert "\x1b" not in text
    assert "\n  fix: posetools skeleton new FILE --keypoints A,B,...\n" in text


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


def test_dogs_get_no_names_of_a_car_proposed_in_any_format(dogs: Path) -> None:
    Path("dog.yaml").write_text(dump_skeleton(DOG), encoding="utf-8")
    assert run("convert", dogs, "--out", "dogs", "--skeleton", "dog.yaml").status == 0
    (Path("dogs") / "conversion.json").unlink()
    for target in ("cvat", "label-studio", "via", "deeplabcut", "yolo-pose"):
        done = run("convert", dogs, "--out", target, "--to", target, "--skeleton", "dog.yaml")
        assert done.status == 0, done.err
        Path(target, "conversion.json").unlink()
        done = run("convert", target, "--out", "out")
        assert done.status in (1, 2)
        assert "if you mean" not in done.words and "tire" not in done.words, done.words


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
