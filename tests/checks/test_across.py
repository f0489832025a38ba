"""Checks across splits, with their full messages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from posetools.checks.across import check_same_categories, check_splits
from posetools.core.findings import Finding
from posetools.formats.coco.table import CocoTable, table_from
from tests.coco_sample import Document

DATA = Path("cars")
AGAIN = "`posetools split` makes both splits again"
KEYPOINTS = [
    {"id": 1, "name": "car", "keypoints": ["a", "b"]},
    {"id": 2, "name": "bus", "keypoints": ["c"]},
]


def table(split: str, *, images: int = 1, annotations: int = 1, categories: list[Any] | None = None) -> CocoTable:
    document: Document = {
        "images": [{"id": i, "file_name": f"{split}{i}.jpg", "width": 9, "height": 9} for i in range(images)],
        "annotations": [
            {
                "id": i + 1,
                "image_id": 0,
                "category_id": 1,
                "bbox": [1, 1, 5, 5],
                "area": 25,
                "iscrowd": 0,
                "num_keypoints": 0,
                "keypoints": [0] * 6,
            }
            for i in range(annotations)
        ],
        "categories": [{"id": 1, "name": "car"}] if categories is None else categories,
    }
    return table_from(document, DATA / f"{split}_coco.json")


def tables(*splits: CocoTable) -> Mapping[str, CocoTable]:
    return {each.path.name.partition("_")[0]: each for each in splits}


def test_both_splits_with_objects_are_all_that_is_asked() -> None:
    assert list(check_splits(DATA, tables(table("train"), table("val"), table("test")))) == []


@pytest.mark.parametrize(
    ("there", "missing", "purpose"), [("train", "val", "evaluate on"), ("val", "train", "train on")]
)
def test_a_split_that_is_missing(there: str, missing: str, purpose: str) -> None:
    assert list(check_splits(DATA, tables(table(there)))) == [
        Finding(
            "E116",
            str(DATA / f"{missing}_coco.json"),
            "",
            f"{missing}_coco.json must exist, with images to {purpose}, but is missing",
            "`posetools split` makes both splits from one",
        )
    ]


def test_a_split_that_is_empty() -> None:
    empty = tables(
        table("train", images=0, annotations=0), table("val", annotations=0), table("test", images=0, annotations=1)
    )
    found = list(check_splits(DATA, empty))
    rule = "must be a list of one or more to"
    expected = [
        ("train", "images", "train on"),
        ("train", "annotations", "train on"),
        ("val", "annotations", "evaluate on"),
        ("test", "images", "evaluate on"),
    ]
    assert found == [
        Finding("E116", str(DATA / f"{split}_coco.json"), what, f"{what} {rule} {purpose}, got []", AGAIN)
        for split, what, purpose in expected
    ]


def test_a_file_that_cannot_be_read_is_not_called_empty() -> None:
    unreadable = table_from({"images": []}, DATA / "train_coco.json")
    assert not unreadable.readable
    assert list(check_splits(DATA, tables(unreadable, table("val")))) == []


def test_the_same_categories_in_any_order() -> None:
    every = tables(
        table("train", categories=KEYPOINTS),
        table("val", categories=KEYPOINTS[::-1]),
        table("test", categories=KEYPOINTS),
    )
    assert list(check_same_categories(every)) == []
    assert list(check_same_categories({})) == []


def test_a_category_that_is_there_twice_can_be_compared() -> None:
    twice = [{"id": 1, "name": "car", "keypoints": ["a"]}, {"id": 1, "name": "car"}]
    same = tables(table("train", categories=twice), table("val", categories=twice[::-1]))
    assert list(check_same_categories(same)) == []


def difference(split: str, wanted: str, got: str) -> Finding:
    message = f"categories must be those of train_coco.json ({wanted}), got {got}"
    hint = "use the same categories in all splits: ids, names and keypoints"
    return Finding("E112", str(DATA / f"{split}_coco.json"), "categories", message, hint)


def test_categories_that_differ_from_the_first_files() -> None:
    every = tables(
        table("train", categories=KEYPOINTS),
        table("val", categories=[]),
        table("test", categories=[KEYPOINTS[0], {**KEYPOINTS[1], "id": 3}]),
        table("more", categories=KEYPOINTS),
    )
    assert list(check_same_categories(every)) == [
        difference("val", "1 car, 2 bus", "none"),
        difference("test", "1 car, 2 bus", "1 car, 3 bus"),
    ]


def test_keypoints_that_differ_from_the_first_files() -> None:
    every = tables(
        table("train", categories=KEYPOINTS),
        table("val", categories=[KEYPOINTS[0], {"id": 2, "name": "bus"}]),
        table("test", categories=[{**KEYPOINTS[0], "keypoints": ["b", "a"]}, KEYPOINTS[1]]),
    )
    assert list(check_same_categories(every)) == [
        difference("val", "bus with the keypoints c", "bus with the keypoints none"),
        difference("test", "car with the keypoints a, b", "car with the keypoints b, a"),
    ]


def test_files_whose_categories_are_not_all_known_are_not_compared() -> None:
    broken = table("train", categories=[*KEYPOINTS, {"id": 3}])
    unreadable = table_from([], DATA / "val_coco.json")
    every = {"train": broken, "val": unreadable, "test": table("test"), "more": table("more", categories=KEYPOINTS)}
    (finding,) = check_same_categories(every)
    assert finding.message == "categories must be those of test_coco.json (1 car), got 1 car, 2 bus"
    assert finding.file == str(DATA / "more_coco.json")
