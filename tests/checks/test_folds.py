"""Folds in ``posetools validate``: whether they are of the data set, and leaks between their splits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from posetools.checks.validate import validate
from posetools.core.findings import Finding
from posetools.core.folder import ann_file, fold_split
from posetools.datasets.folds import write_folds
from posetools.datasets.resplit import resplit
from tests.cli.run import run
from tests.datasets.test_folds import mug_clips, names_in

Document = dict[str, Any]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return mug_clips(tmp_path)


def of_code(data: Path, code: str, **options: Any) -> list[Finding]:
    return [finding for finding in validate(data, **options).findings if finding.code == code]


def change(path: Path, edit: Callable[[Document], object]) -> None:
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def test_folds_add_no_findings_of_their_own(data: Path) -> None:
    change(data / "train_coco.json", lambda d: d["annotations"][0].update(bbox=[-5, 2, 30, 14]))
    before = validate(data)
    write_folds(data, 5)
    after = validate(data)
    assert after.findings == before.findings and any(finding.code == "W201" for finding in after.findings)
    assert after.notes == ("5 folds share out the images of train and val", *before.notes)
    assert after.splits == ("train", "val")


@pytest.mark.parametrize("kind", ["point moved", "object removed", "image removed", "category renamed"])
def test_labels_that_changed_since_are_one_error_with_the_command_that_renews_them(data: Path, kind: str) -> None:
    write_folds(data, 4, seed=3, by="(.)")
    name = names_in(data, "train")[0]

    def edit(document: Document) -> None:
        if kind == "point moved":
            document["annotations"][0]["keypoints"][0] += 1
        elif kind == "object removed":
            del document["annotations"][0]
        elif kind == "image removed":
            number = document["images"].pop(0)["id"]
            document["annotations"] = [one for one in document["annotations"] if one["image_id"] != number]
        else:
            document["categories"][0]["name"] = "cup"

    for split in ("train", "val") if kind == "category renamed" else ("train",):
        change(data / f"{split}_coco.json", edit)
    (finding,) = of_code(data, "E118")
    assert (finding.file, finding.place) == (str(data / "folds"), "")
    if kind == "image removed":
        assert finding.message == f"fold 1 must have images of train and val only, got {name}"
    else:
        said = "fold 1 must have each image once, with its labels in train and val, but "
        assert finding.message.startswith(said) and finding.message.endswith(" differs")
    assert finding.hint == f"`posetools split {data} --folds 4 --seed 3 --split-by '(.)'` writes the folds again"
    assert run("split", data, "--folds", "4", "--seed", "3", "--split-by", "(.)").status == 0
    assert of_code(data, "E118") == []


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda folds: shutil.rmtree(folds / "2"), "an image must be in the val of one fold, but {} is in none"),
        (
            lambda folds: shutil.copytree(folds / "2", folds / "9"),
            "an image must be in the val of one fold, but {} is in those of folds 2 and 9",
        ),
        (
            lambda folds: shutil.copy(folds / "2" / "val_coco.json", folds / "2" / "train_coco.json"),
            "fold 2 must have all images of train and val, but lacks ",
        ),
        (lambda folds: (folds / "2" / "val_coco.json").unlink(), "fold 2 must have two COCO files, but "),
        (lambda folds: (folds / "2" / "val_coco.json").write_text("{"), "fold 2 must have two COCO files, but "),
    ],
)
def test_folds_that_do_not_share_out_the_images(data: Path, edit: Callable[[Path], object], said: str) -> None:
    write_folds(data, 3)
    of_two = names_in(data, fold_split(2, "val"))
    edit(data / "folds")
    (finding,) = of_code(data, "E118")
    assert any(finding.message.startswith(said.format(name)) for name in of_two)


def test_a_new_split_of_train_and_val_leaves_folds_that_fit(data: Path) -> None:
    write_folds(data, 4)
    before = ann_file(data, fold_split(1, "val")).read_bytes()
    resplit(data, val=0.4, seed=3, stratify="visibility")
    assert of_code(data, "E118") == [] and ann_file(data, fold_split(1, "val")).read_bytes() == before


def test_the_same_image_in_the_val_of_two_folds_is_one_error(data: Path) -> None:
    write_folds(data, 2)
    train = set(names_in(data, "train"))
    one, other = (next(n for n in names_in(data, fold_split(f, "val")) if n in train) for f in (1, 2))
    shutil.copy(data / "images" / one, data / "images" / other)
    (finding,) = of_code(data, "E126")
    assert all(f", {name})" in f"{finding.place} {finding.message}" for name in (one, other))
    assert "content must be in one fold only (train_coco.json: images[" in finding.message
    assert "write the folds again with `posetools split --folds`: evaluation would use training data" in finding.hint
    assert of_code(data, "W206") == []
    shutil.rmtree(data / "folds")
    assert of_code(data, "E126") == [] and len(of_code(data, "W206")) == 1


def test_copies_of_one_photo_in_two_folds(data: Path) -> None:
    """Folds of another program: ``split --folds`` keeps copies of one photo together."""
    write_folds(data, 2)
    train = set(names_in(data, "train"))
    pair = [next(n for n in names_in(data, fold_split(f, "val")) if n in train) for f in (1, 2)]
    copies = {name: f"tulip_jpg.rf.{at:032}.jpg" for at, name in enumerate(pair)}
    for name, copy in copies.items():
        (data / "images" / name).rename(data / "images" / copy)
    for path in data.rglob("*_coco.json"):
        text = path.read_text()
        for name, copy in copies.items():
            text = text.replace(name, copy)
        path.write_text(text)
    assert [finding.file for finding in of_code(data, "W223")] == [
        str(ann_file(data, fold_split(fold, "val"))) for fold in (1, 2)
    ]


def test_similar_images_in_two_folds(data: Path) -> None:
    pytest.importorskip("imagehash", reason="the leaks extra is not installed")
    write_folds(data, 2)
    train = set(names_in(data, "train"))
    one, other = (next(n for n in names_in(data, fold_split(f, "val")) if n in train) for f in (1, 2))
    with Pillow.open(data / "images" / one) as image:
        image.convert("RGB").save(data / "images" / other, quality=60)
    (finding,) = of_code(data, "W221", near_duplicates=True)
    assert "image must be unlike all of other folds (train_coco.json: images[" in finding.message
    assert "posetools split --folds --split-by REGEX" in finding.hint
    shutil.rmtree(data / "folds")
    assert of_code(data, "W221", near_duplicates=True) == []
