"""Parses YAML text, where every failure of PyYAML becomes one sentence; writes a value on one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from posetools.errors import InputError, from_yaml, shortened
from posetools.files.disk import read_text
from posetools.files.nesting import NestingError, check_nesting

# Errors that PyYAML's constructors do not catch for values that do not match their tag: 2001-02-30, !!bool x,
# !!int "", !!timestamp x, a number of 5,000 digits.
_LET_THROUGH = (ValueError, TypeError, AttributeError, LookupError)
# How many values the aliases of a document may repeat in total, with aliases of aliases.
MOST_REPEATED = 100_000
# PyYAML itself allows fewer levels.
_DEEPEST_YAML = 1_000


class _Loader(yaml.SafeLoader):
    """PyYAML's loader, which refuses documents with too many aliases."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        try:
            check_nesting(node, _children, deepest=_DEEPEST_YAML, most_repeated=MOST_REPEATED)
        except NestingError as exc:
            raise yaml.composer.ComposerError(None, None, f"with its aliases, it {exc}") from exc
        return node


def _children(node: object) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def yaml_keys(path: Path) -> frozenset[str]:
    """Return the keys of the mapping in a YAML file; none if it is not a mapping or cannot be read."""
    try:
        document = parse_yaml(path, read_text(path))
    except InputError:
        return frozenset()
    return frozenset(map(str, document)) if isinstance(document, dict) else frozenset()


def parse_yaml(path: Path | str, text: str, *, own: bool = False) -> Any:
    """Return the document in a YAML text.

    Args:
        path: the file, for messages.
        text: its text.
        own: whether posetools wrote the file. Then the C parser is used: ten times faster, but with other places of
            errors, and it crashes on deep nesting.

    Raises:
        InputError: it is not YAML, is nested too deeply, or has too many aliases.
    """
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", _Loader) if own else _Loader)
    except yaml.YAMLError as exc:
        raise from_yaml(path, exc) from exc
    except RecursionError as exc:
        raise InputError(path, "", "is nested too deeply") from exc
    except _LET_THROUGH as exc:
        raise InputError(path, "", f"is not valid YAML: a value is invalid: {shortened(str(exc))}") from exc


def flow_text(value: object) -> str:
    """Return a value as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).strip()
