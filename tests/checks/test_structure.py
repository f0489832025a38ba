"""Structure: every rule on a document that breaks it, with the full message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.checks.structure import check_against_skeleton, check_structure, sound_objects
from posetools.core.findings import Finding
from posetools.core.skeleton import load_skeleton
from posetools.formats.coco.table import CocoTable, table_from
from posetools.formats.coco.write import category_entry
from tests.coco_sample import Document

CAR8 = load_skeleton("car8")
FILE = Path("x.json")
NAMES = list(CAR8.names)
RENUMBER = "renumber: COCO's readers keep only one of the two"
CATEGORY = "categories[0] (id 1, car)"
CATEGORY_ID = (
    "E111",
    "id must be 1, the category id of skeleton car8",
    "number categories from 1: MMPose drops detections of other categories",
)
LINKS = (
    "E114",
    f"skeleton must be the links of skeleton car8, {CAR8.coco_edges}",
    "`posetools validate --fix` adds 1 to every index where a 0 shows that they are 0-based: COCO's edges are 1-based",
)


def annotation(number: int, image: int, **values: Any) -> dict[str, Any]:
    points = [[10.0 + i + number, 20.0 + i, i % 3] for i in range(8)]
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "bbox": [10.0, 20.0, 30.0 + number, 40.0],
        "area": 1200.0,
        "iscrowd": 0,
        "num_keypoints": 5,
        "keypoints": [value for point in points for value in point],
        **values,
    }


def sample() -> Document:
    """Return a valid document; the images' ids are not in order."""
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 100, "height": 80} for i in (7, 3, 5)],
        "annotations": [annotation(1, 5), annotation(2, 7), annotation(3, 3), annotation(4, 5)],
        "categories": [category_entry(CAR8)],
    }


def table_of(change: Callable[[Document], object] = lambda _: None) -> CocoTable:
    document = sample()
    change(document)
    return table_from(document, FILE)


def check(change: Callable[[Document], object]) -> list[Finding]:
    return list(check_structure(table_of(change), CAR8))


def test_a_sound_file_has_no_findings() -> None:
    assert check(lambda _: None) == []


def test_what_breaks_the_models_comes_first_and_what_cannot_be_read_is_not_looked_at() -> None:
    found = check(lambda d: (d["annotations"][0].update(id=2), d["annotations"][2].update(area="x")))
    assert [(f.code, f.place) for f in found] == [("E102", "annotations[2] (id 3)"), ("E109", "annotations[1] (id 2)")]
    table = table_of(lambda d: d.pop("images"))
    assert list(check_structure(table, CAR8)) == list(table.findings)
    assert [f.code for f in table.findings] == ["E101"]


def test_ids_that_are_there_before() -> None:
    def change(document: Document) -> None:
        document["images"] += [dict(document["images"][1], file_name=name) for name in ("p.jpg", "q.jpg")]
        document["annotations"][2]["id"] = document["annotations"][3]["id"] = 2
        document["categories"] = [
            dict(document["categories"][0], **new) for new in ({}, {"name": "bus"}, {"name": "van"})
        ]

    found = [f for f in check(change) if f.code == "E109"]
    rules = {
        "images": "images (images[1] (id 3, 3.jpg) has it), got 3",
        "annotations": "annotations (annotations[1] (id 2) has it), got 2",
        "categories": "categories (categories[0] (id 1, car) has it), got 1",
    }
    places = [
        "images[3] (id 3, p.jpg)",
        "images[4] (id 3, q.jpg)",
        "annotations[2] (id 2)",
        "annotations[3] (id 2)",
        "categories[1] (id 1, bus)",
        "categories[2] (id 1, van)",
    ]
    assert found == [
        Finding("E109", "x.json", place, f"id must be unique in {rules[place.partition('[')[0]]}", RENUMBER)
        for place in places
    ]


def test_annotation_ids_start_at_1() -> None:
    (finding,) = check(lambda d: d["annotations"][2].update(id=0))
    hint = "number from 1: pycocotools treats a match with annotation id 0 as no match"
    assert finding == Finding(
        "E117", "x.json", "annotations[2] (id 0)", "id must be an integer of at least 1, got 0", hint
    )


def test_references_lead_somewhere() -> None:
    def change(document: Document) -> None:
        for entry in document["annotations"][1:3]:
            entry.update(image_id=4, category_id=9)
        document["categories"].append({"id": 6, "name": "bus"})

    found = [f for f in check(change) if f.code in ("E110", "E111") and f.place.startswith("annotations")]
    image, category = "add the image to images, or remove the annotation", "number categories from 1; "
    places = ["annotations[1] (id 2)", "annotations[2] (id 3)"]
    unknown = "image_id must be the id of an entry in images, got 4"
    other = "category_id must be the id of an entry in categories (1, 6), got 9"
    assert found == [
        *(Finding("E110", "x.json", place, unknown, image) for place in places),
        *(Finding("E111", "x.json", place, other, f"{category}many custom files start at 0") for place in places),
    ]


