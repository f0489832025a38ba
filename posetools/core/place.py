"""Where an object of a Dataset came from: a file, and a place in it."""

from __future__ import annotations

from typing import NamedTuple


class Origin(NamedTuple):
    """The file that an object came from, and the place in it; its text is what messages show.

    Attributes:
        file: the annotation file, as the user named or would name it.
        place: the place in that file (``shapes[2]``, ``line 4``), or empty: what findings on the object name.
    """

    file: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.place}" if self.place else self.file
