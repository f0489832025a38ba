"""custom: tables in every form that a mapping can describe, and every way to break one."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.core.dataset import Dataset
from posetools.core.skeleton import load_skeleton
from posetools.datasets.convert import ConvertRequest, convert
from posetools.errors import InputError, RequestError
from posetools.formats.custom import format as custom
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult
from tests.build import make_dataset, make_image
from tests.cli.run import run

CAR8 = load_skeleton("car8")
ONE, TWO = CAR8.names[:2]
DOCS = Path(__file__).resolve().parents[3] / "docs" / "formats.md"

LONG = """
file = "csv"
[columns]
picture = "image"
object = "car"
[point]
name = "part"
x = "x"
y = "y"
visibility = "state"
[box]
columns = ["left", "top", "width", "height"]
convention = "xywh"
[visibility]
0 = ["absent"]
1 = ["occluded", 1]
2 = ["visible", true]
[names]
lfb = "left-front-bumper"
"""
TABLE = f"""image,car,part,x,y,state,left,top,width,height
a.jpg,1,lfb,30,40,visible,10,20,100,80
a.jpg,1,{TWO},50,60.5,occluded,,,,
b.jpg,,,,,,,,,
"""
WIDE = """
file = "csv"
[columns]
picture = "image"
[points]
x = "{name}_x"
y = "{name}_y"
visibility = "{name}_v"
"""


def save(folder: Path, table: str, mapping: str = LONG, name: str = "cars.csv") -> ReadOptions:
    for image in ("a.jpg", "b.jpg"):
        make_image(folder / "in" / image)
    (folder / "in" / name).write_text(table, encoding="utf-8")
    (folder / "mapping.toml").write_text(mapping, encoding="utf-8")
    return ReadOptions(mapping=folder / "mapping.toml")


def read(folder: Path, table: str, mapping: str = LONG, name: str = "cars.csv", **options: Any) -> ReadResult:
    saved = save(folder, table, mapping, name)
    return custom.FORMAT.read([folder / "in" / name], CAR8, ReadOptions(mapping=saved.mapping, **options))


def cells(dataset: Dataset) -> dict[str, list[Any]]:
    """Return what a table can hold of a data set, given the columns of the wide form."""
    columns: dict[str, list[Any]] = {"image": [], "x1": [], "y1": [], "x2": [], "y2": []}
    for instance in dataset:
        columns["image"].append(instance.image.file_name)
        for name, value in zip(("x1", "y1", "x2", "y2"), instance.box.tolist(), strict=True):
            columns[name].append(value)
        for name, (x, y, v) in zip(CAR8.names, instance.keypoints.tolist(), strict=True):
            for axis, value in (("x", x), ("y", y), ("v", int(v))):
                columns.setdefault(f"{name}_{axis}", []).append(value if v else None if axis != "v" else 0)
    return columns


def test_one_row_per_point(tmp_path: Path) -> None:
    result = read(tmp_path, TABLE)
    assert result.findings == () and result.files == 1
    assert [image.file_name for image in result.dataset.images] == ["a.jpg", "b.jpg"]
    assert result.dataset.boxes.tolist() == [[10, 20, 110, 100]]
    assert result.dataset.keypoints[0, :2].tolist() == [[30, 40, 2], [50, 60.5, 1]]
    assert str(result.dataset.origins[0]).endswith("cars.csv: line 2")


@pytest.mark.parametrize("units", ["pixel", "fraction", "percent"])
@pytest.mark.parametrize("file", ["csv", "jsonl"])
def test_one_row_per_object_gives_back_a_data_set(tmp_path: Path, units: str, file: str) -> None:
    dataset = make_dataset(tmp_path / "in", images=["a.jpg", "b.jpg"], per_image=3, size=(320, 240))
    scale = {"pixel": 1.0, "fraction": 1.0, "percent": 100.0}[units]
    columns = cells(dataset)
    for name, values in columns.items():
        if name != "image" and not name.endswith("_v") and units != "pixel":
            side = 320 if re.search(r"x\d?$", name) else 240
            columns[name] = [None if value is None else value / side * scale for value in values]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    path = tmp_path / "in" / f"cars.{file}"
    with path.open("w", encoding="utf-8", newline="") as stream:
        if file == "csv":
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(rows)
        else:
            stream.writelines(json.dumps(row) + "\n" for row in rows)
    box = '[box]\ncolumns = ["x1", "y1", "x2", "y2"]\nconvention = "xyxy"\n'
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(f'units = "{units}"' + WIDE.replace("csv", file) + box)
    result = custom.FORMAT.read([tmp_path / "in"], CAR8, ReadOptions(mapping=mapping))
    assert result.findings == ()
    np.testing.assert_allclose(result.dataset.keypoints, dataset.keypoints, atol=0 if units == "pixel" else 1e-9)
    assert result.dataset.images == dataset.images
    np.testing.assert_allclose(result.dataset.boxes, dataset.boxes, atol=1e-9)


@pytest.mark.parametrize(
    ("convention", "values"),
    [("xyxy", "10,20,110,100"), ("xywh", "10,20,100,80"), ("cxcywh", "60,60,100,80")],
)
def test_conventions_of_boxes(tmp_path: Path, convention: str, values: str) -> None:
    table = TABLE.replace("10,20,100,80", values)
    result = read(tmp_path, table, LONG.replace('"xywh"', f'"{convention}"'))
    assert result.findings == () and result.dataset.boxes.tolist() == [[10, 20, 110, 100]]


def test_units_of_the_box_alone(tmp_path: Path) -> None:
    mapping = LONG.replace('convention = "xywh"', 'convention = "xywh"\nunits = "percent"')
    result = read(tmp_path, TABLE.replace("10,20,100,80", "10,20,50,25"), mapping)
    assert result.dataset.boxes.tolist() == [[32, 48, 192, 108]]
    assert result.dataset.keypoints[0, 0].tolist() == [30, 40, 2]


def test_json_lines_with_what_is_inside(tmp_path: Path) -> None:
    mapping = """
