"""Numbers that files write in another way than as numbers: ``8.0`` and ``"8"`` for 8, ``"1.5"`` for 1.5.

Every format that reads such values reads them here, so that one text is the same number in all of them.
"""

from __future__ import annotations

import math
from typing import Any

from posetools.core.geometry import MAX_COORDINATE

# Columns are of 64 bits.
_LARGEST_WHOLE = 2**63 - 1
# No number of an annotation comes near it.
_LARGEST_NUMBER = 1e15
_TEXT_LIMIT = 40


def whole_number(value: object) -> int | None:
    """Return the integer that a value is, or means as a float without fraction or as text; None when it means none."""
    if isinstance(value, str):
        text = value.strip()
        digits = text[1:] if text.startswith(("+", "-")) else text
        is_whole = len(text) <= _TEXT_LIMIT and text.isascii() and digits.isdigit()
        value = int(text) if is_whole else number_in(text)
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= _LARGEST_WHOLE else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def whole(value: Any) -> Any:
    """Return the integer that a value means, and anything else as it is."""
    number = whole_number(value)
    return value if number is None else number


def number_in(value: object) -> float | int | None:
    """Return the finite number that a value is, or says as text; None when it says none."""
    if isinstance(value, str) and len(value) <= _TEXT_LIMIT and value.isascii() and "_" not in value:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An int may be too large to be a float; NaN is not at most anything.
    return value if abs(value) <= _LARGEST_NUMBER else None


def cell_number(cell: object) -> float | None:
    """Return the coordinate in a cell of a table; NaN for an empty cell, None for what is no number of pixels."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return math.nan
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        return None
    try:
        value = float(cell)
    except (ValueError, OverflowError):
        return None
    return value if abs(value) <= MAX_COORDINATE or math.isnan(value) else None
