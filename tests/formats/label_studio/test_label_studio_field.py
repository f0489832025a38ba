"""Label Studio's JSON as other programs and older versions write it: what the command reads, on a dog."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import posetools.formats.label_studio.format as label_studio
from posetools.core.categories import Categories
from posetools.core.skeleton import load_skeleton
from posetools.formats.joining.shape_labels import Labels
from posetools.formats.label_studio.model import parse_document
from posetools.formats.label_studio.shapes import brush_extent, shapes_of
from posetools.formats.options import ReadOptions
from tests.build import make_image
from tests.formats.cvat.test_cvat_field import convert, dog
from tests.formats.label_studio.test_label_studio import Json, choice, dot, entry, rect, task

SIZE = (320, 240)
# DOG in COCO, by hand: percent of 320 x 240.
BOX, KEYPOINTS = [32, 24, 128, 120], [40, 120, 2, 144, 120, 1, 0, 0, 0]


def regions() -> list[Json]:
    return [
        rect("r", 10, 10, 40, 50, "dog"),
        dot("n", "nose", 12.5, 50, "r"),
        dot("e", "left-ear", 45, 50, "r"),
        choice("e", "occluded"),
    ]


def save(folder: Path, document: Any, name: str = "project-1.json") -> Path:
    make_image(folder / "src/a.jpg", SIZE)
    path = folder / "src" / name
    path.write_text(json.dumps(document))
    return path


def copied() -> Any:
    """Return the regions of a copy: Label Studio gives them new ids."""
    text = json.dumps(regions())
    for old, new in (('"r"', '"r2"'), ('"e"', '"e2"'), ('"manual"', '"prediction"')):
        text = text.replace(old, new)
    return json.loads(text)


def each(change: Callable[[Json], None]) -> list[Json]:
    """Return the task with every entry changed."""
    made = regions()
    for one in made:
        change(one)
    return [task(*made)]


def set_all(**values: Any) -> list[Json]:
    return each(lambda one: one.update(values))


def as_texts(one: Json) -> None:
    one["value"] = {key: str(value) if isinstance(value, int | float) else value for key, value in one["value"].items()}


def numbered(one: Json) -> None:
    numbers = {"r": 12, "n": 13, "e": 14}
    one |= {key: numbers[one[key]] for key in ("id", "parentID") if key in one}


def single_label(one: Json) -> None:
    one["value"] = {k: v[0] if k.endswith("labels") else v for k, v in one["value"].items()}


def no_rotation(one: Json) -> None:
    if "rotation" in one["value"]:
        one["value"]["rotation"] = None


def without_width(one: Json) -> None:
    del one["original_width"]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (each(as_texts), "percentages as strings were read as numbers (14)"),
        (each(numbered), "an id as a number was read as a string (6)"),
        (each(single_label), "a label outside a list was read as the only one (3)"),
        (each(without_width), "a width or height alone was ignored: the image gives both (4)"),
        (set_all(original_width="320", original_height=240.0), "as a string or a float was read as an integer (8)"),
        (set_all(image_rotation="0"), "an image size or rotation as a string or a float"),
        (set_all(image_rotation=0.0), "an image size or rotation as a string or a float"),
        ([task(*regions()) | {"annotations": task(*regions())["annotations"][0]}],
         "an annotation outside a list was read as the only one (1)"),
        ([task(*regions()) | {"annotations": [{"was_cancelled": "False", "result": regions()}]}],
         "was_cancelled as a number or a string was read as true or false (1)"),
        ([task(*regions()) | {"annotations": [{"result": regions()}, {"result": copied()}]}],
         "a task with equal annotations was read once (1)"),
    ],
)  # fmt: skip
def test_a_value_with_one_meaning_is_read_and_counted(tmp_path: Path, document: Any, told: str) -> None:
    save(tmp_path, document)
    done, objects = convert(tmp_path)
    assert [(one["bbox"], one["keypoints"]) for one in objects] == [(BOX, KEYPOINTS)], done.words
    assert told in done.words and "W324 repaired (1)" in done.words


@pytest.mark.parametrize(
    "document",
    [
        [task(*regions())],
        each(no_rotation),
        task(*regions()),
        {"tasks": [task(*regions())]},
        {"id": 5, "result": regions(), "task": {"id": 7, "data": {"image": "a.jpg"}}, "was_cancelled": False},
        [{"id": 7, "image": "a.jpg", "annotations": task(*regions())["annotations"]}],
        [{"id": 7, "data": "a.jpg", "completions": task(*regions())["annotations"]}],
    ],
    ids=["export", "no rotation", "one task", "tasks in an object", "cloud storage", "no data", "data is the image"],
)
def test_documents_of_other_shapes(tmp_path: Path, document: Any) -> None:
    save(tmp_path, document)
    done, objects = convert(tmp_path)
    assert [(one["bbox"], one["keypoints"]) for one in objects] == [(BOX, KEYPOINTS)], done.words
    assert "findings" not in done.words


@pytest.mark.parametrize("annotations", [None, []])
def test_a_task_without_annotations_is_no_image_without_objects(tmp_path: Path, annotations: Any) -> None:
    make_image(tmp_path / "src/b.jpg", SIZE)
    save(tmp_path, [task(*regions()), {"id": 8, "image": "b.jpg", "annotations": annotations}])
    done, objects = convert(tmp_path)
    assert {one["file"] for one in objects} == {"a.jpg"} and "not labeled yet, left out" in done.words
    images = json.loads((tmp_path / "out/train_coco.json").read_text())["images"]
    assert [one["file_name"] for one in images] == ["a.jpg"]


def test_drafts_are_said(tmp_path: Path) -> None:
    save(tmp_path, [task(*regions()) | {"drafts": [{"result": regions()}], "predictions": []}])
    done, objects = convert(tmp_path)
    assert len(objects) == 1 and "got also drafts (1)" in done.words


def test_of_several_annotations_the_ground_truth_is_read(tmp_path: Path) -> None:
    other = {"result": [rect("x", 1, 1, 9, 9, "dog")], "ground_truth": False}
    document = [task(*regions()) | {"annotations": [other, {"result": regions(), "ground_truth": True}, other]}]
    save(tmp_path, document)
    done, objects = convert(tmp_path)
    assert [(one["bbox"], one["keypoints"]) for one in objects] == [(BOX, KEYPOINTS)]
    assert "got also annotations other than the ground truth (2)" in done.words
    # With no ground truth or two, the hint says what to do.
    for truths in (0, 2):
        annotations = [
            one | {"ground_truth": index < truths} for index, one in enumerate(document[0]["annotations"][:2])
        ]
        save(tmp_path, [task() | {"annotations": annotations}])
        done, _ = convert(tmp_path)
        assert done.status == 1 and "E313" in done.words and "mark the right one as ground truth" in done.words


def test_annotations_that_differ_in_a_digit_are_refused(tmp_path: Path) -> None:
    second = regions()
    second[1]["value"]["x"] += 0.1
    save(tmp_path, [task() | {"annotations": [{"result": regions()}, {"result": second}]}])
    done, _ = convert(tmp_path)
    assert done.status == 1 and "E313" in done.words


@pytest.mark.parametrize(("control", "said", "visibility"), [
    ("state", "not visible", 1), ("state", "Invisible", 1), ("state", "partially occluded", 1), ("state", "Visible", 2),
    ("visibility", "1", 1), ("visibility", "0", 0), ("occluded", "yes", 1), ("occluded", "no", 2), ("visible", "No", 1),
])  # fmt: skip
def test_a_choice_says_the_visibility_of_a_keypoint(tmp_path: Path, control: str, said: str, visibility: int) -> None:
    result = [*regions()[:2], choice("n", said) | {"from_name": control}]
    save(tmp_path, [task(*result)])
    done, objects = convert(tmp_path)
    assert objects[0]["keypoints"][2] == visibility, done.words
    assert "not-carried" not in done.words


def test_choices_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    save(tmp_path, [task(*regions()[:2], choice("n", "visible", "occluded"))])
    done, _ = convert(tmp_path)
    assert done.status == 1 and "visibility must be given once, or with one meaning" in done.words


def packed(mask: np.ndarray[Any, Any]) -> list[int]:
    """Return a mask as Label Studio packs it, in runs of at most 8 values and single ones (written from its format)."""
    values = np.repeat(mask.ravel(), 4).tolist()
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    start = 0
    while start < len(values):
        end = start + 1
        while end < len(values) and values[end] == values[start] and end - start < 8:
            end += 1
        # A single value is a sequence of one.
        bits += f"{int(end - start > 1)}00{end - start - 1:03b}{values[start]:08b}"
        start = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def test_the_extent_of_a_brush() -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        mask = np.where(random.random((6, 9)) < 0.1, 255, 0)
        rows, columns = np.nonzero(mask)
        expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else None
        assert brush_extent(packed(mask), (9, 6)) == expected
    # By hand: 2 x 1 pixels, a sequence of eight values in words of 8 bits, the fourth and the last are the pixels'.
    bits = f"{8:032b}{7:05b}" + f"{2:04b}" * 4 + "000" + f"{7:03b}" + f"{0:08b}" * 7 + f"{255:08b}"
    bits += "0" * (-len(bits) % 8)
    assert brush_extent([int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)], (2, 1)) == (1, 0, 2, 1)


@pytest.mark.parametrize("rle", [[], [1], [255] * 4, [0, 0, 0, 1] + [255] * 9, packed(np.zeros((6, 8), int))])
def test_a_brush_that_cannot_be_unpacked_is_told(tmp_path: Path, rle: list[int]) -> None:
    brush = entry("brushlabels", "b", {"format": "rle", "rle": rle, "brushlabels": ["dog"]})
    save(tmp_path, [task(brush)])
    done, _ = convert(tmp_path)
    assert done.status == 1 and "E311" in done.words
    assert "rle must be a brush packed by Label Studio for an image of 320 x 240" in done.words


def test_ellipses_and_brushes_have_the_corners_of_their_upright_extent(tmp_path: Path) -> None:
    """The ellipse is 32 x 24 px in radius, with its center at (160, 120); turned by 90 degrees these are swapped."""
    skeleton = load_skeleton(dog(tmp_path))
    mask = np.zeros((SIZE[1], SIZE[0]), int)
    mask[20:31, 40:61] = 255
    value = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 10, "ellipselabels": ["dog"]}
    turned = (32**2 + 24**2) ** 0.5 / 2**0.5
    shapes = [
        entry("ellipselabels", "a", value | {"rotation": 0}),
        entry("ellipselabels", "b", value | {"rotation": 90}),
        entry("ellipselabels", "c", value | {"rotation": 45}),
        entry("brushlabels", "d", {"format": "rle", "rle": packed(mask), "brushlabels": ["dog"]}),
    ]
    (one,), wrong = parse_document(json.dumps([task(*shapes)]).encode(), "a.json")
    assert wrong == []
    found = shapes_of(one.regions or (), SIZE, Labels.of(Categories.of(skeleton), ReadOptions()), Counter())
    corners = [np.array(shape.points) for _, shape in found]  # type: ignore[union-attr]
    assert corners[0].tolist() == [[128, 96], [192, 144]]
    assert corners[1].tolist() == [[136, 88], [184, 152]]
    assert np.allclose(corners[2], [[160 - turned, 120 - turned], [160 + turned, 120 + turned]], atol=1e-8)
    assert corners[3].tolist() == [[40, 20], [61, 31]]
    assert label_studio.detect(save(tmp_path, [task(*shapes)]))


@pytest.mark.parametrize("more", [("occluded",), ("occluded", "blurred")])
def test_of_several_labels_the_only_known_one_counts(tmp_path: Path, more: tuple[str, ...]) -> None:
    made = regions()[:2]
    made[1]["value"]["keypointlabels"] = ["nose", *more]
    save(tmp_path, [task(*made)])
    done, objects = convert(tmp_path)
    assert objects[0]["keypoints"][:3] == [40, 120, 1], done.words
    assert ("choice 'blurred' of keypoint regions (1)" in done.words) is ("blurred" in more)
    made[1]["value"]["keypointlabels"] = ["nose", "left-ear"]
    save(tmp_path, [task(*made)])
    done, _ = convert(tmp_path)
    assert done.status == 1 and "keypointlabels must be one label, got ['nose', 'left-ear']" in done.words


def test_a_keypoint_belongs_to_the_object_that_its_parent_is_in(tmp_path: Path) -> None:
    """Both dogs contain the nose; its parent is the face of the first, which is ignored on purpose."""
    face = rect("f", 11, 11, 20, 45, "face", parentID="r")
    made = [rect("r", 10, 10, 40, 50, "dog"), rect("q", 10, 10, 60, 60, "dog"), dot("n", "nose", 12.5, 50, "f"), face]
    made.append(dot("e", "left-ear", 45, 50, "n"))
    save(tmp_path, [task(*made)])
    done, objects = convert(tmp_path, more=("--val", "0", "--ignore", "face"))
    assert [(one["bbox"], one["keypoints"][:6]) for one in objects] == [
        (BOX, [40, 120, 2, 144, 120, 2]),
        ([32, 24, 192, 144], [0, 0, 0, 0, 0, 0]),
    ], done.words
    assert "left out on purpose: face (1)" in done.words
    # Regions that are each other's parents belong to no object.
    made[3]["parentID"], made[2]["parentID"] = "n", "f"
    save(tmp_path, [task(*made)])
    assert convert(tmp_path, more=("--val", "0", "--ignore", "face"))[0].status in (0, 1)


@pytest.mark.parametrize(("data", "hint"), [
    ({"video": "dogs.mp4"}, "label the frames as images: video tasks cannot be read"),
    ({"left": "a.jpg", "right": "b.jpg"}, "rename the key of the labeled image to image"),
])  # fmt: skip
def test_data_that_names_no_image_or_several_says_the_way_on(tmp_path: Path, data: Json, hint: str) -> None:
    save(tmp_path, [task(*regions()) | {"data": data}])
    done, _ = convert(tmp_path)
    assert done.status == 1 and hint in done.words
    # Do what the hint says.
    if "left" in data:
        save(tmp_path, [task(*regions()) | {"data": {"image": "a.jpg", "right": "b.jpg"}}])
        assert [one["keypoints"] for one in convert(tmp_path)[1]] == [KEYPOINTS]


def test_painted_objects_have_the_box_around_their_paint(tmp_path: Path) -> None:
    mask = np.zeros((SIZE[1], SIZE[0]), int)
    mask[20:131, 30:161] = 255
    brush = entry("brushlabels", "r", {"format": "rle", "rle": packed(mask), "brushlabels": ["dog"]})
    ellipse = {"x": 75, "y": 50, "radiusX": 10, "radiusY": 10, "rotation": 90, "ellipselabels": ["dog"]}
    save(tmp_path, [task(brush, *regions()[1:], entry("ellipselabels", "s", ellipse))])
    done, objects = convert(tmp_path)
    assert [(one["bbox"], one["keypoints"]) for one in objects] == [
        ([30, 20, 131, 111], KEYPOINTS),
        # 32 px by 24 px in radius around (240, 120), turned by 90 degrees.
        ([216, 88, 48, 64], [0] * 9),
    ], done.words
    assert "W323" in done.words and "outlines" in done.words


def test_a_task_that_is_exported_twice_is_read_once(tmp_path: Path) -> None:
    one = task(*regions())
    save(tmp_path, [one, one, one])
    done, objects = convert(tmp_path)
    assert [(ob["bbox"], ob["keypoints"]) for ob in objects] == [(BOX, KEYPOINTS)], done.words
    assert "a task that the file repeats, with equal annotations, was read once (2)" in done.words
    assert "regions of copies of a task (6)" in done.words
    # With different annotations it is unknown which is right.
    save(tmp_path, [one, task(*regions()[:2])])
    done, _ = convert(tmp_path)
    assert (
        done.status == 1
        and "E313 duplicate-annotation (1)" in done.words
        and "an image must have one entry (2)" in done.words
    )


@pytest.mark.parametrize("kind", ["ellipse", "rectangle"])
def test_a_shape_around_a_keypoint_has_its_parent_and_visibility(tmp_path: Path, kind: str) -> None:
    around = rect("n", 12, 49, 1, 2, "nose", parentID="r")
    if kind == "ellipse":
        value = {"x": 12.5, "y": 50, "radiusX": 0.5, "radiusY": 1, "rotation": 0, "ellipselabels": ["nose"]}
        around = entry("ellipselabels", "n", value, parentID="r")
    # The smaller rectangle contains it too, but is not its parent.
    other = rect("q", 11, 40, 10, 15, "dog")
    save(tmp_path, [task(rect("r", 10, 10, 40, 50, "dog"), other, around, choice("n", "occluded"))])
    done, objects = convert(tmp_path, more=("--val", "0", "--keypoints-from", "categories"))
    assert [(one["bbox"], one["keypoints"][:3]) for one in objects] == [
        (BOX, [40, 120, 1]),
        ([35.2, 96, 32, 36], [0, 0, 0]),
    ], done.words
    assert "not-carried" not in done.words


@pytest.mark.parametrize(("number", "visibility"), [(0, 0), (1, 1), (2, 2), (1.0, 1)])
def test_a_number_called_visibility_is_cocos(tmp_path: Path, number: float, visibility: int) -> None:
    said = entry("number", "n", {"number": number}) | {"from_name": "visibility"}
    save(tmp_path, [task(rect("r", 10, 10, 40, 50, "dog"), dot("n", "nose", 12.5, 50, "r"), said)])
    done, objects = convert(tmp_path)
    assert [one["keypoints"][2] for one in objects] == [visibility], done.words
    assert "not-carried" not in done.words


def test_files_of_a_cloud_storage_have_no_ending(tmp_path: Path) -> None:
    annotation = task(*regions())["annotations"][0]
    save(tmp_path, annotation | {"task": {"id": 7, "data": {"image": "s3://dogs/a.jpg"}}}, "5")
    done, objects = convert(tmp_path)
    assert [(one["bbox"], one["keypoints"]) for one in objects] == [(BOX, KEYPOINTS)], done.words


def test_annotations_that_were_all_canceled_are_named(tmp_path: Path) -> None:
    canceled = task(*regions())
    canceled["annotations"][0]["was_cancelled"] = True
    save(tmp_path, [canceled])
    done, _ = convert(tmp_path)
    assert done.status == 1 and "all objects are left out: canceled annotations (3)" in done.words
    assert "--ignore" not in done.words


def test_two_separators_are_one_pattern_that_reads_both(tmp_path: Path) -> None:
    points = (dot("n", "nose-visible", 12.5, 50, "r"), dot("e", "left-ear_occluded", 45, 50, "r"))
    save(tmp_path, [task(rect("r", 10, 10, 40, 50, "dog"), *points)])
    done, _ = convert(tmp_path)
    pattern = re.findall(r"--label-pattern '([^']+)' reads the rest of the label", done.words)
    assert done.status == 1 and len(pattern) == 1, done.words
    done, objects = convert(tmp_path, more=("--val", "0", "--label-pattern", pattern[0]))
    assert [(one["bbox"], one["keypoints"]) for one in objects] == [(BOX, KEYPOINTS)], done.words


@pytest.mark.parametrize(("address", "way"), [
    ("/data/upload/1/dog.mp4", "label the frames as images: video tasks cannot be read"),
    ("data:image/png;base64,AAAA", "save the images as files and name these in the tasks"),
])  # fmt: skip
def test_an_address_of_no_image_file_says_what_to_do(tmp_path: Path, address: str, way: str) -> None:
    save(tmp_path, [task(*regions(), image=address)])
    done, _ = convert(tmp_path)
    assert done.status == 1 and way in done.words and "--image-root" not in done.words
