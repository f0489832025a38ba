"""Names that 0.2 changed. The old ones still work, with a note on stderr; 0.4 removes this module."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

REMOVED_IN = "0.4"
# By command: option names; and by command and option: values.
RENAMED_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "validate": {"--pictures": "--images", "--no-pictures": "--no-images"},
    "export": {"--pictures": "--images"},
}
RENAMED_VALUES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "convert": {"--split-by": {"picture": "image"}},
    "split": {"--split-by": {"picture": "image"}},
    "review": {"--only": {"labelled": "labeled", "unlabelled": "unlabeled"}},
}


def with_new_names(words: Sequence[str]) -> list[str]:
    """Return a command line with old names replaced by new ones, and print a note for each.

    Args:
        words: the command line without the program.
    """
    command = words[0] if words else ""
    options, values = RENAMED_OPTIONS.get(command, {}), RENAMED_VALUES.get(command, {})
    new: list[str] = []
    for before, word in zip(("", *words), words, strict=False):
        name, equals, value = word.partition("=") if word.startswith("--") else (before, "", word)
        if word.startswith("--") and name in options:
            _note(name, options[name])
            word = options[name] + equals + value
        elif value in values.get(name, {}):
            _note(f"{name} {value}", f"{name} {values[name][value]}")
            word = word.removesuffix(value) + values[name][value]
        new.append(word)
    return new


def _note(old: str, new: str) -> None:
    from posetools.errors import printable

    print(printable(f"note: {old} is now {new}; the old name stops working in {REMOVED_IN}"), file=sys.stderr)
