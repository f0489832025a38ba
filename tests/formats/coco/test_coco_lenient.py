"""COCO files as programs write them: values of other types, unnamed keypoints, crowds, keypoints as categories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from tests.build import make_image
from tests.cli.run import Done, run

NAMES = ("beak", "tail", "crest")
SIZE = (160, 120)
POINTS = [30, 40, 2, 50.5, 60, 1, 70, 42, 2]

Entry = dict[str, Any]


def heron(number: int, image: object = 1, **changes: object) -> Entry:
    entry: Entry = {
        "id": number,
        "image_id": image,
        "category_id": 5,
        "bbox": [20, 30, 60, 40],
        "area": 1500.5,
        "iscrowd": 0,
        "num_keypoints": 3,
        "keypoints": list(POINTS),
    }
    return {key: value for key, value in {**entry, **changes}.items() if value is not ...}


def document(*annotations: Entry, images: int = 2, **category: object) -> Entry:
    own = {"id": 5, "name": "heron", "keypoints": list(NAMES), "skeleton": [[1, 2]], **category}
    return {
        "images": [
            {"id": i, "file_name": f"p{i}.jpg", "width": SIZE[0], "height": SIZE[1]} for i in range(1, images + 1)
        ],
        "annotations": list(annotations),
        "categories": [{key: value for key, value in own.items() if value is not ...}],
    }


class Place:
    """A folder with a skeleton, images and a COCO file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for i in (1, 2):
            make_image(folder / "in" / f"p{i}.jpg", SIZE, seed=i)
        names = ",".join(NAMES)
        assert run("skeleton", "new", folder / "s.yaml", "--names", names, "--category", "heron").status == 0

    def convert(self, content: Entry, *options: str) -> Done:
        (self.folder / "in/a.json").write_text(json.dumps(content))
        source, out = self.folder / "in", self.folder / "out"
        return run("convert", source, "--out", out, "--skeleton", self.folder / "s.yaml", *options)

    def objects(self) -> list[Entry]:
        """All objects, as pycocotools reads them, in the order of their images and ids."""
        found: list[Entry] = []
        for split in ("train", "val"):
            read = COCO(self.folder / "out" / f"{split}_coco.json")
            for one in read.loadAnns(read.getAnnIds()):
                found.append({**one, "file": read.loadImgs(one["image_id"])[0]["file_name"]})
        return sorted(found, key=lambda one: (one["file"], one["id"]))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


LENIENT: dict[str, Entry] = {
    "crowd false": {"iscrowd": False},
    "crowd null": {"iscrowd": None},
    "crowd text": {"iscrowd": "0"},
    "crowd float": {"iscrowd": 0.0},
    "count null": {"num_keypoints": None},
    "count float": {"num_keypoints": 3.0},
    "count text": {"num_keypoints": "3"},
    "area text": {"area": "1500.5"},
    "box of texts": {"bbox": ["20", "30.0", 60, 40]},
    "nested": {"keypoints": [[30, 40, 2], [50.5, 60, 1], [70, 42, 2]]},
    "texts": {"keypoints": ["30", "40", "2", "50.5", "60.0", "1.0", 70, 42, 2.0]},
    "fractional id": {"id": 1.0},
    "text id": {"id": "c0ffee-17"},
    "text reference": {"image_id": "1"},
    "fractional reference": {"image_id": 1.0, "category_id": 5.0},
}


@pytest.mark.parametrize("case", LENIENT)
def test_a_value_with_one_meaning_is_read_and_said_once(place: Place, case: str) -> None:
    done = place.convert(
        document(
            heron(1, **LENIENT[case]),
            heron(2, 2, **{k: v for k, v in LENIENT[case].items() if k not in ("id", "image_id")}),
        )
    )
    assert done.status == 0, done.err
    assert "W324" in done.words
    one, two = place.objects()
    assert one["keypoints"] == two["keypoints"] == POINTS
    assert (one["bbox"], one["area"], one["iscrowd"], one["num_keypoints"]) == ([20, 30, 60, 40], 1500.5, 0, 3)


@pytest.mark.parametrize("nothing", [[None, None, 0], [float("nan"), float("nan"), 0]])
def test_a_point_without_coordinates_and_visibility_is_unlabeled(place: Place, nothing: list[Any]) -> None:
    done = place.convert(document(heron(1, keypoints=[*POINTS[:6], *nothing], num_keypoints=2), heron(2, 2)))
    assert done.status == 0, done.err
    assert place.objects()[0]["keypoints"] == [*POINTS[:6], 0, 0, 0]


