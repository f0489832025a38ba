"""The commands as one typer app, and the one place where errors become text and an exit status.

A command's module is imported when the command is asked for. It imports only the standard library, typer and
posetools.errors; everything else is imported in the body of the command, so that its ``--help`` costs nothing.

Exit status: 0 done, 1 findings (or a run that ended early), 2 could not run, 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from posetools import __version__
from posetools.cli.commands import COMMANDS, Command
from posetools.cli.front import HELP_OPTIONS, SUMMARY
from posetools.cli.hints import in_own_words
from posetools.cli.stopping import INTERRUPTED, interrupted_by_sigterm
from posetools.cli.urls import refuse_urls
from posetools.errors import PosetoolsError, PosetoolsWarning, printable, printable_lines


def load(command: Command) -> Any:
    """Return a command's function, or its typer app where it is a group of commands."""
    module, _, name = command.place.partition(":")
    return getattr(import_module(f"posetools.cli.{module}"), name)


class _Loaded(MutableMapping[str, Any]):
    """The commands by name, each loaded when it is looked up."""

    def __init__(self) -> None:
        self._places = {command.name: command for command in COMMANDS}
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = as_click(self._places[name])
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._places[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def as_click(command: Command) -> Any:
    """Return what typer makes of one command: its click object, with the options in ``params``."""
    holder = typer.Typer(add_completion=False)
    # With a callback typer keeps a single command's name.
    holder.callback()(_nothing)
    loaded = load(command)
    if isinstance(loaded, typer.Typer):
        holder.add_typer(loaded, name=command.name, rich_help_panel=command.panel)
    else:
        holder.command(command.name, hidden=not command.panel, rich_help_panel=command.panel)(loaded)
    group: Any = typer.main.get_command(holder)
    return group.commands[command.name]


def _nothing() -> None:
    pass


class _Group(TyperGroup):
    """A group whose commands are loaded one by one."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Loaded()


app = typer.Typer(
    name="posetools",
    cls=_Group,
    help=SUMMARY,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": list(HELP_OPTIONS)},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"posetools {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Labelled pictures in, a trained and evaluated RTMDet + RTMPose pair out."""


def _shown(message: object) -> str:
    """Return a message in which no path that was given can look like a line of the message."""
    text = in_own_words(str(message))
    for argument in sys.argv:
        for part in {*Path(argument).parts, *Path(argument.partition("=")[2]).parts}:
            text = text.replace(part, printable(part))
    return printable_lines(text)


_PLAIN_WARNING = warnings.showwarning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, PosetoolsWarning):
        print(f"warning: {_shown(message)}", file=sys.stderr)
    else:
        _PLAIN_WARNING(message, category, filename, lineno, file, line)


def run() -> None:
    """Run a command; errors and warnings become messages, and errors an exit status, here."""
    warnings.showwarning = _show_warning
    with interrupted_by_sigterm() as stopped:
        try:
            refuse_urls(sys.argv[1:])
            app()
        except PosetoolsError as exc:
            print(f"error: {_shown(exc)}", file=sys.stderr)
            sys.exit(stopped.status(exc.exit_status))
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            sys.exit(stopped.status(INTERRUPTED))
        except SystemExit as exc:
            # What typer makes of a KeyboardInterrupt, without a word.
            if exc.code == INTERRUPTED:
                print("stopped", file=sys.stderr)
                sys.exit(stopped.status(INTERRUPTED))
            raise
