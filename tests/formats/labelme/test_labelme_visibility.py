"""Visibility in labelme files, in all words that people and programs use for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.formats.labelme.test_labelme import Json, box, codes, message, point, read, visibility

NAME = "left-front-tire"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        *(({"description": text}, 2) for text in ("not occluded", "not hidden", "non-occluded", "unoccluded")),
        *(({"description": text}, 2) for text in ("occluded: false", "occluded=no", "Occluded : 0", "visible")),
        ({"description": "is not hidden"}, 2),
        ({"description": "invisible"}, 1),
        *(({"description": text}, 1) for text in ("occluded: true", "occluded=1", "not visible", "visible: no")),
        *(({"description": text}, 1) for text in ("tree, occluded", "not mine, occluded", "v=1", "visibility: 1")),
        *(({"description": text}, 2) for text in ("v: 2", "half in the sun", "v", "visibility: 2", "10:20")),
        ({"visible": False}, 1),
        ({"visible": True}, 2),
        ({"visible": 0}, 1),
        ({"visible": 1}, 2),
        ({"visible": "no"}, 1),
        ({"occluded": True}, 1),
        ({"occluded": 1}, 1),
        ({"occluded": False}, 2),
        ({"visibility": 2}, 2),
        ({"visibility": 1}, 1),
        ({"visibility": "occluded"}, 1),
        ({"visibility": "visible"}, 2),
        ({"visibility": False}, 1),
        ({"visibility": None, "occluded": None}, 2),
        ({"attributes": {"occluded": True}}, 1),
        ({"attributes": {"visible": False, "color": "red"}}, 1),
        ({"flags": {"visible": False}}, 1),
        ({"flags": {"visible": True, "occluded": False}}, 2),
        ({"flags": {"visible": False, "occluded": True}}, 1),
        ({"flags": {"occluded": False}, "description": "occluded"}, 1),
        *(({"flags": {name: True}}, 1) for name in ("invisible", "not_visible", "Not-Visible")),
        *(({"flags": {name: True}}, 2) for name in ("not_occluded", "unhidden")),
    ],
)  # fmt: skip
def test_each_way_to_say_it(tmp_path: Path, more: Json, expected: int) -> None:
    result = read(tmp_path, box(10, 20, 110, 90, 0), point(NAME, 30, 80, 0, **more))
    assert result.findings == ()
    assert visibility(result.dataset) == {NAME: expected}


@pytest.mark.parametrize("more", [{"visibility": 0}, {"description": "v=0"}, {"attributes": {"visibility": "0"}}])
def test_an_explicit_zero_is_not_labeled(tmp_path: Path, more: Json) -> None:
    result = read(tmp_path, box(10, 20, 110, 90, 0), point(NAME, 30, 80, 0, **more))
    assert result.findings == () and len(result.dataset) == 1
    assert visibility(result.dataset) == {}


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        ({"flags": {"occluded": True}, "visible": True}, ["flag 'occluded' true", "visible true"]),
        ({"flags": {"occluded": True}, "description": "visible"}, ["flag 'occluded' true", "description 'visible'"]),
        ({"flags": {"visible": False, "occluded": False}}, ["flag 'visible' false", "flag 'occluded' false"]),
        ({"occluded": False, "visibility": 1}, ["occluded false and visibility 1"]),
        ({"difficult": True, "description": "not occluded"}, ["difficult true"]),
        ({"description": "not fully occluded"}, ["description 'not fully occluded'"]),
        ({"description": "visible, occluded"}, ["description 'visible, occluded'"]),
        ({"visibility": 3}, ["visibility 3"]),
        ({"visible": 2}, ["visible 2"]),
        ({"occluded": [1]}, ["occluded [1]"]),
    ],
)
def test_two_meanings_are_one_finding_for_all_points(tmp_path: Path, more: Json, parts: list[str]) -> None:
    shapes = [point(name, 30, 80, 0, **more) for name in (NAME, "left-rear-tire")]
    result = read(tmp_path, box(10, 20, 110, 90, 0), *shapes)
    assert codes(result) == [("E311", "shapes[1], shapes[2]")]
    for part in parts:
        assert part in message(result)


def test_word_in_the_label_and_flag_must_agree(tmp_path: Path) -> None:
    shape = point(f"{NAME}-visible", 30, 80, 0, flags={"occluded": True})
    pattern = r"(?P<name>.+)-(?P<visibility>visible|occluded)"
    result = read(tmp_path, box(10, 20, 110, 90, 0), shape, label_pattern=pattern)
    assert codes(result) == [("E311", "shapes[1]")] and "'visible' in the label" in message(result)
