"""The error classes: their texts, and their exit statuses."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from posetools.core.findings import Finding
from posetools.datasets.io import ReadError
from posetools.errors import (
    InputError,
    MissingExtraError,
    OutputError,
    Place,
    PosetoolsError,
    RequestError,
    RunError,
    StoppedError,
    from_validation,
    join_place,
    must_be,
    printable,
    printable_lines,
    show_value,
)


def test_input_error_names_file_place_rule_value_and_hint() -> None:
    error = InputError("a/b.json", "shapes[3]", must_be("label", "a text", 7), hint="give it a label")
    assert str(error) == "a/b.json: shapes[3]: label must be a text, got 7\n  fix: give it a label"
    assert (error.path, error.place, error.problem, error.hint) == (
        Path("a/b.json"),
        "shapes[3]",
        "label must be a text, got 7",
        "give it a label",
    )


def test_details_are_lines_without_a_label() -> None:
    error = RequestError("a.json: is refused", "and b.json", "nothing was written", hint=("do this", "", "or that"))
    assert str(error).splitlines() == [
        "a.json: is refused",
        "  and b.json",
        "  nothing was written",
        "  fix: do this",
        "       or that",
    ]
    assert error.in_one_line == "a.json: is refused; and b.json; nothing was written; do this; or that"
    assert str(RequestError("a.json: is refused")) == "a.json: is refused"


def test_how_a_stopped_run_continues_is_no_fix() -> None:
    way = "posetools train --resume continues from there"
    assert str(StoppedError("stopped", way=way)) == f"stopped\n  {way}"
    failed = RunError("failed", "a.pth is kept", hint="use a smaller batch", way=way)
    assert str(failed) == f"failed\n  a.pth is kept\n  fix: use a smaller batch\n       {way}"
    assert (failed.advice, failed.way) == (("use a smaller batch",), way)


@pytest.mark.parametrize(
    "error",
    [
        InputError("a.json", Place.entry("images", 2), "id must be 1", "and 2 more", hint="number from 1"),
        RequestError("no", "more", hint="yes"),
        MissingExtraError("posetools train", "train", "mmpose"),
        RunError("failed", "kept", hint="try", way="resume"),
        StoppedError("stopped", way="resume"),
        ReadError([Finding("E309", "a.txt", "line 1", "must be a line", "write one")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_another_process_is_the_same(error: PosetoolsError) -> None:
    error.exit_status = 7
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(same) is type(error) and str(same) == str(error) and vars(same) == vars(error)


def test_input_error_of_a_whole_file_has_no_place() -> None:
    assert str(InputError(Path("b.json"), "", "cannot be read")) == "b.json: cannot be read"


def test_missing_extra_names_the_install_command() -> None:
    text = str(MissingExtraError("posetools train", "train", "mmpose"))
    assert text.startswith("posetools train needs the 'train' extra (mmpose is not installed)\n")
    assert "uv sync --extra train" in text


@pytest.mark.parametrize(
    ("kind", "status"),
    [(InputError, 2), (RequestError, 2), (MissingExtraError, 2), (OutputError, 2), (RunError, 1), (StoppedError, 130)],
)
def test_every_error_is_a_posetools_error_with_an_exit_status(kind: type[PosetoolsError], status: int) -> None:
    assert issubclass(kind, PosetoolsError)
    assert kind.exit_status == status


def test_long_values_are_cut() -> None:
    assert show_value("x" * 200) == "'" + "x" * 76 + "..."
    assert len(show_value(list(range(1000)))) == 80
    assert show_value([1]) == "[1]"


@pytest.mark.parametrize(
    ("parts", "place"),
    [((), ""), (("a",), "a"), (("shapes", 3, "points", 0, 1), "shapes[3].points[0][1]"), ((2, "x"), "[2].x")],
)
def test_places(parts: tuple[str | int, ...], place: str) -> None:
    assert join_place(parts) == place


ENTRY = Place.entry("annotations", 3, "id 7", "a.jpg")
BOX = Place.within("image[0] (a.jpg)", "box[2]")


@pytest.mark.parametrize(
    ("place", "text", "parts"),
    [
        (Place.entry("images", 2), "images[2]", {"kind": "images", "position": 2}),
        (ENTRY, "annotations[3] (id 7, a.jpg)", {"kind": "annotations", "position": 3, "about": ("id 7", "a.jpg")}),
        (BOX, "image[0] (a.jpg): box[2]", {"outer": "image[0] (a.jpg)", "inner": "box[2]", "parts": (), "kind": ""}),
        (Place.field(BOX, "xtl"), "image[0] (a.jpg): box[2].xtl", {"outer": BOX, "inner": "xtl"}),
        (
            Place.within("line 1", "box[2]", "box[3]"),
            "line 1: box[2], box[3]",
            {"inner": "box[2], box[3]", "parts": ("line 1: box[2]", "line 1: box[3]")},
        ),
        (Place.several(ENTRY), str(ENTRY), {"kind": "annotations"}),
        (Place.several(Place.several("a", "b"), BOX), f"a, b, {BOX}", {"parts": ("a", "b", BOX), "inner": ""}),
    ],
)
def test_a_place_is_its_text_and_its_parts(place: Place, text: str, parts: dict[str, object]) -> None:
    for one in (place, pickle.loads(pickle.dumps(place)), copy.deepcopy(place)):
        assert one == text == str(one) and json.dumps(one) == json.dumps(text)
        assert {name: getattr(one, name) for name in parts} == parts


class _Model(BaseModel):
    model_config = ConfigDict(strict=True)
    rows: list[int]

    @model_validator(mode="after")
    def _not_empty(self) -> _Model:
        if not self.rows:
            raise ValueError("rows must be at least one number, got none")
        return self


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"rows": [1, "x", None]}, "f: rows[1]: input should be a valid integer, got 'x'\n  and 1 more problem in"),
        ({"rows": ["x", "x", "x"]}, "and 2 more problems in this file"),
        ({"rows": []}, "f: rows must be at least one number, got none"),
    ],
)
def test_pydantic_errors_become_file_place_rule_value(document: object, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _Model.model_validate(document)
    assert text in str(from_validation("f", caught.value))


def test_a_value_nested_too_deeply_is_cut() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    assert must_be("id", "an integer", value) == f"id must be an integer, got {'[' * 77}..."


@pytest.mark.parametrize("make", [list, tuple, lambda pair: dict(enumerate(pair))])
def test_the_work_for_a_value_that_repeats_itself_is_bounded(make: Callable[[list[object]], object]) -> None:
    value: object = "lol"
    for _ in range(200):
        value = make([value, value])
    assert len(show_value(value)) == 80


@pytest.mark.parametrize(
    "value", [{}, [], (), set(), [1, [2.5, "x"]], (1,), ((),), {"a": (True, None)}, {3}, {"it's": b"\n"}, -7, range(9)]
)
def test_a_short_value_is_shown_as_python_writes_it(value: object) -> None:
    assert show_value(value) == repr(value)


def test_a_number_that_python_does_not_write_is_shown_by_its_size() -> None:
    assert show_value([1 << 80_000]) == "[a number of 80001 bits]"


OBEYED = "\n\r\t\0\x1b\x7f\x85\x9b\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069\ud800\udcff"


def test_what_is_obeyed_rather_than_shown_is_escaped() -> None:
    for character in OBEYED:
        shown = printable(f"a{character}b")
        assert shown == f"a{character.encode('unicode_escape').decode()}b"
        assert shown.isprintable() and shown.isascii()
    assert printable("für Öl, 車 🚗, a\\b") == "für Öl, 車 🚗, a\\b"
    assert len(printable("x" * 1_000_000)) == 10_000


def test_only_an_indented_line_of_a_message_is_a_line() -> None:
    error = InputError("a\n  fix: b.json", "shapes[0]\nerrors: 0", "label must be\nshort", hint=("do this", "or that"))
    assert printable_lines(str(error)).split("\n") == [
        "a\\n  fix: b.json: shapes[0]\\nerrors: 0: label must be\\nshort",
        "  fix: do this",
        "       or that",
    ]
    assert printable_lines("a\nb: gone\n  fix: c\nd") == "a\\nb: gone\n  fix: c\\nd"


@pytest.mark.parametrize(
    ("place", "problem", "shown"),
    [
        ("line 1", "line 1 must be an image", ""),
        ("train", "train must be a folder", ""),
        ("train[1]", "train must be a folder", "train[1]"),
        (Place.within("tasks[0]", "image"), "image must be an existing image", "tasks[0]"),
        (Place.within("tasks[0]", "image"), "tasks[0]: image must be an existing image", ""),
        ("line 1", "line 12 must be an image", "line 1"),
        ("shapes[3]", "points must be 2 numbers", "shapes[3]"),
        ("", "must be a file", ""),
    ],
)
def test_a_place_is_said_once(place: str, problem: str, shown: str) -> None:
    where = f"a.txt: {shown}" if shown else "a.txt"
    assert str(InputError("a.txt", place, problem)) == f"{where}: {problem}"
    finding = Finding("E309", "a.txt", place, problem)
    assert finding.where == where and finding.place == place
