"""Which points belong to which rectangle: groups, containment and ambiguity; nothing is ever lost."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posetools.core.categories import Categories
from posetools.core.findings import Severity
from posetools.core.skeleton import load_skeleton
from posetools.formats.joining.objects import FileShapes
from posetools.formats.joining.shape_labels import Labels
from posetools.formats.joining.wording import ShapeReport
from posetools.formats.labelme.model import AnyShape, Document, QuickShape, Shape, parse_document
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult
from tests.formats.labelme.test_labelme import Json, box, codes, document, message, point, read, visibility

CAR8 = load_skeleton("car8")
LFT, LRT = "left-front-tire", "left-rear-tire"
OUTER, INNER = box(0, 0, 200, 200), box(50, 50, 100, 100)


def labeled(result: ReadResult) -> list[dict[str, int]]:
    return [visibility(result.dataset, row) for row in range(len(result.dataset))]


def test_points_in_two_boxes_go_where_they_must(tmp_path: Path) -> None:
    """The inner box can own neither a second tire nor the point that only the outer one contains."""
    shapes = [OUTER, INNER, point(LFT, 60, 60), point(LFT, 9, 9), point(LRT, 150, 60)]
    result = read(tmp_path, *shapes)
    assert labeled(result) == [{LFT: 2, LRT: 2}, {LFT: 2}]
    assert result.dataset.keypoints[0, CAR8.index[LFT]].tolist() == [9, 9, 2]
    assert codes(result) == [("W321", "shapes[2]")]
    assert "shapes[2] (left-front-tire) is in shapes[1] and shapes[0] and was assigned to shapes[1]" in message(result)


def test_a_point_that_two_boxes_could_own_is_refused(tmp_path: Path) -> None:
    result = read(tmp_path, OUTER, INNER, point(LFT, 60, 60), point(LRT, 150, 60))
    assert labeled(result) == [{LRT: 2}, {}]
    assert codes(result) == [("E304", "shapes[2]")]
    assert "shapes[1] and shapes[0] contain it" in message(result)


def test_points_of_a_group_join_the_only_free_box_around_them(tmp_path: Path) -> None:
    """A rectangle whose group was forgotten is one object, not two, also with boxes from points."""
    near = point(LRT, 60, -4, 3)
    for options in ({}, {"box_from": "keypoints"}):
        result = read(tmp_path, box(0, 0, 100, 100), point(LFT, 9, 9, 3), near, **options)
        assert labeled(result) == [{LFT: 2, LRT: 2}] and result.dataset.boxes.tolist() == [[0, 0, 100, 100]]
        assert codes(result) == [("W330", "shapes[0], shapes[1], shapes[2]")]


def test_a_box_with_a_loose_point_takes_no_group(tmp_path: Path) -> None:
    shapes = [box(0, 0, 100, 100), point(LFT, 9, 9), point(LRT, 60, 60, 5)]
    result = read(tmp_path, *shapes)
    assert labeled(result) == [{LFT: 2}] and codes(result) == [("E306", "shapes[2]")]


@pytest.mark.parametrize(
    "shapes",
    [
        pytest.param([box(0, 0, 100, 100), point(LFT, 9, 9, 3), point(LRT, 60, -40, 3)], id="sticks out too far"),
        pytest.param([box(100, 100, 200, 200), point(LFT, 120, 60, 3), point(LRT, 180, 97, 3)], id="by its margin"),
        pytest.param([OUTER, INNER, point(LFT, 60, 60, 3), point(LRT, 70, 70, 3)], id="two free boxes"),
        pytest.param([INNER, point(LFT, 60, 60, 3), point(LFT, 70, 70, 4)], id="two groups for one box"),
    ],
)
def test_no_second_box_is_made_beside_a_free_one(tmp_path: Path, shapes: list[Json]) -> None:
    for options in ({}, {"box_from": "keypoints"}):
        result = read(tmp_path, *shapes, **options)
        assert {code for code, _ in codes(result)} == {"E304"}
        assert len(result.dataset) == sum(shape["shape_type"] == "rectangle" for shape in shapes)
        assert "give both the same group_id" in message(result)


@pytest.mark.parametrize(
    ("margin", "made"), [(0.0, True), (0.7, False)], ids=["beside the free box", "over the free box"]
)
def test_the_box_that_would_be_made_decides(tmp_path: Path, margin: float, made: bool) -> None:
    """Points next to a free box get their own box, unless that box, with its margin, overlaps the free one."""
    shapes = [box(60, 0, 99, 50), point(LFT, 9, 9, 3), point(LRT, 40, 30, 3)]
    result = read(tmp_path, *shapes, box_from="keypoints", box_margin=margin)
    assert (len(result.dataset), codes(result)) == ((2, []) if made else (1, [("E304", "shapes[1], shapes[2]")]))


def test_boxes_from_points_are_not_recommended_beside_a_free_box(tmp_path: Path) -> None:
    result = read(tmp_path, box(60, 60, 99, 99), point(LFT, 9, 9, 3), point(LRT, 20, 30, 3))
    assert codes(result) == [("E304", "shapes[1], shapes[2]")]
    assert "shapes[0] has no points and may be theirs" in message(result) and "--box-from" not in message(result)


def test_a_point_just_outside_the_only_box_is_its_own(tmp_path: Path) -> None:
    result = read(tmp_path, box(0, 0, 100, 50), point(LFT, 104, 30), point(LRT, 9, 9))
    assert labeled(result) == [{LFT: 2, LRT: 2}] and codes(result) == [("W327", "shapes[1]")]
    assert "shapes[1] (left-front-tire) is 4 px (4.0% of its side) outside shapes[0]" in message(result)


@pytest.mark.parametrize(
    ("shapes", "place"),
    [
        pytest.param([box(0, 0, 100, 50), point(LFT, 111, 30)], "shapes[1]", id="more than a tenth of its width"),
        pytest.param([box(0, 0, 100, 50), point(LFT, 50, 56)], "shapes[1]", id="more than a tenth of its height"),
        pytest.param([box(0, 0, 100, 50), box(108, 0, 190, 50), point(LFT, 104, 30)], "shapes[2]", id="two boxes"),
        pytest.param([box(0, 0, 100, 50), point(LFT, 9, 9), point(LFT, 104, 30)], "shapes[2]", id="name is taken"),
        pytest.param([box(0, 0, 100, 50), point(LFT, 104, 9), point(LFT, 104, 30)], "shapes[1], shapes[2]",
                     id="two points of that name"),
    ],
)  # fmt: skip
def test_other_points_outside_are_one_finding(tmp_path: Path, shapes: list[Json], place: str) -> None:
    assert codes(read(tmp_path, *shapes)) == [("E303", place)]


def test_drawing_order_is_covered_by_containment(tmp_path: Path) -> None:
    result = read(tmp_path, box(0, 0, 50, 50), point(LFT, 9, 9), box(60, 0, 99, 50), point(LFT, 70, 9))
    assert labeled(result) == [{LFT: 2}, {LFT: 2}]
    assert codes(result) == []


def test_a_point_without_group_joins_a_box_with_one(tmp_path: Path) -> None:
    result = read(tmp_path, box(0, 0, 50, 50, 0), point(LFT, 9, 9, 0), point(LRT, 19, 9))
    assert labeled(result) == [{LFT: 2, LRT: 2}] and codes(result) == []


def test_groups_may_leave_their_box(tmp_path: Path) -> None:
    result = read(tmp_path, box(0, 0, 50, 50, 0), point(LFT, 90, 90, 0))
    assert labeled(result) == [{LFT: 2}] and codes(result) == []


@pytest.mark.parametrize(
    ("shapes", "expected", "part"),
    [
        pytest.param([OUTER, point(LFT, 250, 9)], [("E303", "shapes[1]")],
                     "must be in a rectangle labeled 'car', or joined with one, got [250.0, 9.0]", id="outside"),
        pytest.param([INNER, INNER, point(LFT, 60, 60)], [("E304", "shapes[2]")],
                     "shapes[0] and shapes[1] contain it", id="two equal boxes"),
        pytest.param([OUTER, INNER, point(LFT, 60, 60), point(LFT, 70, 70)],
                     [("E304", "shapes[2], shapes[3]")],
                     "shapes[1] and shapes[0] contain them",
                     id="two for one box, another could be meant"),
        pytest.param([OUTER, box(50, 50, 100, 100, 4), point(LFT, 60, 60, 4), point(LFT, 70, 70)],
                     [("W321", "shapes[3]")], "was assigned to shapes[0]", id="name taken by a grouped point"),
        pytest.param([INNER, point(LFT, 60, 60), point(LFT, 70, 70)], [("E305", "shapes[1], shapes[2]")],
                     "left-front-tire must be at most one point of an object, got '2 points'", id="twice in one box"),
        pytest.param([box(50, 50, 100, 100, 4), point(LFT, 60, 60, 4), point(LFT, 70, 70)], [("E305", "shapes[2]")],
                     "got 'another one in shapes[1]'", id="one too many for the only box"),
        pytest.param([OUTER, INNER, point(LFT, 60, 60), point(LFT, 70, 70), point(LFT, 9, 9)],
                     [("E305", "shapes[2], shapes[3]")], "got '2 points'", id="outer box has its own"),
        pytest.param([OUTER, INNER | {"label": "bus"}, point(LFT, 60, 60)],
                     [("E301", "shapes[1], shapes[2]")], "got 'bus'",
                     id="smallest box has an unknown label"),
        pytest.param([OUTER, INNER | {"points": [[1, float("nan")], [5, 5]]}, point(LFT, 60, 60)],
                     [("E311", "shapes[1].points[0], shapes[2]")], "1 point that depends on it is not read either",
                     id="the extent of a broken box is unknown"),
        pytest.param([OUTER, box(50, 50, 100, 100, 1), box(0, 0, 9, 9, 1), point(LFT, 60, 60)],
                     [("E307", "shapes[1], shapes[2], shapes[3]")], "1 point that depends on it is not read either",
                     id="the smallest box shares its group"),
        pytest.param([OUTER, INNER | {"label": "dirt"}, point(LFT, 60, 60)], [("E304", "shapes[2]")],
                     "shapes[1], the smallest, is left out on purpose", id="an ignored box is the smallest"),
    ],
)  # fmt: skip
def test_ambiguous_points_are_reported(
    tmp_path: Path, shapes: list[Json], expected: list[tuple[str, str]], part: str
) -> None:
    result = read(tmp_path, *shapes, ignore=frozenset({"dirt"}))
    assert sorted(codes(result)) == sorted(expected)
    assert part in message(result)
    if "E304" in dict(expected):
        assert "give both the same group_id" in message(result)


def test_points_of_an_ignored_box_are_counted_with_it(tmp_path: Path) -> None:
    shapes = [box(0, 0, 50, 50), box(60, 0, 99, 50) | {"label": "bus"}, point(LFT, 70, 9), point(LRT, 9, 9)]
    result = read(tmp_path, *shapes, ignore=frozenset({"bus"}))
    assert result.ignored == {"bus": 1, LFT: 1}
    assert labeled(result) == [{LRT: 2}] and codes(result) == []


def test_a_broken_point_is_lost_alone(tmp_path: Path) -> None:
    shapes = [box(0, 0, 50, 50, 0), point(LFT, 9, 9, 0), point(LRT, 9, 9, 0) | {"points": [[9, "x"]]}]
    result = read(tmp_path, *shapes)
    assert labeled(result) == [{LFT: 2}] and codes(result) == [("E311", "shapes[2].points[0]")]


def test_a_broken_box_loses_its_points_but_no_other_object(tmp_path: Path) -> None:
    shapes = [box(0, 0, 50, 50, 0) | {"points": []}, point(LFT, 9, 9, 0), box(0, 0, 50, 50, 1), point(LFT, 9, 9, 1)]
    result = read(tmp_path, *shapes, box_from="keypoints")
    assert labeled(result) == [{LFT: 2}]
    assert codes(result) == [("E311", "shapes[0].points, shapes[1]")]
    assert "; 1 point that depends on it is not read either" in message(result)


# What a mutation replaces a value with, or adds.
JUNK: list[Any] = [None, 0, -1, 3.5, float("nan"), 1e300, "", "car", LFT, "bus", [], {}, [[1, 2]], [["a", 2]], True]


@st.composite
def documents(draw: st.DrawFn) -> Json:
    """A file of some boxes and points, with some values replaced, deleted or doubled."""
    groups = st.one_of(st.none(), st.integers(0, 2))
    side = st.integers(-20, 300)
    shapes: list[Json] = []
    for _ in range(draw(st.integers(0, 8))):
        if draw(st.booleans()):
            made = box(draw(side), draw(side), draw(side), draw(side), draw(groups))
            (x1, y1), (x2, y2) = made["points"]
            if draw(st.integers(0, 3)) == 0:
                made |= {"shape_type": "polygon", "points": [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]}
            shapes.append(made)
        else:
            name = draw(st.sampled_from([LFT, LRT, "left-front-bumper"]))
            x, y = draw(st.tuples(st.integers(0, 300), st.integers(0, 300)))
            shapes.append(point(name, x, y, draw(groups)))
    for _ in range(draw(st.integers(0, 3)) if shapes else 0):
        shape = draw(st.sampled_from(shapes))
        key = draw(st.sampled_from(["label", "points", "group_id", "shape_type", "flags", "extra"]))
        if draw(st.booleans()):
            shape[key] = draw(st.sampled_from(JUNK))
        else:
            shape.pop(key, None)
    if draw(st.booleans()) and shapes:
        shapes.insert(draw(st.integers(0, len(shapes))), draw(st.sampled_from(JUNK)))
    return document(*shapes)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(content=documents(), ignore=st.sets(st.sampled_from(["bus", "car", LFT, ""])))
def test_every_shape_is_read_or_reported_or_counted(content: Json, ignore: set[str]) -> None:
    parsed = parse_document(json.dumps(content).encode(), "a.json")
    assert isinstance(parsed, Document)
    options = ReadOptions(ignore=frozenset(ignore))
    shapes = FileShapes(
        (320, 240), Categories.of(CAR8), Labels.of(Categories.of(CAR8), options), options, ShapeReport("a.json")
    )
    rows = shapes.read(parsed.shapes)
    reported = [
        int(index)
        for finding in shapes.report.findings
        if finding.severity is Severity.ERROR
        for index in re.findall(r"shapes\[(\d+)\]", finding.place)
    ]
    assert len(reported) == len(set(reported)), "no shape is reported twice"
    points = sum(v > 0 for row in rows for _, _, v in row.keypoints)
    doubles = [
        int(index)
        for finding in shapes.report.findings
        if "outlines of objects" in finding.message
        for index in re.findall(r"shapes\[(\d+)\]", finding.place)
        if f"shapes[{index}]" not in {row.place for row in rows}
    ]
    assert len(rows) + points + len(reported) + shapes.ignored.total() + len(doubles) == len(content["shapes"])
    assert all(x1 < x2 and y1 < y2 for (x1, y1, x2, y2) in (row.box for row in rows))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(content=documents())
def test_the_fast_way_refuses_what_the_thorough_way_refuses(content: Json) -> None:
    quick = parse_document(json.dumps(content).encode(), "a.json")
    # One more shape, a wrong one, forces the full reader for all the others.
    thorough = parse_document(json.dumps({**content, "shapes": [*content["shapes"], 0]}).encode(), "a.json")
    assert isinstance(quick, Document) and isinstance(thorough, Document)
    assert [_fields(shape) for shape in quick.shapes] == [_fields(shape) for shape in thorough.shapes[:-1]]
    assert not any(isinstance(shape, QuickShape) for shape in thorough.shapes)


def _fields(shape: AnyShape) -> dict[str, object]:
    return {name: getattr(shape, name, None) for name in (*Shape.model_fields, "problem", "field")}
