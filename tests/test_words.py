"""Phrases that texts never use; ``python -m tests.test_words PATH ...`` lists them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# What the field says instead is in each comment.
PHRASES = (
    r"by (?:its|their|unmistakable) signs",  # auto-detected
    r"mend(?:s|ed|ing)?",  # fix
    r"(?:is|are|be) not? ?to be had|(?:is|are) to be had",  # (not) available
    r"(?:draw|draws|drawn) by lot",  # random
    r"anew",  # again
    r"likewise|thereof|wherein|thereby|whereof",  # repeat the noun
    r"of (?:no|a) kind",  # (not) a supported format
    r"whatever ends it",
    r"pictures?",  # image
    r"(?:lay|lays|laid|lies) down",  # write
    r"begun",  # started
    r"is told (?:by|apart)",  # detected by
    r"what it is told",  # its options
    r"goes on with|go on with",  # resumes, continues
    r"nobody",  # no one; better, say who or what
    r"beneath|besides",  # below; also
    r"(?:un)?labelled|labelling|colours?|neighbours?|behaviour|recognised?|normalised?|centred?",  # American
)
FOUND = re.compile(r"(?<![\w-])(?:" + "|".join(PHRASES) + r")(?![\w-])", re.IGNORECASE)
SUFFIXES = {".md", ".py", ".html", ".toml", ".yml", ".yaml", ""}
# Generated figures and help, which is read where it is written; old releases; sample files of other tools; this list.
SKIPPED = ("CHANGELOG.md", "LICENSE", "data/", "tests/logs/", "tests/test_words.py", "docs/mutation.md", "docs/cli.md")
# Code and keys in files are no prose: quoted words, options, dotted and underscored names, paths, assignments.
QUOTED = re.compile(
    r"\"[\w.-]+\"|'[\w.-]+'|`[^`\n]+`|--[\w-]+(?: pictures)?|\w+_\w+|(?:[\w/-]*\.)+\w+|\w+\(|/\w+|\w+ = "
    r"|\b(?:picture|neighbour): |neighbour must be"
)


def _files(prefixes: tuple[str, ...]) -> list[Path]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [
        ROOT / name
        for name in done.stdout.splitlines()
        if name and name.startswith(prefixes) and not name.startswith(SKIPPED) and Path(name).suffix in SUFFIXES
    ]


def _hits(path: Path) -> Iterator[str]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for match in FOUND.finditer(QUOTED.sub(" ", line)):
            yield f"{path.relative_to(ROOT)}:{number}: {match[0]!r} in: {line.strip()[:100]}"


def hits(*prefixes: str) -> list[str]:
    """Return each place of such a phrase in the files whose names begin with one of the prefixes."""
    return [hit for path in _files(prefixes or ("",)) if path.is_file() for hit in _hits(path)]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the git checkout")
def test_texts_use_the_words_of_the_field() -> None:
    assert not hits(), "write what the comment beside each phrase in this file says"


if __name__ == "__main__":
    print("\n".join(hits(*sys.argv[1:])))
