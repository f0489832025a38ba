"""The folder for images that are inside other files: who may write where, and that nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from posetools.errors import RequestError
from posetools.formats.scratch import check_images, scratch_folder, write_scratch


def test_it_is_removed_whatever_ends_it() -> None:
    with scratch_folder() as folder:
        assert not folder.exists()
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
