"""Hints of shared code, as the running command can give them.

Readers are shared by ``convert``, ``diff``, ``view`` and others, but their options are convert's. Where the running
command lacks an option that a hint names, the hint names it together with the command that has it.
"""

from __future__ import annotations

import re
import sys
from functools import cache

from posetools.cli.commands import COMMANDS

# What shared code names in hints, and whose options these are.
_OWNERS = {
    "convert": "--from --image-root --map --ignore --box-from --box-margin --label-pattern --hidden-flag --kpt-shape "
    "--kpt-order --assume-visible --attribute --mapping --encoding --keypoints-from --trust-sizes --keep-going "
    "--one-object-per-image --categories --val --split-by --seed",
    "validate": "--fix",
}
_OWNER = {option: command for command, options in _OWNERS.items() for option in options.split()}
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
# Within backticks, and within a line, a command that is named before an option is the option's.
_PART = re.compile(r"`[^`\n]*`|[^`\n]+")


def in_own_words(text: str, words: list[str] | None = None) -> str:
    """Return a text in which every option that the running command lacks is named with its command.

    Args:
        text: an error, a hint or a note.
        words: the command line without the program; None for this process's.
    """
    if not any(option in text for option in _OWNER):
        return text
    own = _options_of(tuple(sys.argv[1:] if words is None else words))
    return _PART.sub(lambda part: _attributed(part[0], own), text)


def _attributed(part: str, own: frozenset[str]) -> str:
    text, end = "", 0
    for found in _OPTION.finditer(part):
        text += part[end : found.start()]
        owner = _OWNER.get(found[0])
        # Options that follow each other are one command's; after a comma or the like another thing is named.
        if owner is not None and found[0] not in own and "posetools " not in re.split(r"[;,:(]", text)[-1]:
            text += f"posetools {owner} "
        text, end = text + found[0], found.end()
    return text + part[end:]


@cache
def _options_of(words: tuple[str, ...]) -> frozenset[str]:
    """Return the options of the command that these words call; none when they call none."""
    command = next((each for word in words for each in COMMANDS if each.name == word), None)
    if command is None:
        return frozenset()
    return frozenset(text for each in command.as_click().params for text in (*each.opts, *each.secondary_opts))
