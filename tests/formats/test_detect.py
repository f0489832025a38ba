"""Format detection works although empty, broken or foreign files sort first; otherwise the message names them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from posetools.files.walking import files_to_detect
from posetools.formats import FORMATS
from tests.build import make_dataset
from tests.cli.run import run
from tests.converting import NAMES, labelme_source, write_source

IN_THE_WAY: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_text(""),
    "broken": lambda path: path.write_text('{"shapes": ['),
    "of another program": lambda path: path.write_text('{"name": "package", "version": "1.0"}'),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00\x01"),
    "a list": lambda path: path.write_text("[1, 2]"),
}


@pytest.mark.parametrize("kind", IN_THE_WAY)
@pytest.mark.parametrize("images", [40, 3])
def test_files_that_sort_first_are_named_and_the_good_ones_read(tmp_path: Path, kind: str, images: int) -> None:
    source, _ = labelme_source(tmp_path, [f"img{number:02}.jpg" for number in range(images)])
    names = [f"0{number}.json" for number in range(5)]
    for name in names:
        IN_THE_WAY[kind](source / name)
    done = run("convert", source, "--out", tmp_path / "out")
    assert done.status == 1 and "fits" not in done.err, done.err
    assert set(re.findall(r"0\d\.json", done.out)) == set(names)
    assert "move it out of the source" in done.words and "E310" in done.out
    # As in the hint.
    for name in names:
        (source / name).rename(tmp_path / name)
    assert run("convert", source, "--out", tmp_path / "out").status == 0
    assert run("validate", tmp_path / "out").status == 0


@pytest.mark.parametrize("kind", IN_THE_WAY)
@pytest.mark.parametrize("name", ["via", "label-studio", "coco", "cvat", "yolo-pose", "deeplabcut"])
def test_files_of_others_do_not_hide_any_format(tmp_path: Path, name: str, kind: str) -> None:
    dataset = make_dataset(tmp_path / "photos", images=NAMES)
    source = write_source(tmp_path / "source", name, {"train" if FORMATS[name].keeps_splits else "all": dataset})
    endings = {"cvat": ".xml", "deeplabcut": ".csv"}
    for number in range(7):
        IN_THE_WAY[kind](source / f"0{number}{endings.get(name, '.json')}")
    done = run("view", source, "--out", tmp_path / "sheet.png")
    assert "none fits" not in done.err and " fit;" not in done.err, done.err


def test_where_no_format_fits_what_was_looked_at_is_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number, write in enumerate(IN_THE_WAY.values()):
        for copy in range(7 if number == 0 else 1):
            write(source / f"{number}{copy}.json")
    for command in (("convert", source, "--out", tmp_path / "out"), ("diff", source, source)):
        done = run(*command)
        assert done.status == 2 and "none fits" in done.err
        assert "00.json, 01.json, 02.json, 03.json, 04.json, and 2 more: empty" in done.err
        assert "10.json, 30.json: is not JSON" in done.err
        assert "20.json, 40.json: JSON in none of these formats" in done.err
        assert ("choose the format with --from NAME" in done.err) is (command[0] == "convert")


def test_only_a_few_of_many_files_are_looked_at(tmp_path: Path) -> None:
    names = [f"{number:04}.json" for number in range(3000)]
    for name in names:
        (tmp_path / name).write_text("{}")
    first = [path.name for path in files_to_detect(tmp_path, ".json", widely=False)]
    assert first == names[:5]
    spread = [path.name for path in files_to_detect(tmp_path, ".json", widely=True)]
    assert len(spread) == len(set(spread)) == 32 and spread == sorted(spread)
    assert (spread[0], spread[-1]) == (names[0], names[-1])
    for number in (0, 1, 2, 31, 32, 33, 63):
        some = tmp_path / f"of{number}"
        some.mkdir()
        for name in names[:number]:
            (some / name).write_text("{}")
        looked_at = [path.name for path in files_to_detect(some, ".json", widely=True)]
        assert len(looked_at) == len(set(looked_at)) == min(32, number)


def test_one_good_file_among_the_first_still_says_the_format(tmp_path: Path) -> None:
    source, dataset = labelme_source(tmp_path)
    for number in range(4):
        (source / f"0{number}.json").write_text("")
    (source / "package.json").write_text(json.dumps({"name": "x"}))
    done = run("convert", source, "--out", tmp_path / "out", "--keep-going")
    assert done.status == 1 and f"read {len(dataset.images) + 5} labelme annotation files" in done.words
