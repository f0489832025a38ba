"""--one-object-per-image, --categories, and wildcards in --map and --ignore: the same in every format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from posetools.errors import RequestError
from posetools.formats.wildcards import LabelNames, LabelSet
from tests.build import make_image
from tests.cli.run import run

SIZE = (640, 480)
POINTS = {"nose": (150, 150), "left-ear": (200, 120), "right-ear": (240, 130)}


def dog(folder: Path) -> Path:
    path = folder / "dog.yaml"
    assert run("skeleton", "new", path, "--names", ",".join(POINTS), "--category", "dog").status == 0
    return path


def labelme(folder: Path, shapes: dict[str, Any]) -> Path:
    for name in "ab":
        make_image(folder / f"{name}.jpg", SIZE)
        document: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": [
                {"label": label, "points": points, "shape_type": "point" if len(points) == 1 else "rectangle"}
                for label, points in shapes.items()
            ],
            "imagePath": f"{name}.jpg",
            "imageData": None,
            "imageHeight": SIZE[1],
            "imageWidth": SIZE[0],
        }
        (folder / f"{name}.json").write_text(json.dumps(document))
    return folder


def label_studio(folder: Path) -> Path:
    tasks: list[dict[str, Any]] = []
    for name in "ab":
        make_image(folder / f"{name}.jpg", SIZE)
        result = [
            {"type": "keypointlabels", "id": label, "original_width": SIZE[0], "original_height": SIZE[1],
             "value": {"x": 100 * x / SIZE[0], "y": 100 * y / SIZE[1], "width": 0.3, "keypointlabels": [label]}}
            for label, (x, y) in POINTS.items()
        ]  # fmt: skip
        tasks.append({"id": len(tasks), "data": {"image": f"{name}.jpg"}, "annotations": [{"result": result}]})
    (folder / "project.json").write_text(json.dumps(tasks))
    return folder


def via(folder: Path) -> Path:
    entries = {}
    for name in "ab":
        make_image(folder / f"{name}.jpg", SIZE)
        regions = [
            {"shape_attributes": {"name": "point", "cx": x, "cy": y}, "region_attributes": {"label": label}}
            for label, (x, y) in POINTS.items()
        ]
        entries[name] = {"filename": f"{name}.jpg", "size": 1, "regions": regions, "file_attributes": {}}
    (folder / "via.json").write_text(json.dumps({"_via_img_metadata": entries, "_via_settings": {}}))
    return folder


def objects(out: Path) -> list[dict[str, Any]]:
    return [each for split in ("train", "val") for each in COCO(out / f"{split}_coco.json").dataset["annotations"]]


@pytest.mark.parametrize("tool", ["labelme", "label-studio", "via"])
def test_one_object_per_image(tmp_path: Path, tool: str) -> None:
    points = {label: [list(place)] for label, place in POINTS.items()}
    makers = {"labelme": lambda at: labelme(at, points), "label-studio": label_studio, "via": via}
    source, out = makers[tool](tmp_path / "source"), tmp_path / "out"
    arguments = ("convert", source, "--out", out, "--from", tool, "--skeleton", dog(tmp_path))
    refused = run(*arguments)
    assert refused.status == 1 and "E303" in refused.out and "--one-object-per-image" in refused.words
    followed = run(*arguments, "--one-object-per-image")
    assert followed.status == 1 and "E306" in followed.out and "--box-from keypoints" in followed.words
    done = run(*arguments, "--one-object-per-image", "--box-from", "keypoints", "--box-margin", "0")
    assert done.status == 0, done.out
    assert [each["keypoints"] for each in objects(out)] == [[150, 150, 2, 200, 120, 2, 240, 130, 2]] * 2
    assert objects(out)[0]["bbox"] == [150, 120, 90, 30]


def test_one_object_per_image_with_its_box_and_with_two(tmp_path: Path) -> None:
    box, outside = [[100, 100], [300, 300]], [[20, 20]]
    source = labelme(tmp_path / "source", {"dog": box, "nose": outside})
    skeleton, out = dog(tmp_path), tmp_path / "out"
    done = run("convert", source, "--out", out, "--skeleton", skeleton, "--one-object-per-image")
    assert done.status == 0, done.out
    assert [(each["bbox"], each["keypoints"][:3]) for each in objects(out)] == [([100, 100, 200, 200], [20, 20, 2])] * 2
    labelme(source, {"dog": box, "hound": [[1, 1], [9, 9]], "nose": outside})
    two = run("convert", source, "--out", tmp_path / "two", "--skeleton", skeleton, "--one-object-per-image",
              "--map", "hound=dog")  # fmt: skip
    assert two.status == 1 and "E307" in two.out
    assert "leave out --one-object-per-image" in two.words and "must have one rectangle, got 2" in two.words


@pytest.mark.parametrize("tool", ["label-studio", "via"])
def test_points_in_no_box_are_one_finding(tmp_path: Path, tool: str) -> None:
    makers = {"label-studio": label_studio, "via": via}
    source = makers[tool](tmp_path / "source")
    refused = run("convert", source, "--out", tmp_path / "out", "--from", tool, "--skeleton", dog(tmp_path))
    assert "E303 point-without-object (1)" in refused.words and "3 points must be in a rectangle" in refused.words
    assert "points must be in a box, or joined with one (2)" in refused.words


def test_categories_take_these_alone(tmp_path: Path) -> None:
    box = [[100, 100], [300, 300]]
    others = {"traffic light": [[1, 1], [9, 9]], "traffic sign": [[11, 1], [19, 9]], "tail": [[120, 120]]}
    source, skeleton = labelme(tmp_path / "s", {"hound": box, "nose": [[150, 150]], **others}), dog(tmp_path)
    done = run("convert", source, "--out", tmp_path / "out", "--skeleton", skeleton, "--categories", "hound")
    assert done.status == 0, done.out
    for label in others:
        assert f"left out on purpose: {label} (2)" in done.words
    assert [(each["bbox"], each["keypoints"][:3]) for each in objects(tmp_path / "out")] == [
        ([100, 100, 200, 200], [150, 150, 2])
    ] * 2
    wild = run("convert", source, "--out", tmp_path / "wild", "--skeleton", skeleton, "--map", "h*d=dog",
               "--ignore", "traffic*", "--ignore", "t?il")  # fmt: skip
    assert wild.status == 0, wild.out
    assert objects(tmp_path / "wild") == objects(tmp_path / "out")
    refused = run("convert", source, "--out", tmp_path / "x", "--skeleton", skeleton, "--categories", "hound,cat")
    assert (
        refused.status == 2 and "--categories must be labels of the objects that are 'dog', got 'hound'" in refused.err
    )


def test_a_wildcard_never_fits_a_name_of_the_skeleton(tmp_path: Path) -> None:
    """The hint for `left-ea?` names it; the typed option must not match `left-ear`."""
    points = {"nose": [[150, 150]], "left-ear": [[200, 120]], "left-ea?": [[210, 120]]}
    source = labelme(tmp_path / "source", {"dog": [[100, 100], [300, 300]], **points})
    done = run("convert", source, "--out", tmp_path / "out", "--skeleton", dog(tmp_path), "--ignore", "left-ea?")
    assert done.status == 0 and "left out on purpose: left-ea? (2)" in done.words, done.out
    assert [each["keypoints"] for each in objects(tmp_path / "out")] == [[150, 150, 2, 200, 120, 2, 0, 0, 0]] * 2


def test_wildcards_in_cvat(tmp_path: Path) -> None:
    source, images = tmp_path / "source", ""
    for name in "ab":
        make_image(source / f"{name}.jpg", SIZE)
        images += f'''<image id="0" name="{name}.jpg" width="640" height="480">
            <box label="dog_{name}" xtl="100" ytl="100" xbr="300" ybr="300" occluded="0"/>
            <points label="nose" points="150,150" occluded="0"/></image>'''
    (source / "annotations.xml").write_text(f"<annotations><version>1.1</version>{images}</annotations>")
    done = run("convert", source, "--out", tmp_path / "out", "--skeleton", dog(tmp_path), "--map", "dog_*=dog")
    assert done.status == 0, done.out
    assert [each["keypoints"][:3] for each in objects(tmp_path / "out")] == [[150, 150, 2]] * 2


def test_categories_of_a_table_with_names_of_its_own(tmp_path: Path) -> None:
    for name in "ab":
        make_image(tmp_path / f"s/{name}.jpg", SIZE)
    rows = "".join(f"{name}.jpg,{kind},snout,150,150,2,1,1,300,300\n" for name in "ab" for kind in ("hound", "cat"))
    (tmp_path / "s/t.csv").write_text("image,kind,part,x,y,v,l,t,w,h\n" + rows)
    mapping = tmp_path / "m.toml"
    mapping.write_text(
        'file = "csv"\n[columns]\npicture = "image"\ncategory = "kind"\nobject = "kind"\n[point]\nname = "part"\n'
        'x = "x"\ny = "y"\nvisibility = "v"\n[box]\ncolumns = ["l", "t", "w", "h"]\nconvention = "xywh"\n'
        '[names]\nsnout = "nose"\nhound = "dog"\n'
    )
    for asked in ("hound", "dog"):
        out = tmp_path / asked
        done = run("convert", tmp_path / "s", "--out", out, "--mapping", mapping, "--skeleton", dog(tmp_path),
                   "--categories", asked)  # fmt: skip
        assert done.status == 0, done.out + done.err
        assert [each["keypoints"][:3] for each in objects(out)] == [[150, 150, 2]] * 2
        (tmp_path / "dog.yaml").unlink()


def test_an_ignored_rectangle_is_not_the_one_object(tmp_path: Path) -> None:
    points = {label: [list(place)] for label, place in POINTS.items()}
    source = labelme(tmp_path / "source", {"person": [[1, 1], [500, 400]], **points})
    done = run("convert", source, "--out", tmp_path / "out", "--skeleton", dog(tmp_path), "--ignore", "person",
               "--one-object-per-image", "--box-from", "keypoints")  # fmt: skip
    assert done.status == 0, done.out
    assert [each["num_keypoints"] for each in objects(tmp_path / "out")] == [3, 3]


def test_wildcards() -> None:
    names = LabelNames({"car_*": "car", "car_7": "van", "*_7": "bus"})
    assert (names.get("car_7"), names.get("car_1"), names.get("x", "x"), names.get("x")) == ("van", "car", "x", None)
    with pytest.raises(RequestError, match=r"clear about 'car__7', got 'car_\*=car and \*_7=bus'"):
        names.get("car__7")
    ignored = LabelSet({"tree*", "a[1]", "b?"})
    assert [label for label in ("trees", "a[1]", "a1", "b2", "b", "Tree") if label in ignored] == [
        "trees",
        "a[1]",
        "b2",
    ]
    assert not LabelSet() and LabelSet(known=frozenset())
