"""What a DeepLabCut project says of its animals: config.yaml, or the header of its CollectedData files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from posetools.formats.declared import DeclaredCategory
from posetools.formats.deeplabcut import format as deeplabcut
from posetools.formats.options import ReadOptions
from tests.cli.run import run
from tests.formats.deeplabcut.test_deeplabcut import save

HEADER = """scorer,,,me,me,me,me,me,me,me,me,me,me
individuals,,,mouse1,mouse1,mouse1,mouse1,mouse2,mouse2,mouse2,mouse2,single,single
bodyparts,,,nose,nose,tail,tail,nose,nose,tail,tail,corner,corner
coords,,,x,y,x,y,x,y,x,y,x,y
labeled-data,clip,img1.png,10.5,20,60,80,,,,,1,2
labeled-data,clip,img2.png,11,22,60,81,90,90,120,130,3,4
"""
CONFIG = """\
Task: social
multianimalproject: true
individuals:
- mouse1
- mouse2
uniquebodyparts:
- corner
multianimalbodyparts:
- tail
- nose
- ear
bodyparts: MULTI!
skeleton:
- - nose
  - tail
- - nose
  - leg
"""


def full(source: Path, **options: Any) -> list[DeclaredCategory]:
    assert deeplabcut.FORMAT.declared is not None
    return list(deeplabcut.FORMAT.declared([source], ReadOptions(**options)))


def declared(source: Path, **options: Any) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.name, one.keypoints) for one in full(source, **options)]


def test_the_header(tmp_path: Path) -> None:
    """Individuals with the same body parts are one category, which the header does not name."""
    file = save(tmp_path, HEADER)
    assert declared(tmp_path) == declared(file) == [("", ("nose", "tail")), ("single", ("corner",))]
    assert declared(tmp_path, ignore={"single", "tail"}) == [("", ("nose",))]
    assert [one.links for one in full(tmp_path)] == [None, None]


def test_the_config_of_the_project(tmp_path: Path) -> None:
    """It is found from the project, from labeled-data and from a file."""
    file = save(tmp_path, HEADER)
    (tmp_path / "config.yaml").write_text(CONFIG)
    for source in (tmp_path, tmp_path / "labeled-data", file):
        assert declared(source) == [("social", ("tail", "nose", "ear")), ("single", ("corner",))]
    assert [one.links for one in full(tmp_path)] == [((1, 0),), ()]
    assert full(tmp_path)[0].where == str(tmp_path / "config.yaml")
    assert declared(tmp_path, names={"social": "mouse"}, categories=("social",)) == [("mouse", ("tail", "nose", "ear"))]


def test_a_config_that_cannot_be_read(tmp_path: Path) -> None:
    save(tmp_path, HEADER)
    for text in ("Task: [", "- a", "bodyparts: MULTI!\nuniquebodyparts:\nskeleton: 3"):
        (tmp_path / "config.yaml").write_text(text)
        assert declared(tmp_path) == [("", ("nose", "tail")), ("single", ("corner",))]


def test_one_of_two_kinds(tmp_path: Path) -> None:
    """``--categories`` names the kind of animal, and leaves out the other individuals."""
    save(tmp_path / "p", HEADER)
    (tmp_path / "p/config.yaml").write_text(CONFIG)
    options = ["--assume-visible", "--box-from", "keypoints", "--val", "0", "--categories", "social"]
    done = run("convert", tmp_path / "p", "--out", tmp_path / "out", *options)
    assert done.status == 0, done.words
    assert "left out on purpose: single (2)" in done.words
    document = json.loads((tmp_path / "out/train_coco.json").read_text())
    assert [one["keypoints"] for one in document["categories"]] == [["tail", "nose", "ear"]]
    assert len(document["annotations"]) == 3
