"""Labels with a visibility or a number after the name: the pattern in the hint reads them when typed."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from posetools.formats.result import ReadResult
from tests.formats.labelme.test_labelme import Json, box, codes, point, read, visibility

NAME = "left-front-tire"


def typed(result: ReadResult, at: int = 0) -> list[str]:
    """Return the patterns in a finding's hint, as a shell would pass them."""
    words = shlex.split(result.findings[at].hint.replace(";", " ; "))
    return [words[i + 1] for i, word in enumerate(words) if word == "--label-pattern"]


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("-occluded", 1), ("_hidden", 1), ("-Occluded", 1), (" (occluded)", 1), ("-visible", 2), (".not-occluded", 2),
        (":1", 1), (":0", 0), (":2", 2), ("_v2", 2), ("_v1", 1), ("-invisible", 1), ("[1]", None), ("/v0", 0),
    ],
)  # fmt: skip
def test_visibility_behind_a_name(tmp_path: Path, ending: str, expected: int | None) -> None:
    shapes = [box(10, 20, 110, 90, 0), point(NAME + ending, 30, 80, 0), point("left-rear-tire", 90, 80, 0)]
    refused = read(tmp_path, *shapes)
    assert codes(refused) == [("E301", "shapes[1]")]
    assert "--map '" not in refused.findings[0].hint
    patterns = typed(refused)
    result = read(tmp_path, *shapes, label_pattern=patterns[0 if expected is not None else 1])
    assert result.findings == ()
    expected = 1 if expected is None else expected
    assert visibility(result.dataset) == {"left-rear-tire": 2} | ({NAME: expected} if expected else {})


@pytest.mark.parametrize(("first", "second"), [("-1", "-2"), ("_1", "_7"), ("1", "12"), (" #3", " #4")])
def test_number_of_the_object(tmp_path: Path, first: str, second: str) -> None:
    shapes: list[Json] = []
    for ending, x in ((first, 10.0), (second, 60.0)):
        shapes += [box(x, 20, x + 100, 90) | {"label": f"car{ending}"}, point(NAME + ending, x + 50, 80)]
    refused = read(tmp_path, *shapes)
    assert {code for code, _ in codes(refused)} == {"E301"} and len(refused.findings) == 4
    result = read(tmp_path, *shapes, label_pattern=typed(refused)[0])
    assert result.findings == ()
    assert [visibility(result.dataset, row) for row in (0, 1)] == [{NAME: 2}, {NAME: 2}]


def test_number_and_visibility(tmp_path: Path) -> None:
    shapes = [box(10, 20, 110, 90) | {"label": "car-1"}, point(f"{NAME}-1-occluded", 30, 80)]
    refused = read(tmp_path, *shapes)
    result = read(tmp_path, *shapes, label_pattern=typed(refused, 1)[0])
    assert result.findings == () and visibility(result.dataset) == {NAME: 1}


@pytest.mark.parametrize("label", ["left-front-tyre", "left-front-tire-rim", "truck-1", "left-front-tire-9z"])
def test_other_labels_keep_their_hint(tmp_path: Path, label: str) -> None:
    refused = read(tmp_path, box(10, 20, 110, 90, 0), point(label, 30, 80, 0))
    assert codes(refused) == [("E301", "shapes[1]")] and not typed(refused) and "--map" in refused.findings[0].hint


@pytest.mark.parametrize("label", [f"{NAME}-occluded", "lft_hidden", f"{NAME}:1"])
def test_a_map_that_loses_the_visibility_is_warned_of_once(tmp_path: Path, label: str) -> None:
    shapes = [box(10, 20, 110, 90, 0), point(label, 30, 80, 0), box(10, 20, 90, 90, 1), point(label, 30, 80, 1)]
    result = read(tmp_path, *shapes, names={label: NAME})
    assert codes(result) == [("W328", "shapes[1], shapes[3]")]
    names = {"lft": NAME} if label.startswith("lft") else {}
    followed = read(tmp_path, *shapes, names=names, label_pattern=typed(result)[0])
    assert followed.findings == () and visibility(followed.dataset, 1) == {NAME: 1}
    assert not names or "--map 'lft=left-front-tire'" in result.findings[0].hint


@pytest.mark.parametrize(
    ("label", "warned"), [("lft", False), (f"{NAME}-visible", False), (f"{NAME}-2", False), ("kp_3", False)]
)
def test_a_map_that_loses_nothing(tmp_path: Path, label: str, warned: bool) -> None:
    result = read(tmp_path, box(10, 20, 110, 90, 0), point(label, 30, 80, 0), names={label: NAME})
    assert bool(result.findings) is warned


def test_a_map_that_loses_the_number(tmp_path: Path) -> None:
    shapes = [box(10, 20, 110, 90) | {"label": "car-1"}, point(NAME, 30, 80)]
    result = read(tmp_path, *shapes, names={"car-1": "car"})
    assert codes(result) == [("W328", "shapes[0]")] and len(typed(result)) == 1
