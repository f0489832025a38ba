"""YAML text to its document, with every way in which PyYAML fails told as one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from posetools.errors import InputError, from_yaml

# What PyYAML's constructors let through for a value that does not fit its tag or its form: 2001-02-30, !!bool x,
# !!int "", !!timestamp x, a number of 5,000 digits.
_LET_THROUGH = (ValueError, TypeError, AttributeError, LookupError)


def parse_yaml(path: Path | str, text: str, *, own: bool = False) -> Any:
    """Return the document in a YAML text.

    Args:
        path: the file, for messages.
        text: its text.
        own: whether it is a file of posetools' own. For those the parser in C will do, which takes a tenth of the time,
            places errors elsewhere, and does not survive every depth.

    Raises:
        InputError: it is no YAML, or nested too deeply.
    """
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if own else yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise from_yaml(path, exc) from exc
    except RecursionError as exc:
        raise InputError(path, "", "is nested too deeply to be read") from exc
    except _LET_THROUGH as exc:
        raise InputError(path, "", f"is not valid YAML: a value does not fit its form: {exc}") from exc
