"""Zip files as sources: read as the folders that they hold, named in every message, and gone afterwards.

What is refused in them is in tests/test_hostile.py.
"""

from __future__ import annotations

import json
import shlex
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from posetools.core.skeleton import Skeleton, load_skeleton
from posetools.formats import FORMATS
from tests.build import make_dataset, make_image
from tests.cli.run import Done, run
from tests.converting import contents, write_source

FORMATS_IN_ZIPS = ("labelme", "coco", "cvat", "label-studio", "via", "yolo-pose", "deeplabcut")
LENIENT = ("--assume-visible", "--box-from", "keypoints")


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to an empty folder with dog.yaml, and let temporary files be made in another."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert (
        run("skeleton", "new", "dog.yaml", "--names", "nose,left-ear,right-ear,tail", "--category", "dog").status == 0
    )
    return folder


def dog() -> Skeleton:
    return load_skeleton("dog.yaml")


def source(name: str, images: tuple[str, ...] = ("a.jpg", "b.jpg", "c.jpg")) -> Path:
    per_image = 1 if name == "deeplabcut" else 2
    dataset = make_dataset(Path("photos") / name, skeleton=dog(), images=images, per_image=per_image)
    return write_source(Path("src") / name, name, {"train" if FORMATS[name].keeps_splits else "all": dataset})


def zipped(file: str, folder: Path, *, below: str = "", endings: tuple[str, ...] = ("",)) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name.endswith(endings):
                archive.write(path, Path(below) / path.relative_to(folder))
    return Path(file)


def convert(*sources: str | Path, out: str = "out", more: tuple[str, ...] = ()) -> Done:
    return run("convert", *sources, "--out", out, "--skeleton", "dog.yaml", *more)


def record(out: str) -> Mapping[str, object]:
    document: Mapping[str, object] = json.loads(Path(out, "conversion.json").read_text())
    return document


@pytest.mark.parametrize("below", ["", "my dogs", "a/b"])
@pytest.mark.parametrize("name", FORMATS_IN_ZIPS)
def test_a_zip_is_read_as_the_folder_that_it_holds(scratch: Path, name: str, below: str) -> None:
    folder = source(name)
    with zipfile.ZipFile(zipped("export.zip", folder, below=below), "a") as archive:
        for left in ("__MACOSX/._a.jpg", "__MACOSX/a.json", ".DS_Store", "Thumbs.db"):
            archive.writestr(left, b"\0")
    more = LENIENT if name == "deeplabcut" else ()
    for given, out in ((folder, "plain"), (Path("export.zip"), "out")):
        done = convert(given, out=out, more=more)
        assert done.status == 0, done.out + done.err
    plain, found = contents(Path("plain")), contents(Path("out"))
    assert found.pop("conversion.json") != plain.pop("conversion.json")
    assert found == plain
    assert record("out")["source"] == {**record("plain")["source"], "paths": ["export.zip"]}  # type: ignore[dict-item]
    assert record("out")["findings"] == []
    assert list(scratch.iterdir()) == []
    assert sorted(path.name for path in Path().iterdir()) == ["dog.yaml", "export.zip", "out", "photos", "plain", "src"]


def test_findings_and_records_name_the_zip(scratch: Path) -> None:
    folder = source("labelme", ("a.jpg", "b.jpg", "c.jpg", "d.jpg"))
    (folder / "b.jpg").unlink()
    (folder / "c.json").write_text('{"shapes": [')
    make_image(folder / "new.jpg")
    zipped("my export.zip", folder, below="batch 1")
    done = convert("my export.zip", more=("--keep-going",))
    assert done.status == 1
    for part in (
        "my export.zip/batch 1/b.json: imagePath must be an existing image, got 'b.jpg'",
        "not found at my export.zip/batch 1/b.jpg",
        "my export.zip/batch 1/c.json: ",
        "my export.zip/batch 1/new.jpg: ",
    ):
        assert part in done.words, done.words
    assert str(scratch) not in done.out + done.err + Path("out/conversion.json").read_text()
    assert not any(".posetools-" in text for text in (done.out, done.err, Path("out/conversion.json").read_text()))
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("source_format", [(), ("--from", "coco")])
def test_a_refusal_names_the_zip(scratch: Path, source_format: tuple[str, ...]) -> None:
    Path("notes").mkdir()
    Path("notes/a.json").write_text('{\n "x": [1,\n}')
    zipped("notes.zip", Path("notes"))
    done = convert("notes.zip", more=source_format)
    assert done.status == (1 if source_format else 2)
    assert ("notes.zip/a.json" if source_format else "notes.zip: must be in a format") in done.words
    assert source_format or "a.json: is not JSON (line 3, column 1)" in done.words
    assert ".posetools-" not in done.out + done.err and list(scratch.iterdir()) == []


