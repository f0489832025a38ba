"""How help pages look, and ``posetools --help`` and ``--version`` without importing typer.

Importing typer takes several times as long as starting Python (benchmarks/start.py), so the page of posetools itself
is built from the tables in this module and ``posetools.cli.commands``; ``tests/cli/test_front.py`` compares both with
the real commands. The pages of the commands (``posetools.cli.help``) have the same layout.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence

from posetools import __version__
from posetools.cli.commands import COMMANDS, foreign_commands

SUMMARY = "Train and evaluate RTMDet + RTMPose keypoint models on your own labeled images."
HELP_OPTIONS = ("--help", "-h")
OPTIONS = (
    ("--version", "Print the version and exit."),
    ("--install-completion", "Install completion for the current shell."),
    ("--show-completion", "Show completion for the current shell, to copy it or customize the installation."),
    ("-h, --help", "Show this message and exit."),
)
# Longer lines are hard to read; on a narrower terminal lines wrap.
_MOST_WIDTH, _LEAST_WIDTH = 100, 50
# Longer names get their own line, so that all texts start at the same column.
_MOST_NAME = 24

# Folders with the metadata of installed packages, and that of posetools.
_METADATA = (".dist-info", ".egg-info")
_OWN_METADATA = re.compile(r"[/\\]posetools(-[^/\\]*)?\.(dist|egg)-info$")

Rows = Sequence[tuple[str, str]]


def front_page(words: Sequence[str]) -> str | None:
    """Return what these words print when they ask for the version or the help of posetools itself.

    Args:
        words: the command line without the program.

    Returns:
        The text, or None when typer has to handle the command line.
    """
    if "_POSETOOLS_COMPLETE" in os.environ:
        return None
    if list(words) == ["--version"]:
        return f"posetools {__version__}\n"
    return help_page() if not words or words[0] in HELP_OPTIONS else None


def help_page() -> str:
    """Return the help of posetools itself."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for command in (*COMMANDS, *(foreign_commands() if _are_foreign_commands() else ())):
        if command.panel:
            sections.setdefault(command.panel, []).append((_shown(command.name), _shown(command.summary)))
    return page("posetools [OPTIONS] COMMAND [ARGS]...", SUMMARY, {**sections, "Options": OPTIONS})


def _are_foreign_commands() -> bool:
    """Return whether another package registers commands.

    Importing importlib.metadata would take longer than everything else.
    """
    for folder in sys.path:
        try:
            packages = [each.path for each in os.scandir(folder or ".") if each.name.endswith(_METADATA)]
        except OSError:
            continue
        for package in packages:
            if _OWN_METADATA.search(package):
                continue
            try:
                with open(f"{package}/entry_points.txt", "rb") as file:  # noqa: PTH123
                    if b"[posetools.commands]" in file.read():
                        return True
            except OSError:
                continue
    return False


def _shown(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def page(usage: str, text: str, sections: Mapping[str, Rows]) -> str:
    """Return a help page that fits the terminal.

    Args:
        usage: the command with its arguments.
        text: what the command does; blank lines separate paragraphs.
        sections: by title, rows of a name and its text.
    """
    width = min(max(shutil.get_terminal_size().columns, _LEAST_WIDTH), _MOST_WIDTH)
    lines = list(_hanging("Usage: ", usage, width))
    for paragraph in text.split("\n\n"):
        lines += ["", *_hanging("", paragraph, width)]
    names = [name for rows in sections.values() for name, _ in rows]
    column = max((len(name) for name in names if len(name) <= _MOST_NAME), default=0)
    for title, rows in sections.items():
        lines += ["", f"{title}:"]
        for name, help_text in rows:
            if len(name) > column:
                lines.append(f"  {name}")
                name = ""
            lines += _hanging(f"  {name.ljust(column)}  ", help_text, width)
    return "\n".join([*lines, ""])


def _hanging(head: str, text: str, width: int) -> Iterator[str]:
    """Yield a text in lines, with a head before the first one. Words are never broken, not even at a hyphen."""
    # Importing textwrap would take longer than building the page.
    room = width - len(head)
    for line in re.findall(rf"\S.{{0,{room - 1}}}(?!\S)|\S+", text.replace("\n", " ")) or [""]:
        yield f"{head}{line}".rstrip()
        head = " " * len(head)
