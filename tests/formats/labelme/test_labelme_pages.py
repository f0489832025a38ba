"""labelme files in the code page of the system they were written on, and in UTF-16: read, or asked about once."""

from __future__ import annotations

import codecs
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from posetools.core.findings import Finding
from posetools.core.skeleton import dump_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.datasets.convert import ConvertRequest, ConvertResult, convert
from posetools.errors import RequestError
from posetools.formats.labelme.model import Document
from posetools.formats.labelme.pages import some_reading
from posetools.formats.options import ReadOptions
from tests.build import make_dataset, make_image
from tests.cli.run import run
from tests.converting import convert_one, instances, write_source, written

NAMES = ("beak", "left-wing", "right-wing")
# A bird in languages whose Windows wrote such files: the labels of the category, then of the keypoints.
LANGUAGES = {
    "gbk": ("鸟", "嘴", "左翼", "右翼"),
    # Its second byte is a backslash, which only the right reading survives.
    "cp932": ("鳥", "表", "左翼", "右翼"),
    "cp949": ("새", "부리", "왼날개", "오른날개"),
    "cp950": ("鳥", "功", "左翼", "右翼"),
    "cp1251": ("птица", "клюв", "левое", "правое"),
    "cp1252": ("vögel", "schnäbel", "flügel-links", "flügel-rechts"),
    "cp1253": ("πουλί", "ράμφος", "αριστερό", "δεξί"),
}


def bird(tmp_path: Path) -> Path:
    path = tmp_path / "bird.yaml"
    path.write_text(dump_skeleton(draft_skeleton("bird", NAMES, "bird").skeleton))
    return path


def shape(label: str, *points: tuple[float, float], **more: Any) -> dict[str, Any]:
    kind = "rectangle" if len(points) == 2 else "point"
    return {"label": label, "points": points, "group_id": 0, "shape_type": kind, "flags": {}} | more


def document(labels: tuple[str, ...], image: str = "a.jpg", **more: Any) -> dict[str, Any]:
    category, beak, left, right = labels
    shapes = [
        shape(category, (10, 20), (110, 90)),
        shape(beak, (30, 40)),
        shape(left, (50, 60)),
        shape(right, (70, 80), flags={"occluded": True}),
    ]
    sizes = {"imageWidth": 320, "imageHeight": 240}
    return {"version": "4.2.9", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None} | sizes | more


def save(folder: Path, encoding: str, name: str, content: dict[str, Any], image: str | None = None) -> Path:
    """Write a file as labelme wrote it, and its image."""
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(content, ensure_ascii=False, indent=2).encode(encoding))
    make_image(folder / (image or str(content["imagePath"])), (320, 240))
    return path


def source(tmp_path: Path, encoding: str, labels: tuple[str, ...] | None = None) -> Path:
    folder = tmp_path / "src"
    for name in ("a", "b"):
        save(folder, encoding, name, document(labels or LANGUAGES[encoding], f"{name}.jpg"))
    return folder


def mapped(labels: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(labels, ("bird", *NAMES), strict=True))


def converted(tmp_path: Path, src: Path, **options: Any) -> ConvertResult:
    workers = options.pop("workers", 1)
    read = ReadOptions(workers=workers, **options)
    out = tmp_path / "out"
    return convert(ConvertRequest(sources=(src,), out=out, skeleton=bird(tmp_path), val=0.0, read=read))


def check(tmp_path: Path, number: int = 2) -> None:
    """The birds are in the data set, with the coordinates that were drawn."""
    dataset = written(tmp_path / "out")["train"]
    assert dataset.boxes.tolist() == [[10, 20, 110, 90]] * number
    assert dataset.keypoints.tolist() == [[[30, 40, 2], [50, 60, 2], [70, 80, 1]]] * number


@pytest.mark.parametrize("page", LANGUAGES)
def test_the_code_page_is_found_by_known_labels(tmp_path: Path, page: str) -> None:
    src = source(tmp_path, page)
    result = converted(tmp_path, src, names=mapped(LANGUAGES[page]))
    (found,) = result.findings
    assert (found.code, found.file) == ("W324", str(src))
    assert f"2 files that are not UTF-8 were read as {page}, in which the labels are known names" in found.message
    assert result.files == 2
    check(tmp_path)


@pytest.mark.parametrize("page", LANGUAGES)
def test_the_option_says_it(tmp_path: Path, page: str) -> None:
    result = converted(tmp_path, source(tmp_path, page), names=mapped(LANGUAGES[page]), encoding=page)
    assert not result.findings
    check(tmp_path)


def test_utf8_stays_utf8_whatever_the_option_says(tmp_path: Path) -> None:
    labels = LANGUAGES["gbk"]
    src = source(tmp_path, "utf-8", labels)
    save(src, "gbk", "c", document(labels, "c.jpg"))
    result = converted(tmp_path, src, names=mapped(labels), encoding="gbk")
    assert not result.findings and result.files == 3
    check(tmp_path, 3)


