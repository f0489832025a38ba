"""A table of the ways to break one valid Label Studio export: code, file, place, rule and value of each finding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import posetools.formats.label_studio.format as label_studio
from posetools.core.skeleton import load_skeleton
from posetools.formats.options import ReadOptions
from tests.build import make_image
from tests.formats.label_studio.test_label_studio import SIZE, save, texts, valid
from tests.formats.labelme.test_labelme_mistakes import change

CAR8 = load_skeleton("car8")
NAN = float("nan")
AT = "0.annotations.0.result."
# (place to change, its value, code, place of the finding after the task's, parts of message and hint)
MISTAKES: list[tuple[str, object, str, str, list[str]]] = [
    (f"{AT}1", 5, "E311", ": annotations[0].result[1]", ["a region must be an object with type and value, got 5"]),
    (f"{AT}1.type", ..., "E311", ": annotations[0].result[1]", ["an object with type and value"]),
    (f"{AT}1.value", [], "E311", ": annotations[0].result[1]", ["an object with type and value"]),
    (f"{AT}1.value.keypointlabels", [], "E311", ": annotations[0].result[1].keypointlabels",
     ["keypointlabels must be one label, got []", "correct the region in Label Studio, or delete it"]),
    (f"{AT}1.value.keypointlabels", ["a", "b"], "E311", ": annotations[0].result[1].keypointlabels",
     ["got ['a', 'b']"]),
    (f"{AT}1.value.keypointlabels", ["left-front-tyre"], "E301", ": annotations[0].result[1]",
     ["got 'left-front-tyre'", "if you mean 'left-front-tire'"]),
    (f"{AT}1.value.x", "left", "E311", ": annotations[0].result[1].value.x",
     ["x must be a finite number of at most 1000000 percent, got 'left'"]),
    (f"{AT}1.value.x", NAN, "E311", ": annotations[0].result[1].value.x", ["got nan"]),
    (f"{AT}1.value.x", 1e9, "E311", ": annotations[0].result[1].value.x", ["got 1000000000.0"]),
    (f"{AT}1.value.y", ..., "E311", ": annotations[0].result[1].value.y", ["got None"]),
    (f"{AT}0.value.width", True, "E311", ": annotations[0].result[0].value.width", ["got True"]),
    (f"{AT}0.value.width", 0, "E311", ": annotations[0].result[0].points", ["of a rectangle with width and height"]),
    (f"{AT}0.value.rotation", "x", "E311", ": annotations[0].result[0].value.rotation",
     ["rotation must be a finite number of degrees, got 'x'"]),
    (f"{AT}0.original_width", 640, "E311", "",
     ["the same for all regions of an image, got '640 x 240 and 320 x 240'", "5 regions left out"]),
    (f"{AT}0.original_width", "wide", "E311", "", ["must be two positive integers (pixels)"]),
    (f"{AT}0.original_width", [1], "E311", "", ["must be two positive integers (pixels)"]),
    (f"{AT}0.image_rotation", 90, "E311", "", ["image_rotation must be 0", "got 90", "5 regions left out"]),
    ("0.annotations.0", 5, "E311", "", ["annotations[0] must be an object with the list result, got 5"]),
    ("0.annotations.0.result", {}, "E311", "", ["annotations[0] must be an object with the list result"]),
    ("0.annotations", {}, "E311", "", ["annotations must be a list, got {}"]),
    ("0.data.image", "/data/upload/1/b.jpg", "E121", ": data.image",
     ["data.image must be the address of an existing image file, got '/data/upload/1/b.jpg'",
      "5 regions left out", "--image-root DIR searches another", "next to the file: images/b.jpg and b.jpg"]),
    ("0.data.image", "data:image/png;base64,AAAA", "E121", ": data.image", ["got 'data:image/png;base64,AAAA'"]),
    ("0.data.image", "http://[", "E121", ": data.image", ["got 'http://['"]),
    ("0.data.image", "../../a\0.jpg", "E121", ": data.image", ["an existing image file"]),
]  # fmt: skip


@pytest.mark.parametrize(("at", "value", "code", "place", "parts"), MISTAKES)
def test_mistakes(tmp_path: Path, at: str, value: object, code: str, place: str, parts: list[str]) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    content: Any = valid()
    change(at, value)(content)
    file = save(tmp_path, content)
    result = label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())
    found = [f for f in result.findings if f.code == code and f"{f.place}, ".startswith(f"tasks[0] (id 7){place}, ")]
    assert len(found) == 1, result.findings
    assert found[0].file == str(file)
    for part in parts:
        assert part in f"{found[0].message}\n{found[0].hint}"


@pytest.mark.parametrize(
    ("content", "code", "place", "part"),
    [
        (b'[{"a": 1,', "E310", "line 1, column 9", "is not valid JSON in UTF-8"),
        (b"{}", "E310", "", "must be a list of Label Studio tasks, got []"),
        (b"[5]", "E311", "tasks[0]", "a task must be an object, got 5"),
        (b'[{"data": {"text": "x"}, "annotations": []}]', "E311", "tasks[0]", "names one image (in the key image"),
        (b'[{"data": {"a": "a.jpg", "b": "b.jpg"}, "annotations": []}]', "E311", "tasks[0]", "got ['a', 'b']"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, code: str, place: str, part: str) -> None:
    file = save(tmp_path, content)
    result = label_studio.FORMAT.read([file], CAR8, ReadOptions())
    assert [(f.code, f.place) for f in result.findings] == [(code, place)] and part in texts(result)


def test_a_broken_file_beside_a_good_one_is_told(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    save(tmp_path, valid())
    broken = save(tmp_path, b"[{", "more.json")
    save(tmp_path, b'{"version": 3}', "settings.json")
    result = label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert [(f.code, f.file) for f in result.findings] == [("E310", str(broken))] and len(result.dataset) == 2


@pytest.mark.parametrize(
    ("damaged", "place", "part"),
    [
        ([False, *valid()], "tasks[0]", "a task must be an object, got False"),
        ([valid()[0] | {"data": None}], "tasks[0]", "data must be an object that names one image"),
    ],
)
def test_a_damaged_export_beside_a_good_one_is_told(tmp_path: Path, damaged: Any, place: str, part: str) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    save(tmp_path, valid())
    file = save(tmp_path, damaged, "more.json")
    result = label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())
    told = [f.message for f in result.findings if (f.code, f.file, f.place) == ("E311", str(file), place)]
    assert len(told) == 1 and part in told[0], result.findings


def places(content: Any, at: tuple[str, ...] = ()) -> list[str]:
    """Return every place in a document, as ``change`` names it."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [".".join(at)] * bool(at) + [place for key, value in inner for place in places(value, (*at, str(key)))]


ANYTHING: list[object] = [
    None,
    True,
    0,
    -1,
    1e300,
    10**400,
    "",
    "\ud800",
    "a\0b",
    [],
    {},
    [[]],
    [None],
    {"id": []},
    {"type": []},
    ...,
]


@pytest.mark.parametrize("value", ANYTHING, ids=lambda value: repr(value)[:20])
def test_no_value_in_any_place_stops_the_reading(tmp_path: Path, value: object) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    for place in places(valid()):
        content: Any = valid()
        change(place, value)(content)
        result = label_studio.FORMAT.read([save(tmp_path, content)], CAR8, ReadOptions())
        assert result.files == 1 and len(result.dataset) <= 2