@pytest.mark.parametrize(("number", "more"), [(20, ""), (21, ", ...")])
def test_of_many_categories_the_first_twenty_are_named(number: int, more: str) -> None:
    def change(document: Document) -> None:
        document["categories"] += [{"id": i, "name": f"kind {i}"} for i in range(number, 1, -1)]
        document["annotations"][3]["category_id"] = 99

    (message,) = [f.message for f in check(change) if f.place == "annotations[3] (id 4)"]
    listed = ", ".join(str(i) for i in range(1, 21))
    assert message == f"category_id must be the id of an entry in categories ({listed}{more}), got 99"


def test_an_image_that_breaks_the_models_is_there_all_the_same() -> None:
    found = check(lambda d: d["images"][2].update(width=0))
    assert [(f.code, f.place) for f in found] == [("E123", "images[2] (id 5, 5.jpg)")]


def test_a_file_without_categories_names_none() -> None:
    found = check(lambda d: (d["categories"].clear(), d.update(annotations=d["annotations"][:1])))
    rule, hint = "a list with the category 'car' of skeleton car8", "`posetools convert --from coco --map OLD=car` "
    assert [f.message for f in found[:1]] == ["category_id must be the id of an entry in categories (none), got 1"]
    assert found[1:] == [
        Finding("E111", "x.json", "categories", f"categories must be {rule}, got []", f"{hint}gives it this name")
    ]


def test_a_category_that_breaks_the_models_may_be_the_one_that_is_missing() -> None:
    found = check(lambda d: d["categories"][0].update(keypoints=3))
    assert [(f.code, f.place) for f in found] == [("E102", CATEGORY)]


def test_other_categories_and_one_that_is_there_twice() -> None:
    def change(document: Document) -> None:
        car = document["categories"][0]
        document["categories"] = [
            {"id": 8, "name": "bus"},
            car,
            {**car, "id": 9, "keypoints": []},
            {"id": 7, "name": "van"},
        ]

    only = "name must be 'car', the only category of skeleton car8, got"
    leaves = "leaves its objects out"
    assert check(change) == [
        Finding(
            "E111",
            "x.json",
            "categories[0] (id 8, bus)",
            f"{only} 'bus'",
            f"`posetools convert --from coco --ignore 'bus'` {leaves}",
        ),
        Finding(
            "E111",
            "x.json",
            "categories[2] (id 9, car)",
            "name must be unique in categories (categories[1] (id 1, car) has it), got 'car'",
            "merge the two categories",
        ),
        Finding(
            "E111",
            "x.json",
            "categories[3] (id 7, van)",
            f"{only} 'van'",
            f"`posetools convert --from coco --ignore 'van'` {leaves}",
        ),
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"id": 0}, [(*CATEGORY_ID, "0")], id="0-based"),
        pytest.param({"skeleton": None}, [(*LINKS, "None")], id="no links"),
        pytest.param({"skeleton": [[2, 1]]}, [(*LINKS, "[[2, 1]]")], id="other links"),
        pytest.param({"skeleton": [edge[::-1] for edge in CAR8.coco_edges[::-1]]}, [], id="the links in another order"),
        pytest.param({"id": 2, "skeleton": []}, [(*CATEGORY_ID, "2"), (*LINKS, "[]")], id="both"),
    ],
)
def test_the_category_is_the_skeletons(values: dict[str, Any], expected: list[tuple[str, ...]]) -> None:
    table = table_of(lambda d: d["categories"][0].update(values))
    place = f"categories[0] (id {values.get('id', 1)}, car)"
    got = list(check_against_skeleton(table, CAR8))
    assert got == [Finding(code, "x.json", place, f"{rule}, got {value}", hint) for code, rule, hint, value in expected]


@pytest.mark.parametrize(
    ("keypoints", "problem"),
    [
        (None, "keypoints must be the 8 names of skeleton car8 in its order, got None"),
        (NAMES[:1], "keypoints must be the 8 names of skeleton car8 in its order, got ['left-front-bumper']"),
        (
            [*NAMES[:2], *NAMES[2:4][::-1], *NAMES[4:]],
            f"keypoints[2] must be '{NAMES[2]}' (the 8 names of skeleton car8 in its order), got '{NAMES[3]}'",
        ),
        (
            [*NAMES[:7], "x"],
            f"keypoints[7] must be '{NAMES[7]}' (the 8 names of skeleton car8 in its order), got 'x'",
        ),
    ],
)
def test_keypoints_are_the_skeletons_in_its_order(keypoints: list[str] | None, problem: str) -> None:
    # Links of other names are meaningless and not checked.
    found = check(lambda d: d["categories"][0].update(keypoints=keypoints, skeleton=None))
    hint = (
        "`posetools convert --from coco` orders them by name, `posetools convert --map OLD=NEW` renames them; "
        "or choose another --skeleton"
    )
    assert found == [Finding("E113", "x.json", CATEGORY, problem, hint)]


