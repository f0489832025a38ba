"""Writes docs/cli.md, the reference of all commands, from the commands themselves.

``python -m tools.cli_page`` rewrites the page; a test fails when it is not current. The page has the words of
``--help`` in lines of one width, whatever the terminal.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator

from posetools.cli.commands import COMMANDS
from tools.docs_pages import DOCS, Command, Row, commands, rows, usage

PAGE = "cli.md"
WIDTH = 80
# An option's text starts in this column, or on a line of its own below a longer name.
_INDENT = 28
_CODE_OR_OPTION = re.compile(r"`[^`]*`|--[a-z][\w-]*")

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
    for page, name, command in commands():
        sections[panels[name.split()[0]]].append(_section(page, name, command))
    parts = [_HEAD, *(f"## {panel}\n\n" + "\n".join(texts) for panel, texts in sections.items())]
    return "\n".join(parts)


def _section(page: str, name: str, command: Command) -> str:
    panels: dict[str, list[Row]] = {}
    for row in rows(command):
        panels.setdefault(row.panel, []).append(row)
    help_text = [usage(name, command)]
    for panel, of_panel in panels.items():
        help_text += ["", f"{panel}:"]
        help_text += [line for row in of_panel for line in _lines(row)]
    about = _CODE_OR_OPTION.sub(lambda found: f"`{found[0].strip('`')}`", inspect.getdoc(command) or "")
    guide = page.removesuffix(".md")
    block = "\n".join(help_text)
    return f"### posetools {name}\n\n{about}\n\n```text\n{block}\n```\n\nGuide: [{guide}]({page})\n"


def _lines(row: Row) -> Iterator[str]:
    """Yield an argument or option with its text beside it, in lines of the page's width."""
    notes = ["repeatable"] if row.repeatable and "repeat" not in row.help.lower() else []
    if row.default:
        notes.append(row.default if row.default == "required" else f"default: {row.default}")
    text = " ".join([*row.help.split(), *(f"[{note}]" for note in notes)])
    texts = textwrap.wrap(text, WIDTH - _INDENT, break_long_words=False, break_on_hyphens=False)
    head = f"  {row.name}"
    if len(head) + 2 > _INDENT or not texts:
        yield head
    else:
        yield head.ljust(_INDENT) + texts.pop(0)
    yield from (" " * _INDENT + line for line in texts)


if __name__ == "__main__":
    (DOCS / PAGE).write_text(cli_page(), encoding="utf-8")
    print(f"docs/{PAGE}")
