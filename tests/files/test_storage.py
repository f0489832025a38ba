"""Files at URLs, in fsspec's own memory:// and at local paths."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as Pillow

from posetools.errors import InputError, RequestError
from posetools.files import urls as storage
from posetools.files.disk import read_bytes
from posetools.files.urls import HEAD, TAIL, UrlPath, as_path, fetched, heads, is_url, real
from posetools.files.walking import walk
from posetools.imaging.header import read_header

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: the extra `cluster`")


@pytest.fixture
def memory() -> Iterator[UrlPath]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield UrlPath("memory://bucket/set")
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def put(path: Path, content: bytes) -> None:
    fsspec.filesystem("memory").pipe_file(str(path), content)


def test_a_url_is_a_path_whose_text_is_the_url() -> None:
    path = as_path("s3://bucket/a/b.json")
    assert isinstance(path, UrlPath)
    assert (str(path), f"{path.parent}", path.name, path.as_posix()) == (
        "s3://bucket/a/b.json",
        "s3://bucket/a",
        "b.json",
        "s3://bucket/a/b.json",
    )
    assert str(path.parent / "c" / "d.jpg") == "s3://bucket/a/c/d.jpg"
    assert path.relative_to(as_path("s3://bucket")).as_posix() == "a/b.json"
    assert pickle.loads(pickle.dumps(path)) == path
    assert str(pickle.loads(pickle.dumps(path))) == str(path)
    assert as_path(str(path)) == path


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("s3://b/a", True), ("gs://b", True), ("C:/a", False), ("c://a", False), ("a/s3://b", False), ("/a", False)],
)
def test_what_a_url_is(text: str, is_one: bool) -> None:
    assert is_url(text) is is_one
    assert is_url(as_path(text)) is is_one


def test_file_urls_are_local_paths(tmp_path: Path) -> None:
    assert as_path(f"file://{tmp_path}/a.json") == tmp_path / "a.json"
    assert type(as_path(f"file://{tmp_path}")) is type(tmp_path)


def test_dots_are_resolved_and_lead_no_further_than_the_protocol() -> None:
    assert real("s3://bucket/a/./b/../c") == "s3://bucket/a/c"
    assert real("s3://bucket/a/../../other/x") == "s3://other/x"
    assert real("s3://bucket/../../../x") == "s3://x"


def test_kinds(memory: UrlPath) -> None:
    put(memory / "a.json", b"{}")
    file, nothing = memory / "a.json", memory / "b.json"
    assert (file.exists(), file.is_file(), file.is_dir(), file.is_symlink()) == (True, True, False, False)
    assert (memory.exists(), memory.is_file(), memory.is_dir()) == (True, False, True)
    assert (nothing.exists(), nothing.is_file(), nothing.is_dir()) == (False, False, False)
    assert file.stat().st_size == 2
    assert read_bytes(file) == read_bytes(str(file)) == b"{}"
    assert (memory / "sub/../a.json").is_file()


def test_walking_gives_what_it_gives_of_a_local_folder(memory: UrlPath, tmp_path: Path) -> None:
    names = "b.json a.json sub/x.jpg sub-1/y.jpg sub/deep/z.jpg .hidden/a.json sub/.a B.json"
    for name in names.split():
        put(memory / name, b"1")
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    local = [(Path(at).relative_to(tmp_path).as_posix(), entries) for at, _, entries in walk(tmp_path)]
    there = [(as_path(at).relative_to(memory).as_posix(), entries) for at, _, entries in walk(memory)]
    assert [one for one in local if one[1]] == [one for one in there if one[1]]
    assert [str(path) for path in memory.glob("*.json")] == [
        f"{memory}/{name}" for name in ("B.json", "a.json", "b.json")
    ]
    assert [str(path) for path in memory.glob("sub/*.jpg")] == [f"{memory}/sub/x.jpg"]


def test_a_file_that_is_not_there_is_named(memory: UrlPath) -> None:
    with pytest.raises(InputError, match=r"^memory://bucket/set/a\.json: cannot be read: "):
        read_bytes(memory / "a.json")
    with pytest.raises(InputError, match=r"^memory://bucket/set/a\.jpg: image does not exist"):
        read_header(memory / "a.jpg")


def test_a_protocol_that_nothing_opens_is_one_sentence() -> None:
    with pytest.raises(RequestError, match=r"^nosuch://a: must be a URL that fsspec can open here: "):
        as_path("nosuch://a/b").exists()


def test_of_an_image_only_the_beginning_and_the_end_are_fetched(
    memory: UrlPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    Pillow.effect_noise((800, 600), 100).save(buffer, "JPEG", quality=100)
    put(memory / "a.jpg", buffer.getvalue())
    asked: list[tuple[int, int]] = []
    inner = storage.RangeFile._range

    def counted(self: storage.RangeFile, start: int, end: int) -> bytes:
        asked.append((start, end))
        return inner(self, start, end)

    monkeypatch.setattr(storage.RangeFile, "_range", counted)
    assert read_header(memory / "a.jpg").size == (800, 600)
    size = len(buffer.getvalue())
    assert asked == [(0, HEAD), (size - TAIL, size)]
    with heads([str(memory / "a.jpg")]):
        assert read_header(memory / "a.jpg").size == (800, 600)
    assert len(asked) == 2


def test_a_jpeg_that_is_cut_short_is_found_at_a_url(memory: UrlPath) -> None:
    buffer = io.BytesIO()
    Pillow.effect_noise((800, 600), 100).save(buffer, "JPEG", quality=100)
    put(memory / "a.jpg", buffer.getvalue()[:-1000])
    put(memory / "b.jpg", buffer.getvalue() + bytes(2 * TAIL))
    put(memory / "c.jpg", buffer.getvalue()[:HEAD])
    for names in ([], [str(memory / "a.jpg"), str(memory / "b.jpg"), str(memory / "c.jpg")]):
        with heads(names):
            for cut in ("a.jpg", "c.jpg"):
                with pytest.raises(InputError, match="truncated"):
                    read_header(memory / cut)
            assert read_header(memory / "b.jpg").size == (800, 600)


@pytest.mark.parametrize("size", [0, 1, HEAD - 1, HEAD, HEAD + 1, 5 * HEAD + 3])
def test_a_file_that_is_read_piece_by_piece_is_what_it_is(memory: UrlPath, size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    put(memory / "a", content)
    with (memory / "a").open("rb") as file:
        pieces = iter(lambda: file.read(7001), b"")
        assert b"".join(pieces) == content
        assert file.seek(-min(size, 10), io.SEEK_END) == max(0, size - 10)
        assert file.read() == content[-10:]
    with fetched([str(memory / "a")]), (memory / "a").open("rb") as file:
        assert file.read() == content


def test_fetched_files_are_read_from_there(memory: UrlPath) -> None:
    put(memory / "a", b"1")
    with fetched([str(memory / "a"), str(memory / "gone"), "local"]):
        fsspec.filesystem("memory").rm(str(memory / "a"))
        assert read_bytes(memory / "a") == b"1"
        assert (memory / "a").is_file()
        assert not (memory / "gone").is_file()
    assert not (memory / "a").is_file()
