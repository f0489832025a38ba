"""Reading Label Studio: one test per convention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import posetools.formats.label_studio.format as label_studio
from posetools.core.skeleton import load_skeleton
from posetools.errors import RequestError
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult
from tests.build import make_image

CAR8 = load_skeleton("car8")
SIZE = (320, 240)
LFT, LRT, RRT = "left-front-tire", "left-rear-tire", "right-rear-tire"
Json = dict[str, Any]


def entry(kind: str, number: str | None, value: Json, **more: Any) -> Json:
    """Return an entry of ``result``; values are percent of an image of 320 x 240."""
    said: Json = {"original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0}
    said |= {"value": value, "from_name": kind, "to_name": "image", "type": kind, "origin": "manual"}
    return said | ({"id": number} if number else {}) | more


def rect(number: str | None, x: float, y: float, w: float, h: float, label: str = "car", **more: Any) -> Json:
    value = {"x": x, "y": y, "width": w, "height": h, "rotation": more.pop("rotation", 0), "rectanglelabels": [label]}
    return entry("rectanglelabels", number, value, **more)


def dot(number: str | None, label: str, x: float, y: float, parent: str | None = None, **more: Any) -> Json:
    value = {"x": x, "y": y, "width": 0.3, "keypointlabels": [label]}
    return entry("keypointlabels", number, value, **({"parentID": parent} if parent else {}), **more)


def choice(number: str, *said: str) -> Json:
    return entry("choices", number, {"x": 1, "y": 1, "width": 0.3, "choices": list(said)})


def task(*result: Json, image: str = "/data/upload/1/1a2b3c4d-a.jpg", **more: Any) -> Json:
    annotation = {"id": 5, "completed_by": 1, "result": list(result), "was_cancelled": False, "ground_truth": False}
    return {"id": 7, "annotations": [annotation], "predictions": [], "data": {"image": image}} | more


def valid() -> list[Json]:
    return [
        task(
            rect("r1", 10, 10, 40, 50),
            dot("k1", LFT, 12.5, 50, "r1"),
            dot("k2", LRT, 45, 50, "r1"),
            choice("k2", "occluded"),
            rect("r2", 60, 10, 30, 50),
            dot("k3", LFT, 62.5, 50, "r2"),
        )
    ]


def save(folder: Path, content: list[Json] | bytes, name: str = "project-1.json") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def read(folder: Path, *result: Json, **options: Any) -> ReadResult:
    """Read a folder with one image, whose annotation has these entries."""
    make_image(folder / "a.jpg", SIZE)
    save(folder, [task(*result)])
    return label_studio.FORMAT.read([folder], CAR8, ReadOptions(**options))


def visibility(result: ReadResult, row: int = 0) -> dict[str, int]:
    return {name: int(v) for name, v in zip(CAR8.names, result.dataset.visibility[row], strict=True) if v}


def codes(result: ReadResult) -> list[tuple[str, str]]:
    return [(finding.code, finding.place.removeprefix("tasks[0] (id 7)")) for finding in result.findings]


def texts(result: ReadResult) -> str:
    return "\n".join(f"{finding.message}\n{finding.hint}" for finding in result.findings)


def test_rectangles_and_their_children(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    file = save(tmp_path, valid())
    result = label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert result.findings == () and result.files == 1 and result.ignored == {}
    assert result.dataset.boxes.tolist() == [[32, 24, 160, 144], [192, 24, 288, 144]]
    assert visibility(result) == {LFT: 2, LRT: 1} and visibility(result, 1) == {LFT: 2}
    assert result.dataset[0].keypoints[CAR8.index[LFT]].tolist() == [40, 120, 2]
    place = "tasks[0] (id 7): annotations[0].result"
    assert tuple(map(str, result.dataset.origins)) == (f"{file}: {place}[0]", f"{file}: {place}[4]")
    assert [(i.file_name, i.size, i.split) for i in result.dataset.images] == [("a.jpg", SIZE, None)]


def test_points_without_parent_belong_to_the_rectangle_that_can_only_be_theirs(tmp_path: Path) -> None:
    boxes = [rect("a", 0, 0, 90, 90), rect("b", 10, 10, 30, 30)]
    points = [dot("k", LFT, 20, 20), dot("l", LFT, 80, 80)]
    result = read(tmp_path, *boxes, *points)
    assert [visibility(result, row) for row in (0, 1)] == [{LFT: 2}, {LFT: 2}]
    assert codes(result) == [("W321", ": annotations[0].result[2]")]
    assert "parentID must be given where boxes overlap, got none for 1 points" in texts(result)
    result = read(tmp_path, *boxes, points[0])
    assert codes(result) == [("E304", ": annotations[0].result[2]")]
    assert "give the point its rectangle as parent" in texts(result)


def test_a_parent_wins_over_containment(tmp_path: Path) -> None:
    result = read(tmp_path, rect("a", 0, 0, 20, 20), rect("b", 50, 50, 20, 20), dot("k", LFT, 10, 10, "b"))
    assert [visibility(result, row) for row in (0, 1)] == [{}, {LFT: 2}] and result.findings == ()


@pytest.mark.parametrize(
    ("point", "more", "options", "expected"),
    [
        (dot("k", LFT, 9, 9, "r"), [choice("k", "Occluded")], {}, 1),
        (dot("k", LFT, 9, 9, "r"), [choice("k", "hidden")], {}, 1),
        (dot("k", LFT, 9, 9, "r"), [choice("k", "visible")], {}, 2),
        (dot("k", LFT, 9, 9, "r"), [choice("k", "verdeckt")], {"hidden": frozenset({"verdeckt"})}, 1),
        (dot("k", LFT, 9, 9, "r", meta={"text": ["occluded by a tree"]}), [], {}, 1),
        (dot("k", LFT, 9, 9, "r", meta={"text": ["seen well"]}), [], {}, 2),
        (dot("k", LFT, 9, 9, "r"), [entry("textarea", "k", {"text": ["occluded"]})], {}, 1),
        (dot("k", f"{LFT}:1", 9, 9, "r"), [], {"label_pattern": r"(?P<name>.+):(?P<visibility>\d)"}, 1),
    ],
)  # fmt: skip
def test_visibility(tmp_path: Path, point: Json, more: list[Json], options: Json, expected: int) -> None:
    result = read(tmp_path, rect("r", 0, 0, 50, 50), point, *more, **options)
    assert result.findings == () and visibility(result) == {LFT: expected}


def test_a_rectangle_that_is_turned_becomes_the_upright_one_round_it(tmp_path: Path) -> None:
    """Label Studio turns clockwise about the upper left corner, in pixels."""
    result = read(tmp_path, rect("r", 50, 50, 10, 10, rotation=90))
    assert result.dataset.boxes.tolist() == [[136, 120, 160, 152]]
    assert codes(result) == [("W323", "")] and "rotation of rectangles" in texts(result)


def test_rectangle_and_labels_as_tags_of_their_own(tmp_path: Path) -> None:
    value = {"x": 0, "y": 0, "width": 50, "height": 50, "rotation": 0}
    pair = [entry("rectangle", "r", value), entry("labels", "r", value | {"labels": ["car"]})]
    result = read(tmp_path, *pair, dot("k", LFT, 9, 9, "r"))
    assert result.findings == () and visibility(result) == {LFT: 2}


@pytest.mark.parametrize(
    ("result", "found", "part"),
    [
        ([dot("k", LFT, 9, 9)], [("E303", "[0]")], "labeled 'car', or joined with one, got [28.8, 21.6]"),
        ([dot("k", LFT, 9, 9, "gone")], [("E306", "[0]")], "group 'gone' must have one rectangle"),
        ([rect("r", 0, 0, 9, 9), rect("s", 0, 0, 9, 9), dot("k", LFT, 5, 5)], [("E304", "[2]")],
         "contain it"),
        ([rect("r", 0, 0, 9, 9), dot("k", LFT, 5, 5, "r"), dot("l", LFT, 6, 6, "r")], [("E305", "[1], [2]")],
         "at most one point of an object"),
        ([rect("r", 0, 0, 9, 9), rect("r", 20, 0, 9, 9)], [("E307", "[0], [1]")], "give each rectangle a unique id"),
        ([rect("r", 0, 0, 9, 9, "bus")], [("E301", "[0]")], "got 'bus'"),
        ([entry("polygonlabels", "p", {"points": [[1, 1], [9, 1], [9, 9]], "polygonlabels": ["car"]})],
         [("W323", "[0]")], "outlines of objects were replaced"),
        ([entry("brushlabels", "p", {"format": "rle", "brushlabels": [LFT]})], [("E302", "[0]")],
         "must be 'point', got 'brush'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told(
    tmp_path: Path, result: list[Json], found: list[tuple[str, str]], part: str
) -> None:
    got = read(tmp_path, *result)
    there = [(code, place.replace("[", ": annotations[0].result[", 1).replace(", [", ", annotations[0].result["))
             for code, place in found]  # fmt: skip
    assert codes(got) == there and part in texts(got)


def test_labels_that_are_left_out_are_counted(tmp_path: Path) -> None:
    shapes = [
        rect("r", 0, 0, 50, 50),
        rect("s", 60, 60, 9, 9, "bus"),
        dot("k", "stone", 1, 1),
        dot("l", LFT, 61, 61, "s"),
    ]
    result = read(tmp_path, *shapes, ignore=frozenset({"bus", "stone"}))
    assert result.findings == () and result.ignored == {"bus": 1, "stone": 1, LFT: 1} and len(result.dataset) == 1


def relation(one: str, other: str, direction: str = "right") -> Json:
    return {"type": "relation", "from_id": one, "to_id": other, "direction": direction}


def test_a_relation_says_whose_a_point_is(tmp_path: Path) -> None:
    """As dlc2labelstudio writes it: the point is in both boxes, and the smaller one is not its own."""
    boxes = [rect("outer", 0, 0, 80, 80), rect("inner", 10, 10, 30, 30)]
    points = [dot("k1", LFT, 20, 20), dot("k2", LRT, 25, 25), dot("k3", LFT, 30, 30)]
    relations = [relation("k1", "outer"), relation("outer", "k2", "left"), relation("k3", "inner", "bi")]
    result = read(tmp_path, *boxes, *points, *relations)
    assert result.findings == ()
    assert [visibility(result, row) for row in (0, 1)] == [{LFT: 2, LRT: 2}, {LFT: 2}]
    assert result.dataset.keypoints[0, CAR8.index[LFT]].tolist()[:2] == [0.2 * SIZE[0], 0.2 * SIZE[1]]


def test_a_relation_that_contradicts_the_parent_is_refused(tmp_path: Path) -> None:
    boxes = [rect("a", 0, 0, 50, 50), rect("b", 0, 0, 80, 80)]
    result = read(tmp_path, *boxes, dot("k", LFT, 9, 9, "a"), relation("k", "b"))
    (finding,) = result.findings
    assert finding.code == "E311" and "one rectangle, got ['a', 'b']" in finding.message
    gone = read(tmp_path, boxes[0], dot("k", LFT, 9, 9), relation("k", "deleted"))
    assert [finding.code for finding in gone.findings] == ["W330"] and visibility(gone) == {LFT: 2}


def test_points_of_a_deleted_parent_make_no_second_object(tmp_path: Path) -> None:
    for options in ({}, {"box_from": "keypoints"}):
        result = read(tmp_path, rect("a", 0, 0, 50, 50), dot("k", LFT, 9, 9, "gone"), **options)
        assert [finding.code for finding in result.findings] == ["W330"] and len(result.dataset) == 1
        assert visibility(result) == {LFT: 2} and "the only free box around all" in texts(result)
        # A rectangle that has points of its own is no free one, and of two that hold them either may be theirs.
        shapes = [rect("a", 0, 0, 50, 50), dot("k", LFT, 9, 9, "gone"), dot("l", LRT, 9, 9, "a")]
        result = read(tmp_path, *shapes)
        assert [finding.code for finding in result.findings] == ["E306"] and visibility(result) == {LRT: 2}
        result = read(tmp_path, *shapes[:2], rect("b", 0, 0, 60, 60), **options)
        assert [finding.code for finding in result.findings] == ["E304"] and len(result.dataset) == 2
        assert "give the point its rectangle as parent" in texts(result)


def test_what_is_not_carried_over_is_told_once(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    more = [
        choice("r", "truncated"),
        choice("k", "blurred"),
        entry("choices", "whole-picture", {"choices": ["night"]}),
        entry("number", "k", {"number": 4}),
        {"type": "relation", "from_id": "r", "to_id": "r", "direction": "right"},
    ]
    shapes = [rect("r", 0, 0, 50, 50), dot("k", LFT, 9, 9, "r"), *more]
    save(tmp_path, [task(*shapes, predictions=[{"result": []}])])
    result = label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert codes(result) == [("W323", "")] and visibility(result) == {LFT: 2}
    for part in (
        "choice 'blurred' of keypoint regions (1)",
        "choice 'truncated' of rectangle regions (1)",
        "choices 'choices' of the image (1)",
        "number of regions (1)",
        "relation of regions that are not a keypoint and its box (1)",
        "predictions (1)",
    ):
        assert part in texts(result)


def test_canceled_annotations_are_counted(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    one = valid()[0]
    canceled = one["annotations"][0] | {"was_cancelled": True}
    save(tmp_path, [one | {"annotations": [canceled, *one["annotations"]]}])
    result = label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert result.findings == () and len(result.dataset) == 2 and result.ignored == {"canceled annotations": 5}
    save(tmp_path, [one | {"annotations": [canceled]}])
    result = label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert codes(result) == [("W322", "")] and result.ignored == {"canceled annotations": 5}
    assert result.dataset.images == () and "got none that is not canceled: not labeled yet" in texts(result)


def test_of_two_annotations_none_is_read(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    one = valid()[0]
    second = one["annotations"][0] | {"completed_by": 2, "result": [rect("x", 1, 1, 9, 9)]}
    save(tmp_path, [one | {"annotations": [*one["annotations"], second]}])
    result = label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert codes(result) == [("E313", "")] and result.dataset.images == ()
    assert "annotated once, got 'annotations[0] of 5 regions, annotations[1] of 1 regions'" in texts(result)


def test_tasks_without_annotation_and_annotations_without_regions(tmp_path: Path) -> None:
    for name in "abc":
        make_image(tmp_path / f"{name}.jpg", SIZE)
    save(tmp_path, [task(image="a.jpg"), task(image="b.jpg", annotations=[]), *valid()[1:]])
    result = label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert [i.file_name for i in result.dataset.images] == ["a.jpg"], "a negative"
    assert [(f.code, f.place or Path(f.file).name) for f in result.findings] == [
        ("W322", "c.jpg"),
        ("W322", "tasks[1] (id 7)"),
    ]


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("/data/upload/1/1a2b3c4d-a.jpg", "a.jpg"),
        ("/data/upload/1/1a2b3c4d-a.jpg", "images/a.jpg"),
        ("/data/upload/1/1a2b3c4d-a.jpg", "1a2b3c4d-a.jpg"),
        ("upload/1/1a2b3c4d-a.jpg", "images/1a2b3c4d-a.jpg"),
        ("/data/local-files/?d=cars/day%201/a.jpg", "cars/day 1/a.jpg"),
        ("/data/local-files/?d=cars/a.jpg", "a.jpg"),
        ("s3://bucket/cars/a%20b.jpg", "a b.jpg"),
        ("https://example.com/cars/a.jpg?token=1#x", "images/a.jpg"),
        ("C:\\cars\\a.jpg", "a.jpg"),
        ("cars\\a.jpg", "cars/a.jpg"),
        ("a.jpg", "a.jpg"),
    ],
)
def test_addresses_of_images(tmp_path: Path, address: str, file: str) -> None:
    make_image(tmp_path / "src" / file, SIZE)
    save(tmp_path / "src", [task(rect("r", 0, 0, 50, 50), image=address)])
    result = label_studio.FORMAT.read([tmp_path / "src"], CAR8, ReadOptions())
    # A named folder that differs is reported.
    other = "cars" in address and "cars" not in file
    assert [finding.code for finding in result.findings] == ["W332"] * other
    assert [(i.file_name, i.path) for i in result.dataset.images] == [
        (file.removeprefix("images/"), tmp_path / "src" / file)
    ]
    elsewhere = save(tmp_path / "json", [task(rect("r", 0, 0, 50, 50), image=address)])
    roots = ReadOptions(image_roots=((tmp_path / "src" / file).parent if other else tmp_path / "src",))
    assert [i.path for i in label_studio.FORMAT.read([elsewhere], CAR8, roots).dataset.images] == [
        tmp_path / "src" / file
    ]


def test_the_key_of_the_image_and_of_the_split(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    save(
        tmp_path, [task(rect("r", 0, 0, 50, 50)) | {"data": {"photo": "a.jpg", "city": "Oslo", "split": "Validation"}}]
    )
    result = label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert result.findings == () and [i.split for i in result.dataset.images] == ["val"]


def test_two_tasks_of_one_image_are_both_left_out(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    save(tmp_path, [*valid(), task(rect("r", 0, 0, 50, 50), image="/data/upload/2/ffff0000-a.jpg") | {"id": 8}])
    result = label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert [(f.code, f.place) for f in result.findings] == [("E313", "tasks[0] (id 7)"), ("E313", "tasks[1] (id 8)")]
    assert "got tasks[1] (id 8) too; none of them is read (5 shapes here)" in texts(result)


def test_json_min(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", SIZE)
    make_image(tmp_path / "b.jpg", SIZE)

    def least(one: Json) -> Json:
        return {**one["value"], "original_width": SIZE[0], "original_height": SIZE[1]}

    full: Json = {
        "image": "/data/upload/1/1a2b3c4d-a.jpg",
        "id": 7,
        "box": [least(rect(None, 10, 10, 40, 50)), least(rect(None, 60, 10, 30, 50))],
        "kp": [least(dot(None, LFT, 12.5, 50)), least(dot(None, LFT, 62.5, 50))],
        "quality": {"choices": ["good"]},
        "annotator": 1,
        "annotation_id": 3,
    }
    empty = {"image": "b.jpg", "id": 8, "annotator": 1, "annotation_id": 4}
    file = save(tmp_path, [full, empty])
    assert label_studio.detect(file)
    result = label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert codes(result) == [("W323", "")]
    assert result.dataset.boxes.tolist() == [[32, 24, 160, 144], [192, 24, 288, 144]]
    assert [visibility(result, row) for row in (0, 1)] == [{LFT: 2}, {LFT: 2}]
    assert str(result.dataset.origins[1]) == f"{file}: tasks[0] (id 7): box[1]"
    assert [i.file_name for i in result.dataset.images] == ["a.jpg", "b.jpg"]


def test_another_size_than_the_image_s(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", (240, 320), orientation=6)
    save(tmp_path, valid())
    assert label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions()).findings == (), "upright it is 320 x 240"
    make_image(tmp_path / "a.jpg", (320, 240), orientation=6)
    result = label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert codes(result) == [("E124", ": original_width, original_height")] and "5 regions left out" in texts(result)
    make_image(tmp_path / "a.jpg", (64, 48))
    result = label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert codes(result) == [("E123", ": original_width, original_height")]


def test_without_a_size_that_of_the_image_counts(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", (64, 48))
    content = valid()
    for one in content[0]["annotations"][0]["result"]:
        del one["original_width"], one["original_height"]
    save(tmp_path, content)
    result = label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert result.findings == () and result.dataset.boxes[0].tolist() == [6.4, 4.8, 32, 28.8]


def test_sources_that_are_none(tmp_path: Path) -> None:
    save(tmp_path, b"{}")
    with pytest.raises(RequestError, match=r"must be a folder with Label Studio's \.json files"):
        label_studio.FORMAT.read([tmp_path], CAR8, ReadOptions())


def test_detection(tmp_path: Path) -> None:
    file = save(tmp_path, valid())
    other = save(tmp_path / "other", b'[{"name": "car", "type": "skeleton"}]')
    assert label_studio.detect(tmp_path) and label_studio.detect(file)
    assert not label_studio.detect(other) and not label_studio.detect(other.parent)
