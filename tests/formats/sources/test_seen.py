"""Where no format fits, what is there is named, with what to give instead; so is a file that is no annotation."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.build import make_dataset, make_image
from tests.cli.run import Done, run
from tests.converting import labelme_source, write_source

RESULTS = [{"image_id": 1, "category_id": 1, "keypoints": [], "score": 0.5}]

STRANGERS: Mapping[str, tuple[str, str | bytes, str]] = {
    "broken JSON": ("a.json", '{\n"shapes": [\n', "a.json: is not JSON (line 3, column 1)"),
    "no text": ("a.json", b'{"a": "\xe9"}', "a.json: is not text in UTF-8; save it as UTF-8 in a text editor (byte 7)"),
    "empty": ("a.json", " ", "a.json: empty"),
    "VIA 3": (
        "a.csv",
        "# Exported using VGG Image Annotator\n",
        "a.csv: looks like a VIA 3 table; save the project",
    ),
    "Supervisely": ("a.jpg.json", json.dumps({"tags": [], "size": {}, "objects": []}), "looks like Supervisely"),
    "results": ("a.json", json.dumps(RESULTS), "a.json: looks like COCO detection results"),
    "COCO in part": ("a.json", json.dumps({"images": [], "annotations": []}), "looks like COCO without categories"),
    "labelme in part": ("a.json", json.dumps({"shapes": []}), "looks like a labelme file without imagePath"),
    "an object": ("a.json", '{"name": "x", "v": 1}', "JSON in none of these formats: an object with 'name', 'v'"),
    "a list": ("a.json", "[[1]]", "JSON in none of these formats: a list of 1, the first a list of 1, the first 1"),
    "Pascal VOC": ("a.xml", "<annotation><object/></annotation>", "a.xml: Pascal VOC, which has boxes"),
    "XML": ("a.xml", "<?xml version='1.0'?>\n<svg/>", "a.xml: XML from another program, with the element 'svg'"),
    "no XML": ("a.xml", "x", "a.xml: is not XML"),
    "boxes": ("a.txt", "0 0.5 0.5 0.1 0.1\n", "a.txt: numbers in 5 columns: YOLO detection (class and box), without"),
    "columns": ("a.txt", "0 " + "0.5 " * 7, "a.txt: numbers in 8 columns; if it is YOLO-pose, give the folder"),
    "text": ("a.txt", "hello world", "a.txt: text"),
    "table": ("a.csv", "a,b\n1,2\n", "a.csv: a table; `posetools convert SRC --from custom --mapping FILE.toml`"),
    "YAML": ("data.yaml", "names: [dog]\n", "data.yaml: YAML without kpt_shape"),
    "zip": ("export.zip", b"", "export.zip: in the folder; give it as SRC"),
    "archive": ("export.rar", b"", "export.rar: in the folder; unpack it and give that folder"),
    "others": ("a.mat", b"", "other files: .mat (1)"),
}


def put(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize("kind", STRANGERS)
def test_each_kind_of_file_is_named(tmp_path: Path, kind: str) -> None:
    name, content, said = STRANGERS[kind]
    put(tmp_path / "src" / name, content)
    make_image(tmp_path / "src/b.jpg")
    done = run("convert", tmp_path / "src", "--out", tmp_path / "out")
    assert done.status == 2 and "src: must be in a format" in done.err and "but none fits" in done.err
    lines = [line.strip() for line in done.err.splitlines()]
    assert any(line.startswith(said) or said in line for line in lines[1:]), done.err
    # What was seen comes first, then how formats are recognized, in one line.
    assert lines[-2].startswith("docs/convert.md lists what identifies each format: coco, custom, ")
    assert lines[-1] == "fix: choose the format with --from NAME" and len(lines) == 4


def test_kinds_are_counted_and_few(tmp_path: Path) -> None:
    for number in range(40):
        put(tmp_path / f"src/labels/{number}.txt", "0 0.5 0.5 0.1 0.1\n")
        put(tmp_path / f"src/{number}.xml", "<annotation/>")
    put(tmp_path / "src/labels/classes.txt", "dog\n")
    for kind in STRANGERS.values():
        put(tmp_path / "src/more" / kind[0], kind[1])
    done = run("view", tmp_path / "src", "--out", tmp_path / "sheet.png")
    assert done.status == 2 and len(done.err.splitlines()) <= 14, done.err
    assert re.search(r"\n  \d+ \*\.txt files: numbers in 5 columns", done.err), done.err
    assert re.search(r"\n  \d+ \*\.xml files: Pascal VOC", done.err), done.err


def test_images_alone_and_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        make_image(tmp_path / f"my dogs/{number}.jpg")
    done = run("convert", "my dogs", "--out", "out")
    assert done.status == 2
    assert "my dogs: 3 images and no labels; `posetools annotate 'my dogs'`" in done.err
    Path("empty").mkdir()
    assert "empty: contains no files" in run("convert", "empty", "--out", "out").err


def test_of_several_formats_each_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source, dataset = labelme_source(tmp_path)
    write_source(tmp_path / "coco", "coco", {"train": dataset})
    (tmp_path / "coco/train_coco.json").rename(source / "all_coco.json")
    done = run("convert", "src", "--out", "out")
    assert done.status == 2 and "but coco and labelme fit" in done.err
    assert "\n  labelme: a.json, " in done.err and "\n  coco: all_coco.json, " in done.err
    assert "--from NAME" in done.err and "docs/convert.md" not in done.err
    # As it says.
    assert run("convert", "src", "--out", "out", "--from", "coco", "--image-root", "src").status == 0


def test_of_several_sources_each_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    labels, _ = labelme_source(tmp_path)
    for path in labels.glob("*.jpg"):
        path.unlink()
    write_source(tmp_path / "coco", "coco", {"train": make_dataset(tmp_path / "more")})
    done = run("convert", "src", "coco", "pictures", "--out", "out")
    assert done.status == 2
    assert "\n  src: labelme\n" in done.err and "\n  coco: coco\n" in done.err
    assert "give it as SRC with --image-root pictures" in done.err
    # As it says.
    assert run("convert", "src", "--image-root", "pictures", "--out", "out").status == 0


def image(folder: Path) -> Path:
    return make_image(folder / "a.jpg")


def labeled_image(folder: Path) -> Path:
    dataset = make_dataset(folder / "photos", images=["a.jpg", "b.jpg"])
    return write_source(folder / "src", "labelme", {"all": dataset}) / "a.jpg"


def of(name: str, content: str = "") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        put(folder / name, content)
        return folder / name

    return make


GIVEN: Mapping[str, tuple[Callable[[Path], Path], str, str]] = {
    "image": (image, "got an image", "`posetools annotate "),
    "labeled image": (labeled_image, "got an image", "give its annotation file, "),
    "video": (of("a.MP4"), "got a video", "give the file with its labels"),
    "archive": (of("a.tar.gz"), "got an archive", "unpack it and give the folder"),
    "text": (of("a.txt", "0 1 2"), "got a text file", "give the folder that holds data.yaml"),
}


@pytest.mark.parametrize("way", [(), ("--from", "labelme")], ids=["auto-detected", "--from"])
@pytest.mark.parametrize("kind", GIVEN)
def test_a_file_that_is_no_annotation_says_what_to_give(tmp_path: Path, kind: str, way: tuple[str, ...]) -> None:
    make, said, hint = GIVEN[kind]
    path = make(tmp_path)
    done = run("convert", path, "--out", tmp_path / "out", *way)
    assert (
        done.status == 2
        and f"error: {path}: SRC must be an annotation file, a folder or a zip file, {said}" in done.err
    )
    assert hint in done.err
    if kind == "labeled image":
        ((file, folder),) = re.findall(r"annotation file, (\S+), or the folder, (\S+)", done.err)
        for number, typed in enumerate(([file, path.with_name("b.json")], shlex.split(folder))):
            assert run("convert", *typed, "--out", tmp_path / f"out{number}").status == 0


def test_a_skeleton_as_source_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("skeleton", "new", "dog.yaml", "--names", "nose,tail", "--category", "dog").status == 0
    done = run("convert", "dog.yaml", "--out", "out")
    assert done.status == 2 and "got a skeleton" in done.err and "--skeleton dog.yaml" in done.err


def test_nothing_of_a_file_is_obeyed(tmp_path: Path) -> None:
    put(tmp_path / "src/a.json", json.dumps({"\x1b[31mred\n": 1, "x" * 9999: 2}))
    put(tmp_path / "src/b.xml", b"<\xff\xfe\x1b[31m/>")
    done: Done = run("convert", tmp_path / "src", "--out", tmp_path / "out")
    assert done.status == 2 and "\x1b" not in done.err and len(done.err) < 2000
