"""Progress of long work, independent of how it is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

# Called with the task, how many items are done, and how many there are.
Progress: TypeAlias = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Ignore progress."""
