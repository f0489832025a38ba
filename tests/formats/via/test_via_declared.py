"""What VIA projects say of their categories: the options of the label's attribute, or the values of regions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import posetools.formats.via.format as via
from posetools.core.skeleton import load_skeleton
from posetools.formats.options import ReadOptions
from tests.build import make_dataset
from tests.formats.via.via_sources import point, rect, save

FISH = [rect(0, 0, 90, 90, label="fish"), point(5, 5, label="tail"), point(9, 9, label="eye")]
SHARK = [rect(0, 0, 90, 90, label="shark"), point(5, 5, label="fin"), point(9, 9, label="eye")]


def declared(source: Path, **options: Any) -> list[tuple[str, tuple[str, ...]]]:
    assert via.FORMAT.declared is not None
    return [(one.name, one.keypoints) for one in via.FORMAT.declared([source], ReadOptions(**options))]


def test_values_of_regions_over_sorted_images(tmp_path: Path) -> None:
    save(tmp_path, FISH, SHARK)
    assert declared(tmp_path) == [("fish", ("tail", "eye")), ("shark", ("fin", "eye"))]
    project = json.loads((tmp_path / "project.json").read_text())
    entries = list(project["_via_img_metadata"].items())
    (tmp_path / "project.json").write_text(json.dumps(project | {"_via_img_metadata": dict(entries[::-1])}))
    assert declared(tmp_path) == [("fish", ("tail", "eye")), ("shark", ("fin", "eye"))]
    assert declared(tmp_path, categories=("shark",), ignore={"fin"}) == [("shark", ("eye",))]


def test_options_give_the_order(tmp_path: Path) -> None:
    save(tmp_path, FISH)
    project = json.loads((tmp_path / "project.json").read_text())
    options = {"fish": "", "eye": "", "fin": "", "tail": ""}
    project["_via_attributes"] = {"region": {"Label": {"type": "dropdown", "options": options}, "id": {"type": "text"}}}
    (tmp_path / "project.json").write_text(json.dumps(project))
    assert declared(tmp_path) == [("fish", ("eye", "tail"))]


def test_another_attribute_and_regions_without_a_label(tmp_path: Path) -> None:
    save(tmp_path, [rect(0, 0, 90, 90), point(5, 5, part="tail"), point(9, 9, part="eye")])
    named = {"attributes": {"label": "part"}, "names": {"": "fish"}}
    assert declared(tmp_path, **named) == [("fish", ("tail", "eye"))]


def test_via3(tmp_path: Path) -> None:
    options = {"0": "eye", "1": "tail", "2": "fish"}
    regions = [([2, 0, 0, 90, 90], "2"), ([1, 5, 5], "1"), ([1, 9, 9], "0")]
    project = {
        "project": {"pname": "fish"},
        "attribute": {"1": {"aname": "label", "type": 4, "options": options}},
        "file": {"1": {"fid": 1, "fname": "a.jpg", "type": 2}},
        "view": {"1": {"fid_list": [1]}},
        "metadata": {str(at): {"vid": "1", "xy": xy, "av": {"1": value}} for at, (xy, value) in enumerate(regions)},
    }
    (tmp_path / "via3.json").write_text(json.dumps(project))
    assert declared(tmp_path) == [("fish", ("eye", "tail"))]


def test_what_posetools_writes(tmp_path: Path) -> None:
    via.write({"all": make_dataset(tmp_path / "in")}, tmp_path / "out", "copy")
    assert declared(tmp_path / "out") == [("car", load_skeleton("car8").names)]
