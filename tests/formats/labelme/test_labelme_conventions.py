"""How people number, group and draw a dog in labelme: what is read, and whether the hints are right."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.build import make_image
from tests.cli.run import Done, run

POINTS = {"nose": [150, 150], "left-ear": [200, 120], "right-ear": [240, 130]}
BOX = [[100, 100], [300, 200]]
WHOLE = ([100, 100, 200, 100], [150, 150, 2, 200, 120, 2, 240, 130, 2])
# The same dog 200 px to the right.
OTHER = ([300, 100, 200, 100], [350, 150, 2, 400, 120, 2, 440, 130, 2])


def shape(label: str, *points: list[float], **more: Any) -> dict[str, Any]:
    kind = "point" if len(points) == 1 else "rectangle"
    return {"label": label, "points": [*points], "group_id": None, "shape_type": kind, "flags": {}} | more


def dog(label: str = "{}", right: float = 0, **more: Any) -> list[dict[str, Any]]:
    corners = [[x + right, y] for x, y in BOX]
    points = [shape(label.format(name), [x + right, y], **more) for name, (x, y) in POINTS.items()]
    return [shape(label.format("dog"), *corners, **more), *points]


def convert(folder: Path, shapes: list[dict[str, Any]], *options: str) -> tuple[Done, list[Any]]:
    """Return the command's output for one image, and the objects written: box and keypoints."""
    source, skeleton, out = folder / "src", folder / "dog.yaml", folder / "out"
    if not skeleton.exists():
        run("skeleton", "new", skeleton, "--names", ",".join(POINTS), "--category", "dog")
        make_image(source / "a.jpg", (640, 480))
    (source / "a.json").write_text(json.dumps({"shapes": shapes, "imagePath": "a.jpg", "imageData": None}))
    done = run("convert", source, "--skeleton", skeleton, "--out", out, "--val", "0", *options)
    if not out.exists():
        return done, []
    written = json.loads((out / "train_coco.json").read_text())["annotations"]
    return done, [(one["bbox"], one["keypoints"]) for one in written]


def patterns(done: Done) -> list[str]:
    """Return the patterns that the finding names."""
    found = re.findall(r"--label-pattern '[^']*'", done.out + done.err)
    return list(dict.fromkeys(shlex.split(one)[1] for one in found))


@pytest.mark.parametrize("labels", [("{}_1", "{}_2"), ("{}-1", "{}-2"), ("{}#1", "{}#2")])
def test_the_number_of_an_object_tells_what_those_of_its_points_are(tmp_path: Path, labels: tuple[str, str]) -> None:
    shapes = [*dog(labels[0]), *dog(labels[1], 200)]
    done, objects = convert(tmp_path, shapes)
    assert objects == [] and "got none of them but" not in done.out + done.err
    (pattern,) = patterns(done)
    done, objects = convert(tmp_path, shapes, "--label-pattern", pattern)
    assert objects == [WHOLE, OTHER]


def test_a_number_behind_points_alone_has_both_patterns(tmp_path: Path) -> None:
    shapes = dog()
    for one, number in zip(shapes[1:], (1, 2, 2), strict=True):
        one["label"] += f"-{number}"
    done, _ = convert(tmp_path, shapes)
    instance, visibility = patterns(done)
    assert "got none of them but" not in done.out + done.err and "skeleton new" not in done.out + done.err
    _, objects = convert(tmp_path, shapes, "--label-pattern", visibility)
    assert objects == [(WHOLE[0], [150, 150, 1, 200, 120, 2, 240, 130, 2])]
    done, _ = convert(tmp_path, shapes, "--label-pattern", instance, "--overwrite")
    assert done.status == 1


@pytest.mark.parametrize("between", [("", "_"), ("_", "_"), ("-", "."), (" ", " ")])
def test_a_numbered_object_before_the_name(tmp_path: Path, between: tuple[str, str]) -> None:
    before, behind = between
    shapes = [*dog(f"dog{before}1{behind}{{}}"), *dog(f"dog{before}2{behind}{{}}", 200)]
    for one in shapes:
        one["label"] = one["label"].removesuffix(f"{behind}dog")
    done, _ = convert(tmp_path, shapes)
    (pattern,) = patterns(done)
    _, objects = convert(tmp_path, shapes, "--label-pattern", pattern)
    assert objects == [WHOLE, OTHER]


def test_a_pattern_that_reads_some_labels_is_to_be_extended(tmp_path: Path) -> None:
    shapes = dog()
    shapes[1]["label"] += "_occluded"
    shapes[2]["label"] += "(occluded)"
    done, _ = convert(tmp_path, shapes, "--label-pattern", "(?P<name>.+?)_(?P<visibility>occluded)")
    said = done.out + done.err
    assert "add the visibility after 'left-ear' to --label-pattern" in said


def test_groups_may_have_names(tmp_path: Path) -> None:
    done, objects = convert(tmp_path, [*dog(group_id="rex"), *dog(right=200, group_id=" bello ")])
    assert objects == [WHOLE, OTHER]
    assert "a group_id as a string was read as a group name (8)" in done.out + done.err


def test_keypoints_drawn_as_boxes_are_one_finding(tmp_path: Path) -> None:
    shapes = dog()
    for one in shapes[1:]:
        x, y = one["points"][0]
        one |= {"points": [[x - 5, y - 3], [x + 5, y + 3]], "shape_type": "rectangle"}
    done, _ = convert(tmp_path, shapes)
    said = done.out + done.err
    assert said.count("must be 'point', got 'rectangle'") == 1
    assert "--keypoints-from categories reads their center; or draw each as a point in labelme, or delete them" in said
    _, objects = convert(tmp_path, shapes, "--keypoints-from", "categories")
    assert objects == [WHOLE]


def test_points_of_two_equal_boxes_are_one_finding(tmp_path: Path) -> None:
    done, objects = convert(tmp_path, [*dog(), dog()[0]])
    said = done.out + done.err
    assert objects == [] and said.count("E304 ambiguous-point (1)") == 1
    assert "shapes[0] and shapes[4] contain them" in said


def test_a_box_without_size_is_told_without_its_points(tmp_path: Path) -> None:
    shapes = dog()
    shapes[0]["points"] = [[100, 100], [100, 100]]
    done, objects = convert(tmp_path, shapes)
    said = done.out + done.err
    assert objects == [] and "E303" not in said
    assert "3 points that depend on it are not read either" in said
