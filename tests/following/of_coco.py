"""Hints of the COCO reader, followed."""

from __future__ import annotations

from typing import Any

from tests.following.case import AROUND_BOTH, BOTH, NAMES, POINTS, Case, fish
from tests.following.sources import SKELETON, coco


def _of_objects(**values: Any) -> Any:
    """Return a function that changes every object: sets these values, or removes those that are None."""

    def change(document: Any) -> None:
        for one in document["annotations"]:
            one.update(values)
            for key in [key for key, value in values.items() if value is None]:
                del one[key]

    return change


def _of_category(**values: Any) -> Any:
    def change(document: Any) -> None:
        document["categories"][0].update(values)

    return change


def _flat(document: Any) -> None:
    """Make every keypoint an object with its own category."""
    document["categories"] = [{"id": i, "name": name} for i, name in enumerate(("fish", *NAMES), start=1)]
    boxes = [{**one, "keypoints": [], "num_keypoints": 0} for one in document["annotations"]]
    points = [
        {"id": 10 * image + i, "image_id": image, "category_id": 2 + i, "bbox": [*POINTS[name], 1, 1],
         "area": 1, "iscrowd": 0, "segmentation": [list(POINTS[name])]}
        for image in (1, 2) for i, name in enumerate(NAMES)
    ]  # fmt: skip
    document["annotations"] = [{k: v for k, v in one.items() if "keypoints" not in k} for one in boxes] + points


def _alone(document: Any) -> None:
    """Make every keypoint an object with its own category, and leave out the objects that they belong to."""
    _flat(document)
    document["annotations"] = [one for one in document["annotations"] if one["category_id"] != 1]


def _crowded(document: Any) -> None:
    crowd = {"id": 9, "image_id": 1, "category_id": 1, "bbox": [70, 10, 20, 20], "area": 400, "iscrowd": 1}
    document["annotations"].append({**crowd, "num_keypoints": 0, "keypoints": [0] * 12})


def _with_boats(document: Any) -> None:
    document["categories"].append({"id": 2, "name": "boat", "supercategory": "thing"})
    boat = {"image_id": 1, "category_id": 2, "bbox": [70, 10, 20, 20], "area": 400, "iscrowd": 0}
    document["annotations"] += [{"id": number, **boat} for number in (8, 9)]


def _pairs(document: Any) -> None:
    """Write keypoints as x, y without visibility."""
    for one in document["annotations"]:
        one["keypoints"] = [value for i, value in enumerate(one["keypoints"]) if i % 3 < 2]


def _three_keypoints(document: Any) -> None:
    document["categories"][0]["keypoints"] = []
    for one in document["annotations"]:
        one.update(keypoints=one["keypoints"][:9], num_keypoints=3)


CASES = [
    Case(
        "boxes without a size",
        lambda: coco(_of_objects(bbox=[20, 30, 0, 0])),
        ("--box-from keypoints",),
        want=AROUND_BOTH,
    ),
    Case("no categories", lambda: coco(lambda document: document.pop("categories")), ("--kpt-order *",)),
    Case(
        "another category beside it",
        lambda: coco(_with_boats),
        (),
        again=("src", *SKELETON, "--categories", "fish"),
    ),
    Case("objects without a box", lambda: coco(_of_objects(bbox=None)), ("--box-from keypoints",), want=AROUND_BOTH),
    Case("keypoints without visibility", lambda: coco(_pairs), ("--assume-visible",)),
    Case("keypoints as objects", lambda: coco(_flat), ("--keypoints-from categories",)),
    Case(
        "keypoints as objects, without boxes",
        lambda: coco(_alone, "--keypoints-from", "categories"),
        ("--one-object-per-image --box-from keypoints",),
        want=AROUND_BOTH,
    ),
    Case(
        "keypoints whose names only count",
        lambda: coco(_of_category(keypoints=["1", "2", "3", "4"])),
        ("--kpt-order *",),
    ),
    Case("keypoints without names", lambda: coco(_of_category(keypoints=[])), ("--kpt-order *",)),
    Case(
        "keypoints without names, fewer than the skeleton's",
        lambda: coco(_three_keypoints),
        ("--kpt-order a,b,c",),
        {"a,b,c": "nose,tail,left-fin"},
        want={name: [fish(right_fin=None)] for name in BOTH},
    ),
    Case(
        "a keypoint named twice",
        lambda: coco(_of_category(keypoints=["nose", "tail", "left-fin", "fin"]), "--map", "fin=tail"),
        ("--map fin=NAME",),
        {"NAME": "right-fin"},
        leave_out=("--map", "fin=tail"),
    ),
    Case("another category", lambda: coco(_of_category(name="shark")), ("--map shark=fish",)),
    Case(
        "groups of objects in a format without",
        lambda: coco(_crowded, "--to", "labelme"),
        ("--drop-crowds",),
        leave_out=("--to", "labelme"),
    ),
]
