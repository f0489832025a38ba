"""Where an object of a Dataset came from: a file and a place in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, overload


class Origin(NamedTuple):
    """The file and the place that an object came from; messages show its text.

    Attributes:
        file: the annotation file, as the user would name it.
        place: the place in that file (``shapes[2]``, ``line 4``), or empty; findings on the object name it.
    """

    file: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.place}" if self.place else self.file


@dataclass(frozen=True, slots=True)
class Origins(Sequence[Origin]):
    """The origins of many objects as two columns: a quarter of the memory.

    Attributes:
        files: the file of each.
        places: the place of each.
    """

    files: tuple[str, ...]
    places: tuple[str, ...]

    @classmethod
    def of(cls, origins: Iterable[Origin]) -> Origins:
        """Return these origins."""
        columns = tuple(zip(*origins, strict=True))
        return cls(*columns) if columns else cls((), ())

    @classmethod
    def joined(cls, parts: Sequence[Origins]) -> Origins:
        """Return all origins of several, one after the other."""
        files = chain.from_iterable(part.files for part in parts)
        return cls(tuple(files), tuple(chain.from_iterable(part.places for part in parts)))

    def take(self, rows: Sequence[int]) -> Origins:
        """Return the origins of some rows."""
        return Origins(tuple(map(self.files.__getitem__, rows)), tuple(map(self.places.__getitem__, rows)))

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, at: int) -> Origin: ...

    @overload
    def __getitem__(self, at: slice) -> Origins: ...

    def __getitem__(self, at: int | slice) -> Origin | Origins:
        """Return one origin, or those of a slice."""
        if isinstance(at, slice):
            return Origins(self.files[at], self.places[at])
        return Origin(self.files[at], self.places[at])
