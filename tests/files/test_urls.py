"""convert and validate on data at URLs: the same as of local folders, but for the names in findings."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from posetools.checks.validate import validate
from posetools.files.urls import UrlPath, as_path
from posetools.formats import FORMATS
from posetools.formats.options import ReadOptions
from tests.cli.run import run
from tests.coco_sample import edit, write_sample
from tests.converting import contents, convert_one, labelme_source

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: the extra `cluster`")

_TOP = "memory://bucket/data"


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield
    system.store.clear()


def upload(folder: Path, name: str = "src") -> UrlPath:
    """Copy a local folder to where the URL leads."""
    for path in folder.rglob("*"):
        if path.is_file():
            at = f"{_TOP}/{name}/{path.relative_to(folder).as_posix()}"
            fsspec.filesystem("memory").pipe_file(at, path.read_bytes())
    return UrlPath(f"{_TOP}/{name}")


def outputs(folder: Path) -> dict[str, bytes]:
    """Return what was written, without the record of where it came from."""
    return {name: content for name, content in contents(folder).items() if name != "conversion.json"}


@pytest.mark.parametrize("images", ["copy", "none"])
@pytest.mark.parametrize("trust", [False, True])
def test_labelme(tmp_path: Path, images: str, trust: bool) -> None:
    source, _ = labelme_source(tmp_path, ["a.jpg", "b.jpg", "sub/a.png", "sub/deep/c.jpg"])
    read = ReadOptions(trust_sizes=trust)
    here = convert_one(source, tmp_path / "here", read=read, images=images)
    there = convert_one(upload(source), tmp_path / "there", read=read, images=images)
    assert outputs(tmp_path / "there") == outputs(tmp_path / "here")
    assert replace(there, skeleton=here.skeleton) == here
    assert json.loads((tmp_path / "there/conversion.json").read_text())["source"]["paths"] == [f"{_TOP}/src"]


def test_findings_name_the_url(tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path)
    (source / "a.json").write_text("{")
    (source / "b.jpg").unlink()
    (source / "c.jpg").write_bytes(b"no image")
    (source / "d.json").write_text((source / "d.json").read_text().replace('"d.jpg"', '"../../other/x.jpg"'))
    (source / "e.json").write_text((source / "e.json").read_text().replace('"left-front-tire"', '"wheel"'))
    (source / "f.json").unlink()
    here = convert_one(source, tmp_path / "here", keep_going=True)
    there = convert_one(upload(source), tmp_path / "there", keep_going=True)
    wanted = [(one.code, one.file.replace(str(source), f"{_TOP}/src"), one.place) for one in here.findings]
    assert sorted((one.code, one.file, one.place) for one in there.findings) == sorted(wanted)
    assert {"E310", "E121", "E122", "E308", "W322"} <= {one.code for one in there.findings}
    assert [one.message.count(f"a path inside {_TOP}/src") for one in there.findings if one.code == "E308"] == [1]
    assert outputs(tmp_path / "there") == outputs(tmp_path / "here")


def test_a_path_that_leaves_the_url_is_refused_though_there_is_an_image(tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path)
    url = upload(source)
    fsspec.filesystem("memory").pipe_file("memory://bucket/data/secret.jpg", (source / "a.jpg").read_bytes())
    text = (source / "a.json").read_text()
    for name in ("../secret.jpg", "sub/../../secret.jpg", "/data/secret.jpg", "memory://bucket/data/secret.jpg"):
        changed = text.replace('"a.jpg"', json.dumps(name))
        assert changed != text
        fsspec.filesystem("memory").pipe_file(str(url / "a.json"), changed.encode())
        for options in (ReadOptions(), ReadOptions(trust_sizes=True, need_images=False)):
            done = convert_one(url, tmp_path / "out", read=options)
            assert [one.code for one in done.findings][:1] in (["E308"], ["E121"])
            assert not done.written


def test_images_in_another_bucket(tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path)
    (tmp_path / "more").mkdir()
    (source / "a.jpg").rename(tmp_path / "more/a.jpg")
    url, more = upload(source), upload(tmp_path / "more", "more")
    convert_one(source, tmp_path / "here", read=ReadOptions(image_roots=(tmp_path / "more",)))
    convert_one(url, tmp_path / "there", read=ReadOptions(image_roots=(more,)))
    assert outputs(tmp_path / "there") == outputs(tmp_path / "here")


def test_coco(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")
    here = convert_one(tmp_path / "cars", tmp_path / "here")
    there = convert_one(upload(tmp_path / "cars"), tmp_path / "there")
    assert outputs(tmp_path / "there") == outputs(tmp_path / "here")
    assert replace(there, skeleton=here.skeleton) == here


def test_validate(tmp_path: Path) -> None:
    cars = tmp_path / "cars"
    write_sample(cars)
    (cars / "images/twin.jpg").write_bytes((cars / "images/a.jpg").read_bytes())
    (cars / "images/broken.jpg").write_bytes(b"no image")
    listed = [
        {"id": 100 + number, "file_name": name, "width": 320, "height": 240}
        for number, name in enumerate(("twin.jpg", "broken.jpg", "gone.jpg", "../out.jpg"))
    ]
    edit(cars / "val_coco.json", lambda document: document["images"].extend(listed))
    url = upload(cars)
    here, there = validate(cars), validate(url)
    wanted = [(one.code, one.file.replace(str(cars), str(url)), one.place) for one in here.findings]
    assert [(one.code, one.file, one.place) for one in there.findings] == wanted
    assert {"E121", "E122", "E125", "E126"} <= {one.code for one in there.findings}
    one_file = validate(url / "train_coco.json", skeleton="car8")
    assert one_file.findings == tuple(one for one in one_file.findings if one.code.startswith("W"))


def test_from_the_command_line(tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path)
    done = run("convert", upload(source), "--out", tmp_path / "out")
    assert done.status == 0
    assert done.out.splitlines()[-2] == f"read 10 labelme annotation files, wrote {tmp_path}/out"
    assert run("convert", f"file://{source}", "--out", tmp_path / "local").status == 0
    assert outputs(tmp_path / "local") == outputs(tmp_path / "out")
    upload(tmp_path / "out", "cars")
    assert run("validate", f"{_TOP}/cars").status == 0


@pytest.mark.parametrize("name", sorted({name for name, each in FORMATS.items() if not each.reads_urls} - {"custom"}))
def test_formats_that_are_not_read_at_urls(tmp_path: Path, name: str) -> None:
    url = upload(labelme_source(tmp_path)[0])
    done = run("convert", url, "--from", name, "--out", tmp_path / "out")
    said = f"error: {url}: must be a local path with --from {name}; URLs are read with coco, labelme\n"
    assert (done.status, done.err) == (2, said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["split", "s3://b/cars"],
            "s3://b/cars: must be a local path: `posetools split` does not read or write URLs\n",
        ),
        (["train", "--stage", "pose", "gs://b/cars"], "gs://b/cars: must be a local path: `posetools train`"),
        (["convert", "src", "--out", "s3://b/cars"], "--out must be a local path, got 's3://b/cars'\n"),
        (["validate", "src", "--json=s3://b/x"], "--json must be a local path, got 's3://b/x'\n"),
        (["validate", f"{_TOP}/src", "--fix"], f"{_TOP}/src: must be a local path with --fix"),
        (["validate", f"{_TOP}/src", "--report", "x.html"], f"{_TOP}/src: must be a local path with --report\n"),
        (["convert", f"{_TOP}/src", "--out", "x"], f"{_TOP}/src: SRC must be an existing file or folder"),
        (["convert", "nosuch://b/src", "--out", "x"], "nosuch://b: must be a URL that fsspec can open here: "),
    ],
)
def test_what_cannot_be_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.status == 2
    assert done.err.startswith(f"error: {said}")
    assert list(tmp_path.iterdir()) == []


def test_images_at_a_url_cannot_be_linked(tmp_path: Path) -> None:
    url = upload(labelme_source(tmp_path)[0])
    done = run("convert", url, "--out", tmp_path / "out", "--images", "symlink")
    said = f"error: --images must be copy or none for images at a URL ({url}), got 'symlink'\n"
    assert (done.status, done.err) == (2, said)
    assert as_path(str(url)) == url


def test_an_image_inside_a_labelme_file_is_written_out(tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path)
    document = json.loads((source / "a.json").read_text())
    content = (source / "a.jpg").read_bytes()
    (source / "a.json").write_text(json.dumps({**document, "imageData": base64.b64encode(content).decode()}))
    (source / "a.jpg").unlink()
    result = convert_one(upload(source), tmp_path / "there")
    assert [(one.code, one.file) for one in result.findings] == [("W324", f"{_TOP}/src")]
    assert (tmp_path / "there/images/a.jpg").read_bytes() == content
