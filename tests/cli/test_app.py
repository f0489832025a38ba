"""The command line as a whole: help, version, and errors as one message and an exit status."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from posetools import __version__
from posetools.cli import app as app_module
from posetools.errors import PosetoolsError, RequestError, RunError
from tests.cli.run import run


def _commands() -> Iterator[tuple[str, ...]]:
    root: Any = typer.main.get_command(app_module.app)
    for name, command in root.commands.items():
        yield (name,)
        for sub in getattr(command, "commands", ()):
            yield name, sub


def test_the_commands_are_those_of_the_documentation() -> None:
    names = {" ".join(words) for words in _commands()}
    expected = (
        "convert validate split merge subset diff sigmas view annotate prelabel review config train slurm eval test "
        "rescue plot predict publish export verify fit demo doctor skeleton"
    )
    assert names == {*expected.split(), "skeleton show", "skeleton check", "skeleton new"}


def test_ctrl_c_in_a_command_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("posetools.core.categories.load_skeleton", interrupted)
    done = run("skeleton", "show", "car8")
    assert (done.status, done.out, done.err) == (130, "", "stopped\n")


@pytest.mark.parametrize("words", list(_commands()), ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help(words: tuple[str, ...], option: str) -> None:
    done = run(*words, option)
    assert (done.status, done.err) == (0, "")
    assert f"posetools {' '.join(words)}" in done.words


def test_no_arguments_show_the_help() -> None:
    done = run()
    assert "convert" in done.out
    assert "doctor" in done.out


@pytest.mark.parametrize("command", [["--version"], ["skeleton", "show", "--yaml"]])
def test_module_and_script_are_the_same(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "posetools", *command], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == run(*command).out
    assert run("--version").out == f"posetools {__version__}\n"


def test_an_error_is_one_message_on_stderr_and_status_2(tmp_path: Path) -> None:
    done = run("convert", tmp_path / "no", "--out", tmp_path / "out")
    assert (done.status, done.out) == (2, "")
    assert done.err == f"error: {tmp_path}/no: SRC must be an existing file or folder, but does not exist\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "status", "err"),
    [
        (RequestError("no"), 2, "error: no\n"),
        (RunError("it ended"), 1, "error: it ended\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
    ],
)
def test_exit_status_by_kind_of_error(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, err: str
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(app_module, "app", fail)
    done = run("convert")
    assert (done.status, done.out, done.err) == (status, "", err)


def test_errors_of_ours_are_never_a_traceback(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    done = subprocess.run(
        [sys.executable, "-m", "posetools", "skeleton", "check", str(broken)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == PosetoolsError.exit_status == 2
    assert done.stderr.startswith(f"error: {broken}: line 1, column 5: is not valid YAML")
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "posetools", "skeleton", "show"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["convert"], "Missing argument"),
        (["nonsense"], "No such command"),
        (["split", "--val"], "requires an argument"),
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], part: str) -> None:
    done = run(*arguments)
    assert done.status == 2
    assert part in done.words


def _texts(tree: ast.Module) -> Iterator[str]:
    """Yield the texts of a module, with ``{}`` in the place of values."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_command_that_a_message_names_has_the_options_that_it_names() -> None:
    root: Any = typer.main.get_command(app_module.app)
    found, wrong = 0, []
    for path in Path(app_module.__file__).parents[1].rglob("*.py"):
        for text in _texts(ast.parse(path.read_text(encoding="utf-8"))):
            for name, words in re.findall(r"posetools ([a-z]+)((?: [^\s`;,()]+)*)", text):
                command = root.commands.get(name)
                if command is None or hasattr(command, "commands"):
                    continue
                known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
                # Words after `--` belong to another command.
                options = re.findall(r"(?<=\s)--[a-z][a-z-]*", words.partition(" -- ")[0])
                found += len(options)
                wrong += [f"{path.name}: posetools {name} {each}" for each in options if each not in {*known, "--help"}]
    assert wrong == []
    assert found > 50
