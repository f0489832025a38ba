"""A split that is killed between two files is finished by the next one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from posetools.core.folder import SPLIT_JOURNAL, splits_of
from posetools.datasets.resplit import resplit
from posetools.errors import InputError, RequestError
from tests.build import make_dataset
from tests.cli.run import run
from tests.converting import write_source

# Runs a split whose process ends, without any cleaning up, before or after it moves one of the files into place.
KILLED = """
import os, sys
from pathlib import Path
from posetools.datasets.resplit import resplit
folder, name, when = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
real = Path.replace
def replace(self, target):
    if target.name == name and when == "before":
        os._exit(9)
    done = real(self, target)
    if target.name == name:
        os._exit(9)
    return done
Path.replace = replace
resplit(folder, val=float(sys.argv[4]), seed=1)
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    whole = make_dataset(tmp_path / "p", images=[f"{i}.jpg" for i in range(8)])
    folder = write_source(
        tmp_path / "d", "coco", {"train": whole.select_images(range(6)), "val": whole.select_images([6, 7])}
    )
    (folder / "conversion.json").write_text('{"posetools": "1"}\n')
    return folder


def _names(folder: Path) -> Counter[str]:
    documents = [json.loads((folder / f"{split}_coco.json").read_text()) for split in ("train", "val")]
    return Counter(image["file_name"] for document in documents for image in document["images"])


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", [SPLIT_JOURNAL, "train_coco.json", "val_coco.json", "conversion.json"])
def test_a_killed_split_is_finished_by_the_next(data: Path, tmp_path: Path, name: str, when: str) -> None:
    before = _files(data)
    wanted = write_source(
        tmp_path / "other", "coco", {"train": make_dataset(tmp_path / "p", images=[f"{i}.jpg" for i in range(8)])}
    )
    for file, content in before.items():
        (wanted / file).write_bytes(content)
    resplit(wanted, val=0.5, seed=1)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(data), name, when, "0.5"], capture_output=True, check=False
    )
    assert done.returncode == 9, done.stderr
    began = (name, when) != (SPLIT_JOURNAL, "before")
    assert (data / SPLIT_JOURNAL).exists() == began
    if began:
        with pytest.raises(RequestError, match="an interrupted `posetools split`"):
            splits_of(data)
    torn = (name, when) in {("train_coco.json", "after"), ("val_coco.json", "before")}
    assert (sorted(_names(data).values()) != [1] * 8) == torn
    # The next split, with the same words, starts from the finished one and gives the same sides.
    result = resplit(data, val=0.5, seed=1)
    assert result.finished == began
    assert not (data / SPLIT_JOURNAL).exists()
    assert _files(data) == (_again(wanted) if began else _files(wanted))
    assert not list(data.glob(".*_coco.json.*"))


def _again(wanted: Path) -> dict[str, bytes]:
    resplit(wanted, val=0.5, seed=1)
    return _files(wanted)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["train_coco.json", "conversion.json"])
def test_a_killed_split_that_takes_val_away_is_finished_by_the_next(data: Path, name: str, when: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(data), name, when, "0"], capture_output=True, check=False)
    assert done.returncode == 9, done.stderr
    with pytest.raises(RequestError, match="left it incomplete"):
        splits_of(data)
    assert run("validate", data, "--fix", "--no-images", "--skeleton", "car8").status != 2
    assert {path.name for path in data.iterdir()} >= {"train_coco.json", "conversion.json"}
    assert not (data / "val_coco.json").exists() and not list(data.glob(".*_coco.json.*"))
    names = [image["file_name"] for image in json.loads((data / "train_coco.json").read_text())["images"]]
    assert sorted(names) == [f"{i}.jpg" for i in range(8)]


def test_a_file_that_was_changed_in_between_is_not_overwritten(data: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(data), "val_coco.json", "before", "0.5"], check=False)
    document = json.loads((data / "val_coco.json").read_text())
    (data / "val_coco.json").write_text(json.dumps(document | {"info": "mine"}))
    before = _files(data)
    with pytest.raises(InputError, match=r"val_coco\.json: must be unchanged since .*but was changed"):
        resplit(data, val=0.5)
    assert _files(data) == before
    (data / "val_coco.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="was changed"):
        resplit(data, val=0.5)


def test_the_command_says_so(data: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(data), "val_coco.json", "before", "0.5"], check=False)
    done = run("split", data, "--val", "0.25")
    assert done.status == 0
    assert "an interrupted split was finished first" in done.out.splitlines()
    assert sorted(_names(data).values()) == [1] * 8
    assert "interrupted" not in run("split", data).out


@pytest.mark.parametrize("text", ["[]", '{"before": {}}', '{"before": {"../x": null}, "after": {"../x": "text"}}'])
def test_a_journal_that_is_none_is_refused(data: Path, text: str) -> None:
    (data / SPLIT_JOURNAL).write_text(text)
    before = _files(data)
    with pytest.raises(InputError, match=r"must be what an interrupted `posetools split` or .* left, but is not"):
        resplit(data)
    assert _files(data) == before
    assert not (data.parent / "x").exists()
