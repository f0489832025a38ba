"""Plausibility: each rule at its limits, with the full messages."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posetools.checks import plausibility
from posetools.checks.plausibility import (
    DUPLICATE_IOU,
    check_boxes,
    check_categories,
    check_points,
    check_split,
    check_whole,
)
from posetools.checks.structure import SoundObjects, sound_objects
from posetools.core.findings import Finding
from posetools.core.geometry import pairwise_iou
from posetools.core.skeleton import Skeleton, load_skeleton
from posetools.formats.coco.repair import OUTSIDE
from posetools.formats.coco.table import table_from
from posetools.formats.coco.write import category_entry

CAR8 = load_skeleton("car8")
Row = tuple[int, tuple[float, float, float, float]]


def objects_of(
    rows: list[Row],
    *,
    points: list[list[float]] | None = None,
    areas: list[float] | None = None,
    crowds: tuple[int, ...] = (),
) -> SoundObjects:
    """Return objects given by image id and bbox, all in images of 100 x 80; points are flat lists of 24."""
    annotations = [
        {
            "id": i + 1,
            "image_id": image,
            "category_id": 1,
            "bbox": list(bbox),
            "area": areas[i] if areas else max(bbox[2] * bbox[3], 2),
            "iscrowd": int(i in crowds),
            "num_keypoints": 0,
            "keypoints": points[i] if points else [0] * 24,
        }
        for i, (image, bbox) in enumerate(rows)
    ]
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 100, "height": 80} for i in range(6)]
    document = {"images": images, "annotations": annotations, "categories": [category_entry(CAR8)]}
    table = table_from(document, Path("x.json"))
    assert table.findings == ()
    return sound_objects(table, CAR8)


def places(findings: list[Finding], code: str) -> list[str]:
    return [finding.place for finding in findings if finding.code == code]


_SIDE = st.integers(1, 40).map(float)
_ROWS = st.lists(st.tuples(st.integers(0, 3), st.tuples(_SIDE, _SIDE, _SIDE, _SIDE)), max_size=25)


@settings(max_examples=200, deadline=None)
@given(_ROWS)
def test_duplicate_boxes_are_those_of_a_comparison_of_all_with_all(rows: list[Row]) -> None:
    rows = rows + [(image, (x, y, w, h * 1.01)) for image, (x, y, w, h) in rows[:5]]
    objects = objects_of(rows)
    expected = set()
    for later in range(len(rows)):
        for earlier in range(later):
            iou = pairwise_iou(objects.boxes[[later]], objects.boxes[[earlier]])[0, 0]
            if rows[later][0] == rows[earlier][0] and iou > DUPLICATE_IOU:
                expected.add((f"annotations[{later}] (id {later + 1})", f"annotations[{earlier}] (id {earlier + 1})"))
    found = [finding for finding in check_boxes(objects) if finding.code == "W205"]
    assert len(found) == len(expected)
    assert {(f.place, f.message.split(" object than ")[1].split(", got")[0]) for f in found} == expected


def test_an_object_that_is_there_a_thousand_times_is_told_so_a_bounded_number_of_times() -> None:
    box = (10.0, 10.0, 20.0, 20.0)
    objects = objects_of([(1, box)] * 1000 + [(1, (60.0, 10.0, 20.0, 20.0)), (2, box)])
    found = [finding for finding in check_boxes(objects) if finding.code == "W205"]
    # All except the first, and none of the two unique ones.
    assert {finding.place for finding in found} == {f"annotations[{i}] (id {i + 1})" for i in range(1, 1000)}
    assert max(Counter(finding.place for finding in found).values()) == 20


def test_a_box_may_leave_the_image_by_a_pixel() -> None:
    inside = [(0, (-OUTSIDE, -OUTSIDE, 30, 30)), (0, (60.0, 40.0, 40 + OUTSIDE, 40 + OUTSIDE))]
    outside = [(1, (-1.01, 0.0, 30, 30)), (1, (60.0, 0.0, 41.01, 30)), (1, (0.0, 50.0, 30, 31.01))]
    found = places(list(check_boxes(objects_of([*inside, *outside]))), "W201")
    assert found == [f"annotations[{i}] (id {i + 1})" for i in (2, 3, 4)]


@pytest.mark.parametrize(
    ("x", "visibility", "code"), [(9, 2, ""), (7.9, 2, "W202"), (7.9, 1, "W202"), (7.9, 0, "W203")]
)
def test_points_may_lie_a_tenth_of_the_box_outside(x: float, visibility: int, code: str) -> None:
    # The margin of a box of 20 x 10 is 2 pixels.
    keypoints = [x, 15, visibility, *[0.0] * 21]
    found = list(check_points(objects_of([(0, (10, 10, 20, 10))], points=[keypoints]), CAR8))
    assert [finding.code for finding in found] == ([code] if code else [])


def test_a_keypoint_is_rare_below_one_in_twenty() -> None:
    labeled = [20.0, 20.0, 2.0] * 8
    without_last = [*labeled[:21], 0, 0, 0]
    rows: list[Row] = [(i % 6, (10, 10, 20, 20)) for i in range(40)]
    rare = objects_of(rows, points=[labeled] + [without_last] * 39)
    enough = objects_of(rows, points=[labeled] * 2 + [without_last] * 38)
    assert places(list(check_split(rare, CAR8, train=False)), "W209") == ["keypoint right-rear-tire"]
    assert places(list(check_split(enough, CAR8, train=False)), "W209") == []
    hidden = objects_of(rows, points=[[*labeled[:21], 20.0, 20.0, 1.0]] * 40)
    assert places(list(check_split(hidden, CAR8, train=False)), "W209") == []


@pytest.mark.parametrize(
    ("areas", "only"),
    [
        ([1023.9, 5], "small"),
        ([1024, 9215.9], "medium"),
        ([9216, 1e5], "large"),
        ([1023.9, 1024], ""),
        ([9215, 9216], ""),
    ],
)
def test_size_classes_are_those_of_coco(areas: list[float], only: str) -> None:
    objects = objects_of([(0, (10, 10, 20, 20)), (1, (10, 10, 20, 20))], areas=areas)
    found = [finding for finding in check_whole(Path("data"), {"train": objects}) if finding.code == "W212"]
    assert [f"only {only} objects" in finding.message for finding in found] == ([True] if only else [])


@pytest.mark.parametrize(("labeled", "warned"), [(1599, True), (1600, False)])
def test_few_iterations_are_fewer_than_the_stock_warm_up_needs(labeled: int, warned: bool) -> None:
    rows: list[Row] = [(i % 6, (10, 10, 20, 20)) for i in range(labeled + 5)]
    points: list[list[float]] = [[20.0, 20.0, 1.0 + i % 2] * 8 for i in range(labeled)] + [[0.0] * 24] * 5
    objects = objects_of(rows, points=points)
    assert bool(places(list(check_split(objects, CAR8, train=True)), "W211")) is warned
    assert places(list(check_split(objects, CAR8, train=False)), "W211") == []


def test_what_is_said_about_boxes() -> None:
    rows: list[Row] = [(1, (5, 5, 20, 20)), (2, (-2, 5, 20, 0.5)), (1, (5, 5, 20.5, 20)), (1, (5, 5, 20, 20.5))]
    overlap = "bbox must be of another object than annotations"
    one = "remove one of the two"
    assert list(check_boxes(objects_of(rows))) == [
        Finding(
            "W201",
            "x.json",
            "annotations[1] (id 2)",
            "bbox must be inside the image of 100 x 80, got [-2.0, 5.0, 20.0, 0.5]",
            "`posetools validate --fix` clips it to the image if any of it is inside",
        ),
        Finding(
            "W214",
            "x.json",
            "annotations[1] (id 2)",
            "bbox must be at least 1 pixel wide and high, got [-2.0, 5.0, 20.0, 0.5]",
            "draw it again, or remove the annotation",
        ),
        Finding("W205", "x.json", "annotations[2] (id 3)", f"{overlap}[0] (id 1), got an overlap (IoU) of 0.976", one),
        Finding("W205", "x.json", "annotations[3] (id 4)", f"{overlap}[2] (id 3), got an overlap (IoU) of 0.952", one),
        Finding("W205", "x.json", "annotations[3] (id 4)", f"{overlap}[0] (id 1), got an overlap (IoU) of 0.976", one),
    ]


@pytest.mark.parametrize(("bbox", "tiny"), [((5, 5, 1, 1), False), ((5, 5, 0.9, 9), True), ((5, 5, 9, 0.9), True)])
def test_a_box_is_a_pixel_wide_and_high(bbox: tuple[float, float, float, float], tiny: bool) -> None:
    assert bool(places(list(check_boxes(objects_of([(0, bbox)]))), "W214")) is tiny


def test_groups_of_objects_are_not_called_double() -> None:
    rows: list[Row] = [(1, (5, 5, 20, 20))] * 3
    objects = objects_of(rows, crowds=(1,))
    found = [finding for finding in check_boxes(objects) if finding.code == "W205"]
    assert [(finding.place, "annotations[0]" in finding.message) for finding in found] == [
        ("annotations[2] (id 3)", True)
    ]


def test_boxes_that_only_touch_or_lie_apart_are_not_double() -> None:
    apart: list[Row] = [(0, (0, 0, 20, 20)), (0, (40, 40, 20, 20)), (0, (20, 0, 20, 20)), (0, (0, 20, 20, 20))]
    apart += [(1, (0, 0, 1, 1)), (1, (1, 1, 1, 1)), (2, (0, 0, 20, 20)), (2, (0, 0, 19, 20))]
    apart += [(3, (0, 0, 1, 1)), (3, (0, 2, 1, 1))]
    assert list(check_boxes(objects_of(apart))) == []


@pytest.mark.parametrize("x", [5.0, -30.0])
def test_double_boxes_may_lie_half_a_pixel_apart(x: float) -> None:
    objects = objects_of([(0, (x, 5, 40, 20)), (0, (x + 0.5, 5, 40, 20))])
    assert places(list(check_boxes(objects)), "W205") == ["annotations[1] (id 2)"]


def test_boxes_whose_left_edges_are_far_apart_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plausibility, "box_iou", None)
    assert list(check_boxes(objects_of([(0, (20.0 + 2 * i, 5, 20, 20)) for i in range(30)]))) == []


def test_what_is_said_about_points() -> None:
    far = [*[15.0, 15.0, 2.0] * 5, 50, 15, 2, 15, 70, 1, 15, 15, 0]
    both = [*[15.0, 15.0, 2.0] * 6, *[0.0, 0.0, 1.0] * 2]
    points = [[15.0, 15.0, 2.0] * 8, far, both]
    found = list(check_points(objects_of([(0, (10, 10, 20, 10))] * 3, points=points), CAR8))
    names = CAR8.names
    assert found == [
        Finding(
            "W202",
            "x.json",
            "annotations[1] (id 2)",
            f"{names[5]}, {names[6]} must be in the box, or outside it by at most 10% of its larger side, "
            "got [(50.0, 15.0), (15.0, 70.0)]",
            "check whether the point belongs to another object, or the box is too small",
        ),
        Finding(
            "W203",
            "x.json",
            "annotations[1] (id 2)",
            f"{names[7]} must be 0, 0 where the visibility is 0, got (15.0, 15.0)",
            "set its visibility to 1 (occluded) or 2 (visible) if it is a label: training ignores the point",
        ),
        Finding(
            "W204",
            "x.json",
            "annotations[2] (id 3)",
            f"{names[6]}, {names[7]} must be a place in the image where the visibility is above 0, "
            "got [(0.0, 0.0), (0.0, 0.0)]",
            "set the visibility of an unlabeled keypoint to 0",
        ),
    ]


def test_objects_are_looked_at_in_parts_that_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    right, far = [15.0, 15.0, 2.0] * 8, [*[15.0, 15.0, 2.0] * 7, 15, 70, 1]
    unlabeled, at_corner = [*[15.0, 15.0, 2.0] * 7, 15, 15, 0], [*[15.0, 15.0, 2.0] * 6, *[0.0, 0.0, 1.0] * 2]
    points = [far, right, unlabeled, right, at_corner, right, far, unlabeled]
    objects = objects_of([(0, (10.0 + i, 10, 20, 10)) for i in range(len(points))], points=points)
    whole = list(check_points(objects, CAR8))
    assert [(each.code, each.place) for each in whole] == [
        (code, f"annotations[{i}] (id {i + 1})")
        for code, of_code in (("W202", (0, 6)), ("W203", (2, 7)), ("W204", (4,)))
        for i in of_code
    ]
    monkeypatch.setattr(plausibility, "_AT_ONCE", 3)
    assert list(check_points(objects, CAR8)) == whole


@pytest.mark.parametrize(
    ("x", "y", "far"),
    [
        (5.9, 20, True),
        (6, 20, False),
        (54, 20, False),
        (54.1, 20, True),
        (20, 5.9, True),
        (20, 6, False),
        (20, 24, False),
        (20, 24.1, True),
    ],
)
def test_the_margin_is_a_tenth_of_the_larger_side_on_every_side(x: float, y: float, far: bool) -> None:
    objects = objects_of([(0, (10, 10, 40, 10))], points=[[x, y, 2, *[0.0] * 21]])
    assert [finding.code for finding in check_points(objects, CAR8)] == ["W202"] * far


@pytest.mark.parametrize(("x", "far"), [(8, False), (7.9, True)])
def test_small_boxes_have_a_margin_of_two_pixels(x: float, far: bool) -> None:
    objects = objects_of([(0, (10, 10, 4, 4))], points=[[x, 12, 2, *[0.0] * 21]])
    assert [finding.code for finding in check_points(objects, CAR8)] == ["W202"] * far


@pytest.mark.parametrize(("x", "y"), [(0.0, 5.0), (5.0, 0.0)])
def test_a_point_on_the_edge_of_the_image_is_not_at_its_corner(x: float, y: float) -> None:
    objects = objects_of([(0, (0, 0, 10, 10))], points=[[x, y, 2, *[0.0] * 21]])
    assert list(check_points(objects, CAR8)) == []


def test_what_is_said_about_a_split() -> None:
    labeled = [[20.0, 20.0, 2.0] * 7 + [0.0] * 3]
    found = list(check_split(objects_of([(3, (10, 10, 20, 20))], points=labeled), CAR8, train=True))
    assert found == [
        Finding(
            "W209",
            "x.json",
            "keypoint right-rear-tire",
            "right-rear-tire must be labeled in at least 5% of the objects with keypoints, got 0 of 1",
            "label it, or remove it from the skeleton: too few to learn it or to evaluate it",
        ),
        Finding(
            "W210",
            "x.json",
            "images",
            "images must have an annotation each, got 5 of 6 without: 0.jpg, 1.jpg, 2.jpg, 4.jpg, 5.jpg",
            "label their objects, if any: RTMDet trains on them as background; RTMPose does not use them",
        ),
        Finding(
            "W211",
            "x.json",
            "annotations",
            "objects with labeled keypoints must be at least 1600, so that the stock warm-up (1000 iterations in "
            "batches of 32) ends within 20 epochs, got 1",
            "`posetools config` fits warm-up and schedule to the data; the stock recipe keeps the learning rate low",
        ),
    ]
    (six,) = (f for f in check_split(objects_of([]), CAR8, train=False) if f.code == "W210")
    assert six.message.endswith("got 6 of 6 without: 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, ...")


def test_images_whose_objects_break_the_models_are_not_called_empty() -> None:
    objects = objects_of([(i, (10, 10, 20, 20)) for i in range(5)])
    assert places(list(check_split(objects, CAR8, train=False)), "W210") == ["images"]
    document = {"images": [{"id": 0, "file_name": "a", "width": 9, "height": 9}], "annotations": [{}], "categories": []}
    broken = sound_objects(table_from(document, Path("x.json")), CAR8)
    assert list(check_split(broken, CAR8, train=False)) == []


def _named(*names: str) -> list[Finding]:
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(names)]
    document: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}
    return list(check_categories(table_from(document, Path("x.json")), CAR8))


def test_keypoints_that_were_exported_as_objects() -> None:
    (finding,) = _named("Left Front__Bumper", "car", "right-rear-TIRE")
    assert finding == Finding(
        "W213",
        "x.json",
        "categories",
        "categories must be objects ('car'), not keypoints, got ['Left Front__Bumper', 'right-rear-TIRE']",
        "convert its source instead (`posetools convert LABELME_FOLDER --out DATA`), which keeps points as keypoints "
        "of one category: the tool that wrote this file made each point an object with a box of one pixel",
    )
    # Names in another language are recognized by their number: the keypoints and the object.
    (finding,) = _named(*"abcdefghi")
    assert finding.message == f"categories must be objects ('car'), not keypoints, got {list('abcdefghi')}"
    assert _named(*"abcdefgh") == []
    assert _named(*"abcdefghij") == []
    assert _named("car", "left-front-bumper") == []


@pytest.mark.parametrize(("points", "found"), [(1, 0), (2, 1)])
def test_skeletons_of_very_few_points(points: int, found: int) -> None:
    """One point and its object are two categories, as many as any two kinds of objects."""
    categories = [{"id": i, "name": name} for i, name in enumerate("abc"[: points + 1])]
    document = {"images": [], "annotations": [], "categories": categories}
    skeleton = Skeleton.model_validate(
        {
            "name": "ball",
            "category": {"name": "ball"},
            "keypoints": [{"name": f"point {i}"} for i in range(points)],
            "sigmas": [0.05] * points,
            "joint_weights": [1.0] * points,
        }
    )
    assert len(list(check_categories(table_from(document, Path("x.json")), skeleton))) == found


def _seen(*visibilities: int) -> SoundObjects:
    return objects_of([(0, (10, 10, 20, 20))], points=[[v for value in visibilities for v in (15.0, 15.0, value)]])


@pytest.mark.parametrize(
    ("splits", "found"),
    [
        ([_seen(*[0] * 8)], 0),
        ([_seen(*[0] * 6, 2, 2)], 1),
        ([_seen(*[0] * 6, 1, 2)], 0),
        ([_seen(*[2] * 8), _seen(*[0] * 7, 1)], 0),
        ([_seen(*[1] * 8)], 0),
    ],
)
def test_hidden_points_are_missed_in_the_whole_set_only(splits: list[SoundObjects], found: int) -> None:
    every = check_whole(Path("data"), {str(i): objects for i, objects in enumerate(splits)})
    message = "visibility must be 1 for labeled but occluded points, got only 0 and 2 in the whole data set"
    hint = "label occluded points whose place you can guess, and mark them occluded; RTMPose learns them too"
    assert [finding for finding in every if finding.code == "W208"] == [
        Finding("W208", "data", "", message, hint)
    ] * found


def test_what_is_said_about_boxes_of_one_size() -> None:
    small = objects_of([(0, (10, 10, 20, 20))], areas=[400])
    (finding,) = check_whole(Path("data"), {"train": small, "val": small})
    assert finding == Finding(
        "W212",
        "data",
        "",
        "area must be of more than one of COCO's size classes (32^2 and 96^2 apart), got only small objects",
        "ignore AP (medium) and AP (large): they cannot be computed (n/a; COCO's tools print -1)",
    )
    large = objects_of([(0, (10, 10, 20, 20))], areas=[1e4])
    assert list(check_whole(Path("data"), {"train": small, "val": large})) == []


def test_nothing_is_said_about_nothing() -> None:
    empty = objects_of([])
    assert list(check_boxes(empty)) == []
    assert list(check_points(empty, CAR8)) == []
    assert list(check_whole(Path("data"), {"train": empty})) == []
    assert np.array_equal(empty.keypoints, np.zeros((0, 8, 3)))
