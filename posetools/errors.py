"""Every error that a user of posetools can cause.

The tree::

    PosetoolsError            exit status 2 ("could not run") unless noted
    ├── InputError            a file has an invalid value: file, place, rule, value
    ├── RequestError          a command, an option or an argument is invalid
    ├── MissingExtraError     the command needs packages that are not installed
    ├── PluginError           a plug-in of another package cannot be used
    ├── OutputError           the output could not be written
    └── RunError              a training or evaluation run ended early (exit status 1)
        └── StoppedError      the user stopped it (exit status 130)

Lower-level errors (OSError, pydantic's ValidationError, those of libraries) are translated where they occur, always
with ``raise ... from exc``. The command line turns a PosetoolsError into text and an exit status in one place.

A message is a sentence; then its details, a line each; then, after ``fix: ``, what to do (``as_message``).
"""

from __future__ import annotations

import copyreg
import itertools
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    import yaml
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_LONGEST_VALUE = 80
_LONGEST_TEXT = 10_000
# Longer integers are slow to write in decimal, and Python refuses thousands of digits.
_MOST_BITS = 1024
# Characters that a terminal or page does not show: control characters, line separators, text direction,
# and surrogates, which cannot be encoded.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Messages break before an indented line; any other line break is part of a name.
_OWN_BREAK = re.compile(r"\n(?=  )")
# Between the lines of a message.
MESSAGE_BREAK = "\n  "
_FIX = "fix: "
# pydantic's type of an error -> its rule in the words of JSON and YAML.
_RULES_FOR_KINDS = {
    "model_type": "must be a mapping, a value for each key",
    "dict_type": "must be a mapping, a value for each key",
    "tuple_type": "input should be a valid list",
}
_KIND_OF_VALUE = {dict: "a mapping", list: "a list", tuple: "a list", str: "a text", type(None): "nothing"}
_BRACKETS = {list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}"), dict: ("{", "}")}


class PosetoolsWarning(UserWarning):
    """A problem in files that were read, although the work could be done.

    The command line prints it as one line; in Python it is a regular warning.
    """


class PosetoolsError(Exception):
    """Base of every error that posetools raises on purpose.

    Attributes:
        sentence: what is wrong.
        details: more about it, a line each.
        hints: what to do or to type, a line each; empty if unknown.
    """

    exit_status = 2
    # What is printed before the hint.
    label: ClassVar[str] = _FIX

    def __init__(self, sentence: str, *details: str, hint: str | Sequence[str] = "") -> None:
        super().__init__(sentence, *details)
        self.sentence, self.details, self.hints = sentence, details, _lines_of(hint)

    @property
    def hint(self) -> str:
        """All hints in one line, empty if there are none."""
        return "; ".join(self.hints)

    @property
    def in_one_line(self) -> str:
        """The whole message, for a list of problems."""
        return "; ".join((self.sentence, *self.details, *self.hints))

    def __str__(self) -> str:
        return as_message(self.sentence, *self.details, hint=self.hints, label=self.label)

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross processes, and exceptions are pickled as a call with their args alone.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class Place(str):
    """A place in a file: its text for messages, with the parts that it was made from.

    Code uses the parts and never splits the text; a place without parts (``line 4``) is a plain text.

    Attributes:
        outer: the place that contains this one, or empty.
        inner: its name there.
        parts: the places that it lists, if there are several.
        kind: for an entry of a list, the list (``annotations``); else empty.
        position: for an entry, its index in the list, from 0.
        about: for an entry, what else identifies it (``id 7``, a name).
    """

    outer: str = ""
    inner: str = ""
    parts: tuple[str, ...] = ()
    kind: str = ""
    position: int = -1
    about: tuple[str, ...] = ()

    @classmethod
    def entry(cls, kind: str, position: int, *about: str) -> Self:
        """Return the place of an entry of a list: ``annotations[3] (id 7)``."""
        told = tuple(filter(None, about))
        place = cls(f"{kind}[{position}]" + (f" ({', '.join(told)})" if told else ""))
        place.kind, place.position, place.about = kind, position, told
        return place

    @classmethod
    def within(cls, outer: str, *inner: str) -> Self:
        """Return the place of one or several things in another place: ``image[0] (a.jpg): box[2], box[3]``."""
        listed = ", ".join(inner)
        place = cls(f"{outer}: {listed}")
        place.outer, place.inner = outer, listed
        place.parts = tuple(cls.within(outer, one) for one in inner) if len(inner) > 1 else ()
        return place

    @classmethod
    def several(cls, *places: str) -> str:
        """Return the place of one or several things: ``shapes[2], shapes[3]``."""
        if len(places) == 1:
            return places[0]
        place = cls(", ".join(places))
        parts = (one.parts if isinstance(one, Place) and one.parts else (one,) for one in places)
        place.parts = tuple(itertools.chain.from_iterable(parts))
        return place

    @classmethod
    def field(cls, outer: str, name: str) -> Self:
        """Return the place of a field: ``box[2].xtl``."""
        place = cls(f"{outer}.{name}")
        place.outer, place.inner = outer, name
        return place


