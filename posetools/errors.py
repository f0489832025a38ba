"""Every error that a user of posetools can cause.

The tree::

    PosetoolsError            exit status 2 ("could not run") unless said otherwise
    ├── InputError            a file holds what it may not: file, place in it, rule, value
    ├── RequestError          the command, an option or an argument asks for what cannot be done
    ├── MissingExtraError     the command needs packages that are not installed
    ├── OutputError           what was asked for could not be written
    └── RunError              a training or evaluation run ended before its end (exit status 1)
        └── StoppedError      the user stopped it (exit status 130)

Lower-level errors (OSError, pydantic's ValidationError, a library's own) are translated where they arise, always
with ``raise ... from exc``. The command line turns a PosetoolsError into text and an exit status in one place.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import yaml
    from pydantic import ValidationError

_LONGEST_VALUE = 80
# What a terminal obeys rather than shows, but for tab and line feed.
_OBEYED = {code: f"\\x{code:02x}" for code in (*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0))}


class PosetoolsError(Exception):
    """Base of every error that posetools raises on purpose."""

    exit_status = 2


class InputError(PosetoolsError):
    """A file holds what it may not.

    The text is ``<file>: <place>: <field> must be <rule>, got <value>``, then the hint, if any, on its own line.

    Attributes:
        path: the file.
        place: the place in it (``shapes[3]``), empty when it is the file as a whole.
        problem: the sentence without file and place.
        hint: what to do about it, empty when that is not known.
    """

    def __init__(self, path: Path | str, place: str, problem: str, *, hint: str = "") -> None:
        self.path = path if isinstance(path, Path) else Path(path)
        self.place = place
        self.problem = problem
        self.hint = hint
        where = f"{path}: {place}" if place else str(path)
        super().__init__(f"{where}: {problem}" + (f"\n  {hint}" if hint else ""))

    def __reduce__(self) -> tuple[Callable[..., InputError], tuple[Path | str, str, str]]:
        # Errors come from other processes, and an exception is pickled as if it were made of its text alone.
        return partial(type(self), hint=self.hint), (self.path, self.place, self.problem)


class RequestError(PosetoolsError):
    """What was asked for cannot be done."""


class MissingExtraError(PosetoolsError):
    """The command needs packages that an extra brings.

    Attributes:
        extra: the name of the extra.
    """

    def __init__(self, what: str, extra: str, missing: str) -> None:
        self.extra = extra
        # mmcv has to be compiled against torch, which only uv is told how to do.
        command = "uv sync --extra train" if extra == "train" else f"pip install '.[{extra}]'"
        super().__init__(
            f"{what} needs the '{extra}' extra ({missing} is not installed)\n"
            f"  install it with: {command}   (or `make install` in a checkout; see docs/install.md)"
        )


class OutputError(PosetoolsError):
    """What was asked for could not be written."""


class RunError(PosetoolsError):
    """A training or evaluation run ended before its end."""

    exit_status = 1


class StoppedError(RunError):
    """The user stopped a run."""

    exit_status = 130


def must_be(field: str, rule: str, value: object) -> str:
    """Return the sentence ``<field> must be <rule>, got <value>``, with an over-long value cut."""
    return f"{field} must be {rule}, got {show_value(value)}"


def show_value(value: object) -> str:
    """Return ``repr(value)``, cut to one readable length."""
    try:
        text = repr(value)
    except RecursionError:
        return "a value nested too deeply to be shown"
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def printable(text: str) -> str:
    """Return a text, which may have names of others' files and labels in it, so that no terminal obeys any of it."""
    return text.translate(_OBEYED)


def quoted(value: object) -> str:
    """Return a path or another word of a command line as it is typed in a shell."""
    return shlex.quote(str(value))


def join_place(parts: Sequence[str | int]) -> str:
    """Return a place inside a document: ``("shapes", 3, "points")`` becomes ``shapes[3].points``."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def from_validation(path: Path | str, error: ValidationError) -> InputError:
    """Return the InputError for the first problem that pydantic found in the file at ``path``."""
    first, *rest = error.errors(include_url=False)
    message = first["msg"].removeprefix("Value error, ")
    location = join_place(first["loc"])
    if first["type"] != "value_error":
        message = f"{message[:1].lower()}{message[1:]}, got {show_value(first['input'])}"
    hint = f"and {len(rest)} more problem{'s' if len(rest) > 1 else ''} in this file" if rest else ""
    return InputError(path, location, message, hint=hint)


def from_yaml(path: Path | str, error: yaml.YAMLError) -> InputError:
    """Return the InputError for a file at ``path`` that is no YAML, with the line and column where that shows."""
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return InputError(path, place, f"is not valid YAML: {getattr(error, 'problem', None) or error}")