def test_images_in_a_zip_of_their_own_and_folders_in_zips(scratch: Path) -> None:
    folder = source("labelme")
    zipped("my labels.zip", folder, endings=(".json",))
    zipped("images.zip", folder, below="cam 1", endings=(".jpg",))
    missing = convert("my labels.zip")
    assert missing.status == 1 and "--image-root DIR" in missing.words
    # Both what is in a zip and a folder in it can be typed.
    for number, (given, root) in enumerate(
        [("my labels.zip", "images.zip"), ("my labels.zip/a.json", "images.zip/cam 1"), ("my labels.zip", str(folder))]
    ):
        sources = [given] if given.endswith(".zip") else [given, "my labels.zip/b.json", "my labels.zip/c.json"]
        done = convert(*sources, out=f"out{number}", more=("--image-root", root))
        assert done.status == 0, done.out + done.err
        assert record(f"out{number}")["options"]["image_roots"] == [root]  # type: ignore[index]
    none = convert("my labels.zip/d.json")
    assert none.status == 2 and "my labels.zip/d.json: SRC must be an existing file or folder in my labels" in none.err
    assert list(scratch.iterdir()) == []


def test_a_hint_on_a_folder_in_a_zip_can_be_typed() -> None:
    folder = source("labelme", ("cam 0/a.jpg", "cam 0/b.jpg"))
    for path in (folder / "cam 0").glob("*.json"):
        path.write_text(path.read_text().replace('"imagePath": "', '"imagePath": "cam1/'))
    zipped("labels.zip", folder, endings=(".json",))
    make_image(folder / "top.jpg")
    zipped("images.zip", folder, endings=(".jpg",))
    done = convert("labels.zip", more=("--image-root", "images.zip"))
    assert done.status == 1 and "E121" in done.words and "found only images.zip/cam 0/a.jpg" in done.words
    assert "--image-root 'images.zip/cam 0' takes" in done.words, done.words
    done = convert("labels.zip", more=("--image-root", "images.zip/cam 0"))
    assert done.status == 0 and "W332" in done.words, done.out + done.err


def test_a_folder_that_holds_only_zips(scratch: Path) -> None:
    Path("tasks").mkdir()
    for task in ("task_1", "task_2"):
        zipped(f"tasks/{task}.zip", source("cvat"))
        (Path("src") / "cvat").rename(Path("src") / task)
    done = convert("tasks")
    assert done.status == 0, done.out + done.err
    names = {path.relative_to("out/images").as_posix() for path in Path("out/images").rglob("*.jpg")}
    assert len(names) == 6
    assert record("out")["source"]["paths"] == ["tasks"]  # type: ignore[index]
    # Zips in a zip are named, and read as the message says.
    with zipfile.ZipFile("all.zip", "w") as archive:
        archive.write("tasks/task_1.zip", "task_1.zip")
    done = convert("all.zip", out="more")
    assert done.status == 2 and "all.zip: contains only zip files, which are not opened: ['task_1.zip']" in done.words
    with zipfile.ZipFile("all.zip") as archive:
        archive.extractall("all")
    assert convert("all", out="more").status == 0
    (Path("tasks") / "readme.md").write_text("x")
    done = convert("tasks", out="none")
    assert done.status == 2 and "task_1.zip, task_2.zip: in the folder; give it as SRC" in done.words
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("images", ["symlink", "hardlink", "none"])
@pytest.mark.parametrize("where", ["source", "folder", "image root"])
def test_links_to_what_is_removed_are_refused(images: str, where: str) -> None:
    folder = source("labelme")
    Path("zips").mkdir()
    zipped("zips/export.zip", folder)
    given = {"source": Path("zips/export.zip"), "folder": Path("zips"), "image root": folder}[where]
    root = ("--image-root", "zips/export.zip") if where == "image root" else ()
    done = convert(given, more=("--images", images, *root))
    assert (
        done.status == 2
        and f"--images must be copy with a zip file (zips{'' if where == 'folder' else '/'}" in done.err
    )
    assert convert(given, more=("--images", "copy", *root)).status == 0, "as the message says"


