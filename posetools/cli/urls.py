"""URLs on the command line: where they are read, and one sentence where they are not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from posetools.errors import RequestError, must_be

# The commands whose sources may be URLs; their other paths are local ones.
_READ_URLS = ("convert", "validate")
# Weights are downloaded from such addresses, runs told to them: they are no paths.
_NO_PATHS = ("http", "https", "tcp", "tls", "ucx")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def source_path(text: str) -> Path:
    """Return the path of a source, which may be a URL."""
    from posetools.files.urls import as_path

    return as_path(text)


def refuse_url(source: Path, options: Mapping[str, bool]) -> None:
    """Refuse a source at a URL with options that need a local one.

    Args:
        source: the source.
        options: those options, and whether they are given.

    Raises:
        RequestError: one is, and the source is a URL.
    """
    from posetools.files.urls import is_url

    given = [option for option, is_given in options.items() if is_given]
    if given and is_url(source):
        raise RequestError(f"{source}: must be a local path with {' and '.join(given)}")


def refuse_urls(arguments: Sequence[str]) -> None:
    """Refuse URLs where a command takes local paths, which would else be looked for, or written, in a folder ``s3:``.

    Raises:
        RequestError: there is one.
    """
    command = next((text for text in arguments if not text.startswith("-")), "")
    for before, text in zip(("", *arguments), arguments, strict=False):
        option, _, value = text.partition("=") if text.startswith("--") else ("", "", text)
        scheme = _URL.match(value)
        if scheme is None or scheme[1].lower() in _NO_PATHS:
            continue
        option = option or (before if before.startswith("-") and "=" not in before else "")
        if command not in _READ_URLS:
            raise RequestError(
                f"{value}: must be a local path, for `posetools {command}` reads and writes no URLs\n"
                "  `posetools convert` and `posetools validate` read them; see docs/scale.md"
            )
        if option in ("--out", "-o", "--json", "--report", "--skeleton", "--mapping"):
            raise RequestError(must_be(option, "a local path", value))