file = "jsonl"
[columns]
picture = "image.file"
category = "kind"
split = "set"
[points]
x = "points.{name}.0"
y = "points.{name}.1"
visibility = "points.{name}.2"
names = ["lfb", "nose"]
[box]
columns = ["box.0", "box.1", "box.2", "box.3"]
convention = "xyxy"
[names]
lfb = "left-front-bumper"
vehicle = "car"
"""
    lines = [
        {"image": {"file": "a.jpg"}, "kind": "vehicle", "set": "train", "box": [1, 2, 30, 40],
         "points": {"lfb": [5, 6, 1], "nose": [1, 1, 2]}},
        {"image": {"file": "a.jpg"}, "kind": "bus", "box": [1, 2, 30, 40]},
        {"image": {"file": "b.jpg"}, "set": "val"},
    ]  # fmt: skip
    text = "\n".join(json.dumps(line) for line in lines)
    result = read(tmp_path, text, mapping, "cars.jsonl", ignore=frozenset({"bus", "nose"}))
    assert result.findings == () and result.ignored == {"bus": 1, "nose": 1}
    assert [image.split for image in result.dataset.images] == ["train", "val"]
    assert result.dataset.keypoints[0, 0].tolist() == [5, 6, 1]
    unknown = read(tmp_path, text, mapping, "cars.jsonl", ignore=frozenset({"nose"}))
    assert [(f.code, f.place) for f in unknown.findings] == [("E301", "line 2")]
    with pytest.raises(InputError, match=r"mapping.toml: points.names: a name must be a keypoint of skeleton car8"):
        read(tmp_path, text, mapping, "cars.jsonl")


def test_delimiter_and_encoding(tmp_path: Path) -> None:
    options = save(tmp_path, "", 'delimiter = ";"\nencoding = "cp1252"\n' + LONG)
    make_image(tmp_path / "in/ü.jpg")
    (tmp_path / "in/cars.csv").write_bytes(TABLE.replace("b.jpg", "ü.jpg").replace(",", ";").encode("cp1252"))
    result = custom.FORMAT.read([tmp_path / "in"], CAR8, options)
    assert result.findings == () and [image.file_name for image in result.dataset.images] == ["a.jpg", "ü.jpg"]


def test_without_visibility_and_without_boxes(tmp_path: Path) -> None:
    mapping = re.sub(r"\[box\]\n.*\n.*\n|visibility = .*\n", "", LONG)
    with pytest.raises(
        RequestError, match=r"visibility must be a column of the points, got none\n  fix: --assume-visible"
    ):
        read(tmp_path, TABLE, mapping)
    result = read(tmp_path, TABLE, mapping, assume_visible=True)
    assert [(finding.code, finding.place) for finding in result.findings] == [("E306", "line 2")]
    made = read(tmp_path, TABLE, mapping, assume_visible=True, box_from="keypoints", box_margin=0.0)
    assert made.findings == () and made.dataset.boxes.tolist() == [[30, 40, 50, 60.5]]
    assert made.dataset.visibility[0].tolist() == [2, 2, 0, 0, 0, 0, 0, 0]


def test_one_object_per_image_when_no_column_tells_them_apart(tmp_path: Path) -> None:
    mapping = LONG.replace('object = "car"\n', "")
    assert read(tmp_path, TABLE, mapping).findings == ()
    twice = TABLE + "a.jpg,2,lfb,31,41,visible,,,,\n"
    result = read(tmp_path, twice, mapping)
    assert [(finding.code, finding.place) for finding in result.findings] == [("E305", "line 2, line 5")]
    assert "columns.object in the mapping" in result.findings[0].hint
    assert len(read(tmp_path, twice.replace("31,41,visible,,,,", "31,41,visible,1,2,99,99")).dataset) == 2


@pytest.mark.parametrize(
    ("word", "code"),
    [("visible", 2), ("true", 2), ("1", 1), ("occluded", 1), ("absent", 0), ("perhaps", None), ("", None)],
)
def test_words_of_visibility(tmp_path: Path, word: str, code: int | None) -> None:
    result = read(tmp_path, TABLE.replace("30,40,visible", f"30,40,{word}"))
    if code is None:
        assert [finding.code for finding in result.findings] == ["E311"]
        assert "[visibility] in the mapping" in result.findings[0].hint
    else:
        assert result.dataset.visibility[0, 0] == code
        assert [finding.code for finding in result.findings] == ([] if code else ["W203"])


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda t: t.replace("lfb", "nose"), "E301", "a point's name must be a keypoint of skeleton car8, got 'nose'"),
        (lambda t: t.replace("30,40", "left,40"), "E311", "lfb (x, y) must be two numbers of at most 1000000, or both"),
        (lambda t: t.replace("30,40", "30,"), "E311", "got ['30', '']"),
        (lambda t: t.replace("30,40", "inf,40"), "E311", "got ['inf', '40']"),
        (lambda t: t.replace("30,40,visible", ",,visible"), "E311", "got ['', '']"),
        (lambda t: t.replace("10,20,100,80", "10,20,100,"), "E311", "the box (left, top, width, height) must be four"),
        (lambda t: t.replace("10,20,100,80", "10,20,100,0"), "E311", "must be xywh with width and height"),
        (lambda t: t.replace(",,,,\nb", ",1,2,3,4\nb"), "E307", "the box must be the same in every row of an object"),
        (lambda t: t.replace("10,20,100,80", ",,,"), "E306", "an object must be one with a box, got 'none'"),
        (lambda t: t.replace(TWO, "lfb"), "E305", "left-front-bumper must be at most one point of an object"),
        (lambda t: t.replace("a.jpg,1,lfb", "a.jpg,,lfb"), "E311", "car must be an object's identifier, got ''"),
        (lambda t: t.replace("1,lfb", "1,"), "E311", "part must be the name of a point, got ''"),
        (lambda t: t.replace("b.jpg", "c.jpg"), "E121", "image must be an existing image, got 'c.jpg'"),
        (lambda t: t.replace("b.jpg", "../c.jpg"), "E308", "image must be a path inside"),
        (lambda t: t.replace("b.jpg", ""), "E309", "image must be an image's path, got ''"),
        (lambda t: t.replace("state", "seen"), "E310", "the columns must be a list with state, as "),
        (lambda t: t.replace("top", "left"), "E310", "the columns must be all different"),
        (lambda t: t.replace("b.jpg,", "b.jpg"), "E310", "the line must be 10 values, got 9"),
        (lambda t: t.replace("b.jpg", 'b"x'), None, ""),
        (lambda t: t.replace("b.jpg", '"b"x'), "E310", "is not valid CSV"),
    ],
)
def test_ways_to_break_a_table(tmp_path: Path, change: Callable[[str], str], code: str | None, said: str) -> None:
    result = read(tmp_path, change(TABLE))
    assert code is None or code in {finding.code for finding in result.findings}
    assert any(said in finding.message for finding in result.findings), result.findings


def test_every_row_is_in_the_data_set_in_a_finding_or_counted(tmp_path: Path) -> None:
    rows = [
        f"a.jpg,1,{CAR8.names[2]},left,5,visible,,,,",
        "a.jpg,1,nose,5,5,visible,,,,",
        "a.jpg,1,wheel,5,5,visible,,,,",
        "a.jpg,2,lfb,5,5,visible,,,,",
        f"a.jpg,3,{TWO},5,5,perhaps,1,2,3,4",
        "c.jpg,4,lfb,5,5,visible,1,2,3,4",
        ",4,lfb,5,5,visible,1,2,3,4",
    ]
    result = read(tmp_path, TABLE + "\n".join(rows), ignore=frozenset({"nose"}))
    errors = [finding for finding in result.findings if finding.code.startswith("E")]
    told = {int(number) for finding in errors for number in re.findall(r"line (\d+)", finding.place)}
    assert told == {5, 7, 8, 9, 10, 11} and result.ignored == {"nose": 1}
    assert result.dataset.num_labeled.tolist() == [2, 0] and len(result.dataset.images) == 2


def test_lines_that_are_no_json_objects(tmp_path: Path) -> None:
    mapping = WIDE.replace("csv", "jsonl")
    good = json.dumps({"image": "a.jpg", **{f"{name}_{axis}": 5 for name in CAR8.names for axis in "xyv"}})
    result = read(tmp_path, f"{good}\n[1]\n{{\n", mapping, "cars.jsonl")
    assert [(f.code, f.place) for f in result.findings if f.code == "E309"] == [("E309", "line 2"), ("E309", "line 3")]


def test_a_split_that_is_none(tmp_path: Path) -> None:
    mapping = LONG.replace('object = "car"', 'object = "car"\nsplit = "set"')
    table = "\n".join(f"{line},{'set' if not number else '../x'}" for number, line in enumerate(TABLE.splitlines()))
    result = read(tmp_path, table, mapping)
    assert {finding.code for finding in result.findings} == {"E311"} and not result.dataset.images
    assert "set must be one word in all rows of an image" in result.findings[0].message


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ("file = ", "mapping.toml: is not valid TOML"),
        (LONG.replace('file = "csv"', 'file = "xls"'), "mapping.toml: file: input should be 'csv' or 'jsonl'"),
        (LONG.replace("picture", "bild"), "mapping.toml: columns.picture: field required"),
        (LONG.replace("object", "objekt"), "columns.objekt: extra inputs are not permitted"),
        (LONG.replace('"xywh"', '"xy"'), "box.convention: input should be 'xyxy', 'xywh' or 'cxcywh', got 'xy'"),
        (LONG.replace('"height"]', "]"), "box.columns"),
        (LONG.replace("2 = [", "3 = ["), "visibility.3"),
        (LONG.replace('"visible", true', '"visible", "absent"'), "visibility must be a list of words each, all diff"),
        (LONG.replace("left-front-bumper", "nose"), "names.lfb: the name must be one of skeleton car8: car,"),
        (LONG + WIDE[WIDE.index("[points]") :], "either [point] (one row per point) or [points]"),
        (WIDE.replace('"{name}_x"', '"x"'), "points.x: the pattern must be a column's name with {name} once, got 'x'"),
        (WIDE.replace('"{name}_x"', '"{name.x}"'), "a column's name with {name} once"),
        ('encoding = "klingon"\n' + LONG, "encoding must be one that Python knows"),
        ('delimiter = ", "\n' + LONG, "mapping.toml: delimiter:"),
        ('units = "inch"\n' + LONG, "units: input should be 'pixel', 'fraction' or 'percent', got 'inch'"),
    ],
)
def test_ways_to_break_a_mapping(tmp_path: Path, mapping: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, TABLE, mapping)
    assert said in str(caught.value)


def test_a_mapping_must_be_given_and_be_there(tmp_path: Path) -> None:
    save(tmp_path, TABLE)
    with pytest.raises(RequestError, match=r"--mapping FILE\.toml must be given with format custom"):
        custom.FORMAT.read([tmp_path / "in"], CAR8, ReadOptions())
    with pytest.raises(InputError, match=r"nowhere\.toml: cannot be read"):
        custom.FORMAT.read([tmp_path / "in"], CAR8, ReadOptions(mapping=tmp_path / "nowhere.toml"))


def test_converting(tmp_path: Path) -> None:
    options = save(tmp_path, TABLE)
    sources = (tmp_path / "in",)
    request = ConvertRequest(
        sources=sources, out=tmp_path / "out", source_format="custom", target_format="via", read=options
    )
    assert convert(request).written
    with pytest.raises(RequestError, match=r"--to must be one of .*labelme"):
        convert(ConvertRequest(sources=sources, out=tmp_path / "no", target_format="custom", read=options))


def test_the_example_of_the_docs(tmp_path: Path) -> None:
    blocks = re.findall(r"```(toml|csv)\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    (kind, mapping), (other, table) = blocks
    assert (kind, other) == ("toml", "csv")
    result = read(tmp_path, table, mapping)
    assert result.findings == () and len(result.dataset) == 2 and len(result.dataset.images) == 2
    assert sorted(set(result.dataset.visibility.ravel().tolist())) == [0, 1, 2]


def test_the_command_takes_a_mapping(tmp_path: Path) -> None:
    save(tmp_path, TABLE)
    done = run(
        "convert", tmp_path / "in", "--mapping", tmp_path / "mapping.toml", "--to", "via", "-o", tmp_path / "out"
    )
    assert done.status == 0 and "read 1 custom annotation file" in done.words
    again: list[str | Path] = ["convert", tmp_path / "out", "--to", "labelme", "-o", tmp_path / "again"]
    done = run(*again, "--attribute", "label=part", "--attribute", "object=id")
    assert done.status == 1 and "regions must have a label in part" in done.words
    done = run(*again, "--attribute", "label")
    assert done.status == 2 and "--attribute must be ROLE=NAME" in done.words
    assert run(*again, "--attribute", "label=label").status == 0
