"""CVAT files as other programs and older versions write them: what the command reads, on a dog."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.build import make_image
from tests.cli.run import Done, run
from tests.formats.cvat.test_cvat import box, document, image, point, save, skeleton, tag

SIZE = (320, 240)
DOG = "".join(
    (
        box(10, 20, 110, 90, label="dog-box", group_id=1),
        skeleton(
            point("nose", 30.5, 80.25),
            point("left-ear", 90, 80, occluded=1),
            point("right-ear", 50, 50, outside=1),
            label="dog",
            group_id=1,
        ),
    )
)
# DOG in COCO, by hand.
BOX, KEYPOINTS = [10, 20, 100, 70], [30.5, 80.25, 2, 90, 80, 1, 0, 0, 0]


def dog(folder: Path) -> Path:
    path = folder / "dog.yaml"
    if not path.exists():
        names = "nose,left-ear,right-ear"
        assert run("skeleton", "new", path, "--names", names, "--category", "dog").status == 0
    return path


def convert(folder: Path, *sources: Path, more: tuple[str, ...] = ("--val", "0")) -> tuple[Done, list[dict[str, Any]]]:
    """Return the command's output, and the objects that it wrote, with the names of their images."""
    given = sources or (folder / "src",)
    out = folder / "out"
    done = run("convert", *given, "--skeleton", dog(folder), "--out", out, "--overwrite", *more)
    objects = []
    for file in sorted(out.glob("*_coco.json")) if done.status == 0 else ():
        content = json.loads(file.read_text())
        names = {one["id"]: one["file_name"] for one in content["images"]}
        objects += [one | {"file": names[one["image_id"]]} for one in content["annotations"]]
    return done, objects


def source(folder: Path, *shapes: str, **more: Any) -> Path:
    make_image(folder / "src/images/a.jpg", SIZE)
    return save(folder / "src", document(image(*shapes, **more)))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('group_id="1"', 'group_id="1.0"', "a group_id as a float was read as an integer"),
        ('group_id="1"', 'group_id=""', "an empty one as none (2)"),
        ('group_id="1"', 'group_id="None"', "an empty one as none (2)"),
        ('occluded="1"', 'occluded="True"', "occluded or outside as a word or a float was read as 0 or 1"),
        ('occluded="1"', 'occluded="yes"', "occluded or outside as a word or a float was read as 0 or 1"),
        ('outside="1"', 'outside="1.0"', "occluded or outside as a word or a float was read as 0 or 1"),
        ('points="30.5,80.25"', 'points=" 30.5 , 80.25 ;;"', "points with other white space or extra separators"),
        ('points="30.5,80.25"', 'points="30.5 80.25"', "points with other white space or extra separators"),
        ('xtl="10" ytl="20" xbr="110" ybr="90"', 'xtl="110" ytl="90" xbr="10" ybr="20"', "swapped corners of a box"),
        ('width="320"', 'width="320.0"', "a size as a float was read as an integer (1)"),
        (' width="320" height="240"', "", "a missing size was taken from the image (1)"),
        (' width="320"', "", "a width or height alone was ignored: the image gives both (1)"),
        ('width="320"', 'width=""', "a width or height alone was ignored: the image gives both (1)"),
    ],
)  # fmt: skip
def test_a_value_with_one_meaning_is_read_and_counted(tmp_path: Path, old: str, new: str, told: str) -> None:
    file = source(tmp_path, DOG)
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    done, objects = convert(tmp_path)
    assert done.status == 0 and [(one["bbox"], one["keypoints"]) for one in objects] == [(BOX, KEYPOINTS)], done.words
    assert told in done.words and "W324 repaired (1)" in done.words


def test_what_cvat_writes_is_no_repair(tmp_path: Path) -> None:
    source(tmp_path, DOG)
    done, objects = convert(tmp_path)
    assert [(one["bbox"], one["keypoints"]) for one in objects] == [(BOX, KEYPOINTS)] and "W324" not in done.words


@pytest.mark.parametrize(("name", "text", "visibility"), [
    ("visible", "false", 1), ("visible", "true", 2), ("visibility", "occluded", 1), ("visibility", "1", 1),
    ("visibility", "0", 0), ("visibility", "not visible", 1), ("occluded", "true", 1), ("occluded", "false", 2),
])  # fmt: skip
def test_an_attribute_says_the_visibility_of_a_point(tmp_path: Path, name: str, text: str, visibility: int) -> None:
    source(tmp_path, box(10, 20, 110, 90, label="dog"), point("nose", 30, 40, tag("attribute", text, name=name)))
    done, objects = convert(tmp_path)
    assert objects[0]["keypoints"][2] == visibility, done.words
    assert "not-carried" not in done.words


