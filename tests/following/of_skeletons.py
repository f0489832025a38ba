"""Hints about CVAT's skeletons and tracks, followed."""

from __future__ import annotations

from pathlib import Path

from tests.following.case import BOTH, BOX, POINTS, SIZE, Case, Objects
from tests.following.sources import images, skeleton


def cvat(*labels: str) -> list[str]:
    """Write a task with a skeleton of these labels and its box in each image."""
    images("src/images")
    x, y, w, h = BOX
    box = f'<box label="fish" xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}" group_id="1"/>'
    points = "".join(f'<points label="{name}" points="{px},{py}"/>' for name, (px, py) in POINTS.items())
    listed = "".join(
        f'<image id="{number}" name="{name}.png" width="{SIZE[0]}" height="{SIZE[1]}">{box}'
        f'<skeleton label="{label}" group_id="1">{points}</skeleton></image>'
        for number, (name, label) in enumerate(zip("ab", labels, strict=True))
    )
    Path("src/annotations.xml").write_text(
        f'<?xml version="1.0"?><annotations><version>1.1</version>{listed}</annotations>'
    )
    return ["src", *skeleton()]


def _tracked() -> list[str]:
    """Write the task of a video: a box in frames 0 and 1, whose images are elsewhere."""
    images("elsewhere", *FRAMES)
    Path("src").mkdir()
    x, y, w, h = BOX
    corners = f'xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}" occluded="0" keyframe="1"'
    boxes = "".join(f'<box frame="{frame}" outside="{int(frame == 2)}" {corners}/>' for frame in range(3))
    size = f"<original_size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></original_size>"
    text = f'<version>1.1</version><meta><task>{size}</task></meta><track id="0" label="fish">{boxes}</track>'
    Path("src/annotations.xml").write_text(f'<?xml version="1.0"?><annotations>{text}</annotations>')
    return ["src", *skeleton()]


FRAMES = ("frame_000000.PNG", "frame_000001.PNG")
BOXES: Objects = {name: [(BOX, {})] for name in BOTH}

CASES = [
    Case("one skeleton of another label", lambda: cvat("fish", "carp"), ("--map carp=fish",)),
    Case("a skeleton of another label", lambda: cvat("carp", "carp"), ("--map carp=fish",)),
    Case("a skeleton of another label, left out", lambda: cvat("carp", "carp"), ("--ignore 'carp'",), want=BOXES),
    Case(
        "frames elsewhere",
        _tracked,
        ("--image-root DIR",),
        {"DIR": "elsewhere"},
        want={name: [(BOX, {})] for name in FRAMES},
    ),
]