def test_a_missing_point_that_is_said_to_be_visible_is_refused(place: Place) -> None:
    done = place.convert(document(heron(1, keypoints=[*POINTS[:6], None, None, 2]), heron(2, 2)))
    assert done.status == 1
    assert "E102" in done.words


def test_a_boolean_visibility_has_two_meanings(place: Place) -> None:
    assert place.convert(document(heron(1, keypoints=[*POINTS[:8], True]), heron(2, 2))).status == 1


def test_ids_of_text_tell_images_apart_whatever_their_numbers(place: Place) -> None:
    content = document(heron(1, "b"), heron(2, "1", bbox=[21, 30, 60, 40]))
    content["images"][0]["id"], content["images"][1]["id"] = "1", "b"
    assert place.convert(content).status == 0
    assert [(one["file"], one["bbox"][0]) for one in place.objects()] == [("p1.jpg", 21), ("p2.jpg", 20)]


def test_an_id_that_two_images_may_have_is_taken_exactly_or_refused(place: Place) -> None:
    content = document(heron(1, 1), heron(2, "1", bbox=[21, 30, 60, 40]))
    content["images"][1]["id"] = "1"
    assert place.convert(content).status == 0
    assert [(one["file"], one["bbox"][0]) for one in place.objects()] == [("p1.jpg", 20), ("p2.jpg", 21)]
    content["annotations"][0]["image_id"] = 1.0
    (place.folder / "out").rename(place.folder / "first")
    assert "image_id must be the id of an entry in images, an integer, got 1.0" in place.convert(content).words


@pytest.mark.parametrize("size", [{}, {"width": None, "height": None}, {"width": 160.0, "height": "120"}])
def test_the_size_comes_from_the_header_where_the_file_gives_none(place: Place, size: Entry) -> None:
    content = document(heron(1, bbox=..., area=...), heron(2, 2))
    for image in content["images"]:
        del image["width"], image["height"]
        image |= size
    done = place.convert(content, "--box-from", "keypoints")
    assert done.status == 0, done.err
    assert place.objects()[0]["bbox"] == [26, 38, 48, 24]


def test_a_wrong_size_and_a_missing_image_are_still_errors(place: Place) -> None:
    content = document(heron(1), heron(2, 2))
    content["images"][0]["width"] = "161"
    assert "E123" in place.convert(content).words
    content["images"][0] = {"id": 1, "file_name": "none.jpg"}
    done = place.convert(content)
    assert "E121" in done.words
    assert "E101" not in done.words
    assert "W324" not in done.words


def test_without_opening_images_a_missing_size_is_refused(place: Place) -> None:
    content = document(heron(1), heron(2, 2))
    del content["images"][0]["width"]
    assert "E101" in place.convert(content, "--trust-sizes").words


def test_what_nothing_reads_costs_no_object(place: Place) -> None:
    content = document(heron(1), heron(2, 2), supercategory=7, skeleton=[["beak", "tail"], ["tail", "crest"]])
    content |= {"info": "made by hand", "licenses": {"id": 1}}
    assert place.convert(content).status == 0
    assert len(place.objects()) == 2


def test_coordinates_of_unlabeled_points_are_dropped_with_a_word(place: Place) -> None:
    done = place.convert(document(heron(1, keypoints=[*POINTS[:8], 0], num_keypoints=2), heron(2, 2)))
    assert done.status == 0
    assert "W203" in done.words
    assert place.objects()[0]["keypoints"] == [*POINTS[:6], 0, 0, 0]


def test_unnamed_keypoints_are_one_finding_whose_option_names_them(place: Place) -> None:
    content = document(*(heron(i, 1 + i % 2) for i in range(1, 6)), keypoints=...)
    done = place.convert(content)
    assert done.status == 1
    assert done.words.count("a.json: categories[0]") == 1
    assert "E106" not in done.words
    assert f"`posetools convert --kpt-order {','.join(NAMES)}` names them" in done.words
    assert place.convert(content, "--kpt-order", "tail,beak,crest").status == 0
    assert place.objects()[0]["keypoints"] == [*POINTS[3:6], *POINTS[:3], *POINTS[6:]]


def test_another_number_of_names_is_the_same_finding(place: Place) -> None:
    content = document(heron(1), heron(2, 2), keypoints=["beak", "tail"])
    done = place.convert(content)
    assert "got 3 keypoints and 2 names" in done.words
    assert "--kpt-order must be 3 names" in place.convert(content, "--kpt-order", "beak,tail").words
    assert place.convert(content, "--kpt-order", ",".join(NAMES)).status == 0
    assert [one["keypoints"] for one in place.objects()] == [POINTS, POINTS]