class InputError(PosetoolsError):
    """A file has an invalid value.

    The sentence is ``<file>: <place>: <field> must be <rule>, got <value>``.

    Attributes:
        path: the file.
        place: the place in it (``shapes[3]``; see Place), empty for the whole file.
        problem: the sentence without file and place.
    """

    def __init__(
        self, path: Path | str, place: str, problem: str, *details: str, hint: str | Sequence[str] = ""
    ) -> None:
        self.path = path if isinstance(path, Path) else Path(path)
        self.place = place
        self.problem = problem
        shown = said_once(place, problem)
        super().__init__(f"{path}: {shown}: {problem}" if shown else f"{path}: {problem}", *details, hint=hint)


class RequestError(PosetoolsError):
    """The request cannot be fulfilled."""


class MissingExtraError(PosetoolsError):
    """The command needs packages of an extra.

    Attributes:
        extra: the name of the extra.
    """

    def __init__(self, what: str, extra: str, missing: str) -> None:
        self.extra = extra
        # pip needs more than one line, because of chumpy: docs/install.md.
        command = "uv sync --extra train" if extra == "train" else f"pip install '.[{extra}]'"
        super().__init__(
            f"{what} needs the '{extra}' extra ({missing} is not installed)",
            hint=f"{command}   (or `make install` in a checkout; see docs/install.md)",
        )


class PluginError(PosetoolsError):
    """A plug-in cannot be loaded, or does not do what its protocol says."""


class OutputError(PosetoolsError):
    """The output could not be written."""


class RunError(PosetoolsError):
    """A training or evaluation run ended early.

    Attributes:
        advice: what to do first, a line each: the first hints.
        way: how to continue then, the last hint; empty if unknown.
    """

    exit_status = 1

    def __init__(self, sentence: str, *details: str, hint: str | Sequence[str] = "", way: str = "") -> None:
        self.advice, self.way = _lines_of(hint), way
        super().__init__(sentence, *details, hint=(*self.advice, way))


class StoppedError(RunError):
    """The user stopped a run; the hint is the command that continues it."""

    exit_status = 130
    # Nothing is broken.
    label = ""


def as_message(sentence: str, *details: str, hint: str | Sequence[str] = "", label: str = _FIX) -> str:
    """Return a message: a sentence, then its details and what to do, each on its own indented line."""
    return MESSAGE_BREAK.join(map(printable, (sentence, *details, *hint_lines(hint, label))))


def hint_lines(hint: str | Sequence[str], label: str = _FIX) -> list[str]:
    """Return what to do, one line or several: the first after ``fix: ``, the others aligned below it."""
    return [(" " * len(label) if at else label) + line for at, line in enumerate(_lines_of(hint))]


