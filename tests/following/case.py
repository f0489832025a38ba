"""A case: a source, the output of ``convert``, what its hint says to type, and the converted result."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cli.run import Done, run

# A word as typed in a shell, without the punctuation after it.
_WORD = r"(?:'[^']*'|[^\s'`;)]*[^\s'`;:,.)])"
# The part of a hint to type.
_TYPED = re.compile(r"(?:--|posetools ).*")

# A box (x, y, width, height), and name -> (x, y, visibility) of its labeled keypoints.
Object = tuple[tuple[float, ...], dict[str, tuple[float, float, int]]]
Objects = Mapping[str, Sequence[Object]]

NAMES = ("nose", "tail", "left-fin", "right-fin")
SIZE = (100, 80)
BOX = (10.0, 20.0, 60.0, 40.0)
POINTS = {"nose": (20.0, 40.0), "tail": (60.0, 40.0), "left-fin": (40.0, 25.0), "right-fin": (40.0, 55.0)}
FISH: Object = (BOX, {name: (*xy, 2) for name, xy in POINTS.items()})
# All sources here show this: the same fish in two images.
BOTH: Objects = {"a.png": [FISH], "b.png": [FISH]}
# With --box-from keypoints and its margin of 0.1: the extent is 20, 25 to 60, 55.
AROUND: Object = ((16.0, 22.0, 48.0, 36.0), FISH[1])
AROUND_BOTH: Objects = {"a.png": [AROUND], "b.png": [AROUND]}


def fish(box: tuple[float, ...] = BOX, **changed: tuple[float, float, int] | None) -> Object:
    """Return the fish with another box or other keypoints; ``_`` stands for ``-`` in names, None removes a keypoint."""
    points: dict[str, tuple[float, float, int] | None] = {
        **FISH[1], **{name.replace("_", "-"): point for name, point in changed.items()}
    }  # fmt: skip
    return box, {name: point for name, point in points.items() if point is not None}


@dataclass(frozen=True)
class Case:
    """One hint, followed.

    Attributes:
        name: of the case.
        make: writes the source into the working folder; returns the arguments of ``convert``.
        said: the parts of the hint to type as printed, with or without quotes; ``*`` stands for any
            word, and a command (``posetools ...``) is run before.
        fill: placeholder in them -> what is typed for it.
        leave_out: arguments that the hint says to remove.
        again: all arguments of the second ``convert``, if the hint does not just add to the first; ``said`` is
            then only searched for.
        want: the content of the output; or a code or text of the next finding.
        status: the exit status of a conversion that writes something although something could not be read.
    """

    name: str
    make: Callable[[], list[str]]
    said: tuple[str, ...]
    fill: Mapping[str, str] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    want: Objects | str = field(default_factory=lambda: BOTH)
    status: int = 0

    def first(self) -> tuple[list[str], Done]:
        """Write the source and convert it; return the arguments, and the result."""
        words = self.make()
        return words, run("convert", *words, "--out", "out")

    def follow(self, words: Sequence[str], done: Done) -> tuple[list[str], Done]:
        """Type what the hint says; return the arguments of the second conversion, and its result."""
        told = " ".join(done.words.split())
        added: list[str] = []
        for said in self.said:
            match = re.search(_pattern(said), told)
            assert match, f"{said!r} is not said in: {told}"
            if self.again and "posetools" not in said:
                continue
            parts = [self._filled(word) for word in shlex.split(_TYPED.findall(match[0])[0])]
            if parts[0] == "posetools":
                made = run(*parts[1:])
                assert made.status == 0, made.out + made.err
            else:
                added += parts
        kept = [word for word in words if word not in self.leave_out]
        out = "again" if Path("out").exists() and "--overwrite" not in added else "out"
        typed = [*(self.again or [*kept, *added])]
        return typed, run("convert", *typed, "--out", out)

    def _filled(self, word: str) -> str:
        for old, new in self.fill.items():
            word = word.replace(old, new)
        return word


def _pattern(said: str) -> str:
    words = (_WORD if word == "*" else f"'?{re.escape(word)}'?" for word in shlex.split(said))
    return r"\s+".join(words)


def found(out: Path) -> dict[str, list[Object]]:
    """Return the content of COCO files, by image, the objects from left to right."""
    objects: dict[str, list[Object]] = {}
    for file in sorted(out.glob("*_coco.json")):
        document = json.loads(file.read_text())
        names = document["categories"][0]["keypoints"]
        images = {image["id"]: image["file_name"] for image in document["images"]}
        for name in images.values():
            objects[name] = []
        for one in document["annotations"]:
            objects[images[one["image_id"]]].append(_object(one, names))
    return {name: sorted(listed, key=lambda one: one[0]) for name, listed in objects.items()}


def _object(annotation: Mapping[str, Any], names: Sequence[str]) -> Object:
    values = annotation["keypoints"]
    triples = zip(names, values[::3], values[1::3], values[2::3], strict=True)
    points = {name: (round(x, 3), round(y, 3), v) for name, x, y, v in triples if v}
    return tuple(round(value, 3) for value in annotation["bbox"]), points
