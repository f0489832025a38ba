"""The page that `posetools --help` prints without typer, compared with the real commands."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from typing import Any

import pytest
import typer.main

from posetools import __version__
from posetools.cli.app import app
from posetools.cli.commands import COMMANDS, Command
from posetools.cli.front import OPTIONS, front_page, help_page
from tests.cli.run import run


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_table_says_what_the_commands_say_of_themselves(command: Command) -> None:
    loaded = command.load()
    said = loaded.info.help if isinstance(loaded, typer.Typer) else (inspect.getdoc(loaded) or "").splitlines()[0]
    assert said is not None
    if command.panel:
        assert command.summary == said
    else:
        assert command.summary.rstrip(".") in said


def test_the_options_are_those_of_typer() -> None:
    group: Any = typer.main.get_command(app)
    context = group.make_context("posetools", [], resilient_parsing=True)
    theirs = {(", ".join(sorted(param.opts, key=len)), param.help) for param in group.get_params(context)}
    assert theirs == set(OPTIONS)


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["--help", "convert"]])
def test_help_is_printed_for_either_option(words: list[str]) -> None:
    assert front_page(words) == run(*words).out == help_page()


def test_every_listed_command_has_its_line() -> None:
    listed = [line.split()[0] for line in help_page().splitlines() if line.startswith("  ") and line[2] != " "]
    assert [name for name in listed if not name.startswith("-")] == [each.name for each in COMMANDS if each.panel]


def test_no_command_is_the_help_and_wrong_usage() -> None:
    done = run()
    assert (done.status, done.out, done.err) == (2, help_page(), "")


@pytest.mark.parametrize("words", [["convert"], ["convert", "--help"], ["--nonsense"]])
def test_anything_else_is_for_typer(words: list[str]) -> None:
    assert front_page(words) is None


def test_the_version_is_printed() -> None:
    assert front_page(["--version"]) == run("--version").out == f"posetools {__version__}\n"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("posetools va", ["validate"]),
        ("posetools convert --trust", ["--trust-sizes"]),
        ("posetools skeleton ch", ["check"]),
    ],
)
def test_shells_complete_commands_and_options(typed: str, offered: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['posetools']; from posetools.cli import main; main()"],
        env={
            **os.environ,
            "_POSETOOLS_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split()) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert [line.strip() for line in done.stdout.splitlines()] == offered
