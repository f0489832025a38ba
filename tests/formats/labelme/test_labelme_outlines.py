"""Objects outlined by shapes other than rectangles, and keypoints drawn as circles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.formats.labelme.test_labelme import Json, box, codes, message, point, read, visibility

NAME = "left-front-tire"
TURNED = [[60, 20], [110, 60], [60, 100], [10, 60]]


@pytest.mark.parametrize(
    ("kind", "points", "expected"),
    [
        ("oriented_rectangle", TURNED, [10, 20, 110, 100]),
        ("rotation", TURNED, [10, 20, 110, 100]),
        ("polygon", [[10, 20], [110, 60], [60, 100]], [10, 20, 110, 100]),
        ("mask", [[10, 20], [110, 100]], [10, 20, 110, 100]),
        ("circle", [[60, 60], [90, 100]], [10, 10, 110, 110]),
    ],
)
def test_the_upright_box_around_it(tmp_path: Path, kind: str, points: list[list[float]], expected: list[float]) -> None:
    outline = box(0, 0, 9, 9, 0) | {"shape_type": kind, "points": points}
    circle = point(NAME, 0, 0, 0) | {"shape_type": "circle", "points": [[30, 80], [33, 80]]}
    result = read(tmp_path, outline, circle)
    assert codes(result) == [("W323", "shapes[0]"), ("W324", "shapes[1]")]
    assert result.dataset.boxes.tolist() == [expected] and visibility(result.dataset) == {NAME: 2}


def outline(*points: tuple[float, float], group: int | None = None) -> Json:
    return box(0, 0, 9, 9, group) | {"shape_type": "polygon", "points": list(points)}


BOX = box(0, 0, 100, 100)
# They cover 85 % and 60 % of a box of 100 x 100 px.
ALIKE, HALF = ([(0, 0), (width, 0), (width, 100), (0, 100)] for width in (85, 60))
AWAY = [(200, 0), (250, 0), (250, 50), (200, 50)]


@pytest.mark.parametrize(
    ("shapes", "expected", "boxes"),
    [
        pytest.param([BOX, outline(*ALIKE)], "W323", [BOX], id="of the rectangle that it almost covers"),
        pytest.param([box(0, 0, 100, 100, 4), outline(*HALF, group=4)], "W323", [BOX], id="of the same group"),
        pytest.param([BOX, outline(*HALF)], "E302", [BOX], id="may be another object"),
        pytest.param([BOX, outline(*AWAY)], "W323", [BOX, box(200, 0, 250, 50)], id="another object"),
        pytest.param([BOX, outline(*ALIKE), outline(*ALIKE)], "E302", [BOX], id="two for one rectangle"),
        pytest.param([BOX, box(5, 0, 100, 100), outline(*ALIKE)], "E302", [BOX, box(5, 0, 100, 100)], id="two alike"),
        pytest.param([outline(*HALF, group=1), outline(*AWAY, group=1)], "W323", [box(0, 0, 250, 100)], id="in parts"),
    ],
)
def test_outlines_beside_rectangles(tmp_path: Path, shapes: list[Json], expected: str, boxes: list[Json]) -> None:
    result = read(tmp_path, *shapes)
    assert {code for code, _ in codes(result)} == {expected}
    assert result.dataset.boxes.tolist() == [[*one["points"][0], *one["points"][1]] for one in boxes]


def test_a_box_around_a_keypoint(tmp_path: Path) -> None:
    """Its center is the keypoint, with an option that the error names."""
    shapes = [BOX, box(40, 50, 44, 54) | {"label": NAME}]
    refused = read(tmp_path, *shapes)
    assert codes(refused) == [("E302", "shapes[1]")] and "--keypoints-from categories reads its center" in message(
        refused
    )
    result = read(tmp_path, *shapes, keypoints_from="categories")
    assert codes(result) == [("W324", "shapes[1]")]
    assert result.dataset.keypoints[0, 2].tolist() == [42, 52, 2]
