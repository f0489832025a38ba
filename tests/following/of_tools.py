"""Hints of the readers of CVAT, Label Studio, VIA, DeepLabCut and custom tables, followed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.build import make_image
from tests.following.case import AROUND_BOTH, BOTH, BOX, NAMES, POINTS, SIZE, Case, Objects, fish
from tests.following.sources import SKELETON, images, labelme, skeleton


def cvat(box: bool, *options: str) -> list[str]:
    """Write a task of points, with or without the box around them."""
    images("src/images")
    x, y, w, h = BOX
    drawn = f'<box label="fish" xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}" group_id="1"/>' if box else ""
    points = "".join(f'<points label="{name}" points="{px},{py}" group_id="1"/>' for name, (px, py) in POINTS.items())
    listed = "".join(
        f'<image id="{number}" name="{name}.png" width="{SIZE[0]}" height="{SIZE[1]}">{drawn}{points}</image>'
        for number, name in enumerate("ab")
    )
    text = f'<?xml version="1.0"?><annotations><version>1.1</version>{listed}</annotations>'
    Path("src/annotations.xml").write_text(text)
    return ["src", *skeleton(), *options]


def label_studio(box: bool, *options: str, root: str = "", parents: bool = True) -> list[str]:
    """Write tasks with the points of a fish, with or without their rectangle."""
    images("src")
    size = {"original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0}
    x, y, w, h = (100 * value / SIZE[at % 2] for at, value in enumerate(BOX))
    place = {"x": x, "y": y, "width": w, "height": h, "rotation": 0, "rectanglelabels": ["fish"]}
    regions: list[dict[str, Any]] = [{"id": "r", "type": "rectanglelabels", **size, "value": place}] if box else []
    for name, (px, py) in POINTS.items():
        point = {"x": 100 * px / SIZE[0], "y": 100 * py / SIZE[1], "width": 0.5, "keypointlabels": [name]}
        own = {"parentID": "r"} if parents else {}
        regions.append({"id": name, "type": "keypointlabels", **size, "value": point, **own})
    tasks = [
        {"id": number, "data": {"image": f"{root}{name}.png"}, "annotations": [{"result": regions}]}
        for number, name in enumerate("ab")
    ]
    Path("src/export.json").write_text(json.dumps(tasks))
    return ["src", *skeleton(), *options]


def via(*options: str, grouped: bool = True) -> list[str]:
    """Write a project with the points of a fish, and without its box."""
    images("src")
    regions = [
        {
            "shape_attributes": {"name": "point", "cx": x, "cy": y},
            "region_attributes": {"label": name, **({"object": "1"} if grouped else {})},
        }
        for name, (x, y) in POINTS.items()
    ]
    entries = {name: {"filename": f"{name}.png", "size": 1, "regions": regions, "file_attributes": {}} for name in "ab"}
    Path("src/via.json").write_text(json.dumps({"_via_img_metadata": entries, "_via_settings": {}}))
    return ["src", *skeleton(), *options]


def _images_elsewhere() -> list[str]:
    arguments = label_studio(box=True, root="/data/upload/1/")
    images("elsewhere")
    for name in "ab":
        Path(f"src/{name}.png").unlink()
    return arguments


def deeplabcut(names: Sequence[str], *options: str, individuals: Sequence[str] = (), place: str = "src") -> list[str]:
    """Write a project's labels; ``names`` are the columns, one for each of the fish's points."""
    clip = Path(place) / "labeled-data/clip"
    for number in (1, 2):
        make_image(clip / f"img{number}.png", SIZE, seed=number)
    every = [number for name in NAMES[: len(names)] for number in POINTS[name]]
    heads = {"scorer": ["me"] * len(every), "individuals": [one for one in individuals for _ in "xy"],
             "bodyparts": [name for name in names for _ in "xy"], "coords": ["x", "y"] * len(names)}  # fmt: skip
    lines = [",".join([head, "", "", *cells]) for head, cells in heads.items() if cells]
    lines += [",".join(["labeled-data", "clip", f"img{number}.png", *map(str, every)]) for number in (1, 2)]
    (clip / "CollectedData_me.csv").write_text("\n".join(lines) + "\n")
    return [place, *skeleton(), *options]


SEEN = ("--assume-visible", "--box-from", "keypoints")
CLIP: Objects = {f"clip/img{number}.png": AROUND_BOTH["a.png"] for number in (1, 2)}
WITHOUT_RIGHT: Objects = {name: [fish((16.0, 23.5, 48.0, 18.0), right_fin=None)] for name in CLIP}
# Two animals; the second is a snail with its own parts.
TWO = ("one", "one", "one", "snail")


MAPPING = """file = "csv"
[columns]
picture = "image"
[point]
name = "part"
x = "x"
y = "y"
"""
VISIBILITY = 'visibility = "v"\n'
BOXES = '[box]\ncolumns = ["left", "top", "w", "h"]\nconvention = "xywh"\n'


def table(mapping: str, *options: str, columns: str = "image,part,x,y,v,left,top,w,h", boxes: bool = True) -> list[str]:
    """Write a table with a row per point, and the mapping of its columns."""
    images("src")
    Path("fish.toml").write_text(mapping)
    x, y, w, h = BOX if boxes else ("",) * 4
    rows = [f"{image},{name},{px},{py},2,{x},{y},{w},{h}"
            for image in BOTH for name, (px, py) in POINTS.items()]  # fmt: skip
    Path("src/points.csv").write_text("\n".join([columns, *rows]) + "\n")
    return ["src", *skeleton(), *options]


def wide(*options: str) -> list[str]:
    """Write a table with a row per object, and one column too many."""
    images("src")
    names = [*NAMES, "mouth"]
    listed = ", ".join(f'"{name}"' for name in names)
    points = f'[points]\nnames = [{listed}]\nx = "{{name}}_x"\ny = "{{name}}_y"\nvisibility = "{{name}}_v"\n'
    Path("fish.toml").write_text(f'file = "csv"\n[columns]\npicture = "image"\n{points}{BOXES}')
    heads = ["image", *(f"{name}_{part}" for name in names for part in "xyv"), "left", "top", "w", "h"]
    values = [value for name in NAMES for value in (*POINTS[name], 2)] + [1, 1, 2, *BOX]
    rows = [",".join([image, *map(str, values)]) for image in BOTH]
    Path("src/points.csv").write_text("\n".join([",".join(heads), *rows]) + "\n")
    return ["src", *skeleton(), *options]


CUSTOM = ("--from", "custom", "--mapping", "fish.toml")


CASES = [
    Case("via: no box", via, ("--box-from keypoints",), want=AROUND_BOTH),
    Case("via: no groups", lambda: via(grouped=False), ("--one-object-per-image",), want="E306"),
    Case(
        "via: no groups, no box",
        lambda: via("--one-object-per-image", grouped=False),
        ("--box-from keypoints",),
        want=AROUND_BOTH,
    ),
    Case("cvat: no box", lambda: cvat(box=False), ("--box-from keypoints",), want=AROUND_BOTH),
    Case("label studio: no box", lambda: label_studio(box=False), ("--box-from keypoints",), want=AROUND_BOTH),
    Case(
        "label studio: no box, one object per image",
        lambda: label_studio(False, "--one-object-per-image", parents=False),
        ("--box-from keypoints",),
        want=AROUND_BOTH,
    ),
    Case("label studio: images elsewhere", _images_elsewhere, ("--image-root DIR",), {"DIR": "elsewhere"}),
    Case("deeplabcut: no visibility", lambda: deeplabcut(NAMES, *SEEN[1:]), ("--assume-visible",), want=CLIP),
    Case("deeplabcut: no box", lambda: deeplabcut(NAMES, *SEEN[:1]), ("--box-from keypoints",), want=CLIP),
    Case(
        "deeplabcut: two body parts of one name",
        lambda: deeplabcut(("nose", "tail", "left-fin", "fin"), *SEEN, "--map", "fin=tail"),
        ("--ignore fin",),
        want=WITHOUT_RIGHT,
    ),
    Case(
        "deeplabcut: another animal",
        lambda: deeplabcut(("nose", "tail", "left-fin", "shell"), *SEEN, individuals=TWO),
        ("--ignore snail",),
        want=WITHOUT_RIGHT,
    ),
    Case(
        "deeplabcut: another animal's names",
        lambda: deeplabcut(("nose", "tail", "left-fin", "shell"), *SEEN, individuals=TWO),
        ("--map OLD=NAME",),
        {"OLD": "shell", "NAME": "right-fin"},
        want={
            name: [*objects, ((16.0, 31.0, 48.0, 48.0), {"right-fin": (40.0, 55.0, 2)})]
            for name, objects in WITHOUT_RIGHT.items()
        },
    ),
    Case(
        "a table without a mapping",
        lambda: table(MAPPING + VISIBILITY + BOXES),
        ("--from custom --mapping FILE.toml",),
        {"FILE": "fish"},
    ),
    Case(
        "custom without a mapping",
        lambda: table(MAPPING + VISIBILITY + BOXES, "--from", "custom"),
        ("--mapping FILE.toml",),
        {"FILE": "fish"},
    ),
    Case("a table without visibility", lambda: table(MAPPING + BOXES, *CUSTOM), ("--assume-visible",)),
    Case(
        "a table with rows without box",
        lambda: table(MAPPING + VISIBILITY + BOXES, *CUSTOM, boxes=False),
        ("--box-from keypoints",),
        want=AROUND_BOTH,
    ),
    Case("a table with columns of no keypoint", lambda: wide(*CUSTOM), ("--ignore mouth",)),
    Case(
        "written without boxes",
        lambda: [*labelme(), "--to", "deeplabcut"],
        ("--box-from keypoints",),
        again=("out", "--assume-visible", "--box-from", "keypoints", *SKELETON),
        want={f"frames/{name}": objects for name, objects in AROUND_BOTH.items()},
    ),
]
