"""Objects that are outlined by other shapes than rectangles, and keypoints drawn as circles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.formats.test_labelme import box, codes, point, read, visibility

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


def test_outlines_beside_rectangles_are_no_second_object(tmp_path: Path) -> None:
    outline = box(0, 0, 9, 9) | {"shape_type": "polygon", "points": TURNED}
    result = read(tmp_path, box(10, 20, 110, 100), outline)
    assert codes(result) == [("E302", "shapes[1]")] and len(result.dataset) == 1