def test_unknown_labels_are_one_question_that_names_what_they_read_as(tmp_path: Path) -> None:
    src = source(tmp_path, "gbk")
    labels = LANGUAGES["gbk"]
    done = run("convert", src, "--out", tmp_path / "out", "--skeleton", bird(tmp_path))
    assert done.status == 1 and "E310 unreadable-file (1)" in done.out
    assert "2 files are not UTF-8, and labels and images do not show the encoding: a.json, b.json" in done.out
    assert "--encoding gbk reads '鸟', '嘴', '左翼'; --encoding" in done.out
    # Type what the hint offers: first the right encoding, then a wrong one; both show the labels.
    for page in ("gbk", "cp949"):
        done = run("convert", src, "--out", tmp_path / "out", "--skeleton", bird(tmp_path), "--encoding", page)
        assert done.status == 1 and "E301" in done.out and ("'鸟'" in done.out) is (page == "gbk")
    maps = [f"--map={old}={new}" for old, new in mapped(labels).items()]
    args = ("--encoding", "gbk", "--val", "0", *maps)
    assert run("convert", src, "--out", tmp_path / "out", "--skeleton", bird(tmp_path), *args).status == 0
    check(tmp_path)


def test_without_a_skeleton_the_encoding_comes_first(tmp_path: Path) -> None:
    src = source(tmp_path, "gbk")
    done = run("convert", src, "--out", tmp_path / "out")
    assert done.status == 1 and "--encoding gbk reads '鸟'" in done.out
    done = run("convert", src, "--out", tmp_path / "out", "--encoding", "gbk")
    assert done.status == 0 and "skeleton object: category '鸟', 3 keypoints" in done.words


def test_the_image_that_is_there_tells_the_code_page(tmp_path: Path) -> None:
    src = tmp_path / "src"
    save(src, "cp1251", "a", document(("bird", *NAMES), "сокол.jpg"))
    save(src, "utf-8", "b", document(("bird", *NAMES), "b.jpg"))
    result = converted(tmp_path, src)
    (found,) = result.findings
    assert found.code == "W324" and "1 file that is not UTF-8 was read as cp1251, in which the images" in found.message
    assert [image.file_name for image in written(tmp_path / "out")["train"].images] == ["b.jpg", "сокол.jpg"]


def test_two_readings_with_evidence_are_a_question(tmp_path: Path) -> None:
    # The same byte is ñ in one code page and с in the other, and the user knows both.
    src = source(tmp_path, "cp1252", ("bird", "ñ", "left-wing", "right-wing"))
    result = converted(tmp_path, src, names={"ñ": "beak", "с": "right-wing"})
    (found,) = result.findings
    assert found.code == "E310" and "--encoding cp1252 reads 'ñ'" in found.hint and "--encoding cp1251" in found.hint
    assert not result.written


def test_a_wildcard_that_fits_all_labels_tells_nothing(tmp_path: Path) -> None:
    src = source(tmp_path, "cp1251")
    result = converted(tmp_path, src, ignore=frozenset({"*"}))
    assert [finding.code for finding in result.findings] == ["E310"]


def test_text_that_nothing_reads_is_no_question(tmp_path: Path) -> None:
    src = tmp_path / "src"
    content = document(("bird", *NAMES))
    content["shapes"][1]["description"] = "schön"
    save(src, "cp1252", "a", content)
    result = converted(tmp_path, src)
    (found,) = result.findings
    assert found.code == "W324" and "1 file is not UTF-8, in text that does not affect objects" in found.message
    check(tmp_path, 1)


@pytest.mark.parametrize("said", [{"flags": {"скрыт": True}}, {"description": "скрыт, мокрый", "flags": {}}])
def test_a_word_for_hidden_tells_the_code_page(tmp_path: Path, said: dict[str, Any]) -> None:
    src = tmp_path / "src"
    content = document(("bird", *NAMES))
    content["shapes"][3] |= said
    save(src, "cp1251", "a", content)
    result = converted(tmp_path, src, hidden=frozenset({"скрыт"}))
    (found,) = result.findings
    assert found.code == "W324" and "read as cp1251" in found.message
    check(tmp_path, 1)


def test_an_option_that_does_not_fit_is_refused_with_one_that_does(tmp_path: Path) -> None:
    src = source(tmp_path, "gbk", ("bird", "嘴", "left-wing", "right-wing"))
    args = ("convert", src, "--out", tmp_path / "out", "--skeleton", bird(tmp_path), "--val", "0", "--map", "嘴=beak")
    done = run(*args, "--encoding", "ascii")
    assert done.status == 1 and "2 files are neither UTF-8 nor ascii: a.json, b.json" in done.out
    assert "--encoding gbk or --encoding" in done.out and "fits" in done.out
    assert run(*args, "--encoding", "gbk").status == 0
    check(tmp_path)


def test_files_of_two_code_pages_are_named(tmp_path: Path) -> None:
    src = source(tmp_path, "cp932", LANGUAGES["cp932"])
    # The bytes F1 FE are no character in cp932.
    save(src, "cp1252", "c", document(("bird", "ñþ", "left-wing", "right-wing"), "c.jpg"))
    result = converted(tmp_path, src, names=mapped(LANGUAGES["cp932"]), encoding="cp932")
    (found,) = result.findings
    assert found.code == "E310" and "1 file is neither UTF-8 nor cp932: c.json" in found.message
    assert "to a separate folder" in found.hint and not result.written


