"""How a labeling tool calls what is said of its shapes, and the findings of one image in these words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce

from posetools.core.findings import Finding
from posetools.errors import Place
from posetools.formats.joined import CauseFinding, RepeatedFinding, add_dependents


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of a tool; the defaults are labelme's.

    Attributes:
        tool: its name.
        shape: what it calls a shape.
        group: what joins a point to its box.
        flag: what it calls a mark of a shape.
        join: what to do so that a point and its box are one object.
        part: what to do so that several boxes are several objects.
        agree: what to do about a point of which several things are said.
    """

    tool: str = "labelme"
    shape: str = "shape"
    group: str = "group_id"
    flag: str = "flag"
    join: str = "give both the same group_id"
    part: str = "give each object a group_id of its own"
    agree: str = "correct it, so that all that is said of the point agrees"

    @property
    def correct(self) -> str:
        """What to do about a shape that cannot be read."""
        return f"correct the {self.shape} in {self.tool}, or delete it"


LABELME_WORDING = Wording()
# What errors of several images have in common.
_CAUSES = {
    "E303": "points must be in a box, or joined with one",
    "E304": "points must have one box that can only be their own",
    "E305": "an object must have each keypoint once",
    "E306": "the points of an object must have a box",
    "E307": "an object must have one box",
}


@lru_cache(maxsize=1024)
def shape_name(index: int) -> str:
    """Return what messages call a shape of a labelme file."""
    return f"shapes[{index}]"


@dataclass(slots=True)
class ShapeReport:
    """What is found in the shapes of one image.

    Attributes:
        file: the annotation file's name.
        words: those of its tool.
        entry: the place of the image's entry in the file; empty where a file is one image.
        places: the place of each shape in the entry; empty for labelme's ``shapes[3]``.
        findings: what was found so far.
        dependents: a shape that could be a box and was not read -> the points that cannot be read for that reason.
    """

    file: str
    words: Wording = LABELME_WORDING
    entry: str = ""
    places: Sequence[str] = ()
    findings: list[Finding] = field(default_factory=list)
    dependents: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def named(self, index: int) -> str:
        """Return what a shape is called in messages."""
        return self.places[index] if self.places else shape_name(index)

    def all_named(self, indices: Iterable[int]) -> str:
        """Return the names of several shapes."""
        return " and ".join(map(self.named, indices))

    def at(self, *names: str) -> str:
        """Return the place of what is called so in the entry, as a place in the file."""
        return Place.within(self.entry, *names) if self.entry else Place.several(*names)

    def place_of(self, index: int) -> str:
        """Return the place of a shape in the file."""
        return str(self.at(self.named(index)))

    def find(self, code: str, shapes: Iterable[int] | str, message: str, hint: str = "") -> None:
        """Add a finding at some shapes, or at what is called so in the entry."""
        self.findings.append(Finding(code, self.file, self._place(shapes), message, hint))

    def find_in(self, index: int, field: str, message: str, hint: str) -> None:
        """Add a finding at a value of a shape that cannot be read, or at the shape where the field is empty."""
        place = reduce(Place.field, field.split(".") if field else (), self.at(self.named(index)))
        self.findings.append(Finding("E311", self.file, place, message, hint))

    def tell(self, code: str, shapes: Iterable[int] | str, message: str, hint: str, cause: str = "") -> None:
        """Add a finding that is one with those of other images of the same cause, by its code where none is said."""
        cause = cause or _CAUSES[code]
        self.findings.append(CauseFinding(code, self.file, self._place(shapes), message, hint, cause=cause, way=hint))

    def count(self, code: str, indices: Sequence[int], message: str, hint: str = "") -> None:
        """Add a finding at some shapes, if there are any, that is one with those of other images in the same words."""
        if indices:
            place, number = self._place(indices), len(indices)
            # Of errors and flags the places say how many there are.
            text = f"{message} ({number})" if code == "W324" else message
            self.findings.append(RepeatedFinding(code, self.file, place, text, hint, what=message, number=number))

    def _place(self, shapes: Iterable[int] | str) -> str:
        return self.at(*([shapes] if isinstance(shapes, str) else map(self.named, shapes)))

    def close(self) -> None:
        """Tell of the dependents at the findings on what they depend on."""
        for index, points in self.dependents.items():
            add_dependents(self.findings, self.named(index), list(map(self.named, points)))
