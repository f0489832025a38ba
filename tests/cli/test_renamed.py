"""Option names and values of 0.2 still work in 0.3, with a note on stderr."""

from __future__ import annotations

from pathlib import Path

import pytest

from posetools.cli.commands import COMMANDS
from posetools.cli.renamed import REMOVED_IN, RENAMED_OPTIONS, RENAMED_VALUES, with_new_names
from tests.cli.run import run
from tests.coco_sample import write_sample

OLD_WAY = "picture"
SAMPLE = Path(__file__).resolve().parents[2] / "data/labelme"


def _note(old: str, new: str) -> str:
    return f"note: {old} is now {new}; the old name stops working in {REMOVED_IN}\n"


@pytest.mark.parametrize("flag", ["images", "no-images"])
def test_validate_takes_its_old_flags(tmp_path: Path, flag: str) -> None:
    write_sample(tmp_path / "cars")
    old = f"--{flag.replace('images', 'pictures')}"
    done, expected = run("validate", tmp_path / "cars", old), run("validate", tmp_path / "cars", f"--{flag}")
    assert (done.status, done.out) == (expected.status, expected.out)
    assert done.err == _note(old, f"--{flag}") + expected.err


@pytest.mark.parametrize("written", [["--pictures", "a.jpg"], ["--pictures=a.jpg"]])
def test_export_takes_its_old_option(written: list[str]) -> None:
    done, expected = run("export", *written), run("export", "--images", "a.jpg")
    assert (done.status, done.err) == (2, _note("--pictures", "--images") + expected.err)
    assert "No such option" not in expected.err


@pytest.mark.parametrize("written", [["--split-by", OLD_WAY], [f"--split-by={OLD_WAY}"]])
def test_convert_and_split_take_the_old_way_to_split(tmp_path: Path, written: list[str]) -> None:
    note = _note(f"--split-by {OLD_WAY}", "--split-by image")
    done = run("convert", SAMPLE, "--out", tmp_path / "cars", *written)
    assert (done.status, done.err.startswith(note)) == (0, True)
    done = run("split", tmp_path / "cars", *written)
    assert (done.status, done.err) == (0, note)


@pytest.mark.parametrize(("old", "new"), [("labelled", "labeled"), ("unlabelled", "unlabeled")])
def test_review_takes_the_old_choices(tmp_path: Path, old: str, new: str) -> None:
    common = ("review", SAMPLE, "--by", "labels", "--overwrite", "--out", tmp_path / "next", "--only")
    done, expected = run(*common, old), run(*common, new)
    assert (done.status, done.out) == (expected.status, expected.out)
    assert done.err == _note(f"--only {old}", f"--only {new}") + expected.err
    assert "Invalid value" not in expected.err


def test_only_the_options_that_were_renamed_are_changed() -> None:
    words = ["convert", "--split-by", f"({OLD_WAY})", "--map", f"{OLD_WAY}=dog", "--out", "labelled", OLD_WAY]
    assert with_new_names(words) == words
    assert with_new_names(["train", "--pictures", "--only", "labelled"]) == [
        "train",
        "--pictures",
        "--only",
        "labelled",
    ]


def test_every_new_name_is_an_option_of_its_command_and_no_old_one_is() -> None:
    for command in COMMANDS:
        known = {name for each in command.as_click().params for name in (*each.opts, *each.secondary_opts)}
        options = RENAMED_OPTIONS.get(command.name, {})
        assert set(options.values()) | set(RENAMED_VALUES.get(command.name, {})) <= known
        assert not set(options) & known
