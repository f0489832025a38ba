"""The page that `posetools --help` prints without typer: held to what typer would print, and to the commands."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from posetools import __version__
from posetools.cli.app import app
from posetools.cli.commands import COMMANDS, Command
from posetools.cli.front import OPTIONS, SETTINGS, front_page, help_page
from tests.cli.run import run

_COLORS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(autouse=True)
def _usual(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")


def _of_typer(width: int) -> list[str]:
    # Without the terminal that pytest may have, and without the environment that was read when typer was loaded.
    done = CliRunner().invoke(app, ["--help"], prog_name="posetools", env={"COLUMNS": str(width)})
    assert done.exit_code == 0
    return [line.rstrip() for line in _COLORS.sub("", done.output).splitlines()]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_table_says_what_the_commands_say_of_themselves(command: Command) -> None:
    loaded = command.load()
    said = loaded.info.help if isinstance(loaded, typer.Typer) else (inspect.getdoc(loaded) or "").splitlines()[0]
    assert said is not None
    if command.panel:
        assert command.summary == said
    else:
        assert command.summary.rstrip(".") in said


@pytest.mark.parametrize("width", [66, 80, 97, 120, 200])
def test_the_page_is_what_typer_prints(width: int) -> None:
    ours, theirs = [line.rstrip() for line in help_page(width).splitlines()], _of_typer(width)
    # All but the panel of options, which has one column less: that a flag is a bool goes without saying.
    for lines in (ours, theirs):
        begin = next(i for i, line in enumerate(lines) if line.startswith("╭─ Options"))
        end = next(i for i, line in enumerate(lines) if line.startswith("╰"))
        del lines[begin + 1 : end]
    assert ours == theirs


def test_the_options_are_those_of_typer() -> None:
    group: Any = typer.main.get_command(app)
    theirs = {}
    for param in group.get_params(group.make_context("posetools", [], resilient_parsing=True)):
        long, short = (next((o for o in param.opts if o.startswith("--") is kind), "") for kind in (True, False))
        theirs[long] = (long, short, param.help)
    assert set(theirs.values()) == set(OPTIONS)


@pytest.mark.parametrize("width", [60, 80, 133])
def test_lines_are_as_wide_as_asked_and_colors_change_no_letter(width: int) -> None:
    plain, painted = help_page(width), help_page(width, colors=True)
    assert {len(line) for line in plain.splitlines() if line.startswith(("│", "╭", "╰"))} == {width}
    assert _COLORS.sub("", painted) == plain
    assert "\x1b[1;36mconvert" in painted


@pytest.mark.parametrize("words", [["-h"], ["--help"]])
def test_help_is_printed_for_either_option(words: list[str]) -> None:
    assert front_page(words, encoding="utf-8", terminal=False) == help_page(80)
    assert front_page(words, encoding="utf-8", terminal=True) == help_page(80, colors=os.name == "posix") or (
        os.name != "posix"
    )


def test_no_command_is_the_help_and_wrong_usage() -> None:
    done = run()
    assert (done.status, done.err) == (2, "")
    assert "convert" in done.out
    assert front_page([], encoding="utf-8", terminal=False) == help_page(80)


@pytest.mark.parametrize("words", [["convert"], ["convert", "--help"], ["--help", "convert"], ["--nonsense"]])
def test_anything_else_is_for_typer(words: list[str]) -> None:
    assert front_page(words, encoding="utf-8", terminal=False) is None


@pytest.mark.parametrize("setting", [("NO_COLOR", "1"), ("FORCE_COLOR", "1"), ("COLUMNS", "40")])
def test_what_this_page_does_not_know_is_for_typer(monkeypatch: pytest.MonkeyPatch, setting: tuple[str, str]) -> None:
    monkeypatch.setenv(*setting)
    assert front_page(["--help"], encoding="utf-8", terminal=False) is None
    assert "convert" in run("--help").out


def test_a_dumb_terminal_and_another_encoding_are_for_typer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert front_page(["--help"], encoding="cp1252", terminal=False) is None
    monkeypatch.setenv("TERM", "dumb")
    assert front_page(["--help"], encoding="utf-8", terminal=True) is None
    assert front_page(["--version"], encoding="cp1252", terminal=True) == f"posetools {__version__}\n"


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
