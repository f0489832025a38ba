"""Messages on COCO files that cannot be read as they are: each cause once, with a hint that works when typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import posetools.formats.coco.read as coco_read
import posetools.formats.coco.sources as coco_sources
import posetools.formats.coco.values as coco_values
import posetools.formats.sources.locate as locate
from tests.build import make_image
from tests.formats.coco.test_coco_lenient import NAMES, POINTS, SIZE, Entry, Place, document, heron


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def images_in(folder: Path) -> list[str]:
    documents = [json.loads(path.read_text()) for path in sorted(folder.glob("*_coco.json"))]
    return sorted(image["file_name"] for each in documents for image in each["images"])


def test_a_missing_image_is_told_of_once_and_not_again_for_each_of_its_objects(place: Place) -> None:
    content = document(*(heron(i, 1) for i in (1, 2, 3)), heron(4, 2))
    content["images"][0]["file_name"] = "gone.jpg"
    done = place.convert(content)
    assert done.status == 1
    assert "E121" in done.words
    assert "E110" not in done.words
    assert "1 error" in done.words
    content["annotations"][3]["image_id"] = 9
    assert "annotations[3] (id 4): image_id must be the id of an entry in images, got 9" in place.convert(content).words


def test_a_category_that_cannot_be_read_is_told_of_once(place: Place) -> None:
    content = document(heron(1), heron(2, 2), heron(3, 2, category_id=6))
    content["categories"].append({"id": 6, "name": "stork", "keypoints": 3})
    done = place.convert(content)
    assert "keypoints must be a list of names, got 3" in done.words
    assert "1 error" in done.words
    place.convert(content, "--keep-going", "--val", "0")
    assert images_in(place.folder / "out") == ["p1.jpg"]


def test_two_images_of_one_id_are_both_left_out(place: Place) -> None:
    make_image(place.folder / "in/p3.jpg", SIZE, seed=3)
    content = document(heron(1), heron(2, 1, bbox=[90, 30, 60, 40]), heron(3, 3), images=3)
    content["images"][1]["id"] = 1
    assert "E109" in place.convert(content).words
    place.convert(content, "--keep-going", "--val", "0")
    assert images_in(place.folder / "out") == ["p3.jpg"]


@pytest.mark.parametrize("box", [[30, 40, 0, 0], [30, 40, 12.5, 0]])
def test_a_box_without_size_can_be_made_from_the_keypoints(place: Place, box: list[float]) -> None:
    content = document(heron(1, bbox=box, area=0), heron(2, 2))
    done = place.convert(content)
    assert done.status == 1
    assert "E108" in done.words
    assert "`posetools convert --box-from keypoints`" in done.words
    done = place.convert(content, "--box-from", "keypoints")
    assert done.status == 0, done.words
    # 40 by 20 px around the points, and a tenth more on each side.
    assert place.objects()[0]["bbox"] == [26, 38, 48, 24]


@pytest.mark.parametrize("change", [{"bbox": [30, 40, 0, 0]}, {"bbox": ...}])
def test_no_box_is_promised_to_an_object_without_keypoints(place: Place, change: Entry) -> None:
    content = document(heron(1, **change, keypoints=[0] * 9, num_keypoints=0), heron(2, 2))
    done = place.convert(content)
    assert done.status == 1
    assert "--box-from" not in done.words


def test_a_missing_area_is_not_an_error_beside_a_missing_box(place: Place) -> None:
    content = document(*(heron(i, 1 + i % 2, bbox=..., area=..., num_keypoints=...) for i in (1, 2)))
    done = place.convert(content)
    assert "E101" in done.words
    assert "E104" not in done.words
    content["annotations"][0] |= {"keypoints": ["beak"], "bbox": [20, 30, 60, 40]}
    assert "E105" not in place.convert(content, "--box-from", "keypoints").words


WITHOUT: dict[str, Entry] = {
    "a missing area": {"area": ...},
    "a wrong count": {"num_keypoints": 1},
    "no iscrowd": {"iscrowd": ...},
    "a box of less than a pixel": {"bbox": [20, 30, 0.5, 0.5], "area": 0.25},
    "another iscrowd": {"iscrowd": 7},
}


@pytest.mark.parametrize("case", WITHOUT)
def test_convert_never_sends_its_user_to_another_command_that_cannot_help(place: Place, case: str) -> None:
    done = place.convert(document(heron(1, **WITHOUT[case]), heron(2, 2)))
    assert "W324" in done.words or done.status == 1
    assert "--fix" not in done.words


def test_an_image_without_size_is_opened_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = locate.open_image

    def counted(path: Path) -> Any:
        opened.append(path.name)
        return real(path)

    monkeypatch.setattr(coco_sources, "open_image", counted)
    content = document(heron(1), heron(2, 2))
    for image in content["images"]:
        del image["width"], image["height"]
    assert place.convert(content).status == 0
    assert sorted(opened) == ["p1.jpg", "p2.jpg"]
    assert [one["file"] for one in place.objects()] == ["p1.jpg", "p2.jpg"]


def test_one_side_that_is_wrong_is_still_found(place: Place) -> None:
    content = document(heron(1), heron(2, 2))
    content["images"][0] |= {"width": 161, "height": None}
    assert "E123" in place.convert(content).words


def test_other_meanings_are_looked_for_only_where_the_models_refuse_a_value(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[bool] = []
    real = coco_values.plain_values

    def counted(*given: Any) -> Any:
        looked.append(True)
        return real(*given)

    monkeypatch.setattr(coco_read, "plain_values", counted)
    assert place.convert(document(heron(1), heron(2, 2))).status == 0
    assert not looked
    (place.folder / "out").rename(place.folder / "first")
    assert place.convert(document(heron(1), heron(2, 2, iscrowd=False))).status == 0
    assert looked
    assert [one["keypoints"] for one in place.objects()] == [POINTS, POINTS]


def test_names_that_are_numbers_are_texts(place: Place) -> None:
    content = document(heron(1), heron(2, 2), name=7, keypoints=[0, 1, 2], skeleton=[[0, 1]])
    names = [f"{number}={name}" for number, name in enumerate(NAMES)]
    done = place.convert(content, *(word for name in names for word in ("--map", name)), "--map", "7=heron")
    assert done.status == 0, done.words
    assert "W324" in done.words
    assert [one["keypoints"] for one in place.objects()] == [POINTS, POINTS]


def test_a_category_without_objects_costs_none(place: Place) -> None:
    content = document(heron(1), heron(2, 2))
    unread = [{"id": 0, "name": "stork", "keypoints": 3}, {"id": 7, "name": ""}, {"name": "crane"}, 8]
    content["categories"] = [*unread, *content["categories"]]
    done = place.convert(content)
    assert done.status == 0, done.words
    assert len(place.objects()) == 2
    content["categories"][4]["keypoints"] = ["beak", "tail", "tuft"]
    (place.folder / "out").rename(place.folder / "first")
    assert "categories[4] (id 5, heron): keypoints[2]" in place.convert(content).words


NO_VISIBILITY: dict[str, list[Any]] = {
    "pairs": [30, 40, 50.5, 60, 0, 0],
    "nested pairs": [[30, 40], [50.5, 60], [-1, -1]],
    "scores": [30, 40, 0.93, 50.5, 60, 0.2, 0, 0, 0.01],
    "a depth": [[30, 40, 7.5], [50.5, 60, 2.5], [0, 0, 0.0]],
}


@pytest.mark.parametrize("case", NO_VISIBILITY)
def test_keypoints_without_visibility_are_asked_for_once_and_the_option_settles_it(place: Place, case: str) -> None:
    change = {"keypoints": NO_VISIBILITY[case], "num_keypoints": ..., "bbox": ..., "area": ...}
    content = document(heron(1, **change), heron(2, 2, **change))
    done = place.convert(content, "--box-from", "keypoints")
    assert done.status == 1
    assert "in 2 objects" in done.words
    assert "1 error" in done.words
    assert "--assume-visible" in done.words
    done = place.convert(content, "--box-from", "keypoints", "--assume-visible")
    assert done.status == 0, done.words
    for one in place.objects():
        assert one["keypoints"] == [30, 40, 2, 50.5, 60, 2, 0, 0, 0]
        # 20.5 by 20 px around both, and a tenth more on each side.
        assert one["bbox"] == [27.95, 38, 24.6, 24]


def test_a_wrong_visibility_here_and_there_is_no_score(place: Place) -> None:
    content = document(heron(1), heron(2, 2), heron(3, 2, keypoints=[*POINTS[:8], 3]))
    for options in ((), ("--assume-visible",)):
        done = place.convert(content, *options)
        assert done.status == 1
        assert "annotations[2] (id 3): keypoints[8] must be a visibility of 0, 1 or 2, got 3.0" in done.words


def test_assume_visible_leaves_what_has_visibility(place: Place) -> None:
    assert place.convert(document(heron(1), heron(2, 2)), "--assume-visible").status == 0
    assert [one["keypoints"] for one in place.objects()] == [POINTS, POINTS]


def test_unnamed_keypoints_of_different_numbers_are_one_finding(place: Place) -> None:
    content = document(heron(1), heron(2, 2, keypoints=POINTS[:6], num_keypoints=2), heron(3, 2), keypoints=[])
    done = place.convert(content)
    assert "got 2 in 1, 3 in 2 objects" in done.words
    assert "1 error" in done.words


@pytest.mark.parametrize("box", [None, []])
def test_an_empty_box_names_the_option_that_makes_one(place: Place, box: object) -> None:
    content = document(heron(1, bbox=box), heron(2, 2))
    done = place.convert(content)
    assert done.status == 1
    assert "--box-from keypoints" in done.words
    assert place.convert(content, "--box-from", "keypoints").status == 0
    assert place.objects()[0]["bbox"] == [26, 38, 48, 24]


def test_numbers_of_one_field_are_one_finding(place: Place) -> None:
    content = document(heron(1, keypoints=["a", 40, 2, None, 60, 2, 70, 42, 2]), heron(2, 2, bbox=[1, 2, -3, -4]))
    done = place.convert(content)
    assert "keypoints[0] must be a number, got 'a' (and 1 more of its numbers)" in done.words
    assert "bbox[2] must be greater than 0, got -3 (and 1 more of its numbers)" in done.words
    assert "2 errors" in done.words


def test_an_image_never_gets_the_id_that_objects_of_no_image_refer_to(place: Place) -> None:
    content = document(heron(1), heron(2, 2))
    content["images"][1]["id"] = "p-2"
    assert "annotations[1] (id 2): image_id must be the id of an entry in images, got 2" in place.convert(content).words


def test_pairs_without_names_are_asked_for_one_after_the_other(place: Place) -> None:
    pairs = {"keypoints": [30, 40, 50.5, 60, 70, 42, 75, 45], "num_keypoints": 4}
    content = document(heron(1, **pairs), heron(2, 2, **pairs), keypoints=...)
    assert "x and y only in 2 objects" in place.convert(content).words
    done = place.convert(content, "--assume-visible")
    assert "got 4 keypoints and no names" in done.words
    done = place.convert(content, "--assume-visible", "--kpt-order", "beak,tail,crest,foot", "--ignore", "foot")
    assert done.status == 0, done.words
    assert place.objects()[0]["keypoints"] == [30, 40, 2, 50.5, 60, 2, 70, 42, 2]


@pytest.mark.parametrize("names", [..., None, []])
def test_a_category_with_boxes_alone_needs_no_names(place: Place, names: object) -> None:
    boxes = (heron(i, i, keypoints=..., num_keypoints=...) for i in (1, 2))
    done = place.convert(document(*boxes, keypoints=names))
    assert done.status == 0, done.words
    assert "they only train the detector" in done.words
    assert [one["bbox"] for one in place.objects()] == [[20, 30, 60, 40]] * 2


def test_what_is_nearly_coco_is_told_by_what_is_wrong(place: Place) -> None:
    content = document(heron(1), heron(2, 2))
    content["images"] = {str(image["id"]): image["file_name"] for image in content["images"]}
    assert "looks like COCO, but images, annotations and categories must be lists" in place.convert(content).words


@pytest.mark.parametrize("seen", [-1, 1, 2])
def test_a_point_at_the_mark_of_a_missing_one_is_unlabeled(place: Place, seen: int) -> None:
    change = {"keypoints": [*POINTS[:6], -1, -1, seen]}
    done = place.convert(document(heron(1, **change), heron(2, 2)))
    assert done.status == 0, done.words
    assert "keypoints at (-1, -1), the mark of a missing one, were read as unlabeled (once" in done.words
    one, two = place.objects()
    assert (one["keypoints"], one["num_keypoints"]) == ([*POINTS[:6], 0, 0, 0], 2)
    assert two["keypoints"] == POINTS


@pytest.mark.parametrize("categories", [[], None, ...])
def test_objects_of_no_listed_category_are_taken_as_the_user_says(place: Place, categories: object) -> None:
    content = {**document(heron(1), heron(2, 2)), "categories": categories}
    content = {key: value for key, value in content.items() if value is not ...}
    done = place.convert(content)
    assert done.status == 1
    assert "got none for the 2 objects of category 5" in done.words
    assert "1 error" in done.words
    assert "--kpt-order beak,tail,crest" in done.words
    done = place.convert(content, "--kpt-order", "tail,beak,crest")
    assert done.status == 0, done.words
    assert "the 2 objects of category 5 were read as 'heron'" in done.words
    assert place.objects()[0]["keypoints"] == [*POINTS[3:6], *POINTS[:3], *POINTS[6:]]
