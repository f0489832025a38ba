"""The error tree: texts, and the exit status each kind stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from posetools.errors import (
    InputError,
    MissingExtraError,
    OutputError,
    PosetoolsError,
    RequestError,
    RunError,
    StoppedError,
    from_validation,
    join_place,
    must_be,
    show_value,
)


def test_input_error_names_file_place_rule_value_and_hint() -> None:
    error = InputError("a/b.json", "shapes[3]", must_be("label", "a text", 7), hint="give it a label")
    assert str(error) == "a/b.json: shapes[3]: label must be a text, got 7\n  give it a label"
    assert (error.path, error.place, error.problem, error.hint) == (
        Path("a/b.json"),
        "shapes[3]",
        "label must be a text, got 7",
        "give it a label",
    )


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


def test_a_value_nested_too_deeply_is_said_to_be_so() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    assert must_be("id", "an integer", value) == "id must be an integer, got a value nested too deeply to be shown"
