"""Help pages of the commands: whole option names, values and choices, with a text that ends with the default.

Typer's default, tables by rich, cuts names and breaks choices on a terminal of 80 columns.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

from posetools.cli.front import page

# Typer's names for the values of options without a metavar, and ours.
_VALUE_NAMES = {
    "str": "TEXT",
    "path": "PATH",
    "int": "INT",
    "int range": "INT",
    "float": "FLOAT",
    "float range": "FLOAT",
}


class HelpCommand(TyperCommand):
    """A command with a plain help page."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: D102
        formatter.write(_page(self, ctx))


class HelpGroup(TyperGroup):
    """A group of commands with a plain help page."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: D102
        formatter.write(_page(self, ctx))


def _page(command: Any, ctx: Any) -> str:
    usage: list[str] = [ctx.command_path, "[OPTIONS]"]
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Commands": []}
    for param in command.get_params(ctx):
        shown = param.get_help_record(ctx)
        if shown is None:
            continue
        if param.param_type_name == "argument":
            name = (param.metavar or param.name.upper()).strip("[]")
            usage.append(name if param.required else f"[{name}]")
            sections["Arguments"].append((name, _text(param)))
        else:
            section = sections.setdefault(getattr(param, "rich_help_panel", None) or "Options", [])
            section.append((_option(param, shown[0]), _text(param)))
    commands = getattr(command, "commands", {})
    sections["Commands"] += [(name, each.help.partition("\n")[0]) for name, each in commands.items()]
    usage += ["COMMAND [ARGS]..."] if commands else []
    return page(" ".join(usage), command.help, {title: rows for title, rows in sections.items() if rows})


def _option(param: Any, shown: str) -> str:
    """Return an option's names and its value."""
    if param.metavar:
        return shown
    typed = re.fullmatch(r"(.+?) [<\[](.+)[>\]]", shown)
    if typed is None:
        # Earlier versions of typer write --seed INTEGER RANGE.
        return shown.removesuffix(" RANGE").replace(" INTEGER", " INT")
    return f"{typed[1]} {_VALUE_NAMES.get(typed[2], typed[2])}"


def _text(param: Any) -> str:
    """Return a parameter's help, with its default at the end."""
    text = param.help or ""
    if param.required:
        return f"{text} Required." if param.param_type_name == "option" else text
    default = param.show_default if isinstance(param.show_default, str) else param.default
    if default is True:
        default = param.opts[0]
    elif default is False or not isinstance(default, str | int | float | Path):
        return text
    return f"{text} Default: {default}."
