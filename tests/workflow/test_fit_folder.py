"""A fit's folder: what it takes, what it continues, what it deletes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from posetools.errors import InputError, RequestError
from posetools.workflow.fit_folder import RECORD, FitFolder, fingerprint

OPTIONS = {"--minutes": ["60"], "--one-object-per-image": []}
ORDER = ("convert", "validate", "config")


def _started(out: Path, options: dict[str, list[str]], *, overwrite: bool = False) -> FitFolder:
    out.mkdir(parents=True, exist_ok=True)
    folder = FitFolder(out)
    folder.check(options, overwrite=overwrite)
    folder.start()
    return folder


def test_finished_steps_are_known_in_the_next_call(tmp_path: Path) -> None:
    first = _started(tmp_path / "cars", OPTIONS)
    first.add("convert", {"files": 3})
    first.add("validate", {})
    second = _started(tmp_path / "cars", OPTIONS)
    assert dict(second.done) == {"convert": {"files": 3}, "validate": {}}
    assert second.bundle == tmp_path / "cars" / "cars.zip"
    second.add("config", {})
    second.forget_from("validate", ORDER)
    assert list(_started(tmp_path / "cars", OPTIONS).done) == ["convert"]


def test_options_count_once_a_step_is_done(tmp_path: Path) -> None:
    other = {"--minutes": ["5"]}
    _started(tmp_path, OPTIONS)
    _started(tmp_path, other).add("convert", {})
    with pytest.raises(RequestError) as caught:
        _started(tmp_path, OPTIONS)
    assert str(caught.value) == (
        f"{tmp_path}: was started with other options: --minutes 60, before --minutes 5; --one-object-per-image, before "
        "no --one-object-per-image\n"
        "  fix: use the same options to continue, another --out, or --overwrite to start again"
    )


def test_overwrite_deletes_what_a_fit_made_and_nothing_else(tmp_path: Path) -> None:
    _started(tmp_path, OPTIONS).add("convert", {})
    for run in ("det", "pose", "pose-critter"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "epoch_1.pth").write_bytes(b"")
    for name in ("report.html", f"{tmp_path.name}.zip", "notes.md"):
        (tmp_path / name).write_text("")
    assert not _started(tmp_path, {}, overwrite=True).done
    assert sorted(path.name for path in tmp_path.iterdir()) == [RECORD, "notes.md"]


@pytest.mark.parametrize("text", ["[]", "{}", '{"made_by": "somebody"}'])
def test_a_folder_that_no_fit_made_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD).write_text(text)
    for overwrite in (False, True):
        with pytest.raises(InputError, match="must be a record of posetools fit"):
            _started(tmp_path, {}, overwrite=overwrite)
    (tmp_path / RECORD).rename(tmp_path / "thesis.tex")
    for overwrite in (False, True):
        with pytest.raises(RequestError, match="exists and is not empty\n  fix: choose another --out"):
            _started(tmp_path, {}, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_source_differs_when_a_file_is_new_changed_or_gone(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.json", "sub/b.json"):
        (tmp_path / name).write_text("{}")
    first = fingerprint(tmp_path)
    assert first["files"] == 2
    assert fingerprint(tmp_path) == first == json.loads(json.dumps(first))
    (tmp_path / "sub" / "b.json").write_text("{ }")
    second = fingerprint(tmp_path)
    assert second != first
    os.utime(tmp_path / "a.json", (1, 1))
    assert fingerprint(tmp_path) != second
    (tmp_path / "a.json").unlink()
    assert fingerprint(tmp_path)["files"] == 1
    assert fingerprint(tmp_path / "sub" / "b.json")["files"] == 1
