"""The terms of a labeling tool, and the findings of one image in these terms."""

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
    """The terms of a tool; the defaults are labelme's.

    Attributes:
        tool: its name.
        shape: its term for a shape.
        group: its term for what joins a point to its box.
        flag: its term for a mark of a shape.
        join: how to make a point and its box one object.
        part: how to make several boxes several objects.
        agree: how to correct a point with contradictory statements.
    """

    tool: str = "labelme"
    shape: str = "shape"
    group: str = "group_id"
    flag: str = "flag"
    join: str = "give both the same group_id"
    part: str = "give each object a group_id of its own"
    agree: str = "correct the point's contradictory marks"

    @property
    def correct(self) -> str:
        """How to correct a shape that cannot be read."""
        return f"correct the {self.shape} in {self.tool}, or delete it"


LABELME_WORDING = Wording()
# The common cause of errors in several images.
_CAUSES = {
    "E303": "points must be in a box, or joined with one",
    "E304": "points must have only one possible box",
    "E305": "an object must have each keypoint once",
    "E306": "the points of an object must have a box",
    "E307": "an object must have one box",
}


@lru_cache(maxsize=1024)
def shape_name(index: int) -> str:
    """Return the name of a labelme shape in messages."""
    return f"shapes[{index}]"


@dataclass(slots=True)
class ShapeReport:
    """Collects the findings on one image's shapes.

    Attributes:
        file: the annotation file's name.
        words: its tool's terms.
        entry: the place of the image's entry in the file; empty if the file is for one image.
        places: the place of each shape in the entry; empty for labelme's ``shapes[3]``.
        findings: the findings so far.
        dependents: an unreadable shape that could be a box -> the points that therefore cannot be read.
    """

    file: str
    words: Wording = LABELME_WORDING
    entry: str = ""
    places: Sequence[str] = ()
    findings: list[Finding] = field(default_factory=list)
    dependents: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def named(self, index: int) -> str:
        """Return a shape's name in messages."""
        return self.places[index] if self.places else shape_name(index)

    def all_named(self, indices: Iterable[int]) -> str:
        """Return the names of several shapes."""
        return " and ".join(map(self.named, indices))

    def at(self, *names: str) -> str:
        """Return the place in the file of these parts of the entry."""
        return Place.within(self.entry, *names) if self.entry else Place.several(*names)

    def place_of(self, index: int) -> str:
        """Return the place of a shape in the file."""
        return str(self.at(self.named(index)))

    def find(self, code: str, shapes: Iterable[int] | str, message: str, hint: str = "") -> None:
        """Add a finding on some shapes, or on a part of the entry."""
        self.findings.append(Finding(code, self.file, self._place(shapes), message, hint))

    def find_in(self, index: int, field: str, message: str, hint: str) -> None:
        """Add a finding on an invalid value of a shape, or on the shape if the field is empty."""
        place = reduce(Place.field, field.split(".") if field else (), self.at(self.named(index)))
        self.findings.append(Finding("E311", self.file, place, message, hint))

    def tell(self, code: str, shapes: Iterable[int] | str, message: str, hint: str, cause: str = "") -> None:
        """Add a finding that is joined with those of other images with the same cause; by default the code's cause."""
        cause = cause or _CAUSES[code]
        self.findings.append(CauseFinding(code, self.file, self._place(shapes), message, hint, cause=cause, way=hint))

    def count(self, code: str, indices: Sequence[int], message: str, hint: str = "") -> None:
        """Add a finding on some shapes, if any, that is joined with those of other images with the same message."""
        if indices:
            place, number = self._place(indices), len(indices)
            # In errors and on flags, the places already give the count.
            text = f"{message} ({number})" if code == "W324" else message
            self.findings.append(RepeatedFinding(code, self.file, place, text, hint, what=message, number=number))

    def _place(self, shapes: Iterable[int] | str) -> str:
        return self.at(*([shapes] if isinstance(shapes, str) else map(self.named, shapes)))

    def close(self) -> None:
        """Add the dependents to the findings on the shapes that they depend on."""
        for index, points in self.dependents.items():
            add_dependents(self.findings, self.named(index), list(map(self.named, points)))
