"""Files: the old one or the new one, whatever happens in between."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import posetools.files.disk as files
from posetools.errors import InputError, OutputError, RequestError
from posetools.files.disk import (
    Transfer,
    dump_json,
    is_inside,
    portable_path,
    read_bytes,
    read_json,
    read_text,
    staged_folder,
    transfer,
    write_chunks,
    write_json,
    write_text,
    write_texts,
)


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_text_is_written_with_line_feeds_and_parents_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "é\nb\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"\xc3\xa9\nb\n"
    assert _names(tmp_path) == ["new", "new/a.txt"]


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
@pytest.mark.parametrize("old", [None, "old"])
def test_write_that_fails_midway_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, old: str | None
) -> None:
    path = tmp_path / "a.json"
    if old:
        path.write_text(old)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, step, fail)
    with pytest.raises(OutputError) as caught:
        write_json(path, {"a": 1})
    monkeypatch.undo()
    assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert _names(tmp_path) == (["a.json"] if old else [])
    assert not old or path.read_text() == old


def test_interrupted_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert (_names(tmp_path), path.read_text()) == (["a.txt"], "old")


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_files_that_belong_together_are_written_all_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    paths[0].write_text("old a")
    paths[2].write_text("old c")
    real = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if target == paths[failing] and self.suffix == ".tmp":
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match=f"{paths[failing]}: cannot be written: Input/output error"):
        write_texts(dict.fromkeys(paths, "new"))
    assert {name: (tmp_path / name).read_text() for name in _names(tmp_path)} == {"a": "old a", "c": "old c"}
    monkeypatch.undo()
    write_texts(dict.fromkeys(paths, "new"))
    assert {name: (tmp_path / name).read_text() for name in _names(tmp_path)} == dict.fromkeys("abc", "new")


def test_a_file_is_removed_together_with_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, other = tmp_path / "gone", tmp_path / "other"
    for path in (gone, other):
        path.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _fail_once(Path.replace, other))
        with pytest.raises(OutputError, match="other: cannot be written"):
            write_texts({gone: None, other: "new"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"gone": "old", "other": "old"}
    write_texts({gone: None, other: "new", tmp_path / "never": None})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"other": "new"}


def _fail_once(real: Callable[[Path, Path], Path], target: Path) -> Callable[[Path, Path], Path]:
    def fail(self: Path, to: Path) -> Path:
        if to == target and self.suffix == ".tmp":
            raise OSError(5, "Input/output error")
        return real(self, to)

    return fail


def test_what_cannot_be_put_back_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    paths[0].write_text("old a")
    real = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if target == paths[1] or self.suffix == ".old":
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError) as caught:
        write_texts(dict.fromkeys(paths, "new"))
    assert str(caught.value) == (f"{paths[0]}: cannot be restored after a failed write: Input/output error")
    assert _names(tmp_path) == ["a"]


def test_errors_without_words_of_the_system_are_told_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("odd")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match=r"/a: cannot be written: odd$"):
        write_text(tmp_path / "a", "")
    with pytest.raises(OutputError, match=r"/a: cannot be written: odd$"):
        write_chunks(tmp_path / "a", [b"x"])
    assert _names(tmp_path) == []


def test_a_temporary_file_that_cannot_be_removed_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", fail)
    write_texts({tmp_path / "a": "new", tmp_path / "b": "new"})
    assert [(tmp_path / name).read_text() for name in "ab"] == ["new", "new"]


def test_a_single_file_is_not_copied_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    monkeypatch.setattr(shutil, "copyfile", None)
    write_text(path, "new")
    assert path.read_text() == "new"


def test_content_is_on_the_disk_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "a", list[tuple[bool, int]]()
    real = os.fsync

    def watch(descriptor: int) -> None:
        synced.append((path.exists(), os.fstat(descriptor).st_size))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    write_text(path, "x" * 10)
    path.unlink()
    write_chunks(path, [b"x" * 7, b"", b"y" * 4])
    assert synced == [(False, 10), (False, 11)]
    assert path.read_bytes() == b"xxxxxxxyyyy"


def test_chunks_that_end_early_leave_the_old_file(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"new"
        raise KeyboardInterrupt

    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_chunks(path, chunks())
    assert (_names(tmp_path), path.read_text()) == (["a.json"], "old")


def test_parents_are_made_and_may_be_there(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "a"
    write_text(target, "1")
    write_text(target, "2")
    write_chunks(tmp_path / "other" / "deep" / "b", [b"3"])
    assert _names(tmp_path) == ["new", "new/deep", "new/deep/a", "other", "other/deep", "other/deep/b"]


def test_temporary_files_are_hidden_and_end_as_they_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    real = os.fsync

    def watch(descriptor: int) -> None:
        seen.append(_names(tmp_path))
        real(descriptor)

    for name in ("a", "b"):
        (tmp_path / name).write_text("old")
    monkeypatch.setattr(os, "fsync", watch)
    write_texts({tmp_path / "a": "new", tmp_path / "b": "new"})
    made = sorted({name for names in seen for name in names} - {"a", "b"})
    assert [name.rpartition(".")[2] for name in made] == ["old", "tmp", "tmp"]
    assert all(re.fullmatch(r"\.[ab]\.[0-9a-f]{8}\.(old|tmp)", name) for name in made)
    assert _names(tmp_path) == ["a", "b"]


def test_json_has_one_line_per_entry_and_reads_back() -> None:
    document = {"info": {"a": "é"}, "rows": [{"x": 0.1}, {"x": [1, 2]}], "empty": [], "numbers": [1, 2]}
    text = dump_json(document)
    assert text.splitlines() == [
        "{",
        '"info": {"a":"é"},',
        '"rows": [',
        '{"x":0.1},',
        '{"x":[1,2]}',
        "],",
        '"empty": [],',
        '"numbers": [1,2]',
        "}",
    ]
    assert json.loads(text) == document


def test_json_never_holds_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_json({"a": float("nan")})


@pytest.mark.parametrize(
    ("content", "place", "problem"),
    [
        (b'{"a": }', "line 1, column 7", "is not valid JSON: Expecting value"),
        (b'{"a": "\xe9"}', "byte 7", "text must be UTF-8, but this byte is not valid"),
        (b"[" * 100_000, "", "is nested too deeply for an annotation file"),
        (b"[" + b"1" * 5000 + b"]", "", "has a number with too many digits for an annotation file"),
    ],
)
def test_json_that_is_none(tmp_path: Path, content: bytes, place: str, problem: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_json(path)
    assert (caught.value.path, caught.value.place, caught.value.problem) == (path, place, problem)


def test_reading_takes_a_byte_order_mark_and_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(path) == [1]
    with pytest.raises(InputError, match=r"b\.json: cannot be read: No such file or directory"):
        read_text(tmp_path / "b.json")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_text(tmp_path)


def test_staged_folder_appears_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with staged_folder(target) as folder:
        (folder / "a").write_text("a")
        assert not target.exists()
    assert _names(tmp_path) == ["deep", "deep/out", "deep/out/a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError("x", "", "broken"), ValueError])
def test_staged_folder_that_fails_leaves_nothing(tmp_path: Path, error: type[BaseException] | BaseException) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(BaseException) as caught, staged_folder(target, overwrite=True) as folder:
        (folder / "a").write_text("a")
        raise error
    assert caught.type is (error if isinstance(error, type) else type(error))
    assert _names(tmp_path) == ["out", "out/old"]


def test_staged_folder_replaces_only_when_told(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with staged_folder(target) as folder:
        (folder / "a").write_text("a")
    with pytest.raises(RequestError, match=r"out: exists and is not empty\n  fix: choose another folder"):
        staged_folder(target).__enter__()
    with staged_folder(target, overwrite=True) as folder:
        (folder / "b").write_text("b")
    assert _names(tmp_path) == ["out", "out/b"]
    with pytest.raises(RequestError, match="must be a folder, but is a file"):
        staged_folder(target / "b").__enter__()


def test_staged_folder_that_cannot_be_moved_puts_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    real = Path.rename

    def fail(self: Path, other: Path) -> Path:
        if self.suffix == ".tmp":
            raise OSError(13, "Permission denied", str(other))
        return real(self, other)

    monkeypatch.setattr(Path, "rename", fail)
    monkeypatch.setattr(files, "exchange", lambda *_: False)
    with pytest.raises(OutputError, match="out: cannot be written: Permission denied"):  # noqa: SIM117
        with staged_folder(target, overwrite=True) as folder:
            (folder / "a").write_text("a")
    assert _names(tmp_path) == ["out", "out/old"]


@pytest.mark.parametrize("how", ["copy", "hardlink", "symlink"])
def test_transfer_is_byte_for_byte(tmp_path: Path, how: Transfer) -> None:
    source, target = tmp_path / "a.jpg", tmp_path / "deep" / "b.jpg"
    source.write_bytes(bytes(range(256)))
    transfer(source, target, how)
    assert target.read_bytes() == source.read_bytes()
    assert target.is_symlink() == (how == "symlink")
    assert target.samefile(source) == (how != "copy")


@pytest.mark.parametrize(("how", "hint"), [("copy", False), ("hardlink", True), ("symlink", True)])
def test_transfer_that_is_refused_says_what_works(tmp_path: Path, how: Transfer, hint: bool) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=f"cannot {how} .*a.jpg") as caught:
        transfer(tmp_path / "a.jpg", tmp_path / "file" / "b.jpg", how)
    assert ("use --images copy" in str(caught.value)) == hint


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a.jpg", Path("a.jpg")),
        ("..\\img\\a.jpg", Path("../img/a.jpg")),
        ("img/b\\a.jpg", Path("img/b/a.jpg")),
        ("/a.jpg", None),
        ("\\a.jpg", None),
        ("C:\\a.jpg", None),
        ("c:a.jpg", None),
        ("\\\\host\\share\\a.jpg", None),
    ],
)
def test_portable_paths(text: str, path: Path | None) -> None:
    assert portable_path(text) == path


def test_is_inside_follows_links(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "outside").write_text("")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "outside")
    assert is_inside(tmp_path / "in" / "x", tmp_path / "in")
    assert not is_inside(tmp_path / "in" / ".." / "outside", tmp_path / "in")
    assert not is_inside(tmp_path / "in" / "link", tmp_path / "in")
    assert not is_inside(tmp_path / "inside", tmp_path / "in")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero here")
def test_a_device_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.symlink_to("/dev/zero")
    with pytest.raises(InputError) as caught:
        read_bytes(path)
    assert (caught.value.path, caught.value.problem) == (path, "cannot be read: it is a device, which may never end")


def test_json_holds_names_that_are_no_utf_8(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"file": "\udcff.jpg", "other": "ü"})
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"file": "\udcff.jpg", "other": "ü"}
