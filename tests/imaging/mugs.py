"""Labelme folders of mugs: an object other than a car."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.run import run

POINTS = ("rim_left", "rim_right", "handle", "foot")


def skeleton(folder: Path) -> Path:
    path = folder / "mug.yaml"
    assert run("skeleton", "new", path, "--names", ",".join(POINTS), "--category", "mug").status == 0
    return path


def label(image: Path, size: tuple[int, int], *, objects: int = 1) -> None:
    """Write a labelme file next to an image, with mugs whose points are in its upper left quarter."""
    shapes: list[dict[str, Any]] = []
    for group in range(objects):
        corners = [[2.0 + group, 2.0], [20.0 + group, 14.0]]
        shapes.append({"label": "mug", "points": corners, "shape_type": "rectangle", "group_id": group})
        for at, name in enumerate(POINTS):
            point = [[4.0 + 3 * at + group, 5.0 + at]]
            shapes.append({"label": name, "points": point, "shape_type": "point", "group_id": group})
    document: dict[str, Any] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": [{**shape, "flags": {}} for shape in shapes],
        "imagePath": image.name,
        "imageData": None,
        "imageWidth": size[0],
        "imageHeight": size[1],
    }
    image.with_suffix(".json").write_text(json.dumps(document), encoding="utf-8")
