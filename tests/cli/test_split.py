"""``posetools split``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posetools.formats import FORMATS
from tests.build import make_dataset
from tests.cli.run import run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    names = [f"{folder}/{i}.jpg" for folder in "xyz" for i in "147"]
    whole = make_dataset(tmp_path / "pictures", images=names)
    write = FORMATS["coco"].write
    assert write
    folder = tmp_path / "cars"
    folder.mkdir()
    write({"train": whole.select_images(range(8)), "val": whole.select_images([8])}, folder, "copy")
    return folder


def _names(data: Path, split: str) -> set[str]:
    return {image["file_name"] for image in json.loads((data / f"{split}_coco.json").read_text())["images"]}


def test_split_by_parent(data: Path) -> None:
    done = run("split", data, "--val", "0.3", "--seed", "2", "--split-by", "parent")
    assert (done.status, done.err) == (0, "")
    assert len({name[0] for name in _names(data, "val")}) == 1
    assert len(_names(data, "val")) == 3
    assert "│ images │ 6 │ 3 │" in done.words
    assert "│ objects │ 12 │ 6 │" in done.words
    assert "left-front-tire" in done.out
    assert (
        "split: by parent folder, as requested; 1 of 3 groups, 3 of 9 images are for validation"
        in done.out.splitlines()
    )
    assert done.out.splitlines()[-1] == f"next: posetools validate {data}"


def test_renumbering_and_a_test_set_are_told(data: Path) -> None:
    document = json.loads((data / "val_coco.json").read_text())
    document["images"][0]["id"] = 1
    for annotation in document["annotations"]:
        annotation["image_id"] = 1
    (data / "val_coco.json").write_text(json.dumps(document))
    (data / "test_coco.json").write_text(json.dumps(document))
    done = run("split", data)
    assert done.status == 0
    assert "images got new ids: both files used the same ones" in done.out
    assert "test: not changed" in done.out


def test_refusals_are_one_line(data: Path, tmp_path: Path) -> None:
    done = run("split", data, "--val", "2")
    assert done.status == 2
    assert done.err.startswith("error: --val must be greater than 0 and less than 1, or 0 for none, got 2.0\n")
    missing = run("split", tmp_path / "no")
    assert missing.status == 2
    assert missing.err == f"error: {tmp_path}/no: must be a data set folder, but does not exist\n"


def test_folds_are_told_with_what_each_evaluates_on(data: Path) -> None:
    done = run("split", data, "--folds", "3", "--split-by", "parent")
    assert (done.status, done.err) == (0, "")
    assert "┃ folds/1/val ┃ folds/2/val ┃ folds/3/val ┃" in done.words
    assert "│ images │ 3 │ 3 │ 3 │" in done.words and "│ objects │ 6 │ 6 │ 6 │" in done.words
    assert "folds: by parent folder, as requested; 3 groups" in done.out.splitlines()
    assert done.out.splitlines()[-1] == f"next: posetools validate {data}"
    assert "replaced 3 earlier folds" in run("split", data, "--folds", "2", "--split-by", "parent").out
