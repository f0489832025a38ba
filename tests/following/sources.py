"""Sources that show one fish in each of two images, in several formats, with the changes for a case."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.build import make_image
from tests.cli.run import run
from tests.following.case import BOX, NAMES, POINTS, SIZE

Change = Callable[[Any], object]
CORNERS = [[BOX[0], BOX[1]], [BOX[0] + BOX[2], BOX[1] + BOX[3]]]
SKELETON = ["--skeleton", "fish.yaml"]


def skeleton(name: str = "fish.yaml", names: Sequence[str] = NAMES, category: str = "fish") -> list[str]:
    """Write the skeleton; return the option that names it."""
    path = Path(name)
    if not path.exists():
        assert run("skeleton", "new", name, "--names", ",".join(names), "--category", category).status == 0
    return ["--skeleton", name]


def images(folder: str, *names: str, size: tuple[int, int] = SIZE) -> None:
    """Write images of noise."""
    for number, name in enumerate(names or ("a.png", "b.png")):
        make_image(Path(folder) / name, size, seed=number)


def shape(label: str, *points: Sequence[float], kind: str = "", **more: Any) -> dict[str, Any]:
    """Return a labelme shape; one point makes a point, two make a rectangle."""
    told = kind or ("point" if len(points) == 1 else "rectangle")
    return {"label": label, "points": [list(one) for one in points], "shape_type": told, "group_id": None, **more}


def fish_shapes(group: int | None = 1, labels: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Return the fish as labelme shapes: the box first."""
    named = {name: name for name in ("fish", *NAMES)} | dict(labels or {})
    box = shape(named["fish"], *CORNERS, group_id=group)
    return [box, *(shape(named[name], POINTS[name], group_id=group) for name in NAMES)]


def write_labelme(path: Path, shapes: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """Write one file."""
    document: dict[str, Any] = {
        "version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": path.with_suffix(".png").name,
        "imageData": None, "imageHeight": SIZE[1], "imageWidth": SIZE[0],
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**document, **more}))


def labelme(
    shapes: Sequence[Mapping[str, Any]] | None = None, *options: str, folder: str = "src", **more: Any
) -> list[str]:
    """Write labelme files of a.png and b.png; return the arguments of convert."""
    images(folder)
    for name in "ab":
        write_labelme(Path(folder) / f"{name}.json", fish_shapes() if shapes is None else shapes, **more)
    return [folder, *skeleton(), *options]


def coco_document(change: Change = lambda _: None) -> dict[str, Any]:
    """Return a COCO file for both images."""
    keypoints = [value for name in NAMES for value in (*POINTS[name], 2)]
    document: dict[str, Any] = {
        "images": [{"id": i, "file_name": f"{name}.png", "width": SIZE[0], "height": SIZE[1]}
                   for i, name in enumerate("ab", start=1)],
        "annotations": [{"id": i, "image_id": i, "category_id": 1, "bbox": list(BOX), "area": 2400.0, "iscrowd": 0,
                         "num_keypoints": 4, "keypoints": list(keypoints)} for i in (1, 2)],
        "categories": [{"id": 1, "name": "fish", "supercategory": "fish", "keypoints": list(NAMES), "skeleton": []}],
    }  # fmt: skip
    change(document)
    return document


def coco(change: Change = lambda _: None, *options: str, name: str = "labels.json", **more: Any) -> list[str]:
    """Write a COCO file and its images; return the arguments of convert."""
    images("src")
    (Path("src") / name).write_text(json.dumps(coco_document(change), **more))
    return ["src", *skeleton(), *options]


def yolo_line(names: Sequence[str] = NAMES, *, dims: int = 3, first: str = "0") -> str:
    """Return the fish as a line."""
    width, height = SIZE
    x, y, w, h = BOX
    values = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
    for name in names:
        values += [POINTS[name][0] / width, POINTS[name][1] / height, *([2] if dims == 3 else [])]
    return " ".join([first, *map(str, values)]) + "\n"


def yolo(line: str | None = None, *options: str, **yaml: Any) -> list[str]:
    """Write a YOLO-pose folder; keys of data.yaml are JSON values, None leaves one out."""
    keys = {"path": ".", "train": "images", "kpt_shape": [4, 3], "names": ["fish"], **yaml}
    images("src/images")
    labels = Path("src/labels")
    labels.mkdir()
    for name in "ab":
        (labels / f"{name}.txt").write_text(yolo_line() if line is None else line)
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items() if value is not None)
    if text:
        (Path("src") / "data.yaml").write_text(text)
    return ["src", *skeleton(), *options]
