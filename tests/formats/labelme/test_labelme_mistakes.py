"""A table of the ways to break one valid labelme file: code, file, place, rule and value of each finding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import posetools.formats.labelme.format as labelme
from posetools.core.skeleton import load_skeleton
from posetools.formats.options import ReadOptions
from tests.build import make_image
from tests.formats.labelme.test_labelme import SIZE, Json, box, read, save, valid

CAR8 = load_skeleton("car8")


def change(path: str, value: object) -> Callable[[Json], None]:
    """Return what sets one place of a document: ``shapes.0.label``; the value ... deletes it."""

    def apply(content: Any) -> None:
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in parents:
            content = content[part]
        if value is ...:
            del content[last]
        else:
            content[last] = value

    return apply


NAN = float("nan")
POLYGON = [[0, 0], [9, 0], [9, 9]]
# (place to change, its value, code, place of the finding, parts of message and hint)
MISTAKES: list[tuple[str, object, str, str, list[str]]] = [
    ("shapes.1.label", "left-front-tyre", "E301", "shapes[1]", ["label must be the category 'car' or a keypoint of",
     "skeleton car8, got 'left-front-tyre'", "if you mean 'left-front-tire'",
     "--map 'left-front-tyre=left-front-tire'", "--ignore 'left-front-tyre'"]),
    ("shapes.1.label", "qqq", "E301", "shapes[1]", ["got 'qqq'", "--map 'qqq=NAME'", "--ignore 'qqq'"]),
    ("shapes.1.label", ..., "E311", "shapes[1].label", ["label must be a string, got None"]),
    ("shapes.1.shape_type", "ellipse", "E302", "shapes[1]",
     ["shape_type of 'left-front-tire' must be 'point', got 'ellipse'"]),
    ("shapes.1.label", "car", "E302", "shapes[1]", ["points must be labeled with keypoint names, got a",
     "point labeled 'car'", "--kpt-order A,B,... names"]),
    ("shapes.1.shape_type", 3, "E311", "shapes[1].shape_type", ["shape_type must be a string, got 3"]),
    ("shapes.1.points", [], "E311", "shapes[1].points", ["points must be one pair (x, y), got []"]),
    ("shapes.1.points", 3, "E311", "shapes[1].points", ["points must be a list of (x, y) pairs, got 3"]),
    ("shapes.1.points.0", [NAN, 3], "E311", "shapes[1].points[0]",
     ["points[0] must be two finite numbers (x, y) of at most 1000000 px, got [nan, 3]"]),
    ("shapes.1.points.0", [10**400, 3], "E311", "shapes[1].points[0]", ["points[0] must be two finite numbers"]),
    ("shapes.1.points.0", [1e300, 3], "E311", "shapes[1].points[0]", ["px, got [1e+300, 3]"]),
    ("shapes.1.points.0", [True, 3], "E311", "shapes[1].points[0]", ["got [True, 3]"]),
    ("shapes.1.points.0", [1, 2, 3], "E311", "shapes[1].points[0]", ["got [1, 2, 3]"]),
    ("shapes.1.group_id", 9, "E306", "shapes[1]", ["group 9 must have one rectangle labeled 'car', got none for"]),
    ("shapes.1.label", True, "E311", "shapes[1].label", ["label must be a string, got True"]),
    ("shapes.1.points.0", ["3a", 3], "E311", "shapes[1].points[0]", ["got ['3a', 3]"]),
    ("shapes.1.group_id", [1], "E311", "shapes[1].group_id", ["group_id must be an integer or null, got [1]"]),
    ("shapes.1.group_id", "a", "E306", "shapes[1]", ["group 'a' must have one rectangle labeled 'car', got none for"]),
    ("shapes.1.group_id", 0.5, "E311", "shapes[1].group_id", ["group_id must be an integer or null, got 0.5"]),
    ("shapes.1.flags", [1], "E311", "shapes[1].flags", ["flags must be an object of booleans, or null"]),
    ("shapes.1.flags", {"occluded": 2}, "E311", "shapes[1].flags", ["flags must be", "got {'occluded': 2}"]),
    ("shapes.1.description", [], "E311", "shapes[1].description", ["description must be a string or null, got []"]),
    ("shapes.1.difficult", "no", "E311", "shapes[1].difficult", ["difficult must be true, false or null, got 'no'"]),
    ("imageWidth", 10**400, "E311", "imageWidth", ["imageWidth must be a positive integer of at most 1000000 px"]),
    ("imageWidth", "wide", "E311", "imageWidth", ["imageWidth must be a positive integer", "got 'wide'"]),
    ("shapes.1", 5, "E311", "shapes[1]", ["a shape must be an object, got 5"]),
    ("shapes.2.label", "left-front-tire", "E305", "shapes[1], shapes[2]",
     ["left-front-tire must be at most one point of an object, got '2 points'"]),
    ("shapes.3.points", [[1, 1], [1, 9]], "E311", "shapes[3].points",
     ["points must be 2 opposite or 4 upright corners of a rectangle", "got [[1.0, 1.0], [1.0, 9.0]]"]),
    ("shapes.3.points", [[0, 30], [30, 0], [60, 30], [30, 60]], "E311", "shapes[3].points", ["4 upright corners"]),
    ("shapes.3.points", POLYGON, "E311", "shapes[3].points", ["2 opposite or 4 upright corners"]),
    ("shapes.3.shape_type", "linestrip", "E302", "shapes[3]",
     ["linestrip of 'car' must name the keypoint of each of its 2 points, got no names", "--kpt-order A,B,..."]),
    ("shapes.3.label", "left-rear-tire", "E302", "shapes[3]", ["must be 'point', got 'rectangle'"]),
    ("shapes.3.label", "bus", "E301", "shapes[3]", ["got 'bus'"]),
    ("shapes.3.group_id", 0, "E307", "shapes[0], shapes[1], shapes[2], shapes[3]",
     ["group 0 must have one rectangle, got 2"]),
    ("imagePath", ..., "E310", "imagePath", ["imagePath must be a string, got None"]),
    ("imagePath", "", "E121", "imagePath", ["imagePath must be an existing image, got ''"]),
    ("imagePath", "b.jpg", "E121", "imagePath", ["an existing image, got 'b.jpg'", "--image-root", "5 shapes left"]),
    ("imagePath", "a\0.jpg", "E121", "imagePath", ["an existing image"]),
    ("imagePath", "a" * 999, "E121", "imagePath", ["an existing image"]),
    ("imagePath", "../../a.jpg", "E308", "imagePath", ["imagePath must be a path inside", "--image-root "]),
    ("imagePath", "/etc/a.jpg", "E308", "imagePath", ["got '/etc/a.jpg'", "--image-root"]),
    ("imagePath", "C:\\cars\\a.jpg", "E308", "imagePath", ["imagePath must be a path inside"]),
    ("imageWidth", 640, "E123", "imageWidth, imageHeight",
     ["(width, height) must be (320, 240), the size of a.jpg, got (640, 240)", "resized", "5 shapes left out"]),
    ("imageHeight", 0, "E311", "imageHeight", ["imageHeight must be a positive integer", "got 0"]),
    ("shapes", ..., "E310", "", ["the file must be a labelme file: an object with the keys shapes (a list)"]),
    ("shapes", {}, "E310", "", ["the file must be a labelme file"]),
]  # fmt: skip


@pytest.mark.parametrize(("at", "value", "code", "place", "parts"), MISTAKES)
def test_mistakes(tmp_path: Path, at: str, value: object, code: str, place: str, parts: list[str]) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    content = valid()
    change(at, value)(content)
    file = save(tmp_path, content)
    result = labelme.FORMAT.read([tmp_path], CAR8, ReadOptions())
    # Points that cannot be read without the shape are reported with it.
    found = [one for one in result.findings if one.code == code and f"{one.place}, ".startswith(f"{place}, ")]
    assert len(found) == 1, result.findings
    assert found[0].file == str(file)
    for part in parts:
        assert part in f"{found[0].message}\n{found[0].hint}"


@pytest.mark.parametrize(
    ("content", "place", "parts"),
    [
        (b"", "line 1, column 0", ["is not valid JSON in UTF-8: EOF"]),
        (b'{"shapes": [\n  {"label": "car",', "line 2, column 18", ["is not valid JSON"]),
        (b'{"imagePath": "\xff"}', "", ["the file must be a labelme file", "got ['imagePath']"]),
        (b"[" * 5000, "line 1, column 202", ["recursion limit"]),
        (b"[]", "", ["the file must be a labelme file", "got []"]),
        (b'{"images": [], "annotations": []}', "", ["got ['annotations', 'images']"]),
    ],
)
def test_files_that_are_not_labelme(tmp_path: Path, content: bytes, place: str, parts: list[str]) -> None:
    result = read(tmp_path, box(10, 20, 110, 90))
    save(tmp_path, content, "b.json")
    result = labelme.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert len(result.dataset) == 1, "the other file is read all the same"
    assert [(f.code, f.file, f.place) for f in result.findings] == [("E310", str(tmp_path / "b.json"), place)]
    for part in parts:
        assert part in result.findings[0].message


# (place to change, its value, what was read as what, the visibility of the changed point)
REPAIRS: list[tuple[str, object, str, int]] = [
    ("imageWidth", 320.0, "a size as a string or a float", 2),
    ("imageHeight", "240", "a size as a string or a float", 2),
    ("imageWidth", None, "a width or height alone", 2),
    ("imageHeight", ..., "a width or height alone", 2),
    ("shapes.1.group_id", 0.0, "a group_id as a string or a float", 2),
    ("shapes.1.group_id", "0", "a group_id as a string or a float", 2),
    ("shapes.1.flags", [], "flags as names", 2),
    ("shapes.1.flags", ["occluded"], "flags as names", 1),
    ("shapes.1.flags", {"occluded": 1}, "flags as names", 1),
    ("shapes.1.flags", {"occluded": "true"}, "flags as names", 1),
    ("shapes.1.flags", {"occluded": 0}, "flags as names", 2),
    ("shapes.1.description", 5, "a description as a number", 2),
    ("shapes.1.difficult", 1, "difficult as 0, 1", 1),
    ("shapes.1.points", [["30.5", "80.25"]], "coordinates as strings", 2),
    ("shapes.1.shape_type", ..., "a shape without a shape_type", 2),
    ("shapes.1.shape_type", None, "a shape without a shape_type", 2),
    ("shapes.0.shape_type", ..., "a shape without a shape_type", 2),
]


@pytest.mark.parametrize(("at", "value", "part", "expected"), REPAIRS)
def test_values_with_one_meaning_are_read(tmp_path: Path, at: str, value: object, part: str, expected: int) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    content = valid()
    change(at, value)(content)
    save(tmp_path, content)
    result = labelme.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert {finding.code for finding in result.findings} == {"W324"}
    assert part in "\n".join(finding.message for finding in result.findings)
    assert result.dataset.boxes.tolist() == [[10, 20, 110, 90], [150, 20, 300, 120]]
    point = result.dataset.keypoints[0, CAR8.index["left-front-tire"]].tolist()
    assert point == [30.5, 80.25, expected]


def test_a_number_as_label_and_an_empty_group(tmp_path: Path) -> None:
    shapes = [box(10, 20, 110, 90, group_id=""), box(10, 20, 110, 90, group_id="") | {"label": 7}]
    shapes[1] |= {"shape_type": "point", "points": [[30, 80]]}
    result = read(tmp_path, *shapes, names={"7": "left-front-tire"})
    assert {finding.code for finding in result.findings} == {"W324"} and len(result.findings) == 2
    assert result.dataset.keypoints[0, CAR8.index["left-front-tire"]].tolist() == [30, 80, 2]
