"""The help page of every command fits the terminal and keeps each name, value and choice whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
import typer

from posetools.cli.commands import COMMANDS
from tests.cli.run import Done, run
from tools.docs_pages import commands, option_names, parameters_of


def _pages() -> Iterator[list[str]]:
    yield []
    for command in COMMANDS:
        yield [command.name]
        loaded = command.load()
        if isinstance(loaded, typer.Typer):
            yield from ([command.name, each.callback.__name__] for each in loaded.registered_commands if each.callback)


def _help(monkeypatch: pytest.MonkeyPatch, words: list[str], width: int) -> Done:
    monkeypatch.setenv("COLUMNS", str(width))
    done = run(*words, "--help")
    assert (done.status, done.err) == (0, "")
    return done


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("words", list(_pages()), ids=" ".join)
def test_no_line_is_wider_than_the_terminal_and_no_word_is_cut(
    monkeypatch: pytest.MonkeyPatch, words: list[str], width: int
) -> None:
    done = _help(monkeypatch, words, width)
    assert [line for line in done.out.splitlines() if len(line) > width] == []
    assert "…" not in done.out
    # No word is broken: every width has the same words.
    assert done.words == _help(monkeypatch, words, 200).words


@pytest.mark.parametrize(("name", "command"), [(name, command) for _, name, command in commands()])
def test_every_option_is_whole_on_its_own_line(monkeypatch: pytest.MonkeyPatch, name: str, command: Any) -> None:
    heads = [re.split(r" {2,}", line.strip())[0] for line in _help(monkeypatch, name.split(), 80).out.splitlines()]
    found = 0
    for parameter, kind, info in parameters_of(command):
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        value = info.metavar or "|".join(choices)
        if isinstance(info, typer.models.ArgumentInfo):
            assert (info.metavar or parameter.name.upper()).strip("[]") in heads
            continue
        for each in (part for declared in option_names(parameter, info) for part in declared.split("/")):
            pattern = rf"(?:.*(?<![\w-]))?{re.escape(each)}(?![\w-]).*{re.escape(value)}"
            assert any(re.fullmatch(pattern, head) for head in heads), f"{each} {value}"
            found += 1
    assert found or name in ("rescue", "skeleton check")


def test_a_default_ends_the_text_of_its_option(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        "  --val FLOAT   Fraction of images for validation; 0: all for training. Default: 0.1."
        in _help(monkeypatch, ["split"], 100).out.splitlines()
    )
    assert (
        "--images / --no-images Check the image files too. Default: --images."
        in _help(monkeypatch, ["validate"], 100).words
    )


def test_a_required_option_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "-o, --out DIR Output folder. Required." in _help(monkeypatch, ["convert"], 80).words
