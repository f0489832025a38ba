"""Numbers that files write in another type: ``8.0`` and ``"8"`` for 8, ``"1.5"`` for 1.5.

Every format uses these functions, so that a text means the same number in all of them.
"""

from __future__ import annotations

import math
from typing import Any

from posetools.core.geometry import MAX_COORDINATE

# Columns hold 64-bit integers.
_LARGEST_WHOLE = 2**63 - 1
# No number of an annotation comes close to it.
_LARGEST_NUMBER = 1e15
_TEXT_LIMIT = 40


def whole_number(value: object) -> int | None:
    """Return a value as an integer, from a float without fraction or from text; None if it is none."""
    if isinstance(value, str):
        text = value.strip()
        digits = text[1:] if text.startswith(("+", "-")) else text
        is_whole = len(text) <= _TEXT_LIMIT and text.isascii() and digits.isdigit()
        value = int(text) if is_whole else number_in(text)
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= _LARGEST_WHOLE else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def whole(value: Any) -> Any:
    """Return a value as an integer if it is one, else the value itself."""
    number = whole_number(value)
    return value if number is None else number


def number_in(value: object) -> float | int | None:
    """Return a value as a finite number, also from text; None if it is none."""
    if isinstance(value, str) and len(value) <= _TEXT_LIMIT and value.isascii() and "_" not in value:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An int may exceed the largest float; comparisons with NaN are false.
    return value if abs(value) <= _LARGEST_NUMBER else None


def cell_number(cell: object) -> float | None:
    """Return the coordinate in a table cell; NaN for an empty cell, None for anything but a number of pixels."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return math.nan
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        return None
    try:
        value = float(cell)
    except (ValueError, OverflowError):
        return None
    return value if abs(value) <= MAX_COORDINATE or math.isnan(value) else None
