from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posetools.checks.plausibility import (
    DUPLICATE_IOU,
    check_boxes,
    check_points,
    check_split,
    check_whole,
)
from posetools.checks.structure import SoundObjects, sound_objects
from posetools.findings import Finding
from posetools.formats.coco_repair import OUTSIDE
from posetools.formats.coco_table import table_from
from posetools.formats.coco_write import category_entry
from posetools.geometry import pairwise_iou
from posetools.skeleton import load_skeleton

CAR8 = load_skeleton("car8")
Row = tuple[int, tuple[float, float, float, float]]


def objects_of(
    rows: list[Row], *, points: list[list[float]] | None = None, areas: list[float] | None = None
) -> SoundObjects:
    """Return objects given by picture id and bbox, all in pictures of 100 x 80; points are flat lists of 24."""
    annotations = [
        {
            "id": i + 1,
            "image_id": image,
            "category_id": 1,
            "bbox": list(bbox),
            "area": areas[i] if areas else max(bbox[2] * bbox[3], 2),
            "iscrowd": 0,
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
    assert {(f.place, f.message.split(" than that of ")[1].split(", got")[0]) for f in found} == expected


def test_an_object_that_is_there_a_thousand_times_is_told_so_a_bounded_number_of_times() -> None:
    box = (10.0, 10.0, 20.0, 20.0)
    objects = objects_of([(1, box)] * 1000 + [(1, (60.0, 10.0, 20.0, 20.0)), (2, box)])
    found = [finding for finding in check_boxes(objects) if finding.code == "W205"]
    # Each but the first, and none of the two that are like no other.
    assert {finding.place for finding in found} == {f"annotations[{i}] (id {i + 1})" for i in range(1, 1000)}
    assert max(Counter(finding.place for finding in found).values()) == 20


def test_a_box_may_leave_the_picture_by_a_pixel() -> None:
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
    labelled = [20.0, 20.0, 2.0] * 8
    without_last = [*labelled[:21], 0, 0, 0]
    rows: list[Row] = [(i % 6, (10, 10, 20, 20)) for i in range(40)]
    rare = objects_of(rows, points=[labelled] + [without_last] * 39)
    enough = objects_of(rows, points=[labelled] * 2 + [without_last] * 38)
    assert places(list(check_split(rare, CAR8, train=False)), "W209") == ["keypoint right-rear-tire"]
    assert places(list(check_split(enough, CAR8, train=False)), "W209") == []


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


@pytest.mark.parametrize(("labelled", "warned"), [(1599, True), (1600, False)])
def test_few_iterations_are_fewer_than_the_stock_warm_up_needs(labelled: int, warned: bool) -> None:
    rows: list[Row] = [(i % 6, (10, 10, 20, 20)) for i in range(labelled + 5)]
    points: list[list[float]] = [[20.0, 20.0, 2.0] * 8] * labelled + [[0.0] * 24] * 5
    objects = objects_of(rows, points=points)
    assert bool(places(list(check_split(objects, CAR8, train=True)), "W211")) is warned
    assert places(list(check_split(objects, CAR8, train=False)), "W211") == []


def test_nothing_is_said_about_nothing() -> None:
    empty = objects_of([])
    assert list(check_boxes(empty)) == []
    assert list(check_points(empty, CAR8)) == []
    assert list(check_whole(Path("data"), {"train": empty})) == []
    assert np.array_equal(empty.keypoints, np.zeros((0, 8, 3)))
