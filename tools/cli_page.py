"""Writes docs/cli.md, the reference of all commands, from the commands themselves.

``python -m tools.cli_page`` rewrites the page; a test fails when it is not current. The page has the words of
``--help`` in lines of one width, whatever the terminal.
"""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import patch

from click import Context
from typer.main import get_command

from posetools.cli.app import app
from posetools.cli.commands import COMMANDS
from tools.docs_pages import DOCS, commands

PAGE = "cli.md"
WIDTH = 80

_HEAD = """\
<!-- made from the commands by `make generate` -->

# Command line

Every command, with all its arguments and options. `posetools COMMAND --help` prints the same in a terminal.

- `posetools --version` prints the version.
- `posetools --install-completion` installs tab completion for your shell.
- Exit status: 0 done, 1 errors found or a run that ended early, 2 could not run, 130 stopped by Ctrl-C, 143 by SIGTERM.
"""


def cli_page() -> str:
    """Return the page as Markdown."""
    panels = {command.name: command.panel for command in COMMANDS}
    sections: dict[str, list[str]] = {panel: [] for panel in panels.values() if panel}
    for page, name, _ in commands():
        guide = page.removesuffix(".md")
        text = f"### posetools {name}\n\n```text\n{_help(name)}```\n\nGuide: [{guide}]({page})\n"
        sections[panels[name.split()[0]]].append(text)
    parts = [_HEAD, *(f"## {panel}\n\n" + "\n".join(texts) for panel, texts in sections.items())]
    return "\n".join(parts)


def _help(name: str) -> str:
    """Return what a command's ``--help`` prints on a terminal of WIDTH columns."""
    command: Any = get_command(app)
    context = Context(command, info_name="posetools")
    for word in name.split():
        command = command.commands[word]
        context = Context(command, info_name=word, parent=context)
    with patch.dict(os.environ, COLUMNS=str(WIDTH)):
        return str(command.get_help(context)).strip() + "\n"


if __name__ == "__main__":
    (DOCS / PAGE).write_text(cli_page(), encoding="utf-8")
    print(f"docs/{PAGE}")
