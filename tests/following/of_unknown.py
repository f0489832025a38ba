"""Hints about many unknown labels, followed."""

from __future__ import annotations

from typing import Any

from tests.following.case import BOTH, Case, fish
from tests.following.sources import CORNERS, coco, fish_shapes, labelme, shape, skeleton

PERSON = {"nose": (20.0, 40.0), "left_eye": (30.0, 35.0), "right_eye": (40.0, 35.0)}


def _person() -> list[str]:
    """Write files of persons, for a conversion as fish."""
    shapes = [shape("person", *CORNERS, group_id=1), *(shape(name, xy, group_id=1) for name, xy in PERSON.items())]
    labelme(shapes)
    return ["src", *skeleton("cat.yaml", ("whisker", "paw"), "cat")]


def _several(document: Any) -> None:
    """Add objects of other categories, without keypoints."""
    for number, name in enumerate(("boat", "buoy", "net"), start=2):
        document["categories"].append({"id": number, "name": name})
        one = {"id": 10 + number, "image_id": 1, "category_id": number, "bbox": [70, 10, 20, 20]}
        document["annotations"].append({**one, "area": 400, "iscrowd": 0})


def _two_patterns() -> list[dict[str, Any]]:
    labels = {"nose": "nose-occluded", "tail": "tail.hidden"}
    return fish_shapes(labels=labels)


CASES = [
    Case(
        "names of a built-in skeleton",
        _person,
        ("--skeleton coco17",),
        want={name: [((10.0, 20.0, 60.0, 40.0), {name: (*xy, 2) for name, xy in PERSON.items()})] for name in BOTH},
    ),
    Case("several other categories", lambda: coco(_several), ("--categories fish",)),
    Case(
        "several other categories, left out one by one",
        lambda: coco(_several),
        ("--ignore boat --ignore buoy --ignore net",),
    ),
    Case(
        "patterns of two kinds",
        lambda: labelme(_two_patterns()),
        ("one --label-pattern",),
        again=(
            "src",
            "--skeleton",
            "fish.yaml",
            "--label-pattern",
            "(?P<name>.+?)(?:[-.](?P<visibility>occluded|hidden))?",
        ),
        want={name: [fish(nose=(20.0, 40.0, 1), tail=(60.0, 40.0, 1))] for name in BOTH},
    ),
]
