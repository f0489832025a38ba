"""What a Label Studio project says of its categories: the labeling configuration, or the labels of its regions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import posetools.formats.label_studio.format as label_studio
from posetools.core.skeleton import load_skeleton
from posetools.formats.options import ReadOptions
from tests.build import make_dataset
from tests.formats.label_studio.test_label_studio import dot, rect, save, task

CONFIG = """\
<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="box" toName="image"><Label value="Cow"/></RectangleLabels>
  <KeyPointLabels name="kp" toName="image">
    <Label value="Nose"/><Label value="Ear L"/><Label value="Ear R"/>
  </KeyPointLabels>
</View>
"""


def declared(source: Path, **options: Any) -> list[tuple[str, tuple[str, ...]]]:
    assert label_studio.FORMAT.declared is not None
    return [(one.name, one.keypoints) for one in label_studio.FORMAT.declared([source], ReadOptions(**options))]


@pytest.mark.parametrize("name", ["label_config.xml", "config.xml", "labeling_interface.xml"])
def test_the_configuration_next_to_the_export(tmp_path: Path, name: str) -> None:
    save(tmp_path, [task(rect("r", 1, 1, 50, 50, "Cow"), dot("k", "Ear R", 9, 9, "r"))])
    assert declared(tmp_path) == [("Cow", ("Ear R",))]
    (tmp_path / name).write_text(CONFIG)
    assert declared(tmp_path) == [("Cow", ("Nose", "Ear L", "Ear R"))]
    assert declared(tmp_path, names={"Nose": "Muzzle"}, ignore={"Ear L"}) == [("Cow", ("Muzzle", "Ear R"))]


def test_the_configuration_in_the_export(tmp_path: Path) -> None:
    document = {"label_config": CONFIG, "tasks": [task(rect("r", 1, 1, 50, 50, "Cow"))]}
    save(tmp_path, json.dumps(document).encode())
    assert declared(tmp_path) == [("Cow", ("Nose", "Ear L", "Ear R"))]


def test_other_xml_is_no_configuration(tmp_path: Path) -> None:
    save(tmp_path, [task(rect("r", 1, 1, 50, 50, "Cow"), dot("k", "Nose", 9, 9, "r"))])
    for text in ("<config><Label value='Tail'/></config>", "<View", "<!DOCTYPE a [<!ENTITY b 'c'>]><View/>"):
        (tmp_path / "config.xml").write_text(text)
        assert declared(tmp_path) == [("Cow", ("Nose",))]


def test_points_by_parent_relation_and_place(tmp_path: Path) -> None:
    """The points of each category, in the order of their first appearance; 'Nose' is of both."""
    ties = {"type": "relation", "from_id": "k2", "to_id": "r2", "direction": "right"}
    shapes = [
        *(rect("r1", 1, 1, 90, 90, "Cow"), rect("r2", 2, 2, 80, 80, "Calf"), rect("r3", 92, 92, 5, 5, "Calf")),
        *(dot("k1", "Nose", 9, 9, "r1"), dot("k2", "Nose", 9, 9), ties, dot("k3", "Tail", 94, 94)),
    ]
    save(tmp_path, [task(*shapes)])
    assert declared(tmp_path) == [("Cow", ("Nose",)), ("Calf", ("Nose", "Tail"))]


def test_what_posetools_writes(tmp_path: Path) -> None:
    label_studio.write({"train": make_dataset(tmp_path / "in")}, tmp_path / "out", "copy")
    assert declared(tmp_path / "out") == [("car", load_skeleton("car8").names)]
