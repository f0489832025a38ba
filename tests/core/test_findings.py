"""The table of ways on, and the order of findings, whatever their places are called."""

from __future__ import annotations

import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetools.core.findings import RULES, Finding, sort_findings
from posetools.errors import Place
from tests.hints import ROOT, errors_of
from tools.schemas import WAYS_ON


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
        (Place.within("image[0] (a.jpg)", "line 1"), "line 1 must be 7 values, got 5", "a.csv: image[0] (a.jpg)"),
        (
            Place.field(Place.within("image[0] (a.jpg)", "box[2]"), "xtl"),
            "xtl must be a number, got 'x'",
            "a.csv: image[0] (a.jpg): box[2]",
        ),
        (Place.field(Place.field("shapes[1]", "value"), "x"), "x must be a number", "a.csv: shapes[1].value"),
        (Place.field(Place.field("shapes[1]", "xy"), "cx"), "xy.cx must be a number", "a.csv: shapes[1].xy.cx"),
        (Place.field("shapes[1]", "label"), "the label must be a text", "a.csv: shapes[1].label"),
        ("imageWidth", "imageWidth must be positive", "a.csv"),
    ],
)
def test_a_place_is_said_once(place: str, message: str, where: str) -> None:
    assert Finding("E311", "a.csv", place, message).where == where


def test_each_error_that_stops_a_conversion_has_a_way_on_and_no_other_has() -> None:
    raised = errors_of("convert")
    assert sorted(WAYS_ON) == sorted(raised), {code: sorted(raised.get(code, ())) for code in raised.keys() ^ WAYS_ON}
    assert set(WAYS_ON) <= set(RULES)


def test_a_way_on_is_an_option_or_something_to_do_or_why_there_is_none() -> None:
    verbs = ("Add", "Correct", "Delete", "Draw", "Export", "Give", "Label", "Replace", "Rotate", "Use", "Write")
    starts = ("`--", "Cannot be read, because ", *(f"{verb} " for verb in verbs))
    assert not {code: way for code, way in WAYS_ON.items() if not way.startswith(starts) or not way.endswith(".")}


def test_every_error_of_a_reader_says_what_to_do() -> None:
    silent = []
    for path in sorted((ROOT / "formats").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "Finding":
                continue
            code = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else "E"
            told = len(call.args) > 4 or any(isinstance(each, ast.Starred) for each in call.args)
            if str(code).startswith("E") and not told and "hint" not in {each.arg for each in call.keywords}:
                silent.append(f"{path.name}:{call.lineno}")
    assert not silent