def test_attribute_and_switch_that_disagree_are_refused(tmp_path: Path) -> None:
    shape = point("nose", 30, 40, tag("attribute", "true", name="visible"), occluded=1)
    source(tmp_path, box(10, 20, 110, 90, label="dog"), shape)
    done, _ = convert(tmp_path)
    assert done.status == 1 and "visibility must be given once, or with one meaning" in done.words
    # An untouched checkbox has no effect.
    shape = point("nose", 30, 40, tag("attribute", "false", name="occluded"), occluded=1)
    source(tmp_path, box(10, 20, 110, 90, label="dog"), shape)
    assert convert(tmp_path)[1][0]["keypoints"][:3] == [30, 40, 1]


def test_an_attribute_names_the_keypoint_of_a_point_whose_label_means_nothing(tmp_path: Path) -> None:
    shapes = [
        point("landmark", x, 40, tag("attribute", name, name="part") + tag("attribute", "Ann", name="by"))
        for name, x in (("nose", 30), ("right-ear", 60))
    ]
    source(tmp_path, box(10, 20, 110, 90, label="dog"), *shapes)
    done, objects = convert(tmp_path)
    assert [one["keypoints"] for one in objects] == [[30, 40, 2, 0, 0, 0, 60, 40, 2]]
    assert "points labeled 'landmark' were named by an attribute that is a keypoint's name (2)" in done.words
    assert "attribute 'by' (2)" in done.words and "attribute 'part'" not in done.words
    # A label that is a keypoint's name takes precedence over an attribute.
    source(
        tmp_path, box(10, 20, 110, 90, label="dog"), point("nose", 30, 40, tag("attribute", "left-ear", name="near"))
    )
    assert convert(tmp_path)[1][0]["keypoints"][:6] == [30, 40, 2, 0, 0, 0]


def test_the_hint_for_a_skeleton_of_another_label_is_typed(tmp_path: Path) -> None:
    source(tmp_path, DOG.replace('label="dog"', 'label="pose"'))
    done, _ = convert(tmp_path)
    assert done.status == 1 and "--map 'pose=dog' maps it to the category" in done.words
    _, objects = convert(tmp_path, more=("--val", "0", "--map", "pose=dog"))
    assert [(one["bbox"], one["keypoints"]) for one in objects] == [(BOX, KEYPOINTS)]


@pytest.mark.parametrize(("packed", "parent"), [(False, True), (False, False), (True, True), (True, False)])
def test_several_tasks_with_images_and_groups_of_one_name(tmp_path: Path, packed: bool, parent: bool) -> None:
    tasks = []
    for number, name in enumerate(("yard", "park")):
        folder = tmp_path / ("made" if packed else "tasks") / name
        make_image(folder / "images/a.jpg", SIZE, seed=number)
        save(folder, document(image(DOG.replace("30.5", f"{30 + number}"))))
        tasks.append(folder)
        if packed:
            tasks[-1] = tmp_path / "tasks" / f"{name}.zip"
            tasks[-1].parent.mkdir(exist_ok=True)
            with zipfile.ZipFile(tasks[-1], "w") as file:
                file.write(folder / "annotations.xml", "annotations.xml")
                file.write(folder / "images/a.jpg", "images/a.jpg")
    done, objects = convert(tmp_path, *([tmp_path / "tasks"] if parent else tasks))
    assert done.status == 0, done.words
    assert sorted(one["keypoints"][0] for one in objects) == [30, 31] and len({one["file"] for one in objects}) == 2
    assert {Path(one["file"]).name for one in objects} == {"a.jpg"}


def test_tasks_of_a_project_that_share_an_image_s_name_are_exported_by_themselves(tmp_path: Path) -> None:
    make_image(tmp_path / "src/images/default/a.jpg", SIZE)
    entries = [image(DOG, subset="default", task_id=number) for number in (10, 9)]
    save(tmp_path / "src", document(*entries))
    done, _ = convert(tmp_path)
    assert done.status == 1 and done.words.count("E313") == 2
    assert "export each task from CVAT by itself, and give all exports to convert" in done.words
    assert "(tasks 9, 10)" in done.words


def test_the_frames_of_a_video_have_no_ending_in_the_file(tmp_path: Path) -> None:
    for number in range(2):
        make_image(tmp_path / f"src/images/frame_00000{number}.PNG", SIZE)
    save(tmp_path / "src", document(image(DOG, name="frame_000000"), image(DOG, name="frame_000001")))
    done, objects = convert(tmp_path)
    assert [one["file"] for one in objects] == ["frame_000000.PNG", "frame_000001.PNG"]
    assert "2 images are found with another extension" in done.words


@pytest.mark.parametrize(("shape", "visibility", "more"), [
    (tag("ellipse", label="nose", occluded=1, cx=30, cy=40, rx=3, ry=2), 1, ()),
    (tag("ellipse", label="nose", occluded=0, cx=30, cy=40, rx=3, ry=2), 2, ()),
    (tag("ellipse", tag("attribute", "false", name="visible"), label="nose", cx=30, cy=40, rx=3, ry=2), 1, ()),
    (box(28, 38, 32, 42, label="nose", occluded=1), 1, ("--keypoints-from", "categories")),
])  # fmt: skip
def test_a_shape_around_a_keypoint_keeps_its_visibility(
    tmp_path: Path, shape: str, visibility: int, more: tuple[str, ...]
) -> None:
    source(tmp_path, box(10, 20, 110, 90, label="dog"), shape)
    done, objects = convert(tmp_path, more=("--val", "0", *more))
    assert [one["keypoints"][:3] for one in objects] == [[30, 40, visibility]], done.words
    assert "not-carried" not in done.words


