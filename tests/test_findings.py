"""The order of findings, whatever their places are called."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetools.findings import Finding, sort_findings


def test_numbers_are_sorted_by_value_and_what_is_no_number_stays_text() -> None:
    # Superscripts are digits to Python, but no int; neither are thousands of digits.
    places = ["shapes[9]", "shapes[10]", "shapes[1²]", "shapes[" + "9" * 5000 + "]", "shapes[2]"]
    found = sort_findings(Finding("E101", "a.json", place, "x") for place in places)
    assert [finding.place for finding in found if len(finding.place) < 12 and "²" not in finding.place] == [
        "shapes[2]",
        "shapes[9]",
        "shapes[10]",
    ]
    assert len(found) == 5


_PLACES = st.lists(st.text(alphabet="a9 10[](:é²٣", max_size=8), max_size=6)


@given(files=_PLACES, places=_PLACES)
def test_the_order_is_that_of_parts_compared_one_by_one(files: list[str], places: list[str]) -> None:
    found = [Finding(code, file, place, "x") for code in ("W201", "E101") for file in files for place in places]
    expected = sorted(found, key=lambda one: (_parts(one.file), _parts(one.place), one.code, one.message))
    assert list(sort_findings(found)) == expected


def _parts(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


@pytest.mark.parametrize(
    ("place", "message", "where"),
    [
        ("line 1", "line 1 must be 7 values, got 5", "a.csv"),
        ("image[0] (a.jpg): line 1", "line 1 must be 7 values, got 5", "a.csv: image[0] (a.jpg)"),
        ("image[0] (a.jpg): box[2].xtl", "xtl must be a number, got 'x'", "a.csv: image[0] (a.jpg): box[2]"),
        ("shapes[1].label", "the label must be a text", "a.csv: shapes[1].label"),
        ("imageWidth", "imageWidth must be positive", "a.csv"),
    ],
)
def test_a_place_is_said_once(place: str, message: str, where: str) -> None:
    assert Finding("E311", "a.csv", place, message).where == where