def written(name: bytes, *, utf8: bool, file: str = "names.zip") -> None:
    """Write a zip of a labelme folder with one more image, whose name is in some code page."""
    folder = source("labelme")
    zipped(file, folder)
    stand_in = "0" * len(name)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(stand_in, b"x")
    content = Path(file).read_bytes().replace(stand_in.encode(), name)
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)) if utf8 else ():
        at = content.rindex(signature) + offset
        content = content[:at] + (0x800).to_bytes(2, "little") + content[at + 2 :]
    Path(file).write_bytes(content)


@pytest.mark.parametrize(("encoding", "utf8"), [("utf-8", True), ("utf-8", False), ("gbk", False), ("cp437", False)])
def test_names_of_members_in_other_code_pages(encoding: str, utf8: bool) -> None:
    name = "h\u00fcndin.jpg" if encoding == "cp437" else "\u72d7.jpg"
    written(name.encode(encoding), utf8=utf8)
    done = convert("names.zip")
    if encoding != "utf-8":
        assert done.status == 2 and "names of members must be UTF-8" in done.err and "--encoding gbk" in done.err
        assert convert("names.zip", more=("--encoding", "no-such")).status == 2
        done = convert("names.zip", more=("--encoding", encoding))
    assert done.status == 0, done.err
    assert f"W322 no-annotation-file (1) names.zip/{name}: " in done.words


def test_what_killed_runs_left_is_removed_by_the_next(scratch: Path) -> None:
    import os

    source("labelme")
    zipped("export.zip", Path("src/labelme"))
    for name, age in (("old", 3600), ("new", 0)):
        left = scratch / f".posetools-{name}"
        (left / "export").mkdir(parents=True)
        os.utime(left, (left.stat().st_mtime - age,) * 2)
    assert convert("export.zip").status == 0
    assert [path.name for path in scratch.iterdir()] == [".posetools-new"], "another run may have started just now"


COMMANDS = (
    "validate ZIP",
    "validate ZIP --skeleton dog.yaml --fix",
    "validate ZIP/train_coco.json",
    "split ZIP",
    "merge ZIP gone --out new",
    "subset ZIP --out new --min-size 1",
    "diff ZIP ZIP",
    "sigmas ZIP ZIP",
    "view ZIP",
    "config ZIP --skeleton dog.yaml",
)


def test_commands_other_than_convert_name_the_one_that_reads_a_zip() -> None:
    file = zipped("my dogs.zip", source("coco"))
    command = "posetools convert 'my dogs.zip' --out 'my dogs-coco'"
    for words in COMMANDS:
        done = run(*(word.replace("ZIP", str(file)) for word in words.split()))
        assert (done.status, done.out) == (2, "")
        assert done.err == (
            "error: my dogs.zip: must be a folder, got a zip file, which only `posetools convert` reads\n"
            f"  fix: `{command}` makes a data set of it\n"
        )
    assert run(*shlex.split(command)[1:], "--skeleton", "dog.yaml").status == 0
    assert run("validate", "my dogs-coco", "--no-images").status == 0
    for words in ("annotate ZIP", "prelabel ZIP --run gone"):
        done = run(*(word.replace("ZIP", str(file)) for word in words.split()))
        assert done.status == 2 and done.err.endswith("unpack it and give the folder\n"), done.err
    Path("folder.zip").mkdir()
    assert "must be a data set folder with" in run("validate", "folder.zip").err, "a folder may be called so"


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.7z", "a.rar"])
def test_other_archives_are_named(name: str) -> None:
    Path(name).write_bytes(b"x")
    done = convert(name)
    assert (
        done.status == 2 and f"{name}: SRC must be an annotation file, a folder or a zip file, got an arch" in done.err
    )
    assert "unpack it" in done.err