@pytest.mark.parametrize("kind", ["points", "polyline"])
@pytest.mark.parametrize("said", ["switch", "attribute"])
def test_keypoints_in_order_keep_their_visibility(tmp_path: Path, kind: str, said: str) -> None:
    inside = tag("attribute", "1", name="visibility") if said == "attribute" else ""
    shape = tag(kind, inside, label="dog", points="30,40;50,60;70,80", occluded=int(said == "switch"))
    source(tmp_path, box(10, 20, 110, 90, label="dog"), shape)
    done, objects = convert(tmp_path, more=("--val", "0", "--kpt-order", "nose,left-ear,right-ear"))
    assert [one["keypoints"] for one in objects] == [[30, 40, 1, 50, 60, 1, 70, 80, 1]], done.words


@pytest.mark.parametrize("label", ["dog_bbox", "Dog box", "bounding_box_dog", "dog-rectangle"])
def test_the_box_of_another_name_is_one_finding_whose_map_reads_it(tmp_path: Path, label: str) -> None:
    nose = skeleton(point("nose", 30, 80), label="dog")
    source(tmp_path, box(10, 20, 110, 90, label=label), nose)
    done, _ = convert(tmp_path)
    assert done.status == 1 and f"--map '{label}=dog' maps it" in done.words
    # The skeleton in it has no box, for the same cause.
    assert "E306" not in done.words and "1 point that depends on it is not read either" in done.words
    done, objects = convert(tmp_path, more=("--val", "0", "--map", f"{label}=dog"))
    assert [(one["bbox"], one["keypoints"][:3]) for one in objects] == [(BOX, [30, 80, 2])], done.words


def test_a_file_in_utf_16_is_read(tmp_path: Path) -> None:
    file = source(tmp_path, DOG)
    text = '<?xml version="1.0" encoding="utf-16"?>' + file.read_text().partition("?>")[2]
    file.write_bytes(text.encode("utf-16"))
    done, objects = convert(tmp_path)
    assert [(one["bbox"], one["keypoints"]) for one in objects] == [(BOX, KEYPOINTS)], done.words


@pytest.mark.parametrize("is_list", [False, True])
def test_a_backup_of_cvat_names_the_export(tmp_path: Path, is_list: bool) -> None:
    (tmp_path / "src").mkdir()
    content = {"version": 0, "tags": [], "shapes": [], "tracks": []}
    (tmp_path / "src/annotations.json").write_text(json.dumps([content] if is_list else content))
    done, _ = convert(tmp_path)
    assert done.status == 2, done.words
    assert "looks like a CVAT backup; export the task as CVAT for images 1.1" in done.words


def test_a_pattern_of_the_hint_reads_the_points_too(tmp_path: Path) -> None:
    shapes = [
        box(10, 20, 110, 90, label="dog_1"), box(150, 20, 250, 90, label="dog_2"),
        point("nose_1", 30, 80), point("nose_2", 170, 80),
    ]  # fmt: skip
    source(tmp_path, *shapes)
    done, _ = convert(tmp_path)
    pattern = re.findall(r"--label-pattern '([^']+)' reads the rest of the label", done.words)
    assert done.status == 1 and len(pattern) == 1, done.words
    done, objects = convert(tmp_path, more=("--val", "0", "--label-pattern", pattern[0]))
    assert [one["keypoints"][:3] for one in objects] == [[30, 80, 2], [170, 80, 2]], done.words


def test_names_with_the_category_before_them_are_mapped_by_the_hint(tmp_path: Path) -> None:
    parts = (point("dog-nose", 30, 80), point("dog_left_ear", 90, 80))
    source(tmp_path, box(10, 20, 110, 90, label="dog", group_id=1), skeleton(*parts, label="dog", group_id=1))
    done, _ = convert(tmp_path)
    maps = re.findall(r"--map '(dog[^']+)'", done.words)
    assert done.status == 1 and len(maps) == 2, done.words
    done, objects = convert(tmp_path, more=("--val", "0", *(word for one in maps for word in ("--map", one))))
    assert [one["keypoints"][:6] for one in objects] == [[30, 80, 2, 90, 80, 2]], done.words


def test_one_point_in_an_image_names_the_option_for_one_object(tmp_path: Path) -> None:
    source(tmp_path, point("nose", 30, 80))
    done, _ = convert(tmp_path)
    assert done.status == 1 and "add --one-object-per-image" in done.words
    done, objects = convert(tmp_path, more=("--val", "0", "--one-object-per-image", "--box-from", "keypoints"))
    # 5% of the shorter side.
    assert [(one["bbox"], one["keypoints"][:3]) for one in objects] == [([24, 74, 12, 12], [30, 80, 2])], done.words
