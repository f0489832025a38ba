"""The demo replaces only the files of an earlier demo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posetools.errors import RequestError
from posetools.workflow.demo_folder import DEMO_RESULTS, claim_folder


def _claimed(out: Path) -> bool:
    names = [path.name for path in out.iterdir()]
    record = json.loads((out / DEMO_RESULTS).read_text())
    return names == [DEMO_RESULTS] and record == {"made_by": "posetools demo", "finished": False}


def test_new_and_empty_folders_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty", "deep/er"):
        claim_folder(tmp_path / name, overwrite=False)
        assert _claimed(tmp_path / name)


def test_an_earlier_demo_is_replaced(tmp_path: Path) -> None:
    claim_folder(tmp_path, overwrite=False)
    (tmp_path / "labelme").mkdir()
    (tmp_path / "labelme" / "car_0001.json").write_text("{}")
    (tmp_path / "predictions.png").write_bytes(b"")
    # Leftovers of a killed demo.
    (tmp_path / ".timing-1a2b").mkdir()
    (tmp_path / ".data.0123abcd.tmp").mkdir()
    claim_folder(tmp_path, overwrite=False)
    assert _claimed(tmp_path)


@pytest.mark.parametrize("record", [None, "{}", "[]", "no json", '{"made_by": "somebody"}'])
def test_a_folder_that_no_demo_made_is_left_alone(tmp_path: Path, record: str | None) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    if record is not None:
        (tmp_path / DEMO_RESULTS).write_text(record)
    for overwrite in (False, True):
        with pytest.raises(RequestError) as error:
            claim_folder(tmp_path, overwrite=overwrite)
        assert str(error.value) == (f"{tmp_path}: must be empty or from an earlier demo\n  fix: choose another --out")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_other_files_in_a_demo_are_named_and_need_overwrite(tmp_path: Path) -> None:
    claim_folder(tmp_path, overwrite=False)
    (tmp_path / "notes.md").write_text("mine")
    (tmp_path / ".git").mkdir()
    with pytest.raises(RequestError) as error:
        claim_folder(tmp_path, overwrite=False)
    assert str(error.value) == (
        f"{tmp_path}: has files that are not from the demo: .git, notes.md\n"
        "  fix: move them, choose another --out, or use --overwrite to delete the whole folder"
    )
    assert (tmp_path / "notes.md").read_text() == "mine"
    claim_folder(tmp_path, overwrite=True)
    assert _claimed(tmp_path)


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("a file")
    with pytest.raises(RequestError, match="must be a folder, but is a file"):
        claim_folder(tmp_path / "demo", overwrite=True)