def test_wrong_lengths_are_one_finding(place: Place) -> None:
    done = place.convert(document(heron(1), *(heron(i, 2, keypoints=POINTS[:5]) for i in (2, 3, 4))))
    assert "got 5 in 3 objects" in done.words
    assert done.words.count("must be 3 numbers for each") == 1


@pytest.mark.parametrize("target", ["yolo-pose", "labelme", "cvat"])
def test_groups_are_left_out_when_asked_and_the_refusal_says_so(place: Place, target: str) -> None:
    content = document(heron(1), heron(2, 2), heron(3, 1, iscrowd=1), heron(4, 2, iscrowd=True, keypoints=[1]))
    refused = place.convert({**content, "annotations": content["annotations"][:3]}, "--to", target)
    assert refused.status == 2
    assert "--drop-crowds" in refused.words
    done = place.convert(content, "--to", target, "--drop-crowds")
    assert done.status == 0, done.words
    assert "groups (iscrowd)" in done.words


def test_groups_are_kept_from_coco_to_coco(place: Place) -> None:
    assert place.convert(document(heron(1), heron(2, 2, iscrowd=1))).status == 0
    assert [one["iscrowd"] for one in place.objects()] == [0, 1]


def flat(*, boxes: list[list[float]], points: list[tuple[str, float, float]], size: float = 1) -> Entry:
    content = document(heron(1), heron(2, 2), keypoints=...)
    content["categories"] += [{"id": 10 + i, "name": name} for i, name in enumerate(NAMES)]
    objects = [heron(0, bbox=box, keypoints=..., num_keypoints=..., area=box[2] * box[3]) for box in boxes]
    objects += [
        {
            "image_id": 1,
            "category_id": 10 + NAMES.index(name),
            "bbox": [x - size / 2, y - size / 2, size, size],
            "area": 0,
            "iscrowd": 0,
        }
        for name, x, y in points
    ]
    objects.append(heron(0, 2, keypoints=..., num_keypoints=...))
    content["annotations"] = [{**entry, "id": i} for i, entry in enumerate(objects, 1)]
    return content


TWO = [[10.0, 10.0, 50.0, 40.0], [80.0, 10.0, 50.0, 40.0]]


def test_keypoints_as_categories_are_named_as_such_and_joined_when_asked(place: Place) -> None:
    content = flat(boxes=TWO, points=[("beak", 20, 20), ("tail", 30, 25), ("beak", 100, 30)])
    done = place.convert(content)
    assert done.status == 1
    assert "keypoints must belong to objects, got" in done.words
    assert "E104" not in done.words
    assert "--keypoints-from categories" in done.words
    done = place.convert(content, "--keypoints-from", "categories")
    assert done.status == 0, done.words
    one, two, three = place.objects()
    assert one["keypoints"] == [20, 20, 2, 30, 25, 2, 0, 0, 0]
    assert two["keypoints"] == [100, 30, 2, 0, 0, 0, 0, 0, 0]
    assert three["num_keypoints"] == 0


