"""Hints about keypoints without names, and about outlines, followed in labelme files."""

from __future__ import annotations

from typing import Any

from tests.following.case import BOTH, NAMES, POINTS, Case, fish
from tests.following.sources import CORNERS, SKELETON, fish_shapes, labelme, shape

BOX_OF_FISH = shape("fish", *CORNERS, group_id=1)
ORDER = ",".join(NAMES)


def _unnamed(number: int) -> list[dict[str, Any]]:
    """Return the box, and this many points labeled with the object's name."""
    return [BOX_OF_FISH, *(shape("fish", POINTS[name], group_id=1) for name in NAMES[:number])]


def _line(kind: str, *, box: bool = True) -> list[dict[str, Any]]:
    line = shape("fish", *POINTS.values(), kind=kind, group_id=1)
    return [BOX_OF_FISH, line] if box else [line]


def _boxed_nose() -> list[dict[str, Any]]:
    """Return the fish with a small rectangle as its nose."""
    x, y = POINTS["nose"]
    return [
        shape("nose", (x - 2, y - 2), (x + 2, y + 2), group_id=1) if one["label"] == "nose" else one
        for one in fish_shapes()
    ]


NO_RIGHT = {name: [fish(right_fin=None)] for name in BOTH}

CASES = [
    Case("points without names", lambda: labelme(_unnamed(4)), ("--kpt-order *",)),
    Case(
        "fewer points without names",
        lambda: labelme(_unnamed(3)),
        ("--kpt-order A,B,...",),
        {"A,B,...": "nose,tail,left-fin"},
        want=NO_RIGHT,
    ),
    Case(
        "points for another order",
        lambda: labelme(_unnamed(4), "--kpt-order", "nose,tail,left-fin"),
        (),
        again=("src", *SKELETON, "--kpt-order", ORDER),
    ),
    Case("a line of points", lambda: labelme(_line("linestrip")), ("--kpt-order *",)),
    Case(
        "a line of points for another order",
        lambda: labelme(_line("linestrip"), "--kpt-order", "nose,tail,left-fin"),
        (),
        again=("src", *SKELETON, "--kpt-order", ORDER),
    ),
    Case(
        "a polygon",
        lambda: labelme(_line("polygon", box=False)),
        ("--box-from outlines",),
        # The box around its corners.
        want={name: [((20.0, 25.0, 40.0, 30.0), {})] for name in BOTH},
    ),
    Case("a keypoint drawn as a rectangle", lambda: labelme(_boxed_nose()), ("--keypoints-from categories",)),
]
