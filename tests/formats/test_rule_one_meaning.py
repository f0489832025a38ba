"""The first rule of docs/formats.md in every format: a value with one meaning is read, and counted under W324."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.run import run
from tests.following.case import BOTH, NAMES, Objects, fish, found
from tests.following.of_tools import (
    BOXES,
    CLIP,
    CUSTOM,
    MAPPING,
    SEEN,
    VISIBILITY,
    cvat,
    deeplabcut,
    label_studio,
    table,
)
from tests.following.of_via import via
from tests.following.sources import coco, fish_shapes, labelme, yolo


def _each(**values: Any) -> Callable[[Any], None]:
    """Return a change of every object of a COCO file."""

    def change(document: Any) -> None:
        for one in document["annotations"]:
            one.update(values)

    return change


def _changed(arguments: list[str], path: str, old: str, new: str) -> list[str]:
    """Put another text into a file of a source, wherever the old one is."""
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))
    return arguments


def _nested(document: Any) -> None:
    for one in document["annotations"]:
        values = one["keypoints"]
        one["keypoints"] = [values[at : at + 3] for at in range(0, len(values), 3)]


def _without_size(document: Any) -> None:
    for image in document["images"]:
        del image["width"], image["height"]


def _null_for_unlabeled(document: Any) -> None:
    for one in document["annotations"]:
        one["keypoints"][:3] = [None, None, 0]
        one["num_keypoints"] = 3


def _flags(value: Any) -> list[dict[str, Any]]:
    return [{**shape, "flags": value} if shape["label"] == "nose" else shape for shape in fish_shapes()]


def _groups(value: Any) -> list[dict[str, Any]]:
    return [{**shape, "group_id": value} for shape in fish_shapes()]


HIDDEN: Objects = {name: [fish(nose=(20.0, 40.0, 1))] for name in BOTH}
NO_NOSE: Objects = {name: [fish(nose=None)] for name in BOTH}
EARLY: Objects = {name: [fish((16.0, 23.5, 48.0, 18.0), right_fin=None)] for name in CLIP}
WITH_VISIBILITY = MAPPING + VISIBILITY + BOXES
WORDS = '[visibility]\n1 = ["occluded"]\n2 = ["visible"]\n'


def _of_animals(old: str, new: str) -> list[str]:
    return _changed(deeplabcut(NAMES, *SEEN), "src/labeled-data/clip/CollectedData_me.csv", old, new)


def _in_cvat(old: str, new: str) -> list[str]:
    return _changed(cvat(True), "src/annotations.xml", old, new)


def _in_studio(old: str, new: str) -> list[str]:
    return _changed(label_studio(True), "src/export.json", old, new)


def _in_via(old: str, new: str) -> list[str]:
    return _changed(via(), "src/via.json", old, new)


def _of_rows(mapping: str, old: str, new: str) -> list[str]:
    return _changed(table(WITH_VISIBILITY + mapping, *CUSTOM), "src/points.csv", old, new)


# (format and value, function that writes the source, expected result, a word in the W324 message)
READ: list[tuple[str, Callable[[], list[str]], Objects, str]] = [
    ("labelme: a size as text and as a fraction", lambda: labelme(imageWidth="100", imageHeight=80.0), BOTH, "size"),
    ("labelme: no size", lambda: labelme(imageWidth=None, imageHeight=None), BOTH, ""),
    ("labelme: a group as text", lambda: labelme(_groups("1")), BOTH, "group_id"),
    ("labelme: a group as a fraction", lambda: labelme(_groups(1.0)), BOTH, "group_id"),
    ("labelme: flags as a list", lambda: labelme(_flags(["occluded"])), HIDDEN, "flags"),
    ("labelme: flags as numbers", lambda: labelme(_flags({"occluded": 1})), HIDDEN, "flags"),
    ("labelme: flags that are off", lambda: labelme(_flags({"occluded": 0})), BOTH, "flags"),
    ("coco: iscrowd as false", lambda: coco(_each(iscrowd=False)), BOTH, "iscrowd"),
    ("coco: iscrowd as null", lambda: coco(_each(iscrowd=None)), BOTH, "iscrowd"),
    ("coco: num_keypoints as a fraction", lambda: coco(_each(num_keypoints=4.0)), BOTH, "num_keypoints"),
    ("coco: num_keypoints as text", lambda: coco(_each(num_keypoints="4")), BOTH, "num_keypoints"),
    ("coco: area as null", lambda: coco(_each(area=None)), BOTH, "area"),
    ("coco: keypoints in lists of three", lambda: coco(_nested), BOTH, "keypoints"),
    ("coco: null for an unlabeled keypoint", lambda: coco(_null_for_unlabeled), NO_NOSE, "keypoints"),
    ("coco: no width and height", lambda: coco(_without_size), BOTH, "width"),
    ("yolo-pose: kpt_shape as text", lambda: yolo(kpt_shape="4, 3"), BOTH, "kpt_shape"),
    ("yolo-pose: kpt_shape as fractions", lambda: yolo(kpt_shape=[4.0, 3.0]), BOTH, "kpt_shape"),
    ("yolo-pose: flip_idx as texts", lambda: yolo(flip_idx=["0", "1", "3", "2"]), BOTH, "flip_idx"),
    ("yolo-pose: an empty flip_idx", lambda: yolo(flip_idx=[]), BOTH, "flip_idx"),
    ("deeplabcut: cells beyond the header", lambda: _of_animals("55.0\n", "55.0,,\n"), CLIP, "further empty cells"),
    ("deeplabcut: lines that end early", lambda: _of_animals(",40.0,55.0\n", "\n"), EARLY, "missing cells"),
    ("cvat: a group as a fraction", lambda: _in_cvat(' group_id="1"', ' group_id="1.0"'), BOTH, "group_id"),
    ("cvat: occluded as True", lambda: _in_cvat('label="nose"', 'label="nose" occluded="True"'), HIDDEN, "occluded"),
    ("cvat: a semicolon at the end", lambda: _in_cvat('points="20.0,40.0"', 'points="20.0,40.0;"'), BOTH, "points"),
    ("label-studio: a label that is no list", lambda: _in_studio('["nose"]', '"nose"'), BOTH, "label"),
    ("label-studio: a size as text", lambda: _in_studio(': 100,', ': "100",'), BOTH, "size"),
    ("label-studio: ids as numbers", lambda: _in_studio('"r"', "7"), BOTH, "id"),
    ("via: a coordinate as text", lambda: _in_via('"cx": 20.0', '"cx": "20.0"'), BOTH, "coordinates"),
    ("via: a label in a list", lambda: _in_via('"label": "nose"', '"label": ["nose"]'), BOTH, "list"),
    ("via: backwards", lambda: _in_via('"x": 10.0, "y": 20.0, "width": 60.0', '"x": 70.0, "y": 20.0, "width": -60.0'),
     BOTH, "negative"),
    ("custom: a visibility as a fraction", lambda: _of_rows("", ",2,10", ",2.0,10"), BOTH, "a fraction"),
    ("custom: a word with a capital", lambda: _of_rows(WORDS, ",2,10", ",Visible,10"), BOTH, "another letter case"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "want", "said"), [pytest.param(*rest, id=name) for name, *rest in READ])
def test_a_value_with_one_meaning_is_read_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], list[str]], want: Objects, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("convert", *make(), "--out", "out")
    assert done.status == 0, done.words
    assert found(Path("out")) == {name: list(objects) for name, objects in want.items()}
    findings = json.loads(Path("out/conversion.json").read_text())["findings"]
    told = [one["message"] for one in findings if one["code"] == "W324"]
    assert any(said in message for message in told) if said else not told, told


KEYS: dict[str, Any] = {
    "license": 3,
    "info": {"year": "?"},
    "supercategory": None,
    "attributes": {"color": "red"},
    "extra": [None],
}


def _odd_keys(document: Any) -> None:
    document.update(info=None, licenses=[{"id": "x"}], videos=[])
    document["categories"][0].update(supercategory=None, skeleton=[], color=7)
    document["categories"].append({"id": 2, "name": "boat", "supercategory": "thing"})
    for entry in (*document["images"], *document["annotations"]):
        entry.update(KEYS)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: coco(_odd_keys), id="coco"),
        pytest.param(lambda: labelme([{**one, **KEYS} for one in fish_shapes()], **KEYS), id="labelme"),
        pytest.param(lambda: yolo(**KEYS, nc="one", roboflow={"license": None}), id="yolo-pose"),
    ],
)
def test_keys_that_nothing_reads_cost_no_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], list[str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("convert", *make(), "--out", "out")
    assert done.status == 0, done.words
    assert found(Path("out")) == {name: list(objects) for name, objects in BOTH.items()}