def test_joined_keypoints_keep_what_their_objects_say_of_occlusion(place: Place) -> None:
    content = flat(boxes=TWO, points=[("beak", 20, 20), ("tail", 30, 25), ("beak", 100, 30)])
    content["annotations"][2] |= {"keypoints": [20, 20, 1], "num_keypoints": 1}
    content["annotations"][3] |= {"keypoints": [30, 25, 2], "num_keypoints": 1}
    content["annotations"][4]["attributes"] = {"occluded": True}
    done = place.convert(content, "--keypoints-from", "categories")
    assert done.status == 0, done.words
    assert "2 of them as occluded" in done.words
    one, two, _ = place.objects()
    assert one["keypoints"] == [20, 20, 1, 30, 25, 2, 0, 0, 0]
    assert two["keypoints"] == [100, 30, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("category", [True, False])
def test_keypoints_alone_are_the_one_object_of_their_image_when_asked(place: Place, *, category: bool) -> None:
    content = flat(boxes=[], points=[("beak", 20, 20), ("tail", 60, 25), ("crest", 40, 60)])
    content["annotations"][-1:] = [{**content["annotations"][0], "id": 9, "image_id": 2}]
    if not category:
        del content["categories"][0]
    options = ("--one-object-per-image", "--box-from", "keypoints")
    joined = ("--keypoints-from", "categories")
    assert " ".join(options) in place.convert(content).words
    assert " ".join(options) in place.convert(content, *joined).words
    done = place.convert(content, *joined, *options, "--box-margin", "10px")
    assert done.status == 0, done.words
    one, two = place.objects()
    assert one["keypoints"] == [20, 20, 2, 60, 25, 2, 40, 60, 2]
    assert one["bbox"] == [10, 10, 60, 60]
    assert two["keypoints"] == [20, 20, 2, 0, 0, 0, 0, 0, 0]


def test_the_points_of_an_image_are_those_of_its_one_object_though_its_box_misses_them(place: Place) -> None:
    content = flat(boxes=TWO[:1], points=[("beak", 90, 20)])
    done = place.convert(content, "--keypoints-from", "categories", "--one-object-per-image")
    assert done.status == 0, done.words
    one, _ = place.objects()
    assert one["bbox"] == TWO[0]
    assert one["keypoints"] == [90, 20, 2, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("names", [["1", "2", "3"], [0, 1, 2], ["kp_0", "kp_1", "kp_2"]])
def test_names_that_only_count_are_no_names(place: Place, names: list[object]) -> None:
    content = document(heron(1), heron(2, 2), keypoints=names)
    refused = place.convert(content)
    assert refused.status == 1
    assert "--kpt-order beak,tail,crest" in refused.words
    assert "E301" not in refused.words
    done = place.convert(content, "--kpt-order", "tail,beak,crest")
    assert done.status == 0, done.words
    assert "W336" in done.words
    assert place.objects()[0]["keypoints"] == [50.5, 60, 1, 30, 40, 2, 70, 42, 2]


def test_an_order_that_is_given_names_keypoints_of_other_names_and_never_those_of_the_skeleton(place: Place) -> None:
    done = place.convert(
        document(heron(1), heron(2, 2), keypoints=["bill", "rump", "tuft"]), "--kpt-order", "beak,tail,crest"
    )
    assert done.status == 0, done.words
    assert "'bill', 'rump', 'tuft'" in done.words
    assert place.objects()[0]["keypoints"] == POINTS
    done = place.convert(document(heron(1), heron(2, 2)), "--kpt-order", "crest,tail,beak", "--overwrite")
    assert done.status == 0, done.words
    assert place.objects()[0]["keypoints"] == POINTS


@pytest.mark.parametrize("ids", [..., None])
def test_objects_without_ids_are_read(place: Place, ids: object) -> None:
    done = place.convert(document(heron(1), heron(0, id=ids), heron(0, 2, id=ids)))
    assert done.status == 0, done.words
    assert (
        "a.json: annotations: an object without an id was given one (2 times, the first is annotations[1])"
        in done.words
    )
    assert len({one["id"] for one in place.objects()}) == 3


def test_boxes_without_a_size_that_are_replaced_are_counted(place: Place) -> None:
    content = document(heron(1, bbox=[0, 0, 0, 0]), heron(2, 2))
    done = place.convert(content, "--box-from", "keypoints", "--box-margin", "0")
    assert done.status == 0, done.words
    assert "replaced by one from keypoints in 1 object, the first is annotations[0] (id 1)" in done.words
    assert [one["bbox"] for one in place.objects()] == [[30, 40, 40, 20], [20, 30, 60, 40]]


@pytest.mark.parametrize("box", [..., None, [], [0, 0, 0, 0]])
@pytest.mark.parametrize("options", [(), ("--box-from", "keypoints")])
def test_an_outlined_object_without_a_box_has_that_of_its_outline(
    place: Place, box: object, options: tuple[str, ...]
) -> None:
    outline = [[10, 20, 90.5, 30, 40, 80], [15, 85, 20, 85, 20, 70, 15, 70]]
    done = place.convert(document(heron(1, bbox=box, segmentation=outline), heron(2, 2)), *options)
    assert done.status == 0, done.words
    assert "extent of the segmentation in 1 object without one, the first is annotations[0] (id 1)" in done.words
    assert [one["bbox"] for one in place.objects()] == [[10, 20, 80.5, 65], [20, 30, 60, 40]]


@pytest.mark.parametrize(
    "outline", [[], [[]], [[1, 2, 3]], [[10, 20, 30, 20]], [[5, 5, 5, 9, 5, 7]], {"counts": [1]}, [["a"] * 6]]
)
def test_what_outlines_nothing_makes_no_box(place: Place, outline: object) -> None:
    done = place.convert(document(heron(1, bbox=None, segmentation=outline), heron(2, 2)))
    assert done.status == 1
    assert "--box-from keypoints" in done.words


def test_a_file_in_a_folder_of_another_name_is_named_with_what_to_give(place: Place) -> None:
    for folder in ("labels", "herons/train"):
        (place.folder / "in" / folder).mkdir(parents=True)
    labels, herons = place.folder / "in/labels/x.json", place.folder / "in/herons"
    labels.write_text(json.dumps(document(heron(1), heron(2, 2))))
    (herons / "train/_annotations.coco.json").write_text(labels.read_text())
    done = run("convert", place.folder / "in", "--out", place.folder / "out", "--skeleton", place.folder / "s.yaml")
    assert done.status == 2
    assert f"give {labels.parent} as SRC" in done.words
    assert f"give {herons} as SRC" in done.words
    options = (
        "--out",
        place.folder / "out",
        "--skeleton",
        place.folder / "s.yaml",
        "--image-root",
        place.folder / "in",
    )
    assert run("convert", labels.parent, *options).status == 0


def test_fractions_of_the_image_are_no_pixels(place: Place) -> None:
    scaled = {"bbox": [0.2, 0.25, 0.4, 0.3], "keypoints": [0.2, 0.3, 2, 1.02, 0.5, 1, 0, 0, 0], "num_keypoints": 2}
    done = place.convert(document(heron(1, **scaled), heron(2, 2, **scaled)))
    assert done.status == 1
    assert "must be in pixels, got fractions of the image (0 to 1) in all 2 objects" in done.words
    assert done.words.count("E108") == 2, done.words
    assert not (place.folder / "out").exists()


def test_a_few_names_in_common_with_a_built_in_skeleton_do_not_name_it(place: Place) -> None:
    names = ["nose", "left_eye", "right_eye"]
    (place.folder / "in/a.json").write_text(json.dumps(document(heron(1), heron(2, 2), keypoints=names)))
    done = run("convert", place.folder / "in", "--out", place.folder / "out")
    assert done.status == 0
    assert "coco17" not in done.words
    assert "skeleton heron: category 'heron', 3 keypoints" in done.words
    assert "left/right pairs: left_eye - right_eye" in done.words


@pytest.mark.parametrize(
    ("boxes", "points", "size", "part"),
    [
        (TWO, [("beak", 70, 20)], 1, "exactly one box"),
        ([TWO[0], [12.0, 12.0, 50.0, 40.0]], [("beak", 30, 30)], 1, "got several"),
        ([], [("beak", 30, 30)], 1, "got none"),
        (TWO, [("beak", 20, 20), ("beak", 22, 20)], 1, "at most once"),
        (TWO, [("beak", 30, 30)], 20, "must be tiny"),
    ],
)
def test_keypoints_that_cannot_be_joined_name_the_export_to_choose(
    place: Place, boxes: list[list[float]], points: list[tuple[str, float, float]], size: float, part: str
) -> None:
    done = place.convert(flat(boxes=boxes, points=points, size=size), "--keypoints-from", "categories")
    assert done.status == 1
    assert part in done.words
    assert "CVAT for images 1.1" in done.words
    assert not (place.folder / "out").exists()


def test_a_release_has_its_objects_once(place: Place) -> None:
    content = document(heron(1), heron(2, 2))
    folder = place.folder / "in/annotations"
    folder.mkdir()
    (folder / "person_keypoints_train2017.json").write_text(json.dumps(content))
    boxes = [heron(i, i, keypoints=..., num_keypoints=...) for i in (1, 2)]
    (folder / "instances_train2017.json").write_text(json.dumps({**content, "annotations": boxes}))
    (folder / "captions_train2017.json").write_text('{"images": [], "annotations": []}')
    out = place.folder / "out"
    done = run("convert", place.folder / "in", "--out", out, "--skeleton", place.folder / "s.yaml", "--val", "0.5")
    assert done.status == 0, done.words
    assert "instances_train2017.json" in done.words
    assert "W323" in done.words
    assert np.all([one["num_keypoints"] == 3 for one in place.objects()])


def test_an_image_that_nobody_labeled_is_no_negative(place: Place) -> None:
    make_image(place.folder / "in/p3.jpg", SIZE, seed=3)
    content = document(heron(1), heron(2, 2), images=3)
    content["images"][1]["is_labeled"] = content["images"][2]["is_labeled"] = False
    done = place.convert(content)
    assert done.status == 0, done.words
    assert "is_labeled is false in 1 image without objects" in done.words
    names = [
        image["file_name"]
        for s in ("train", "val")
        for image in json.loads((place.folder / f"out/{s}_coco.json").read_text())["images"]
    ]
    assert sorted(names) == ["p1.jpg", "p2.jpg"]


def test_files_that_list_the_same_images_are_one_finding(place: Place) -> None:
    (place.folder / "in/b.json").write_text(json.dumps(document(heron(1), heron(2, 2))))
    done = place.convert(document(heron(1), heron(2, 2)))
    assert done.status == 1
    assert done.words.count("an image must be listed once") == 1
    assert "(4 in 2 files, this is the first)" in done.words
