"""``posetools --help`` and ``posetools --version`` without typer and rich.

Their imports alone take fourteen times what Python needs to start (benchmarks/start.py).
The page looks as typer would print it; ``tests/cli/test_front.py`` compares the two. Where the stream or the terminal
is not one that this module knows (no UTF-8, narrow, Windows' console, colors asked for or refused), typer prints it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from posetools import __version__
from posetools.cli.commands import COMMANDS

SUMMARY = "Labeled images in, a trained and evaluated RTMDet + RTMPose pair out."
OPTIONS = (
    ("--version", "", "Print the version and exit."),
    ("--install-completion", "", "Install completion for the current shell."),
    (
        "--show-completion",
        "",
        "Show completion for the current shell, to copy it or customize the installation.",
    ),
    ("--help", "-h", "Show this message and exit."),
)
HELP_OPTIONS = ("--help", "-h")

_USUAL_WIDTH, _LEAST_WIDTH = 80, 60
# What changes how rich and typer print.
SETTINGS = (
    "FORCE_COLOR",
    "NO_COLOR",
    "PY_COLORS",
    "GITHUB_ACTIONS",
    "TERMINAL_WIDTH",
    "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
    "_TYPER_FORCE_DISABLE_TERMINAL",
    "_POSETOOLS_COMPLETE",
)
_PAINT = re.compile(r"\x1b\[[0-9;]*m")
_BOLD, _DIM, _NAME_STYLE, _SHORT, _USAGE = "1", "2", "1;36", "1;32", "1;33"


def front_page(words: Sequence[str], *, encoding: str, terminal: bool) -> str | None:
    """Return what these words print when they ask for the version or the help of posetools itself.

    Args:
        words: the command line without the program.
        encoding: of the stream that it goes to.
        terminal: whether that is a terminal.

    Returns:
        The text, or None when this is for typer to do.
    """
    if list(words) == ["--version"]:
        return f"posetools {__version__}\n"
    if len(words) > 1 or (words and words[0] not in HELP_OPTIONS):
        return None
    width = _width()
    plain_terminal = os.name == "posix" and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    unusual = any(name in os.environ for name in SETTINGS) or (terminal and not plain_terminal)
    if unusual or width < _LEAST_WIDTH or encoding.lower().replace("-", "") != "utf8":
        return None
    return help_page(width, colors=terminal)


def help_page(width: int, *, colors: bool = False) -> str:
    """Return the help of posetools itself for lines of this width."""
    lines = ["", f" {_paint('Usage:', _USAGE)} {_paint('posetools', _BOLD)} [OPTIONS] COMMAND [ARGS]..."]
    lines += ["", *(f" {line}" for line in _wrapped(SUMMARY, width - 2)), ""]
    names = max(len(name) for name, _, _ in OPTIONS)
    options: list[tuple[str, str]] = []
    for name, short, help_text in OPTIONS:
        head = _paint(name.ljust(names), _NAME_STYLE) + "  " + _paint(short.ljust(2), _SHORT)
        options += _row(head, names + 4, help_text, width)
    lines += _panel("Options", options, width)
    names = max(len(command.name) for command in COMMANDS)
    for panel in dict.fromkeys(command.panel for command in COMMANDS if command.panel):
        rows: list[tuple[str, str]] = []
        for command in COMMANDS:
            if command.panel == panel:
                rows += _row(_paint(command.name.ljust(names), _NAME_STYLE), names, command.summary, width)
        lines += _panel(panel, rows, width)
    page = "\n".join([*lines, ""]) + "\n"
    return page if colors else _PAINT.sub("", page)


def _row(head: str, head_width: int, text: str, width: int) -> Iterator[tuple[str, str]]:
    """Yield lines as (what stands left, what stands beside it, filled with blanks)."""
    room = width - 4 - head_width - 2
    for number, line in enumerate(_wrapped(text, room)):
        yield (head if number == 0 else " " * head_width) + "  ", line.ljust(room)


def _panel(title: str, rows: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    edge = _paint("│", _DIM)
    yield _paint(f"╭─ {title} {'─' * (width - len(title) - 5)}╮", _DIM)
    for left, right in rows:
        yield f"{edge} {left}{right} {edge}"
    yield _paint(f"╰{'─' * (width - 2)}╯", _DIM)


def _wrapped(text: str, room: int) -> list[str]:
    # textwrap.wrap would do, but loads more than it is worth here, and no word of ours is longer than a line.
    return [line.rstrip() for line in re.findall(rf".{{1,{room}}}(?:\s+|$)", text)]


def _paint(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m"


def _width() -> int:
    """Return how wide lines are: what COLUMNS says, or the terminal, or 80."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit():
        return int(columns)
    for stream in (0, 1, 2):
        try:
            width = os.get_terminal_size(stream).columns
        except (OSError, ValueError):
            continue
        return width or _USUAL_WIDTH
    return _USUAL_WIDTH
