"""The commands as one typer app, and the one place where errors become text and an exit status.

A command's module is imported when the command runs. It imports only the standard library, typer, posetools.errors and
modules of posetools.cli that import no more; the command's body imports the rest, so that ``--help`` is fast.

Exit status: 0 done, 1 findings (or a run that ended early), 2 could not run, 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from posetools import __version__
from posetools.cli.commands import COMMANDS, Command
from posetools.cli.front import HELP_OPTIONS, SUMMARY
from posetools.cli.stopping import INTERRUPTED, interrupted_by_sigterm
from posetools.errors import (
    MESSAGE_BREAK,
    PosetoolsError,
    PosetoolsWarning,
    RequestError,
    must_be,
    printable,
    printable_lines,
)
from posetools.plugins.registry import Loaded

_OWN_COMMANDS: Final = {command.name: command for command in COMMANDS}
_REGISTERED: Loaded[Any] = Loaded("commands")


class _Commands(Mapping[str, Any]):
    """The commands by name, with those of other packages, each loaded on access."""

    def __getitem__(self, name: str) -> Any:
        if name not in _OWN_COMMANDS and name not in _REGISTERED:
            raise KeyError(name)
        return _OWN_COMMANDS.get(name, Command(name, "of another package", "")).as_click()

    def __iter__(self) -> Iterator[str]:
        return iter((*_OWN_COMMANDS, *(name for name in _REGISTERED if name not in _OWN_COMMANDS)))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Group(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: Any = _Commands()


# Commands whose sources may be URLs; their other paths are local.
_READ_URLS = ("convert", "validate", "predict", "prelabel")
# Options of these commands that are local paths.
_LOCAL_OPTIONS = (
    "--out",
    "-o",
    "--json",
    "--report",
    "--skeleton",
    "--mapping",
    "--output-root",
    "--ann-file",
    "--bundle",
    "--run",
)
# Schemes of downloads and network addresses, which are not paths.
_NO_PATHS = ("http", "https", "tcp", "tls", "ucx")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")

app = typer.Typer(
    name="posetools",
    cls=_Group,
    help=SUMMARY,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain text, as the help pages are (posetools.cli.help).
    rich_markup_mode=None,
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
    """Labeled images in, a trained and evaluated RTMDet + RTMPose pair out."""


_PLAIN_WARNING = warnings.showwarning


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **named: Any) -> None:
    if issubclass(category, PosetoolsWarning):
        print(f"warning: {printable_lines(str(message))}", file=sys.stderr)
    else:
        _PLAIN_WARNING(message, category, *where, **named)


def _refuse_line_breaks(arguments: Sequence[str]) -> None:
    """Refuse arguments that would show as lines of a message."""
    for text in arguments:
        if MESSAGE_BREAK in text:
            raise RequestError(f"arguments must not contain a line break before two spaces, got {printable(text)}")


def _refuse_urls(arguments: Sequence[str]) -> None:
    """Refuse URLs in place of local paths; they would become a folder named ``s3:``."""
    command = next((text for text in arguments if not text.startswith("-")), "")
    for before, text in zip(("", *arguments), arguments, strict=False):
        option, _, value = text.partition("=") if text.startswith("--") else ("", "", text)
        scheme = _URL.match(value)
        if scheme is None or scheme[1].lower() in _NO_PATHS:
            continue
        option = option or (before if before.startswith("-") and "=" not in before else "")
        if command in _OWN_COMMANDS and command not in _READ_URLS:
            raise RequestError(
                f"{value}: must be a local path: `posetools {command}` does not read or write URLs",
                hint="`posetools convert`, `validate` and `predict` read them; see docs/scale.md",
            )
        if option in _LOCAL_OPTIONS:
            raise RequestError(must_be(option, "a local path", value))


def run() -> None:
    """Run a command; turn errors and warnings into messages, and errors into an exit status."""
    warnings.showwarning = _show_warning
    with interrupted_by_sigterm() as stopped:
        try:
            _refuse_line_breaks(sys.argv[1:])
            _refuse_urls(sys.argv[1:])
            app()
        except PosetoolsError as exc:
            print(f"error: {exc}", file=sys.stderr)
            sys.exit(stopped.status(exc.exit_status))
        except (KeyboardInterrupt, SystemExit) as exc:
            # Typer silently turns KeyboardInterrupt into SystemExit.
            if isinstance(exc, SystemExit) and exc.code != INTERRUPTED:
                raise
            print("stopped", file=sys.stderr)
            sys.exit(stopped.status(INTERRUPTED))
