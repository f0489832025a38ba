"""Hints on labels in doubt, where no skeleton says which labels are keypoints, followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.following.case import BOTH, FISH, POINTS, SIZE, Case, fish
from tests.following.sources import fish_shapes, images, shape, write_labelme

# One in so many objects is under 5 %.
MANY = [f"{number:02d}" for number in range(24)]


def labeled(*names: str, other: Mapping[str, str], more: Sequence[Mapping[str, object]] = ()) -> list[str]:
    """Write labelme files of these images, the last one with other labels; return the arguments of convert."""
    images("src", *(f"{name}.png" for name in names))
    for name in names:
        labels = other if name == names[-1] else {}
        write_labelme(Path(f"src/{name}.json"), [*fish_shapes(group=None, labels=labels), *more])
    return ["src"]


def misspelled() -> list[str]:
    return labeled("a", "b", other={"right-fin": "rigth-fin"})


def two_categories() -> list[str]:
    """Write a crab around all points of the fish but its nose."""
    return labeled("a", "b", other={}, more=[shape("crab", (POINTS["nose"][0] + 5, 0), (SIZE[0] - 1, SIZE[1] - 1))])


CASES = [
    Case("a label spelled like another, mapped", misspelled, ("--map rigth-fin=right-fin",)),
    Case(
        "a label spelled like another, kept", misspelled, ("--map rigth-fin=rigth-fin",),
        want={**BOTH, "b.png": [fish(right_fin=None, rigth_fin=(40.0, 55.0, 2))]},
    ),
    Case(
        "a label spelled like another, left out", misspelled, ("--ignore rigth-fin",),
        want={**BOTH, "b.png": [fish(right_fin=None)]},
    ),
    Case(
        "a rare label", lambda: labeled(*MANY, other={"left-fin": "knob"}), ("--map knob=NAME",),
        fill={"NAME": "left-fin"}, want={f"{name}.png": [FISH] for name in MANY},
    ),
    Case(
        "points in boxes of two categories", two_categories, ("--categories NAME",), fill={"NAME": "fish"},
    ),
]  # fmt: skip
