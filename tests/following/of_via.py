"""Hints of the VIA reader about regions without a label, and about contradictory values, followed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.following.case import BOTH, BOX, FISH, POINTS, Case, Objects, fish
from tests.following.sources import images, skeleton

Region = dict[str, Any]


def _same(label: str) -> Region:
    return {"label": label}


def via(said: Callable[[str], Region] = _same, *options: str, box: bool = True, points: bool = True) -> list[str]:
    """Write a project of both images; ``said`` gives the attributes of the region of a label."""
    images("src")
    x, y, w, h = BOX
    shapes = [("fish", {"name": "rect", "x": x, "y": y, "width": w, "height": h})] if box else []
    shapes += [(name, {"name": "point", "cx": px, "cy": py}) for name, (px, py) in POINTS.items()] if points else []
    regions = [{"shape_attributes": shape, "region_attributes": said(label)} for label, shape in shapes]
    entries = {name: {"filename": f"{name}.png", "size": 1, "regions": regions, "file_attributes": {}} for name in "ab"}
    Path("src/via.json").write_text(json.dumps({"_via_img_metadata": entries, "_via_settings": {}}))
    return ["src", *skeleton(), *options]


def _broken() -> list[str]:
    """Write a project with a third image, whose regions are not a list."""
    arguments = via()
    images("src", "a.png", "b.png", "c.png")
    document = json.loads(Path("src/via.json").read_text())
    document["_via_img_metadata"]["c"] = {"filename": "c.png", "size": 1, "regions": 7, "file_attributes": {}}
    Path("src/via.json").write_text(json.dumps(document))
    return arguments


def _numbered() -> list[str]:
    """Write a project with numbered fish, of which one has a second one with a nose in front."""
    arguments = via(lambda one: {"label": one, "nr": "1"})
    document = json.loads(Path("src/via.json").read_text())
    for entry in document["_via_img_metadata"].values():
        box = {"name": "rect", "x": 15, "y": 25, "width": 70, "height": 50}
        nose = {"name": "point", "cx": 30, "cy": 45}
        entry["regions"] += [
            {"shape_attributes": shape, "region_attributes": {"label": label, "nr": "2"}}
            for label, shape in (("fish", box), ("nose", nose))
        ]
    Path("src/via.json").write_text(json.dumps(document))
    return arguments


def _lost_view() -> list[str]:
    """Write a VIA 3 project in which a region's view does not exist."""
    images("src")
    x, y, w, h = BOX
    boxed = {"z": [], "xy": [2, x, y, w, h], "av": {"1": "fish"}}
    regions = {f"{view}_box": {"vid": view, **boxed} for view in "12"} | {"lost": {"vid": "9", **boxed}}
    for view in "12":
        for name, (px, py) in POINTS.items():
            regions[f"{view}_{name}"] = {"vid": view, "z": [], "xy": [1, px, py], "av": {"1": name}}
    kinds = {
        "aname": "label",
        "anchor_id": "FILE1_Z0_XY1",
        "type": 1,
        "desc": "",
        "options": {},
        "default_option_id": "",
    }
    files = {
        str(number): {"fid": number, "fname": f"{name}.png", "type": 2, "loc": 1, "src": ""}
        for number, name in ((1, "a"), (2, "b"))
    }
    project = {"pid": "__VIA_PROJECT_ID__", "vid_list": ["1", "2"]}
    views = {number: {"fid_list": [int(number)]} for number in "12"}
    document = {
        "project": project,
        "config": {},
        "attribute": {"1": kinds},
        "file": files,
        "view": views,
        "metadata": regions,
    }
    Path("src/pond.json").write_text(json.dumps(document))
    return ["src", *skeleton()]


HIDDEN = {name: [fish(nose=(20.0, 40.0, 1))] for name in BOTH}
BOXES: Objects = {name: [(BOX, {})] for name in BOTH}

CASES = [
    Case("VIA 3: a view that is not there", _lost_view, ("--keep-going",), status=1),
    Case(
        "attributes that contradict",
        lambda: via(
            lambda one: {"label": one, **({"visibility": "visible", "occluded": "1"} if one == "nose" else {})}
        ),
        ("--attribute visibility=NAME",),
        {"NAME": "occluded"},
        want=HIDDEN,
    ),
    Case(
        "a word that means occluded",
        lambda: via(lambda one: {"label": one, **({"visibility": "blocked"} if one == "nose" else {})}),
        ("--hidden-flag WORD",),
        {"WORD": "blocked"},
        want=HIDDEN,
    ),
    Case("an image that cannot be read", _broken, ("--keep-going",), want=BOTH, status=1),
    Case("boxes without a label", lambda: via(lambda one: {} if one == "fish" else {"label": one}), ("--map =fish",)),
    Case(
        "points without a label", lambda: via(lambda one: {"label": one} if one == "fish" else {}), ("--kpt-order *",)
    ),
    Case(
        "points without a label, left out",
        lambda: via(lambda one: {"label": one} if one == "fish" else {}),
        ("--ignore ''",),
        want=BOXES,
    ),
    Case(
        "objects numbered in another attribute",
        _numbered,
        ("--attribute *",),
        want={name: [FISH, ((15.0, 25.0, 70.0, 50.0), {"nose": (30.0, 45.0, 2)})] for name in BOTH},
    ),
    Case("labels in another attribute", lambda: via(lambda one: {"what": one}), ("--attribute *",)),
    Case(
        "other names in another attribute",
        lambda: via(lambda one: {"what": {"fish": "shark"}.get(one, one)}),
        ("--attribute *",),
        want="E301",
    ),
    Case(
        "foreign names in another attribute",
        lambda: via(lambda one: {"what": one + "s"}, box=False),
        ("--attribute *", "--map OLD=NEW"),
        {"OLD": "noses", "NEW": "nose"},
        want="E301",
    ),
]
