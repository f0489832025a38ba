"""VIA 2: every way to write an object that is read, every way to break one, and the round trip."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posetools.core.skeleton import load_skeleton
from posetools.datasets.convert import ConvertRequest, convert
from posetools.errors import InputError, RequestError
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult
from posetools.formats.via import format as via
from posetools.formats.via.model import VIA_COLUMNS
from tests.build import make_dataset, make_image

CAR8 = load_skeleton("car8")
FRONT, REAR = CAR8.names[0], CAR8.names[1]


def rect(x: float, y: float, width: float, height: float, **said: Any) -> dict[str, Any]:
    shape = {"name": "rect", "x": x, "y": y, "width": width, "height": height}
    return {"shape_attributes": shape, "region_attributes": {"label": "car", **said}}


def point(label: str, x: float, y: float, **said: Any) -> dict[str, Any]:
    return {"shape_attributes": {"name": "point", "cx": x, "cy": y}, "region_attributes": {"label": label, **said}}


def valid() -> list[dict[str, Any]]:
    return [
        rect(10, 20, 100, 80, object="1"),
        point(FRONT, 30, 40, object="1"),
        point(REAR, 50, 60.5, object="1", visibility="occluded"),
    ]


def entry(regions: Any, **more: Any) -> dict[str, Any]:
    return {"filename": "a.jpg", "size": 1234, "regions": regions, "file_attributes": {}, **more}


def save(folder: Path, regions: Any, **more: Any) -> Path:
    make_image(folder / "a.jpg")
    path = folder / "via.json"
    path.write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": {"a.jpg1234": entry(regions, **more)}}))
    return path


def save_csv(folder: Path, regions: list[dict[str, Any]], **more: str) -> Path:
    make_image(folder / "a.jpg")
    text = io.StringIO()
    writer = csv.DictWriter(text, VIA_COLUMNS)
    writer.writeheader()
    for number, region in enumerate(regions or [{"shape_attributes": {}, "region_attributes": {}}]):
        row = {
            "filename": "a.jpg",
            "file_size": "1234",
            "file_attributes": "{}",
            "region_count": str(len(regions)),
            "region_id": str(number),
            "region_shape_attributes": json.dumps(region["shape_attributes"]),
            "region_attributes": json.dumps(region["region_attributes"]),
        }
        writer.writerow(row | more)
    path = folder / "via_export.csv"
    path.write_text(text.getvalue())
    return path


def read(source: Path, **options: Any) -> ReadResult:
    return via.FORMAT.read([source], CAR8, ReadOptions(**options))


def visibilities(result: ReadResult) -> list[int]:
    assert len(result.dataset) == 1
    return [int(v) for v in result.dataset.visibility[0, :2]]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), per_image=st.integers(0, 3))
def test_read_gives_back_what_write_wrote(tmp_path_factory: pytest.TempPathFactory, seed: int, per_image: int) -> None:
    folder = tmp_path_factory.mktemp("via")
    names = ["a.jpg", "sub/a.jpg", "sub/deep er/ü.jpg"]
    dataset = make_dataset(folder / "in", images=names, per_image=per_image, seed=seed, size=(64, 48))
    via.write({"train": dataset}, folder / "out", "hardlink")
    result = read(folder / "out")
    assert result.findings == () and result.files == 1
    assert result.dataset == dataset


def test_what_is_written_has_what_via_asks_a_project_for(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "in", images=["a.jpg"], per_image=2)
    via.write({"train": dataset}, tmp_path / "out", "copy")
    project = json.loads((tmp_path / "out/via_project.json").read_text())
    assert {"_via_settings", "_via_img_metadata", "_via_attributes", "_via_image_id_list"} <= set(project)
    size = (tmp_path / "out/a.jpg").stat().st_size
    assert project["_via_image_id_list"] == list(project["_via_img_metadata"]) == [f"a.jpg{size}"]
    regions = project["_via_img_metadata"][f"a.jpg{size}"]["regions"]
    assert [region["shape_attributes"]["name"] for region in regions].count("rect") == 2
    chosen = {region["region_attributes"]["label"] for region in regions}
    assert chosen <= set(project["_via_attributes"]["region"]["label"]["options"])


@pytest.mark.parametrize("make", [save, save_csv])
def test_json_and_csv_say_the_same(tmp_path: Path, make: Callable[[Path, Any], Path]) -> None:
    result = read(make(tmp_path, valid()))
    assert result.findings == ()
    assert result.dataset.boxes.tolist() == [[10, 20, 110, 100]]
    assert result.dataset.keypoints[0, :2].tolist() == [[30, 40, 2], [50, 60.5, 1]]
    assert result.dataset.num_labeled.tolist() == [2]


def test_a_json_export_and_the_files_of_via_1(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg")
    regions = {str(number): region for number, region in enumerate(valid())}
    path = tmp_path / "export.json"
    path.write_text(json.dumps({"a.jpg1234": entry(regions, fileref="", base64_img_data="")}))
    assert via.detect(path) and via.detect(tmp_path)
    result = read(tmp_path)
    assert result.findings == () and visibilities(result) == [2, 1]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, 2),
        ({"visibility": ""}, 2),
        ({"visibility": "2"}, 2),
        ({"visibility": "visible"}, 2),
        ({"visibility": "1"}, 1),
        ({"visibility": 1}, 1),
        ({"visibility": "Hidden"}, 1),
        ({"visibility": "0"}, 0),
        ({"visibility": {"occluded": True, "visible": False}}, 1),
        ({"occluded": "yes"}, 1),
        ({"occluded": "no"}, 2),
        ({"occluded": "0"}, 2),
        ({"occluded": {"yes": True}}, 1),
        ({"occluded": {}}, 2),
        ({"hidden": "true"}, 1),
    ],
)
def test_visibility(tmp_path: Path, said: dict[str, Any], expected: int) -> None:
    result = read(save(tmp_path, [rect(0, 0, 50, 50, object="1"), point(FRONT, 5, 5, object="1", **said)]))
    assert result.findings == () and visibilities(result) == [expected, 0]


@pytest.mark.parametrize("key", ["label", "name", "class"])
@pytest.mark.parametrize("group", ["object", "group", "instance", "group_id"])
def test_attributes_that_are_found(tmp_path: Path, key: str, group: str) -> None:
    regions = [rect(0, 0, 50, 50), rect(0, 0, 50, 50), point(FRONT, 5, 5)]
    for region, name in zip(regions, ("one", "two", "two"), strict=True):
        label = region["region_attributes"].pop("label")
        region["region_attributes"] = {key: label, group: name}
    result = read(save(tmp_path, regions))
    assert result.findings == () and result.dataset.num_labeled.tolist() == [0, 1]


def test_attributes_that_the_user_names(tmp_path: Path) -> None:
    box = {"part": "car", "id": "7", "label": "red"}
    regions = [rect(0, 0, 50, 50) | {"region_attributes": box}]
    regions.append(point(FRONT, 5, 5) | {"region_attributes": {"part": FRONT, "id": "7", "seen": "occluded"}})
    path = save(tmp_path, regions)
    result = read(path, attributes={"label": "part", "object": "id", "visibility": "seen"})
    assert visibilities(result) == [1, 0]
    assert [finding.code for finding in result.findings] == ["W323"]
    assert "attribute 'label' has no place" in result.findings[0].message
    with pytest.raises(RequestError, match="--attribute must be ROLE=NAME with a role of label, object, visibility"):
        read(path, attributes={"colour": "x"})


def test_labels_of_a_checkbox_and_of_the_options(tmp_path: Path) -> None:
    regions = [rect(0, 0, 50, 50, label={"vehicle": True, "bus": False}), point("nose", 5, 5), rect(0, 0, 9, 9)]
    regions[2]["region_attributes"]["label"] = "bus"
    result = read(save(tmp_path, regions), names={"vehicle": "car", "nose": FRONT}, ignore=frozenset({"bus"}))
    assert result.ignored == {"bus": 1} and [f.code for f in result.findings] == ["E304"]
    moved = [*regions[:2], rect(90, 90, 9, 9, label="bus")]
    result = read(save(tmp_path, moved), names={"vehicle": "car", "nose": FRONT}, ignore=frozenset({"bus"}))
    assert [f.code for f in result.findings] == [] and visibilities(result) == [2, 0]


def test_a_group_without_rectangle(tmp_path: Path) -> None:
    regions = [point(FRONT, 5, 5, object="x"), point(REAR, 50, 50, object="x")]
    result = read(save(tmp_path, regions))
    assert [finding.code for finding in result.findings] == ["E306"]
    assert result.findings[0].place == "a.jpg: regions[0], a.jpg: regions[1]"
    made = read(save(tmp_path, regions), box_from="keypoints", box_margin=0.0)
    assert made.findings == () and made.dataset.boxes.tolist() == [[5, 5, 50, 50]]
    assert str(made.dataset.origins[0]).endswith("via.json: a.jpg: regions[0]")


def _set(index: int, part: str, **values: Any) -> Callable[[list[dict[str, Any]]], Any]:
    def change(regions: list[dict[str, Any]]) -> Any:
        regions[index][f"{part}_attributes"].update(values)
        return regions

    return change


def _replace(index: int, region: Any) -> Callable[[list[dict[str, Any]]], Any]:
    return lambda regions: [region if number == index else one for number, one in enumerate(regions)]


@pytest.mark.parametrize(
    ("change", "codes", "said"),
    [
        (_set(1, "region", label="wheel"), ["E301"], "label must be"),
        (_set(0, "region", label="van"), ["E301"], "label must be the category 'car'"),
        (
            _set(1, "region", label=""),
            ["E311"],
            "regions must have a label in label, name or class, got none for 1 (1 point)",
        ),
        (_set(1, "region", label=["a", "b"]), ["E311"], "region_attributes.label must be one label, got ['a', 'b']"),
        (_set(1, "region", label={"a": True, "b": True}), ["E311"], "region_attributes.label must be one label"),
        (_set(1, "region", visibility="perhaps"), ["E311"], "--hidden-flag WORD the word that means occluded"),
        (_set(2, "region", hidden="no"), ["E311"], "visibility 'occluded' and hidden 'no'"),
        (_set(1, "region", make="VW"), ["W323"], "attribute 'make' has no place"),
        (_set(1, "region", object="2"), ["E306"], "group 2 must have one rectangle labeled 'car'"),
        (_set(2, "region", label=FRONT), ["E305"], "at most one point of an object"),
        (_set(1, "shape", cx="left"), ["E311"], "shape_attributes.cx must be a finite number, got 'left'"),
        (_set(1, "shape", cx=None), ["E311"], "shape_attributes.cx must be a finite number, got None"),
        (_set(0, "shape", width=0), ["E306", "E311"], "shape_attributes.width must be a number greater than 0, got 0"),
        (_set(0, "shape", height="high"), ["E306", "E311"], "shape_attributes.height must be a finite number"),
        (_set(0, "shape", x=1e300), ["E306", "E311"], "shape_attributes.x must be a finite number"),
        (
            _set(0, "shape", name="polyline", all_points_x=[1], all_points_y=[2]),
            ["E302"],
            "as a rectangle in VIA",
        ),
        (_set(1, "shape", name="polygon"), ["E311"], "shape_attributes.all_points_x must be a list of finite numbers"),
        (
            _set(1, "shape", name="polygon", all_points_x=[1, 2], all_points_y=[3]),
            ["E311"],
            "must be 2 numbers, one for",
        ),
        (_set(1, "shape", name="polyline", all_points_x=[1, 2], all_points_y=[3, 4]), ["E302"], "must be 'point', got"),
        (_replace(1, 5), ["E311"], "a region must be an object with shape_attributes and region_attributes, got 5"),
        (
            _replace(1, {"shape_attributes": [], "region_attributes": {}}),
            ["E311"],
            "shape_attributes must be an object with the key name",
        ),
        (lambda _: "none", ["E311"], "regions must be a list, got 'none'"),
    ],
)
def test_ways_to_break_one(tmp_path: Path, change: Callable[[Any], Any], codes: list[str], said: str) -> None:
    result = read(save(tmp_path, change(valid())))
    assert sorted({finding.code for finding in result.findings}) == codes
    assert any(said in f"{finding.message} {finding.hint}" for finding in result.findings)
    assert all("shapes[" not in f.where + f.message + f.hint and "labelme" not in f.message + f.hint
               for f in result.findings)  # fmt: skip


def test_every_region_is_in_the_data_set_in_a_finding_or_counted(tmp_path: Path) -> None:
    regions = [
        *valid(),
        point("wheel", 5, 5, object="1"),
        point(FRONT, 200, 200),
        point(REAR, 60, 60),
        rect(150, 10, 20, 20, label="bus"),
        point(FRONT, 5, "x", object="1"),  # type: ignore[arg-type]
        rect(150, 10, 0, 20, object="9"),
        7,
    ]
    result = read(save(tmp_path, regions), ignore=frozenset({"bus"}))
    errors = [finding for finding in result.findings if finding.code.startswith("E")]
    told = {int(number) for finding in errors for number in re.findall(r"regions\[(\d+)\]", finding.place)}
    kept = len(result.dataset) + int(result.dataset.num_labeled.sum())
    assert told == {3, 4, 5, 7, 8, 9} and kept == 3 and result.ignored == {"bus": 1}
    assert len(told) + kept + 1 == len(regions)


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ({"region_count": "7"}, "E311", "region_count must be 3, the number of lines of the image, got '7'"),
        ({"region_attributes": "{"}, "E311", "region_attributes must be JSON, got '{'"),
        ({"region_shape_attributes": "[]"}, "E311", "shape_attributes must be an object"),
        ({"filename": "b.jpg"}, "E121", "filename must be an existing image, got 'b.jpg'"),
        ({"filename": "/b.jpg"}, "E308", "filename must be a path inside"),
    ],
)
def test_ways_to_break_a_csv(tmp_path: Path, more: dict[str, str], code: str, said: str) -> None:
    result = read(save_csv(tmp_path, valid(), **more))
    assert {finding.code for finding in result.findings} == {code}
    assert said in result.findings[0].message and "line " in result.findings[0].place


def test_a_csv_of_an_image_without_regions(tmp_path: Path) -> None:
    result = read(save_csv(tmp_path, []))
    assert result.findings == () and len(result.dataset.images) == 1 and len(result.dataset) == 0


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "is not valid JSON in UTF-8"),
        ("a.json", "[]", "the file must be a VIA 2 project (_via_img_metadata)"),
        ("a.csv", "filename,x\na.jpg,1\n", "the columns must be VIA's columns filename, file_size"),
        ("a.csv", ",".join(VIA_COLUMNS) + "\na.jpg,1\n", "the line must be 7 values"),
        ("a.csv", ",".join(VIA_COLUMNS) + '\na.jpg,1,"{}"x,0,0,{},{}\n', "is not valid CSV"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    result = read(tmp_path / name)
    assert [finding.code for finding in result.findings] == ["E310"]
    assert said in result.findings[0].message


def test_every_image_is_accounted_for(tmp_path: Path) -> None:
    save(tmp_path, valid(), file_attributes={"caption": "a car"})
    make_image(tmp_path / "unnamed.jpg")
    result = read(tmp_path)
    assert sorted(finding.code for finding in result.findings) == ["W322", "W323"]
    save_csv(tmp_path, valid())
    both = read(tmp_path)
    assert sorted(finding.code for finding in both.findings) == ["E313", "E313", "W322", "W323"]
    assert not both.dataset.images


def test_a_source_without_via_files(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"a folder with VIA's \.json or \.csv files, got 'none in it'"):
        read(tmp_path)
    with pytest.raises(RequestError, match="got 'nothing there'"):
        read(tmp_path / "nowhere")


def test_what_via_cannot_hold_is_refused(tmp_path: Path) -> None:
    dataset = replace(make_dataset(tmp_path / "in"), iscrowd=np.array([False, True, False, False]))
    with pytest.raises(InputError, match="VIA has no crowds"):
        via.write({"train": dataset}, tmp_path / "out", "copy")
    assert not (tmp_path / "out").exists()


def test_converting_to_via_and_back(tmp_path: Path) -> None:
    make_dataset(tmp_path / "in", images=["a.jpg", "b.jpg"])
    dataset = make_dataset(tmp_path / "in", images=["a.jpg", "b.jpg"])
    (tmp_path / "src").mkdir()
    via.write({"all": dataset}, tmp_path / "src", "copy")
    result = convert(ConvertRequest(sources=(tmp_path / "src",), out=tmp_path / "out", target_format="via"))
    assert result.written and result.source_format == "via"
    assert read(tmp_path / "out").dataset == dataset


def test_a_damaged_project_beside_a_sound_one_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('{"a": {"filename": "a.jpg", "regions": [')
    (tmp_path / "sound.json").write_text('{"b": {"filename": "b.jpg", "size": 1, "regions": []}}')
    found = via.FORMAT.read([tmp_path], load_skeleton(), ReadOptions()).findings
    assert [Path(finding.file).name for finding in found if finding.code == "E310"] == ["broken.json"]
