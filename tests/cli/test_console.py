"""Output of the commands: shortened lists of findings, and progress as lines or as a bar."""

from __future__ import annotations

import ast
import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from posetools import cli
from posetools.cli.console import LISTED_PER_CODE, print_findings, progress
from posetools.core.findings import Finding


class Terminal(io.StringIO):
    """A stderr that reports being a terminal."""

    def isatty(self) -> bool:
        return True


def test_off_a_terminal_there_is_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as report:
        for done in range(1, 201):
            report("reading", done, 200)
        # Short work prints one line.
        for done in range(1, 4):
            report("writing", done, 3)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines == ["reading: 1/200", *(f"reading: {done}/200" for done in range(20, 201, 20)), "writing: 3/3"]


@pytest.mark.parametrize("rate", ["", "frames/s"])
def test_on_a_terminal_there_is_a_bar_for_each_kind_of_work(monkeypatch: pytest.MonkeyPatch, rate: str) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with progress(rate) as report:
        for done in range(1, 9):
            report("looking at images", done, 8)
        report("frames of a camera", 1, 0)
        report("frames of a camera", 7, 0)
    text = out.getvalue()
    assert "looking at images" in text
    assert "8/8" in text
    # A camera has no known total.
    assert "7/?" in text
    assert ("frames/s" in text) is bool(rate)


def printed(findings: list[Finding]) -> list[str]:
    out = Console(file=io.StringIO(), width=100, highlight=False)
    print_findings(findings, out)
    assert isinstance(out.file, io.StringIO)
    return [" ".join(line.replace("│", " ").split()) for line in out.file.getvalue().splitlines()]


@pytest.mark.parametrize(("number", "more"), [(LISTED_PER_CODE, 0), (LISTED_PER_CODE + 3, 3)])
def test_many_findings_of_one_code_are_counted(number: int, more: int) -> None:
    many = [Finding("E121", "[a].json", f"images[{i}]", f"message {i}", "the hint") for i in range(number)]
    lines = printed([*many, Finding("W206", "b.json", "", "twice")])
    assert lines[0] == f"E121 picture-missing ({number})"
    shown = [line for line in lines if line.startswith("[a].json: images[")]
    assert shown == [f"[a].json: images[{i}]: message {i}" for i in range(LISTED_PER_CODE)]
    assert lines.count("fix: the hint") == LISTED_PER_CODE
    assert lines.count(f"... and {more} more") == (1 if more else 0)
    assert "b.json: twice" in lines
    assert f"E121 picture-missing error {number}" in lines
    assert "W206 duplicate-picture warning 1" in lines


def test_what_is_printed_with_a_value_in_it_goes_through_one_function() -> None:
    """Names of files and labels could otherwise fake lines of output or control the terminal."""
    for path in sorted(Path(cli.__file__).parent.glob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        if path.name != "console.py":
            sources = [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
            assert "rich.markup" not in sources, f"{path.name}: escape comes from posetools.cli.console"
        calls = (node for node in nodes if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print")
        for call in calls if path.name != "app.py" else ():
            shown = call.args[0] if call.args else None
            values = shown.values if isinstance(shown, ast.JoinedStr) else []
            assert all(isinstance(part, ast.Constant) for part in values), f"{path.name}:{call.lineno}: printable()"
