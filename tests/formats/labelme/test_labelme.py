"""Reading labelme: one test per convention, and a table of the ways to break one valid file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import posetools.formats.labelme.format as labelme
from posetools.core.dataset import Dataset
from posetools.core.skeleton import load_skeleton
from posetools.errors import RequestError
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult
from tests.build import make_image

CAR8 = load_skeleton("car8")
SIZE = (320, 240)
Json = dict[str, Any]


def box(x1: float, y1: float, x2: float, y2: float, group: int | None = None, **more: Any) -> Json:
    return {
        "label": "car",
        "points": [[x1, y1], [x2, y2]],
        "group_id": group,
        "shape_type": "rectangle",
        "flags": {},
    } | more


def point(label: str, x: float, y: float, group: int | None = None, **more: Any) -> Json:
    return {"label": label, "points": [[x, y]], "group_id": group, "shape_type": "point", "flags": {}} | more


def document(*shapes: Json, **more: Any) -> Json:
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": "a.jpg",
        "imageData": None,
        "imageHeight": SIZE[1],
        "imageWidth": SIZE[0],
    } | more


def valid() -> Json:
    return document(
        box(10, 20, 110, 90, 0),
        point("left-front-tire", 30.5, 80.25, 0),
        point("left-rear-tire", 90, 80, 0, flags={"occluded": True}),
        box(150, 20, 300, 120, 1),
        point("left-front-tire", 170, 100, 1),
    )


def save(folder: Path, content: Json | bytes, name: str = "a.json") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def read(folder: Path, *shapes: Json, **options: Any) -> ReadResult:
    """Read a folder with one image, whose file holds these shapes."""
    make_image(folder / "a.jpg", SIZE)
    save(folder, document(*shapes))
    return labelme.FORMAT.read([folder], CAR8, ReadOptions(**options))


def visibility(dataset: Dataset, row: int = 0) -> dict[str, int]:
    """Return the labeled points of one object."""
    return {name: int(v) for name, v in zip(CAR8.names, dataset.visibility[row], strict=True) if v}


def codes(result: ReadResult) -> list[tuple[str, str]]:
    return [(finding.code, finding.place) for finding in result.findings]


def test_rectangle_and_points_of_a_group(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    save(tmp_path, valid())
    result = labelme.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert result.findings == () and result.files == 1 and result.ignored == {}
    first, second = result.dataset
    assert first.box.tolist() == [10, 20, 110, 90] and second.box.tolist() == [150, 20, 300, 120]
    assert first.area == 7000 and not first.iscrowd
    assert visibility(result.dataset, 0) == {"left-front-tire": 2, "left-rear-tire": 1}
    assert first.keypoints[CAR8.index["left-front-tire"]].tolist() == [30.5, 80.25, 2]
    assert first.keypoints[CAR8.index["right-rear-tire"]].tolist() == [0, 0, 0]
    assert str(first.origin) == f"{tmp_path / 'a.json'}: shapes[0]" and second.origin.place.endswith("shapes[3]")
    assert [(i.file_name, i.size, i.path) for i in result.dataset.images] == [("a.jpg", SIZE, tmp_path / "a.jpg")]


@pytest.mark.parametrize(
    "corners",
    [
        [[110, 90], [10, 20]],
        [[110, 20], [10, 90]],
        [[10, 20], [110, 20], [110, 90], [10, 90]],
        [[110, 90], [10, 20.4], [10, 90], [110, 20]],
    ],
)
def test_corners_in_any_order_two_or_four(tmp_path: Path, corners: list[list[float]]) -> None:
    result = read(tmp_path, box(0, 0, 0, 0) | {"points": corners})
    assert result.findings == ()
    assert result.dataset.boxes.tolist() == [[10, 20, 110, 90]]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, 2),
        ({"flags": {"occluded": True}}, 1),
        ({"flags": {"Hidden": True}}, 1),
        ({"flags": {"occluded": False}}, 2),
        ({"flags": None}, 2),
        ({"description": "occluded"}, 1),
        ({"description": "tree, Occluded; rain"}, 1),
        ({"description": "unoccluded"}, 2),
        ({"difficult": True}, 1),
        ({"difficult": False}, 2),
        ({"flags": {"behind": True}}, 1),
    ],
)
def test_hidden_by_flag_description_or_difficult(tmp_path: Path, more: Json, expected: int) -> None:
    shape = point("left-front-tire", 30, 80, 0, **more)
    result = read(tmp_path, box(10, 20, 110, 90, 0), shape, hidden=frozenset({"occluded", "hidden", "behind"}))
    assert result.findings == ()
    assert visibility(result.dataset) == {"left-front-tire": expected}


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("car-7-left-front-tire", 2),
        ("car-7-left-front-tire-occluded", 1),
        ("car-7-left-front-tire-visible", 2),
        ("car-7-left-front-tire-1", 1),
        ("car-7-left-front-tire-0", 0),
    ],
)
def test_instance_and_visibility_in_the_label(tmp_path: Path, label: str, expected: int) -> None:
    pattern = r"car-(?P<instance>\d+)(?:-(?P<name>.+?))?(?:-(?P<visibility>occluded|visible|[012]))?"
    own = box(10, 20, 110, 90) | {"label": "car-7"}
    other = box(10, 20, 110, 90) | {"label": "car-8"}
    result = read(tmp_path, other, own, point(label, 30, 80), label_pattern=pattern)
    assert result.findings == ()
    assert visibility(result.dataset, 0) == {}
    assert visibility(result.dataset, 1) == ({"left-front-tire": expected} if expected else {})


def test_patterns_of_the_documentation(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[3] / "docs/formats.md").read_text(encoding="utf-8")
    instance, seen = (found.replace("\\|", "|") for found in re.findall(r"--label-pattern '(.+?)'`", text))
    shapes = [box(10, 20, 110, 90) | {"label": "car-1"}, point("car-1-left-front-tire", 30, 80)]
    assert visibility(read(tmp_path, *shapes, label_pattern=instance).dataset) == {"left-front-tire": 2}
    labels = ["left-front-tire:1", "left-rear-tire-occluded", "right-rear-tire", "left-front-bumper:0"]
    shapes = [box(10, 20, 110, 90, 0), *(point(label, 30, 80, 0) for label in labels)]
    result = read(tmp_path, *shapes, label_pattern=seen)
    expected = {"left-front-tire": 1, "left-rear-tire": 1, "right-rear-tire": 2}
    assert result.findings == () and visibility(result.dataset) == expected


def test_visibility_word_that_nobody_knows(tmp_path: Path) -> None:
    pattern = r"(?P<name>.+):(?P<visibility>\w+)"
    result = read(tmp_path, box(10, 20, 110, 90, 0), point("left-front-tire:half", 30, 80, 0), label_pattern=pattern)
    assert codes(result) == [("E311", "shapes[1].label")]
    assert "visibility in the label must be one of 0, 1, 2, hidden, occluded, visible, got 'half'" in message(result)


def message(result: ReadResult) -> str:
    return "\n".join(f"{finding.message}\n{finding.hint}" for finding in result.findings)


@pytest.mark.parametrize(
    ("pattern", "part"),
    [("(", "a regular expression, got '('"), ("(.+)", "with the group (?P<name>...)"), ("(?P<name>.)(?P<v>.)", "(?P")],
)
def test_label_pattern_must_be_usable(tmp_path: Path, pattern: str, part: str) -> None:
    with pytest.raises(RequestError, match="--label-pattern must be") as caught:
        read(tmp_path, box(10, 20, 110, 90), label_pattern=pattern)
    assert part in str(caught.value)


def test_names_are_mapped_and_labels_ignored(tmp_path: Path) -> None:
    shapes = [
        box(10, 20, 110, 90, 0) | {"label": "Auto"},
        point("lft", 30, 80, 0),
        point("mirror", 31, 81, 0),
        box(0, 0, 50, 50, 5) | {"label": "truck"},
        point("left-front-tire", 5, 5, 5),
    ]
    result = read(
        tmp_path, *shapes, names={"Auto": "car", "lft": "left-front-tire"}, ignore=frozenset({"mirror", "truck"})
    )
    assert result.findings == ()
    # The truck's point is left out with its rectangle.
    assert result.ignored == {"left-front-tire": 1, "mirror": 1, "truck": 1}
    assert visibility(result.dataset) == {"left-front-tire": 2}


def test_names_must_be_of_the_skeleton(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"(?s)--map must be .* got 'lft=left-front-tyre'.*'left-front-tire'\?"):
        read(tmp_path, box(10, 20, 110, 90), names={"lft": "left-front-tyre"})


def test_image_root_must_exist(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"--image-root must be an existing folder, got '.*nowhere'"):
        read(tmp_path, box(10, 20, 110, 90), image_roots=(tmp_path / "nowhere",))


def test_points_outside_the_image_are_kept(tmp_path: Path) -> None:
    result = read(tmp_path, box(-20, 20, 110, 90, 0), point("left-front-tire", -12.5, 80, 0))
    assert result.findings == ()
    assert result.dataset.keypoints[0, CAR8.index["left-front-tire"]].tolist() == [-12.5, 80, 2]


@pytest.mark.parametrize("data", [None, "A" * 200_000, 7])
def test_image_data_is_never_needed(tmp_path: Path, data: object) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    save(tmp_path, valid() | {"imageData": data})
    assert len(labelme.FORMAT.read([tmp_path], CAR8, ReadOptions()).dataset) == 2


@pytest.mark.parametrize("missing", ["imageData", "version", "flags", "imageHeight imageWidth", "group_id flags"])
def test_absent_keys_of_older_files(tmp_path: Path, missing: str) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    content = valid()
    content["shapes"] = content["shapes"][:2]
    for key in missing.split():
        content.pop(key, None)
        for shape in content["shapes"]:
            shape.pop(key, None)
    save(tmp_path, content)
    result = labelme.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert [finding.code for finding in result.findings] in ([], ["W321"])
    assert result.dataset.images[0].size == SIZE and visibility(result.dataset) == {"left-front-tire": 2}


def test_byte_order_mark(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    save(tmp_path, b"\xef\xbb\xbf" + json.dumps(valid()).encode())
    assert len(labelme.FORMAT.read([tmp_path], CAR8, ReadOptions()).dataset) == 2


def test_size_of_the_upright_image(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", SIZE, orientation=6)
    save(tmp_path, document(box(10, 20, 110, 300), imageWidth=240, imageHeight=320))
    result = labelme.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert result.findings == () and result.dataset.images[0].size == (240, 320)


def test_flags_that_say_nothing_here_are_reported_once(tmp_path: Path) -> None:
    shapes = [box(10, 20, 110, 90, 0, flags={"truncated": True}), box(10, 20, 90, 95, 1, flags={"truncated": True})]
    result = read(tmp_path, *shapes)
    assert codes(result) == [("W323", "shapes[0], shapes[1]")] and "'truncated'" in message(result)


def test_box_from_keypoints_only_when_asked(tmp_path: Path) -> None:
    shapes = [point("left-front-tire", 50, 80, 3), point("left-rear-tire", 100, 40, 3)]
    refused = read(tmp_path, *shapes)
    assert codes(refused) == [("E306", "shapes[0], shapes[1]")] and len(refused.dataset) == 0
    assert "group 3 must have one rectangle labeled 'car', got none for 2 points" in message(refused)
    assert "--box-from keypoints" in message(refused)
    made = read(tmp_path, *shapes, box_from="keypoints", box_margin=0.1)
    assert made.findings == ()
    assert made.dataset.boxes.tolist() == [[45, 36, 105, 84]] and made.dataset.areas.tolist() == [2880]
    flat = read(tmp_path, shapes[0], box_from="keypoints")
    assert codes(flat) == [("W333", "shapes[0]")] and len(flat.dataset) == 1
    outside = read(tmp_path, point("left-front-tire", -50, 80, 3), box_from="keypoints")
    assert codes(outside) == [("E306", "shapes[0]")]


def test_image_without_shapes_is_one_without_objects(tmp_path: Path) -> None:
    result = read(tmp_path)
    assert result.findings == () and len(result.dataset.images) == 1 and len(result.dataset) == 0


def test_image_without_file_is_not_labeled_yet(tmp_path: Path) -> None:
    make_image(tmp_path / "sub" / "b.jpg", SIZE)
    make_image(tmp_path / ".hidden" / "c.jpg", SIZE)
    result = read(tmp_path, box(10, 20, 110, 90))
    assert [(f.code, f.file) for f in result.findings] == [("W322", str(tmp_path / "sub" / "b.jpg"))]
    assert [image.file_name for image in result.dataset.images] == ["a.jpg"]


def test_image_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")
    file = save(tmp_path, valid())
    result = labelme.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert [(f.code, f.file) for f in result.findings] == [("E122", str(tmp_path / "a.jpg"))]
    assert f"{file} names it; 5 shapes left out" in message(result)


def test_size_before_rotation_is_told_apart(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", SIZE, orientation=8)
    save(tmp_path, valid())
    result = labelme.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert codes(result) == [("E124", "imageWidth, imageHeight")]
    assert "before EXIF rotation (orientation 8)" in message(result)


def test_two_files_of_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(tmp_path, box(10, 20, 110, 90))
    save(tmp_path, valid(), "copy.json")
    # Long paths are cut in messages.
    monkeypatch.chdir(tmp_path)
    result = labelme.FORMAT.read([Path()], CAR8, ReadOptions())
    assert [(f.code, Path(f.file).name) for f in result.findings] == [("E313", "a.json"), ("E313", "copy.json")]
    assert "copy.json" in result.findings[0].message and "(5 shapes here)" in result.findings[1].message
    assert len(result.dataset.images) == 0


@pytest.mark.parametrize(
    ("make", "part"),
    [(lambda p: p / "nowhere", "must be an existing folder or .json file"), (lambda p: p, "with labelme's .json")],
)
def test_sources_that_hold_nothing(tmp_path: Path, make: Callable[[Path], Path], part: str) -> None:
    with pytest.raises(RequestError, match="must be") as caught:
        labelme.FORMAT.read([make(tmp_path)], CAR8, ReadOptions())
    assert part in str(caught.value)