def test_keypoints_are_3k_numbers() -> None:
    found = check(lambda d: [d["annotations"][i].update(keypoints=[1, 1, 2] * n) for i, n in ((1, 7), (3, 0))])
    rule = "keypoints must be 3K = 24 numbers for the 8 keypoints of skeleton car8, got"
    hint = "write x, y and visibility of every keypoint; 0, 0, 0 if it is unlabeled"
    assert found == [
        Finding("E106", "x.json", "annotations[1] (id 2)", f"{rule} 21", hint),
        Finding("E106", "x.json", "annotations[3] (id 4)", f"{rule} 0", hint),
    ]


def test_visibility_is_0_1_or_2() -> None:
    def change(document: Document) -> None:
        # The rows before are left out, which must not shift the reported rows.
        document["annotations"][0]["keypoints"] = []
        document["annotations"][2]["keypoints"][3 * 1 + 2] = 3
        document["annotations"][3]["keypoints"][3 * 2 + 2] = 0.5
        document["annotations"][3]["keypoints"][3 * 5 + 2] = -1

    found = [f for f in check(change) if f.code == "E107"]
    hint = "write 0 for not labeled, 1 for labeled but not visible, 2 for labeled and visible"
    assert found == [
        Finding(
            "E107",
            "x.json",
            "annotations[2] (id 3)",
            f"keypoints[5] (visibility of {NAMES[1]}) must be 0, 1 or 2, got 3",
            hint,
        ),
        Finding(
            "E107",
            "x.json",
            "annotations[3] (id 4)",
            f"keypoints[8] (visibility of {NAMES[2]}) must be 0, 1 or 2, got 0.5",
            hint,
        ),
    ]


def test_num_keypoints_counts_the_labeled() -> None:
    def change(document: Document) -> None:
        document["annotations"][0]["keypoints"] = []
        document["annotations"][1]["num_keypoints"] = 8
        document["annotations"][3]["num_keypoints"] = 0

    found = [f for f in check(change) if f.code == "E105"]
    rule = "num_keypoints must be 5, the number of keypoints with a visibility of 1 or 2, got"
    hint = (
        "`posetools validate --fix` counts them: MMPose drops objects whose num_keypoints is 0, and COCO's evaluation "
        "ignores them"
    )
    assert found == [
        Finding("E105", "x.json", "annotations[1] (id 2)", f"{rule} 8", hint),
        Finding("E105", "x.json", "annotations[3] (id 4)", f"{rule} 0", hint),
    ]


def test_sound_objects_are_the_rows_with_an_image_and_good_keypoints() -> None:
    def change(document: Document) -> None:
        document["annotations"] += [annotation(5, 7), annotation(6, 3)]
        document["annotations"][0]["image_id"] = 77
        document["annotations"][1]["keypoints"] = [1, 1, 2] * 7
        document["annotations"][2]["keypoints"][2] = 3

    table = table_of(change)
    objects = sound_objects(table, CAR8)
    assert len(objects) == 3
    assert objects.table is table
    assert objects.rows.tolist() == [3, 4, 5]
    # Rows of the images, not their ids.
    assert objects.images.tolist() == [2, 0, 1]
    assert objects.boxes.tolist() == [[10, 20, 44, 60], [10, 20, 45, 60], [10, 20, 46, 60]]
    assert objects.keypoints.shape == (3, 8, 3)
    assert objects.keypoints[1].ravel().tolist() == annotation(5, 7)["keypoints"]
    assert objects.finding("W201", 1, "the message", "the hint") == Finding(
        "W201", "x.json", "annotations[4] (id 5)", "the message", "the hint"
    )


@pytest.mark.parametrize(("visibility", "sound"), [(-1, 0), (0, 1), (0.5, 0), (1, 1), (1.5, 0), (2, 1), (3, 0)])
def test_only_three_visibilities_are_sound(visibility: float, sound: int) -> None:
    table = table_of(lambda d: d.update(annotations=[annotation(1, 5, keypoints=[5, 5, 1] * 7 + [5, 5, visibility])]))
    objects = sound_objects(table, CAR8)
    assert len(objects) == sound
    assert objects.boxes.shape == (sound, 4)
    assert np.array_equal(objects.rows, np.arange(sound))
