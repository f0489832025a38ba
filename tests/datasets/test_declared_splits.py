"""A split that folders declare is kept, test stays test, and copies of one photo are on one side."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from posetools.errors import RequestError
from posetools.training.request import TrainRequest, check_training
from tests.build import make_image
from tests.cli.run import run
from tests.imaging.mugs import label, skeleton

FOLDERS = {"train": 5, "valid": 2, "test": 3}
SPLIT_OF = {"train": "train", "valid": "val", "test": "test"}


def labelme_folders(root: Path) -> Path:
    for folder, number in FOLDERS.items():
        for at in range(number):
            image = root / folder / f"{folder}_{chr(97 + at)}.png"
            make_image(image, (64, 48))
            label(image, (64, 48))
    return root


def roboflow(root: Path, names: dict[str, list[str]]) -> Path:
    """Write Roboflow's COCO export: one folder per split, images next to the file."""
    rng = np.random.default_rng(0)
    for folder, files in names.items():
        (root / folder).mkdir(parents=True)
        images, annotations = [], []
        for at, name in enumerate(files):
            Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(root / folder / name)
            images.append({"id": at, "file_name": name, "width": 64, "height": 48, "extra": {"name": name}})
            box = {"bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0, "segmentation": []}
            annotations.append({"id": at, "image_id": at, "category_id": 1, "keypoints": [12, 12, 2, 20, 20, 1], **box})
        categories = [
            {"id": 0, "name": "mugs", "supercategory": "none"},
            {"id": 1, "name": "mug", "supercategory": "mugs", "keypoints": ["handle", "rim"], "skeleton": []},
        ]
        document = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
        (root / folder / "_annotations.coco.json").write_text(json.dumps(document))
    (root / "README.dataset.txt").write_text("mugs")
    return root


def mug_file(folder: Path) -> Path:
    path = folder / "mug.yaml"
    done = run("skeleton", "new", path, "--names", "handle,rim", "--category", "mug")
    assert done.status == 0, done.err
    return path


def images_of(out: Path) -> dict[str, set[str]]:
    """Return split -> its images, as read by pycocotools; all of them exist."""
    found = {}
    for path in sorted(out.glob("*_coco.json")):
        names = {image["file_name"] for image in COCO(path).dataset["images"]}
        assert all((out / "images" / name).is_file() for name in names)
        found[path.name.removesuffix("_coco.json")] = {Path(name).name for name in names}
    return found


@pytest.mark.parametrize("apart", [False, True], ids=["one source", "a source each"])
def test_folders_named_as_splits_are_kept(tmp_path: Path, apart: bool) -> None:
    source, out = labelme_folders(tmp_path / "src"), tmp_path / "out"
    sources = [source / folder for folder in FOLDERS] if apart else [source]
    done = run("convert", *sources, "--out", out, "--skeleton", skeleton(tmp_path))
    assert done.status == 0, done.out
    assert "split: as declared by the source" in done.out
    found = images_of(out)
    assert {split: len(names) for split, names in found.items()} == {"train": 5, "val": 2, "test": 3}
    for folder, split in SPLIT_OF.items():
        assert all(name.startswith(folder) for name in found[split])


@pytest.mark.parametrize(
    "folders",
    [
        {"train2017": "train", "val2017": "val", "test2017": "test"},
        {"training": "train", "validation": "val", "testing": "test"},
        {"Train": "train", "VAL_2024": "val", "test-dev2017": "test"},
    ],
)
def test_other_names_of_folders_of_a_split(tmp_path: Path, folders: dict[str, str]) -> None:
    source, out = tmp_path / "src", tmp_path / "out"
    for folder in folders:
        for name in "ab":
            image = make_image(source / folder / f"{folder}_{name}.png", (64, 48))
            label(image, (64, 48))
    done = run("convert", source, "--out", out, "--skeleton", skeleton(tmp_path))
    assert done.status == 0 and "split: as declared by the source" in done.out
    assert images_of(out) == {split: {f"{folder}_a.png", f"{folder}_b.png"} for folder, split in folders.items()}


@pytest.mark.parametrize(
    "folders", ["trains vals tests", "train2 val2 test2", "trainee value contest", "dev sub x-val"]
)
def test_folders_that_are_called_otherwise_declare_nothing(tmp_path: Path, folders: str) -> None:
    source, out = tmp_path / "src", tmp_path / "out"
    for folder in folders.split():
        for name in "abcd":
            label(make_image(source / folder / f"{folder}_{name}.png", (64, 48)), (64, 48))
    done = run("convert", source, "--out", out, "--skeleton", skeleton(tmp_path), "--split-by", "parent")
    assert done.status == 0
    found = images_of(out)
    assert set(found) == {"train", "val"} and len(found["val"]) == 4


@pytest.mark.parametrize("inner", ["images/{}", "{}/images"])
def test_yolo_folders_with_a_year(tmp_path: Path, inner: str) -> None:
    source, out = tmp_path / "src", tmp_path / "out"
    for folder in ("train2017", "val2017"):
        image = make_image(source / inner.format(folder) / f"{folder}.png", (64, 48))
        label_file = Path(str(image).replace("images", "labels")).with_suffix(".txt")
        label_file.parent.mkdir(parents=True)
        label_file.write_text("0 0.5 0.5 0.5 0.5 0.4 0.4 2 0.6 0.6 2\n")
    given = ["--kpt-shape", "2,3", "--kpt-order", "handle,rim"]
    done = run("convert", source, "--out", out, "--skeleton", mug_file(tmp_path), *given)
    assert done.status == 0 and "split: as declared by the source" in done.out, done.words
    assert images_of(out) == {"train": {"train2017.png"}, "val": {"val2017.png"}}


def test_test_stays_test_when_another_split_is_asked_for(tmp_path: Path) -> None:
    source, out = labelme_folders(tmp_path / "src"), tmp_path / "out"
    done = run("convert", source, "--out", out, "--skeleton", skeleton(tmp_path), "--val", "0.5")
    assert done.status == 0 and "test kept as declared by the source" in done.words
    found = images_of(out)
    assert all(name.startswith("test") for name in found["test"]) and len(found["test"]) == 3
    assert not any(name.startswith("test") for name in found["train"] | found["val"])


def test_one_folder_called_train_declares_nothing(tmp_path: Path) -> None:
    source, out = labelme_folders(tmp_path / "src"), tmp_path / "out"
    done = run("convert", source / "train", "--out", out, "--skeleton", skeleton(tmp_path))
    assert done.status == 0, done.out
    assert {split: len(names) for split, names in images_of(out).items()} == {"train": 4, "val": 1}


def found_in(path: Path, code: str) -> list[dict[str, str]]:
    """Return the findings of a code in a command's output file: --json, or conversion.json."""
    return [one for one in json.loads(path.read_text())["findings"] if one["code"] == code]


def copies(photo: str, *hashes: int) -> list[str]:
    return [f"{photo}_jpg.rf.{number:032x}.jpg" for number in hashes]


def test_a_download_of_roboflow(tmp_path: Path) -> None:
    names = {"train": [*copies("a", 1, 2), *copies("b", 3)], "valid": copies("c", 4), "test": copies("d", 5)}
    source = roboflow(tmp_path / "mugs-3", names)
    for at, sources in enumerate(([source], [source / folder for folder in names])):
        out = tmp_path / f"out{at}"
        done = run("convert", *sources, "--out", out, "--skeleton", mug_file(tmp_path))
        assert done.status == 0, done.out + done.err
        assert images_of(out) == {SPLIT_OF[folder]: set(files) for folder, files in names.items()}
        (tmp_path / "mug.yaml").unlink()


def test_copies_that_a_source_parts_are_found(tmp_path: Path) -> None:
    names = {"train": [*copies("a", 1, 2), *copies("b", 3)], "valid": copies("a", 4), "test": copies("b", 5, 6)}
    out = tmp_path / "out"
    done = run("convert", roboflow(tmp_path / "s", names), "--out", out, "--skeleton", mug_file(tmp_path))
    assert done.status == 0, done.out + done.err
    assert "W223 copies-across-splits (2)" in done.out
    assert "--val 0.1 splits train and val again and keeps copies of one photo together" in done.words
    run("validate", out, "--json", tmp_path / "found.json")
    leaks = [one["message"] for one in found_in(tmp_path / "found.json", "W223")]
    assert len(leaks) == 2
    assert "1 augmented copy of images in train" in leaks[1] and "2 augmented copies of images in train" in leaks[0]
    again = run("split", out, "--val", "0.4")
    assert again.status == 0, again.err
    assert {
        photo: sum(any(name.startswith(photo) for name in images_of(out)[side]) for side in ("train", "val"))
        for photo in "ab"
    } == {"a": 1, "b": 1}


def test_val_as_the_hint_on_copies_says(tmp_path: Path) -> None:
    names = {"train": [*copies("a", 1, 2), *copies("b", 3)], "valid": copies("a", 4), "test": copies("b", 5, 6)}
    out, source, mug = tmp_path / "out", roboflow(tmp_path / "s", names), mug_file(tmp_path)
    assert run("convert", source, "--out", out, "--skeleton", mug, "--val", "0.1").status == 0
    (left,) = found_in(out / "conversion.json", "W223")
    assert left["place"] == "test", "train and val share no photo any more, and test is said to"
    sides = [{name[0] for name in images_of(out)[split]} for split in ("train", "val")]
    assert sorted(map(sorted, sides)) == [["a"], ["b"]]


@pytest.mark.parametrize("ending", ["_jpg", "_PNG", ""])
def test_copies_are_told_by_their_hash_alone(tmp_path: Path, ending: str) -> None:
    """Programs that rename Roboflow's files omit the original's file extension."""
    names = {"train": [f"{photo}{ending}.rf.{at:032x}.jpg" for photo in "abcd" for at in range(3)]}
    out = tmp_path / "out"
    done = run(
        "convert", roboflow(tmp_path / "s", names), "--out", out, "--skeleton", mug_file(tmp_path), "--val", "0.3"
    )
    assert done.status == 0 and "augmented copies of one original stay together" in done.out
    sides = images_of(out)
    assert len(sides["val"]) == 3 and len({name[0] for name in sides["val"]}) == 1


def test_photos_of_one_name_are_no_copies(tmp_path: Path) -> None:
    names = {"train": ["a.jpg", "b.jpg", "c_jpg.rf.short.jpg"], "valid": ["a.jpg", "c_jpg.rf.other.jpg"]}
    out = tmp_path / "out"
    done = run("convert", roboflow(tmp_path / "s", names), "--out", out, "--skeleton", mug_file(tmp_path))
    assert done.status == 0 and "W223" not in done.out + run("validate", out).out


def test_an_image_in_two_declared_splits(tmp_path: Path) -> None:
    names = {"train": ["a.png", "b.png"], "valid": ["x.png", "y.png"], "test": ["z.png"]}
    out, source = tmp_path / "out", roboflow(tmp_path / "s", names)
    shutil.copy(source / "train/b.png", source / "valid/x.png")
    shutil.copy(source / "train/b.png", source / "test/z.png")
    done = run("convert", source, "--out", out, "--skeleton", mug_file(tmp_path))
    assert done.status == 0, done.out
    said = found_in(out / "conversion.json", "W223")
    assert [(one["place"], "1 image with the same content" in one["message"]) for one in said] == [
        ("test", True),
        ("val", True),
    ]
    assert f"{source}/valid/x.png ({source}/train/b.png in train)" in said[1]["message"]
    assert "E126" in run("validate", out).out
    command = re.search(r"`posetools (.*) --out NEW (.*)`", said[1]["hint"])
    assert command is not None
    assert run(*command[1].split(), "--out", tmp_path / "new", *command[2].split()).status == 0
    assert images_of(tmp_path / "new") == {"train": {"a.png", "b.png"}, "val": {"y.png"}}
    assert "E126" not in run("validate", tmp_path / "new").out


def test_a_copy_with_the_same_content_is_said_once(tmp_path: Path) -> None:
    names = {"train": [*copies("a", 1), "b.png"], "valid": [*copies("a", 2), "c.png"]}
    source = roboflow(tmp_path / "s", names)
    shutil.copy(source / "train" / names["train"][0], source / "valid" / names["valid"][0])
    shutil.copy(source / "train/b.png", source / "valid/c.png")
    assert run("convert", source, "--out", tmp_path / "out", "--skeleton", mug_file(tmp_path)).status == 0
    copy, same = (one["message"] for one in found_in(tmp_path / "out/conversion.json", "W223"))
    assert "got 1 augmented copy" in copy and "got 1 image with the same content" in same and "c.png" in same


def test_val_0_writes_all_for_training(tmp_path: Path) -> None:
    source, out = labelme_folders(tmp_path / "src"), tmp_path / "out"
    for folder in ("valid", "test"):
        shutil.rmtree(source / folder)
    for path in sorted((source / "train").iterdir())[2:]:
        path.unlink()
    mugs = skeleton(tmp_path)
    refused = run("convert", source, "--out", out, "--skeleton", mugs)
    assert refused.status == 2 and "--val 0 puts all images into train" in refused.err
    done = run("convert", source, "--out", out, "--skeleton", mugs, "--val", "0")
    assert done.status == 0, done.out
    assert {split: len(names) for split, names in images_of(out).items()} == {"train": 1}
    assert f"next: posetools validate {out}\n" in done.out
    assert run("validate", out).status == 0, "what was asked for is no error"


def val_0(tmp_path: Path) -> Path:
    """Convert five labelme files with ``--val 0``."""
    source, out = labelme_folders(tmp_path / "src"), tmp_path / "out"
    done = run("convert", source / "train", "--out", out, "--skeleton", skeleton(tmp_path), "--val", "0")
    assert done.status == 0, done.err
    return out


def test_the_road_of_a_set_without_val(tmp_path: Path) -> None:
    out = val_0(tmp_path)
    way = f"posetools split {out} --val 0.1"
    checked = run("validate", out, "--no-images", "--json", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert (checked.status, found["errors"]) == (0, 0)
    assert "no val_coco.json, as requested" in found["notes"][0] and f"`{way}` makes both" in found["notes"][0]
    assert "no errors (image files not checked)" in checked.out and "ready to train" not in checked.out
    refused = run("config", out, "--out", tmp_path / "configs")
    assert refused.status == 2 and "training needs a train and a val split" in refused.err and way in refused.err
    with pytest.raises(RequestError, match="training needs a train and a val split") as early:
        check_training(TrainRequest(stage="pose", data=out, configs=tmp_path / "configs"))
    assert way in str(early.value)
    assert run(*way.split()[1:]).status == 0
    assert {split: len(names) for split, names in images_of(out).items()} == {"train": 4, "val": 1}
    (out / "val_coco.json").unlink()
    assert "val_coco.json must exist" in run("validate", out).words, "it was made with val, and has lost it"


def test_split_with_val_0_leaves_train_alone(tmp_path: Path) -> None:
    source, out = labelme_folders(tmp_path / "src"), tmp_path / "out"
    assert run("convert", source, "--out", out, "--skeleton", skeleton(tmp_path)).status == 0
    everything = images_of(out)
    done = run("split", out, "--val", "0", "--stratify", "size")
    assert done.status == 0 and "all images are for training (--val 0)" in done.out, done.err
    assert f"posetools split {out} --val 0.1" in done.out
    assert images_of(out) == {"train": everything["train"] | everything["val"], "test": everything["test"]}
    record = json.loads((out / "conversion.json").read_text())
    assert {split: each["pictures"] for split, each in record["splits"].items()} == {"train": 7, "test": 3}
    assert record["split"]["val"] == 0 and run("validate", out, "--no-images").status == 0
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
    assert run("split", out, "--val", "0.3").status == 0
    assert {split: len(names) for split, names in images_of(out).items()} == {"train": 5, "val": 2, "test": 3}


def test_split_refuses_a_side_without_objects(tmp_path: Path) -> None:
    names = {"train": copies("a", 1), "valid": copies("b", 2)}
    out = tmp_path / "out"
    assert run("convert", roboflow(tmp_path / "s", names), "--out", out, "--skeleton", mug_file(tmp_path)).status == 0
    document = json.loads((out / "val_coco.json").read_text())
    (out / "val_coco.json").write_text(json.dumps({**document, "annotations": []}))
    before = (out / "train_coco.json").read_bytes()
    done = run("split", out)
    assert done.status == 2 and "objects must be in both splits" in done.err
    assert (out / "train_coco.json").read_bytes() == before


def test_a_split_of_some_images_only_is_told(tmp_path: Path) -> None:
    """CVAT images may be in no subset: then all are split again, with a note."""
    source = tmp_path / "src"
    images = ""
    for number, subset in enumerate((' subset="Train"', ' subset="Train"', "", "")):
        make_image(source / f"{number}.png", (64, 48), seed=number)
        box = '<box label="mug" xtl="10" ytl="10" xbr="30" ybr="30"/><points label="rim" points="20,20"/>'
        images += f'<image id="{number}" name="{number}.png" width="64" height="48"{subset}>{box}</image>'
    (source / "annotations.xml").write_text(f"<annotations><version>1.1</version>{images}</annotations>")
    words = ("convert", source, "--skeleton", mug_file(tmp_path), "--out")
    done = run(*words, tmp_path / "out")
    assert done.status == 0
    assert "warning: the source declares train or val for only 2 of 4 images: all were split again" in done.words
    assert "2 of 4 images" not in run(*words, tmp_path / "asked", "--val", "0.5").words


def test_copies_of_one_photo_cannot_be_split(tmp_path: Path) -> None:
    """Splitting by image would separate them; the suggested command does not."""
    source = tmp_path / "src"
    roboflow(source, {"train": copies("mug", 1, 2, 3)})
    words = ("convert", source, "--skeleton", mug_file(tmp_path), "--out", tmp_path / "out")
    done = run(*words, "--val", "0.5")
    assert done.status == 2 and "all 3 are copies of one fix: --val 0 puts all images" in done.words
    assert run(*words, "--val", "0").status == 0
