"""VIA's values of another type or spelling: unambiguous ones are read and counted, others refused with a hint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.formats.via.via_sources import Objects, convert, point, rect, region, said, save

FISH: Objects = {"0.jpg": [([10, 20, 50, 30], [15, 25, 2, 0, 0, 0])]}
HIDDEN: Objects = {"0.jpg": [([10, 20, 50, 30], [15, 25, 1, 0, 0, 0])]}


@pytest.mark.parametrize(
    ("box", "dot", "counted"),
    [
        (rect("10", "20.0", 50, " 30 ", label="fish"), point(15, 25, label="eye"), "strings were read as numbers (3)"),
        (rect(60, 50, -50, -30, label="fish"), point(15, 25, label="eye"), "drawn the other way (1)"),
        (rect(10, 50, 50, -30, label="fish"), point(15, 25, label="eye"), "drawn the other way (1)"),
        (rect(10, 20, 50, 30, label=["fish"]), point(15, 25, label="eye"), "a list of one value was read as that"),
        (rect(10, 20, 50, 30, label={"fish": 1, "x": 0}), point(15, 25, label="eye"), "0, 1 or strings were read as"),
        (rect(10, 20, 50, 30, label="fish"), point(15, 25, label={"eye": "true", "x": "false"}), "true and false (1)"),
        (rect(10, 20, 50, 30, label="fish "), point(15, 25, label="eye\n"), "spaces around a label were removed (2)"),
        (rect(10, 20, 50, 30, Label="fish"), point(15, 25, NAME="eye", object=float("nan")), ""),
        (rect(10, 20, 50, 30, label="fish", object=7.0), point(15, 25, label="eye", object="7"), "as a float"),
        (rect(10, 20, 50, 30, label="fish", object="7.0"), point(15, 25, label="eye", object=7), "as a float"),
    ],
)
def test_a_value_with_one_meaning_is_read_and_counted(tmp_path: Path, box: Any, dot: Any, counted: str) -> None:
    done, objects = convert(save(tmp_path / "src", [box, dot]))
    assert objects == FISH
    assert len(said(done)) == bool(counted) and counted in "".join(said(done))


@pytest.mark.parametrize(
    ("seen", "expected", "counted"),
    [
        ({"visibility": 1.0}, HIDDEN, True),
        ({"visibility": "1.0"}, HIDDEN, True),
        ({"visibility": 1}, HIDDEN, False),
        ({"visibility": "not visible"}, HIDDEN, False),
        ({"visibility": "not occluded"}, FISH, False),
        ({"Visibility": "Occluded"}, HIDDEN, False),
        ({"visible": False}, HIDDEN, True),
        ({"visible": "no", "occluded": "yes"}, HIDDEN, False),
        ({"occluded": True}, HIDDEN, True),
        ({"occluded": False}, FISH, True),
        ({"occluded": {"1": True}}, HIDDEN, False),
    ],
)
def test_what_is_said_of_the_visibility(tmp_path: Path, seen: Any, expected: Objects, counted: bool) -> None:
    done, objects = convert(
        save(tmp_path / "src", [rect(10, 20, 50, 30, label="fish"), point(15, 25, label="eye", **seen)])
    )
    assert objects == expected and len(said(done, ("W323", "W324"))) == counted


def test_two_attributes_that_disagree_are_settled_by_naming_one(tmp_path: Path) -> None:
    dot = point(15, 25, label="eye", visibility="occluded", visible="yes")
    source = save(tmp_path / "src", [rect(10, 20, 50, 30, label="fish"), dot])
    done, objects = convert(source)
    assert done.status == 1 and objects == {}
    assert "--attribute visibility=NAME chooses the attribute" in done.words
    assert convert(source, "--attribute", "visibility=visibility")[1] == HIDDEN


def test_an_attribute_named_for_the_visibility_decides_alone(tmp_path: Path) -> None:
    dot = point(15, 25, label="eye", visibility="occluded", visible="yes")
    done, objects = convert(
        save(tmp_path / "src", [rect(10, 20, 50, 30, label="fish"), dot]), "--attribute", "visibility=visible"
    )
    assert objects == FISH
    assert "attribute 'visibility' has no place" in "".join(said(done, ("W323",)))


def test_a_word_that_nobody_knows_is_taken_as_the_option_says(tmp_path: Path) -> None:
    source = save(
        tmp_path / "src", [rect(10, 20, 50, 30, label="fish"), point(15, 25, label="eye", visibility="faint")]
    )
    done, objects = convert(source)
    assert done.status == 1 and objects == {} and "--hidden-flag WORD" in done.words
    assert convert(source, "--hidden-flag", "faint")[1] == HIDDEN


def test_an_attribute_named_as_a_hidden_flag_is_read(tmp_path: Path) -> None:
    source = save(tmp_path / "src", [rect(10, 20, 50, 30, label="fish"), point(15, 25, label="eye", covered="yes")])
    assert convert(source, "--hidden-flag", "covered")[1] == HIDDEN


def test_labels_that_are_numbers_are_their_digits(tmp_path: Path) -> None:
    source = save(tmp_path / "src", [rect(10, 20, 50, 30, label=3), point(15, 25, label=8.0)])
    done, objects = convert(source, "--map", "3=fish", "--map", "8=eye")
    assert objects == FISH and said(done)[0].endswith("a label as a number was read as a string (2)")


@pytest.mark.parametrize("none", [None, ""])
def test_images_without_regions_are_images_without_objects(tmp_path: Path, none: Any) -> None:
    done, objects = convert(
        save(tmp_path / "src", [rect(10, 20, 50, 30, label="fish"), point(15, 25, label="eye")], none)
    )
    assert objects == {**FISH, "1.jpg": []}
    assert said(done)[0].endswith("regions that are missing, null or empty were read as none (1)")


def test_an_export_in_which_images_without_regions_have_no_such_key(tmp_path: Path) -> None:
    source = save(tmp_path / "src", [rect(10, 20, 50, 30, label="fish"), point(15, 25, label="eye")], [])
    entries = json.loads((source / "project.json").read_text())["_via_img_metadata"]
    del entries["1.jpg-1"]["regions"]
    (source / "project.json").write_text(json.dumps(entries))
    assert convert(source)[1] == {**FISH, "1.jpg": []}


@pytest.mark.parametrize(
    ("kind", "numbers", "expected"),
    [
        ("circle", {"cx": 35, "cy": 35, "r": 15}, [20, 20, 30, 30]),
        ("ellipse", {"cx": 35, "cy": 35, "rx": 20, "ry": 10, "theta": 0}, [15, 25, 40, 20]),
        ("ellipse", {"cx": 35, "cy": 35, "rx": 20, "ry": 10, "theta": 1.5707963267948966}, [25, 15, 20, 40]),
        ("polygon", {"all_points_x": [20, "40", 30], "all_points_y": [10, 20, 50]}, [20, 10, 20, 40]),
    ],
)
def test_outlines_give_the_upright_box_around_them(
    tmp_path: Path, kind: str, numbers: dict[str, Any], expected: list[float]
) -> None:
    shapes = [
        region(kind, numbers, {"label": "fish"}),
        region("circle", {"cx": 30, "cy": 30, "r": 2}, {"label": "eye"}),
    ]
    done, objects = convert(save(tmp_path / "src", shapes))
    [(box, keypoints)] = objects["0.jpg"]
    assert box == pytest.approx(expected) and keypoints == [30, 30, 2, 0, 0, 0]
    assert len(said(done, ("W323",))) == 1


def test_images_are_found_where_the_project_says(tmp_path: Path) -> None:
    source = save(
        tmp_path / "src",
        [rect(10, 20, 50, 30, label="fish"), point(15, 25, label="eye")],
        core={"default_filepath": ".\\photos\\"},
    )
    (source / "photos").mkdir()
    (source / "0.jpg").rename(source / "photos/0.jpg")
    done, objects = convert(source)
    assert done.status == 0 and list(objects.values()) == list(FISH.values())


def test_an_image_of_the_web_is_found_by_its_name_and_said(tmp_path: Path) -> None:
    source = save(tmp_path / "src", [rect(10, 20, 50, 30, label="fish"), point(15, 25, label="eye")])
    text = (source / "project.json").read_text()
    (source / "project.json").write_text(text.replace('"0.jpg"', '"https://example.org/pond/0.jpg"'))
    done, objects = convert(source)
    assert objects == FISH and "found by file name" in done.words


@pytest.mark.parametrize("count", ["2.0", ""])
def test_a_table_that_another_program_saved(tmp_path: Path, count: str) -> None:
    source = save(tmp_path / "src", [])
    (source / "project.json").unlink()
    quoted = '"{""name"":""rect"",""x"":10,""y"":20,""width"":50,""height"":30}";"{""label"":""fish""}"'
    dot = '"{""name"":""point"",""cx"":15,""cy"":25}";"{""label"":""eye""}"'
    (source / "regions.csv").write_text(
        "#filename;file_size;file_attributes;region_count;region_id;region_shape_attributes;region_attributes\r\n"
        f"0.jpg;1;{{}};{count};0;{quoted}\r\n0.jpg;1;{{}};{count};1;{dot}\r\n"
    )
    done, objects = convert(source)
    assert objects == FISH
    assert [line.partition(": ")[2] for line in said(done)] == [
        "a region_count as a float, or missing, was read as the number of lines (1)",
        "semicolons between the columns were read as commas (1)",
    ]


ROW = "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"


def test_regions_are_in_the_order_of_their_ids_whatever_that_of_the_lines(tmp_path: Path) -> None:
    source = save(tmp_path / "src", [])
    (source / "project.json").unlink()
    lines = [
        f'0.jpg,1,{{}},3,{number},"{{""name"":""rect"",""x"":{number},""y"":9,""width"":5,""height"":5}}",'
        '"{""label"":""fish""}"\n'
        for number in (10, 2, 0)
    ]
    (source / "regions.csv").write_text(ROW + "".join(lines))
    assert [box[0] for box, _ in convert(source)[1]["0.jpg"]] == [0, 2, 10]


def test_the_regions_of_via_1_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    regions = {str(number): rect(number, 9, 5, 5, label="fish") for number in (0, 10, 2)}
    assert [box[0] for box, _ in convert(save(tmp_path / "src", regions))[1]["0.jpg"]] == [0, 2, 10]
