from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from tests.cli.run import run
from tests.coco_sample import edit, write_sample

TRAIN = "train_coco.json"


@pytest.fixture
def cars(tmp_path: Path) -> Path:
    write_sample(tmp_path / "cars")
    return tmp_path / "cars"


def spoil(document: dict[str, Any]) -> None:
    document["annotations"][1]["area"] = 1.0


def test_warnings_alone_are_printed_and_exit_with_0_but_with_1_when_strict(cars: Path) -> None:
    done = run("validate", cars)
    assert done.status == 0
    assert "W211 few-iterations (1)" in done.out
    assert "errors: 0, warnings: 1" in done.out
    assert "ready to train; 1 thing to look at first\n  W211 few-iterations (1)\n" in done.out
    assert run("validate", cars, "--strict").status == 1
    assert run("validate", cars / "val_coco.json", "--strict").status == 0


def test_an_error_exits_with_1_and_says_code_place_rule_value_and_hint(cars: Path) -> None:
    edit(cars / TRAIN, spoil)
    done = run("validate", cars)
    assert done.status == 1
    assert "E104 area (1)" in done.out
    rule = "area must be a number greater than 1 (square pixels), got 1.0"
    assert f"{cars / TRAIN}: annotations[1] (id 2): {rule}" in done.words
    assert "AP is 0 for predictions that are a pixel off" in done.words
    assert "errors: 1, warnings: 1; --fix fixes 1" in done.words
    assert (
        "not ready to train: 1 error to fix first; --fix can fix it E104 area (1), W211 few-iterations (1)"
        in done.words
    )


def test_fix_says_what_it_changed_and_exits_by_what_is_left(cars: Path) -> None:
    edit(cars / TRAIN, spoil)
    done = run("validate", cars, "--fix")
    assert done.status == 0
    assert f"fixed {cars / TRAIN} (changes: 1)" in done.words
    assert "E104 annotations[1] (id 2): area set to 2770.76, was 1.0" in done.words
    assert "fixed" not in run("validate", cars, "--fix").out


def test_json_holds_everything_and_is_the_same_twice(cars: Path, tmp_path: Path) -> None:
    edit(cars / TRAIN, spoil)
    texts = []
    for name in ("one.json", "two.json"):
        run("validate", cars, "--json", tmp_path / name)
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    document = json.loads(texts[0])
    assert document["counts"] == {"E104": 1, "W211": 1}
    assert document["findings"][1]["fixable"] is True


def test_what_cannot_run_exits_with_2_without_a_traceback(tmp_path: Path, cars: Path) -> None:
    for arguments in ([tmp_path / "nothing"], [tmp_path], [cars, "--skeleton", "horse"]):
        done = run("validate", *arguments)
        assert done.status == 2
        assert done.err.startswith("error: ")
        assert "Traceback" not in done.err


def test_images_are_left_alone_when_asked(cars: Path) -> None:
    (cars / "images/a.jpg").unlink()
    assert run("validate", cars).status == 1
    assert run("validate", cars, "--no-images").status == 0


def test_the_set_of_another_skeleton_is_told(cars: Path) -> None:
    done = run("validate", cars, "--skeleton", "coco17")
    assert done.status == 1
    assert "E111 category" in done.out
    assert "E106 keypoints-length" in done.out


def test_help_says_what_the_exit_status_means() -> None:
    words = run("validate", "--help").words
    assert "0 no errors (warnings count only with --strict); 1 errors; 2 could not run" in words


def test_report_writes_a_page_and_leaves_the_exit_status_alone(cars: Path, tmp_path: Path) -> None:
    edit(cars / TRAIN, spoil)
    done = run("validate", cars, "--report", tmp_path / "report.html")
    assert done.status == 1
    assert f"wrote {tmp_path / 'report.html'}" in done.words
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert 'data-code="E104"' in page


def test_another_name_than_that_of_a_page_is_refused_before_anything_is_changed(cars: Path) -> None:
    edit(cars / TRAIN, spoil)
    before = (cars / TRAIN).read_bytes()
    done = run("validate", cars, "--fix", "--report", cars / "report.txt")
    assert done.status == 2
    assert "--report must be a file that ends with .html or .htm, got" in done.words
    assert (cars / TRAIN).read_bytes() == before


def test_near_duplicates_are_found_when_asked_for(cars: Path) -> None:
    pytest.importorskip("imagehash", reason="the leaks extra is not installed")
    with Pillow.open(cars / "images/a.jpg") as image:
        image.save(cars / "images/c.jpg", quality=50)
    assert "W221" not in run("validate", cars).out
    done = run("validate", cars, "--near-duplicates")
    assert done.status == 0
    assert "W221 near-duplicate-across-splits (1)" in done.out
    assert "errors: 0, warnings: 2" in done.out


def test_near_duplicates_need_the_images(cars: Path) -> None:
    done = run("validate", cars, "--near-duplicates", "--no-images")
    assert done.status == 2
    assert "--near-duplicates reads the images" in done.err