def test_two_sources_may_have_two_code_pages(tmp_path: Path) -> None:
    one, other = (source(tmp_path / page, page) for page in ("gbk", "cp1251"))
    names = mapped(LANGUAGES["gbk"]) | mapped(LANGUAGES["cp1251"])
    read = ReadOptions(names=names)
    request = ConvertRequest(sources=(one, other), out=tmp_path / "out", skeleton=bird(tmp_path), val=0.0, read=read)
    result = convert(request)
    assert [finding.file for finding in result.findings] == sorted(map(str, (one, other)))
    check(tmp_path, 4)


def test_workers_read_the_same(tmp_path: Path) -> None:
    src = tmp_path / "src"
    labels = LANGUAGES["gbk"]
    for number in range(600):
        save(src, "gbk" if number % 2 else "utf-8", f"{number:03}", document(labels, f"{number:03}.jpg"))
    result = converted(tmp_path, src, names=mapped(labels), workers=2)
    (found,) = result.findings
    assert "300 files that are not UTF-8 were read as gbk" in found.message and "and 297 more" in found.message
    assert instances(result) == 600
    check(tmp_path, 600)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str) -> None:
    labels = LANGUAGES["gbk"]
    result = converted(tmp_path, source(tmp_path, encoding, labels), names=mapped(labels))
    assert not result.findings
    check(tmp_path)


@pytest.mark.parametrize("damage", [b"\xff\xfe{", b"\xff\xfe" + b"\x00\xd8" * 3])
def test_what_its_mark_belies_is_one_finding(tmp_path: Path, damage: bytes) -> None:
    src = source(tmp_path, "utf-8", LANGUAGES["gbk"])
    (src / "c.json").write_bytes(damage)
    result = converted(tmp_path, src, names=mapped(LANGUAGES["gbk"]))
    assert [(finding.code, finding.file) for finding in result.findings] == [("E310", str(src / "c.json"))]


def test_damaged_files_are_reported_beside_those_that_are_read(tmp_path: Path) -> None:
    src = source(tmp_path, "gbk")
    cut = (src / "a.json").read_bytes()
    (src / "c.json").write_bytes(cut[:150])
    (src / "d.json").write_bytes(bytes(range(256)))
    result = converted(tmp_path, src, names=mapped(LANGUAGES["gbk"]))
    told = {(finding.code, finding.file) for finding in result.findings}
    assert told == {("W324", str(src)), ("E310", str(src)), ("E310", str(src / "c.json"))}
    assert any("1 file is neither UTF-8 nor in a Windows code page: d.json" in each.message for each in result.findings)
    assert not result.written and result.files == 4


@pytest.mark.parametrize(
    "name",
    ["zip", "rot13", "idna", "punycode", "unicode_escape", "utf_7", "utf-16", "cp037", "undefined", "x", "", "a\0"],
)
def test_what_is_no_encoding_of_text_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="--encoding must be a Python encoding that keeps ASCII"):
        converted(tmp_path, source(tmp_path, "gbk"), encoding=name)


def test_such_files_are_detected_whatever_stands_behind_the_last_character() -> None:
    for page, labels in LANGUAGES.items():
        content = json.dumps(document(labels), ensure_ascii=False).encode(page)
        read = some_reading(content, "a.json")
        assert isinstance(read, Document) and len(read.shapes) == 4
    assert isinstance(some_reading(b'{"shapes": "\xff\xff"}', "a.json"), Finding)


def test_a_zip_is_read_alike(tmp_path: Path) -> None:
    labels = LANGUAGES["gbk"]
    src = source(tmp_path, "gbk")
    with zipfile.ZipFile(tmp_path / "birds.zip", "w") as archive:
        for path in sorted(src.iterdir()):
            archive.write(path, path.name)
    result = converted(tmp_path, tmp_path / "birds.zip", names=mapped(labels))
    (found,) = result.findings
    assert found.code == "W324" and found.file == str(tmp_path / "birds.zip")
    check(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("name", ["coco", "via", "label-studio"])
def test_a_byte_order_mark_is_read_in_every_json_format(tmp_path: Path, name: str, encoding: str) -> None:
    dataset = make_dataset(tmp_path / "pictures", images=["a.jpg", "b.jpg"])
    src = write_source(tmp_path / "src", name, {"train": dataset})
    plain = convert_one(src, tmp_path / "plain", val=0.0)
    for path in src.rglob("*.json"):
        if path.name != "conversion.json":
            mark = codecs.BOM_UTF16_LE if encoding == "utf-16-le" else b""
            path.write_bytes(mark + path.read_text().encode(encoding))
    marked = convert_one(src, tmp_path / "marked", val=0.0)
    assert marked.findings == plain.findings and instances(marked) == instances(plain) == len(dataset)
    assert (tmp_path / "marked/train_coco.json").read_bytes() == (tmp_path / "plain/train_coco.json").read_bytes()