def _lines_of(hint: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(filter(None, [hint] if isinstance(hint, str) else hint))


def said_once(place: str, problem: str) -> str:
    """Return a place without the part that the sentence repeats: ``line 2`` before ``line 2 must be ...``."""
    if not place or problem.startswith(f"{place} "):
        return ""
    if isinstance(place, Place) and place.inner and problem.startswith(f"{place.inner} "):
        return place.outer
    return place


def must_be(field: str, rule: str, value: object) -> str:
    """Return the sentence ``<field> must be <rule>, got <value>``, with a long value shortened."""
    return f"{field} must be {rule}, got {show_value(value)}"


def show_value(value: object) -> str:
    """Return ``repr(value)``, shortened; large values cost no more time."""
    text = ""
    try:
        for piece in _pieces(value):
            text += piece
            if len(text) > _LONGEST_VALUE:
                return f"{text[: _LONGEST_VALUE - 3]}..."
    except RecursionError:
        return "a value nested too deeply to be shown"
    return text


def _pieces(value: object) -> Iterator[str]:
    """Yield the text of a value from left to right; each level starts with a bracket, so few levels are entered."""
    if type(value) not in _BRACKETS or not isinstance(value, list | tuple | set | dict) or not value:
        yield _shown_alone(value)
        return
    first, last = _BRACKETS[type(value)]
    yield first
    for index, item in enumerate(value):
        yield ", " if index else ""
        yield from _pieces(item)
        if isinstance(value, dict):
            yield ": "
            yield from _pieces(value[item])
    yield f",{last}" if isinstance(value, tuple) and len(value) == 1 else last


def _shown_alone(value: object) -> str:
    if isinstance(value, str | bytes):
        return repr(value[: _LONGEST_VALUE + 1])
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"a number of {value.bit_length()} bits"
    return repr(value)


def printable(text: str) -> str:
    """Return a text for one line: control characters are escaped, a long text is shortened.

    Text with names of files or labels goes through here or ``printable_lines`` before it is printed or put into a
    page.
    """
    return visible(text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 3]}...")


def visible(text: str) -> str:
    """Return a text with control characters, line breaks and the like escaped."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def printable_lines(text: str) -> str:
    """Return a message, whose lines after the first are indented, for printing."""
    return "\n".join(map(printable, _OWN_BREAK.split(text)))


def counted(number: int | str, noun: str) -> str:
    """Return ``1 image``, ``2 images``; for a number given as text, ``1,200 images``."""
    return f"{number} {noun}{'' if str(number) == '1' else 's'}"


def first_names(names: Sequence[str], most: int) -> str:
    """Return names separated by commas: ``a, b``, or ``a, b, ...`` for more than ``most``."""
    return ", ".join(names[:most]) + ", ..." * (len(names) > most)


def first_lines(lines: Sequence[str], most: int, rest: str = "... and {} more") -> list[str]:
    """Return at most ``most`` lines, then one with the number of the rest."""
    return [*lines[:most], *([rest.format(len(lines) - most)] if len(lines) > most else [])]


def quoted(value: object) -> str:
    """Return a path or another argument quoted for a shell."""
    return shlex.quote(str(value))


def join_place(parts: Sequence[str | int]) -> str:
    """Return a place inside a document: ``("shapes", 3, "points")`` becomes ``shapes[3].points``."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{shortened(part)}" if text else shortened(part)
    return text


def shortened(text: str) -> str:
    """Return a text of a file, shortened."""
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def from_validation(path: Path | str, error: ValidationError) -> InputError:
    """Return the InputError for pydantic's first error in the file at ``path``."""
    first, *rest = error.errors(include_url=False)
    more = [f"and {counted(len(rest), 'more problem')} in this file"] if rest else []
    return InputError(path, join_place(first["loc"]), sentence_of(first), *more)


def sentence_of(problem: ErrorDetails) -> str:
    """Return an error of pydantic as a sentence: our validator's text, or pydantic's text and the value.

    Whole documents and lists are not shown as the value: their kind says what is wrong.
    """
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] == "missing":
        return "field required"
    said, value = _RULES_FOR_KINDS.get(problem["type"], problem["msg"]), problem["input"]
    kind = (
        _KIND_OF_VALUE.get(type(value)) if problem["type"].endswith("_type") and (value or not problem["loc"]) else None
    )
    is_whole = not problem["loc"] or isinstance(value, dict | list | tuple)
    return f"{said[:1].lower()}{said[1:]}, got {kind if kind and is_whole else show_value(value)}"


def from_json_error(error: ValueError) -> tuple[str, str]:
    """Return the place and the sentence for pydantic_core's error about invalid JSON."""
    found = re.fullmatch(r"(.*) at line (\d+) column (\d+)", str(error))
    reason, place = (found[1], f"line {found[2]}, column {found[3]}") if found else (str(error), "")
    return place, f"is not valid JSON in UTF-8: {reason}"


def first_line(error: BaseException) -> str:
    """Return the first line of what another library says, or the kind of its error where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def from_yaml(path: Path | str, error: yaml.YAMLError) -> InputError:
    """Return the InputError for a file at ``path`` that is no YAML, with the line and column where that shows."""
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return InputError(path, place, f"is not valid YAML: {shortened(str(getattr(error, 'problem', None) or error))}")
