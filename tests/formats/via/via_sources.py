"""VIA projects of a fish, and what the command reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.build import make_image
from tests.cli.run import Done, run

Objects = dict[str, list[tuple[list[float], list[float]]]]


def region(kind: str, numbers: Mapping[str, Any], said: Any) -> dict[str, Any]:
    return {"shape_attributes": {"name": kind, **numbers}, "region_attributes": said}


def rect(x: Any, y: Any, width: Any, height: Any, **said: Any) -> dict[str, Any]:
    return region("rect", {"x": x, "y": y, "width": width, "height": height}, said)


def point(x: Any, y: Any, **said: Any) -> dict[str, Any]:
    return region("point", {"cx": x, "cy": y}, said)


def save(folder: Path, *images: Any, **settings: Any) -> Path:
    """Write a project with these regions in the images 0.jpg, 1.jpg, ... next to it."""
    metadata = {}
    for number, regions in enumerate(images):
        make_image(folder / f"{number}.jpg")
        metadata[f"{number}.jpg-1"] = {"filename": f"{number}.jpg", "size": -1, "regions": regions}
    project = {"_via_settings": settings, "_via_img_metadata": metadata}
    (folder / "project.json").write_text(json.dumps(project))
    return folder


def convert(source: Path, *options: str) -> tuple[Done, Objects]:
    """Run ``posetools convert`` for a fish of eye and tail; return boxes and keypoints as COCO has them, by image."""
    skeleton, out = source.parent / "fish.yaml", source.parent / "out"
    if not skeleton.exists():
        run("skeleton", "new", skeleton, "--names", "eye,tail", "--category", "fish")
    done = run("convert", source, "--skeleton", skeleton, "--out", out, "--val", "0", *options)
    return done, _objects(out / "train_coco.json") if out.exists() else {}


def _objects(file: Path) -> Objects:
    document = json.loads(file.read_text())
    names = {image["id"]: image["file_name"] for image in document["images"]}
    found: Objects = {name: [] for name in sorted(names.values())}
    for one in document["annotations"]:
        found[names[one["image_id"]]].append((one["bbox"], one["keypoints"]))
    return found


def said(done: Done, codes: Sequence[str] = ("W324",)) -> list[str]:
    """Return the lines behind the headings of these codes."""
    lines, wanted = [], False
    for line in done.err.splitlines() + done.out.splitlines():
        if line[:1] in ("E", "W") and line[1:4].isdigit():
            wanted = line[:4] in codes
        elif wanted and line.startswith("  "):
            lines.append(line.strip())
        else:
            wanted = False
    return lines
