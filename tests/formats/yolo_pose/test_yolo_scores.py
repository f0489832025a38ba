"""YOLO-pose lines that need an option: scores for visibility, pixels, pairs that the skeleton lacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.build import make_image
from tests.cli.run import Done, run

SIZE = (100, 50)
BOX = "0 0.5 0.5 0.5 0.8"


def convert(folder: Path, line: str, *options: str, yaml: str = "") -> Done:
    """Convert a data set of a gate with three corners in each of two images, and return the output."""
    for split in ("train", "val"):
        make_image(folder / f"in/images/{split}/{split}.jpg", SIZE, seed=len(split))
        label = folder / f"in/labels/{split}/{split}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"{line}\n")
    text = "train: images/train\nval: images/val\nnames: [gate]\nkpt_shape: [3, 3]\n"
    (folder / "in/data.yaml").write_text(text + yaml)
    skeleton = folder / "s.yaml"
    if not skeleton.exists():
        assert run("skeleton", "new", skeleton, "--names", "near,far,top", "--category", "gate").status == 0
    return run("convert", folder / "in", "--out", folder / "out", "--skeleton", skeleton, *options)


def keypoints(folder: Path) -> list[list[float]]:
    documents = [json.loads((folder / f"out/{split}_coco.json").read_text()) for split in ("train", "val")]
    return [one["keypoints"] for document in documents for one in document["annotations"]]


def test_scores_for_visibility_are_asked_for_and_taken_as_the_option_says(tmp_path: Path) -> None:
    line = f"{BOX} 0.3 0.4 0.97 0.7 0.4 0.31 0 0 0.02"
    done = convert(tmp_path, line)
    assert done.status == 1
    assert "visibility must be 0, 1 or 2, got fractions in lines (2 in 2 files, this is the first)" in done.words
    assert "--assume-visible" in done.words
    done = convert(tmp_path, line, "--assume-visible")
    assert done.status == 0, done.words
    assert "lines with scores for visibility" in done.words
    assert keypoints(tmp_path) == [[30, 20, 2, 70, 20, 2, 0, 0, 0]] * 2


def test_one_fraction_among_visibilities_is_a_mistake(tmp_path: Path) -> None:
    for options in ((), ("--assume-visible",)):
        done = convert(tmp_path, f"{BOX} 0.3 0.4 1 0.7 0.4 2 0.5 0.2 0.5", *options)
        assert done.status == 1
        assert "correct the line" in done.words


def test_assume_visible_leaves_what_has_visibility(tmp_path: Path) -> None:
    assert convert(tmp_path, f"{BOX} 0.3 0.4 1 0.7 0.4 2 0 0 0", "--assume-visible").status == 0
    assert keypoints(tmp_path) == [[30, 20, 1, 70, 20, 2, 0, 0, 0]] * 2


def test_pixels_are_named_as_such(tmp_path: Path) -> None:
    done = convert(tmp_path, "0 50 25 50 40 30 20 2 70 20 2 0 0 0")
    assert done.status == 1
    assert "if these are pixels, divide x and w by the image's width, y and h by its height" in done.words


@pytest.mark.parametrize("order", [(), ("--kpt-order", "near,far,top")])
def test_pairs_that_the_skeleton_lacks_can_be_written_into_it(tmp_path: Path, order: tuple[str, ...]) -> None:
    line = f"{BOX} 0.3 0.4 2 0.7 0.4 2 0.5 0.2 2"
    done = convert(tmp_path, line, *order, yaml="flip_idx: [1, 0, 2]\n")
    assert done.status == (0 if order else 2)
    if order:
        assert "W336" in done.words
        return
    assert "add `swap: NAME` to both points of each pair" in done.words
    skeleton = (tmp_path / "s.yaml").read_text()
    for one, other in (("near", "far"), ("far", "near")):
        skeleton = skeleton.replace(f"name: {one},", f"name: {one}, swap: {other},")
    (tmp_path / "s.yaml").write_text(skeleton)
    done = convert(tmp_path, line, yaml="flip_idx: [1, 0, 2]\n")
    assert done.status == 0, (done.words, skeleton)
    assert "W336" not in done.words


@pytest.mark.parametrize(
    ("line", "code", "part"),
    [
        ("0 100 80 100 80" + " 20 20 2" * 3, "E311", "a box must be in fractions of the image, got larger numbers"),
        (f"{BOX} 0.1 0.2", "E309", "the line must be 14 numbers (5 and 3 points of 3), got 7"),
        (BOX, "W324", "lines with only class and box read as objects without labeled keypoints"),
        (f"{BOX} 0.1 0.2 0" + " 0.4 0.4 2" * 2, "W203", "points with visibility 0 must be 0 0 0"),
    ],
)
def test_what_is_so_in_every_file_is_told_once(tmp_path: Path, line: str, code: str, part: str) -> None:
    done = convert(tmp_path, line)
    assert f"{code} " in done.words
    assert done.words.count(part) == 1, done.words
    assert "(2 in 2 files, this is the first)" in done.words
