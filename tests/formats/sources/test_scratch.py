"""The folder for images that are inside other files: who may write where, and that nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from posetools.errors import OutputError, RequestError
from posetools.formats.sources.scratch import check_images, scratch_folder, write_scratch


def test_it_is_removed_whatever_ends_it() -> None:
    with scratch_folder() as folder:
        assert write_scratch(folder, Path("a.json"), "a.png", b"1").read_bytes() == b"1"
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    with pytest.raises(KeyError), scratch_folder() as folder:
        write_scratch(folder, Path("a.json"), "a.png", b"1")
        raise KeyError
    assert not folder.exists()


@pytest.mark.parametrize("name", ["../../a.png", "/etc/a.png", "a\0.png", "\ud800.png", "a.png/../..", "x" * 999, ""])
def test_no_name_leads_out_of_it(name: str) -> None:
    with scratch_folder() as folder:
        path = write_scratch(folder, Path("a.json"), name, b"1")
        assert path.resolve().is_relative_to(folder.resolve()) and path.read_bytes() == b"1"


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = (
        "import os, sys, tempfile\ntempfile.tempdir = sys.argv[1]\n"
        "from pathlib import Path\nfrom posetools.formats.sources.scratch import scratch_folder, write_scratch\n"
        "with scratch_folder() as folder:\n    write_scratch(folder, Path('a.slp'), 'a.png', b'1')\n    os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    with scratch_folder() as held:
        for folder in (left, held):
            os.utime(folder, (time.time() - 3600,) * 2)
        with scratch_folder() as folder:
            assert set(tmp_path.iterdir()) == {held, folder}, "what a run still holds is left"
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_for_temporary_files_other_sources_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with scratch_folder() as folder:
        check_images(folder, "none")
        with pytest.raises(OutputError, match=r"a\.png.*cannot be written|cannot write an image of a\.slp"):
            write_scratch(folder, Path("a.slp"), "a.png", b"1")


def test_names_of_two_owners_do_not_meet() -> None:
    with scratch_folder() as folder:
        paths = [
            write_scratch(folder, Path(owner), name, b"1")
            for owner in ("a.json", "b.json")
            for name in ("a.png", "b.PNG")
        ]
        assert len(set(paths)) == 4 and {path.suffix for path in paths} == {".png"}


def test_images_that_have_no_file_of_their_own_are_copied() -> None:
    with scratch_folder() as folder:
        check_images(folder, "none")
        write_scratch(folder, Path("a.json"), "a.png", b"1")
        check_images(folder, "copy")
        check_images(folder, "hardlink")
        for how in ("none", "symlink"):
            with pytest.raises(RequestError, match=f"got {how}\n  fix: leave --images out"):
                check_images(folder, how)
