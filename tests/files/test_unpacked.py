"""Files unpacked from a zip are opened where they are, and shown as they are in the zip."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from posetools.errors import InputError, quoted
from posetools.files.unpacked import UnpackedPath, add_unpacked
from posetools.files.urls import as_path
from posetools.files.walking import walk_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with what was unpacked from ``my export.zip``."""
    folder = tmp_path / "unpacked" / "my export"
    (folder / "batch 1").mkdir(parents=True)
    (folder / "batch 1" / "a.json").write_text("{}")
    return folder


def test_it_is_opened_where_it_is_and_shown_in_its_zip(folder: Path) -> None:
    unpacked = add_unpacked(folder, Path("my export.zip"))
    file = unpacked / "batch 1" / "a.json"
    assert file.read_text() == "{}" and file.is_file() and os.fspath(file) == str(folder / "batch 1" / "a.json")
    assert f"{file}" == str(Path("my export.zip/batch 1/a.json"))
    assert quoted(file.parent) == f"'{Path('my export.zip/batch 1')}'"
    assert str(InputError(file, "line 1", "is wrong")) == f"{Path('my export.zip/batch 1/a.json')}: line 1: is wrong"


def test_paths_made_of_it_are_shown_in_the_zip(folder: Path) -> None:
    unpacked = add_unpacked(folder, Path("my export.zip"))
    shown = str(Path("my export.zip/batch 1/a.json"))
    (inner,) = unpacked.iterdir()
    made = [
        *walk_files(unpacked),
        *inner.iterdir(),
        *unpacked.glob("*/*.json"),
        inner.joinpath("a.json"),
        (inner / "b.txt").with_name("a.json"),
        (inner / "a.txt").with_suffix(".json"),
        (inner / "a.json").resolve(),
        as_path(os.path.normpath(inner / ".." / "batch 1" / "a.json")),
    ]
    assert [str(path) for path in made] == [shown] * len(made)
    assert all(path.exists() for path in made)
    assert str((inner / "a.json").relative_to(unpacked)) == str(Path("batch 1/a.json"))
    assert str(inner / Path("/elsewhere/b.json").absolute()) == str(Path("/elsewhere/b.json").absolute())


def test_other_paths_stay_as_they_are(folder: Path, tmp_path: Path) -> None:
    add_unpacked(folder, Path("my export.zip"))
    for path in (tmp_path / "a.json", Path(f"{folder}-2") / "a.json", folder.parent):
        assert as_path(str(path)) == path and not isinstance(as_path(str(path)), UnpackedPath)


def test_another_process_shows_it_in_the_zip(folder: Path) -> None:
    file = add_unpacked(folder, Path("my export.zip")) / "batch 1" / "a.json"
    code = "import pickle, sys; path = pickle.load(sys.stdin.buffer); print(path, path.read_text(), sep=':', end='')"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(file), capture_output=True, check=True)
    assert done.stdout.decode() == f"{Path('my export.zip/batch 1/a.json')}:{{}}"
